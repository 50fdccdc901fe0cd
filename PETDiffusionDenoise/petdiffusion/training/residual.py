"""What all methods on the whitened residual share in training: derived images, target, conditions, weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..diffusion.conditions import Conditions
from ..infer.regression import named, regress
from ..infer.residual import conditions as seen_by_networks
from ..infer.residual import load_network
from ..infer.tissue import averaged, case_of, with_channel
from ..networks.unet import UNet, UNetConfig
from ..prepare import channels
from ..prepare.whiten import Whitening, whiten
from ..progress import Run
from ..zoo.store import Model
from .task import Batch

ALONE = "_alone"
"""Ending of images that were made without anatomy."""
AIR = 1.5
"""Below this many floors of the whitening (a floor is a twentieth of the body's mean activity) there is only air."""


class ResidualTask:
    """Base of the tasks of CSRD and of its regression twin. `settings` is the method's own frozen config with fields
    network, base, base_fwhm_mm, tissue, drop_anatomy and weight_power."""

    method = ""

    def __init__(self, settings: Any) -> None:
        network = {**settings.network, "condition_channels": channels.IMAGES + bool(settings.tissue) + 3}
        self.settings = replace(settings, network=network)

    @property
    def config(self) -> Mapping[str, Any]:
        return self.settings.to_json()

    def network(self) -> nn.Module:
        return UNet(UNetConfig.from_json(self.settings.network))

    def derive(
        self, low: np.ndarray, spacing_mm: tuple[float, float, float], body: np.ndarray, anatomy: Mapping[str, Tensor]
    ) -> tuple[dict, dict]:
        """What the bank computes once per scan, on the whole volume."""
        white = whiten(low, spacing_mm, body, self.settings.base_fwhm_mm)
        voxel = float(np.prod(spacing_mm) ** (1 / 3))
        numbers = {"level": white.level, "voxel_mm": voxel, "root_mean": white.root_mean, "floor": white.floor}
        regression = self._regression()
        told = bool(regression and regression.card.config.get("tissue"))
        tissue = None
        if self.settings.tissue or told:
            tissue = averaged(case_of(low, spacing_mm, body, anatomy["mr"].float().numpy()), Run())
        images = {"tissue": tissue} if self.settings.tissue else {}
        if regression is None:
            return {"base": white.base, "root": white.root, **images}, numbers
        made = _regressed(regression, low, white, spacing_mm, body, anatomy, tissue if told else None)
        return {**made, **images}, numbers

    def _regression(self) -> Model | None:
        """The model whose image the residual refers to, if it is one's."""
        c = self.settings
        return named(c.regression, c.regression_sha256, c.base_fwhm_mm) if c.base == "regression" else None

    def calibrate(self, batches: list[Batch]) -> None:
        """Nothing is left open by default."""

    def base(self, batch: Batch) -> Tensor:
        return batch["low"] if self.settings.base == "input" else batch["base"]

    @staticmethod
    def scale(batch: Batch) -> Tensor:
        return batch["root"] * batch["level"].reshape(-1, 1, 1, 1, 1)

    def target(self, batch: Batch) -> Tensor:
        """Full minus base, in the noise's standard deviations."""
        return (batch["normal"] - self.base(batch)) / self.scale(batch)

    def weight(self, batch: Batch) -> Tensor:
        """Mean 1 in each patch; zero in air, which teaches nothing; larger where activity is, as in linear units."""
        inside = batch["root"].square() > AIR * batch["floor"].reshape(-1, 1, 1, 1, 1)
        weight = inside * batch["root"] ** (2 * self.settings.weight_power)
        return weight / weight.flatten(1).mean(1).clamp_min(1e-6).reshape(-1, 1, 1, 1, 1)

    def restored(self, residual: Tensor, batch: Batch) -> Tensor:
        return self.base(batch) + residual * self.scale(batch)

    def without_some_anatomy(self, batch: Batch, generator: torch.Generator) -> Batch:
        """CT and MR withheld at random, so that one model serves with and without."""
        dropped = torch.rand(len(batch["low"]), generator=generator) < self.settings.drop_anatomy
        hide = dropped.reshape(-1, 1, 1, 1, 1).to(batch["low"].device)
        hidden = {k: torch.where(hide, torch.nan, batch[k]) for k in ("ct", "mr", "tissue") if k in batch}
        bases = {k.removesuffix(ALONE): torch.where(hide, v, batch[k.removesuffix(ALONE)])
                 for k, v in batch.items() if k.endswith(ALONE)}  # fmt: skip
        return {**batch, **hidden, **bases}


def _regressed(
    model: Model, low: np.ndarray, white: Whitening, spacing_mm: tuple[float, float, float], body: np.ndarray,
    anatomy: Mapping[str, Tensor], tissue: np.ndarray | None,
) -> dict[str, np.ndarray]:  # fmt: skip
    """The base that a regression makes, with the scan's anatomy and (`_alone`) without."""
    network, found = load_network(model), {}
    nothing = torch.full((1, 1, *low.shape), torch.nan)
    for ending in ("", ALONE):
        ct, mr = (nothing if ending else anatomy[kind].float()[None, None] for kind in ("ct", "mr"))
        known = np.full_like(tissue, np.nan) if ending and tissue is not None else tissue
        seen = seen_by_networks(low, white, spacing_mm, ct, mr, known)
        residual = regress(network, seen, body, Run()).image.numpy().reshape(low.shape)
        better = white.on_base(white.inverse(residual))
        found |= {f"base{ending}": better.base, f"root{ending}": better.root}
    return found


def conditions(batch: Batch) -> Conditions:
    """Low-count image, anatomy and coordinates as channels; noise level and voxel size as numbers."""
    images = channels.images(*(batch[k] for k in ("low", "base", "root", "level", "root_mean", "ct", "mr")))
    if "tissue" in batch:
        images = with_channel(images, *(batch[k] for k in ("tissue", "base", "root", "level")))
    numbers = channels.numbers(batch["level"], batch["voxel_mm"], batch["ct"], batch["mr"])
    return Conditions(images=torch.cat((images, batch["coordinates"]), 1), vector=numbers)
