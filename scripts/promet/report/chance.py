"""How good the best of many networks looks when none has any skill."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from promet.study.concordance import pairs

if TYPE_CHECKING:
    from promet.report.read import Split

EXACT = 40_000  # pairs of patients up to which the distribution is counted out (a second); beyond, the normal one is as good

DRAWS = 10_000  # random orders, where the distribution cannot be counted out


@cache
def null_distribution(positives: int, negatives: int) -> tuple[np.ndarray, np.ndarray]:
    """AUCs a score that knows nothing can have, ascending, and the probability of each: the Mann-Whitney null distribution.

    Every order of the patients is equally likely; ties do not occur. Counted by whether the last patient of the order has the
    outcome (Mann & Whitney 1947, Ann Math Stat 18: 50). Beyond ``EXACT`` pairs of patients by the normal distribution of the same
    mean and variance, with continuity correction.
    """
    pairs = positives * negatives
    areas = np.arange(pairs + 1) / pairs
    if pairs > EXACT:
        from scipy.stats import norm

        spread = (pairs * (positives + negatives + 1) / 12) ** 0.5
        return areas, np.diff(norm.cdf((np.arange(pairs + 2) - 0.5 - pairs / 2) / spread))
    few, many = sorted((positives, negatives))
    # row[i]: distribution of U with i of the one class among i + j patients; the last of the order beats all j of the other or none.
    rows = [np.ones(1) for _ in range(few + 1)]
    for j in range(1, many + 1):
        for i in range(1, few + 1):
            new = np.zeros(i * j + 1)
            new[j:] += i / (i + j) * rows[i - 1]
            new[: i * (j - 1) + 1] += j / (i + j) * rows[i]
            rows[i] = new
    return areas, rows[few]


def null_of_concordance(time: np.ndarray, event: np.ndarray, at: float) -> tuple[np.ndarray, np.ndarray]:
    """The same of Harrell's C up to ``at``, ascending, by ``DRAWS`` random orders of the patients; the same ones every time."""
    earlier, later = pairs(time, event, at)
    random = np.random.default_rng(0)
    values = np.empty(DRAWS)
    for k in range(DRAWS):
        order = random.permutation(len(time))
        values[k] = (order[earlier] > order[later]).mean() if len(earlier) else 0.5
    return np.sort(values), np.full(DRAWS, 1 / DRAWS)


def of_validation(split: Split) -> tuple[tuple[np.ndarray, np.ndarray], int, int] | None:
    """The distribution of the validation metric without skill, the patients it is judged on, and those with the event by the horizon;
    None where there is none."""
    size = split.values("dataset")
    positives = size.get("validation_positive", 0)
    negatives = size.get("validation", 0) - positives - size.get("validation_unknown", 0)
    if min(positives, negatives) < 1:
        return None
    if split.word == "AUC":
        return null_distribution(positives, negatives), positives + negatives, positives
    table = split.predictions
    if table is None or "time" not in table or split.horizon is None:
        return None
    mine = table[(table["part"] == "validation") & table["time"].notna() & table["cnn_score"].notna()]
    null = null_of_concordance(mine["time"].to_numpy(), mine["event"].to_numpy(), split.horizon)
    return null, len(mine), positives


def expected_best(positives: int, negatives: int, runs: int) -> float:
    """Expected highest AUC of ``runs`` independent chance-level scores on these patients."""
    return best_of(null_distribution(positives, negatives), runs)


def share_reaching(best: float, positives: int, negatives: int, runs: int) -> float:
    """Probability that the best of ``runs`` chance-level scores reaches ``best``."""
    return reaching(null_distribution(positives, negatives), best, runs)


def best_of(null: tuple[np.ndarray, np.ndarray], runs: int) -> float:
    """Expected highest of ``runs`` independent values, each distributed as ``null``."""
    values, chance = null
    below = np.r_[0, np.cumsum(chance)] ** runs
    return float((values * np.diff(below)).sum())


def reaching(null: tuple[np.ndarray, np.ndarray], best: float, runs: int) -> float:
    """Probability that the highest of ``runs`` of them reaches ``best``."""
    values, chance = null
    once = float(chance[values >= best - 1e-9].sum())
    return float(-np.expm1(runs * np.log1p(-min(once, 1.0)))) if once < 1 else 1.0
