"""A scan across midnight whose slices all bear one date."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from datetime import date, time, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from ..errors import PETDiffusionError
from . import header

if TYPE_CHECKING:
    from pydicom import Dataset

NO_SCAN_S = 12 * 3600.0
"""Between two slices of one scan no such time passes; between the last and the first of a night's scan, read as of one
day, more."""


def of_their_days(series: Sequence[Dataset]) -> list[Dataset]:
    """The slices after midnight dated a day later than those before it; where the series itself began after midnight,
    the date is taken for the later day's. Everything else stays as it is."""
    try:
        night = _first_of_evening(series)
        if night is None:
            return list(series)
        evening, shared = night
        after_midnight = any(at < evening for ds in series if (at := header.clock(ds, "SeriesTime")) is not None)
    except PETDiffusionError:  # a damaged time is told by who needs it
        return list(series)
    days = timedelta(days=-1 if after_midnight else 1)
    return [_dated(ds, shared + days) if (header.clock(ds, "AcquisitionTime") >= evening) == after_midnight else ds
            for ds in series]


def _first_of_evening(series: Sequence[Dataset]) -> tuple[time, date] | None:
    """The first time of day before midnight, and the date that all slices share; None of a scan within one day."""
    times = sorted({header.clock(ds, "AcquisitionTime") for ds in series}, key=str)
    dates = {header.day(ds, "AcquisitionDate") for ds in series}
    if len(times) < 2 or None in times or len(dates) > 1 or None in dates:
        return None
    gap_s, evening = max((_of_day(later) - _of_day(at), later) for at, later in pairwise(times))
    return (evening, dates.pop()) if gap_s > NO_SCAN_S else None


def _dated(ds: Dataset, day: date) -> Dataset:
    ds = deepcopy(ds)
    ds.AcquisitionDate = f"{day:%Y%m%d}"
    return ds


def _of_day(at: time) -> float:
    return at.hour * 3600.0 + at.minute * 60.0 + at.second + at.microsecond / 1e6
