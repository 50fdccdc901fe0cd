"""What was found, in rows for tables and in sentences: kind, place, size, change and how likely chance makes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..measure.cautions import ACTIVITY_LIMIT, signed

BEYOND, LOOK = "beyond chance", "worth a look"
"""Unlikely anywhere in the whole scan (adjusted p below 0.05), or only in its own place (p below 0.01)."""
NEW, LOST, RAISED, LOWERED = "new hot spot", "lost hot spot", "hot spot raised", "hot spot lowered"
FILLED, COLD, DEEPER = "cold spot filled", "new cold spot", "cold spot deepened"
LESION, ORGAN, TOTAL, STRUCTURE = "lesion changed", "organ changed", "total changed", "structured residual"
SPOTS = (NEW, LOST, RAISED, LOWERED, FILLED, COLD, DEEPER)
_GONE, _LEAST = 0.5, 0.1
SHOWN = 5


@dataclass(frozen=True)
class Finding:
    """`low` and `output` are means of the place in the image's unit; `sd` is that of their difference under noise."""

    kind: str
    p: float
    """Chance of it in this place: a region of the size of a lesion, a lesion, an organ."""
    p_adjusted: float
    """Chance of it anywhere among all that were looked at."""
    z: float
    low: float | None = None
    output: float | None = None
    change: float | None = None
    sd: float | None = None
    change_percent: float | None = None
    size_mm: float | None = None
    place_mm: tuple[float, float, float] | None = None
    voxel: tuple[int, int, int] | None = None
    """(z, y, x) of the image."""
    organ: str = ""
    lesion: str = ""

    @property
    def weight(self) -> str:
        return BEYOND if self.p_adjusted < 0.05 else LOOK

    def row(self, number: int, prefix: str) -> dict[str, Any]:
        """Columns are called SUV... only where the images are in SUV."""
        x, y, z = self.place_mm or (None, None, None)
        k, j, i = self.voxel or (None, None, None)
        half = None if self.sd is None else 1.96 * self.sd
        known = self.change is not None and half is not None
        return {
            "number": number, "kind": self.kind, "weight": self.weight, "organ": self.organ, "lesion": self.lesion,
            "x_mm": _rounded(x, 1), "y_mm": _rounded(y, 1), "z_mm": _rounded(z, 1), "column": i, "row": j, "slice": k,
            "size_mm": self.size_mm, f"{prefix}mean_low": self.low, f"{prefix}mean_denoised": self.output,
            f"{prefix}change": self.change,
            f"{prefix}change_low95": self.change - half if known else None,
            f"{prefix}change_high95": self.change + half if known else None,
            "change_percent": self.change_percent, "z": _rounded(self.z, 2), "p": self.p,
            "p_adjusted": self.p_adjusted,
        }  # fmt: skip


def spot_kind(low: float, output: float, low_mean: float, output_mean: float) -> str:
    """From the heights of the spot over its surroundings in scan and output; a hot spot has at least a tenth of what
    is around it."""
    if output > low:
        if output > _LEAST * abs(output_mean) and low < _GONE * output:
            return NEW
        return RAISED if output > 0 else FILLED
    if low > _LEAST * abs(low_mean) and output < _GONE * low:
        return LOST
    if output > 0:
        return LOWERED
    return COLD if low > _GONE * output else DEEPER


def sentences(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """For the run's checks: only what chance does not explain."""
    sure = [row for row in rows if row.get("weight") == BEYOND]
    spots = [row for row in sure if row["kind"] in SPOTS]
    said = []
    if spots:
        shown = "; ".join(_place(row) for row in spots[:SHOWN])
        more = f"; and {len(spots) - SHOWN} more" if len(spots) > SHOWN else ""
        said.append(
            f"In {len(spots)} place{'s' if len(spots) > 1 else ''} the output differs from the scan by more than the "
            f"scan's noise explains: {shown}{more}."
        )
    for kind, words in ((LESION, "the mean of {n} lesion{s}"), (ORGAN, "the mean of {n} organ{s}")):
        found = [row for row in sure if row["kind"] == kind]
        if found:
            names = ", ".join(_name(row) for row in found[:SHOWN])
            more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
            what = words.format(n=len(found), s="s" if len(found) > 1 else "")
            said.append(f"Beyond the scan's noise, {what} changed: {names}{more}.")
    said += [_total(row["change_percent"]) for row in sure if row["kind"] == TOTAL]
    rough = [row for row in sure if row["kind"] == STRUCTURE]
    if rough:
        worst = max(rough, key=lambda row: row["change_percent"])
        said.append(
            f"What was removed is not noise alone: at {worst['size_mm']:g} mm it varies {worst['change_percent']:.0f} "
            "% more than the scan's noise; edges or texture were changed throughout."
        )
    return said


def _total(change: float) -> str:
    """Quality control holds the same number against its limit: the two must not seem to disagree."""
    within = f"; within the {ACTIVITY_LIMIT:g}\u00a0% limit" if abs(change) <= ACTIVITY_LIMIT else ""
    return f"Total activity changed by {signed(change)} (more than the scan's noise explains{within})."


def _place(row: Mapping[str, Any]) -> str:
    where = f" in {row['organ'].replace('_', ' ')}" if row.get("organ") else ""
    point = ", ".join(f"{round(row[f'{axis}_mm'])}" for axis in "xyz")  # of whole numbers none is -0
    return f"{row['kind']}{where} at ({point}) mm LPS"


def _name(row: Mapping[str, Any]) -> str:
    name = row["lesion"] if row["kind"] == LESION else row["organ"]
    return f"{str(name).replace('_', ' ')} ({signed(row['change_percent'])})"


def _rounded(value: float | None, decimals: int) -> float | None:
    """Without a minus before zero."""
    return None if value is None else round(value, decimals) + 0.0
