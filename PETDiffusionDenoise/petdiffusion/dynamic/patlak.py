"""Patlak's rate of uptake: Ki of every voxel and region from the late frames, by the blood's curve.

Tissue that keeps what it takes up holds, some time after the injection, C(t) = Ki * (integral of blood) + V * blood(t):
over the blood C lies on a line whose slope is Ki (Patlak, Blasberg and Fenstermacher 1983). Blood is a curve that is
given, or the mean of a region such as the aorta in the frames as they were before denoising.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, OptionError, UnitError
from ..prepare.same_unit import MOST_TIMES, level
from ..read.dynamic import Time
from ..read.dynamic_times import overlap
from ..volume import ARBITRARY, Volume
from ..wording import counted
from ..write import tables

FROM_MINUTES = 20.0
LEAST_FRAMES = 3
LATEST_START_S = 60.0
"""Frames that begin later after the injection do not show what the blood carried before."""
SHORT_GAP_S = 10.0
"""Between two frames; a longer one may not be longer than what has passed since the injection, as between the passes of
a whole-body scan: a line through it is then near the blood, which falls ever more slowly."""
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Asked:
    """A region's name or a CSV, and from when on tissue is taken to lie on the line."""

    blood: str
    from_minutes: float = FROM_MINUTES

    @property
    def file(self) -> Path | None:
        return Path(self.blood) if self.blood.lower().endswith(".csv") else None

    def to_json(self) -> dict[str, Any]:
        """What the record says; where a curve lies may name the patient."""
        return {"blood": self.blood if self.file is None else self.file.name, "from_minutes": self.from_minutes}

    def check(self, times: Sequence[Time], injected: float, regions_: Collection[str] | None) -> None:
        """Before the work: is there what the curve and the line need? `regions_` are the names that the masks have;
        None where none were given."""
        if not 0 <= self.from_minutes < np.inf:
            raise OptionError(f"Patlak from {self.from_minutes:g} min", "lies before the injection, or is no time",
                              "Give minutes after it, such as --patlak-from 20.")  # fmt: skip
        middles = _middles(times, injected)
        _enough(_late(middles, self.from_minutes), self.from_minutes)
        if self.file is not None:
            _along(*_given(self.file), middles)
            return
        if regions_ is None:
            raise OptionError(f"Blood of '{self.blood}'", "needs organs, and none were given",
                              "Give --labels, or the blood's curve as a CSV.")  # fmt: skip
        if self.blood not in regions_:
            raise _unknown(self.blood, regions_)
        _check_course(times, injected)

    def check_unit(self, image: Volume, time: Time, injected: float) -> None:
        """A curve that is given against a late frame: its mean until then is not a hundred times lower or higher than
        what is highly taken up, whatever the tracer, and samplers count in another unit than scanners."""
        high = level(image)
        if self.file is None or high <= 0:
            return
        middle = _middles([time], injected)
        mean = float((_along(*_given(self.file), middle)[1] / middle)[0])
        if not high / MOST_TIMES <= mean <= high * MOST_TIMES:
            times, way = (high / max(mean, 1e-30), "lower") if mean < high else (mean / high, "higher")
            unit = "that of the PET" if image.unit == ARBITRARY else image.unit
            raise UnitError(f"Blood curve {self.file.name}: its mean of {mean:.3g}", f"is {times:.3g} times {way} than "
                            f"high uptake in the PET ({high:.3g} {image.unit}), so it is in another unit",
                            f"Give its values in the unit in which the PET is read, {unit}.")  # fmt: skip


