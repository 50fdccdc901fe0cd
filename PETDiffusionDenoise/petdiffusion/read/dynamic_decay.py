"""To what moment the frames of a DICOM series are corrected for decay, by what their slices were multiplied by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import PETDiffusionError, UnitError
from ..suv import dicom as units
from ..suv import factor, header, times
from ..volume import Facts

if TYPE_CHECKING:
    from pydicom import Dataset

Groups = Sequence[Sequence["Dataset"]]
_PART, _ROUNDING = 0.1, 1e-4
"""By so much of what decays in a frame, and of what a header's digits leave out, a factor may differ from it."""


def half_life(groups: Groups) -> float:
    return factor.half_life(units.half_life_of([ds for group in groups for ds in group]))


def tell_own_starts(groups: Groups) -> None:
    """Each frame gets its own start for SeriesTime where all were multiplied by the decay since then, as some scanners
    write it themselves: the time of the series is then that of the scan, to which none is corrected."""
    frames = [times.first_frame(group) for group in groups]
    if any(header.text(group[0], "DecayCorrection").upper() != "START" for group in groups):
        return
    try:
        life = half_life(groups)
    except PETDiffusionError:
        return
    if not (all(_is_own(frame, life) for frame in frames) and _last_for_decay(frames, life)):
        return
    for group, frame in zip(groups, frames):
        for ds in group:
            ds.SeriesDate, ds.SeriesTime = f"{frame.began:%Y%m%d}", f"{frame.began:%H%M%S.%f}"


def _is_own(frame: times.Frame, life: float) -> bool:
    """A factor of one, which stands there where nobody wrote one, is none."""
    if frame.began is None or not frame.decay_factor or not frame.seconds:
        return False
    decays = math.log(2) * frame.seconds / life
    lost = decays / -math.expm1(-decays) - 1
    return abs(frame.decay_factor - 1 - lost) <= _PART * lost + _ROUNDING


def _last_for_decay(frames: Sequence[times.Frame], life: float) -> bool:
    """Did it matter to which moment they are corrected?"""
    began = [frame.began for frame in frames]
    return (max(began) - min(began)).total_seconds() * math.log(2) / life > times.DECAY_AGREES


def check_one_moment(groups: Groups, told: Sequence[Facts], name: str) -> None:
    """Frames without a factor of their own get that of the others, as those do that began before the injection; but
    not those that were multiplied by another decay than since the moment the others are corrected to."""
    known = next(group for group, facts in zip(groups, told) if facts.suv_factor)
    others = [number for number, facts in enumerate(told) if not facts.suv_factor]
    if not (wrong := [n for n in others if _contradicts(groups[n], known, half_life(groups))]):
        return
    applied, verb = times.first_frame(groups[wrong[0]]).decay_factor, "were" if len(wrong) > 1 else "was"
    raise UnitError(f"{name}: frame{'s' if len(wrong) > 1 else ''} {', '.join(str(n + 1) for n in wrong)}",
                    f"{verb} multiplied by {applied:g} for decay, which is not that since the moment to which the "
                    "others are corrected", "Give frames that are corrected to one moment, or correct their times and "
                    "DecayFactor (0054,1321).")  # fmt: skip


def _contradicts(group: Sequence[Dataset], other: Sequence[Dataset], life: float) -> bool:
    try:
        if header.text(group[0], "DecayCorrection").upper() == "ADMIN":
            times.check_administered(group, life)
            return False
        moment = times.scan_start(other, times.first_frame(other), life)
    except UnitError:
        return header.text(group[0], "DecayCorrection").upper() == "ADMIN"
    return not times.agrees(moment, times.first_frame(group), life)
