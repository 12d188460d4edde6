"""Curves of follow-up: Kaplan-Meier, Aalen-Johansen, medians; the same conventions as R's survival.

``time`` (n,), any unit; ``event`` (n,): 0 = followed to here without, 1 = the event, 2 = a competing event. Arrays without
missing values. Times that differ by rounding only are one time; at one time events come before the ends of follow-up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from promet.study.follow_up import TOLERANCE, counted, settled


@dataclass(frozen=True)
class Curve:
    """A Kaplan-Meier curve at every time at which somebody's follow-up ends; arrays (k,), times rising.

    ``log_se``: Greenwood's standard error of log survival, NaN where survival is 0. ``low``, ``high``: pointwise log(-log)
    interval, NaN where survival is 1 or 0: there it is not defined.
    """

    time: np.ndarray
    survival: np.ndarray
    log_se: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def at(self, when: float) -> tuple[float, float]:
        """Survival and its standard error at a time (NaN where survival is 0)."""
        k = int(np.searchsorted(self.time, when, side="right")) - 1
        return (float(self.survival[k]), float(self.survival[k] * self.log_se[k])) if k >= 0 else (1.0, 0.0)


def kaplan_meier(time: np.ndarray, event: np.ndarray, level: float = 0.95) -> Curve:
    """Freedom from ``event != 0``."""
    times, risk, events = counted(settled(time)[0], np.asarray(event) != 0)
    survival = np.cumprod(1 - events / risk)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_se = np.sqrt(np.cumsum(events / (risk * (risk - events))))
    log_se[~np.isfinite(log_se)] = np.nan
    low, high = log_log(survival, log_se, level)
    return Curve(times, survival, log_se, low, high)


def free_of(time: np.ndarray, event: np.ndarray, level: float = 0.95) -> Curve:
    """1 - the cumulative incidence of ``event`` 1 where 2 competes (Aalen-Johansen), with its log(-log) interval."""
    times, share, se = cumulative_incidence(time, event)
    free = 1 - share
    with np.errstate(divide="ignore", invalid="ignore"):
        log_se = np.where(free < 1, se / free, np.nan)
    low, high = log_log(free, log_se, level)
    return Curve(times, free, log_se, low, high)


def log_log(survival: np.ndarray, log_se: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """The log(-log) interval of probabilities with a standard error on the log scale; NaN at 0 and 1."""
    z = float(stats.norm.ppf((1 + level) / 2))
    with np.errstate(all="ignore"):
        inside = np.where((survival > 0) & (survival < 1), survival, np.nan)
        log = np.log(inside)
        # log is negative: the first is the lower bound
        return np.exp(log * np.exp(-z * log_se / log)), np.exp(log * np.exp(z * log_se / log))


def quantile(time: np.ndarray, survival: np.ndarray, share: float = 0.5) -> float | None:
    """Time by which ``share`` have had the event, ``None`` where the curve does not come down so far.

    R's ``quantile.survfit``: where the curve runs level exactly at 1 - share (within ``TOLERANCE``), the middle of that step;
    of its last step, up to the end of follow-up. Applied to the bounds of a curve it gives the interval of the quantile
    (Brookmeyer & Crowley, Biometrics 1982;38:29): a bound that never comes down so far leaves its side open.
    """
    gone, when = np.append(0.0, 1 - np.asarray(survival, float)), np.append(0.0, time)
    end = when[-1]
    keep = ~np.isnan(gone)
    first = np.append(True, gone[keep][1:] != gone[keep][:-1])
    gone, when = gone[keep][first], when[keep][first]
    if gone.max() < share:
        return None
    order = np.argsort(gone, kind="stable")
    gone, when = gone[order], when[order]
    from_ = when[int(np.argmax(gone + TOLERANCE >= share))]
    if abs(share - gone[-1]) < TOLERANCE and keep[-1]:
        return float((from_ + end) / 2)
    past = gone - TOLERANCE >= share
    return float((from_ + when[int(np.argmax(past))]) / 2) if past.any() else None


def risk(time: np.ndarray, event: np.ndarray, at: float) -> tuple[float, float]:
    """Share with the event by ``at`` and its standard error (NaN where 1 - Kaplan-Meier is 1).

    1 - Kaplan-Meier with Greenwood's formula; with competing events the cumulative incidence of Aalen and Johansen, whose
    error is the infinitesimal jackknife's, as in R's survfit.
    """
    event = np.asarray(event)
    if not (event == 2).any():
        free, se = kaplan_meier(time, event).at(at)
        return 1 - free, se
    _, incidence, error = cumulative_incidence(time, event)
    times = np.unique(settled(time)[0])
    k = int(np.searchsorted(times, at, side="right")) - 1
    return (float(incidence[k]), float(error[k])) if k >= 0 else (0.0, 0.0)


def cumulative_incidence(
    time: np.ndarray, event: np.ndarray, cause: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct times, Aalen-Johansen estimate of the share with ``cause`` by then, its standard error.

    The error is that of the infinitesimal jackknife: the root of the summed squares of each patient's influence.
    """
    time, event = settled(time)[0], np.asarray(event)
    times, at_risk, _ = counted(time, event != 0)
    free, share = 1.0, 0.0
    of_free, of_share = np.zeros(len(time)), np.zeros(len(time))  # influence of each patient so far
    found, errors = np.zeros(len(times)), np.zeros(len(times))
    for k, (t, n) in enumerate(zip(times, at_risk, strict=True)):
        here, there = time == t, time >= t
        mine, any_ = here & (event == cause), here & (event != 0)
        h1, h = mine.sum() / n, any_.sum() / n
        of_share = of_share + of_free * h1 + free * (mine - there * h1) / n
        of_free = of_free * (1 - h) - free * (any_ - there * h) / n
        share, free = share + free * h1, free * (1 - h)
        found[k], errors[k] = share, np.sqrt((of_share**2).sum())
    return times, found, errors
