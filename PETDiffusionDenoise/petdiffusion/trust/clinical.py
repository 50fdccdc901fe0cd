"""Intervals of the clinical table. Its masks are the method's own, so its intervals answer for their errors too.

The numbers of `intervals.csv` lie in regions that are given. Those of the clinical table lie in what the method found:
their truth is what a reader with the true masks measures in the normal-dose scan. A lesion's is that of the true lesion
beneath its hottest voxel; where there is none (a false positive) it has no truth, and is left out of the calibration of
lesions, but not out of that of the totals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..measure.lesions import split_lesions
from ..measure.rows import place_of
from ..measure.suvs import uptake
from ..phantoms.labels import GROUPS
from ..volume import LabelMap, Volume
from .conformal import Calibration, uncalibrated

TABLE = "clinical"
VOLUME, TLG = "volume_ml", "TLG"
METRICS = (VOLUME, "SUVmean", "SUVmax", "SUVpeak", TLG)
Rows = Sequence[Mapping[str, Any]]


def family(row: Mapping[str, Any], metric: str) -> str:
    """Lesions together, each organ and the total by themselves: an aorta is not found as surely as a liver."""
    return f"{TABLE}_{row['name'] if row['what'] == 'organ' else row['what']}_{metric}".replace(" ", "_")


def spread_of(row: Mapping[str, Any], metric: str) -> float | None:
    """SD over the samples. They share the masks, so a volume has none: its errors count as parts of itself."""
    return row[VOLUME] if metric == VOLUME else row.get(f"{metric}_sd")


def calibrated(known: Calibration | None) -> bool:
    """Whether it was learnt on patients whose true masks were known."""
    return known is not None and any(map(is_clinical, known.families))


def is_clinical(family: str) -> bool:
    return family.startswith(f"{TABLE}_")


def with_intervals(rows: Rows, samples: int, known: Calibration | None, level: float = 0.95) -> list[dict[str, Any]]:
    """`_low95` and `_high95` beside every number that has a calibration, or else a spread."""
    return [_with_intervals(row, samples, known, level) for row in rows]


def _with_intervals(row: Mapping[str, Any], samples: int, known: Calibration | None, level: float) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in row.items():
        found[name] = value
        if name in METRICS and (ends := _ends(row, name, samples, known, level)) is not None:
            low, high = ends
            found |= {f"{name}_low95": max(low, 0.0) if value >= 0 else low, f"{name}_high95": high}
    return found


def _ends(row: Mapping[str, Any], metric: str, samples: int, known: Calibration | None, level: float
          ) -> tuple[float, float] | None:
    sd, value = spread_of(row, metric), row[metric]
    if sd is None or samples < 2 or row.get(VOLUME) == 0:
        return None
    ends = None if known is None else known.interval(family(row, metric), value, sd, samples, level)
    if ends is None and metric != VOLUME:
        ends = uncalibrated(value, sd, samples, level)
    return ends


def scores(rows: Rows, reference: Volume, organs: LabelMap | None, lesions: LabelMap | None
           ) -> dict[str, list[tuple[float, float, float]]]:
    """By family: truth, the table's number and its spread, for the rows that have a truth."""
    truth = _Truth(reference, organs, lesions)
    found: dict[str, list[tuple[float, float, float]]] = {}
    for row in rows:
        true = truth.of(row)
        for metric in METRICS:
            spread = spread_of(row, metric) if metric in row else None
            if metric in true and spread is not None and row[VOLUME] > 0:
                found.setdefault(family(row, metric), []).append((true[metric], row[metric], spread))
    return found


class _Truth:
    """What the true masks give in the normal-dose scan, in the form of the table's rows."""

    def __init__(self, reference: Volume, organs: LabelMap | None, lesions: LabelMap | None) -> None:
        self.image, self.geometry = reference.array, reference.geometry
        self.organs = organs
        self.lesions = None if lesions is None else (split_lesions(lesions).array if lesions.array.any() else
                                                     lesions.array)  # fmt: skip

    def of(self, row: Mapping[str, Any]) -> dict[str, float]:
        if row["what"] == "organ":
            return self._organ(row["name"])
        if self.lesions is None:
            return {}
        if row["what"] == "total":
            mask = self.lesions > 0
            numbers = self._numbers(mask)
            return {VOLUME: numbers[VOLUME], TLG: numbers[TLG]}
        number = self._beneath(row)
        return self._numbers(self.lesions == number) if number else {}

    def _organ(self, name: str) -> dict[str, float]:
        mask = None if self.organs is None else self.organs.mask(name, *GROUPS.get(name, ()))
        if mask is None or not mask.any():
            return {}
        mask = mask if self.lesions is None else mask & (self.lesions == 0)
        if not mask.any():
            return {}
        return {VOLUME: float(mask.sum()) * self.geometry.voxel_ml,
                "SUVmean": float(self.image[mask].mean(dtype=np.float64))}  # fmt: skip

    def _beneath(self, row: Mapping[str, Any]) -> int:
        place = [*place_of(row), 1.0]
        voxel = np.rint(np.linalg.solve(self.geometry.affine, place)[:3]).astype(int)[::-1]
        return int(self.lesions[tuple(voxel)])

    def _numbers(self, mask: np.ndarray) -> dict[str, float]:
        if not mask.any():
            return {VOLUME: 0.0, TLG: 0.0}
        found, volume = uptake(self.image, mask, self.geometry), float(mask.sum()) * self.geometry.voxel_ml
        return {VOLUME: volume, "SUVmean": found.mean, "SUVmax": found.maximum, "SUVpeak": found.peak,
                TLG: found.mean * volume}  # fmt: skip
