"""Are the probabilities right? Logistic recalibration, Brier, E/O, calibration curve; decision curve.

``record`` takes plain arrays: ``label`` (n,), 1 = outcome, 0 = none; ``probability`` (n,) in [0, 1]. Where a
quantity cannot be given it is ``None`` and a sentence in ``notes`` says why.
"""

from __future__ import annotations

import math
import warnings

import numpy as np

from promet.core.words import count
from promet.evaluation.stats.auc import clean, quantile
from promet.study.forms.metrics import Calibration, Curve, Estimate, Group, Ratio, Recalibration, Slope, empty

CURVE_N = 10  # patients below which no smooth curve is drawn
FEW = 50  # patients of the rarer class below which calibration is called descriptive
SPAN = 2 / 3  # of lowess; R's default, and that of rms::val.prob
POINTS = 51
GROUPS = 5


def record(
    label: np.ndarray,
    probability: np.ndarray,
    log_odds: np.ndarray | None = None,
    level: float = 0.95,
    bootstrap: int = 500,
    seed: int = 0,
) -> Calibration:
    """Everything about one model's probabilities, JSON-ready.

    Args:
        log_odds: logit of ``probability`` where the caller has it; it keeps what rounding to 0 or 1 loses.

    Keys:
        n, positives, negatives: patients with label and probability; missing: labelled without probability.
        mean_probability, observed: mean of the probabilities, share with the outcome.
        expected_observed: {ratio, low, high}: mean probability / observed share, 1 = right; interval on the log
            scale with SE sqrt((1 - observed) / positives) (Debray et al., BMJ 2017;356:i6460).
        intercept: {value, se, low, high}: calibration in the large, logit P = a + log-odds; 0 = right.
        slope: {value, se, low, high, intercept}: logit P = intercept + slope * log-odds; 1 = right, below 1 =
            too extreme.
        brier; brier_scaled: 1 - Brier / (observed (1 - observed)): 0 = no better than the observed share, 1 = perfect.
        ici, e50, e90, e_max: mean, median, 90th percentile, maximum of |smooth curve - probability| over the
            patients (Austin & Steyerberg, Stat Med 2019;38:4051), with the curve below.
        curve: {probability, observed, low, high, resamples}: lowess (span 2/3, no robustness steps) and its
            pointwise bootstrap interval; empty lists when not possible.
        groups: [{n, positives, probability, observed, low, high}]: up to five groups of equal size by probability, mean
            probability, observed share with Wilson interval.
        notes: sentences.
    """
    label, probability = np.asarray(label, float), np.asarray(probability, float)
    known = np.isin(label, (0, 1)) & ~np.isnan(probability)
    y, p, missing, notes = clean(label, probability)
    n, n1 = len(y), int(y.sum())
    n0 = n - n1
    result: Calibration = {
        "n": n,
        "positives": n1,
        "negatives": n0,
        "missing": missing,
        "mean_probability": None,
        "observed": None,
        "expected_observed": empty(Ratio),
        "intercept": empty(Estimate),
        "slope": empty(Slope),
        "brier": None,
        "brier_scaled": None,
        "ici": None,
        "e50": None,
        "e90": None,
        "e_max": None,
        "curve": {"probability": [], "observed": [], "low": [], "high": [], "resamples": bootstrap},
        "groups": [],
        "notes": notes,
    }
    if n == 0:
        notes.append("Nobody has both a label and a probability: nothing can be computed.")
        return result
    if outside := int(((p < 0) | (p > 1)).sum()):
        notes.append(
            f"Outside 0 to 1 and so no probabilities: {count(outside, 'value')}. Nothing is computed."
        )
        return result
    share, brier = n1 / n, float(((p - y) ** 2).mean())
    result |= {"mean_probability": float(p.mean()), "observed": share, "brier": brier}
    if n < 3:
        notes.append(f"Only {n} with label and probability: nothing more can be computed.")
        return result
    if min(n1, n0) == 0:
        group = "without" if n1 == 0 else "with"
        notes.append(f"All {n} are {group} the outcome: intercept, slope, E/O and curve need both classes.")
        return result
    result["brier_scaled"] = 1 - brier / (share * (1 - share))
    ratio, half = float(p.mean()) / share, quantile(level) * math.sqrt((1 - share) / n1)
    result["expected_observed"] = {
        "ratio": ratio,
        "low": ratio * math.exp(-half),
        "high": ratio * math.exp(half),
    }
    lp = logit(p) if log_odds is None else np.asarray(log_odds, float)[known]
    if not np.isfinite(lp).all():
        notes.append(
            f"{int((~np.isfinite(lp)).sum())} probabilities are exactly 0 or 1 and have no log-odds: "
            "no calibration intercept and slope."
        )
    else:
        result["intercept"], more = intercept(y, lp, level)
        result["slope"], again = slope(y, lp, level)
        notes += more + again
    result["groups"] = groups(y, p, level)
    values, where = np.unique(p, return_inverse=True)
    if n < CURVE_N:
        notes.append(f"No smooth calibration curve: it needs at least {CURVE_N} patients, here are {n}.")
    elif len(values) <= 2:
        notes.append(
            f"No smooth calibration curve: among {n} patients there {'is' if len(values) == 1 else 'are'} only "
            f"{count(len(values), 'different probability', 'different probabilities')}."
        )
    else:
        gap = np.abs(_smooth(y, p, values)[where] - p)
        result |= {
            "ici": float(gap.mean()),
            "e50": float(np.median(gap)),
            "e90": float(np.quantile(gap, 0.9)),
            "e_max": float(gap.max()),
        }
        result["curve"] = curve(y, p, level, bootstrap, seed)
    if min(n1, n0) < FEW:
        notes.append(f"With {count(min(n1, n0), 'patient')} in the smaller class all of this is descriptive.")
    return result


