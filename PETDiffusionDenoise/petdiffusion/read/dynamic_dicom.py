"""Slices of a dynamic or gated DICOM series, dealt to their frames.

At each position the slices are put in order, and the first of every position make the first frame: beds that were
scanned one after the other in each pass come together so, whatever their own times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ..errors import InputError, PETDiffusionError
from ..suv import factor, header, times
from ..volume import Facts, Volume
from ..wording import counted
from . import dicom, dynamic_decay, series, slices
from .dynamic_times import GATES, TIMED, Time, lengths_of

if TYPE_CHECKING:
    from pydicom import Dataset

    from ..progress import Run

T = TypeVar("T")
BY_ACQUISITION = "AcquisitionTime"
KEYS = (("FrameReferenceTime", TIMED), ("TriggerTime", GATES), ("TemporalPositionIdentifier", TIMED),
        (BY_ACQUISITION, TIMED))  # fmt: skip
"""What may tell the images of one position apart, and what they are then."""
_EPOCH = datetime.combine(header.NO_DATE, time.min)
"""The system's own clock counts no dates before 1970 on Windows, and an hour twice a year not at all or twice."""


def groups(path: Path, run: Run | None) -> tuple[str, list[list[Dataset]], tuple[Time, ...], float | None]:
    """Kind, the slices of each frame, the frames' times, and when on their clock the tracer was given."""
    loaded = series.load(series.find(path, "pet", run))
    places = _places(loaded)
    counts = {len(place) for place in places}
    if len(counts) > 1:
        raise InputError(f"{path.name}: {len(loaded)} slices at {counted(len(places), 'position')}",
                         f"have {min(counts)} to {max(counts)} frames each", "Copy or export the whole series.")
    if counts == {1}:
        return TIMED, [loaded], (Time(),), None
    kind, ordered = _in_order(places, path)
    dealt = [[place[number] for place in ordered] for number in range(counts.pop())]
    if kind == TIMED:
        _call_dynamic(loaded)
    return kind, dealt, *_times(dealt, kind)


def _call_dynamic(loaded: Sequence[Dataset]) -> None:
    """Whatever the series calls itself: a late frame is then no reason to doubt when the scan began."""
    for ds in loaded:
        if not times.is_dynamic(ds):
            ds.SeriesType = ["DYNAMIC", "IMAGE"]


def volume(group: Sequence[Dataset], path: Path, declared: tuple[str, float] | None, weight_kg: float | None,
           run: Run | None) -> Volume:  # fmt: skip
    return dicom.of_slices(group, path, "pet", declared, weight_kg, run)


def facts(group: Sequence[Dataset], path: Path, weight_kg: float | None) -> Facts:
    return dicom.pet_facts(group, path, None, weight_kg)


def _places(loaded: Sequence[Dataset]) -> list[list[Dataset]]:
    """Slices by position along the normal."""
    slices.check_images(loaded)
    along = slices.along_normal(loaded)
    order = np.argsort(along, kind="stable")
    starts = np.flatnonzero(np.diff(along[order]) >= slices.SAME_PLACE_MM) + 1
    return [[loaded[i] for i in part] for part in np.split(order, starts)]


def _in_order(places: Sequence[list[Dataset]], path: Path) -> tuple[str, list[list[Dataset]]]:
    """A series that calls itself gated is one, by whatever its gates are told apart."""
    gated = "GATED" in header.words(places[0][0], "SeriesType")
    keys = sorted(KEYS, key=lambda pair: pair[1] != GATES) if gated else KEYS
    for keyword, kind in keys:
        values = [[_value(ds, keyword) for ds in place] for place in places]
        if all(None not in row and len(set(row)) == len(row) for row in values):
            ordered = [[place[i] for i in np.argsort(row)] for place, row in zip(places, values)]
            return (GATES if gated else kind), ordered
    told = ", ".join(keyword for keyword, _ in KEYS)
    raise InputError(f"{path.name}: several slices lie at one position", f"and none of {told} tells them apart",
                     "Keep one copy of each slice, or export the series again.")


def _value(ds: Dataset, keyword: str) -> float | None:
    if keyword != BY_ACQUISITION:
        return header.number(ds, keyword)
    began = times.acquired(ds)
    return None if began is None else (began - _EPOCH).total_seconds()


def _times(dealt: Sequence[Sequence[Dataset]], kind: str) -> tuple[tuple[Time, ...], float | None]:
    """A frame begins with the first of its slices and lasts as long as one of them."""
    told = [header.number(group[0], "ActualFrameDuration") for group in dealt]
    lengths = [None if value is None else value / 1000 for value in told]
    began, starts = (None, None) if kind == GATES else _acquired(dealt) or _by_reference(dealt, lengths)
    if starts is None:
        return tuple(Time(None, length) for length in lengths), None
    known = zip(starts, lengths, lengths_of(starts))
    return (tuple(Time(start, length or between) for start, length, between in known),
            None if began is None else _injection(dealt, began, starts[-1]))


def _acquired(dealt: Sequence[Sequence[Dataset]]) -> tuple[datetime, list[float]] | None:
    """When the first frame began, and the seconds from there; None where the times are those of the series, the same
    for all."""
    began = [[times.acquired(ds) for ds in group] for group in dealt]
    if any(None in row for row in began):
        return None
    first = [min(row) for row in began]
    starts = _rising([(moment - first[0]).total_seconds() for moment in first])
    return None if starts is None else (first[0], starts)


def _by_reference(dealt: Sequence[Sequence[Dataset]], lengths: Sequence[float | None]
                  ) -> tuple[datetime | None, list[float] | None]:  # fmt: skip
    """The frame reference time is about the middle of each frame, in milliseconds from the start of the scan."""
    middles = [header.number(group[0], "FrameReferenceTime") for group in dealt]
    if None in middles or None in lengths:
        return None, None
    starts = [middle / 1000 - length / 2 for middle, length in zip(middles, lengths)]
    scan = _known(lambda: times.scan_start(dealt[0], times.first_frame(dealt[0]), dynamic_decay.half_life(dealt)))
    return scan and scan + timedelta(seconds=starts[0]), _rising([start - starts[0] for start in starts])


def _rising(starts: list[float]) -> list[float] | None:
    return starts if all(later > start for start, later in pairwise(starts)) else None


def _injection(dealt: Sequence[Sequence[Dataset]], began: datetime, last_s: float) -> float | None:
    """Seconds from the first frame's start, whatever the frames are corrected for decay to. The scan may have begun
    before the injection: a time of day alone is the last one until the last frame."""

    def told() -> float:
        life, latest = dynamic_decay.half_life(dealt), began + timedelta(seconds=last_s)
        injected = times.injection(dealt[0][0], began, latest, life)
        if injected.time() == time.min:
            raise InputError("Injection at 00:00:00", "looks like a time taken out of the header", "Correct it.")
        return 0.0 - factor.uptake((began - injected).total_seconds(), life, running_s=last_s)

    return _known(told)


def _known(asked: Callable[[], T]) -> T | None:
    """None where the header does not tell it, or tells what cannot be."""
    try:
        return asked()
    except (PETDiffusionError, OverflowError, ValueError):
        return None
