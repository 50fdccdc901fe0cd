"""Everything that defines a LeqMod-GAN model; saved whole in its card."""

from __future__ import annotations

from dataclasses import dataclass

from ...networks.config import RegressionConfig

AT_ONCE = 48
"""Voxels along a side of the patches that are learnt from."""


@dataclass(frozen=True)
class LeqmodConfig(RegressionConfig):
    """Errors are in standard deviations of the scan's noise, times `unit`; weights of their losses are the paper's."""

    NAME = "LeqMod-GAN configuration"

    drop_anatomy: float = 1.0
    """The paper's network is shown the PET alone."""
    critic_channels: int = 16
    squared: float = 10.0
    adversarial: float = 0.1
    """Ten times as much cost 1 dB on validation patients."""
    consistency: float = 2.0
    lesion: float = 2.0
    windows: tuple[int, ...] = (5, 9, 17, 33)
    """Voxels along a side of the regions whose mean and maximum are held; odd."""
    shares: tuple[float, ...] = (0.8, 0.15, 0.03, 0.02)
    """Of the consistency, for each size of region."""
    lesion_share: float = 0.5
    """Of the patches that are drawn around a lesion, where the patient has any."""
    unit: float = 0.3

    def __post_init__(self) -> None:
        object.__setattr__(self, "windows", tuple(int(n) for n in self.windows))
        object.__setattr__(self, "shares", tuple(float(x) for x in self.shares))
        weights = (self.squared, self.adversarial, self.consistency, self.lesion, *self.shares)
        self.refuse({
            "windows and shares are not as many": len(self.windows) != len(self.shares),
            "a window is even, below 3 or larger than a patch":
                any(n % 2 == 0 or not 3 <= n <= AT_ONCE for n in self.windows),
            "a weight is below zero": min(weights) < 0,
            f"lesion_share = {self.lesion_share} is not between 0 and 1": not 0 <= self.lesion_share <= 1,
            f"unit = {self.unit} is not above zero": not self.unit > 0,
        })  # fmt: skip


COMPACT = {"channels": 8, "multipliers": (1, 2, 3), "blocks": 1, "resample": "light", "attention": False,
           "dropout": 0.0, "stem": 2, "norm": "voxel",
           "condition_channels": 7, "vector": 4}  # fmt: skip
CONFIGS = {"compact": LeqmodConfig(network=COMPACT)}
