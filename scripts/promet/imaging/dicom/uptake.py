"""When was it injected, on the clock of the scan, and can the uptake be that of an examination? Intervals in s, never dates."""

from __future__ import annotations

import math
from typing import Any, Protocol

from promet.core.errors import DataError
from promet.imaging.dicom.clock import DAY, hands, known, on, whole_zones
from promet.imaging.dicom.files import Header
from promet.imaging.dicom.injection import injection, start_of

SLACK = 1.0  # s; SeriesTime without a fraction may seem later than an acquisition with one
MINUTE = 60.0
LONG = 6 * 3600.0  # longest believable uptake of a nuclide that lives minutes to hours
SHORT_LIVED = DAY / 4  # s of half-life; above it, days from injection to scan are believable
USUAL = (1200.0, 10800.0)  # s of uptake


class Result(Protocol):
    """Where intervals and warnings go."""

    audit: dict[str, Any]
    warnings: list[str]


def share_of(seconds: float, life: float) -> float:
    """By which share SUV changes when a moment is off by ``seconds``."""
    return 2 ** min(abs(seconds) / life, 1000.0) - 1


def refused(code: str, found: str, expected: str = "times that fit each other") -> DataError:
    return DataError(code, found, expected, "Export the original series, or give the PET in SUV (NIfTI)")


def injected(
    head: Header, reference: float, clock: float | None, own: bool, life: float, result: Result
) -> float:
    """Moment of injection on the scan's clock; without a date it is the last such time of day before the reference.

    Args:
        own: the reference was given with an offset from UTC that is not said of the other times.
    """
    moment, second = start_of(injection(head))
    if moment is None and second is None:
        raise refused(
            "E_PET_INJECTION_TIME",
            "RadiopharmaceuticalStartTime and RadiopharmaceuticalStartDateTime are missing or unreadable",
        )
    alone = own if moment is None or moment.zone is None else not (known(moment.zone) and known(clock))
    if moment is None:
        found = _last(second, reference, result)
        result.audit["injection_time"] = "RadiopharmaceuticalStartTime"
        if life >= SHORT_LIVED and share_of(DAY, life) > 0.01:
            if life >= DAY:
                raise refused(
                    "E_PET_INJECTION_DATE",
                    "RadiopharmaceuticalStartDateTime is missing, and with a nuclide that lives days the day of the injection matters",
                )
            result.warnings.append(
                "RadiopharmaceuticalStartDateTime is missing; the injection was taken to be less than a day before the scan"
            )
        return _without_zone(found, reference, result) if alone else found
    result.audit["injection_time"] = "RadiopharmaceuticalStartDateTime"
    found = on(moment, clock)
    if second is not None:
        apart = hands(second - found)
        if (
            abs(apart) > SLACK
            and found != moment.second
            and share_of(hands(second - moment.second), life) <= 0.01
        ):
            result.warnings.append(
                "RadiopharmaceuticalStartTime repeats RadiopharmaceuticalStartDateTime without its offset from UTC, which was honoured"
            )
        elif alone and moment.zone is not None and whole_zones(apart):
            found += apart  # in the clock of the scan, a whole number of zones away
            result.audit["injection_time"] = "RadiopharmaceuticalStartTime"
        elif share_of(apart, life) > 0.01:
            raise refused(
                "E_PET_INJECTION_CONFLICT",
                f"RadiopharmaceuticalStartTime and RadiopharmaceuticalStartDateTime disagree by {abs(apart):.0f} s",
            )
    if alone:
        return _without_zone(found, reference, result)
    if life < SHORT_LIVED and not 0 <= reference - found <= LONG:
        result.warnings.append(
            "RadiopharmaceuticalStartDateTime has another date than the series; its time of day was used"
        )
        result.audit["injection_time"] = "time of day of RadiopharmaceuticalStartDateTime"
        return _last(found % DAY, reference, result)
    return found


def _last(second: float, reference: float, result: Result) -> float:
    """The last time of day ``second`` that is not after the reference."""
    found = math.floor(reference / DAY) * DAY + second
    if found > reference:
        found -= DAY
        result.audit["midnight"] = True
    return found


def _without_zone(injected: float, reference: float, result: Result) -> float:
    """The moment as it is written, if the uptake is a usual one: an offset from UTC is said of one of the two only."""
    if not USUAL[0] <= reference - injected <= USUAL[1]:
        raise refused(
            "E_PET_TIME_ZONE",
            "Of injection and scan only one has an offset from UTC that can be read, and without it the uptake would be "
            f"{(reference - injected) / 60:.0f} min",
            "TimezoneOffsetFromUTC, or an offset on both or none",
        )
    result.warnings.append(
        "Of injection and scan only one has an offset from UTC that can be read; it was not used, since without it the "
        f"uptake is {(reference - injected) / 60:.0f} min: please check"
    )
    return injected


def check_uptake(seconds: float, begun: float, life: float, result: Result) -> None:
    """Refuse what no examination has, warn of what few have.

    Args:
        seconds: from injection to the reference.
        begun: from injection to the first acquisition, if that is later (values may be corrected to the injection itself).
    """
    most = min(LONG, 5 * life) if life < SHORT_LIVED else 5 * life
    result.audit["uptake_s"] = round(seconds, 3)
    if not 0 <= seconds <= most:
        raise refused(
            "E_PET_UPTAKE_TIME",
            f"The scan reference lies {seconds:.0f} s after the injection",
            f"0 to {most:.0f} s for this nuclide",
        )
    if begun < MINUTE:
        raise refused(
            "E_PET_TIMES_ERASED",
            f"The scan begins {begun:.0f} s after the injection: times of an anonymiser, or the beginning of a dynamic scan",
            "the times of injection and of a static scan",
        )
    if life < SHORT_LIVED and not USUAL[0] <= begun <= USUAL[1]:
        result.warnings.append(f"The uptake time is {begun / 60:.0f} min: please check")
    if life >= SHORT_LIVED and (seconds > 2 * life or (life < DAY and seconds > DAY / 2)):
        result.warnings.append(
            f"The injection lies {seconds / 3600:.0f} h before the scan, {seconds / life:.1f} half-lives: please check the dates"
        )


def check_placeholder(head: Header, moments: list[float | None], result: Result) -> None:
    """Noon or midnight to the second is what anonymisers write."""
    clocks = {time % DAY for time in moments if time is not None}
    moment, second = start_of(injection(head))
    written = second if moment is None else moment.second % DAY
    if not clocks or not clocks <= {0.0, DAY / 2}:
        if written == 0:
            result.warnings.append(
                "The injection is at midnight to the second, as anonymisers write: please check"
            )
        return
    if written in clocks:
        raise refused(
            "E_PET_TIMES_ERASED",
            "Injection and scan are at noon or midnight to the second: the times are those of an anonymiser, not of the "
            "examination",
            "the times of injection and scan",
        )
    result.warnings.append(
        "The scan begins at noon or midnight to the second, as anonymisers write: please check"
    )
