"""When was it injected, and to which moment are the values decay corrected: intervals in s, never dates.

A slice's own acquisition time is never the reference: later beds would be wrong by up to 20 %.
"""

from __future__ import annotations

import math
import re
from datetime import date
from typing import Any, Protocol

import numpy as np

from promet.core.errors import DataError
from promet.imaging.dicom import Header

DAY = 86400.0
_TIME = re.compile(r"^(\d{2}):?(\d{2})?:?(\d{2})?(?:\.(\d{1,6})\d*)?$")
_DATE = re.compile(r"^(\d{4})[.-]?(\d{2})[.-]?(\d{2})$")
_DATETIME = re.compile(r"^(\d{8})(\d{2,6}(?:\.\d+)?)?([+-]\d{4})?$")
SLACK = 1.0  # s; SeriesTime without a fraction may seem later than an acquisition with one
LONG = 6 * 3600.0  # longest believable uptake of a nuclide that lives hours
APART = 0.10  # two accounts of the scan start may differ by this share of SUV, unless a third confirms one
NEVER = "Export the original series, or give the PET in SUV (NIfTI)"


class Result(Protocol):
    """Where intervals and warnings go."""

    audit: dict[str, Any]
    warnings: list[str]


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


def moment_of(text: str | None) -> float | None:
    """A DICOM date-time in seconds since day 0, its offset to UTC ignored; needs date and hour."""
    match = _DATETIME.match(text or "")
    if not match:
        return None
    day, second = day_of(match[1]), second_of(match[2])
    return None if day is None or second is None else day * DAY + second


def uptake(headers: list[Header], life: float, result: Result) -> float:
    """Seconds from injection to the moment the values are decay corrected to (DecayCorrection START)."""
    reference = _reference(headers, life, result)
    injected = _injected(headers[0], reference, life, result)
    seconds = reference - injected
    _check_uptake(seconds, life, result)
    return seconds


def after_injection(headers: list[Header], life: float, result: Result) -> tuple[np.ndarray, np.ndarray]:
    """Seconds from injection to each slice's acquisition, and each slice's duration in s (DecayCorrection NONE)."""
    starts = _acquired(headers)
    durations = [header.number("ActualFrameDuration") for header in headers]
    if any(time is None for time in starts) or any(not length or length < 0 for length in durations):
        raise _refused(
            "E_PET_FRAME_DURATION",
            "AcquisitionTime or ActualFrameDuration is missing in a slice, and DecayCorrection is NONE",
        )
    first = min(starts)
    injected = _injected(headers[0], first, life, result)
    since = np.array(starts) - injected
    _check_uptake(float(since.min()), life, result)
    if np.ptp(since) > min(DAY / 2, LONG):
        raise _refused("E_PET_TIME_SPAN", "AcquisitionTime of the slices spans more than half a day")
    result.audit["reference_time"] = "AcquisitionTime of each slice"
    return since, np.array(durations) / 1000


def _reference(headers: list[Header], life: float, result: Result) -> float:
    head = headers[0]
    fixed = moment_of(head.text("DecayCorrectionDateTime")) if head.text("DecayCorrected") == "YES" else None
    if fixed is not None:  # enhanced PET says it outright
        result.audit["reference_time"] = "DecayCorrectionDateTime"
        return fixed
    series, starts = _series(head), _acquired(headers)
    known = [time for time in starts if time is not None]
    if len(known) < len(starts):
        raise _refused(
            "E_PET_ACQUISITION_TIME",
            "AcquisitionTime is missing or unreadable in a slice, so SeriesTime cannot be checked",
        )
    earliest = min(known)
    if max(known) - earliest > DAY / 2 and life < DAY / 4:
        raise _refused("E_PET_TIME_SPAN", "AcquisitionTime of the slices spans more than half a day")
    back, spread = _computed_back(headers, starts, life)
    series = _same_day(series, earliest, back, life, result)
    if series <= earliest + SLACK:
        taken, rule = series, "SeriesTime (not after the earliest AcquisitionTime)"
    else:
        taken, rule = (
            _ge_start(head, earliest, result),
            "GE scan start (0009,100D); SeriesTime is after AcquisitionTime",
        )
        if taken is None:
            if back is None:
                raise _refused(
                    "E_PET_SERIES_TIME",
                    "SeriesTime is missing or after AcquisitionTime, there is no GE scan start (0009,100D), and "
                    "FrameReferenceTime or ActualFrameDuration is missing",
                )
            if spread > 30:
                raise _refused(
                    "E_PET_SLICES_DISAGREE",
                    f"SeriesTime is missing or after AcquisitionTime, and slices disagree by {spread:.0f} s on the scan start",
                )
            taken, rule = (
                back,
                "computed back from AcquisitionTime, FrameReferenceTime and ActualFrameDuration",
            )
    result.audit["reference_time"] = rule
    result.audit["reference_before_first_acquisition_s"] = round(earliest - taken, 3)
    result.audit["series_before_first_acquisition_s"] = (
        round(earliest - series, 3) if math.isfinite(series) else None
    )
    if back is not None:
        share = _share(back - taken, life)
        result.audit["computed_back_minus_reference_s"] = round(back - taken, 3)
        if share > APART and taken == series and not _confirmed(head, taken, earliest, headers, starts, life):
            raise _refused(
                "E_PET_SCAN_START",
                f"SeriesTime and FrameReferenceTime tell scan starts {abs(back - taken):.0f} s apart, by which SUV would "
                f"differ by {100 * share:.0f} %, and nothing else says which is right",
            )
        if share > 0.05:
            result.warnings.append(
                f"FrameReferenceTime suggests another scan start, {back - taken:.0f} s away, by which SUV would differ by {100 * share:.0f} %"
            )
    return taken


