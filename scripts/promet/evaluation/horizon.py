"""``promet evaluation horizon``: how good a score and a probability are at one time, when some patients leave before it.

The rule and the formulas: ``promet.evaluation.stats.horizon``; here a table goes in and one record comes out.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from promet.core.errors import UsageError
from promet.core.words import count
from promet.evaluation import tables
from promet.evaluation.stats import calibration, dynamic
from promet.evaluation.stats import horizon as rule
from promet.evaluation.stats.auc import logit_interval, quantile
from promet.study import concordance, follow_up

THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)


def horizon_file(
    path: Path,
    time: str,
    event: str,
    at: float,
    competing: str | None = None,
    probability: str | None = None,
    score: str | None = None,
    compare: list[str] | None = None,
    log_odds: str | None = None,
    thresholds: tuple[float, ...] = THRESHOLDS,
    level: float = 0.95,
) -> dict[str, Any]:
    """Everything at the horizon ``at`` of a table's columns; see ``record`` for the keys, and ``excluded``: sentences.

    ``event`` holds 0 and 1, or 0, 1 and 2 = a competing event; ``competing`` is a column of 0 and 1 for it instead, and who has
    both had the event.

    Raises:
        UsageError: E_OPTIONS, E_TIME, E_TABLE_EVENT, E_PROBABILITY, those of ``promet.evaluation.tables``.
    """
    named = [name for name in (score, *(compare or [])) if name]
    if len(set(named)) < len(named) or (compare and score is None):
        raise UsageError(
            "E_OPTIONS", "A score is named twice, or one to compare without --score", "each once"
        )
    if not 0 < at < np.inf:
        raise UsageError("E_OPTIONS", f"The horizon is {at:g}", "a time above 0, in the unit of --time")
    if wrong := [h for h in thresholds if not 0 < h < 1]:
        raise UsageError("E_OPTIONS", f"A threshold is {wrong[0]:g}", "probabilities between 0 and 1")
    table = tables.read_any(path)
    t, e = tables.numbers(table, time), _status(table, event, competing)
    if (t < 0).any() or np.isinf(t).any():
        raise UsageError("E_TIME", "A time is negative or infinite", "finite times from 0 on")
    gaps = {"a time": np.isnan(t), "an event": np.isnan(e)}
    scores = {name: tables.numbers(table, name) for name in named}
    gaps |= {f"a finite {name}": ~np.isfinite(values) for name, values in scores.items()}
    p = odds = None
    if log_odds is not None:
        odds = tables.numbers(table, log_odds)
        gaps[f"a finite {log_odds}"] = ~np.isfinite(odds)
    if probability is not None:
        p = tables.numbers(table, probability)
        if ((p < 0) | (p > 1)).any():
            raise UsageError(
                "E_PROBABILITY",
                f"Column {probability} is no probability: {p[(p < 0) | (p > 1)][0]:g}",
                "0 to 1",
                "Give a score with --score",
            )
        gaps[f"a {probability}"] = np.isnan(p)
    elif odds is not None:
        from scipy.special import expit

        p = expit(odds)
    keep = ~np.any(list(gaps.values()), axis=0)
    found = record(
        t[keep],
        e[keep],
        at,
        None if p is None else p[keep],
        {name: values[keep] for name, values in scores.items()},
        None if odds is None else odds[keep],
        thresholds,
        level,
    )
    left_out = {what: int(bad.sum()) for what, bad in gaps.items() if bad.any()}
    return {
        "excluded": [f"{count(n, 'row')} without {what} left out." for what, n in left_out.items()],
        **found,
    }


def _status(table: Any, event: str, competing: str | None) -> np.ndarray:
    """0, 1, 2 = competing, NaN = missing."""
    if competing is not None:
        status, other = tables.flags(table, event), tables.flags(table, competing)
        return np.where((status == 0) & (other == 1), 2.0, np.where(status == 1, 1.0, status + 0 * other))
    status = tables.numbers(table, event)
    if wrong := [x for x in status if not (np.isnan(x) or x in (0, 1, 2))]:
        raise UsageError(
            "E_TABLE_EVENT",
            f"Column {event} holds {wrong[0]:g}",
            "0 = followed to here without, 1 = the event, 2 = a competing event, or nothing",
        )
    return status


def record(
    time: np.ndarray,
    event: np.ndarray,
    at: float,
    probability: np.ndarray | None = None,
    scores: dict[str, np.ndarray] | None = None,
    log_odds: np.ndarray | None = None,
    thresholds: tuple[float, ...] = THRESHOLDS,
    level: float = 0.95,
) -> dict[str, Any]:
    """All figures at ``at``. Without a score the probability ranks. Arrays (n,), none missing; times in any one unit.

    Keys:
        n, tau, events_by_tau, competing_by_tau, censored_before_tau, censored_at_tau, horizon_reached.
        observed_risk, observed_se: by Kaplan-Meier (Aalen-Johansen with competing events).
        auc: {score, auc, se, low, high}: logit interval; compared: the same of the further scores;
            paired: [{a, b, difference, se, low, high, p}] with the same weights and their covariance.
        harrell_tau, harrell_pairs, uno_tau: C up to the horizon.
        brier, brier_null, brier_scaled; mean_p; EO, EO_low, EO_high, EO_log_se_greenwood (expected / observed).
        ipcw_intercept: {value, se, low, high}; ipcw_slope: with intercept; sandwich errors.
        groups: [{n, mean_p, observed, se, low, high, reached}]: thirds by probability.
        net_benefit: [{threshold, model, all, positive, sensitivity, specificity, ppv, npv}]: weighted; positive: share at or
            above the threshold.
        ici: mean distance from the smooth curve; null where the status of anyone is unknown.
        notes: sentences. What cannot be given is null.
    """
    scores = scores or ({} if probability is None else {"probability": probability})
    names = list(scores)
    result: dict[str, Any] = {
        "n": len(time),
        "tau": at,
        **_counts(time, event, at),
        "level": level,
        **dict.fromkeys(("observed_risk", "observed_se")),
        "auc": _area(None, names[0] if names else None, None, level),
        "compared": [],
        "paired": [],
        **dict.fromkeys(("harrell_tau", "harrell_pairs", "uno_tau", "brier", "brier_null", "brier_scaled")),
        "mean_p": None if probability is None or not len(time) else float(np.mean(probability)),
        **dict.fromkeys(("EO", "EO_low", "EO_high", "EO_log_se_greenwood")),
        "ipcw_intercept": dict.fromkeys(("value", "se", "low", "high")),
        "ipcw_slope": dict.fromkeys(("value", "se", "low", "high", "intercept")),
        "groups": [],
        "net_benefit": [],
        "ici": None,
        "notes": [],
    }
    who = follow_up.known(time, event, at)
    if who is None:
        result["notes"].append(f"Nobody is followed to {at:g}: nothing can be said of that time.")
        return result
    share, se = rule.observed(time, event, at)
    result |= {"observed_risk": share, "observed_se": se if np.isfinite(se) else None}
    for name, values in scores.items():
        row = _area(who, name, values, level)
        if name == names[0]:
            result["auc"] = row
        else:
            result["compared"].append(row)
        if row["auc"] is None:
            result["notes"].append(
                f"{name}: no AUC, of {int((who.weight > 0).sum())} known patients all are of one kind."
            )
    result["paired"] = [
        {"a": a, "b": b, **rule.paired(who, scores[a], scores[b], quantile(level))}
        for a, b in combinations(names, 2)
    ]
    if names:
        value, pairs = concordance.harrell(time, event, scores[names[0]], at)
        result |= {"harrell_tau": value, "harrell_pairs": pairs}
        result["uno_tau"] = concordance.uno(time, event, scores[names[0]], at)
    if probability is not None:
        _of_probability(result, who, time, event, at, probability, log_odds, thresholds, level)
    return result


def _counts(time: np.ndarray, event: np.ndarray, at: float) -> dict[str, Any]:
    early, there = follow_up.by_then(time, at), follow_up.until(time, at)
    at_it = early & there
    return {
        "events_by_tau": int(((event == 1) & early).sum()),
        "competing_by_tau": int(((event == 2) & early).sum()),
        "censored_before_tau": int(((event == 0) & ~there).sum()),
        "censored_at_tau": int(((event == 0) & at_it).sum()),
        "horizon_reached": follow_up.reached(time, at),
    }


def _area(
    who: rule.Known | None, name: str | None, values: np.ndarray | None, level: float
) -> dict[str, Any]:
    row: dict[str, Any] = {"score": name, **dict.fromkeys(("auc", "se", "low", "high"))}
    if who is None or values is None:
        return row
    row["auc"], row["se"] = rule.auc(who, values), rule.auc_se(who, values)
    if row["auc"] is not None and row["se"] and 0 < row["auc"] < 1:
        row |= logit_interval(row["auc"], row["se"], level)
    return row


def _of_probability(
    result: dict[str, Any],
    who: rule.Known,
    time: np.ndarray,
    event: np.ndarray,
    at: float,
    p: np.ndarray,
    log_odds: np.ndarray | None,
    thresholds: tuple[float, ...],
    level: float,
) -> None:
    n, share = len(time), result["observed_risk"]
    result["brier"], result["brier_null"] = rule.brier(who, p, n), rule.brier(who, share, n)
    if result["brier_null"] > 0:
        result["brier_scaled"] = 1 - result["brier"] / result["brier_null"]
    told = dynamic.calibrated(time, event, p, at, level, log_odds)
    ratio = told["expected_observed"]
    result |= {"EO": ratio["ratio"], "EO_low": ratio["low"], "EO_high": ratio["high"]}
    result |= {"EO_log_se_greenwood": ratio["log_se"]}
    result |= {"ipcw_intercept": told["intercept"], "ipcw_slope": told["slope"]}
    result["groups"] = [
        {
            "n": row["n"],
            "mean_p": row["probability"],
            **{key: row[key] for key in ("observed", "se", "low", "high")},
            "reached": row["observed"] is not None,
        }
        for row in told["groups"]
    ]
    result["net_benefit"] = [
        {
            "threshold": h,
            "model": rule.net_benefit(time, event, p, at, h),
            "all": rule.treat_all(time, event, at, h),
            "positive": float((p >= h).mean()),
            **rule.accuracy(who, p >= h),
        }
        for h in thresholds
    ]
    if (who.weight > 0).all():
        result["ici"] = calibration.record(who.case.astype(float), p, log_odds, level, 0)["ici"]
    else:
        unknown = int((who.weight == 0).sum())
        result["notes"].append(
            f"No smooth calibration curve: the status of {count(unknown, 'patient')} at {at:g} is unknown."
        )
    result["notes"] += told["notes"]
