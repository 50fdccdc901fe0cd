"""Everything that defines an AMDiff model; saved whole in its card. Ablations are this with a part left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ...errors import ModelError
from ...networks.config import Config

ORGANS = ("liver", "lung", "bone", "muscle", "kidney", "spleen", "aorta")
"""In the order of the labels 1 to 7."""
BASES, PREDICTIONS, DICES = ("filtered", "none"), ("residual", "epsilon"), ("focal", "printed")
DRAWN_BY = ("own", "base")


@dataclass(frozen=True)
class SegmenterConfig:
    """The dual-branch nnMamba; `channels` are those of the first layer and of the three stages."""

    channels: tuple[int, ...] = (32, 64, 128, 256)
    mamba_blocks: int = 2
    """ResMamba blocks a stage; they share one Mamba layer."""
    state: int = 16
    expand: int = 2
    stem: int = 1
    resmamba: bool = True
    """False: plain convolutions in their place (Table 4, w/o ResMamba)."""
    coordinates: bool = False
    """Whether it is told where in the scan a voxel lies."""
    ct: bool = False
    """Whether it is shown the patient's CT."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(int(c) for c in self.channels))
        if len(self.channels) != 4 or min(*self.channels, self.mamba_blocks, self.state) < 1:
            raise ModelError("Segmenter configuration", "needs four numbers of channels and one block a stage at least")

    @property
    def multiple(self) -> int:
        return self.stem * 8


@dataclass(frozen=True)
class AmdiffConfig(Config):
    """`network` are the fields of the denoiser's UNet, `segmenter` those of SegmenterConfig."""

    NAME = "AMDiff configuration"

    network: Mapping[str, Any] = field(default_factory=dict)
    segmenter: Mapping[str, Any] | None = field(default_factory=dict)
    """None: no segmenter, as in the standalone denoiser."""
    T: int = 250
    base: str = "filtered"
    """What the diffusion refers to: the Gaussian-filtered scan (the model is of the whitened residual), or nothing, as
    in the paper (the model is of the image itself)."""
    base_fwhm_mm: float = 6.0
    predict: str = "residual"
    """`epsilon` as in the paper, or EDM's preconditioning of what is diffused."""
    power: int = 2
    """L_diff is |error|^power; 1 in the paper."""
    sigma_data: float | None = None
    """Measured before training; None until then."""
    sigma_top: float = 20.0
    """Chains begin at the last step of the schedule whose noise over signal is at most this."""
    mean_share: float = 0.75
    """Share of the patches that are seen at the top and without any noise: their estimate is P_HC. 0 as in the paper:
    P_HC is the estimate at whatever step was drawn, counted by alpha-bar."""
    cut_suv: float = 20.0
    revision: bool = True
    revision_channels: int = 16
    joint: bool = True
    """False: the segmenter learns from the denoiser's output but sends nothing back (the standalone parts)."""
    lesion_regulariser: float = 0.1
    """w_1 of Eq. 5; 0 leaves it out."""
    organ_regulariser: float = 0.1
    """w_s of Eq. 5 for the organs; 0 leaves it out."""
    revision_weights: tuple[float, float, float] = (0.5, 0.1, 0.1)
    """Of Eq. 7: background, lesions, organs."""
    lesion_weight: float = 1.0
    organ_weight: float = 1.0
    """w_s of Eq. 9."""
    dice: str = "focal"
    warm_from: float | None = 0.125
    """e_T / e_max of Eq. 11. None: all losses count from the first step, as where a training goes on from another."""
    lesion_share: float = 0.5
    """Share of the patches that are taken around a lesion."""
    threshold: float = 0.5
    """Probability from which a voxel is lesion; found on validation patients."""
    smallest_ml: float = 0.0
    """Lesions below this are dropped; found on validation patients."""
    surely: Mapping[str, float] = field(default_factory=dict)
    """By organ, the probability from which alone a voxel is its; found on validation patients."""
    window: int = 64
    """Side of the segmenter's patches, in voxels."""
    beside: Mapping[str, str] | None = None
    """`id` and `sha256` of the model whose denoiser and revision are used as they are; the segmenter is its own."""
    lesions_by: str = "own"
    """`base`: lesions are left to that model's segmenter, whatever is given beside the PET."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "revision_weights", tuple(self.revision_weights))
        for name, known in (("base", BASES), ("predict", PREDICTIONS), ("dice", DICES),
                            ("lesions_by", DRAWN_BY)):  # fmt: skip
            if getattr(self, name) not in known:
                raise ModelError(f"{name} = '{getattr(self, name)}'", f"is not one of {', '.join(known)}")

    @property
    def segments(self) -> bool:
        return self.segmenter is not None

    @property
    def sees_places(self) -> bool:
        """Whether the denoiser is told where in the scan a voxel lies; in the paper it isn't."""
        return self.base != "none"

    @property
    def sees_ct(self) -> bool:
        return self.segments and bool(self.segmenter.get("ct", False))


