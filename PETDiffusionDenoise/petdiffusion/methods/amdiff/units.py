"""Between SUV and the values that are diffused, both ways, for a batch of patches or for a whole scan.

base `none`: x = SUV / 10 - 1 of the image cut at 20, as the paper has it.
base `filtered`: x = (SUV cut at 20 - b) / s with b the Gaussian-filtered scan, cut too, and s the SD of its noise
(`prepare.whiten`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ...diffusion.conditions import Conditions
from ...prepare import channels
from .config import AmdiffConfig


@dataclass(frozen=True, eq=False)
class Units:
    """SUV = zero + x * scale; `skip` is the scan beyond the cut as the revision's skip takes it."""

    low: Tensor
    zero: Tensor
    scale: Tensor
    skip: Tensor
    cut: float

    def forward(self, suv: Tensor) -> Tensor:
        return (suv.clamp_max(self.cut) - self.zero) / self.scale

    def inverse(self, x: Tensor) -> Tensor:
        return self.zero + x * self.scale

    def chosen(self, items: Tensor) -> Units:
        parts = (part if len(part) == 1 else part[items] for part in (self.low, self.zero, self.scale, self.skip))
        return Units(*parts, self.cut)

    def with_what_was_cut(self, suv: Tensor) -> Tensor:
        """Beyond the cut a network without the revision sees nothing: the scan's own values stand there. They are as
        bright as any, so their noise is small beside them, and no filter takes from a small lesion's peak."""
        beyond = self.low > self.cut
        return torch.where(beyond, suv.clamp_max(self.cut) + self.low - self.cut, suv)

    def as_cut(self, suv: Tensor) -> Tensor:
        """The same without it, as the network's second half was taught."""
        return torch.where(self.low > self.cut, suv.clamp_max(self.cut), suv)

    def seen(self) -> tuple[Tensor, Tensor, Tensor]:
        """What the network's second half is given beside P_HC."""
        return self.low, self.skip, self.scale


def units_of(images: Mapping[str, Tensor], config: AmdiffConfig) -> Units:
    """`images` holds low, and for the filtered base: base, root and the scan's level (B,)."""
    low = images["low"]
    if config.base == "none":
        half = torch.full_like(low, config.cut_suv / 2)
        return Units(low, half, half, low, config.cut_suv)
    base = images["base"]
    scale = images["root"] * images["level"].reshape(-1, 1, 1, 1, 1)
    return Units(low, base.clamp_max(config.cut_suv), scale, base, config.cut_suv)


def conditions_of(images: Mapping[str, Tensor], units: Units, config: AmdiffConfig) -> Conditions:
    """Without coordinates: those come with the patch. PET alone: CT and MR are told to be missing."""
    if config.base == "none":
        return Conditions(images=units.forward(units.low))
    none = torch.full_like(units.low, torch.nan)
    given = [images[name] for name in ("low", "base", "root", "level", "root_mean")]
    return Conditions(images=channels.images(*given, none, none),
                      vector=channels.numbers(images["level"], images["voxel_mm"], none, none))  # fmt: skip
