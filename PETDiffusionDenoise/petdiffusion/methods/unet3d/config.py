"""Everything that defines a 3D U-net model; saved whole in its card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...networks.config import Config


@dataclass(frozen=True)
class Unet3dConfig(Config):
    """The regression twin of CSRD: same network at a constant noise level, same data, same residual."""

    NAME = "U-net configuration"

    network: Mapping[str, Any] = field(default_factory=dict)
    base: str = "filtered"
    base_fwhm_mm: float = 6.0
    drop_anatomy: float = 0.3
    weight_power: float = 0.5


COMPACT = {"channels": 24, "multipliers": (1, 2, 3), "blocks": 1, "resample": "light", "attention": False,
           "dropout": 0.0, "stem": 2, "norm": "voxel",
           "condition_channels": 7, "vector": 4}  # fmt: skip
CONFIGS = {"compact": Unet3dConfig(network=COMPACT)}
