"""When was the tracer injected, and to what time is a DICOM PET corrected for decay?

DICOM leaves both open to interpretation: the injection has a time (0018,1072) and a date-time (0018,1078); `START`
means the series time only as long as nobody made a new series since. Every reading that the header allows is listed,
those that the slice's own decay factor contradicts are dropped, and if the rest do not agree the answer is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, NamedTuple

from ..errors import UnitError
from . import header
from .factor import LONGEST_UPTAKE_HALF_LIVES, ROUNDING_S

if TYPE_CHECKING:
    from pydicom import Dataset

LATE_DECAY = 0.005
"""A series time later than the acquisition by less than this much decay is still its start."""
INJECTION_CLOCKS_AGREE_S = 60.0
DECAY_AGREES = 0.02
NEXT_DAY_HALF_LIFE_S = 6 * 3600.0
"""Tracers that live longer are imaged days later, so a time of day alone does not date their injection."""
_GIVE = "Correct the times of injection and scan in the file, or go on in Bq/ml, which needs no SUV."


@dataclass(frozen=True)
class Frame:
    """The slice acquired first: its start, the decay factor applied to it and its length."""

    began: datetime | None
    decay_factor: float | None
    seconds: float | None
    reference_ms: float | None


class Uptake(NamedTuple):
    """Seconds from the injection to what the image is decay-corrected to, negative where the scan was running already;
    and how long it had been running when the image was acquired, since the tracer may have been given meanwhile."""

    seconds: float
    running_s: float = 0.0


def uptake(series: Sequence[Dataset], half_life_s: float) -> Uptake:
    """To the start of the scan, to which the image is decay-corrected (or, for ADMIN, at which it was acquired)."""
    frame = first_frame(series)
    reference = scan_start(series, frame, half_life_s)
    running = (frame.began - reference).total_seconds() if frame.began else 0.0
    if not 0 < running <= LONGEST_UPTAKE_HALF_LIVES * half_life_s:  # dates that were shifted otherwise, too
        running = 0.0
    latest = reference + timedelta(seconds=running)
    return Uptake((reference - injection(series[0], reference, latest, half_life_s)).total_seconds(), running)


def injection(ds: Dataset, reference: datetime, latest: datetime, half_life_s: float) -> datetime:
    """When the tracer was given, on the reference's clock; a time of day alone is the last one until `latest`."""
    info = header.item(ds, "RadiopharmaceuticalInformationSequence")
    at = header.clock(info, "RadiopharmaceuticalStartTime") if info is not None else None
    raw = header.text(info, "RadiopharmaceuticalStartDateTime") if info is not None else ""
    dated = header.stamp(raw, "RadiopharmaceuticalStartDateTime", ds)
    if dated and at and abs(header.wrapped(_of_day(dated.time()) - _of_day(at))) > INJECTION_CLOCKS_AGREE_S:
        raise UnitError(f"Injection at {at:%H:%M:%S} by (0018,1072) but {dated:%H:%M:%S} by (0018,1078)",
                        "the two do not agree", _GIVE)
    if dated and reference.date() != header.NO_DATE:
        return dated
    if dated is None and raw and at:
        return datetime.combine(_date_only(raw), at)
    if dated is None and at is None:
        raise UnitError("The time of injection", "is neither in (0018,1072) nor in (0018,1078)", _GIVE)
    return _before(latest, at or dated.time(), half_life_s)


def _date_only(raw: str) -> date:
    from pydicom.valuerep import DA

    try:
        found = DA(raw[:8])
    except ValueError:
        raise UnitError(f"Injection date-time (0018,1078) '{raw}'", "cannot be read", _GIVE) from None
    return date(found.year, found.month, found.day)


def _before(latest: datetime, at: time, half_life_s: float) -> datetime:
    """The last time the clock showed `at`; only for tracers that are imaged within a day."""
    if half_life_s > NEXT_DAY_HALF_LIFE_S:
        raise UnitError(f"Injection at {at:%H:%M:%S} on an unknown day",
                        f"with a half-life of {half_life_s / 3600:.1f} h the scan may be days later", _GIVE)
    moment = datetime.combine(latest.date(), at)
    late = (moment - latest).total_seconds() > ROUNDING_S
    return moment - timedelta(days=1) if late else moment


def scan_start(series: Sequence[Dataset], frame: Frame, half_life_s: float) -> datetime:
    """The time that `DecayCorrection = START` refers to."""
    if header.text(series[0], "DecayCorrection").upper() == "ADMIN":
        return _earliest(series_time(series[0]), frame.began)
    readings = _readings(series[0], frame, half_life_s)
    left = {name: moment for name, moment in readings.items() if _agrees(moment, frame, half_life_s)}
    if not left:
        raise UnitError("The time the decay correction refers to",
                        _why_none(series_time(series[0]), frame, readings), _GIVE)
    chosen = next(iter(left.values()))
    for name, moment in left.items():
        if abs(_decay((moment - chosen).total_seconds(), half_life_s) - 1) > DECAY_AGREES:
            raise UnitError(f"Scan start {chosen:%H:%M:%S} by {next(iter(left))} but {moment:%H:%M:%S} by {name}",
                            "the two do not agree", _GIVE)
    return chosen


