"""Does a score work alike everywhere, and can a hospital be told from its images?"""

from __future__ import annotations

from typing import TypedDict

import numpy as np
from scipy import stats

from promet.evaluation.stats import auc, meta
from promet.evaluation.stats.updating import fitted


class SiteEffect(TypedDict):
    """Pillai's trace of the site given the outcome."""

    pillai: float
    df: int  # sites - 1
    p: float  # by permutation within the outcome
    permutations: int


class Heterogeneity(TypedDict):
    """Two tests of whether groups differ in how a score does."""

    q: float | None  # Cochran's Q of the groups' logit AUCs
    df: int
    p: float | None
    interaction: float | None  # likelihood ratio of score x group in a logistic model
    interaction_p: float | None


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


def heterogeneity(label: np.ndarray, score: np.ndarray, group: np.ndarray) -> Heterogeneity:
    """Do the groups differ? ``label`` (n,) 0 or 1, ``score`` (n,) finite, ``group`` (n,) any values.

    Q needs an AUC strictly between 0 and 1 in at least two groups; the interaction a logistic model that exists.
    """
    label, score = np.asarray(label, float), np.asarray(score, float)
    names, group = np.unique(np.asarray(group), return_inverse=True)
    result: Heterogeneity = {
        "q": None,
        "df": len(names) - 1,
        "p": None,
        "interaction": None,
        "interaction_p": None,
    }
    values, errors = [], []
    for one in range(len(names)):
        mine = group == one
        area, error = _area(label[mine], score[mine])
        if area is not None and 0 < area < 1 and error:
            values.append(np.log(area / (1 - area)))
            errors.append(error / (area * (1 - area)))
    if len(values) > 1:
        result["q"], result["df"], result["p"] = meta.heterogeneity(np.array(values), np.array(errors))
    dummies = np.eye(len(names))[group]
    plain, crossed = np.column_stack([score, dummies]), np.column_stack([dummies * score[:, None], dummies])
    zero, one_each = np.zeros(len(label)), np.ones(len(label))
    fits = [(x, fitted(label, x, zero, one_each)) for x in (plain, crossed)]
    if len(names) > 1 and all(beta is not None for _, beta in fits):
        less, more = (float(np.sum(label * (x @ b) - np.logaddexp(0, x @ b))) for x, b in fits)
        result["interaction"] = 2 * (more - less)
        result["interaction_p"] = float(stats.chi2.sf(2 * (more - less), len(names) - 1))
    return result


def holm(values: list[float]) -> list[float]:
    """p values corrected for their number (Holm), in the order given."""
    order = np.argsort(values)
    raised = np.maximum.accumulate([(len(values) - i) * values[k] for i, k in enumerate(order)])
    result = np.empty(len(values))
    result[order] = np.minimum(raised, 1.0)
    return result.tolist()


def _area(label: np.ndarray, score: np.ndarray) -> tuple[float | None, float | None]:
    if min(label.sum(), len(label) - label.sum()) < 2:
        return None, None
    areas, covariance = auc.delong_covariance(label, score[None])
    return float(areas[0]), float(np.sqrt(covariance[0, 0]))
