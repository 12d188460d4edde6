"""Who is known to be what when some leave before: times, numbers at risk, weights. For every room; numpy only, so that a training
job starts fast.

``time`` (n,), any unit; ``event`` (n,): 0 = followed to here without, 1 = the event, 2 = a competing event. Arrays without
missing values. The rule, its reasons and its sources: ``promet.evaluation.stats.horizon``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import overload

import numpy as np

TOLERANCE = float(np.sqrt(np.finfo(float).eps))  # R's, of times (relative to their mean) and of probabilities


@overload
def settled(time: np.ndarray, at: float) -> tuple[np.ndarray, float]: ...


@overload
def settled(time: np.ndarray, at: None = None) -> tuple[np.ndarray, None]: ...


@overload
def settled(time: np.ndarray, at: float | None) -> tuple[np.ndarray, float | None]: ...


def settled(time: np.ndarray, at: float | None = None) -> tuple[np.ndarray, float | None]:
    """``time`` and ``at`` with those that differ by rounding made equal (R's ``aeqSurv``).

    0.1 + 0.2 and 0.3 months, or 48 and 47.999999999, are the same moment.
    """
    time = np.asarray(time, float)
    if at is not None:
        time = np.where(np.isclose(time, at, rtol=TOLERANCE, atol=0), at, time)
    known = np.unique(time if at is None else np.append(time, at))
    gaps = np.diff(known)
    mean = float(np.abs(known).mean()) if len(known) else 0.0
    first = np.append(True, ~((gaps <= TOLERANCE) | (gaps <= TOLERANCE * mean)))[: len(known)]
    if first.all():
        return time, at
    kept = known[first]
    merged = kept[np.searchsorted(kept, time, side="right") - 1]
    return merged, None if at is None else float(kept[np.searchsorted(kept, at, side="right") - 1])


def counted(time: np.ndarray, happened: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct times, how many are at risk at each (followed at least so long), and how many of ``happened`` fall there."""
    times, where = np.unique(time, return_inverse=True)
    ended = np.bincount(where, minlength=len(times))
    events = np.bincount(where, weights=happened, minlength=len(times))
    return times, len(time) - np.cumsum(ended) + ended, events


@dataclass(frozen=True)
class Known:
    """Who is what at a horizon: ``case``, ``control`` (n,) bool, ``weight`` (n,), 0 = unknown."""

    case: np.ndarray
    control: np.ndarray
    weight: np.ndarray


def by_then(time: np.ndarray | float, at: float) -> np.ndarray:
    """Whether a time is at or before the horizon; what differs by rounding only is the same moment."""
    return np.less_equal(time, at) | np.isclose(time, at, rtol=TOLERANCE, atol=0)


def until(time: np.ndarray | float, at: float) -> np.ndarray:
    """Whether who was followed for a time was followed to the horizon."""
    return np.greater_equal(time, at) | np.isclose(time, at, rtol=TOLERANCE, atol=0)


def reached(time: np.ndarray, at: float) -> bool:
    """True when somebody is followed to the horizon."""
    return bool(until(time, at).any())


def leaving(time: np.ndarray, event: np.ndarray, before: np.ndarray) -> np.ndarray:
    """G(``before``-): probability of not having left before each of these times; at one time events come first."""
    happened = np.asarray(event) != 0
    times, at_risk, events = counted(time, happened)
    _, _, left = counted(time, ~happened)
    with np.errstate(divide="ignore", invalid="ignore"):
        staying = np.where(left > 0, 1 - left / (at_risk - events), 1.0)
    return np.append(1.0, np.cumprod(staying))[np.searchsorted(times, before, side="left")]


def known(time: np.ndarray, event: np.ndarray, at: float) -> Known | None:
    """Cases, controls and weights at ``at``; ``None`` when nobody is followed so far."""
    event = np.asarray(event)
    time, when = settled(time, at)
    if not (time >= when).any():
        return None
    case = (event == 1) & (time <= when)
    control = (time > when) | ((time == when) & (event == 0)) | ((event == 2) & (time <= when))
    weight = np.zeros(len(time))
    seen = case | control
    weight[seen] = 1 / leaving(time, event, np.minimum(time, when))[seen]
    return Known(case, control, weight)
