"""Dynamic and gated PET: one file or series that holds many images of the same place, read one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import harmonic_mean
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import GeometryError, InputError, UnitError
from ..suv import to_suv
from ..volume import BQML, SUVBW, Facts, Volume
from . import dynamic_decay, dynamic_dicom, dynamic_times, files, sidecar, sources
from .dynamic_times import Time

if TYPE_CHECKING:
    from ..progress import Run

FACTORS_AGREE = 1e-3


@dataclass(frozen=True)
class Frames:
    """So many images on one grid, in the order of time; each is read when it is asked for."""

    kind: str
    """`time frames` or `gates`."""
    times: tuple[Time, ...]
    source: str
    _at: Callable[[int], Volume]
    _factor: float | None = None
    """From Bq/ml to SUV for frames whose own facts do not tell it: all are corrected for decay to one moment."""
    _in_suv: bool = False
    """Frames have factors of their own that no moment explains: only their SUVs have to do with one another."""
    _unproven: bool = False
    """Some are corrected to another moment than the others, nobody knows to which: there is no SUV of any."""
    injection_s: float | None = None
    """When the tracer was given, on the clock of the times."""

    @property
    def injected_s(self) -> float:
        """What is taken for the injection: the start of the scan where nobody says when it was."""
        return self.injection_s if self.injection_s is not None else self.times[0].start_s or 0.0

    def __len__(self) -> int:
        return len(self.times)

    def __iter__(self) -> Iterator[Volume]:
        return (self.frame(number) for number in range(len(self)))

    def frame(self, number: int) -> Volume:
        """Counted from 0. Its values are not looked at: before the injection a frame may well be empty."""
        volume = self._at(number)
        seconds = self.times[number].seconds or volume.facts.frame_seconds
        began = dynamic_times.began_minutes(self.times[number], self.injection_s, volume.facts.uptake_minutes)
        volume = volume.with_facts(frame_seconds=seconds, frame_start_minutes=began)
        if self._unproven:
            # nor may one be made later, of what the header tells of the first frame
            return volume.with_facts(suv_factor=None, uptake_minutes=None, source=None)
        if self._in_suv and volume.unit in (BQML, SUVBW):
            return self._suv_of_one(volume, number)
        if self._factor is not None and volume.facts.suv_factor is None:
            return volume.with_facts(suv_factor=self._factor)
        return volume

    def _suv_of_one(self, volume: Volume, number: int) -> Volume:
        if volume.unit == BQML and volume.facts.suv_factor is None:
            raise UnitError(f"{Path(self.source).name}: frame {number + 1}",
                            "tells no SUV, and those of the others are not by one factor",
                            "Leave it out (--frames), or complete its weight, dose and times.")
        return to_suv(volume).with_facts(suv_factor=None)


def frames(source: Any, *, unit: str | None = None, weight_kg: float | None = None, run: Run | None = None) -> Frames:
    """See `petdiffusion.read.frames`."""
    path, given = Path(source), (sources.declared_unit(unit, "pet"), sources.given_weight(weight_kg, "pet"))
    found = (_of_dicom if sources.kind_of(path) == "dicom" else _of_file)(path, given, run)
    if len(found) < 2:
        raise InputError(f"{path.name}", "holds one image, not several frames", "Give it to `petdiffusion denoise`.")
    if run is not None and (both := dynamic_times.overlap(found.times)):
        run.warn(f"The frame at {both[0]:g} s begins before the one before it has ended, at {both[1]:g} s: check the "
                 "frames' times and lengths.")
    return found


def _of_file(path: Path, given: tuple[Any, Any], run: Run | None) -> Frames:
    image = files.opened_frames(path)
    count, stated = files.frames_in(image)
    notes = sidecar.of(path, files.own_field(image))
    sidecar.check_modality(notes, "pet", path)
    kind, times = dynamic_times.of_notes(notes.data, count, stated, path.name)

    def at(number: int) -> Volume:
        loaded = files.of_image(files.one_frame(image, number, path.name), path.name, run)
        return sources.of_file(loaded, dynamic_times.of_one(notes, number), path, "pet", *given, run)

    each = (dynamic_times.of_one(notes, number) for number in range(count))
    told = [sources.facts_of(own, path, BQML, given[1], "pet", None) for own in each]
    return Frames(kind, times, str(path), at, *_factors(told), injection_s=dynamic_times.injection(notes.data))


def _of_dicom(path: Path, given: tuple[Any, Any], run: Run | None) -> Frames:
    kind, groups, times, injection_s = dynamic_dicom.groups(path, run)

    def at(number: int) -> Volume:
        # a frame that began before the injection tells no SUV by itself, which is no news where others tell it
        hears = run if told[number].suv_factor or not any(facts.suv_factor for facts in told) else None
        volume = dynamic_dicom.volume(groups[number], path, *given, hears)
        if scales[number] != 1:
            volume = volume.with_array(volume.array * np.float32(scales[number]))
        if not volume.geometry.close_to(first.geometry):
            raise GeometryError(f"Frame {number + 1} of {path.name}", "lies elsewhere than the first",
                                "Give frames of one bed position, or one frame at a time.")
        return replace(volume, geometry=first.geometry)

    first = dynamic_dicom.volume(groups[0], path, *given, None)
    scales = dynamic_decay.to_one_moment(groups, first.unit) if kind == dynamic_times.TIMED else [1.0] * len(groups)
    told = [dynamic_dicom.facts(group, path, given[1]) for group in groups]
    shared, each = _factors(told)
    wrong = None if each or first.unit == SUVBW else dynamic_decay.contradiction(groups, told)
    if wrong and run is not None:
        run.warn(f"No SUV: {wrong}")
    return Frames(kind, times, str(path), at, None if wrong else shared, each, bool(wrong), injection_s)


def _factors(told: Sequence[Facts]) -> tuple[float | None, bool]:
    """The factor to SUV that all frames share, and whether each has one of its own instead."""
    known = [facts.suv_factor for facts in told if facts.suv_factor]
    if not known:
        return None, False
    if max(known) <= (1 + FACTORS_AGREE) * min(known):
        return known[-1], False
    return None, True


def chosen(text: str, count: int) -> list[int]:
    """'3', '10-24' or '1,3-5', counted from 1 as people do, to places counted from 0, in the order of time."""
    wrong = InputError(f"Frames '{text}'", f"are not some of 1 to {count}", "Write for example 3, 10-24 or 1,3-5.")
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise wrong
        begin, end = int(first), int(last if dash else first)
        if not 1 <= begin <= end <= count:
            raise wrong
        found += range(begin, end + 1)
    if len(set(found)) < len(found):
        raise wrong
    return sorted(number - 1 for number in found)


def shares(times: Sequence[Time]) -> tuple[list[float], float | None]:
    """How much of the mean of some frames each is, by how long it lasted, and how long all did; alike where some
    frame's length is not known."""
    lasted = [time.seconds or 0.0 for time in times]
    if not all(lasted):
        return [1 / len(times)] * len(times), None
    return [seconds / sum(lasted) for seconds in lasted], sum(lasted)


def mean(found: Frames, numbers: Sequence[int]) -> Volume:
    """One static image of some frames, as if they had been one: counts add up, and so does the time."""
    parts, seconds = shares([found.times[number] for number in numbers])
    total: Any = 0.0
    told: list[Facts] = []
    for number, part in zip(numbers, parts):
        volume = found.frame(number)
        total = total + volume.array * part
        told.append(volume.facts)
    return replace(volume.with_array(total), facts=facts_of_mean(told, parts, seconds))


def facts_of_mean(told: Sequence[Facts], parts: Sequence[float], seconds: float | None) -> Facts:
    """It begins with the first frame; of what decayed meanwhile the mean counts, so that the factors have a harmonic
    one."""
    decay = [facts.decay_factor for facts in told]
    return replace(told[-1], frame_seconds=seconds, uptake_minutes=told[0].uptake_minutes,
                   frame_start_minutes=told[0].frame_start_minutes,
                   decay_factor=harmonic_mean(decay, parts) if all(decay) else None)  # fmt: skip


__all__ = ["Frames", "Time", "chosen", "facts_of_mean", "frames", "mean", "shares"]
