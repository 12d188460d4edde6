"""When was it injected, and to which moment are the values decay corrected: intervals in s, never dates.

The rule for DecayCorrection START (QIBA's order; what each slice's own time means follows from all slices together, so no
order of files matters):

1. DecayCorrectionDateTime of enhanced PET.
2. SeriesTime, unless it is after the earliest AcquisitionTime.
3. The GE scan start (0009,100D), if it is not after it either.
4. By the slices. AcquisitionTime minus offset (FrameReferenceTime, counted to the frame's start) is the same in all: that
   is the start (Siemens, DICOM). AcquisitionTime is the same while offsets grow (GE, continuous bed motion): it is the
   start itself. Every FrameReferenceTime 0 (CPS): the earliest AcquisitionTime. Anything else is refused.

What was taken is checked against the slices, or without FrameReferenceTime against the first AcquisitionTime. SeriesTime
beside an AcquisitionTime which is no bed's own (a minute, or 2 % of SUV before it) stands (Philips: one odd
FrameReferenceTime in all slices). Otherwise an account by which SUV would differ by 10 % is a refusal, by 5 % a warning,
unless the GE or Siemens start or the decay factors confirm what was taken. A bed's own AcquisitionTime is never the
reference: later beds would be wrong by up to 20 %.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from promet.imaging.dicom import scan
from promet.imaging.dicom.clock import DAY, day_of, hands, moment_of, on, second_of
from promet.imaging.dicom.files import Header
from promet.imaging.dicom.uptake import (
    LONG,
    MINUTE,
    SHORT_LIVED,
    SLACK,
    Result,
    check_placeholder,
    check_uptake,
    injected,
    refused,
    share_of,
)

NEAR = 0.02  # share of SUV by which SeriesTime may be before an AcquisitionTime that it agrees with
APART = 0.10  # two accounts of the scan start may differ by this share of SUV, unless a third confirms one


def uptake(headers: list[Header], life: float, result: Result) -> float:
    """Seconds from injection to the moment the values are decay corrected to (DecayCorrection START)."""
    clock, said = scan.zone(headers)
    starts = scan.starts(headers, clock)
    reference, own = _fixed(headers[0], clock)
    if reference is None:
        reference = _reference(headers, starts, clock, life, result)
    else:
        result.audit["reference_time"] = "DecayCorrectionDateTime"
    moment = injected(headers[0], reference, clock, own and not said, life, result)
    seconds = reference - moment
    series = _series(headers[0])
    begun = min(
        (time for time in starts if time is not None), default=series if math.isfinite(series) else reference
    )
    # Corrected to another day, which is not that of the injection either.
    if life >= SHORT_LIVED and seconds > MINUTE and abs(begun - reference) > DAY / 2:
        raise refused(
            "E_PET_SERIES_DATE",
            f"DecayCorrectionDateTime and acquisition are {abs(begun - reference) / DAY:.1f} days apart, by which SUV would differ "
            f"by {100 * share_of(begun - reference, life):.0f} %",
        )
    check_uptake(seconds, max(begun, reference) - moment, life, result)
    check_placeholder(headers[0], [*starts, reference], result)
    return seconds


def after_injection(headers: list[Header], life: float, result: Result) -> tuple[np.ndarray, np.ndarray]:
    """Seconds from injection to each slice's acquisition, and each slice's duration in s (DecayCorrection NONE)."""
    clock, _ = scan.zone(headers)
    starts = scan.starts(headers, clock)
    durations = [header.number("ActualFrameDuration") for header in headers]
    if any(time is None for time in starts) or any(not length or length < 0 for length in durations):
        raise refused(
            "E_PET_FRAME_DURATION",
            "AcquisitionTime or ActualFrameDuration is missing in a slice, and DecayCorrection is NONE",
        )
    begun, rule = np.array(starts), "AcquisitionTime of each slice"
    offsets, _ = scan.offsets(headers, life)
    if offsets is not None and scan.account(begun, offsets).kind == "common":
        begun, rule = begun + offsets, "AcquisitionTime of the scan and FrameReferenceTime of each slice"
    first = float(begun.min())
    moment = injected(headers[0], first, clock, False, life, result)
    since = begun - moment
    check_uptake(float(since.min()), float(since.min()), life, result)
    check_placeholder(headers[0], starts, result)
    if np.ptp(since) > min(DAY / 2, LONG):
        raise refused("E_PET_TIME_SPAN", "AcquisitionTime of the slices spans more than half a day")
    result.audit["reference_time"] = rule
    return since, np.array(durations) / 1000


def _fixed(head: Header, clock: float | None) -> tuple[float | None, bool]:
    """DecayCorrectionDateTime of enhanced PET, which says it outright, and whether it has an offset of its own."""
    text = head.text("DecayCorrectionDateTime") if head.text("DecayCorrected") == "YES" else None
    if text is None:
        return None, False
    moment = moment_of(text)
    if moment is None:
        raise refused("E_PET_DECAY_TIME", "DecayCorrectionDateTime cannot be read as a date and time")
    return on(moment, clock), moment.zone is not None


def _reference(
    headers: list[Header], starts: list[float | None], clock: float | None, life: float, result: Result
) -> float:
    head = headers[0]
    known_starts = np.array([time for time in starts if time is not None])
    if len(known_starts) < len(starts):
        raise refused(
            "E_PET_ACQUISITION_TIME",
            "AcquisitionTime is missing or unreadable in a slice, so SeriesTime cannot be checked",
        )
    first = float(known_starts.min())
    if known_starts.max() - first > DAY / 2 and life < SHORT_LIVED:
        raise refused("E_PET_TIME_SPAN", "AcquisitionTime of the slices spans more than half a day")
    offsets, to_mean = scan.offsets(headers, life)
    slices = None if offsets is None else scan.account(known_starts, offsets)
    makers = _makers(head, clock, first)
    witnesses = makers + _by_factors(headers, known_starts, life, result)

    def confirmed(moment: float) -> bool:
        return any(abs(witness - moment) < MINUTE for witness in witnesses)

    series = _same_day(_series(head), first, slices, life, result)
    beside = series > first - MINUTE or (series < first and share_of(series - first, life) <= NEAR)
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
        _tell_guess(taken, slices, first, makers, confirmed(taken), life, result)
    if slices is None:
        _check_unframed(first - taken, taken == series, confirmed(taken), life, result)
    else:
        apart = slices.apart(taken)
        if share_of(apart, life) > APART and taken == series and not beside and not confirmed(taken):
            # Where FrameReferenceTime is 0 the decay factors stand for it, and cannot confirm themselves.
            others = witnesses if any(header.number("FrameReferenceTime") for header in headers) else makers
            agreed = [
                moment for moment in others if abs(slices.apart(moment)) < MINUTE and moment <= first + SLACK
            ]
            if not agreed:
                raise refused(
                    "E_PET_SCAN_START",
                    f"SeriesTime and FrameReferenceTime tell scan starts {abs(apart):.0f} s apart, by which SUV would "
                    f"differ by {100 * share_of(apart, life):.0f} %, and nothing else says which is right",
                )
            taken, rule = (
                min(agreed),
                "the maker's own scan start or that of DecayFactor, which FrameReferenceTime confirms",
            )
            apart = slices.apart(taken)
            result.warnings.append(
                "SeriesTime fits neither FrameReferenceTime nor the scan start that the maker or DecayFactor tells, and was not used"
            )
        result.audit["computed_back_minus_reference_s"] = round(apart, 3)
        share = share_of(apart, life)
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


def _check_unframed(before: float, by_series: bool, confirmed: bool, life: float, result: Result) -> None:
    """Without FrameReferenceTime: a start ``before`` s before the first acquisition wants a witness."""
    share = share_of(before, life)
    if share > APART and by_series and not confirmed:
        raise refused(
            "E_PET_SCAN_START",
            f"SeriesTime is {before:.0f} s before the first acquisition, by which SUV would differ by {100 * share:.0f} %, "
            "and without FrameReferenceTime or ActualFrameDuration nothing says which is the scan start",
        )
    if share > 0.05 and not confirmed:
        result.warnings.append(
            f"The scan start is {before:.0f} s before the first acquisition, which is {100 * share:.0f} % of SUV, and without "
            "FrameReferenceTime nothing confirms it: please check"
        )


def _makers(head: Header, clock: float | None, first: float) -> list[float]:
    """The scan starts that GE and Siemens write in elements of their own, on the day of the first acquisition."""
    private = ((0x0009, "GEMS_PETD_01", 0x0D), (0x0071, "SIEMENS MED PT", 0x22))
    moments = [moment_of(head.private(*element)) for element in private]
    return [first + hands(on(moment, clock) - first) for moment in moments if moment is not None]


def _by_factors(headers: list[Header], starts: np.ndarray, life: float, result: Result) -> list[float]:
    """The scan start by which the decay factors were computed, if they are of one."""
    offsets = scan.decay_offsets(headers, life)
    if offsets is None:
        return []
    told = scan.account(starts, offsets)
    if told.kind != "mixed":
        return [told.low]
    if share_of(told.high - told.low, life) > APART:
        result.warnings.append(
            f"DecayFactor and AcquisitionTime of the slices tell scan starts up to {told.high - told.low:.0f} s apart: please check "
            "whether all beds are corrected to one moment"
        )
    return []


def _tell_guess(
    taken: float,
    slices: scan.Account,
    first: float,
    makers: list[float],
    confirmed: bool,
    life: float,
    result: Result,
) -> None:
    """Warn where the slices alone told the start, and could mean another one."""
    share = share_of(first - slices.low, life)
    if slices.kind == "mixed" and not confirmed:
        result.warnings.append(
            "SeriesTime is missing or after AcquisitionTime, and FrameReferenceTime is 0 in every slice: the earliest "
            "AcquisitionTime was used, which is right if the first bed is there"
        )
    if slices.kind == "one" and share > NEAR and not any(abs(moment - taken) < MINUTE for moment in makers):
        result.warnings.append(
            "SeriesTime is missing or after AcquisitionTime, and the slices are of one bed: if its AcquisitionTime is that of "
            f"the whole scan, SUV differs by {100 * share:.0f} %"
        )


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
        raise refused(
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
        share = share_of(slices.apart(first), life)
        if share <= APART:
            return slices.low, back
        if confirmed(first):
            return first, "AcquisitionTime, which the decay factors or the maker's own scan start confirm"
        if to_mean and confirmed(slices.low):
            return slices.low, back
        raise refused(
            "E_PET_SCAN_START",
            f"SeriesTime is missing or after AcquisitionTime; AcquisitionTime and FrameReferenceTime tell scan starts "
            f"{abs(slices.apart(first)):.0f} s apart, by which SUV would differ by {100 * share:.0f} %, and nothing else says "
            "which is right",
        )
    spread = slices.high - slices.low
    empty = all(header.number("FrameReferenceTime") == 0 for header in headers)
    if empty and (share_of(spread, life) <= APART or confirmed(first)):
        return first, "the earliest AcquisitionTime (FrameReferenceTime is 0 in every slice)"
    raise refused(
        "E_PET_SLICES_DISAGREE",
        f"SeriesTime is missing or after AcquisitionTime, and slices disagree by {spread:.0f} s on the scan start",
    )


def _same_day(series: float, first: float, slices: scan.Account | None, life: float, result: Result) -> float:
    """SeriesTime brought to the day of the acquisition when only the dates disagree; infinity when it cannot be."""
    if not math.isfinite(series) or abs(series - first) <= DAY / 2:
        return series
    if life >= SHORT_LIVED and share_of(series - first, life) > APART:
        raise refused(
            "E_PET_SERIES_DATE",
            f"SeriesDate and AcquisitionDate are {abs(series - first) / DAY:.1f} days apart, by which SUV would differ by "
            f"{100 * share_of(series - first, life):.0f} %",
        )
    moved = first + hands(series - first)
    if slices is not None and abs(moved - first) > MINUTE and share_of(slices.apart(moved), life) > 0.05:
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
