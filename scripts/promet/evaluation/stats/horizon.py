"""Figures at a horizon when some patients leave before it: one rule for all of them.

``time`` (n,), ``event`` (n,): 0 = followed to here without, 1 = the event, 2 = a competing event; ``score`` (n,), higher =
more likely; ``probability`` (n,) of the event by the horizon. Arrays without missing values.

At the horizon ``at`` a patient is a case (event at or before it), a control (followed to it or beyond without event, or a
competing event at or before it) or unknown (left before). Who is known gets the weight 1 / G(min(time, at)-), who is not 0;
G is the Kaplan-Meier curve of leaving, its value just before the time, since P(known) = P(leaving >= min(time of the event,
at)) for cases and controls alike. So the weights add up to n, those of the cases to n times the risk by Kaplan-Meier
(Aalen-Johansen with competing events); with nobody leaving early every weight is 1 and each figure is the plain one.
Assumed: leaving has nothing to do with the outcome. If nobody is followed to the horizon nothing is known: ``None``.

Sources: Graf et al., Stat Med 1999;18:2529 (weights, Brier); Uno et al., JASA 2007;102:527 (AUC); Blanche et al., Stat Med
2013;32:5381 (competing events); Vickers et al., BMC Med Inform Decis Mak 2008;8:53 (net benefit).
"""

from __future__ import annotations

import math

import numpy as np

from promet.evaluation.stats.product_limit import log_log, risk
from promet.study.follow_up import Known, reached, settled
from promet.study.forms.survival import Third

GROUPS = 3  # tertiles of the probability


def auc(who: Known, score: np.ndarray) -> float | None:
    """P(score of a case > score of a control) + half P(equal), weighted; ``None`` without cases or controls."""
    if not (who.case.any() and who.control.any()):
        return None
    return float(_placements(who, score)[2])


def auc_se(who: Known, score: np.ndarray) -> float | None:
    """Standard error of ``auc``: DeLong's with weights taken as known; ``None`` with fewer than two of a class."""
    n1, n0 = int(who.case.sum()), int(who.control.sum())
    if min(n1, n0) < 2:
        return None
    of_cases, of_controls, area = _placements(who, score)
    total = 0.0
    for n, mine, placed in ((n1, who.case, of_cases), (n0, who.control, of_controls)):
        w = who.weight[mine]
        total += n / (n - 1) * float(((w * (placed - area)) ** 2).sum()) / w.sum() ** 2
    return math.sqrt(total)


def paired(who: Known, a: np.ndarray, b: np.ndarray, z: float) -> dict[str, float | None]:
    """Difference of the AUCs of two scores of the same patients: difference, se, low, high, p (two-sided).

    DeLong's covariance with weights taken as known; ``z``: quantile of the interval. Null where a class has fewer than two.
    """
    empty: dict[str, float | None] = dict.fromkeys(("difference", "se", "low", "high", "p"))
    n1, n0 = int(who.case.sum()), int(who.control.sum())
    if min(n1, n0) < 2:
        return empty
    mine, other = _placements(who, a), _placements(who, b)
    difference, total = mine[2] - other[2], 0.0
    for n, kind, k in ((n1, who.case, 0), (n0, who.control, 1)):
        w = who.weight[kind]
        apart = (mine[k] - mine[2]) - (other[k] - other[2])
        total += n / (n - 1) * float(((w * apart) ** 2).sum()) / w.sum() ** 2
    se = math.sqrt(total)
    if se == 0:
        return empty | {"difference": difference, "se": 0.0}
    p = math.erfc(abs(difference) / se / math.sqrt(2))
    return {
        "difference": difference,
        "se": se,
        "low": difference - z * se,
        "high": difference + z * se,
        "p": p,
    }


def accuracy(who: Known, positive: np.ndarray) -> dict[str, float | None]:
    """Weighted sensitivity, specificity, ppv and npv of calling ``positive`` (n,) bool; null where nobody is of the kind."""

    def share(of: np.ndarray, among: np.ndarray) -> float | None:
        total = who.weight[among].sum()
        return float(who.weight[among & of].sum() / total) if total > 0 else None

    return {
        "sensitivity": share(positive, who.case),
        "specificity": share(~positive, who.control),
        "ppv": share(who.case, positive),
        "npv": share(who.control, ~positive),
    }


def _placements(who: Known, score: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """For each case the weighted share of controls it outranks, for each control that of cases above it, and the AUC."""
    w1, w0 = who.weight[who.case], who.weight[who.control]
    values, where = np.unique(score, return_inverse=True)
    here1 = np.bincount(where[who.case], weights=w1, minlength=len(values))
    here0 = np.bincount(where[who.control], weights=w0, minlength=len(values))
    below = (np.cumsum(here0) - here0 / 2) / w0.sum()
    above = (w1.sum() - np.cumsum(here1) + here1 / 2) / w1.sum()
    of_cases = below[where[who.case]]
    return of_cases, above[where[who.control]], float((w1 * of_cases).sum() / w1.sum())


def brier(who: Known, probability: np.ndarray | float, n: int) -> float:
    """Weighted mean squared difference of probability and outcome over all ``n`` patients."""
    return float((who.weight * (who.case - np.asarray(probability, float)) ** 2).sum() / n)


def groups(
    time: np.ndarray, event: np.ndarray, probability: np.ndarray, at: float, level: float = 0.95
) -> list[Third]:
    """Thirds by probability: [{n, probability (mean), observed, se, low, high}].

    observed: risk by Kaplan-Meier (Aalen-Johansen) in the group with log(-log) interval of its complement; null where
    nobody of the group is followed to ``at``.
    """
    edges = np.quantile(probability, [k / GROUPS for k in range(1, GROUPS)])
    where = np.searchsorted(edges, probability, side="left")
    rows = []
    for k in np.unique(where):
        mine = where == k
        row: Third = {
            "n": int(mine.sum()),
            "probability": float(probability[mine].mean()),
            "observed": None,
            "se": None,
            "low": None,
            "high": None,
        }
        if reached(time[mine], at):
            share, se = observed(time[mine], event[mine], at)
            free = np.array([1 - share])
            low, high = log_log(free, np.array([se]) / free if share < 1 else np.array([np.nan]), level)
            row |= {"observed": share, "se": _or_none(se)}
            row |= {"low": _or_none(1 - float(high[0])), "high": _or_none(1 - float(low[0]))}
        rows.append(row)
    return rows


def observed(time: np.ndarray, event: np.ndarray, at: float) -> tuple[float, float]:
    """Risk by ``at`` and its standard error: 1 - Kaplan-Meier, or Aalen-Johansen where competing events are recorded."""
    time, when = settled(time, at)
    return risk(time, event, when)


def net_benefit(
    time: np.ndarray, event: np.ndarray, probability: np.ndarray, at: float, threshold: float
) -> float | None:
    """Net benefit of acting on probability >= ``threshold``; ``None`` where those are not followed to ``at``."""
    acted = probability >= threshold
    if not acted.any():
        return 0.0
    if not reached(time[acted], at):
        return None
    share, _ = observed(time[acted], event[acted], at)
    return float(acted.mean() * (share - (1 - share) * threshold / (1 - threshold)))


def treat_all(time: np.ndarray, event: np.ndarray, at: float, threshold: float) -> float | None:
    """Net benefit of acting on everyone."""
    return net_benefit(time, event, np.ones(len(time)), at, threshold)


def _or_none(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
