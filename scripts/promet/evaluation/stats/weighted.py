"""What ``auc``, ``calibration`` and ``decision`` tell, of an event by a horizon that some patients left before.

The same forms (study.forms.metrics), by the one rule of ``promet.evaluation.stats.horizon``. Where nobody left before the horizon every
weight is 1, and the functions for a label give the same estimates with more about them: the caller uses those.
``time``, ``event`` (n,) as there, none missing; a score or probability may be missing (NaN).
"""

from __future__ import annotations

import math

import numpy as np

from promet.core.words import count
from promet.evaluation.stats import dynamic, horizon
from promet.evaluation.stats.auc import clean, logit_interval, quantile, wald
from promet.evaluation.stats.decision import STEPS
from promet.study import follow_up
from promet.study.follow_up import Known
from promet.study.forms.metrics import (
    Calibration,
    Decision,
    Delong,
    Estimate,
    Interval,
    MannWhitney,
    Paired,
    Ratio,
    Record,
    Roc,
    Slope,
    Youden,
    empty,
)


def unknown(time: np.ndarray, event: np.ndarray, at: float) -> int:
    """How many left before the horizon: neither with nor without the event. All of them where it is not reached."""
    return int(((event == 0) & ~follow_up.until(time, at)).sum())


def not_reached(at: float) -> str:
    """The sentence for a horizon that nobody is followed to."""
    return f"Nobody is followed to {at:g} months: nothing can be said of that time."


def _known(
    time: np.ndarray, event: np.ndarray, at: float, score: np.ndarray
) -> tuple[Known | None, np.ndarray, int, list[str]]:
    """Who is what among those with a score, where they stand, how many have none, notes."""
    _, _, missing, notes = clean(np.zeros(len(score)), score)
    there = ~np.isnan(score)
    who = follow_up.known(time[there], event[there], at) if there.any() else None
    if who is None:
        notes.append(not_reached(at))
    return who, there, missing, notes


