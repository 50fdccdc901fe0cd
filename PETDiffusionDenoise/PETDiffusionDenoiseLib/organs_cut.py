"""Organs that a region cuts: their numbers are of the part inside, which a warning and the table say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from petdiffusion.prepare import outside
from petdiffusion.prepare.outside import TOLD_OUTSIDE
from petdiffusion.volume import Geometry, LabelMap

from . import tables
from .review_lists import number

COLUMN = "outside_region_ml"
Volumes = Mapping[tuple[int, str], tuple[float, float]]
"""By value and name: the whole organ, and what of it lies outside, in ml."""


def volumes(labels: LabelMap, region: Geometry) -> Volumes:
    """Of every organ that the region holds a part of."""
    whole, kept = outside.voxels(labels, region)
    ml = labels.geometry.voxel_ml
    return {(value, name): (float(whole[value] * ml), float((whole[value] - kept[value]) * ml))
            for value, name in labels.present().items() if kept[value]}


def told(found: Volumes) -> tuple[str, ...]:
    """Names those that a chart would show; the table has all."""
    cut = [{"organ": name, "volume_ml": whole, COLUMN: beyond} for (_, name), (whole, beyond) in found.items()
           if beyond > TOLD_OUTSIDE * whole]  # fmt: skip
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


def _with(row: Mapping[str, Any], beyond: float | None) -> dict[str, Any]:
    columns = {}
    for key, value in row.items():
        columns[key] = value
        if key == "volume_ml":
            columns[COLUMN] = beyond
    return columns


def without_doubles(warnings: Iterable[str], found: Volumes) -> tuple[str, ...]:
    """Each once. The backend takes the region for the whole PET, and tells the same of it."""
    return tuple(dict.fromkeys(text for text in warnings if not (told(found) and text.startswith(outside.BEGINS))))