def _share(seconds: float, life: float) -> float:
    """By which share SUV changes when a moment is off by ``seconds``."""
    return 2 ** (abs(seconds) / life) - 1


def _same_day(series: float, earliest: float, back: float | None, life: float, result: Result) -> float:
    """SeriesTime brought to the day of the acquisition when only the dates disagree; infinity when it cannot be."""
    if not math.isfinite(series) or abs(series - earliest) <= DAY / 2:
        return series
    moved = series + DAY * round((earliest - series) / DAY)
    if back is not None and _share(back - moved, life) > 0.05:
        result.warnings.append(
            "SeriesDate and SeriesTime do not fit AcquisitionDate and AcquisitionTime and were not used"
        )
        return math.inf
    result.warnings.append(
        "SeriesDate and AcquisitionDate do not fit each other; the time of day of SeriesTime was used"
    )
    return moved


def _confirmed(
    head: Header,
    taken: float,
    earliest: float,
    headers: list[Header],
    starts: list[float | None],
    life: float,
) -> bool:
    """Whether a maker's own element or the decay factors of the slices name the same scan start within a minute."""
    for group, creator, element in ((0x0009, "GEMS_PETD_01", 0x0D), (0x0071, "SIEMENS MED PT", 0x22)):
        moment = moment_of(head.private(group, creator, element))
        if moment is not None and abs((moment - taken + DAY / 2) % DAY - DAY / 2) < 60:
            return True
    first = starts.index(earliest)
    factor, length = headers[first].number("DecayFactor"), headers[first].number("ActualFrameDuration")
    if not factor or not length or factor <= 1.001:
        return False  # 1 is what is written when nobody computed it
    rate = math.log(2) / life
    exposure = rate * length / 1000
    return abs(earliest - math.log(factor * -math.expm1(-exposure) / exposure) / rate - taken) < 60


def _series(head: Header) -> float:
    """Series date and time; infinity when the time is missing, so that nothing is before it."""
    second = second_of(head.text("SeriesTime"))
    if second is None:
        return math.inf
    return (_day(head, "SeriesDate") or _day(head, "AcquisitionDate") or 0) * DAY + second


def _day(head: Header, keyword: str) -> int | None:
    return day_of(head.text(keyword))


def _acquired(headers: list[Header]) -> list[float | None]:
    """Start of each slice's acquisition; a missing date is that of the series, or the next when it is past midnight."""
    found: list[float | None] = []
    series = second_of(headers[0].text("SeriesTime"))
    for header in headers:
        moment = moment_of(header.text("FrameAcquisitionDateTime")) or moment_of(
            header.text("AcquisitionDateTime")
        )
        second = second_of(header.text("AcquisitionTime"))
        if second is None:
            found.append(moment)
            continue
        day = _day(header, "AcquisitionDate")
        if day is None:
            day = _day(header, "SeriesDate") or 0
            if series is not None and series - second > DAY / 2:
                day += 1
        found.append(day * DAY + second)
    latest = max((time for time in found if time is not None), default=0.0)
    days = {_day(header, "AcquisitionDate") for header in headers}
    if len(days) == 1:  # one date for a scan that ran past midnight
        found = [time + DAY if time is not None and DAY / 2 < latest - time < DAY else time for time in found]
    return found


