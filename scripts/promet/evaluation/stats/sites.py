"""Does a score work alike everywhere, and can a hospital be told from its images?"""

from __future__ import annotations

from typing import TypedDict

import numpy as np
from scipy import stats

from promet.evaluation.stats.updating import fitted


class SiteEffect(TypedDict):
    """Pillai's trace of the site given the outcome."""

    pillai: float
    df: int  # sites - 1
    p: float  # by permutation within the outcome
    permutations: int


def site_effect(
    measures: np.ndarray, site: np.ndarray, outcome: np.ndarray, permutations: int = 999, seed: int = 0
) -> SiteEffect | None:
    """Pillai's trace of ``site`` (n,) on ``measures`` (n, m; logged where skewed, finite) given ``outcome`` (n,; each value a class).

    p: share of permutations of the site among patients of one outcome that reach the trace; exact where the site has no effect
    given the outcome, whatever the measures' law. None with one site, or fewer patients than the model has parameters.
    """
    x = np.asarray(measures, float)
    site, outcome = (np.unique(np.asarray(one), return_inverse=True)[1] for one in (site, outcome))
    sites, classes = site.max() + 1, outcome.max() + 1
    if sites < 2 or len(x) <= sites + classes + x.shape[1]:
        return None
    spread = x.std(0)
    x = (x - x.mean(0))[:, spread > 0] / spread[spread > 0]
    given = np.eye(classes)[outcome]
    rest = x - given @ np.linalg.lstsq(given, x, rcond=None)[0]
    whole = np.linalg.pinv(rest.T @ rest)

    def trace(labels: np.ndarray) -> float:
        dummies = np.eye(sites)[labels][:, 1:]
        left = dummies - given @ np.linalg.lstsq(given, dummies, rcond=None)[0]
        explained = left @ np.linalg.lstsq(left, rest, rcond=None)[0]
        return float(np.trace(whole @ (explained.T @ explained)))

    found, rng = trace(site), np.random.default_rng(seed)
    reached = 0
    for _ in range(permutations):
        shuffled = site.copy()
        for one in range(classes):
            mine = np.flatnonzero(outcome == one)
            shuffled[mine] = site[rng.permutation(mine)]
        reached += trace(shuffled) >= found - 1e-12
    return {
        "pillai": found,
        "df": int(sites - 1),
        "p": (reached + 1) / (permutations + 1),
        "permutations": permutations,
    }


def interaction(label: np.ndarray, score: np.ndarray, group: np.ndarray) -> tuple[float | None, float | None]:
    """Likelihood ratio of score x group in a logistic model with score and group, and its p (chi-square, groups - 1).

    ``label`` (n,) 0 or 1, ``score`` (n,) finite, ``group`` (n,) any values. None with one group, or where no maximum exists.
    """
    names, group = np.unique(np.asarray(group), return_inverse=True)
    label, score = np.asarray(label, float), np.asarray(score, float)
    dummies = np.eye(len(names))[group]
    best = []
    for x in (np.column_stack([score, dummies]), np.column_stack([dummies * score[:, None], dummies])):
        beta = fitted(label, x, np.zeros(len(label)), np.ones(len(label)))
        if beta is None or len(names) < 2:
            return None, None
        best.append(float(np.sum(label * (x @ beta) - np.logaddexp(0, x @ beta))))
    ratio = 2 * (best[1] - best[0])
    return ratio, float(stats.chi2.sf(ratio, len(names) - 1))


def holm(values: list[float]) -> list[float]:
    """p values corrected for their number (Holm), in the order given."""
    order = np.argsort(values)
    raised = np.maximum.accumulate([(len(values) - i) * values[k] for i, k in enumerate(order)])
    result = np.empty(len(values))
    result[order] = np.minimum(raised, 1.0)
    return result.tolist()
