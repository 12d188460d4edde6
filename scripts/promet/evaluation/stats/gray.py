"""Gray's test: do groups differ in the cumulative incidence of an event when others compete with it?"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from promet.study.follow_up import settled


def gray(time: np.ndarray, event: np.ndarray, group: np.ndarray, cause: int = 1) -> dict[str, Any]:
    """{statistic, df, p, notes} of equal cumulative incidence of ``cause`` in all groups; null where that cannot be tested.

    Args:
        time: (n,); event: (n,), 0 = left without any, ``cause``, or another event; group: (n,) names.

    Source: Gray, Ann Stat 1988;16:1141 (rho = 0), with the variance and its correction for ties of R's ``cmprsk::cuminc``.
    """
    names = np.unique(group)
    result: dict[str, Any] = {"statistic": None, "df": len(names) - 1, "p": None, "notes": []}
    if len(names) < 2:
        return result | {"df": None, "notes": ["There is only one group: nothing to compare."]}
    time, event = settled(time)[0], np.asarray(event)
    if (event == cause).sum() < 2:
        return result | {"notes": ["Fewer than two events: no test of Gray."]}
    score, variance = _score(time, event == cause, (event != 0) & (event != cause), group == names[:, None])
    try:
        statistic = float(score[:-1] @ np.linalg.solve(variance[:-1, :-1], score[:-1]))
    except np.linalg.LinAlgError:
        statistic = np.nan
    if not np.isfinite(statistic) or statistic < 0:
        return result | {"notes": ["No test of Gray: no event happens while two groups are at risk."]}
    return result | {"statistic": statistic, "p": float(stats.chi2.sf(statistic, len(names) - 1))}


def _score(
    time: np.ndarray, mine: np.ndarray, other: np.ndarray, member: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Score (k,) and its covariance (k, k) of k groups; ``member`` (k, n)."""
    k = len(member)
    score, shift = np.zeros(k), np.zeros((k, k))  # shift: how a group's incidence so far moves each score
    squares, mixed, own = np.zeros((k, k)), np.zeros((k, k)), np.zeros(k)
    free, incidence, pooled = np.ones(k), np.zeros(k), 0.0  # just before each time
    for t in np.unique(time[mine | other]):
        here = member & (time == t)
        risk = (member & (time >= t)).sum(axis=1)
        d1, d2 = (here & mine).sum(axis=1), (here & other).sum(axis=1)
        there = risk > 0
        held = np.where(
            there, risk / np.where(free > 0, free, 1), 0.0
        )  # as if nobody had had an event or left
        total, exposed = held.sum(), held * (1 - incidence)
        n1 = d1.sum()
        after = np.where(there, free * (risk - d1 - d2) / np.maximum(risk, 1), free)
        pooled_after = pooled + n1 / total
        weight = np.diag(held) - np.outer(held, held) / total
        shift += weight * n1 / (total * (1 - pooled))
        score += d1 - n1 * exposed / exposed.sum() if n1 else 0.0
        for j in np.flatnonzero(there):
            left = (1 - pooled_after) / after[j] if after[j] > 0 else 0.0
            if n1:
                part = 1 - left
                ties = 1 - (n1 - 1) / (total * free[j] - 1) if n1 > 1 else 1.0
                unit = ties * free[j] * n1 / (total * risk[j])
                move = weight[:, j] - part * shift[:, j]
                own[j] += part**2 * unit
                mixed[:, j] += move * part * unit
                squares += np.outer(move, move) * unit
            if d2[j] and after[j] > 0:
                ties = 1 - (d2[j] - 1) / (risk[j] - 1) if d2[j] > 1 else 1.0
                unit = ties * free[j] ** 2 * d2[j] / risk[j] ** 2
                move = left * shift[:, j]
                own[j] += left**2 * unit
                mixed[:, j] -= move * left * unit
                squares += np.outer(move, move) * unit
        incidence = incidence + np.where(there, free * d1 / np.maximum(risk, 1), 0.0)
        free, pooled = after, pooled_after
    cross = shift @ mixed.T
    return score, squares + shift @ np.diag(own) @ shift.T + cross + cross.T
