"""How tables put images side by side: one column per image, then the change against the first and the reference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..volume import SUVBW, Volume
from .checks import percent_change

LOW, DENOISED, REFERENCE = "low", "denoised", "reference"
"""Names that tables treat specially; any other name is an image to be compared with the reference."""


def beside(metric: str, values: Mapping[str, float | None], changes: bool = True) -> dict[str, float | None]:
    """`SUVmean_low`, `SUVmean_denoised`, ..., `SUVmean_denoised_vs_low_percent`, `..._vs_reference_percent`."""
    row = {f"{metric}_{image}": value for image, value in values.items()}
    if not changes:
        return row
    for base in (LOW, REFERENCE):
        if base in values:
            for image, value in values.items():
                if image != base and not (base == LOW and image == REFERENCE):
                    row[f"{metric}_{image}_vs_{base}_percent"] = percent_change(value, values[base])
    return row


PLACES = ("hottest_", "centre_", "")
"""Before `x_mm`: the voxel of SUVmax, a mask's centre of mass, the place of a finding."""


def placed(kind: str, place: Iterable[float]) -> dict[str, float]:
    """`hottest_x_mm`, `hottest_y_mm`, `hottest_z_mm`: patient coordinates (LPS)."""
    return {f"{kind}{axis}_mm": round(float(v), 2) for axis, v in zip("xyz", place)}


def place_of(row: Mapping[str, Any]) -> tuple[float, float, float] | None:
    """Where a table's row is; None where it is no place."""
    for kind in PLACES:
        found = tuple(row.get(f"{kind}{axis}_mm") for axis in "xyz")
        if None not in found:
            return found
    return None


def prefix(volumes: Mapping[str, Volume]) -> str:
    """`SUV` where every image is in SUVbw, else nothing: a number is never called an SUV that is not one."""
    return "SUV" if all(v.unit == SUVBW for v in volumes.values()) else ""
