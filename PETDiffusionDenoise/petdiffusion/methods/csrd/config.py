"""Everything that defines a CSRD model; saved whole in its card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...errors import ModelError
from ...infer.partners import ANATOMIES, Partner
from ...networks.config import Config

BASES = ("filtered", "input", "regression")


@dataclass(frozen=True)
class CsrdConfig(Config):
    """`network` are the fields of the UNet's configuration."""

    NAME = "CSRD configuration"

    network: Mapping[str, Any] = field(default_factory=dict)
    base: str = "filtered"
    """What the residual refers to: the Gaussian-filtered scan, the noisy input as in the paper, or what a regression
    makes of the scan."""
    regression: str = ""
    """Model of the regression, where the residual refers to one."""
    regression_sha256: str = ""
    stack: Sequence[Sequence[float]] = ()
    """How much of the scan's average within the MR's tissues is put into a regression's image, by the width of the
    scan's edges in mm (`infer.tissue`); none: nothing."""
    partners: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """Filters whose images are put to the mean (`infer.partners`), by the anatomy that a scan has: mr, ct or none."""
    unseen: Sequence[str] = ()
    """Anatomy that is not shown to the network, since on held-out patients its image is better without; partners may
    use it."""
    base_fwhm_mm: float = 6.0
    sigma_data: float | None = None
    """Measured on the residuals before training; None until then."""
    sigma_min: float = 0.02
    sigma_max: float = 20.0
    P_mean: float = -1.2
    P_std: float = 1.2
    """ln(sigma / sigma_data) ~ N(P_mean + ln 2, P_std^2): the paper's distribution, whose sigma_data is 0.5."""
    mean_share: float = 0.4
    """Share of the training spent on the first evaluation, which gives the mean."""
    drop_anatomy: float = 0.3
    """Chance that CT and MR are withheld, so that one model serves all."""
    weight_power: float = 0.5
    """The loss counts a voxel by its noise scale to this power."""

    def __post_init__(self) -> None:
        if self.base not in BASES:
            raise ModelError(f"Base '{self.base}'", f"is not one of {', '.join(BASES)}", "Use one of them.")
        if (self.base == "regression") != bool(self.regression):
            raise ModelError(f"Base '{self.base}' with regression '{self.regression}'", "do not go together",
                             "Name the regression's model where the base is 'regression', and only there.")  # fmt: skip
        widths = [width for width, _ in self.stack]
        if widths != sorted(widths) or not all(0 <= weight <= 1 for _, weight in self.stack):
            raise ModelError(f"Stack {self.stack}", "is not (width in mm, weight from 0 to 1) by rising width",
                             "Learn it anew with Resources/training/csrd_stack.py.")  # fmt: skip
        known = [Partner.read(one) for some in self.partners.values() for one in some]
        self.refuse({
            f"has partners for {', '.join(self.partners)}, not for {', '.join(ANATOMIES)}":
                not set(self.partners) <= set(ANATOMIES),
            f"hides {', '.join(self.unseen)} from the network, which are not ct or mr":
                not set(self.unseen) <= {"ct", "mr"},
            "has partners, but no trained mean that they could be put to": bool(known) and self.mean_share == 0,
        })  # fmt: skip


NETWORK = {"condition_channels": 7, "vector": 4}
COMPACT = {
    "channels": 24,
    "multipliers": (1, 2, 3),
    "blocks": 1,
    "resample": "light",
    "attention": False,
    "dropout": 0.0,
    "stem": 2,
    "norm": "voxel",
}
CONFIGS = {
    "compact": CsrdConfig(network={**COMPACT, **NETWORK}),
    "paper": CsrdConfig(
        network={"channels": 64, "multipliers": (1, 2, 2, 2), "blocks": 4, "dropout": 0.13, **NETWORK},
        base="input",
        mean_share=0.0,
        weight_power=0.0,
        drop_anatomy=0.0,
    ),
}
