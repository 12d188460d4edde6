"""How many patients a prediction model needs, to be developed and to be validated.

Development: Riley et al., BMJ 2020;368:m441 (criteria of Stat Med 2019;38:1262 and 1276), as R's pmsampsize. Validation: Riley et
al., Stat Med 2021;40:4230, as R's pmvalsampsize, with integrals instead of simulated patients. Shares, R² and C are between
0 and 1; follow-up, time point and rate in one unit of time. Each count is rounded up.

The formulas hold for a regression with so many parameters, such as the fusion. For a network of a million weights there is none:
for it they are a lower bound.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm

from promet.core.errors import UsageError

Z = 1.96
SHRINKAGE = 0.9  # of the coefficients at most a tenth
OPTIMISM = 0.05  # apparent minus true R² (Nagelkerke)
MARGIN = 0.05  # of the overall risk
WHOLE = 10_000  # patients of whom pmsampsize takes whole events for the largest possible R²
GRID = 4001  # points of an integral over +-8 standard deviations


def development(
    parameters: int, prevalence: float, r2: float | None = None, c: float | None = None
) -> dict[str, Any]:
    """Patients for a model of a binary outcome.

    Args:
        parameters: of the regression; r2: Cox-Snell R² that is expected, or the AUC ``c`` from which it follows.

    Returns:
        r2, max_r2; n: {shrinkage, optimism, risk}; final; events; epp (events per parameter).
    """
    _share(prevalence=prevalence)
    if c is not None and r2 is None:
        r2 = r2_from_c(c, prevalence)
    likelihood = prevalence * math.log(prevalence) + (1 - prevalence) * math.log(1 - prevalence)
    found, n = _fitted(parameters, r2, likelihood)
    n["risk"] = math.ceil((Z / MARGIN) ** 2 * prevalence * (1 - prevalence))
    final = max(n.values())
    events = final * prevalence
    return {
        **found,
        "n": n,
        "final": final,
        "events": math.ceil(events),
        "epp": round(events / parameters, 2),
    }


def survival(
    parameters: int, rate: float, followup: float, timepoint: float, r2: float | None
) -> dict[str, Any]:
    """Patients for a model of the time to an event.

    Args:
        rate: events per patient and unit of time; followup: mean; timepoint: at which the risk is told; r2: Cox-Snell.

    Returns:
        r2, max_r2; n: {shrinkage, optimism, risk}; final; events; epp; risk, risk_low, risk_high: at the time point, with the
        interval that so many patients give.
    """
    for name, value in (("--rate", rate), ("--followup", followup), ("--timepoint", timepoint)):
        if not 0 < value < math.inf:
            raise UsageError("E_OPTIONS", f"{name} is {value:g}", "a number above 0")
    expected = rate * followup
    each = math.ceil(round(expected * WHOLE, 6)) / WHOLE
    found, n = _fitted(parameters, r2, each * math.log(each) - each)
    final = n["risk"] = max(n.values())
    se = math.sqrt(rate / (final * followup))
    low, risk, high = (1 - math.exp(-timepoint * x) for x in (rate - Z * se, rate, rate + Z * se))
    return {
        **found,
        "n": n,
        "final": final,
        "events": math.ceil(final * expected),
        "epp": round(final * expected / parameters, 2),
        "risk": risk,
        "risk_low": low,
        "risk_high": high,
    }


def _fitted(parameters: int, r2: float | None, likelihood: float) -> tuple[dict[str, Any], dict[str, int]]:
    """R² and its maximum; n for little shrinkage and for little optimism. ``likelihood``: log, of no model, per patient."""
    highest = 1 - math.exp(2 * likelihood)
    if parameters < 1:
        raise UsageError("E_OPTIONS", f"--parameters is {parameters}", "1 or more")
    if r2 is None or not 0 < r2 < highest:
        raise UsageError(
            "E_OPTIONS",
            "No R² is given" if r2 is None else f"The R² is {r2:g}",
            f"a Cox-Snell R² above 0 and below {highest:.3f}, which is its maximum here (--r2)",
        )

    def needed(shrinkage: float) -> int:
        return math.ceil(parameters / ((shrinkage - 1) * math.log(1 - r2 / shrinkage)))

    return {"parameters": parameters, "r2": r2, "max_r2": highest}, {
        "shrinkage": needed(SHRINKAGE),
        "optimism": needed(r2 / (r2 + OPTIMISM * highest)),
    }


def r2_from_c(c: float, prevalence: float) -> float:
    """Cox-Snell R² of a score with this AUC, normal with one spread in both classes (Riley et al., Stat Med 2021;40:859)."""
    _share(prevalence=prevalence, c=c)
    odds, weight = _binormal(c, prevalence)
    p = expit(odds)
    with np.errstate(divide="ignore", invalid="ignore"):
        each = np.where((p > 0) & (p < 1), p * np.log(p) + (1 - p) * np.log1p(-p), 0.0)
    none = prevalence * math.log(prevalence) + (1 - prevalence) * math.log(1 - prevalence)
    return float(1 - math.exp(2 * (none - (weight * each).sum())))


def validation(
    prevalence: float,
    c: float,
    lp_mean: float | None = None,
    lp_sd: float | None = None,
    oe_width: float = 0.2,
    slope_width: float = 0.2,
    c_width: float = 0.1,
    sensitivity: float | None = None,
    specificity: float | None = None,
    threshold: float | None = None,
    oe_se: float | None = None,
) -> dict[str, Any]:
    """Patients to validate a model of a binary outcome, so that the 95 % intervals are no wider than asked.

    Args:
        c: AUC that is expected; lp_mean, lp_sd: of the log-odds, normal; without them those of a binormal score with this C.
        oe_width, slope_width, c_width: of observed / expected, calibration slope, C; oe_se: standard error of
            log(observed / expected) in place of its width.
        sensitivity, specificity, threshold: all three for the standardised net benefit (interval 0.2 wide).

    Returns:
        n: {oe, slope, c, net_benefit (None without the three)}; final; events.
    """
    _share(prevalence=prevalence, c=c)
    if (lp_mean is None) != (lp_sd is None):
        raise UsageError(
            "E_OPTIONS", "Mean and spread of the log-odds belong together", "--lp-mean and --lp-sd"
        )
    acting = (sensitivity, specificity, threshold)
    if len({x is None for x in acting}) > 1:
        raise UsageError(
            "E_OPTIONS",
            "Net benefit needs three values",
            "--sensitivity, --specificity and --threshold, or none of them",
        )
    for name, width in (("oe", oe_width), ("slope", slope_width), ("c", c_width), ("oe se", oe_se)):
        if width is not None and not 0 < width < math.inf:
            raise UsageError("E_OPTIONS", f"The width of {name} is {width:g}", "a number above 0")
    if lp_sd is None:
        odds, weight = _binormal(c, prevalence)
    else:
        odds, weight = _grid(float(lp_mean or 0), float(lp_sd))
    se_oe = math.asinh(oe_width / 2) / Z if oe_se is None else oe_se
    n: dict[str, int | None] = {
        "oe": math.ceil((1 - prevalence) / (prevalence * se_oe**2)),
        "slope": _slope(odds, weight, slope_width / (2 * Z)),
        "c": _area(c, prevalence, c_width),
        "net_benefit": None,
    }
    if sensitivity is not None and specificity is not None and threshold is not None:
        _share(sensitivity=sensitivity, specificity=specificity, threshold=threshold)
        n["net_benefit"] = _benefit(prevalence, sensitivity, specificity, threshold, 0.2 / (2 * Z))
    final = max(x for x in n.values() if x is not None)
    return {"n": n, "final": final, "events": math.ceil(final * prevalence)}


def _slope(odds: np.ndarray, weight: np.ndarray, se: float) -> int:
    """By the information of a logistic regression on the log-odds."""
    p = expit(odds)
    a, b, d = ((weight * odds**k * p * (1 - p)).sum() for k in (0, 1, 2))
    return math.ceil(a / (se**2 * (a * d - b * b)))


def _area(c: float, prevalence: float, width: float) -> int:
    """Smallest n whose interval of C is narrow enough (Newcombe, Stat Med 2006;25:559, method 4)."""
    n = np.arange(2, 10_000_001, dtype=float)
    inside = 1 + (n / 2 - 1) * ((1 - c) / (2 - c) + c / (1 + c))
    wide = 2 * Z * np.sqrt(c * (1 - c) * inside / (n**2 * prevalence * (1 - prevalence)))
    enough = wide <= width
    if not enough.any():
        raise UsageError(
            "E_OPTIONS", f"C to {width:g} takes more than ten million patients", "a wider interval"
        )
    return int(n[int(np.argmax(enough))])


def _benefit(prevalence: float, sensitivity: float, specificity: float, threshold: float, se: float) -> int:
    w = (1 - prevalence) / prevalence * threshold / (1 - threshold)
    total = sensitivity * (1 - sensitivity) / prevalence
    total += w**2 * specificity * (1 - specificity) / (1 - prevalence)
    total += w**2 * (1 - specificity) ** 2 / (prevalence * (1 - prevalence))
    return math.ceil(total / se**2)


def _grid(mean: float, sd: float) -> tuple[np.ndarray, np.ndarray]:
    """Points and weights of a normal distribution."""
    if not 0 < sd < math.inf:
        raise UsageError("E_OPTIONS", f"The spread of the log-odds is {sd:g}", "a number above 0")
    x = np.linspace(-8, 8, GRID)
    weight = norm.pdf(x)
    return mean + sd * x, weight / weight.sum()


def _binormal(c: float, prevalence: float) -> tuple[np.ndarray, np.ndarray]:
    """Log-odds and weights of both classes together: a score N(0, 1) without and N(m, 1) with the outcome has AUC c."""
    m = math.sqrt(2) * float(norm.ppf(c))
    x, weight = _grid(0, 1)
    odds = logit(prevalence) - m * m / 2 + m * np.concatenate([x, x + m])
    return odds, np.concatenate([(1 - prevalence) * weight, prevalence * weight])


def _share(**values: float) -> None:
    for name, value in values.items():
        low = 0.5 if name == "c" else 0
        if not low < value < 1:
            raise UsageError("E_OPTIONS", f"--{name} is {value:g}", f"a number between {low:g} and 1")