def intercept(
    label: np.ndarray, log_odds: np.ndarray, level: float = 0.95, weight: np.ndarray | None = None
) -> tuple[Estimate, list[str]]:
    """Calibration in the large {value, se, low, high} with the slope held at 1, and notes.

    The maximum of the likelihood is where the mean probability equals the observed share, one root of a rising function;
    it is bracketed, since Newton's steps overshoot with the extreme log-odds of naive Bayes. ``weight`` (n,), of patients
    who left early (``promet.evaluation.stats.horizon``): weighted likelihood with the sandwich's standard error.
    """
    from scipy.optimize import brentq
    from scipy.special import expit

    w = np.ones(len(label)) if weight is None else weight
    share = float(np.average(label, weights=w))
    bound = float(np.abs(log_odds).max()) + abs(math.log(share / (1 - share))) + 1
    a = brentq(
        lambda x: float(np.average(expit(log_odds + x), weights=w)) - share,
        -bound,
        bound,
        xtol=1e-14,
        rtol=1e-14,
    )
    p = expit(log_odds + a)
    information = float((w * p * (1 - p)).sum())
    if information < 1e-9:
        return empty(Estimate), [
            "The log-odds are so extreme that the calibration intercept is not determined."
        ]
    spread = information if weight is None else float(((w * (label - p)) ** 2).sum())
    return _wald(a, math.sqrt(spread) / information, level), []


def slope(
    label: np.ndarray, log_odds: np.ndarray, level: float = 0.95, weight: np.ndarray | None = None
) -> tuple[Slope, list[str]]:
    """Calibration slope {value, se, low, high, intercept} and notes; ``weight``: see ``intercept``.

    With one covariate the estimate is infinite exactly when some value separates the classes.
    """
    spread, centre = float(np.std(log_odds)), float(np.mean(log_odds))
    if spread == 0 or log_odds.min() == log_odds.max():
        return empty(Slope), ["The probability is the same for everyone: no calibration slope."]
    cases, controls = log_odds[label == 1], log_odds[label == 0]
    if cases.min() >= controls.max() or cases.max() <= controls.min():
        return empty(Slope), [
            "The probabilities separate the classes perfectly: the slope is infinite, none is given."
        ]
    # In units of its own spread, so that log-odds of hundreds converge too.
    design = np.column_stack([np.ones(len(label)), (log_odds - centre) / spread])
    fitted = _logistic(label, design, weight)
    if fitted is None:
        return empty(Slope), ["The calibration slope did not converge."]
    (a, b), (_, se) = fitted
    return {**_wald(b / spread, se / spread, level), "intercept": float(a - b * centre / spread)}, []


def recalibration(label: np.ndarray, log_odds: np.ndarray) -> Recalibration:
    """Logistic recalibration fitted on the given patients: {n, positives, intercept, slope, usable, reason}."""
    label, log_odds = np.asarray(label, float), np.asarray(log_odds, float)
    keep = np.isin(label, (0, 1)) & np.isfinite(log_odds)
    y, lp = label[keep], log_odds[keep]
    result: Recalibration = {
        "n": len(y),
        "positives": int(y.sum()),
        "intercept": None,
        "slope": None,
        "usable": False,
        "reason": "",
    }
    if min(y.sum(), len(y) - y.sum()) < 2:
        return result | {"reason": "Recalibration needs two patients of each class."}
    found, notes = slope(y, lp)
    if found["value"] is None:
        return result | {"reason": " ".join(notes)}
    result |= {"intercept": found["intercept"], "slope": found["value"]}
    if found["value"] <= 0:
        return result | {"reason": "The slope is not positive: recalibrating would turn the order round."}
    return result | {"usable": True}


def recalibrated(log_odds: np.ndarray, by: Recalibration) -> np.ndarray:
    """Log-odds after a ``recalibration`` that is usable."""
    a, b = by["intercept"], by["slope"]
    assert a is not None and b is not None
    return a + b * np.asarray(log_odds, float)


