"""Everything that defines a CycleWGAN model; saved whole in its card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...networks.config import Config


@dataclass(frozen=True)
class CycleConfig(Config):
    NAME = "CycleWGAN configuration"

    network: Mapping[str, Any] = field(default_factory=dict)
    """Of either U-net, in two dimensions."""
    critic_channels: int = 16
    cycle: float = 10.0
    """What it weighs that an image comes back as it was."""
    identity: float = 5.0
    """What it weighs that an image which is as it should be stays so."""
    adversarial: float = 0.1
    penalty: float = 10.0
    """What it weighs that the critics' slope is 1."""

    def __post_init__(self) -> None:
        weights = (self.cycle, self.identity, self.adversarial, self.penalty)
        self.refuse({"a weight is below zero": min(weights) < 0})


COMPACT = {"dims": 2, "channels": 16, "multipliers": (1, 2, 3), "blocks": 1, "resample": "light", "attention": False,
           "dropout": 0.0, "stem": 2, "noise": False, "norm": "voxel"}  # fmt: skip
CONFIGS = {"compact": CycleConfig(network=COMPACT)}
