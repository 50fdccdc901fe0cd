"""Everything that defines a model of this folder's three methods; saved whole in its card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...errors import ModelError
from ...networks.config import Config
from .encoder_ids import COMPACT, VIT_B_32

KINDS = {"kind": ("diffusion", "regression"), "space": ("whitened", "suv"), "predicts": ("velocity", "noise")}


@dataclass(frozen=True)
class PairConfig(Config):
    """`network` are the fields of the UNet's configuration: two slices in, two slices out."""

    NAME = "Configuration of text-ddpm"

    network: Mapping[str, Any] = field(default_factory=dict)
    kind: str = "diffusion"
    """diffusion, or regression: the same network at one constant level, given no noise."""
    text: bool = True
    encoder: Mapping[str, Any] | str | None = None
    """Id, SHA-256 and width of the text encoder; before training its id or path."""
    space: str = "whitened"
    """whitened: residual to the filtered scan, in the noise's standard deviations. suv: the image, as in the paper."""
    base_fwhm_mm: float = 6.0
    suv_unit: float = 8.0
    """In space suv an SUV of this lies in the middle of -1 to 1; nothing is cut off."""
    predicts: str = "velocity"
    T: int = 1000
    beta_1: float = 1e-4
    beta_T: float = 0.02
    mean_share: float = 0.4
    """Share of the training spent on the first evaluation, from no image at all, which gives the mean."""
    drop_text: float = 0.15
    """Chance of each text to be withheld, so that one model runs with and without."""
    weight_power: float = 1.0
    alike_mm: float = 8.0
    """Neighbouring slices share their noise over this distance."""

    def __post_init__(self) -> None:
        for name, choices in KINDS.items():
            if getattr(self, name) not in choices:
                raise ModelError(f"{name} = {getattr(self, name)}", f"is not one of {', '.join(choices)}",
                                 "Use a configuration of this program.")  # fmt: skip


PAIR = {"dims": 2, "in_channels": 2, "out_channels": 2, "vector": 2}
COMPACT_NETWORK = {"channels": 44, "multipliers": (1, 2, 3), "blocks": 1, "resample": "light", "attention": False,
                   "dropout": 0.0, "stem": 2, "norm": "voxel", "condition_channels": 4, **PAIR}  # fmt: skip
PAPER_NETWORK = {"channels": 128, "multipliers": (1, 1, 2, 3, 4), "blocks": 2, "dropout": 0.0,
                 "condition_channels": 2, **PAIR}  # fmt: skip
CONFIGS = {
    "compact": PairConfig(network=COMPACT_NETWORK, encoder=COMPACT),
    "paper": PairConfig(network=PAPER_NETWORK, encoder=VIT_B_32, space="suv", predicts="noise", mean_share=0.0,
                        drop_text=0.0, weight_power=0.0, alike_mm=0.0),
}  # fmt: skip
