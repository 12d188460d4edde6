"""Harrell's and Uno's C: does who has the event earlier have the higher score?

Pairs i, j that can be compared: i has the event at or before ``at``, and j's time is later, or the same and j was followed
to it without event. Who has a competing event never has the event: later than everyone's. Equal scores count one half.
Equal to R's ``survival::concordance`` with ``timewt = "n"`` and ``"n/G2"``, ties included.
"""

from __future__ import annotations

import numpy as np

from promet.study.follow_up import leaving, settled

BLOCK = 4_000_000  # comparisons held at once


def harrell(
    time: np.ndarray, event: np.ndarray, score: np.ndarray, at: float | None = None
) -> tuple[float | None, int]:
    """C (``None`` without a pair) and the number of pairs. Source: Harrell et al., JAMA 1982;247:2543."""
    value, pairs = _concordance(time, event, score, at, weighted=False)
    return value, round(pairs)


def uno(time: np.ndarray, event: np.ndarray, score: np.ndarray, at: float | None = None) -> float | None:
    """C with pairs weighted by 1 / G(time of i-)², for patients who left early; ``None`` without a pair.

    Source: Uno et al., Stat Med 2011;30:1105. A pair with a competing event of j before i's event was seen with another
    probability, G(time of i-) G(time of j-): Wolbers et al., Biostatistics 2014;15:526.
    """
    return _concordance(time, event, score, at, weighted=True)[0]


def pairs(time: np.ndarray, event: np.ndarray, at: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The pairs that can be compared: indices of who has the event earlier, and of the other."""
    event = np.asarray(event)
    time, when = settled(time, at)
    first = (event == 1) & (time <= (np.inf if when is None else when))
    later = (time > time[:, None]) | ((time == time[:, None]) & (event == 0)) | (event == 2)
    earlier, other = np.nonzero(later & first[:, None])
    return earlier, other


def _concordance(
    time: np.ndarray, event: np.ndarray, score: np.ndarray, at: float | None, weighted: bool
) -> tuple[float | None, float]:
    event, score = np.asarray(event), np.asarray(score, float)
    time, when = settled(time, at)
    first = np.flatnonzero((event == 1) & (time <= (np.inf if when is None else when)))
    g = leaving(time, event, time) if weighted else np.ones(len(time))
    rivals = np.flatnonzero(event == 2)
    won = total = 0.0
    step = max(1, BLOCK // max(1, len(time)))
    for start in range(0, len(first), step):
        i = first[start : start + step, None]
        later = (time > time[i]) | ((time == time[i]) & (event == 0))
        above, equal = later & (score[i] > score), later & (score[i] == score)
        each = 1 / g[i[:, 0]] ** 2
        won += float((each * (above.sum(axis=1) + equal.sum(axis=1) / 2)).sum())
        total += float((each * later.sum(axis=1)).sum())
        if len(rivals):
            pair = (time[rivals] <= time[i]) / (g[i] * g[rivals])
            won += float((pair * ((score[i] > score[rivals]) + (score[i] == score[rivals]) / 2)).sum())
            total += float(pair.sum())
    return (won / total, total) if total > 0 else (None, 0.0)
