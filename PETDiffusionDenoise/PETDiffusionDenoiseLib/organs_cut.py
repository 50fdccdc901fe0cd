"""Organs that a region cuts: their numbers are of the part inside, which a warning and the table say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from petdiffusion.prepare import grids
from petdiffusion.volume import Geometry, LabelMap

from . import tables
from .review_lists import number

COLUMN = "outside_region_ml"
TOLD_OUTSIDE = 0.01
"""Part of an organ outside the region above which it is told, as of a lesion outside the PET."""
Volumes = Mapping[tuple[int, str], tuple[float, float]]
"""By value and name: the whole organ, and what of it lies outside, in ml."""


def volumes(labels: LabelMap, region: Geometry) -> Volumes:
    """Of every organ that the region holds a part of."""
    inside = grids.seen(region, labels.geometry)
    whole = np.zeros(int(labels.array.max(initial=0)) + 1, np.int64)
    kept = whole.copy()
    for plane, within in zip(labels.array, inside):
        whole += np.bincount(plane.ravel(), minlength=len(whole))
        kept += np.bincount(plane[within], minlength=len(whole))
    ml = labels.geometry.voxel_ml
    return {(value, name): (float(whole[value] * ml), float((whole[value] - kept[value]) * ml))
            for value, name in labels.present().items() if kept[value]}


def told(found: Volumes) -> tuple[str, ...]:
    """Names those that a chart would show; the table has all."""
    cut = [{"organ": name, "volume_ml": whole, COLUMN: outside} for (_, name), (whole, outside) in found.items()
           if outside > TOLD_OUTSIDE * whole]  # fmt: skip
    if not cut:
        return ()
    shown = tables.main_rows(cut, "organ")
    each = ", ".join(f"{row['organ']} ({number(row[COLUMN])} of {number(row['volume_ml'])} ml lie outside)"
                     for row in shown)
    more = f" and {len(cut) - len(shown)} more" if len(cut) > len(shown) else ""
    return (f"The region cuts organs, whose numbers are of the part inside it alone: {each}{more}.",)


def marked(rows: tables.Rows, found: Volumes) -> tables.Rows:
    """The rows of organs with what of each lies outside, beside its volume; as they are where none is cut."""
    if not told(found):
        return rows
    return [_with(row, found.get((row.get("label"), row.get("organ")), (None, None))[1]) for row in rows]


def _with(row: Mapping[str, Any], outside: float | None) -> dict[str, Any]:
    columns = {}
    for key, value in row.items():
        columns[key] = value
        if key == "volume_ml":
            columns[COLUMN] = outside
    return columns
