"""What all methods on the whitened residual share in training: derived images, target, conditions, weight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..diffusion.conditions import Conditions
from ..infer.regression import named, regress, residual_of
from ..infer.residual import conditions as seen_by_networks
from ..infer.residual import load_network
from ..infer.tissue import case_of, stacked
from ..networks.unet import UNet, UNetConfig
from ..prepare import channels
from ..prepare.whiten import Whitening, whiten
from ..progress import Run
from .sides import Sides
from .task import Batch

ALONE = "_alone"
"""Ending of images that were made without anatomy."""
AIR = 1.5
"""Below this many floors of the whitening (a floor is a twentieth of the body's mean activity) there is only air."""


class ResidualTask:
    """Base of the tasks of CSRD and of the regressions beside it. `settings` is the method's own frozen config with
    fields network, base, base_fwhm_mm, drop_anatomy and weight_power."""

    method = ""

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    @property
    def config(self) -> Mapping[str, Any]:
        return self.settings.to_json()

    @property
    def sides(self) -> Sides:
        return Sides.judged(UNetConfig.from_json(self.settings.network).multiple)

    def network(self) -> nn.Module:
        return UNet(UNetConfig.from_json(self.settings.network))

    def derive(
        self, low: np.ndarray, spacing_mm: tuple[float, float, float], body: np.ndarray, anatomy: Mapping[str, Tensor]
    ) -> tuple[dict, dict]:
        """What the bank computes once per scan, on the whole volume."""
        white = whiten(low, spacing_mm, body, self.settings.base_fwhm_mm)
        voxel = float(np.prod(spacing_mm) ** (1 / 3))
        numbers = {"level": white.level, "voxel_mm": voxel, "root_mean": white.root_mean, "floor": white.floor}
        if self.settings.base != "regression":
            return {"base": white.base, "root": white.root}, numbers
        return self._regressed(low, white, spacing_mm, body, anatomy), numbers

    def _regressed(
        self, low: np.ndarray, white: Whitening, spacing_mm: tuple[float, float, float], body: np.ndarray,
        anatomy: Mapping[str, Tensor],
    ) -> dict[str, np.ndarray]:
        """The base that a regression makes, with the scan's anatomy and (`_alone`) without."""
        model = named(self.settings.regression, self.settings.regression_sha256, self.settings.base_fwhm_mm)
        network, found = load_network(model), {}
        case = case_of(low, spacing_mm, body, anatomy["mr"].float().numpy())
        nothing = torch.full((1, 1, *low.shape), torch.nan)
        for ending in ("", ALONE):
            ct, mr = (nothing if ending else anatomy[kind].float()[None, None] for kind in ("ct", "mr"))
            seen = seen_by_networks(low, white, spacing_mm, ct, mr)
            residual = regress(network, seen, body, Run()).image.numpy().reshape(low.shape)
            image = white.inverse(residual)
            better = white.on_base(image if ending else stacked(case, image, self.settings.stack, Run()))
            found |= {f"base{ending}": better.base, f"root{ending}": better.root}
        return found

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

    @staticmethod
    def inside(batch: Batch) -> Tensor:
        """Voxels that are not air."""
        return batch["root"].square() > AIR * batch["floor"].reshape(-1, 1, 1, 1, 1)

    def weight(self, batch: Batch) -> Tensor:
        """Mean 1 in each patch; zero in air, which teaches nothing; larger where activity is, as in linear units."""
        weight = self.inside(batch) * batch["root"] ** (2 * self.settings.weight_power)
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


class RegressionTask(ResidualTask):
    """The residual in one evaluation, to the least squared error; `settings` is a `RegressionConfig`."""

    def loss(self, network: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        error = self.predict(network, self.without_some_anatomy(batch, generator)) - self.target(batch)
        return (self.weight(batch) * error.square()).mean()

    @staticmethod
    def predict(network: nn.Module, batch: Batch) -> Tensor:
        return residual_of(network, batch["low"], conditions(batch))

    @torch.no_grad()
    def judge(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return {"denoised": self.restored(self.predict(network, batch), batch)}


def conditions(batch: Batch) -> Conditions:
    """Low-count image, anatomy and coordinates as channels; noise level and voxel size as numbers."""
    images = channels.images(*(batch[k] for k in ("low", "base", "root", "level", "root_mean", "ct", "mr")))
    numbers = channels.numbers(batch["level"], batch["voxel_mm"], batch["ct"], batch["mr"])
    return Conditions(images=torch.cat((images, batch["coordinates"]), 1), vector=numbers)
