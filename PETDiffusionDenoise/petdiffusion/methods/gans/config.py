"""Everything that defines a model of one of these methods; saved whole in its card."""

from __future__ import annotations

from dataclasses import dataclass

from ...networks.config import RegressionConfig


@dataclass(frozen=True)
class GanConfig(RegressionConfig):
    """Errors are in standard deviations of the scan's noise, times `unit`. `network` are the fields of a `UNetConfig`,
    of each U-net where there are two."""

    NAME = "GAN configuration"

    critic_channels: int = 16
    voxelwise: float = 10.0
    """What the mean absolute error weighs."""
    adversarial: float = 0.1
    unit: float = 0.3
    window: int | None = None
    """Voxels along a side of patches at work, where the network looks at all of its patch at once."""

    def __post_init__(self) -> None:
        self.refuse({
            "a weight is below zero": min(self.voxelwise, self.adversarial) < 0,
            f"unit = {self.unit} is not above zero": not self.unit > 0,
        })  # fmt: skip


@dataclass(frozen=True)
class LocalityConfig(GanConfig):
    NAME = "LA-GAN configuration"

    adversarial: float = 1 / 30
    """The paper's 1 to 300."""
    regions: int = 8
    """Along each axis of the scan: places between which the weights of PET, CT and MR change."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.refuse({f"regions = {self.regions} is below two": self.regions < 2})


@dataclass(frozen=True)
class TransformerConfig(GanConfig):
    NAME = "Transformer-GAN configuration"

    drop_anatomy: float = 1.0
    """The papers' networks are shown the PET alone."""
    layers: int = 4


@dataclass(frozen=True)
class FrequencyConfig(GanConfig):
    NAME = "DF-GAN configuration"

    drop_anatomy: float = 1.0
    cut: float = 1.0
    """SD, in voxels, of the Gaussian that parts low from high frequencies."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.refuse({f"cut = {self.cut} is not above zero": not self.cut > 0})


@dataclass(frozen=True)
class RectifiedConfig(GanConfig):
    NAME = "AR-GAN configuration"

    drop_anatomy: float = 1.0
    spectrum: float = 1.0
    """What the mean absolute error of the spectrum weighs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.refuse({"spectrum is below zero": self.spectrum < 0})


SIZE = {"channels": 8, "multipliers": (1, 2, 3), "blocks": 1, "resample": "light", "attention": False, "dropout": 0.0,
        "stem": 2, "norm": "voxel", "head_channels": 8, "condition_channels": 7, "vector": 4}  # fmt: skip
"""LeqMod-GAN's U-net, so that no method has it for its size."""
WHOLE_PATCH = 48
LOCALITY = {"compact": LocalityConfig(network=SIZE)}
TRANSFORMER = {"compact": TransformerConfig(network=SIZE, window=WHOLE_PATCH)}
FREQUENCY = {"compact": FrequencyConfig(network={**SIZE, "attention": True}, window=WHOLE_PATCH)}
RECTIFIED = {"compact": RectifiedConfig(network=SIZE)}
