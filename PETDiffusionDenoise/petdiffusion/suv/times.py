"""When was the tracer injected, and to what time is a DICOM PET corrected for decay?

DICOM leaves both open to interpretation: the injection has a time (0018,1072) and a date-time (0018,1078); `START`
means the series time only as long as nobody made a new series since. Every reading that the header allows is listed,
those that the slice's own decay factor contradicts are dropped, and if the rest do not agree the answer is refused.
Anonymisers leave clocks at midnight, and dates that were not shifted with the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, NamedTuple

from ..errors import PETDiffusionError, UnitError
from . import header
from .factor import LONGEST_UPTAKE_HALF_LIVES, ROUNDING_S
from .factor import uptake as checked_uptake

if TYPE_CHECKING:
    from pydicom import Dataset

LATE_DECAY = 0.005
"""A series time later than the acquisition by less than this much decay is still its start."""
INJECTION_CLOCKS_AGREE_S = 60.0
DECAY_AGREES = 0.02
NEXT_DAY_HALF_LIFE_S = 6 * 3600.0
"""Tracers that live longer are imaged days later, so a time of day alone does not date their injection."""
QUARTER_S = 900.0
"""Zones differ by whole quarters of an hour,"""
ZONES_ALIKE_S = 10 * 3600.0
"""and by at most fourteen hours: two that differ by this much or more on the clock may be a day apart."""
UNUSUAL_HALF_LIVES = 3.0
"""Hardly anybody waits longer: too little is left of the tracer."""
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


class Clocks(NamedTuple):
    """What the image is decay-corrected to, when the tracer was given, and how long the scan had been running."""

    reference: datetime
    injected: datetime
    running_s: float

    @property
    def waited_s(self) -> float:
        return (self.reference - self.injected).total_seconds()


def uptake(series: Sequence[Dataset], half_life_s: float) -> Uptake:
    """To the start of the scan, to which the image is decay-corrected (or, for ADMIN, at which it was acquired)."""
    found = clocks(series, half_life_s)
    return Uptake(found.waited_s, found.running_s)


def clocks(series: Sequence[Dataset], half_life_s: float) -> Clocks:
    frame = first_frame(series)
    reference = scan_start(series, frame, half_life_s)
    running = (frame.began - reference).total_seconds() if frame.began else 0.0
    if not 0 < running <= LONGEST_UPTAKE_HALF_LIVES * half_life_s:  # dates that were shifted otherwise, too
        running = 0.0
    latest = reference + timedelta(seconds=running)
    given = [injection(ds, reference, latest, half_life_s) for ds in series]
    if not _within(max(given) - min(given), half_life_s):
        raise UnitError(f"Injection at {min(given):%H:%M:%S} and {max(given):%H:%M:%S}", "occur in one series",
                        "Export the series again, or go on in Bq/ml.")
    found = Clocks(reference, given[0], running)
    _check_midnight(found, half_life_s)
    return found


def _check_midnight(found: Clocks, half_life_s: float) -> None:
    """A clock at 00:00:00 is one that an anonymiser set to zero, unless an ordinary scan comes of it."""
    ordinary = ROUNDING_S < found.waited_s <= UNUSUAL_HALF_LIVES * half_life_s
    for name, moment in (("Injection", found.injected), ("Scan start", found.reference)):
        if moment.time() == time.min and not (ordinary and half_life_s <= NEXT_DAY_HALF_LIFE_S):
            raise UnitError(f"{name} at 00:00:00", "looks like a time that was taken out of the header", _GIVE)


def check_administered(series: Sequence[Dataset], half_life_s: float) -> None:
    """The slices of a series corrected to the injection were multiplied by the decay since then. Where the header does
    not tell when that was, nothing contradicts it."""
    try:
        frame, found = first_frame(series), clocks(series, half_life_s)
        checked_uptake(found.waited_s, half_life_s, found.running_s)
    except (PETDiffusionError, OverflowError, ValueError):
        return
    first_agrees = agrees(found.injected, frame, half_life_s)
    if (wrong := contradicted(found.injected, series, half_life_s) if first_agrees else frame) is not None:
        raise UnitError("Decay correction 'ADMIN'", f"cannot be: the slices were multiplied by {wrong.decay_factor:g} "
                        f"for decay, which is not that from the injection {found.injected:%H:%M:%S} to the scan "
                        f"{wrong.began:%H:%M:%S}", _GIVE)


def injection(ds: Dataset, reference: datetime, latest: datetime, half_life_s: float) -> datetime:
    """When the tracer was given, on the reference's clock; a time of day alone is the last one until `latest`."""
    at, dated, raw = told_injection(ds)
    if dated and at and abs(header.wrapped(_of_day(dated.time()) - _of_day(at))) > INJECTION_CLOCKS_AGREE_S:
        if _of_another_zone(ds, raw, dated, at):
            return _at_the_scanner(dated, at, latest, half_life_s)
        if dated.time() != time.min:
            raise UnitError(f"Injection at {at:%H:%M:%S} by (0018,1072) but {dated:%H:%M:%S} by (0018,1078)",
                            "the two do not agree", _GIVE)
        dated = datetime.combine(dated.date(), at)
    if dated and at is None and header.zone(ds) is None and header.own_zone(raw) == timedelta(0):
        raise UnitError(f"Injection at {dated:%H:%M:%S} in Greenwich by (0018,1078)",
                        "neither (0008,0201) nor (0018,1072) says what the scanner's clock showed", _GIVE)
    if dated and reference.date() != header.NO_DATE and not (at and _of_other_days(dated, reference, half_life_s)):
        return dated
    if dated is None and at is None:
        raise UnitError("The time of injection", "is neither in (0018,1072) nor in (0018,1078)", _GIVE)
    return _before(latest, at or dated.time(), half_life_s)


