"""When was it injected, and to which moment are the values decay corrected: intervals in s, never dates.

The rule for DecayCorrection START (QIBA's order; what each slice's own time means follows from all slices together, so no
order of files matters):

1. DecayCorrectionDateTime of enhanced PET.
2. SeriesTime, unless it is after the earliest AcquisitionTime.
3. The GE scan start (0009,100D), if it is not after it either.
4. By the slices. AcquisitionTime minus offset (FrameReferenceTime, counted to the frame's start) is the same in all: that
   is the start (Siemens, DICOM). AcquisitionTime is the same while offsets grow (GE, continuous bed motion): it is the
   start itself. Every FrameReferenceTime 0 (CPS): the earliest AcquisitionTime. Anything else is refused.

What was taken is checked against the slices. SeriesTime that lies beside an AcquisitionTime which is no bed's own (a minute, or 2 % of
SUV before it) stands (Philips: one odd FrameReferenceTime in all slices). Otherwise an account by which SUV would differ by 10 % is a
refusal, by 5 % a warning, unless the GE or Siemens start or the decay factors confirm what was taken. A bed's own
AcquisitionTime is never the reference: later beds would be wrong by up to 20 %.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from promet.core.errors import DataError
from promet.imaging import scan
from promet.imaging.clock import DAY, day_of, hands, known, moment_of, on, second_of, whole_zones
from promet.imaging.dicom import Header
from promet.imaging.injection import injection

SLACK = 1.0  # s; SeriesTime without a fraction may seem later than an acquisition with one
MINUTE = 60.0
LONG = 6 * 3600.0  # longest believable uptake of a nuclide that lives minutes to hours
SHORT_LIVED = DAY / 4  # s of half-life; above it, days from injection to scan are believable
NEAR = 0.02  # share of SUV by which SeriesTime may be before an AcquisitionTime that it agrees with
APART = 0.10  # two accounts of the scan start may differ by this share of SUV, unless a third confirms one
USUAL = (1200.0, 10800.0)  # s of uptake
NEVER = "Export the original series, or give the PET in SUV (NIfTI)"


class Result(Protocol):
    """Where intervals and warnings go."""

    audit: dict[str, Any]
    warnings: list[str]


def uptake(headers: list[Header], life: float, result: Result) -> float:
    """Seconds from injection to the moment the values are decay corrected to (DecayCorrection START)."""
    clock, said = scan.zone(headers)
    starts = scan.starts(headers, clock)
    reference, own = _fixed(headers[0], clock)
    if reference is None:
        reference = _reference(headers, starts, clock, life, result)
    else:
        result.audit["reference_time"] = "DecayCorrectionDateTime"
    injected = _injected(headers[0], reference, clock, own and not said, life, result)
    seconds = reference - injected
    begun = min((time for time in starts if time is not None), default=reference)
    if (
        life >= SHORT_LIVED and seconds > MINUTE and abs(begun - reference) > DAY / 2
    ):  # and not that of the injection
        raise _refused(
            "E_PET_SERIES_DATE",
            f"DecayCorrectionDateTime and acquisition are {abs(begun - reference) / DAY:.1f} days apart, by which SUV would differ "
            f"by {100 * _share(begun - reference, life):.0f} %",
        )
    _check_uptake(seconds, max(begun, reference) - injected, life, result)
    _check_placeholder(headers[0], [*starts, reference], result)
    return seconds


def after_injection(headers: list[Header], life: float, result: Result) -> tuple[np.ndarray, np.ndarray]:
    """Seconds from injection to each slice's acquisition, and each slice's duration in s (DecayCorrection NONE)."""
    clock, _ = scan.zone(headers)
    starts = scan.starts(headers, clock)
    durations = [header.number("ActualFrameDuration") for header in headers]
    if any(time is None for time in starts) or any(not length or length < 0 for length in durations):
        raise _refused(
            "E_PET_FRAME_DURATION",
            "AcquisitionTime or ActualFrameDuration is missing in a slice, and DecayCorrection is NONE",
        )
    begun, rule = np.array(starts), "AcquisitionTime of each slice"
    offsets, _ = scan.offsets(headers, life)
    if offsets is not None and scan.account(begun, offsets).kind == "common":
        begun, rule = begun + offsets, "AcquisitionTime of the scan and FrameReferenceTime of each slice"
    first = float(begun.min())
    injected = _injected(headers[0], first, clock, False, life, result)
    since = begun - injected
    _check_uptake(float(since.min()), float(since.min()), life, result)
    _check_placeholder(headers[0], starts, result)
    if np.ptp(since) > min(DAY / 2, LONG):
        raise _refused("E_PET_TIME_SPAN", "AcquisitionTime of the slices spans more than half a day")
    result.audit["reference_time"] = rule
    return since, np.array(durations) / 1000


def _fixed(head: Header, clock: float | None) -> tuple[float | None, bool]:
    """DecayCorrectionDateTime of enhanced PET, which says it outright, and whether it has an offset of its own."""
    text = head.text("DecayCorrectionDateTime") if head.text("DecayCorrected") == "YES" else None
    if text is None:
        return None, False
    moment = moment_of(text)
    if moment is None:
        raise _refused("E_PET_DECAY_TIME", "DecayCorrectionDateTime cannot be read as a date and time")
    return on(moment, clock), moment.zone is not None


def _reference(
    headers: list[Header], starts: list[float | None], clock: float | None, life: float, result: Result
) -> float:
    head = headers[0]
    known_starts = np.array([time for time in starts if time is not None])
    if len(known_starts) < len(starts):
        raise _refused(
            "E_PET_ACQUISITION_TIME",
            "AcquisitionTime is missing or unreadable in a slice, so SeriesTime cannot be checked",
        )
    first = float(known_starts.min())
    if known_starts.max() - first > DAY / 2 and life < SHORT_LIVED:
        raise _refused("E_PET_TIME_SPAN", "AcquisitionTime of the slices spans more than half a day")
    offsets, to_mean = scan.offsets(headers, life)
    slices = None if offsets is None else scan.account(known_starts, offsets)
    decayed = scan.decay_offsets(headers, life)
    witnesses = [
        first + hands(on(moment, clock) - first)
        for group, creator, element in ((0x0009, "GEMS_PETD_01", 0x0D), (0x0071, "SIEMENS MED PT", 0x22))
        if (moment := moment_of(head.private(group, creator, element))) is not None
    ]
    makers = list(witnesses)
    if decayed is not None:
        by_factors = scan.account(known_starts, decayed)
        witnesses += [by_factors.low] if by_factors.kind != "mixed" else []

    def confirmed(moment: float) -> bool:
        return any(abs(witness - moment) < MINUTE for witness in witnesses)

    series = _same_day(_series(head), first, slices, life, result)
    beside = series > first - MINUTE or (series < first and _share(series - first, life) <= NEAR)
    beside = beside and series < first + MINUTE and (slices is None or slices.kind != "own")
    if series <= first + SLACK:
        taken, rule = series, "SeriesTime (not after the earliest AcquisitionTime)"
    elif beside:
        taken, rule = first, "AcquisitionTime (SeriesTime is less than a minute after it)"
    elif (start := _ge_start(head, clock, first, result)) is not None:
        taken, rule = start, "GE scan start (0009,100D); SeriesTime is after AcquisitionTime"
        witnesses = [witness for witness in witnesses if witness != start]  # it cannot confirm itself
    else:
        taken, rule = _by_slices(headers, known_starts, slices, to_mean, confirmed, life)
        share = _share(first - slices.low, life)
        if (
            slices.kind == "one"
            and share > NEAR
            and not any(abs(moment - taken) < MINUTE for moment in makers)
        ):
            result.warnings.append(
                "SeriesTime is missing or after AcquisitionTime, and the slices are of one bed: if its AcquisitionTime is that of "
                f"the whole scan, SUV differs by {100 * share:.0f} %"
            )
    if slices is not None:
        apart = slices.apart(taken)
        share = _share(apart, life)
        if share > APART and taken == series and not beside and not confirmed(taken):
            agreed = [
                moment for moment in makers if abs(slices.apart(moment)) < MINUTE and moment <= first + SLACK
            ]
            if not agreed:
                raise _refused(
                    "E_PET_SCAN_START",
                    f"SeriesTime and FrameReferenceTime tell scan starts {abs(apart):.0f} s apart, by which SUV would "
                    f"differ by {100 * share:.0f} %, and nothing else says which is right",
                )
            taken, rule = min(agreed), "the maker's own scan start, which FrameReferenceTime confirms"
            apart = slices.apart(taken)
            share = _share(apart, life)
            result.warnings.append(
                "SeriesTime fits neither FrameReferenceTime nor the maker's own scan start and was not used"
            )
        result.audit["computed_back_minus_reference_s"] = round(apart, 3)
        if share > 0.05 and not confirmed(taken) and not (beside and slices.kind in ("common", "mixed")):
            result.warnings.append(
                f"FrameReferenceTime suggests another scan start, {apart:.0f} s away, by which SUV would differ by {100 * share:.0f} %"
            )
    result.audit["reference_time"] = rule
    result.audit["reference_before_first_acquisition_s"] = round(first - taken, 3)
    result.audit["series_before_first_acquisition_s"] = (
        round(first - series, 3) if math.isfinite(series) else None
    )
    return taken


def _by_slices(
    headers: list[Header],
    starts: np.ndarray,
    slices: scan.Account | None,
    to_mean: bool,
    confirmed: Callable[[float], bool],
    life: float,
) -> tuple[float, str]:
    """The scan's start by AcquisitionTime and FrameReferenceTime alone, and the name of the rule."""
    if slices is None:
        raise _refused(
            "E_PET_SERIES_TIME",
            "SeriesTime is missing or after AcquisitionTime, there is no GE scan start (0009,100D), and "
            "FrameReferenceTime or ActualFrameDuration is missing",
        )
    first = float(starts.min())
    back = "computed back from AcquisitionTime, FrameReferenceTime and ActualFrameDuration"
    if slices.kind == "own":
        return slices.low, back
    if slices.kind == "common":
        return first, "AcquisitionTime, one for all beds (their FrameReferenceTime differs)"
    if slices.kind == "one":
        share = _share(slices.apart(first), life)
        if share <= APART:
            return slices.low, back
        if confirmed(first):
            return first, "AcquisitionTime, which the decay factors or the maker's own scan start confirm"
        if to_mean and confirmed(slices.low):
            return slices.low, back
        raise _refused(
            "E_PET_SCAN_START",
            f"SeriesTime is missing or after AcquisitionTime; AcquisitionTime and FrameReferenceTime tell scan starts "
            f"{abs(slices.apart(first)):.0f} s apart, by which SUV would differ by {100 * share:.0f} %, and nothing else says "
            "which is right",
        )
    spread = slices.high - slices.low
    empty = all(header.number("FrameReferenceTime") == 0 for header in headers)
    if empty and (_share(spread, life) <= APART or confirmed(first)):
        return first, "the earliest AcquisitionTime (FrameReferenceTime is 0 in every slice)"
    raise _refused(
        "E_PET_SLICES_DISAGREE",
        f"SeriesTime is missing or after AcquisitionTime, and slices disagree by {spread:.0f} s on the scan start",
    )


