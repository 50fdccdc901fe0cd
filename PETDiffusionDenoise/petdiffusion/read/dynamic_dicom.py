"""Slices of a dynamic or gated DICOM series, dealt to their frames.

At each position the slices are put in order, and the first of every position make the first frame: beds that were
scanned one after the other in each pass come together so, whatever their own times.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..suv import header, times
from ..volume import Facts, Volume
from . import dicom, series, slices
from .dynamic_times import Time

if TYPE_CHECKING:
    from pydicom import Dataset

    from ..progress import Run

KEYS = (("FrameReferenceTime", "time frames"), ("TriggerTime", "gates"), ("TemporalPositionIdentifier", "time frames"))
"""What tells the images of one position apart, and what they are then; where none does, the time of acquisition."""
BY_ACQUISITION = "AcquisitionTime"


def groups(path: Path, run: Run | None) -> tuple[str, list[list[Dataset]], tuple[Time, ...]]:
    """Kind, the slices of each frame, and the frames' times."""
    loaded = series.load(series.find(path, "pet"))
    places = _places(loaded)
    counts = {len(place) for place in places}
    if len(counts) > 1:
        raise InputError(f"{path.name}: {len(loaded)} slices at {len(places)} positions",
                         f"have {min(counts)} to {max(counts)} frames each", "Copy or export the whole series.")
    if counts == {1}:
        return "time frames", [loaded], (Time(),)
    kind, ordered = _in_order(places, path)
    dealt = [[place[number] for place in ordered] for number in range(counts.pop())]
    return kind, dealt, _times(dealt, kind)


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
    for keyword, kind in (*KEYS, (BY_ACQUISITION, "time frames")):
        values = [[_value(ds, keyword) for ds in place] for place in places]
        if all(None not in row and len(set(row)) == len(row) for row in values):
            return kind, [[place[i] for i in np.argsort(row)] for place, row in zip(places, values)]
    told = ", ".join(keyword for keyword, _ in (*KEYS, (BY_ACQUISITION, "")))
    raise InputError(f"{path.name}: several slices lie at one position", f"and none of {told} tells them apart",
                     "Keep one copy of each slice, or export the series again.")


def _value(ds: Dataset, keyword: str) -> float | None:
    if keyword != BY_ACQUISITION:
        return header.number(ds, keyword)
    began = times.acquired(ds)
    return None if began is None else began.timestamp()


def _times(dealt: Sequence[Sequence[Dataset]], kind: str) -> tuple[Time, ...]:
    """A frame begins with the first of its slices and lasts as long as one of them."""
    lengths = [header.number(group[0], "ActualFrameDuration") for group in dealt]
    began = [[times.acquired(ds) for ds in group] for group in dealt]
    if kind == "gates" or any(None in row for row in began):
        return tuple(Time(None, None if length is None else length / 1000) for length in lengths)
    first = [min(row) for row in began]
    starts = [(moment - first[0]).total_seconds() for moment in first]
    if any(later <= start for start, later in pairwise(starts)):  # times of the series, not of the frames
        return tuple(Time(None, None if length is None else length / 1000) for length in lengths)
    return tuple(Time(start, None if length is None else length / 1000) for start, length in zip(starts, lengths))