def told_injection(ds: Dataset) -> tuple[time | None, datetime | None, str]:
    """The time of day, the date-time as wall time, and what is written for it."""
    info = header.item(ds, "RadiopharmaceuticalInformationSequence")
    if info is None:
        return None, None, ""
    raw = header.text(info, "RadiopharmaceuticalStartDateTime")
    at = header.clock(info, "RadiopharmaceuticalStartTime")
    dated = header.stamp(raw, "RadiopharmaceuticalStartDateTime", ds)
    if dated is None and raw and at:
        dated = datetime.combine(_date_only(raw), at)
    return at, dated, raw


def _of_another_zone(ds: Dataset, raw: str, dated: datetime, at: time) -> bool:
    """A date-time with a zone of its own, which the time of day beside it shows not to be the scanner's."""
    if header.zone(ds) is not None or header.own_zone(raw) is None:
        return False
    beyond = (header.wrapped(_of_day(at) - _of_day(dated.time())) + QUARTER_S / 2) % QUARTER_S - QUARTER_S / 2
    return abs(beyond) <= INJECTION_CLOCKS_AGREE_S


def _at_the_scanner(dated: datetime, at: time, latest: datetime, half_life_s: float) -> datetime:
    """By the time of day. A clock ten hours behind may be fourteen ahead: then a tracer that lives longer than a day's
    scan has two days for its injection."""
    if half_life_s <= NEXT_DAY_HALF_LIFE_S:
        return _before(latest, at, half_life_s)
    ahead_s = header.wrapped(_of_day(at) - _of_day(dated.time()))
    if abs(ahead_s) >= ZONES_ALIKE_S:
        raise UnitError(f"Injection at {at:%H:%M:%S} by (0018,1072) but {dated:%H:%M:%S} by (0018,1078)",
                        "on which day is not known without the scanner's zone (0008,0201)", _GIVE)
    return dated + timedelta(seconds=ahead_s)


def _of_other_days(dated: datetime, reference: datetime, half_life_s: float) -> bool:
    """A date that was not shifted with the scan's: nothing would be left of such a tracer after a day, and nobody
    injects it half a day after the scan."""
    before = reference - dated
    return half_life_s <= NEXT_DAY_HALF_LIFE_S and not -timedelta(hours=12) <= before <= timedelta(days=1)


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
    readings = _readings(series, frame, half_life_s)
    left = [(name, moment) for name, moment in readings if agrees(moment, frame, half_life_s)]
    if not left:
        raise UnitError("The time the decay correction refers to",
                        _why_none(series_time(series[0]), frame, readings), _GIVE)
    first, chosen = left[0]
    for name, moment in left:
        if not _within(moment - chosen, half_life_s):
            raise UnitError(f"Scan start {chosen:%H:%M:%S} by {first} but {moment:%H:%M:%S} by {name}",
                            "the two do not agree", _GIVE)
    if (other := contradicted(chosen, series, half_life_s)) is not None:
        raise UnitError(f"Scan start {chosen:%H:%M:%S}", "cannot be that of all slices: those acquired at "
                        f"{other.began:%H:%M:%S} were multiplied by {other.decay_factor:g} for decay, which is not "
                        "that since then", _GIVE)
    return chosen


def _earliest(*moments: datetime | None) -> datetime:
    known = [moment for moment in moments if moment is not None]
    if not known:
        raise UnitError("The time of the scan", "is in neither SeriesTime nor AcquisitionTime", _GIVE)
    return min(known)


