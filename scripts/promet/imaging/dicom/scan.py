"""When did a scan begin, as AcquisitionTime, FrameReferenceTime and DecayFactor of its slices tell. Intervals in s."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from promet.imaging.dicom.clock import (
    DAY,
    Moment,
    day_of,
    known,
    moment_of,
    on,
    second_of,
    whole_zones,
    zone_of,
)
from promet.imaging.dicom.files import Header

SAME = 30.0  # s; moments closer than this are one
OWN_CLOCKS = ("FrameAcquisitionDateTime", "AcquisitionDateTime", "DecayCorrectionDateTime")


@dataclass(frozen=True)
class Account:
    """What the slices tell of the scan's start.

    Attributes:
        kind: ``own`` each slice's time is that of its bed, and all lead back to one start; ``common`` one time for beds
            of different offsets: it is that of the scan; ``one`` one time and one offset; ``mixed`` neither.
        low, high: the earliest and the latest start that is told; the same but for ``mixed``.
    """

    kind: str
    low: float
    high: float

    def apart(self, moment: float) -> float:
        """Signed seconds from a moment to the nearest start that is told."""
        return min(max(moment, self.low), self.high) - moment


def account(starts: np.ndarray, offsets: np.ndarray) -> Account:
    """The account of slices (n,), whichever order they have.

    Args:
        starts: what is written as the start of each one's acquisition.
        offsets: how long after the start of the scan each one's measurement began.
    """
    told = starts - offsets
    if np.ptp(told) <= SAME:
        first = min(zip(starts.tolist(), offsets.tolist(), strict=True))
        return Account("one" if np.ptp(starts) <= SAME else "own", *[first[0] - first[1]] * 2)
    if np.ptp(starts) <= SAME:
        return Account("common", *[float(starts.min() - offsets.min())] * 2)
    return Account("mixed", float(told.min()), float(told.max()))


def offsets(headers: list[Header], life: float) -> tuple[np.ndarray | None, bool]:
    """Seconds from the start of the scan to that of each slice's measurement, by FrameReferenceTime; whether it counts
    to the mean of the frame.

    The standard has it count to the moment of mean activity, ln(kT/(1-exp(-kT)))/k after the frame's start; GE and CPS count
    to its start. A time shorter than that, the decay factors, or else the maker tell which. Where all are 0 the decay factors
    stand for them. ``None`` when a slice lacks one.
    """
    times = _numbers(headers, "FrameReferenceTime")
    means = _means(headers, life)
    if times is None or means is None:
        return None, False
    elapsed = _elapsed(headers, life)
    if elapsed is not None and not times.any():
        return elapsed - means, True
    times = times / 1000
    to_mean = bool((times >= means - 1).all())
    if to_mean and elapsed is not None:
        to_mean = bool(np.median(np.abs(elapsed - times)) <= np.median(np.abs(elapsed - times - means)))
    elif to_mean:
        to_mean = not (headers[0].text("Manufacturer") or "").upper().startswith("GE")
    return times - (means if to_mean else 0.0), to_mean


def decay_offsets(headers: list[Header], life: float) -> np.ndarray | None:
    """The same by DecayFactor, ``None`` unless every slice has one; 1 is what is written when nobody computed it."""
    elapsed, means = _elapsed(headers, life), _means(headers, life)
    return None if elapsed is None or means is None else elapsed - means


def _elapsed(headers: list[Header], life: float) -> np.ndarray | None:
    """Seconds from the reference to the moment of mean activity, by which each slice's DecayFactor was computed."""
    factors = _numbers(headers, "DecayFactor")
    if factors is None or (factors <= 1.001).any():
        return None
    return np.log2(factors) * life


def _means(headers: list[Header], life: float) -> np.ndarray | None:
    """Moment of mean activity of each frame, s after its start."""
    lengths = _numbers(headers, "ActualFrameDuration")
    if lengths is None or (lengths <= 0).any():
        return None
    rate = math.log(2) / life
    exposure = rate * lengths / 1000
    return np.log(exposure / -np.expm1(-exposure)) / rate


def _numbers(headers: list[Header], keyword: str) -> np.ndarray | None:
    values = [header.number(keyword) for header in headers]
    return None if None in values else np.array(values)


def zone(headers: list[Header]) -> tuple[float | None, bool]:
    """The clock of the scan's dates and times, s east of UTC (see ``Moment.zone``), and whether the file says so for all.

    Without TimezoneOffsetFromUTC it is taken from date-times with an offset of their own.
    """
    said = zone_of(headers[0].text("TimezoneOffsetFromUTC"))
    if known(said):
        return said, True
    found = set()
    for header in headers:
        local = local_start(header)
        for keyword in OWN_CLOCKS:
            moment = moment_of(header.text(keyword))
            if moment is None or not known(moment.zone):
                continue
            gap = 0.0 if local is None or keyword != "AcquisitionDateTime" else local - moment.second
            if whole_zones(gap):
                found.add(moment.zone + round(gap / 900) * 900.0)
    return (min(found) if found else said), False


def local_start(header: Header) -> float | None:
    """AcquisitionDate and AcquisitionTime, ``None`` unless both are there."""
    day, second = day_of(header.text("AcquisitionDate")), second_of(header.text("AcquisitionTime"))
    return None if day is None or second is None else day * DAY + second


def starts(headers: list[Header], clock: float | None) -> list[float | None]:
    """Start of each slice's acquisition; a missing date is that of the series, or the next when it is past midnight."""
    found: list[float | None] = []
    timed: list[bool] = []  # by a date and a time of day, of which scanners may leave the date as it was
    series = second_of(headers[0].text("SeriesTime"))
    for header in headers:
        frame = moment_of(header.text("FrameAcquisitionDateTime"))
        whole: Moment | None = frame or moment_of(header.text("AcquisitionDateTime"))
        second = second_of(header.text("AcquisitionTime"))
        timed.append(frame is None and second is not None)
        if not timed[-1]:
            found.append(None if whole is None else on(whole, clock))
            continue
        day = day_of(header.text("AcquisitionDate"))
        if day is None:
            day = day_of(header.text("SeriesDate")) or 0
            if series is not None and series - second > DAY / 2:
                day += 1
        found.append(day * DAY + second)
    latest = max((time for time in found if time is not None), default=0.0)
    days = {header.text("AcquisitionDate") for header in headers}
    if len(days) == 1:  # one date for a scan that ran past midnight
        found = [
            time + DAY if late and DAY / 2 < latest - time < DAY else time
            for time, late in zip(found, timed, strict=True)
        ]
    return found