def groups(label: np.ndarray, probability: np.ndarray, level: float = 0.95) -> list[Group]:
    """Up to five groups of equal size by probability; equal probabilities stay together."""
    from statsmodels.stats.proportion import proportion_confint

    count = max(1, min(GROUPS, len(label) // 5))
    edges = np.unique(np.quantile(probability, np.linspace(0, 1, count + 1)[1:-1]))
    where = np.searchsorted(edges, probability, side="left")
    rows: list[Group] = []
    for k in np.unique(where):
        mine = where == k
        n, cases = int(mine.sum()), int(label[mine].sum())
        low, high = proportion_confint(cases, n, alpha=1 - level, method="wilson")
        rows.append(
            {
                "n": n,
                "positives": cases,
                "probability": float(probability[mine].mean()),
                "observed": cases / n,
                "low": float(low),
                "high": float(high),
            }
        )
    return rows


def curve(
    label: np.ndarray, probability: np.ndarray, level: float = 0.95, bootstrap: int = 500, seed: int = 0
) -> Curve:
    """Smooth curve on even steps between the smallest and the largest probability, with bootstrap interval."""
    at = np.linspace(probability.min(), probability.max(), POINTS)
    random, drawn = np.random.default_rng(seed), []
    for _ in range(bootstrap):
        pick = random.integers(0, len(label), len(label))
        if len(np.unique(probability[pick])) > 2:
            drawn.append(_smooth(label[pick], probability[pick], at))
    result: Curve = {
        "probability": at.tolist(),
        "observed": _smooth(label, probability, at).tolist(),
        "low": [None] * POINTS,
        "high": [None] * POINTS,
        "resamples": len(drawn),
    }
    if not drawn or len(drawn) < bootstrap / 2:
        return result
    low, high = np.quantile(np.stack(drawn), [(1 - level) / 2, (1 + level) / 2], axis=0)
    return result | {"low": low.tolist(), "high": high.tolist()}


def _smooth(label: np.ndarray, probability: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Lowess of the label over the probability, read at the places ``at``; clipped to [0, 1].

    Local lines with tricube weights over the nearest ``SPAN`` of the patients, as R's ``lowess(iter = 0, delta = 0)`` (Cleveland,
    J Am Stat Assoc 1979;74:829), tied probabilities included: where all neighbours are equal it is their mean. Between
    the patients' probabilities the curve runs straight, beyond them level.
    """
    order = np.argsort(probability, kind="stable")
    x, y, n = probability[order], label[order], len(label)
    values = np.unique(x)
    above = np.minimum(np.searchsorted(values, at), len(values) - 1)
    values = values[np.unique(np.concatenate([above, np.maximum(above - 1, 0)]))]  # the others are not read
    near = max(2, min(n, int(SPAN * n + 1e-7)))
    found = np.empty(len(values))
    block = max(1, 1_000_000 // n)
    for start in range(0, len(values), block):
        here = values[start : start + block, None]
        # The window of neighbours moves right while its left end is farther than the next on the right.
        stops = np.column_stack([here - x[: n - near] <= x[near:] - here, np.ones(len(here), bool)])
        left = stops.argmax(axis=1)
        width = np.maximum(here[:, 0] - x[left], x[left + near - 1] - here[:, 0])[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            away = np.abs(x - here) / width
            rest = 1 - away * away * away
            weight = np.where(away <= 0.999, rest * rest * rest, 0.0)
            # Also where the neighbourhood has no width; so nobody's is empty.
            weight[(away <= 0.001) | (x == here)] = 1
            total = weight.sum(axis=1)
            centre = weight @ x / total
            off = x - centre[:, None]
            pull = weight * off
            spread = (pull * off).sum(axis=1) / total
            flat = np.sqrt(spread) <= 0.001 * (x[-1] - x[0])
            line = np.where(flat, 0.0, (here[:, 0] - centre) / spread * (pull @ y))
        found[start : start + block] = (weight @ y + line) / total
    return np.interp(at, values, np.clip(found, 0, 1))


def _logistic(
    label: np.ndarray, design: np.ndarray, weight: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray] | None:
    """Coefficients and standard errors of a logistic regression; ``None`` without convergence."""
    import statsmodels.api as sm

    w = np.ones(len(label)) if weight is None else weight
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            model = sm.GLM(label, design, family=sm.families.Binomial(), freq_weights=w)
            fitted = model.fit(maxiter=200, tol=1e-13)
            # IRLS stops on the deviance; one more Newton step brings the coefficients to the last digits.
            p = fitted.predict(design)
            information = (design * (w * p * (1 - p))[:, None]).T @ design
            value = fitted.params + np.linalg.solve(information, design.T @ (w * (label - p)))
            bread = np.linalg.inv(information)
            scores = design * (w * (label - p))[:, None]
            se = np.sqrt(np.diag(bread if weight is None else bread @ (scores.T @ scores) @ bread))
    except (ValueError, np.linalg.LinAlgError, FloatingPointError):
        return None
    settled = np.abs(value - fitted.params).max() < 1e-4 * max(1.0, np.abs(value).max())
    return (value, se) if settled and np.isfinite(value).all() and np.isfinite(se).all() else None


def _wald(value: float, se: float, level: float) -> Estimate:
    half = quantile(level) * float(se)
    return {"value": float(value), "se": float(se), "low": float(value) - half, "high": float(value) + half}


def logit(p: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(p) - np.log1p(-p)