def _readings(series: Sequence[Dataset], frame: Frame, half_life_s: float) -> list[tuple[str, datetime]]:
    """Every time the header offers as reference, most trusted first."""
    found = []
    vendor = header.text(series[0], "Manufacturer").lower()
    if "philips" in vendor and None not in (frame.began, frame.seconds, frame.reference_ms):
        found.append(("Philips' frame reference time", _philips(frame, half_life_s)))
    found += [("SeriesTime", moment) for moment in _series_times(series) if not _late(moment, frame, half_life_s)]
    ge = _ge_scan_time(series[0])
    if ge:
        found.append(("GE's scan date-time", ge))
    if frame.began and (_unproven(series[0], frame) if found else frame.decay_factor):
        found.append(("the first AcquisitionTime", _near(frame.began, found[0][1]) if found else frame.began))
    return found


def readings(series: Sequence[Dataset], frame: Frame, half_life_s: float) -> list[datetime]:
    """The moments to which the header allows the slices to be corrected, most trusted first."""
    return [moment for _, moment in _readings(series, frame, half_life_s)]


def _near(moment: datetime, other: datetime) -> datetime:
    """The same time of day on the nearest day: dates may have been shifted otherwise."""
    return other + timedelta(seconds=header.wrapped((moment - other).total_seconds()))


def _series_times(series: Sequence[Dataset]) -> list[datetime]:
    """One, unless slices differ; the lowest slice's first."""
    return [moment for moment in dict.fromkeys(map(series_time, series)) if moment]


def _late(moment: datetime, frame: Frame, half_life_s: float) -> bool:
    """A series that was made after the scan."""
    return frame.began is not None and _decay((moment - frame.began).total_seconds(), half_life_s) - 1 > LATE_DECAY


def _unproven(ds: Dataset, frame: Frame) -> bool:
    """Without a decay factor only a frame of a dynamic scan may have been acquired long after its series began."""
    return not frame.decay_factor and not is_dynamic(ds)


def is_dynamic(ds: Dataset) -> bool:
    return "DYNAMIC" in header.words(ds, "SeriesType")


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


def forget_scan_start(ds: Dataset) -> None:
    """What vendors write beside SeriesTime of when the scan began, of a slice that is not corrected to that."""
    if _ge_scan_time(ds) is not None:
        del ds.private_block(0x0009, "GEMS_PETD_01")[0x0D]
    if "FrameReferenceTime" in ds:
        del ds.FrameReferenceTime


def agrees(reference: datetime, frame: Frame, half_life_s: float) -> bool:
    """Could the decay factor applied to the first slice refer to this time? True where none is given."""
    if frame.began is None or not frame.decay_factor:
        return True
    half = (frame.seconds or 0.0) / 2
    expected = _decay((frame.began - reference).total_seconds() + half, half_life_s)
    tolerance = DECAY_AGREES + _decay(half, half_life_s) - 1
    return expected > 0 and abs(frame.decay_factor / expected - 1) <= tolerance


def all_agree(reference: datetime, series: Sequence[Dataset], half_life_s: float) -> bool:
    """Could the decay factors of the beds that were scanned after the first slice refer to this time, too?"""
    return contradicted(reference, series, half_life_s) is None


def contradicted(reference: datetime, series: Sequence[Dataset], half_life_s: float) -> Frame | None:
    """The first of the slices acquired at one time of which none was multiplied by the decay since the reference. A
    factor of one stands there where nobody wrote one."""
    frames = sorted(_frames(series), key=lambda frame: frame.began)
    proven = {frame.began for frame in frames if frame.decay_factor == 1 or agrees(reference, frame, half_life_s)}
    return next((frame for frame in frames if frame.began not in proven), None)


def _frames(series: Sequence[Dataset]) -> list[Frame]:
    """One of each start and decay factor; of slices that do not say when they were acquired none."""
    keywords = ("AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime", "DecayFactor")
    one_of_each = {tuple(header.text(ds, keyword) for keyword in keywords): ds for ds in series}
    known = [(acquired(ds), ds) for ds in one_of_each.values()]
    return [_frame(ds, moment) for moment, ds in known if moment is not None]


def _within(apart: timedelta, half_life_s: float) -> bool:
    """Two moments between which no more decays than matters."""
    return abs(_decay(apart.total_seconds(), half_life_s) - 1) <= DECAY_AGREES


def _decay(seconds: float, half_life_s: float) -> float:
    from pysuv.core.decay import calculate_decay_factor

    try:
        return calculate_decay_factor(seconds, half_life_s)
    except OverflowError:
        return float("inf")


def _why_none(series: datetime | None, frame: Frame, readings: list[tuple[str, datetime]]) -> str:
    if readings:
        listed = ", ".join(f"{name} {moment:%H:%M:%S}" for name, moment in readings)
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
    return _frame(ds, moment)


def _frame(ds: Dataset, moment: datetime | None) -> Frame:
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
