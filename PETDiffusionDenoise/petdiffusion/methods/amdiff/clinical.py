"""The clinical table: volume, SUVs and TLG of each lesion, totals, SUVmean of each organ; intervals from the samples.

Masks are those of the estimate; a sample changes the uptake in them. So uptakes and TLG have intervals (1.96 SD over
the samples), volumes have none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import ndimage

from ...measure.suvs import uptake
from ...volume import Geometry
from .masks import Masks

AROUND_MM = 8.0
"""A lesion's peak may lie in a sphere that reaches beyond it."""
UPTAKES = ("SUVmean", "SUVmax", "SUVpeak", "TLG")
Z = 1.96

Rows = list[dict[str, Any]]


def numbers(image: np.ndarray, masks: Masks, geometry: Geometry) -> Rows:
    """Rows of lesions, then the total, then organs without their lesions."""
    lesions = _lesions(image, masks, geometry)
    sums = {key: sum(row[key] for row in lesions) for key in ("volume_ml", "TLG")}
    total = {"what": "total", "name": "all lesions", "lesions": len(lesions), **sums}
    return [*lesions, total, *_organs(image, masks, geometry)]


def _lesions(image: np.ndarray, masks: Masks, geometry: Geometry) -> Rows:
    rows, lesions = [], masks.lesions
    reach = [int(np.ceil(AROUND_MM / step)) + 1 for step in geometry.spacing[::-1]]
    for value, box in enumerate(ndimage.find_objects(lesions.array), 1):
        if box is None:
            continue
        wide = tuple(slice(max(s.start - r, 0), s.stop + r) for s, r in zip(box, reach))
        mask = lesions.array[wide] == value
        found, volume = uptake(image[wide], mask, geometry), float(mask.sum()) * geometry.voxel_ml
        place = {"organ": masks.places[value]} if masks.places.get(value) else {}
        rows.append({"what": "lesion", "name": lesions.names.get(value, f"lesion {value}"), **place,
                     "volume_ml": volume, "SUVmean": found.mean, "SUVmax": found.maximum, "SUVpeak": found.peak,
                     "TLG": found.mean * volume})  # fmt: skip
    return rows


def _organs(image: np.ndarray, masks: Masks, geometry: Geometry) -> Rows:
    values = np.where(masks.lesions.array > 0, 0, masks.organs.array)
    count = np.bincount(values.ravel(), minlength=max(masks.organs.names) + 1)
    total = np.bincount(values.ravel(), image.ravel().astype(np.float64), minlength=len(count))
    return [{"what": "organ", "name": name, "volume_ml": float(count[v]) * geometry.voxel_ml,
             "SUVmean": float(total[v] / count[v])} for v, name in masks.organs.names.items() if count[v]]  # fmt: skip


@dataclass(eq=False)
class Spreads:
    """The same rows of every sample."""

    samples: list[Rows] = field(default_factory=list)

    def add(self, rows: Rows) -> None:
        self.samples.append(rows)

    def beside(self, rows: Rows) -> Rows:
        """The estimate's rows with `_low` and `_high` beside each uptake, where there are two samples at least."""
        if len(self.samples) < 2:
            return rows
        return [self._with_interval(row, [rows_[i] for rows_ in self.samples]) for i, row in enumerate(rows)]

    @staticmethod
    def _with_interval(row: dict[str, Any], same: Sequence[dict[str, Any]]) -> dict[str, Any]:
        wide = {}
        for name, value in row.items():
            wide[name] = value
            if name in UPTAKES:
                half = Z * float(np.std([one[name] for one in same], ddof=1))
                wide |= {f"{name}_low": max(value - half, 0.0) if value >= 0 else value - half,
                         f"{name}_high": value + half}  # fmt: skip
        return wide
