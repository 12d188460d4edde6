"""DICOM dates, times of day and date-times in seconds, with their offset from UTC."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import date

DAY = 86400.0
QUARTER = 900.0  # s; every time zone is a whole number of these from UTC
_TIME = re.compile(r"^(\d{2}):?(\d{2})?:?(\d{2})?(?:\.(\d{1,6})\d*)?$")
_DATE = re.compile(r"^(\d{4})[.-]?(\d{2})[.-]?(\d{2})$")
_DATETIME = re.compile(r"^(\d{8})(\d{2,6}(?:\.\d+)?)\s*([+\-Zz].*)?$")
_ZONE = re.compile(r"^([+-])(\d{2}):?(\d{2})?$")
_WEST, _EAST = -12 * 3600, 14 * 3600


@dataclass(frozen=True)
class Moment:
    """A date-time: seconds of its own clock since day 0, and how far that clock is east of UTC.

    ``zone`` in s; None when it is not said, NaN when what is said is no offset.
    """

    second: float
    zone: float | None = None


def day_of(text: str | None) -> int | None:
    """A DICOM date as a day number, ``None`` when absent or not a date."""
    match = _DATE.match(text or "")
    if not match:
        return None
    try:
        return date(*map(int, match.groups())).toordinal()
    except ValueError:
        return None


def second_of(text: str | None) -> float | None:
    """A DICOM time of day in seconds, ``None`` when absent or not a time."""
    match = _TIME.match(text or "")
    if not match:
        return None
    hour, minute, second = (int(part or 0) for part in match.groups()[:3])
    if hour > 23 or minute > 59 or second > 60:
        return None
    return hour * 3600.0 + minute * 60 + second + (float(f"0.{match[4]}") if match[4] else 0.0)


def zone_of(text: str | None) -> float | None:
    """An offset from UTC in s (TimezoneOffsetFromUTC); ``None`` when absent, NaN when it is none."""
    if not text:
        return None
    if text in ("Z", "z"):
        return 0.0
    match = _ZONE.match(text)
    if not match or int(match[3] or 0) > 59:
        return math.nan
    seconds = (int(match[2]) * 3600.0 + int(match[3] or 0) * 60) * (-1 if match[1] == "-" else 1)
    return seconds if _WEST <= seconds <= _EAST else math.nan


def moment_of(text: str | None) -> Moment | None:
    """A DICOM date-time, ``None`` when absent or unreadable; needs date and hour."""
    match = _DATETIME.match(text or "")
    if not match:
        return None
    day, second = day_of(match[1]), second_of(match[2])
    return None if day is None or second is None else Moment(day * DAY + second, zone_of(match[3]))


def known(zone: float | None) -> bool:
    """Whether an offset is said and readable."""
    return zone is not None and math.isfinite(zone)


def on(moment: Moment, zone: float | None) -> float:
    """The moment in seconds of a clock of the given zone; unchanged where one of the two offsets is not known."""
    return moment.second + (zone - moment.zone if known(zone) and known(moment.zone) else 0.0)


def whole_zones(seconds: float) -> bool:
    """Whether two clocks may be that far apart because they lie in two time zones."""
    return abs(seconds) <= _EAST - _WEST and abs(seconds - QUARTER * round(seconds / QUARTER)) <= 1


def hands(apart: float) -> float:
    """The difference of two times of day, -12 h to 12 h, of moments that lie ``apart`` seconds from each other."""
    return (apart + DAY / 2) % DAY - DAY / 2
