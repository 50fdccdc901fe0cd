"""Typed look at DICOM header values: a number, a text or None; a damaged value is a named error."""

from __future__ import annotations

import math
from datetime import date, datetime, time, timedelta, tzinfo
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    from pydicom import Dataset

NO_DATE = date(2000, 1, 2)
"""Stands for the day of the scan where no date is given."""


def text(ds: Dataset, keyword: str) -> str:
    """The value as text, '' where it is absent or empty."""
    value = _value(ds, keyword)
    return "" if value is None else str(value).strip()


def words(ds: Dataset, keyword: str) -> list[str]:
    """The values of a tag with several, in upper case."""
    value = _value(ds, keyword)
    if value is None or value == "":
        return []
    items = value.split("\\") if isinstance(value, str) else list(value)
    return [str(item).strip().upper() for item in items]


def number(ds: Dataset, keyword: str) -> float | None:
    """The value as a finite number, None where it is absent or empty."""
    value = _value(ds, keyword)
    if value is None or value == "":
        return None
    try:
        result = float(value)
    except (TypeError, ValueError):
        raise _damaged(keyword, value) from None
    if not math.isfinite(result):
        raise _damaged(keyword, value)
    return result


def private_number(ds: Dataset, group: int, creator: str, element: int) -> float | None:
    """A number in a vendor's private block, also where the creator line was stripped and the block is the usual one."""
    try:
        tag = ds.private_block(group, creator)[element]
    except KeyError:
        tag = ds.get((group, 0x1000 + element)) if _owner(ds, group) in ("", creator) else None
    if tag is None or tag.value in (None, "", b""):
        return None
    value = tag.value.decode("ascii", "replace").strip("\0 ") if isinstance(tag.value, bytes) else tag.value
    try:
        return float(value)
    except (TypeError, ValueError):
        raise _damaged(f"({group:04x},{0x1000 + element:04x})", value) from None


def _owner(ds: Dataset, group: int) -> str:
    """Who the usual private block of a group belongs to; '' where nobody says."""
    creator = ds.get((group, 0x10))
    value = "" if creator is None or creator.value is None else creator.value
    return (value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)).strip("\0 ")


def item(ds: Dataset, keyword: str) -> Dataset | None:
    """The first item of a sequence."""
    value = _value(ds, keyword)
    return value[0] if value else None


def clock(ds: Dataset, keyword: str) -> time | None:
    """A TM value, also with the colons of ACR-NEMA and with more digits than microseconds."""
    from pydicom.valuerep import TM

    value = text(ds, keyword)
    if not value:
        return None
    whole, point, part = value.replace(":", "").partition(".")
    try:
        moment = TM(whole + point + part[:6])
    except (TypeError, ValueError):
        raise _damaged(keyword, value) from None
    return time(moment.hour, moment.minute, moment.second, moment.microsecond)


def day(ds: Dataset, *keywords: str) -> date | None:
    """The first DA value that is there."""
    from pydicom.valuerep import DA

    for keyword in keywords:
        value = text(ds, keyword)
        if value:
            try:
                found = DA(value)
            except (TypeError, ValueError):
                raise _damaged(keyword, value) from None
            return date(found.year, found.month, found.day)
    return None


def as_day(moment: datetime) -> str:
    """As a DA value: four figures of the year everywhere, which `%Y` gives on some systems alone."""
    return moment.date().isoformat().replace("-", "")


def stamp(value: object, name: str, ds: Dataset) -> datetime | None:
    """A DT value as wall time on the clock of the series; None where it is empty or has no time of day.

    A zone of its own counts only where (0008,0201) says which zone the other times are in.
    """
    from pydicom.valuerep import DT

    raw = "" if value is None else str(value).strip()
    if len(raw.split("+")[0].split("-")[0].split(".")[0]) < 12:
        return None
    try:
        moment = DT(raw)
    except (TypeError, ValueError):
        raise _damaged(name, raw) from None
    clock_of_series = zone(ds) if moment.tzinfo else None
    shown = moment.astimezone(clock_of_series) if clock_of_series else moment
    return datetime(shown.year, shown.month, shown.day, shown.hour, shown.minute, shown.second, shown.microsecond)


def own_zone(value: str) -> timedelta | None:
    """How far the clock of this DT value is ahead of Greenwich, where it says so."""
    from pydicom.valuerep import DT

    return DT(value).utcoffset()


def zone(ds: Dataset) -> tzinfo | None:
    """The zone of all times of a header that have none of their own; None where it is not said."""
    value = text(ds, "TimezoneOffsetFromUTC")
    if not value:
        return None
    try:
        return datetime.strptime(value, "%z").tzinfo
    except ValueError:
        raise _damaged("TimezoneOffsetFromUTC", value) from None


def wrapped(seconds: float) -> float:
    """A difference of two times of day, brought into half a day either side of zero."""
    day_s = timedelta(days=1).total_seconds()
    return (seconds + day_s / 2) % day_s - day_s / 2


def _value(ds: Dataset, keyword: str) -> object:
    try:
        return ds.get(keyword)
    except Exception as error:
        raise InputError(f"DICOM value {keyword}", f"is damaged ({error})", "Export the series again.") from error


def _damaged(keyword: str, value: object) -> InputError:
    return InputError(f"DICOM value {keyword} = {str(value)[:64]!r}", "is damaged", "Export the series again.")
