"""To what moment the frames of a DICOM series are corrected for decay, by what their slices were multiplied by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from ..errors import PETDiffusionError, UnitError
from ..suv import dicom as units
from ..suv import factor, header, times
from ..volume import SUVBW, Facts

if TYPE_CHECKING:
    from pydicom import Dataset

Groups = Sequence[Sequence["Dataset"]]
_PART, _ROUNDING = 0.1, 1e-4
"""By so much of what decays in a frame, and of what a header's digits leave out, a factor may differ from it."""
_ONE_MOMENT = 1e-3
"""Moments between which less than this part decays are one, as headers tell them."""


def half_life(groups: Groups) -> float:
    return factor.half_life(units.half_life_of([ds for group in groups for ds in group]))


def to_one_moment(groups: Groups, unit: str) -> list[float]:
    """What the values of each frame are to be multiplied by so that all are corrected for decay to one moment, that of
    the first; the headers in memory tell it then. SUVs need none: each frame's header tells its own moment then."""
    unchanged = [1.0] * len(groups)
    try:
        life = half_life(groups)
    except PETDiffusionError:
        return unchanged
    if not (moments := _moments(groups, life)):
        return unchanged
    if unit == SUVBW or units.philips_scales(groups[0]):
        for group, moment in zip(groups, moments):
            _tell(group, moment, 1.0)
        return unchanged
    scales = [2 ** ((moment - moments[0]).total_seconds() / life) for moment in moments]
    for group, scale in zip(groups, scales):
        _tell(group, moments[0], scale)
    return scales


def _moments(groups: Groups, life: float) -> list[datetime] | None:
    """To which the frames are corrected, where it is not one for all: their own starts where all were multiplied by the
    decay since then, as some scanners write it themselves (the time of the series is then that of the scan, to which
    none is corrected); otherwise what each header tells."""
    if any(header.text(group[0], "DecayCorrection").upper() != "START" for group in groups):
        return None
    frames = [times.first_frame(group) for group in groups]
    if all(_is_own(frame, life) and times.all_agree(frame.began, group, life) for frame, group in zip(frames, groups)):
        began = [frame.began for frame in frames]
        # a factor of one, which stands there where nobody wrote one, proves nothing
        if any(frame.decay_factor != 1 for frame in frames) and _apart(began, life) > times.DECAY_AGREES:
            return began
    told = _told(groups, frames, life)
    if told and _apart(told, life) <= _ONE_MOMENT:
        return None
    if (one := _proven_of_all(groups, frames, life)) is not None:
        return [one] * len(groups)
    return told


def _told(groups: Groups, frames: Sequence[times.Frame], life: float) -> list[datetime] | None:
    try:
        return [times.scan_start(group, frame, life) for group, frame in zip(groups, frames)]
    except (PETDiffusionError, OverflowError, ValueError):
        return None


def _proven_of_all(groups: Groups, frames: Sequence[times.Frame], life: float) -> datetime | None:
    """A moment that the first frame's header offers, or its own start, to which all slices of all frames were
    multiplied. Each frame by itself would take its own start for it where the time of the series is gone or was written
    later, as far as little decays from the first frame to it."""
    factors = [frame.decay_factor for frame in frames]
    if None in factors or all(applied == 1 for applied in factors):
        return None
    try:
        offered = [*times.readings(groups[0], frames[0], life), frames[0].began]
    except (PETDiffusionError, OverflowError, ValueError):
        return None
    return next((moment for moment in offered if moment is not None
                 and all(times.all_agree(moment, group, life) for group in groups)), None)  # fmt: skip


def _is_own(frame: times.Frame, life: float) -> bool:
    """Was the frame multiplied by the decay since its own start, no less and no more?"""
    if frame.began is None or not frame.decay_factor or not frame.seconds:
        return False
    decays = math.log(2) * frame.seconds / life
    lost = decays / -math.expm1(-decays) - 1
    return abs(frame.decay_factor - 1 - lost) <= _PART * lost + _ROUNDING


def _apart(moments: Sequence[datetime], life: float) -> float:
    """What part decays from the first to the last."""
    return (max(moments) - min(moments)).total_seconds() * math.log(2) / life


def _tell(group: Sequence[Dataset], moment: datetime, scale: float) -> None:
    """The moment is known: it is the only one that the header tells from now on, and the decay until then is that."""
    from pydicom.valuerep import format_number_as_ds

    for ds in group:
        ds.SeriesDate, ds.SeriesTime = header.as_day(moment), f"{moment:%H%M%S.%f}"
        times.forget_scan_start(ds)
        if applied := header.number(ds, "DecayFactor"):
            ds.DecayFactor = format_number_as_ds(applied * scale)


def contradiction(groups: Groups, told: Sequence[Facts]) -> str | None:
    """Frames without a factor of their own get that of the others, as those do that began before the injection; but
    not where some were multiplied by another decay than since the moment to which the others are corrected."""
    try:
        life = half_life(groups)
    except PETDiffusionError:
        return None
    known = next((group for group, facts in zip(groups, told) if facts.suv_factor), groups[0])
    others = [number for number, facts in enumerate(told) if not facts.suv_factor]
    looked_at = {number: _contradicting(groups[number], known, life) for number in others}
    if not (wrong := {number: frame for number, frame in looked_at.items() if frame is not None}):
        return None
    applied, several = next(iter(wrong.values())).decay_factor, len(wrong) > 1
    listed = ", ".join(str(number + 1) for number in wrong)
    by = "other factors" if applied is None else f"{applied:g}"
    return (f"frame{'s' if several else ''} {listed}: {'were' if several else 'was'} multiplied by {by} for decay, "
            "which is not that since the moment to which the others are corrected. In Bq/ml too it is not known what "
            "activity they show beside the others'. Give frames that are corrected to one moment, or correct their "
            "times and DecayFactor (0054,1321).")


def _contradicting(group: Sequence[Dataset], other: Sequence[Dataset], life: float) -> times.Frame | None:
    """Of the frame's slices one that was multiplied otherwise."""
    first = times.first_frame(group)
    if header.text(group[0], "DecayCorrection").upper() not in ("START", "ADMIN"):
        return None  # it was multiplied by nothing, whatever its factor says
    try:
        if header.text(group[0], "DecayCorrection").upper() == "ADMIN":
            times.check_administered(group, life)
            return None
        moment = times.scan_start(other, times.first_frame(other), life)
        if moment.time() == moment.time().min:
            return None  # a clock that was set to zero proves nothing
    except UnitError:
        return first if header.text(group[0], "DecayCorrection").upper() == "ADMIN" else None
    return times.contradicted(moment, group, life) if times.agrees(moment, first, life) else first