def _earliest(*moments: datetime | None) -> datetime:
    known = [moment for moment in moments if moment is not None]
    if not known:
        raise UnitError("The time of the scan", "is in neither SeriesTime nor AcquisitionTime", _GIVE)
    return min(known)


def _readings(ds: Dataset, frame: Frame, half_life_s: float) -> dict[str, datetime]:
    """Every time the header offers as reference, most trusted first."""
    series, found = series_time(ds), {}
    vendor = header.text(ds, "Manufacturer").lower()
    if "philips" in vendor and None not in (frame.began, frame.seconds, frame.reference_ms):
        found["Philips' frame reference time"] = _philips(frame, half_life_s)
    late = (series - frame.began).total_seconds() if series and frame.began else 0.0
    if series and _decay(late, half_life_s) - 1 <= LATE_DECAY:
        found["SeriesTime"] = series
    ge = _ge_scan_time(ds)
    if ge:
        found["GE's scan date-time"] = ge
    if not found and frame.began and frame.decay_factor is not None:
        found["the first AcquisitionTime"] = frame.began
    return found


def _philips(frame: Frame, half_life_s: float) -> datetime:
    from pysuv.dicom.vendors.philips import PhilipsHandler

    offset = PhilipsHandler().calculate_scan_start_time(0.0, half_life_s, None, 1000.0 * frame.seconds,
                                                        frame.reference_ms)
    return frame.began + timedelta(seconds=offset)


def _ge_scan_time(ds: Dataset) -> datetime | None:
    try:
        value = ds.private_block(0x0009, "GEMS_PETD_01")[0x0D].value
    except KeyError:
        return None
    return header.stamp(value, "GE scan date-time (0009,100d)", ds)


def _agrees(reference: datetime, frame: Frame, half_life_s: float) -> bool:
    """Could the decay factor applied to the first slice refer to this time? True where none is given."""
    if frame.began is None or not frame.decay_factor:
        return True
    half = (frame.seconds or 0.0) / 2
    expected = _decay((frame.began - reference).total_seconds() + half, half_life_s)
    tolerance = DECAY_AGREES + _decay(half, half_life_s) - 1
    return expected > 0 and abs(frame.decay_factor / expected - 1) <= tolerance


def _decay(seconds: float, half_life_s: float) -> float:
    from pysuv.core.decay import calculate_decay_factor

    try:
        return calculate_decay_factor(seconds, half_life_s)
    except OverflowError:
        return float("inf")


def _why_none(series: datetime | None, frame: Frame, readings: dict[str, datetime]) -> str:
    if readings:
        listed = ", ".join(f"{name} {moment:%H:%M:%S}" for name, moment in readings.items())
        return f"cannot be {listed}: the slices were multiplied by {frame.decay_factor:g} for decay"
    if series and frame.began:
        return (f"is unknown: the series time {series:%H:%M:%S} is later than the acquisition {frame.began:%H:%M:%S}, "
                "and no decay factor (0054,1321) says which was meant")
    return "is in neither SeriesTime nor AcquisitionTime"


def series_time(ds: Dataset) -> datetime | None:
    at = header.clock(ds, "SeriesTime")
    return datetime.combine(_scan_day(ds), at) if at else None


def first_frame(series: Sequence[Dataset]) -> Frame:
    began = [(acquired(ds), ds) for ds in series]
    known = [pair for pair in began if pair[0] is not None]
    moment, ds = min(known, key=lambda pair: pair[0]) if known else (None, series[0])
    length = header.number(ds, "ActualFrameDuration")
    return Frame(moment, header.number(ds, "DecayFactor"), None if length is None else length / 1000.0,
                 header.number(ds, "FrameReferenceTime"))


def acquired(ds: Dataset) -> datetime | None:
    """When a slice's frame began; without a date of its own, on the day nearest to the series time."""
    at = header.clock(ds, "AcquisitionTime")
    if at is None:
        return header.stamp(header.text(ds, "AcquisitionDateTime"), "AcquisitionDateTime", ds)
    own = header.day(ds, "AcquisitionDate")
    if own:
        return datetime.combine(own, at)
    series = series_time(ds)
    if series is None:
        return datetime.combine(_scan_day(ds), at)
    return series + timedelta(seconds=header.wrapped(_of_day(at) - _of_day(series.time())))


def _scan_day(ds: Dataset) -> date:
    return header.day(ds, "SeriesDate", "AcquisitionDate", "StudyDate") or header.NO_DATE


def _of_day(at: time) -> float:
    return at.hour * 3600.0 + at.minute * 60.0 + at.second + at.microsecond / 1e6