def _ge_start(head: Header, earliest: float, result: Result) -> float | None:
    """GE's own scan start, brought to the dates of the standard elements when only those were shifted."""
    moment = moment_of(head.private(0x0009, "GEMS_PETD_01", 0x0D))
    if moment is None:
        return None
    if abs(moment - earliest) > DAY / 2:
        moment += DAY * round((earliest - moment) / DAY)
        result.warnings.append(
            "The GE scan start (0009,100D) has another date than the series; its time of day was used"
        )
    if moment > earliest + SLACK or earliest - moment > LONG:
        result.warnings.append("The GE scan start (0009,100D) does not fit AcquisitionTime and was not used")
        return None
    return moment


def _computed_back(
    headers: list[Header], starts: list[float | None], life: float
) -> tuple[float | None, float]:
    """t_acq + ln(kT/(1-exp(-kT)))/k - FrameReferenceTime of the earliest slice, and its spread over the slices."""
    rate, found = math.log(2) / life, []
    for header, start in zip(headers, starts, strict=True):
        offset, length = header.number("FrameReferenceTime"), header.number("ActualFrameDuration")
        if start is None or offset is None or not length or length < 0:
            return None, 0.0
        exposure = rate * length / 1000
        found.append(start + math.log(exposure / -math.expm1(-exposure)) / rate - offset / 1000)
    return found[int(np.argmin(starts))], float(np.ptp(found))


def _injected(head: Header, reference: float, life: float, result: Result) -> float:
    """Moment of injection; without a date it is the last such time of day before the reference."""
    dose = head.first("RadiopharmaceuticalInformationSequence") or Header()
    moment = moment_of(dose.text("RadiopharmaceuticalStartDateTime"))
    second = second_of(dose.text("RadiopharmaceuticalStartTime"))
    if moment is None and second is None:
        raise _refused(
            "E_PET_INJECTION_TIME",
            "RadiopharmaceuticalStartTime and RadiopharmaceuticalStartDateTime are missing or unreadable",
        )
    dateless = None
    if second is not None:
        dateless = math.floor(reference / DAY) * DAY + second
        if dateless > reference:
            dateless -= DAY
            result.audit["midnight"] = True
    if moment is None:
        result.audit["injection_time"] = "RadiopharmaceuticalStartTime"
        if life >= DAY / 4 and _share(DAY, life) > 0.01:
            if life >= DAY:
                raise _refused(
                    "E_PET_INJECTION_DATE",
                    "RadiopharmaceuticalStartDateTime is missing, and with a nuclide that lives days the day of the injection matters",
                )
            result.warnings.append(
                "RadiopharmaceuticalStartDateTime is missing; the injection was taken to be less than a day before the scan"
            )
        return dateless
    result.audit["injection_time"] = "RadiopharmaceuticalStartDateTime"
    if dateless is None:
        return moment
    apart = (moment - dateless + DAY / 2) % DAY - DAY / 2  # of the times of day
    share = 2 ** (abs(apart) / life) - 1
    if share > 0.01:
        raise _refused(
            "E_PET_INJECTION_CONFLICT",
            f"RadiopharmaceuticalStartTime and RadiopharmaceuticalStartDateTime disagree by {abs(apart):.0f} s",
        )
    if life < DAY / 4 and not 0 <= reference - moment <= LONG:
        result.warnings.append(
            "RadiopharmaceuticalStartDateTime has another date than the series; its time of day was used"
        )
        result.audit["injection_time"] = "RadiopharmaceuticalStartTime"
        return dateless
    return moment


def _check_uptake(seconds: float, life: float, result: Result) -> None:
    most = LONG if life < DAY / 4 else 14 * DAY
    result.audit["uptake_s"] = round(seconds, 3)
    if not 0 <= seconds <= most:
        raise _refused(
            "E_PET_UPTAKE_TIME",
            f"The scan reference lies {seconds:.0f} s after the injection",
            f"0 to {most:.0f} s for this nuclide",
        )
    if life < DAY / 4 and not 1200 <= seconds <= 10800:
        result.warnings.append(f"The uptake time is {seconds / 60:.0f} min: please check")


def _refused(code: str, found: str, expected: str = "times that fit each other") -> DataError:
    return DataError(code, found, expected, NEVER)
