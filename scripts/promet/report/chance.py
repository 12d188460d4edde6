"""How good the best of many networks looks when none has any skill."""

from __future__ import annotations

from functools import cache

import numpy as np

DRAWS = 200_000


@cache
def null_aucs(positives: int, negatives: int, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Sorted AUCs, shape (draws,), of scores that know nothing: the Mann-Whitney null distribution.

    Every order of the patients is equally likely; ties do not occur. Simulated with a fixed seed.
    """
    n = positives + negatives
    random = np.random.default_rng(seed)
    block, areas = max(1, 4_000_000 // n), []
    for start in range(0, draws, block):
        order = random.random((min(block, draws - start), n)).argsort(axis=1).argsort(axis=1) + 1
        rank_sum = order[:, :positives].sum(axis=1)
        areas.append((rank_sum - positives * (positives + 1) / 2) / (positives * negatives))
    return np.sort(np.concatenate(areas))


def expected_best(positives: int, negatives: int, runs: int, draws: int = DRAWS, seed: int = 0) -> float:
    """Expected highest AUC of ``runs`` independent chance-level scores on these patients.

    The maximum of ``runs`` draws is at most the k-th smallest of m values with probability (k / m) ** runs.
    """
    areas = null_aucs(positives, negatives, draws, seed)
    below = (np.arange(len(areas) + 1) / len(areas)) ** runs
    return float((areas * np.diff(below)).sum())


def share_reaching(best: float, positives: int, negatives: int, runs: int) -> float:
    """Probability that the best of ``runs`` chance-level scores reaches ``best``."""
    areas = null_aucs(positives, negatives)
    return float(1 - (np.searchsorted(areas, best - 1e-9) / len(areas)) ** runs)
