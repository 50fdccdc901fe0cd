"""When frames began and how long they lasted, as sidecars and headers say it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from numbers import Real
from typing import Any

from ..errors import InputError
from .sidecar import Sidecar, if_later

START, LENGTH, INJECTED = "FrameTimesStart", "FrameDuration", "InjectionStart"
OF_FRAMES = (START, LENGTH, "DecayCorrectionFactor", "ScatterFraction", "PromptRate", "RandomRate", "SinglesRate")
"""What PET-BIDS writes as a list with a value for each frame."""
KIND_KEY, TIMED, GATES = "PETDiffusionFrames", "time frames", "gates"
ROUNDING_S = 1.0
"""By so much frames may seem to overlap whose times are written in whole seconds."""


@dataclass(frozen=True)
class Time:
    """Of one frame, in seconds from the start of the scan; None where nobody says."""

    start_s: float | None = None
    seconds: float | None = None

    @property
    def middle_s(self) -> float | None:
        return None if None in (self.start_s, self.seconds) else self.start_s + self.seconds / 2


UNKNOWN = Time()


def of_notes(data: Mapping[str, Any], count: int, stated_s: float | None, name: str) -> tuple[str, tuple[Time, ...]]:
    """Kind and times by the sidecar; else by the one length that the image's header states for all."""
    starts, lengths = (_numbers(data, key, count, name) for key in (START, LENGTH))
    kind = GATES if data.get(KIND_KEY) == GATES else TIMED
    if kind == GATES:
        stated_s = None
    if lengths is None and starts is None and stated_s:
        starts, lengths = [number * stated_s for number in range(count)], [stated_s] * count
    if starts is None and lengths is not None:
        starts = [sum(lengths[:number]) for number in range(count)]
    if lengths is None and starts is not None:
        lengths = lengths_of(starts)
    if starts is None or lengths is None:
        return kind, (UNKNOWN,) * count
    backwards = any(later < start for start, later in pairwise(starts))
    if backwards or min(lengths) <= 0:
        raise InputError(f"{name}: frames", "do not follow one another in time by the sidecar",
                         f"Correct {START} and {LENGTH}.")
    return kind, tuple(Time(start, seconds) for start, seconds in zip(starts, lengths))


def lengths_of(starts: Sequence[float]) -> list[float]:
    """Each frame until the next begins; the last is taken for as long as the one before."""
    steps = [later - start for start, later in pairwise(starts)]
    return [*steps, steps[-1]] if steps else []


def overlap(times: Sequence[Time]) -> tuple[float, float] | None:
    """The start of the first frame that begins before the one before it has ended, and that end; None where none does
    or their times are not known."""
    known = [(time.start_s, time.start_s + time.seconds) for time in times if time.middle_s is not None]
    return next(((start, end) for (_, end), (start, _) in pairwise(known) if end - start > ROUNDING_S), None)


def injection(data: Mapping[str, Any]) -> float | None:
    """Of a file that tells the frames' starts, on their clock."""
    value = data.get(INJECTED)
    told = isinstance(data.get(START), list) and isinstance(value, Real) and not isinstance(value, bool)
    return float(value) if told else None


def began_minutes(time: Time, injection_s: float | None, uptake_minutes: float | None) -> float | None:
    """From the injection to the start of a frame that began later than the scan; None where that is not known."""
    if time.start_s is None or (injection_s is None and uptake_minutes is None):
        return None
    minutes = uptake_minutes + time.start_s / 60 if injection_s is None else (time.start_s - injection_s) / 60
    return if_later(minutes, uptake_minutes)


def of_one(notes: Sidecar, number: int) -> Sidecar:
    """The sidecar that this frame would have by itself."""
    data = {key: [value[number]] if key in OF_FRAMES and isinstance(value, list) and len(value) > number else value
            for key, value in notes.data.items()}
    return replace(notes, data=data)


def _numbers(data: Mapping[str, Any], key: str, count: int, name: str) -> list[float] | None:
    values = data.get(key)
    if values is None or not isinstance(values, list) or len(values) == 1:
        return None
    if len(values) != count:
        raise InputError(f"{name}: {key}", f"has {len(values)} values for {count} frames", "Correct the sidecar.")
    if not all(isinstance(value, Real) and not isinstance(value, bool) and abs(value) < 1e9 for value in values):
        raise InputError(f"{name}: {key}", "holds what is no number", "Correct the sidecar.")
    return [float(value) for value in values]
