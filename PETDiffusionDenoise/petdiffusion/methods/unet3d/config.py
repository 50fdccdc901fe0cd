"""Everything that defines a 3D U-net model; saved whole in its card."""

from __future__ import annotations

from dataclasses import dataclass

from ...networks.config import RegressionConfig


@dataclass(frozen=True)
class Unet3dConfig(RegressionConfig):
    """The regression twin of CSRD: same network at a constant noise level, same data, same residual."""

    NAME = "U-net configuration"


COMPACT = {"channels": 24, "multipliers": (1, 2, 3), "blocks": 1, "resample": "light", "attention": False,
           "dropout": 0.0, "stem": 2, "norm": "voxel",
           "condition_channels": 7, "vector": 4}  # fmt: skip
CONFIGS = {"compact": Unet3dConfig(network=COMPACT)}
