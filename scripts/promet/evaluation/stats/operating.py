"""What calling a score positive at a threshold is right about; the threshold was fixed on other patients.

With labels: counts and Wilson intervals. By a horizon that some left before: weighted shares (``stats.horizon.accuracy``) with
percentile intervals over resampled patients; the counts are then those of whom the status is known.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from promet.evaluation.stats import horizon
from promet.study import follow_up
from promet.study.forms.metrics import Operating, Share

NAMES = ("sensitivity", "specificity", "ppv", "npv")


def wilson(hits: int, n: int, level: float) -> Share:
    """Share ``hits`` / ``n`` with Wilson's interval (J Am Stat Assoc 1927;22:209); null of nobody."""
    if n == 0:
        return {"value": None, "low": None, "high": None}
    z = float(stats.norm.ppf((1 + level) / 2))
    p, middle = hits / n, (hits + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * float(np.sqrt(hits * (n - hits) / n + z * z / 4))
    return {"value": p, "low": max(0.0, middle - half), "high": min(1.0, middle + half)}


def of_labels(label: np.ndarray, score: np.ndarray, threshold: float, level: float = 0.95) -> Operating:
    """``label`` (n,) of 0 and 1; ``score`` (n,), NaN = none: left out. "score >= threshold" is positive."""
    keep = np.isfinite(score) & np.isin(label, (0, 1))
    result = _counted(label[keep] == 1, label[keep] == 0, score[keep] >= threshold, threshold)
    tp, fp, tn, fn = (
        result[k] for k in ("true_positives", "false_positives", "true_negatives", "false_negatives")
    )
    for name, hits, others in zip(NAMES, (tp, tn, tp, tn), (fn, fp, fp, fn), strict=True):
        result[name] = wilson(hits, hits + others, level)  # type: ignore[literal-required]
    return result


def by_horizon(
    time: np.ndarray,
    event: np.ndarray,
    at: float,
    score: np.ndarray,
    threshold: float,
    level: float = 0.95,
    resamples: int = 500,
    seed: int = 0,
) -> Operating:
    """The same by the horizon ``at``; null where nobody is followed so far."""
    keep = np.isfinite(score)
    t, e, positive = time[keep], event[keep], score[keep] >= threshold
    who = follow_up.known(t, e, at)
    nobody = np.zeros(len(t), bool)
    case, control = (nobody, nobody) if who is None else (who.case, who.control)
    result = _counted(case, control, positive, threshold)
    if who is None:
        result["notes"].append(f"Nobody is followed to {at:g} months.")
        return result
    random, drawn = np.random.default_rng(seed), []
    for _ in range(resamples):
        pick = random.integers(0, len(t), len(t))
        again = follow_up.known(t[pick], e[pick], at)
        if again is not None:
            drawn.append(horizon.accuracy(again, positive[pick]))
    for name, value in horizon.accuracy(who, positive).items():
        known = [row[name] for row in drawn if row[name] is not None]
        share: Share = {"value": value, "low": None, "high": None}
        if value is not None and len(known) >= 0.8 * resamples:
            low, high = np.quantile(np.array(known, float), [(1 - level) / 2, (1 + level) / 2])
            share |= {"low": float(low), "high": float(high)}
        result[name] = share  # type: ignore[literal-required]
    return result


def _counted(case: np.ndarray, control: np.ndarray, positive: np.ndarray, threshold: float) -> Operating:
    nothing: Share = {"value": None, "low": None, "high": None}
    return {
        "threshold": threshold,
        "n": int((case | control).sum()),
        "true_positives": int((case & positive).sum()),
        "false_positives": int((control & positive).sum()),
        "true_negatives": int((control & ~positive).sum()),
        "false_negatives": int((case & ~positive).sum()),
        "sensitivity": dict(nothing),  # type: ignore[typeddict-item]
        "specificity": dict(nothing),  # type: ignore[typeddict-item]
        "ppv": dict(nothing),  # type: ignore[typeddict-item]
        "npv": dict(nothing),  # type: ignore[typeddict-item]
        "notes": [],
    }
