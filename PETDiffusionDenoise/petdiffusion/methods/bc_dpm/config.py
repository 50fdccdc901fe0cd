"""Everything that defines a BC-DPM model; saved whole in its card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...networks.config import Config


@dataclass(frozen=True)
class BcDpmConfig(Config):
    """`network` are the fields of the UNet's configuration."""

    NAME = "BC-DPM configuration"

    network: Mapping[str, Any] = field(default_factory=dict)
    T: int = 1000
    beta_1: float = 1e-4
    beta_T: float = 0.02
    unit: float = 2.0
    """Size of a network unit: at 2 most of an image lies between 0 and 1."""
    level_scale: float = 4.0
    """Noise levels of the chain over those of the paper's times, in network units: how bright the paper's images are
    beside its noise is not said."""
    power: float = 0.5
    """0: one unit for the whole scan. 0.5: units grow with the root of the activity around, as PET's noise does."""
    around_mm: float = 16.0
    """FWHM of the filter that tells the activity around, within the slice."""
    floor: float = 0.05
    """Of the body's mean activity: keeps the unit above zero in air."""
    late_share: float = 0.7
    """Share of the training spent on the times up to `late`, the only ones that a chain from the scan goes through."""
    late: int = 200
    jitter: float = 0.35
    """Brightness varies in training by up to this factor's logarithm, so that no scale is learnt by heart."""
    pixel_mm: tuple[float, float] | None = None
    """Smallest and largest pixel of the training slices; measured, None until then."""
    normal_counts: float | None = None
    """Count level of the training slices (`counts.counts_of_noise`); measured, None until then."""

    def __post_init__(self) -> None:
        if self.pixel_mm is not None:
            object.__setattr__(self, "pixel_mm", tuple(float(v) for v in self.pixel_mm))
        self.refuse({
            f"power = {self.power} does not lie between 0 and 1": not 0 <= self.power <= 1,
            f"unit = {self.unit}, floor = {self.floor} or level_scale = {self.level_scale} is not above zero":
                min(self.unit, self.floor, self.level_scale) <= 0,
            f"late = {self.late} is not one of the {self.T} times": not 1 <= self.late <= self.T,
        })


SLICE = {"dims": 2, "vector": 1}
COMPACT = {"channels": 40, "multipliers": (1, 2, 3), "blocks": 1, "resample": "light", "attention": False,
           "dropout": 0.0, "stem": 2, "norm": "voxel"}  # fmt: skip
PAPER = {"channels": 128, "multipliers": (1, 1, 2, 3, 4), "blocks": 2, "dropout": 0.0}
CONFIGS = {
    "compact": BcDpmConfig(network={**COMPACT, **SLICE}),
    "paper": BcDpmConfig(network={**PAPER, **SLICE}, power=0.0, level_scale=1.0, late_share=0.0, jitter=0.0),
}