def _share(seconds: float, life: float) -> float:
    """By which share SUV changes when a moment is off by ``seconds``."""
    return 2 ** min(abs(seconds) / life, 1000.0) - 1


def _same_day(series: float, first: float, slices: scan.Account | None, life: float, result: Result) -> float:
    """SeriesTime brought to the day of the acquisition when only the dates disagree; infinity when it cannot be."""
    if not math.isfinite(series) or abs(series - first) <= DAY / 2:
        return series
    if life >= SHORT_LIVED and _share(series - first, life) > APART:
        raise _refused(
            "E_PET_SERIES_DATE",
            f"SeriesDate and AcquisitionDate are {abs(series - first) / DAY:.1f} days apart, by which SUV would differ by "
            f"{100 * _share(series - first, life):.0f} %",
        )
    moved = first + hands(series - first)
    if slices is not None and abs(moved - first) > MINUTE and _share(slices.apart(moved), life) > 0.05:
        result.warnings.append(
            "SeriesDate and SeriesTime do not fit AcquisitionDate and AcquisitionTime and were not used"
        )
        return math.inf
    result.warnings.append(
        "SeriesDate and AcquisitionDate do not fit each other; the time of day of SeriesTime was used"
    )
    return moved


def _series(head: Header) -> float:
    """Series date and time; infinity when the time is missing, so that nothing is before it."""
    second = second_of(head.text("SeriesTime"))
    if second is None:
        return math.inf
    return (day_of(head.text("SeriesDate")) or day_of(head.text("AcquisitionDate")) or 0) * DAY + second