def record(
    time: np.ndarray,
    event: np.ndarray,
    at: float,
    score: np.ndarray,
    level: float = 0.95,
    bootstrap: int = 2000,
    seed: int = 0,
) -> Record:
    """One score, as ``auc.record``: AUC weighted; delong: its error with weights taken as known; bootstrap: over patients.

    positives, negatives: known to be with and without. No Mann-Whitney test and no Hanley-McNeil error: they are of labels.
    """
    score = np.asarray(score, float)
    who, there, missing, notes = _known(time, event, at, score)
    case, control = (0, 0) if who is None else (int(who.case.sum()), int(who.control.sum()))
    result: Record = {
        "n": case + control,
        "positives": case,
        "negatives": control,
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
    if who is None:
        return result
    if not (case and control):
        notes.append(
            f"All {case + control} known at {at:g} months are {'with' if case else 'without'} the event."
        )
        return result
    s = score[there]
    result["auc"] = area = horizon.auc(who, s)
    result["roc"] = roc(who, s)
    if s.min() == s.max():
        notes.append("The score is the same for everyone: the AUC is 0.5 by definition, without interval.")
        return result
    result["youden"] = youden(result["roc"])
    se = horizon.auc_se(who, s)
    if area is None or se is None or not 0 < area < 1 or se < 1e-12:
        notes.append("No interval: a class has one patient, or the score separates them perfectly.")
        return result
    result["delong"] = wald(area, se, level)
    result["logit"] = logit_interval(area, se, level)
    result["bootstrap"] |= _resampled(time[there], event[there], at, s, level, bootstrap, seed)
    return result


def _resampled(
    time: np.ndarray,
    event: np.ndarray,
    at: float,
    score: np.ndarray,
    level: float,
    resamples: int,
    seed: int,
) -> Interval:
    """Percentile interval of the AUC, weights and all made anew in each resample; none where a fifth of them has none."""
    random, found = np.random.default_rng(seed), []
    for _ in range(resamples):
        pick = random.integers(0, len(time), len(time))
        who = follow_up.known(time[pick], event[pick], at)
        value = None if who is None else horizon.auc(who, score[pick])
        if value is not None:
            found.append(value)
    if len(found) < 0.8 * resamples:
        return {"low": None, "high": None}
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return {"low": float(low), "high": float(high)}


def roc(who: Known, score: np.ndarray) -> Roc:
    """Weighted corners, as ``auc.roc``."""
    thresholds, where = np.unique(score, return_inverse=True)
    hits, alarms = (
        np.bincount(where, weights=who.weight * kind, minlength=len(thresholds))[::-1].cumsum()
        for kind in (who.case, who.control)
    )
    return {
        "fpr": [0.0, *(alarms / alarms[-1]).tolist()],
        "tpr": [0.0, *(hits / hits[-1]).tolist()],
        "threshold": [None, *thresholds[::-1].tolist()],
    }


def youden(curve: Roc) -> Youden:
    """As ``auc.youden``, of a curve."""
    j = np.array(curve["tpr"][1:], float) - np.array(curve["fpr"][1:], float)
    best = int(np.flatnonzero(j >= j.max() - 1e-12)[0]) + 1
    return {
        "j": float(j.max()),
        "threshold": curve["threshold"][best],
        "sensitivity": curve["tpr"][best],
        "specificity": 1 - curve["fpr"][best],
    }


def paired(
    time: np.ndarray, event: np.ndarray, at: float, a: np.ndarray, b: np.ndarray, level: float = 0.95
) -> Paired:
    """Two scores of the same patients, as ``auc.paired``: the same weights, with their covariance."""
    a, b = (np.asarray(x, float) for x in (a, b))
    who, there, missing, notes = _known(time, event, at, np.where(np.isnan(a) | np.isnan(b), np.nan, 0.0))
    result: Paired = {
        "n": 0 if who is None else int((who.weight > 0).sum()),
        "positives": 0 if who is None else int(who.case.sum()),
        "negatives": 0 if who is None else int(who.control.sum()),
        "missing": missing,
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
    if who is None or not (who.case.any() and who.control.any()):
        return result
    a, b = a[there], b[there]
    one, other = horizon.auc(who, a), horizon.auc(who, b)
    found = horizon.paired(who, a, b, quantile(level))
    difference, se, low, high = (found[key] for key in ("difference", "se", "low", "high"))
    if difference is None and one is not None and other is not None:
        difference = one - other
    result |= {"auc_a": one, "auc_b": other, "difference": difference, "se": se, "p": found["p"]}
    if low is not None and high is not None and difference is not None and se is not None:
        result |= {"low": max(-1.0, low), "high": min(1.0, high), "z": difference / se}
    return result


def calibration(
    time: np.ndarray,
    event: np.ndarray,
    at: float,
    probability: np.ndarray,
    log_odds: np.ndarray,
    level: float = 0.95,
    bootstrap: int = 500,
) -> Calibration:
    """One model's probabilities, as ``calibration.record``: observed by Kaplan-Meier or Aalen-Johansen; thirds.

    No smooth curve and no index of it: they would need everyone's status.
    """
    who, there, missing, notes = _known(time, event, at, np.asarray(probability, float))
    result: Calibration = {
        "n": int(there.sum()),
        "positives": 0 if who is None else int(who.case.sum()),
        "negatives": 0 if who is None else int(who.control.sum()),
        "missing": missing,
        "mean_probability": float(np.mean(probability[there])) if there.any() else None,
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
    if who is None:
        return result
    t, e, p = time[there], event[there], np.asarray(probability, float)[there]
    told = dynamic.calibrated(t, e, p, at, level, np.asarray(log_odds, float)[there])
    value, reference = (horizon.brier(who, x, len(t)) for x in (p, told["observed"]))
    ratio = told["expected_observed"]
    result |= {
        "observed": told["observed"],
        "expected_observed": {"ratio": ratio["ratio"], "low": ratio["low"], "high": ratio["high"]},
        "intercept": told["intercept"],
        "slope": told["slope"],
        "brier": value,
        "brier_scaled": 1 - value / reference if reference > 0 else None,
        "groups": [
            {
                "n": row["n"],
                "positives": n,
                "probability": row["probability"],
                "observed": row["observed"],
                "low": row["low"],
                "high": row["high"],
            }
            for row, n in zip(told["groups"], _events(t, e, p, at), strict=True)
            if row["observed"] is not None
        ],
    }
    notes += told["notes"]
    if lost := sum(row["observed"] is None for row in told["groups"]):
        notes.append(f"Nobody of {count(lost, 'group')} is followed to {at:g} months: not shown.")
    left = count(int((who.weight == 0).sum()), "patient")
    notes.append(f"No smooth calibration curve: the status of {left} at {at:g} months is unknown.")
    return result


def _events(time: np.ndarray, event: np.ndarray, p: np.ndarray, at: float) -> list[int]:
    """Events by the horizon in each third, in the order of ``horizon.groups``."""
    edges = np.quantile(p, [k / horizon.GROUPS for k in range(1, horizon.GROUPS)])
    where = np.searchsorted(edges, p, side="left")
    case = (event == 1) & follow_up.by_then(time, at)
    return [int(case[where == k].sum()) for k in np.unique(where)]


def decision(
    time: np.ndarray,
    event: np.ndarray,
    at: float,
    models: dict[str, np.ndarray],
    thresholds: tuple[float, ...] = STEPS,
) -> Decision:
    """Net benefit of each model, as ``decision.curves``, from the risk by the horizon among those acted upon.

    It is null at a threshold where nobody of those is followed to the horizon.
    """
    stacked = np.column_stack([np.asarray(p, float) for p in models.values()])
    gaps = np.where(np.isnan(stacked).any(axis=1), np.nan, 0.0)
    who, there, missing, notes = _known(time, event, at, gaps)
    result: Decision = {
        "n": int(there.sum()),
        "positives": 0 if who is None else int(who.case.sum()),
        "negatives": 0 if who is None else int(who.control.sum()),
        "missing": missing,
        "thresholds": list(thresholds),
        "treat_all": [],
        "treat_none": [],
        "models": {
            name: {"net_benefit": [], "better_from": None, "better_to": None, "better_steps": None}
            for name in models
        },
        "notes": notes,
    }
    if who is None:
        return result
    t, e = time[there], event[there]
    share, _ = horizon.observed(t, e, at)
    everyone = [share - (1 - share) * h / (1 - h) for h in thresholds]
    result |= {"treat_all": everyone, "treat_none": [0.0] * len(thresholds)}
    best = np.maximum(everyone, 0.0)
    for k, name in enumerate(models):
        mine = [horizon.net_benefit(t, e, stacked[there, k], at, h) for h in thresholds]
        worth = np.array([math.nan if x is None else x for x in mine])
        above = np.array(thresholds)[worth > best + 1e-12]
        result["models"][name] = {
            "net_benefit": mine,
            "better_from": float(above.min()) if len(above) else None,
            "better_to": float(above.max()) if len(above) else None,
            "better_steps": len(above),
        }
    return result
