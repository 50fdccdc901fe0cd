"""What is odd about an SUV and the times it was made with, and no reason to refuse it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from . import header, tracers
from .dicom import HALF_LIVES_AGREE, holds_suv, philips_scales
from .factor import ROUNDING_S
from .times import INJECTION_CLOCKS_AGREE_S, UNUSUAL_HALF_LIVES, Clocks, clocks, is_dynamic, told_injection

if TYPE_CHECKING:
    from pydicom import Dataset

GIVEN_ON_THE_SCANNER_S = 600.0
"""Tracers that live shorter (Rb-82, O-15, N-13) are given while the scanner runs."""
USUAL_WAITS = (("C-11", 90 * 60.0), ("Cu-64", 72 * 3600.0))
"""In seconds, of the nuclides that are imaged after more than three half-lives: PiB at 70 minutes, antibodies at two
or three days."""
_CHECK = "Check it before any SUV is used."


def of_values(series: Sequence[Dataset]) -> list[str]:
    """Of values that are SUV already, whatever else the header tells."""
    if holds_suv(series) and not all(header.words(ds, "CorrectedImage") for ds in series):
        return [f"The header does not say (0028,0051) whether the SUVs are corrected for attenuation. {_CHECK}"]
    return []


def of_times(series: Sequence[Dataset], half_life_s: float) -> list[str]:
    """Of a series whose SUV factor is known. Nothing where it hangs on no time: the values are SUV already, corrected
    to the injection, or come with Philips' own factors."""
    as_stored = holds_suv(series) or philips_scales(series) is not None
    if as_stored or header.text(series[0], "DecayCorrection").upper() != "START":
        return []
    found = clocks(series, half_life_s)
    return [text for text in (_waited(series[0], found, half_life_s), _dated(series[0], found)) if text]


def _waited(ds: Dataset, found: Clocks, half_life_s: float) -> str | None:
    if abs(found.waited_s) <= ROUNDING_S and not is_dynamic(ds) and half_life_s > GIVEN_ON_THE_SCANNER_S:
        return f"The injection and the scan are at one time ({found.injected:%H:%M:%S}). {_CHECK}"
    lives = found.waited_s / half_life_s
    if found.waited_s > _usual_s(half_life_s):
        return (f"The injection was {found.waited_s / 3600:.1f} h ({lives:.1f} half-lives) before the scan, "
                f"which is unusual. {_CHECK}")
    return None


def _usual_s(half_life_s: float) -> float:
    usual = [wait for name, wait in USUAL_WAITS if abs(half_life_s / tracers.half_life(name) - 1) <= HALF_LIVES_AGREE]
    return max([UNUSUAL_HALF_LIVES * half_life_s, *usual])


def _dated(ds: Dataset, found: Clocks) -> str | None:
    """The date-time of the injection, where it was not taken as it is."""
    at, dated, raw = told_injection(ds)
    if dated is None or found.reference.date() == header.NO_DATE:
        return None
    if abs((dated - found.injected).total_seconds()) > INJECTION_CLOCKS_AGREE_S:
        return ("The injection's date-time (0018,1078) does not fit its time of day (0018,1072) or the scan's date: "
                f"{found.injected:%H:%M:%S}, {found.waited_s / 60:.0f} min before the scan, is taken. {_CHECK}")
    if at is None and header.own_zone(raw) is not None and header.zone(ds) is None:
        return (f"The injection's date-time (0018,1078) has a zone of its own, and the header does not say that of the "
                f"scanner (0008,0201): it is taken for the scanner's clock, {dated:%H:%M:%S}. {_CHECK}")
    return None