CONDITIONS = {"condition_channels": 7, "vector": 4}
COMPACT_UNET = {"channels": 24, "multipliers": (1, 2, 3), "blocks": 1, "resample": "light", "attention": False,
                "dropout": 0.0, "stem": 2, "norm": "voxel", **CONDITIONS}  # fmt: skip
COMPACT_SEGMENTER = {"channels": (32, 40, 48, 48), "mamba_blocks": 1, "state": 8, "expand": 1, "stem": 2,
                     "coordinates": True}  # fmt: skip
_PAPER = AmdiffConfig(
    network={"channels": 64, "multipliers": (1, 2, 3, 4), "blocks": 2, "dropout": 0.0, "condition_channels": 1},
    segmenter={},
    base="none", predict="epsilon", power=1, sigma_top=float("inf"), mean_share=0.0, window=128,
    lesion_regulariser=1.0, organ_regulariser=1.0, revision_weights=(1.0, 1.0, 1.0),
)  # fmt: skip
_COMPACT = AmdiffConfig(network=COMPACT_UNET, segmenter=COMPACT_SEGMENTER, revision_channels=8)

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "no-revision": {"revision": False},
    "no-organ-regulariser": {"organ_regulariser": 0.0},
    "no-lesion-regulariser": {"lesion_regulariser": 0.0},
    "no-resmamba": {},
    "separate": {"joint": False, "revision": False, "lesion_regulariser": 0.0, "organ_regulariser": 0.0},
}
"""Table 4's ablations, and the standalone parts: neither learns from the other."""


def variant(config: AmdiffConfig, name: str) -> AmdiffConfig:
    if name == "no-resmamba":
        return replace(config, segmenter={**config.segmenter, "resmamba": False})
    return replace(config, **VARIANTS[name])


def _with_variants(name: str, config: AmdiffConfig) -> dict[str, AmdiffConfig]:
    return {name: config} | {f"{name}-{one}": variant(config, one) for one in VARIANTS}


_ON_BODY = replace(_COMPACT, beside={"id": "amdiff-body"}, lesions_by="base", surely={"aorta": 0.6})
MASKS = {
    "masks": _ON_BODY,
    "masks-ct": replace(_ON_BODY, segmenter={**COMPACT_SEGMENTER, "ct": True}),
}
"""A segmenter of organs alone, on the images of the bundled model: by PET, and by PET and CT. From 0.6 the error of the
aorta's SUVmean is least on validation patients (Testing/benchmarks/organ_uptake.py)."""
CONFIGS: Mapping[str, AmdiffConfig] = {
    **_with_variants("compact", _COMPACT), **_with_variants("paper", _PAPER), **MASKS,
}  # fmt: skip
DENOISER_ALONE: Mapping[str, AmdiffConfig] = {
    name: replace(CONFIGS[f"{name}-separate"], segmenter=None) for name in ("compact", "paper")
}
SEPARATE: Mapping[str, AmdiffConfig] = {name: CONFIGS[f"{name}-separate"] for name in ("compact", "paper")}
