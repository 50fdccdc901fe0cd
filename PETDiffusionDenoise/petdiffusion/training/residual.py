"""What all methods on the whitened residual share in training: derived images, target, conditions, weight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..diffusion.conditions import Conditions
from ..infer.anatomical import averaged, case_of
from ..infer.regression import named, regress
from ..infer.residual import conditions as seen_by_networks
from ..infer.residual import load_network
from ..methods.contract import Case
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
    network, base, base_fwhm_mm, drop_anatomy and weight_power."""

    method = ""

    def __init__(self, settings: Any) -> None:
        self.settings = settings

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
        bases = self._bases(white, case_of(low, spacing_mm, body, anatomy["mr"].float().numpy()), anatomy)
        return {name: image for end, base in bases.items()
                for name, image in ((f"base{end}", base.base), (f"root{end}", base.root))}, numbers  # fmt: skip

    def _bases(self, white: Whitening, case: Case, anatomy: Mapping[str, Tensor]) -> dict[str, Whitening]:
        """The whitening on the setting's base, with the scan's anatomy and, where it differs, without (`_alone`)."""
        kind, model = self.settings.base, None
        if kind == "regression":
            model = named(self.settings.regression, self.settings.regression_sha256, self.settings.base_fwhm_mm)
            kind = model.card.config["base"]
        better = averaged(case, Run()) if kind == "anatomical" else None
        first = white if better is None else white.on_base(better)
        if model is None:
            return {"": first, ALONE: white} if kind == "anatomical" else {"": white}
        return {"": _regressed(model, first, case, anatomy), ALONE: _regressed(model, white, case, {})}

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
        hidden = {k: torch.where(hide, torch.nan, batch[k]) for k in ("ct", "mr")}
        bases = {k.removesuffix(ALONE): torch.where(hide, v, batch[k.removesuffix(ALONE)])
                 for k, v in batch.items() if k.endswith(ALONE)}  # fmt: skip
        return {**batch, **hidden, **bases}


def _regressed(model: Model, white: Whitening, case: Case, anatomy: Mapping[str, Tensor]) -> Whitening:
    """The whitening on what a regression makes of the scan with this anatomy."""
    low = case.pet.array
    ct, mr = (anatomy[kind].float()[None, None] if kind in anatomy else torch.full((1, 1, *low.shape), torch.nan)
              for kind in ("ct", "mr"))  # fmt: skip
    seen = seen_by_networks(low, white, case.pet.geometry.spacing, ct, mr)
    residual = regress(load_network(model), seen, case.body, Run()).image.numpy().reshape(low.shape)
    return white.on_base(white.inverse(residual))


def conditions(batch: Batch) -> Conditions:
    """Low-count image, anatomy and coordinates as channels; noise level and voxel size as numbers."""
    images = channels.images(*(batch[k] for k in ("low", "base", "root", "level", "root_mean", "ct", "mr")))
    numbers = channels.numbers(batch["level"], batch["voxel_mm"], batch["ct"], batch["mr"])
    return Conditions(images=torch.cat((images, batch["coordinates"]), 1), vector=numbers)
