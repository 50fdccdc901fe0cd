"""What a careful reader should look at again before relying on a number; in report, run record and on the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..wording import counted

Row = Mapping[str, Any]
PEAK_LIMIT, PEAK_LIMIT_LOW, ORGAN_LIMIT, ACTIVITY_LIMIT = 15.0, 30.0, 5.0, 2.0
"""Per cent: differences beyond these are pointed out. Against the low-count scan noise alone moves a peak."""
NOISE_SDS = 2.0
"""Of an organ's mean: what changed by less is not held against the output."""
LEAST_FALL = 0.98
LEAST_WHOLE_ML = {"liver": 600.0, "lung": 800.0, "spleen": 40.0, "kidney": 120.0, "aorta": 40.0, "brain": 700.0,
                  "heart": 200.0}  # fmt: skip
"""Organs of adults are hardly ever smaller; lungs and kidneys together. A smaller one is cut off, or something else."""
SHOWN_LESIONS, SHOWN_ORGANS, LEAST_ORGAN_ML = 12, 5, 5.0


def cautions(tables: Mapping[str, Sequence[Row]], denoised: bool = True) -> list[str]:
    """Sentences on lesions, organs and total activity whose numbers changed more than they should. Not `denoised`: the
    image was meant to stay as it is."""
    found = [
        _noise(tables.get("image", ())) if denoised else "",
        _lesions(tables.get("lesions", ())),
        _cold(tables.get("lesions", ())),
        _organs(tables.get("organs", ())),
        activity(tables.get("image", ())),
        _fragments(tables.get("clinical", ())),
    ]
    return [text for text in found if text]


def _noise(rows: Sequence[Row]) -> str:
    """Said where a method left the noise as it was: with voxels wider than its filter, or settings that do nothing."""
    noise = {r.get("image"): r.get("local_noise_percent") for r in rows}
    before, after = noise.get("low"), noise.get("denoised")
    if not before or after is None or after < LEAST_FALL * before:
        return ""
    return (
        f"The noise did not fall ({before:.3g}\u00a0% before, {after:.3g}\u00a0% after): the image was changed little "
        "or for the worse. Look at the voxel size and the method's settings."
    )


def _lesions(rows: Sequence[Row]) -> str:
    for base, words, limit in (("reference", "normal-dose", PEAK_LIMIT), ("low", "low-count", PEAK_LIMIT_LOW)):
        name = next((n for n in ("SUVpeak", "peak") if any(f"{n}_denoised_vs_{base}_percent" in r for r in rows)), None)
        if name is None:
            continue
        column = f"{name}_denoised_vs_{base}_percent"
        beyond = _beyond(rows, column, limit)
        if not beyond:
            return ""
        each = ", ".join(f"{r.get('number')}\u00a0({signed(r[column])})" for r in beyond[:SHOWN_LESIONS])
        return (
            f"{name} differs from the {words} scan by more than {limit:g}\u00a0% in {len(beyond)} of "
            f"{counted(len(rows), 'lesion')}: {each}{_more(beyond, SHOWN_LESIONS)}."
        )
    return ""


def cold(row: Row) -> bool:
    """Whether a lesion is colder than its surroundings, in the best image there is."""
    contrast = row.get("contrast_reference", row.get("contrast_denoised"))
    return contrast is not None and contrast < 1


def _cold(rows: Sequence[Row]) -> str:
    found = [str(row.get("number")) for row in rows if cold(row)]
    if not found:
        return ""
    named = ", ".join(found[:SHOWN_LESIONS]) + _more(found, SHOWN_LESIONS)
    return (
        f"{len(found)} of {counted(len(rows), 'lesion')} {'is' if len(found) == 1 else 'are'} colder than the "
        f"surroundings ({named}): metabolic tumour volume and total lesion glycolysis, meant for hot lesions, "
        "count these too."
    )


def _organs(rows: Sequence[Row]) -> str:
    large = [row for row in rows if (row.get("volume_ml") or 0) > LEAST_ORGAN_ML]
    column = next((c for c in ("SUVmean_denoised_vs_low_percent", "mean_denoised_vs_low_percent")
                   if any(c in row for row in large)), "")  # fmt: skip
    beyond = [row for row in _beyond(large, column, ORGAN_LIMIT) if not _of_noise(row, column)]
    if not beyond:
        return ""
    shown = ", ".join(f"{str(r['organ']).replace('_', ' ')} ({signed(r[column])})" for r in beyond[:SHOWN_ORGANS])
    share = f"{len(beyond)} of {counted(len(large), 'structure')}{', most in' if len(beyond) > SHOWN_ORGANS else ''}"
    return f"The mean changed by more than {ORGAN_LIMIT:g} % in {share}: {shown}."


def _of_noise(row: Row, column: str) -> bool:
    """Where the scan's noise is known: its own mean is known no better than that."""
    mean = column.removesuffix("_denoised_vs_low_percent")
    low, noise = row.get(f"{mean}_low"), row.get(f"{mean}_noise_low")
    return noise is not None and low is not None and abs(row[column] * low) / 100 < NOISE_SDS * noise


def activity(rows: Iterable[Row]) -> str:
    """A sentence where the total changed more than it should, otherwise nothing."""
    change = next((r.get("activity_vs_low_percent") for r in rows if r.get("image") == "denoised"), None)
    if change is None or abs(change) <= ACTIVITY_LIMIT:
        return ""
    return f"Total activity in the body changed by {signed(change)}."


def fragment(name: str, volume_ml: float | None) -> bool:
    """Whether what a method drew as an organ is too small to be the whole of it."""
    return volume_ml is not None and volume_ml < LEAST_WHOLE_ML.get(name, 0.0)


def _fragments(rows: Iterable[Row]) -> str:
    small = [row for row in rows if row.get("what") == "organ" and fragment(row["name"], row.get("volume_ml"))]
    if not small:
        return ""
    named = ", ".join(f"{row['name']} ({row['volume_ml']:.3g}\u00a0ml)" for row in small)
    return f"Too small to be whole is what the method drew as {named}: cut off by the scan's edge, or another organ."


def _beyond(rows: Sequence[Row], column: str, limit: float) -> list[Row]:
    return sorted((r for r in rows if abs(r.get(column) or 0) > limit), key=lambda r: -abs(r[column]))


def _more(rows: Sequence[Row], shown: int) -> str:
    return f" and {len(rows) - shown} more" if len(rows) > shown else ""


def signed(value: float, decimals: int = 1) -> str:
    """Per cent with a true minus sign, as in the report."""
    if not math.isfinite(value):
        return "–"
    return f"{'−' if value < 0 else '+'}{abs(value):.{decimals}f}\u00a0%"