def _ge_start(head: Header, clock: float | None, first: float, result: Result) -> float | None:
    """GE's own scan start, brought to the dates of the standard elements when only those were shifted."""
    moment = moment_of(head.private(0x0009, "GEMS_PETD_01", 0x0D))
    if moment is None:
        return None
    start = on(moment, clock)
    if abs(start - first) > DAY / 2:
        start = first + hands(start - first)
        result.warnings.append(
            "The GE scan start (0009,100D) has another date than the series; its time of day was used"
        )
    if start > first + SLACK or first - start > LONG:
        result.warnings.append("The GE scan start (0009,100D) does not fit AcquisitionTime and was not used")
        return None
    return start


def _injected(
    head: Header, reference: float, clock: float | None, own: bool, life: float, result: Result
) -> float:
    """Moment of injection on the scan's clock; without a date it is the last such time of day before the reference.

    Args:
        own: the reference was given with an offset from UTC that is not said of the other times.
    """
    dose = injection(head)
    moment = moment_of(dose.text("RadiopharmaceuticalStartDateTime"))
    second = second_of(dose.text("RadiopharmaceuticalStartTime"))
    if moment is None and second is None:
        raise _refused(
            "E_PET_INJECTION_TIME",
            "RadiopharmaceuticalStartTime and RadiopharmaceuticalStartDateTime are missing or unreadable",
        )
    alone = own if moment is None or moment.zone is None else not (known(moment.zone) and known(clock))
    if moment is None:
        found = _last(second, reference, result)
        result.audit["injection_time"] = "RadiopharmaceuticalStartTime"
        if not alone and life >= SHORT_LIVED and _share(DAY, life) > 0.01:
            if life >= DAY:
                raise _refused(
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
            and _share(hands(second - moment.second), life) <= 0.01
        ):
            result.warnings.append(
                "RadiopharmaceuticalStartTime repeats RadiopharmaceuticalStartDateTime without its offset from UTC, which was honoured"
            )
        elif alone and moment.zone is not None and whole_zones(apart):
            found = _last(second, reference, result)  # in the clock of the scan, a whole number of zones away
            result.audit["injection_time"] = "RadiopharmaceuticalStartTime"
        elif _share(apart, life) > 0.01:
            raise _refused(
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
        raise _refused(
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


def _check_uptake(seconds: float, begun: float, life: float, result: Result) -> None:
    """Refuse what no examination has, warn of what few have.

    Args:
        seconds: from injection to the reference.
        begun: from injection to the first acquisition, if that is later (values may be corrected to the injection itself).
    """
    most = min(LONG, 5 * life) if life < SHORT_LIVED else 5 * life
    result.audit["uptake_s"] = round(seconds, 3)
    if not 0 <= seconds <= most:
        raise _refused(
            "E_PET_UPTAKE_TIME",
            f"The scan reference lies {seconds:.0f} s after the injection",
            f"0 to {most:.0f} s for this nuclide",
        )
    if begun < MINUTE:
        raise _refused(
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


def _check_placeholder(head: Header, moments: list[float | None], result: Result) -> None:
    """Noon or midnight to the second is what anonymisers write."""
    clocks = {time % DAY for time in moments if time is not None}
    if not clocks or not clocks <= {0.0, DAY / 2}:
        return
    second = second_of(injection(head).text("RadiopharmaceuticalStartTime"))
    moment = moment_of(injection(head).text("RadiopharmaceuticalStartDateTime"))
    if (second if moment is None else moment.second % DAY) in clocks:
        raise _refused(
            "E_PET_TIMES_ERASED",
            "Injection and scan are at noon or midnight to the second: the times are those of an anonymiser, not of the "
            "examination",
            "the times of injection and scan",
        )
    result.warnings.append(
        "The scan begins at noon or midnight to the second, as anonymisers write: please check"
    )


def _refused(code: str, found: str, expected: str = "times that fit each other") -> DataError:
    return DataError(code, found, expected, NEVER)
