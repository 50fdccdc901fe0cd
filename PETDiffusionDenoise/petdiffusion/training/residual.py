"""What all methods on the whitened residual share in training: derived images, target, conditions, weight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..diffusion.conditions import Conditions
from ..networks.unet import UNet, UNetConfig
from ..prepare import channels
from ..prepare.whiten import whiten
from .task import Batch

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

    def derive(self, low: np.ndarray, spacing_mm: tuple[float, float, float], body: np.ndarray) -> tuple[dict, dict]:
        """What the bank computes once per scan, on the whole volume."""
        white = whiten(low, spacing_mm, body, self.settings.base_fwhm_mm)
        voxel = float(np.prod(spacing_mm) ** (1 / 3))
        numbers = {"level": white.level, "voxel_mm": voxel, "root_mean": white.root_mean, "floor": white.floor}
        return {"base": white.base, "root": white.root}, numbers

    def calibrate(self, batches: list[Batch]) -> None:
        """Nothing is left open by default."""

    def base(self, batch: Batch) -> Tensor:
        return batch["base"] if self.settings.base == "filtered" else batch["low"]

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
        return {**batch, **{k: torch.where(hide, torch.nan, batch[k]) for k in ("ct", "mr")}}


def conditions(batch: Batch) -> Conditions:
    """Low-count image, anatomy and coordinates as channels; noise level and voxel size as numbers."""
    images = channels.images(*(batch[k] for k in ("low", "base", "root", "level", "root_mean", "ct", "mr")))
    numbers = channels.numbers(batch["level"], batch["voxel_mm"], batch["ct"], batch["mr"])
    return Conditions(images=torch.cat((images, batch["coordinates"]), 1), vector=numbers)
