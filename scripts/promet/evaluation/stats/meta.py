"""Random-effects pooling of one estimate per hospital, for few hospitals.

Between-site variance by restricted maximum likelihood (REML); interval by Hartung & Knapp (Stat Med 2001;20:3875) with the factor
never below 1, as Röver et al. advise for few studies of unequal precision (BMC Med Res Methodol 2015;15:99); prediction interval
with k - 2 degrees of freedom (Higgins et al., J R Stat Soc A 2009;172:137). Two estimates are never pooled to an interval: with one
degree of freedom it says nothing. Agrees with R's metafor.
"""

from __future__ import annotations

import math
from typing import TypedDict

import numpy as np
from scipy import optimize, stats


class Span(TypedDict):
    """An interval; both ends are null where there is none."""

    low: float | None
    high: float | None


class Pooled(TypedDict):
    """Random-effects summary on the scale of the values."""

    k: int  # how many sites
    mean: float | None
    se: float | None  # of Hartung and Knapp, the factor not below 1
    df: int
    low: float | None  # null below three sites
    high: float | None
    prediction: Span  # where the next site's value is expected; null below three sites
    tau2: float | None  # between-site variance; null for one site
    i2: float | None  # per cent of the variance that is between sites
    q: float | None  # Cochran's Q
    q_p: float | None


def pooled(values: np.ndarray, errors: np.ndarray, level: float = 0.95) -> Pooled:
    """Pool the sites' ``values`` (k,) with standard ``errors`` (k,), each finite, errors above 0.

    Of two sites mean, tau2 and heterogeneity are given without an interval; of one its own value and normal interval.

    Raises:
        ValueError: no value, another number of errors, or an error that is not above 0.
    """
    y, v = np.asarray(values, float), np.asarray(errors, float) ** 2
    if (
        not len(y)
        or y.shape != v.shape
        or not (np.isfinite(y).all() and np.isfinite(v).all() and (v > 0).all())
    ):
        raise ValueError("values and standard errors above 0, one each per site")
    k = len(y)
    result: Pooled = {
        "k": k,
        "mean": float(y[0]),
        "se": math.sqrt(v[0]),
        "df": k - 1,
        "low": None,
        "high": None,
        "prediction": {"low": None, "high": None},
        "tau2": None,
        "i2": None,
        "q": None,
        "q_p": None,
    }
    if k == 1:
        half = float(stats.norm.ppf((1 + level) / 2)) * math.sqrt(v[0])
        return result | {"low": float(y[0]) - half, "high": float(y[0]) + half}
    tau2 = reml(y, v)
    w = 1 / (v + tau2)
    mean = float(np.sum(w * y) / np.sum(w))
    factor = max(1.0, float(np.sum(w * (y - mean) ** 2)) / (k - 1))
    se = math.sqrt(factor / np.sum(w))
    fixed = 1 / v
    q = float(np.sum(fixed * (y - np.sum(fixed * y) / np.sum(fixed)) ** 2))
    typical = (k - 1) * np.sum(fixed) / (np.sum(fixed) ** 2 - np.sum(fixed**2))
    result |= {
        "mean": mean,
        "se": se,
        "tau2": tau2,
        "i2": float(100 * tau2 / (tau2 + typical)),
        "q": q,
        "q_p": float(stats.chi2.sf(q, k - 1)),
    }
    if k > 2:
        half = float(stats.t.ppf((1 + level) / 2, k - 1)) * se
        wide = float(stats.t.ppf((1 + level) / 2, k - 2)) * math.sqrt(tau2 + se**2)
        result |= {"low": mean - half, "high": mean + half}
        result["prediction"] = {"low": mean - wide, "high": mean + wide}
    return result


def reml(y: np.ndarray, v: np.ndarray) -> float:
    """Between-site variance (>= 0) that maximises the restricted likelihood of ``y`` (k,) with variances ``v`` (k,)."""

    def loss(tau2: float) -> float:
        w = 1 / (v + tau2)
        mean = np.sum(w * y) / np.sum(w)
        return float(np.sum(w * (y - mean) ** 2) - np.sum(np.log(w)) + np.log(np.sum(w))) / 2

    def slope(tau2: float | np.ndarray) -> np.ndarray:
        w = 1 / (v + np.reshape(tau2, (-1, 1)))
        total = w.sum(1)
        mean = (w @ y) / total
        return (total - (w**2).sum(1) / total - ((w * (y - mean[:, None])) ** 2).sum(1)) / 2

    # The likelihood may have two peaks: every change of sign of its slope is looked at.
    grid = np.concatenate([[0.0], np.geomspace(1e-6, 1e3, 200) * max(float(np.var(y)), float(v.min()))])
    slopes = slope(grid)
    peaks = [0.0] + [
        float(optimize.brentq(lambda x: slope(x)[0], a, b, xtol=1e-14, rtol=1e-13))
        for a, b, at_a, at_b in zip(grid, grid[1:], slopes, slopes[1:], strict=False)
        if at_a < 0 < at_b
    ]
    return min(peaks, key=loss)


def heterogeneity(values: np.ndarray, errors: np.ndarray) -> tuple[float, int, float]:
    """Cochran's Q of ``values`` (k,) with standard ``errors`` (k,), its degrees of freedom k - 1, and p."""
    y, w = np.asarray(values, float), np.asarray(errors, float) ** -2.0
    q = float(np.sum(w * (y - np.sum(w * y) / np.sum(w)) ** 2))
    return q, len(y) - 1, float(stats.chi2.sf(q, len(y) - 1))
