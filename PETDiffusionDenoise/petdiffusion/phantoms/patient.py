"""A digital patient: everything on one grid, with its truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..volume import LabelMap, Volume


@dataclass(frozen=True)
class Lesion:
    """Truth of one lesion; `label` is its value in the lesion map."""

    label: int
    organ: str
    centre_mm: tuple[float, float, float]
    diameter_mm: float
    volume_ml: float
    suv_mean: float
    suv_max: float
    necrotic: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Patient:
    """True activity (SUVbw, no noise, no blur), CT (HU), T1-like MR (a.u.), organs and lesions."""

    seed: int
    kind: str
    pet: Volume
    ct: Volume
    mr: Volume
    organs: LabelMap
    lesion_map: LabelMap
    lesions: tuple[Lesion, ...]
    tracer: str = "FDG"
    sex: str = "F"
    weight_kg: float = 70.0
    height_m: float = 1.7
    details: Mapping[str, Any] = field(default_factory=dict)
    """How the patient differs from others: posture, fat, myocardium, bladder and the like."""
