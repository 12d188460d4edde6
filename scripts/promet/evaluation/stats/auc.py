"""What is told with an area under the ROC curve: DeLong, Mann-Whitney, bootstrap, Hanley-McNeil, Youden, paired comparison.

Every function takes plain arrays: ``label`` (n,), 1 = outcome, 0 = none; ``score`` (n,), higher = more
likely. Where a quantity cannot be given it is ``None`` and a sentence in ``notes`` says why.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from promet.core.words import count
from promet.study.auc import auc, mann_whitney_u
from promet.study.forms.metrics import Delong, Interval, MannWhitney, Paired, Record, Roc, Youden, empty

EXACT_WORK = 500_000_000  # sums of counts that an exact Mann-Whitney p may take: half a second, 100 MB
FEW = 10  # patients of a class below which the normal approximation is called rough
FINE = 1e-12  # a standard error below this is zero


def record(
    label: np.ndarray, score: np.ndarray, level: float = 0.95, bootstrap: int = 2000, seed: int = 0
) -> Record:
    """Everything about one score, JSON-ready.

    Keys:
        n, positives, negatives: patients with a label and a score; missing: those with a label and no score.
        auc: AUC, ties count one half.
        delong: {variance, se, low, high, z, p}: Wald interval clipped to [0, 1], two-sided p against 0.5.
        logit: {low, high}: the DeLong interval made on the logit scale.
        bootstrap: {low, high, resamples, seed}: percentile interval, resampled within each class.
        hanley_mcneil: {se}.
        mann_whitney: {u, z, p, p_ties, p_exact}: U of the positives; p = normal approximation without
            tie or continuity correction (the paper's); p_ties = with tie correction; p_exact over all permutations.
        youden: {j, threshold, sensitivity, specificity}: "score >= threshold" is called positive;
            chosen on these same patients, hence optimistic.
        roc: {fpr, tpr, threshold}: from (0, 0) to (1, 1); the first threshold is None (nobody is positive).
        notes: sentences.
    """
    label, score, missing, notes = clean(label, score)
    positives, negatives = score[label == 1], score[label == 0]
    n1, n0 = len(positives), len(negatives)
    result: Record = {
        "n": n1 + n0,
        "positives": n1,
        "negatives": n0,
        "missing": missing,
        "auc": None,
        "delong": empty(Delong),
        "logit": empty(Interval),
        "bootstrap": {"low": None, "high": None, "resamples": bootstrap, "seed": seed},
        "hanley_mcneil": {"se": None},
        "mann_whitney": empty(MannWhitney),
        "youden": empty(Youden),
        "roc": {"fpr": [], "tpr": [], "threshold": []},
        "notes": notes,
    }
    if (reason := _unusable(score, n1, n0)) is not None:
        notes.append(reason)
        return result
    area, u = auc(label, score), mann_whitney_u(label, score)
    result["auc"] = area
    result["roc"] = roc(label, score)
    if score.min() == score.max():
        notes.append(
            "The score is the same for everyone: the AUC is 0.5 by definition, without interval or p."
        )
        result["mann_whitney"]["u"] = u
        return result
    result["mann_whitney"] = mann_whitney(positives, negatives)
    if result["mann_whitney"]["p_exact"] is None:
        rough = f", which is rough with {min(n1, n0)} in a class" if min(n1, n0) < FEW else ""
        notes.append(
            f"No exact Mann-Whitney p: with {n1} and {n0} patients its counting is out of reach; instead stands the normal "
            f"approximation with tie correction{rough}."
        )
    result["youden"] = youden(label, score)
    if min(n1, n0) < 2:
        notes.append("A class has only one patient: the AUC has no standard error and no interval.")
        return result
    if area in (0.0, 1.0):
        notes.append(
            "The score separates the classes perfectly here: its standard error is zero by every formula, "
            "so no interval is given."
        )
        return result
    result["hanley_mcneil"]["se"] = hanley_mcneil(area, n1, n0)
    result["bootstrap"] |= bootstrap_interval(positives, negatives, level, bootstrap, seed)
    se = math.sqrt(delong_covariance(label, score[None])[1][0, 0])
    if se < FINE:
        notes.append("The DeLong variance is zero here, so no DeLong interval is given.")
        return result
    result["delong"] = wald(area, se, level)
    result["logit"] = logit_interval(area, se, level)
    return result


def paired(label: np.ndarray, a: np.ndarray, b: np.ndarray, level: float = 0.95) -> Paired:
    """DeLong test of two scores of the same patients (those with both).

    Keys: n, positives, negatives, missing (labelled, but without one of the scores), auc_a, auc_b,
    difference (a - b), se, low, high (clipped to [-1, 1]), z, p (two-sided), notes.
    Source: DeLong et al., Biometrics 1988;44:837.
    """
    label, a, b = (np.asarray(x, float) for x in (label, a, b))
    if not len(label) == len(a) == len(b):
        raise ValueError("label and both scores must have one length")
    both = ~(np.isnan(a) | np.isnan(b))
    joint, _, _, notes = clean(label, np.where(both, 0.0, np.nan))
    keep = both & np.isin(label, (0, 1))
    y, a, b = label[keep], a[keep], b[keep]
    n1, n0 = int((joint == 1).sum()), int((joint == 0).sum())
    result: Paired = {
        "n": n1 + n0,
        "positives": n1,
        "negatives": n0,
        "missing": int((np.isin(label, (0, 1)) & ~both).sum()),
        "auc_a": None,
        "auc_b": None,
        "difference": None,
        "se": None,
        "low": None,
        "high": None,
        "z": None,
        "p": None,
        "notes": notes,
    }
    if (reason := _unusable(np.concatenate([a, b]), n1, n0)) is not None:
        notes.append(reason)
        return result
    areas, covariance = delong_covariance(y, np.stack([a, b]))
    difference = float(areas[0] - areas[1])
    result |= {"auc_a": float(areas[0]), "auc_b": float(areas[1]), "difference": difference}
    if min(n1, n0) < 2:
        notes.append("A class has only one patient: the difference has no standard error.")
        return result
    if any(area in (0.0, 1.0) for area in areas):
        notes.append(
            "A score separates the classes perfectly here: its variance is zero by every formula, so no test is given."
        )
        return result
    se = math.sqrt(max(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1], 0.0))
    if se < 1e-9:
        notes.append("The two scores rank these patients alike or without any variance: no test is possible.")
        return result
    z, half = difference / se, quantile(level) * se
    result |= {
        "se": se,
        "low": max(difference - half, -1.0),
        "high": min(difference + half, 1.0),
        "z": z,
        "p": _two_sided(z),
    }
    return result


def delong_covariance(label: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUCs (k,) and their DeLong covariance (k, k) of ``scores`` (k, n) by midranks.

    Source: Sun & Xu, IEEE Signal Process Lett 2014;21:1389 (fast DeLong): the placements of a case are the
    differences of its midranks among all and among its own class. NaN where a class has one patient.
    """
    cases, controls = scores[:, label == 1], scores[:, label == 0]
    m, n = cases.shape[1], controls.shape[1]
    joint = stats.rankdata(np.hstack([cases, controls]), axis=1)
    of_cases = (joint[:, :m] - stats.rankdata(cases, axis=1)) / n
    of_controls = 1 - (joint[:, m:] - stats.rankdata(controls, axis=1)) / m
    areas = of_cases.mean(axis=1)
    if min(m, n) < 2:
        return areas, np.full((len(scores), len(scores)), np.nan)
    return areas, np.atleast_2d(np.cov(of_cases)) / m + np.atleast_2d(np.cov(of_controls)) / n


def wald(area: float, se: float, level: float) -> Delong:
    """Symmetric interval clipped to [0, 1] and the two-sided p against 0.5."""
    half, z = quantile(level) * se, (area - 0.5) / se
    low, high = max(area - half, 0.0), min(area + half, 1.0)
    return {"variance": se**2, "se": se, "low": low, "high": high, "z": z, "p": _two_sided(z)}


def logit_interval(area: float, se: float, level: float) -> Interval:
    """Interval on the logit scale (delta method), back-transformed; never leaves (0, 1)."""
    centre, half = math.log(area / (1 - area)), quantile(level) * se / (area * (1 - area))
    low, high = (1 / (1 + math.exp(-min(max(x, -700.0), 700.0))) for x in (centre - half, centre + half))
    return {"low": low, "high": high}


def hanley_mcneil(area: float, n1: int, n0: int) -> float:
    """Standard error of Hanley & McNeil, Radiology 1982;143:29 (negative exponential model)."""
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (n1 - 1) * (q1 - area**2) + (n0 - 1) * (q2 - area**2)
    return math.sqrt(variance / (n1 * n0))


def mann_whitney(positives: np.ndarray, negatives: np.ndarray) -> MannWhitney:
    """U and three two-sided p values.

    p: z = (AUC - 1/2) / sqrt((n1 + n0 + 1) / (12 n1 n0)), without tie or continuity correction; it gives the
    paper's printed values. p_ties: the same with tie correction. p_exact: see ``exact_p``; None where that is out of reach.
    """
    n1, n0 = len(positives), len(negatives)
    u = float(stats.mannwhitneyu(positives, negatives, method="asymptotic").statistic)
    z = (u / (n1 * n0) - 0.5) / math.sqrt((n1 + n0 + 1) / (12 * n1 * n0))
    corrected = stats.mannwhitneyu(positives, negatives, use_continuity=False, method="asymptotic").pvalue
    exact = exact_p(positives, negatives)
    return {"u": u, "z": z, "p": _two_sided(z), "p_ties": float(corrected), "p_exact": exact}


def exact_p(positives: np.ndarray, negatives: np.ndarray) -> float | None:
    """Two-sided p of U among all ways to assign the scores, ties included, to the two classes.

    Share of the C(n1 + n0, n1) assignments whose rank sum lies at least as far from its mean as the observed one; counted by
    the shift algorithm on midranks (Streitberg & Roehmel, Stat Software Newsl 1986;12:10). The smaller class is assigned:
    its size times the number of possible sums times all patients is the work. ``None`` where that exceeds ``EXACT_WORK``.
    """
    n = len(positives) + len(negatives)
    smaller = min(len(positives), len(negatives))
    doubled = np.rint(2 * stats.rankdata(np.concatenate([positives, negatives]))).astype(np.int64)
    mine = doubled[: len(positives)] if len(positives) == smaller else doubled[len(positives) :]
    # Ranks from 0 in their coarsest unit: whole ranks unless there are ties. That moves the mean and stretches every distance.
    unit = max(1, int(np.gcd.reduce(doubled - doubled.min())))
    ranks = np.sort(doubled - doubled.min()) // unit
    highest = int(ranks[n - smaller :].sum())
    if smaller == 1:
        law = np.bincount(ranks).astype(float)
    elif smaller * (highest + 1) * n > EXACT_WORK:
        return None
    else:
        law = _sums(ranks, smaller, highest)
    # n times the sums, so that their mean is a whole number
    observed, mean = n * int(((mine - doubled.min()) // unit).sum()), smaller * int(ranks.sum())
    far = np.abs(n * np.arange(len(law)) - mean) >= abs(observed - mean)
    return float(min(law[far].sum() / law.sum(), 1.0))


def _sums(ranks: np.ndarray, size: int, highest: int) -> np.ndarray:
    """How many ways to choose ``size`` of the rising whole ``ranks`` give each sum from 0 to ``highest``."""
    ways, top = np.zeros((size + 1, highest + 1)), 0
    ways[0, 0] = 1.0
    for k, rank in enumerate(ranks):
        # Of k ranks so far no more than k were chosen, and no sum beyond top was reached.
        rows, top = min(k + 1, size), min(top + int(rank), highest)
        ways[1 : rows + 1, rank : top + 1] += ways[:rows, : top + 1 - rank].copy()
    return ways[size]


def bootstrap_interval(
    positives: np.ndarray, negatives: np.ndarray, level: float, resamples: int, seed: int
) -> Interval:
    """Percentile interval of the AUC, resampling positives and negatives separately."""
    random = np.random.default_rng(seed)
    values = np.unique(np.concatenate([positives, negatives]))
    share1, share0 = (
        np.bincount(np.searchsorted(values, x), minlength=len(values)) / len(x)
        for x in (positives, negatives)
    )
    n1, n0, areas = len(positives), len(negatives), []
    block = max(1, 2_000_000 // len(values))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn1, drawn0 = random.multinomial(n1, share1, size), random.multinomial(n0, share0, size)
        below = np.cumsum(drawn0, axis=1) - drawn0 / 2
        areas.append((drawn1 * below).sum(axis=1) / (n1 * n0))
    low, high = np.quantile(np.concatenate(areas), [(1 - level) / 2, (1 + level) / 2])
    return {"low": float(low), "high": float(high)}


def roc(label: np.ndarray, score: np.ndarray) -> Roc:
    """All corners of the ROC curve, thresholds falling; "score >= threshold" is called positive."""
    thresholds, where = np.unique(score, return_inverse=True)
    hits = np.bincount(where, weights=label == 1, minlength=len(thresholds))[::-1].cumsum()
    alarms = np.bincount(where, weights=label == 0, minlength=len(thresholds))[::-1].cumsum()
    return {
        "fpr": [0.0, *(alarms / alarms[-1]).tolist()],
        "tpr": [0.0, *(hits / hits[-1]).tolist()],
        "threshold": [None, *thresholds[::-1].tolist()],
    }


def youden(label: np.ndarray, score: np.ndarray) -> Youden:
    """Threshold with the largest sensitivity + specificity - 1; the highest one if several are equal."""
    curve = roc(label, score)
    j = np.array(curve["tpr"][1:]) - np.array(curve["fpr"][1:])
    best = int(np.flatnonzero(j >= j.max() - FINE)[0]) + 1
    return {
        "j": float(j.max()),
        "threshold": curve["threshold"][best],
        "sensitivity": curve["tpr"][best],
        "specificity": 1 - curve["fpr"][best],
    }


def clean(label: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray, int, list[str]]:
    """Patients with a label and a score, the number of labelled ones without a score, notes."""
    label, score = np.asarray(label, float), np.asarray(score, float)
    if label.shape != score.shape or label.ndim != 1:
        raise ValueError("label and score must be vectors of one length")
    notes = []
    if strange := int((~np.isin(label, (0, 1)) & ~np.isnan(label)).sum()):
        notes.append(f"{strange} labels are neither 0 nor 1; they are left out.")
    labelled = np.isin(label, (0, 1))
    if without := int((~labelled).sum()) - strange:
        notes.append(f"{without} without a label are left out.")
    keep = labelled & ~np.isnan(score)
    missing = int(labelled.sum() - keep.sum())
    if missing:
        notes.append(f"{missing} of {int(labelled.sum())} labelled have no score; they are left out.")
    return label[keep], score[keep], missing, notes


def _unusable(score: np.ndarray, n1: int, n0: int) -> str | None:
    if n1 + n0 == 0:
        return "Nobody has both a label and a score: nothing can be computed."
    if n1 + n0 < 3:
        return f"Only {n1 + n0} with label and score: nothing can be computed."
    if n1 == 0 or n0 == 0:
        group = "without" if n1 == 0 else "with"
        return f"All {n1 + n0} are {group} the outcome: an AUC needs both classes."
    if infinite := int(np.isinf(score).sum()):
        return f"{count(infinite, 'score is', 'scores are')} infinite: something before this went wrong, so nothing is computed."
    return None


def quantile(level: float) -> float:
    return float(stats.norm.ppf((1 + level) / 2))


def _two_sided(z: float) -> float:
    return float(2 * stats.norm.sf(abs(z)))