@dataclass(frozen=True)
class Line:
    """Of the frames that count: their numbers, and where each lies on Patlak's axis, in minutes."""

    frames: tuple[int, ...]
    blood: np.ndarray
    x: np.ndarray

    def fit(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ki (1/min) and intercept of values (frame, ...) by least squares."""
        over = values / self.blood.reshape(-1, *[1] * (values.ndim - 1))
        centred = self.x - self.x.mean()
        slope = np.tensordot(centred, over, axes=1) / float(centred @ centred)
        return slope, over.mean(axis=0) - slope * self.x.mean()


class Sums:
    """The same of images that come one after the other, of which none is kept."""

    def __init__(self, line: Line) -> None:
        self.line, self._x, self._y = line, None, None

    def add(self, place: int, image: np.ndarray) -> None:
        """`place` counts the line's frames from 0."""
        over = image.astype(np.float64) / self.line.blood[place]
        weight = self.line.x[place] - self.line.x.mean()
        self._x = weight * over if self._x is None else self._x + weight * over
        self._y = over if self._y is None else self._y + over

    def ki(self) -> np.ndarray:
        centred = self.line.x - self.line.x.mean()
        return (self._x / float(centred @ centred)).astype(np.float32)


def line_of(asked: Asked, times: Sequence[Time], injected: float, rows: Sequence[Row], scale: float = 1.0,
            empty: Collection[int] = ()) -> Line:  # fmt: skip
    """By a region of the rows of the curves, or by a CSV, whose values times `scale` are in the rows' unit. `empty` are
    frames that were not denoised."""
    middles = _middles(times, injected)
    if asked.file is not None:
        moments, values = _given(asked.file)
        values = values * scale
    else:
        moments, values = _of_region(asked.blood, rows, times, injected)
    at, integral = _along(moments, values, middles)
    late = [n for n in _late(middles, asked.from_minutes) if at[n] > 0 and n not in empty]
    _enough(late, asked.from_minutes)
    return Line(tuple(late), at[late], integral[late] / 60 / at[late])


def regions(line: Line, names: Sequence[str], rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Ki of each region by its mean, before and after; of regions that are in every frame of the line."""
    wanted = [names[number] for number in line.frames]
    found: dict[tuple[str, int], dict[str, Row]] = {}
    for row in rows:
        found.setdefault((row["kind"], row["number"]), {})[row["frame"]] = row
    made = []
    for (kind, number), own in found.items():
        if any(own.get(name, {}).get("mean_denoised") is None for name in wanted):
            continue
        low, denoised = (np.array([own[name][f"mean_{image}"] for name in wanted]) for image in ("low", "denoised"))
        fits = {"low": line.fit(low), "denoised": line.fit(denoised)}
        called = {"kind": kind, "number": number, "region": next(iter(own.values()))["region"]}
        made.append({**called, **{f"Ki_{image}": float(ki) for image, (ki, _) in fits.items()},
                     **{f"intercept_{image}": float(intercept) for image, (_, intercept) in fits.items()},
                     "r_squared_low": _explained(line, low), "r_squared_denoised": _explained(line, denoised),
                     "frames_fitted": len(wanted)})  # fmt: skip
    return made


def _explained(line: Line, values: np.ndarray) -> float | None:
    over = values / line.blood
    if np.ptp(over) == 0:
        return None
    return float(np.corrcoef(line.x, over)[0, 1] ** 2)


def _middles(times: Sequence[Time], injected: float) -> np.ndarray:
    """Of the frames, in seconds from the injection."""
    if any(time.middle_s is None or time.seconds is None for time in times):
        raise OptionError("Patlak", "needs the time and length of every frame, and not all are known",
                          "Add FrameTimesStart and FrameDuration to the sidecar.")  # fmt: skip
    return np.array([time.middle_s for time in times]) - injected


def _late(middles: np.ndarray, from_minutes: float) -> list[int]:
    return [int(n) for n in np.flatnonzero(middles >= 60 * from_minutes)]


def _enough(late: Sequence[int], from_minutes: float) -> None:
    if len(late) < LEAST_FRAMES:
        raise OptionError(f"Patlak from {from_minutes:g} min",
                          f"has {counted(len(late), 'frame')} with activity and blood, and {LEAST_FRAMES} are needed",
                          "Begin earlier (--patlak-from), or give more frames.")


def _unknown(name: str, known: Collection[str]) -> OptionError:
    near = difflib.get_close_matches(name, known, 1, cutoff=0.4)
    return OptionError(f"Blood of '{name}'", f"is not one of the regions {', '.join(sorted(known))}",
                       f"Did you mean '{near[0]}'?" if near else "Name one of them, or a CSV.")  # fmt: skip


def _check_course(times: Sequence[Time], injected: float) -> None:
    """Do the frames see all that the blood carries, and each moment once?"""
    whole = "the blood's curve from the injection on as a CSV (columns time_s, value)."
    first = times[0].start_s - injected
    if first > LATEST_START_S:
        raise OptionError(f"Frames that begin {first / 60:.1f} min after the injection",
                          "do not show what the blood carried before", f"Give {whole}")
    if both := overlap(times):
        raise OptionError(f"The frame at {both[0]:g} s", f"begins before the one before it has ended, at {both[1]:g} s",
                          f"Correct the frames' times and lengths, or give {whole}")
    for earlier, later in pairwise(times):
        end, start = earlier.start_s + earlier.seconds - injected, later.start_s - injected
        if start - max(end, 0.0) > max(end, SHORT_GAP_S if end > 0 else LATEST_START_S):
            raise OptionError("The blood's curve", f"has no frame from {end / 60:.1f} to {start / 60:.1f} min after "
                              "the injection", f"Give the frames between, or {whole}")  # fmt: skip


def _given(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Columns time_s, from the injection, and value in the PET's unit, corrected for decay as the PET is."""
    rows = tables.read_csv(file)
    try:
        found = sorted((float(row["time_s"]), float(row["value"])) for row in rows)
    except (KeyError, TypeError, ValueError):
        raise InputError(f"Blood curve {file.name}", "needs the columns time_s and value, numbers in every row",
                         "Write seconds from the injection and the PET's unit, with decimal points.") from None
    moments, values = np.array(found).T if found else (np.zeros(0), np.zeros(0))
    if len(found) < LEAST_FRAMES or not np.isfinite([moments, values]).all() or values.min() < 0 or not values.any():
        raise InputError(f"Blood curve {file.name}",
                         f"has {counted(len(found), 'row')}, or values that are no activity",
                         "Give the whole curve from the injection on.")  # fmt: skip
    later = moments > 0
    begins = np.interp(0.0, moments, values) if moments[0] <= 0 else 0.0  # what came before the injection is no tracer
    return np.insert(moments[later], 0, 0.0), np.insert(values[later], 0, begins)


def _of_region(name: str, rows: Sequence[Row], times: Sequence[Time], injected: float
               ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """The region's mean is that of the whole frame: a step, from its beginning to its end. An organ goes before a
    lesion of its name. Frames without it may only be those before the tracer came."""
    own = [row for row in rows if row["region"] == name]
    own = [row for row in own if row["kind"] == "organ"] or own
    if not own:
        raise _unknown(name, {str(row["region"]) for row in rows})
    if len({row["number"] for row in own}) > 1:
        raise OptionError(f"Blood of '{name}'", "is the name of several regions",
                          "Give masks whose names differ, or a CSV.")  # fmt: skip
    _check_course(times, injected)
    found = {row["start_s"]: row["mean_low"] for row in own}
    moments, values, begun = [min(0.0, times[0].start_s - injected)], [0.0], False
    for time in times:
        mean = found.get(time.start_s)
        if mean is None and begun:
            raise OptionError(f"Blood of '{name}'", f"is not in the frame that begins at {time.start_s:g} s",
                              "Give the blood's curve as a CSV.")  # fmt: skip
        begun = begun or mean is not None
        moments += [time.start_s - injected, time.start_s + time.seconds - injected]
        values += [mean or 0.0, mean or 0.0]
    return np.array(moments), np.array(values)


def _along(moments: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The curve and its integral from the injection (time 0) on at the times that are wanted."""
    if wanted.max() > moments[-1]:
        raise InputError(f"The blood's curve ends at {moments[-1] / 60:.1f} min",
                         f"and the frames go on to {wanted.max() / 60:.1f} min", "Give the whole curve.")
    steps = np.diff(moments) * (values[1:] + values[:-1]) / 2
    whole = np.concatenate([[0.0], np.cumsum(steps)])
    at = np.interp(wanted, moments, values)
    before = np.searchsorted(moments, wanted, side="right") - 1
    rest = (wanted - moments[before]) * (values[before] + at) / 2
    return at, whole[before] + rest
