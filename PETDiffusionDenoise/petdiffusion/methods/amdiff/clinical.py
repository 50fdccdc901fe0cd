"""The clinical table: volume, SUVs and TLG of each lesion, totals, SUVmean of each organ; their SD over the samples.

Masks are those of the estimate; a sample changes the uptake in them. So uptakes and TLG have an SD (`SUVmax_sd`),
volumes have none. What intervals that makes is the room `trust`'s to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...measure.rows import placed
from ...measure.segmentation import regions
from ...measure.suvs import uptake
from ...volume import Geometry
from .masks import Masks

AROUND_MM = 8.0
"""A lesion's peak may lie in a sphere that reaches beyond it."""
UPTAKES = ("SUVmean", "SUVmax", "SUVpeak", "TLG")

Rows = list[dict[str, Any]]


def left_out(image: np.ndarray, masks: Masks, geometry: Geometry) -> Rows:
    """Marked regions that are not taken for lesions, and why: to be looked at all the same."""
    if masks.left_out is None:
        return []
    rows = []
    for value, mask, wide in _regions(masks.left_out.array, geometry):
        found, volume = uptake(image[wide], mask, geometry), float(mask.sum()) * geometry.voxel_ml
        place = {"organ": masks.left_out_places[value]} if any(masks.left_out_places.values()) else {}
        rows.append({"region": value, **place, "volume_ml": volume, "SUVmax": found.maximum, "SUVmean": found.mean,
                     "why": masks.left_out.names[value], **_hottest(image[wide], mask, wide, geometry)})  # fmt: skip
    return rows


def numbers(image: np.ndarray, masks: Masks, geometry: Geometry) -> Rows:
    """Rows of lesions, then the total, then organs without their lesions."""
    lesions = _lesions(image, masks, geometry)
    sums = {key: sum(row[key] for row in lesions) for key in ("volume_ml", "TLG")}
    total = {"what": "total", "name": "all lesions", "lesions": len(lesions), **sums}
    return [*lesions, total, *_organs(image, masks, geometry)]


def _lesions(image: np.ndarray, masks: Masks, geometry: Geometry) -> Rows:
    rows, lesions = [], masks.lesions
    for value, mask, wide in _regions(lesions.array, geometry):
        found, volume = uptake(image[wide], mask, geometry), float(mask.sum()) * geometry.voxel_ml
        place = {"organ": masks.places[value]} if masks.places.get(value) else {}
        rows.append({"what": "lesion", "name": lesions.names.get(value, f"lesion {value}"), **place,
                     "volume_ml": volume, "SUVmean": found.mean, "SUVmax": found.maximum, "SUVpeak": found.peak,
                     "TLG": found.mean * volume, **_hottest(image[wide], mask, wide, geometry)})  # fmt: skip
    return rows


def _regions(numbered: np.ndarray, geometry: Geometry) -> Iterator[tuple[int, np.ndarray, tuple[slice, ...]]]:
    """Each region's number, its mask in a box with room for its peak, and the box."""
    reach = [int(np.ceil(AROUND_MM / step)) + 1 for step in geometry.spacing[::-1]]
    for value, box, _ in regions(numbered):
        wide = tuple(slice(max(s.start - r, 0), s.stop + r) for s, r in zip(box, reach))
        yield value, numbered[wide] == value, wide


def _hottest(image: np.ndarray, mask: np.ndarray, box: tuple[slice, ...], geometry: Geometry) -> dict[str, float]:
    """Where SUVmax is, in patient coordinates (LPS): the place to look at."""
    inside = np.unravel_index(np.where(mask, image, -np.inf).argmax(), mask.shape)
    voxel = [start.start + i for start, i in zip(box, inside)][::-1]
    return placed("hottest_", (geometry.affine @ [*voxel, 1.0])[:3])


def _organs(image: np.ndarray, masks: Masks, geometry: Geometry) -> Rows:
    marked = np.flatnonzero(np.where(masks.lesions.array > 0, 0, masks.organs.array))
    values = masks.organs.array.ravel()[marked]
    count = np.bincount(values, minlength=max(masks.organs.names) + 1)
    total = np.bincount(values, image.ravel()[marked], minlength=len(count))
    return [{"what": "organ", "name": name, "volume_ml": float(count[v]) * geometry.voxel_ml,
             "SUVmean": float(total[v] / count[v])} for v, name in masks.organs.names.items() if count[v]]  # fmt: skip


@dataclass(eq=False)
class Spreads:
    """The same rows of every sample."""

    samples: list[Rows] = field(default_factory=list)

    def add(self, rows: Rows) -> None:
        self.samples.append(rows)

    def beside(self, rows: Rows) -> Rows:
        """The estimate's rows with the SD of each uptake beside it, where there are two samples at least."""
        if len(self.samples) < 2:
            return rows
        return [self._with_sd(row, [rows_[i] for rows_ in self.samples]) for i, row in enumerate(rows)]

    @staticmethod
    def _with_sd(row: dict[str, Any], same: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return row | {f"{name}_sd": float(np.std([one[name] for one in same], ddof=1))
                      for name in UPTAKES if name in row}  # fmt: skip
