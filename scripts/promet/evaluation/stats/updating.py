"""Closed test of model updating: how much of a locked model a new hospital's patients ask to be changed.

The model's log-odds are a constant plus additive parts f_j (a missing input adds 0). The candidates, each within the next:

    keep       a0 + sum f_j
    intercept  a + sum f_j
    slope      a + b sum f_j
    revision   a + sum b_j f_j

Tested against ``revision`` in this order; the first that does not fit significantly worse is chosen (Vergouwe et al., Stat Med
2017;36:4529). By a horizon under censoring the likelihood is weighted, and Wald tests with the sandwich take the place of likelihood
ratios. Caps hold whatever the tests say: few patients of the rarer class cannot carry more parameters.
"""

from __future__ import annotations

from typing import TypedDict

import numpy as np
from scipy import stats

METHODS = ("keep", "intercept", "slope", "revision")
KEEP_BELOW, INTERCEPT_BELOW, PER_PARAMETER = 10, 20, 10  # of the rarer class


class Fitted(TypedDict):
    """One candidate."""

    coefficients: list[float]  # keep: []; intercept: [a]; slope: [a, b]; revision: [a, b_1, ..., b_p]
    log_likelihood: float


class Test(TypedDict):
    """A candidate against the revision."""

    statistic: float
    df: int
    p: float


class Update(TypedDict):
    """The closed test."""

    n: int  # with known status
    events: int
    fits: dict[str, Fitted]  # by METHODS, those that could be fitted
    tests: dict[str, Test]  # keep, intercept, slope
    test_kind: str  # likelihood ratio | Wald, sandwich
    tested: str | None  # what the tests alone would choose; null where revision cannot be fitted
    largest: str  # what so many patients allow
    cap: (
        str | None
    )  # what lowered the choice: few | some | parameters | slope (not above 0) | not_fitted (the revision)
    choice: str


def closed_test(
    label: np.ndarray,
    parts: np.ndarray,
    constant: float,
    weight: np.ndarray | None = None,
    level: float = 0.05,
) -> Update:
    """Choose among METHODS.

    Args:
        label: (n,) 0 or 1.
        parts: (n, p) additive parts of the log-odds, finite, missing inputs 0.
        constant: a0.
        weight: (n,) inverse probability of being known; none: every weight is 1, and tests are likelihood ratios.

    Raises:
        ValueError: shapes that do not agree, or values that are not finite.
    """
    y, f = np.asarray(label, float), np.asarray(parts, float)
    if f.ndim != 2 or y.shape != (len(f),) or not np.isfinite(f).all() or not np.isin(y, (0, 1)).all():
        raise ValueError("label (n,) of 0 and 1, parts (n, p) finite")
    w = np.ones(len(y)) if weight is None else np.asarray(weight, float)
    y, f, w = y[w > 0], f[w > 0], w[w > 0]
    n, events, p = len(y), int(y.sum()), f.shape[1]
    total, one = f.sum(1), np.ones((len(y), 1))
    fits: dict[str, Fitted] = {
        "keep": {"coefficients": [], "log_likelihood": _likelihood(y, constant + total, w)}
    }
    designs = {
        "intercept": (one, total),
        "slope": (np.column_stack([one, total]), np.zeros(n)),
        "revision": (np.column_stack([one, f]), np.zeros(n)),
    }
    for name, (design, offset) in designs.items():
        beta = fitted(y, design, offset, w) if 0 < events < n else None
        if beta is not None:
            fits[name] = {
                "coefficients": beta.tolist(),
                "log_likelihood": _likelihood(y, design @ beta + offset, w),
            }
    tests: dict[str, Test] = {}
    tested = None
    if "revision" in fits:
        beta, covariance = np.array(fits["revision"]["coefficients"]), None
        if weight is not None:
            covariance = _sandwich(y, designs["revision"][0], beta, w)
        for name, df in (("keep", p + 1), ("intercept", p), ("slope", p - 1)):
            if name not in fits or df < 1:
                continue
            statistic = (
                2 * (fits["revision"]["log_likelihood"] - fits[name]["log_likelihood"])
                if covariance is None
                else _wald(name, beta, covariance, constant)
            )
            tests[name] = {"statistic": statistic, "df": df, "p": float(stats.chi2.sf(statistic, df))}
        tested = next((name for name, test in tests.items() if test["p"] >= level), "revision")
    largest, why = _largest(min(events, n - events), p)
    choice, cap = tested or "keep", None if tested else "few" if largest == "keep" else "not_fitted"
    if METHODS.index(choice) > METHODS.index(largest):
        choice, cap = largest, why
    if choice == "slope" and fits["slope"]["coefficients"][1] <= 0:
        choice, cap = "intercept", "slope"
    return {
        "n": n,
        "events": events,
        "fits": fits,
        "tests": tests,
        "test_kind": "likelihood ratio" if weight is None else "Wald, sandwich",
        "tested": tested,
        "largest": largest,
        "cap": cap,
        "choice": choice,
    }


def _largest(rarer: int, p: int) -> tuple[str, str | None]:
    """The largest change that ``rarer`` patients of the rarer class allow, and the cap's code."""
    if rarer < KEEP_BELOW:
        return "keep", "few"
    if rarer < INTERCEPT_BELOW:
        return "intercept", "some"
    return ("slope", "parameters") if rarer < PER_PARAMETER * (p + 1) else ("revision", None)


def fitted(y: np.ndarray, design: np.ndarray, offset: np.ndarray, w: np.ndarray) -> np.ndarray | None:
    """Weighted logistic regression by Newton steps; null where it does not exist (separated, collinear)."""
    beta = np.zeros(design.shape[1])
    for _ in range(50):
        eta = design @ beta + offset
        p = _expit(eta)
        gradient = design.T @ (w * (y - p))
        curvature = (design * (w * p * (1 - p))[:, None]).T @ design
        try:
            step = np.linalg.solve(curvature, gradient)
        except np.linalg.LinAlgError:
            return None
        now, share = _likelihood(y, eta, w), 1.0
        while share > 1e-6 and _likelihood(y, design @ (beta + share * step) + offset, w) < now - 1e-12:
            share /= 2
        beta = beta + share * step
        if np.abs(step).max() < 1e-11 * (1 + np.abs(beta).max()):
            return beta if np.abs(design @ beta + offset).max() < 500 else None
    return None


def _expit(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -700, 700)))


def _likelihood(y: np.ndarray, eta: np.ndarray, w: np.ndarray) -> float:
    return float(np.sum(w * (y * eta - np.logaddexp(0, eta))))


def _sandwich(y: np.ndarray, design: np.ndarray, beta: np.ndarray, w: np.ndarray) -> np.ndarray:
    p = _expit(design @ beta)
    bread = np.linalg.inv((design * (w * p * (1 - p))[:, None]).T @ design)
    scores = design * (w * (y - p))[:, None]
    return bread @ (scores.T @ scores) @ bread


def _wald(name: str, beta: np.ndarray, covariance: np.ndarray, constant: float) -> float:
    """The hypothesis of a smaller candidate as linear constraints C beta = d on the revision's coefficients."""
    p = len(beta) - 1
    slopes = np.column_stack([np.zeros(p), np.eye(p)])
    if name == "keep":
        matrix, target = np.eye(p + 1), np.array([constant, *np.ones(p)])
    elif name == "intercept":
        matrix, target = slopes, np.ones(p)
    else:  # all slopes are equal
        matrix, target = slopes[1:] - slopes[:1], np.zeros(p - 1)
    off = matrix @ beta - target
    return float(off @ np.linalg.solve(matrix @ covariance @ matrix.T, off))
