"""Kaplan-Meier, log-rank, Cox and C-index of a score; the survive stage.

survival.json (written by ``survive``), every key always present, ``null`` = cannot be given and a note says why::

    schema: 1
    status: "ok" | "skipped"        skipped: everything below ``reason`` except score, horizon_months is null or empty
    reason: sentence, "" when ok
    score: "multimodal"             the score; higher = more risk
    name, part, words: which outcome of outcome.evaluate, in whom, and what it is called
    horizon_months: 48.0            follow-up is cut here: later events and times count as event-free up to here
    confidence: 0.95
    n, events, competing: patients analysed, who had the event, and who another one that makes it impossible
    follow_up: {median, low, high}  by the reverse Kaplan-Meier method, not cut at the horizon
    excluded: [sentence, ...]       who is not analysed and why, with counts
    cuts: {"tertiles": CUT, "median": CUT}
    cox: {hazard_ratio, low, high, p, sd, n, events}      per standard deviation sd of the score; null values if not estimable
    proportional: {p, sentence}     whether the hazard ratio is one number over time
    concordance: Harrell's C (0.5 = chance, higher score = earlier event) or null; concordance_interval: {low, high}, bootstrap
    dynamic: DYNAMIC | null         AUC over time, Uno's C, Brier score; the follow-up as given, not cut at the horizon
    also: {NAME: the same}          the other outcomes over time
    notes: [sentence, ...]          about cox, concordance, few events

    DYNAMIC: see promet.evaluation.stats.dynamic.record: horizon, auc [{time, auc, low, high, se, logit, cases, controls}], uno
             {value, low, high}, brier {time, value, reference, scaled}, calibration, resamples, seed, censoring, competing
             (sentences), notes

    CUT: thresholds: [t, ...]       quantiles of these patients' own score; group k: t[k-1] < score <= t[k]
         groups: [GROUP, ...]       lowest score first
         logrank, gray: {statistic, df, p}       over all groups: Gray's test where another event competes, else log-rank;
                                                 trend: log-rank for ordered groups; null values if not possible
         notes: [sentence, ...]

    GROUP: name: "low" | "middle" | "high"
           n, events
           median, median_low, median_high: time until half have progressed, its interval; null = not reached
           curve: {time, survival, low, high}    equally long lists starting at time 0 with survival 1, then every time at
                                                 which somebody's follow-up ends (0 again if it is one); a step function:
                                                 survival[k] holds from time[k] to time[k+1] ("post" steps);
                                                 low/high = pointwise log(-log) interval, null where survival is 1 or 0
           censored: {time, survival}            where to draw the ticks
           at_risk: {time, n, survival, low, high}    the same times in every group; n = patients with time >= that; the
                                                 curve and its interval there, null where nobody is at risk any more
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from promet.core.sidecar import Sidecar
from promet.core.stage import Outcome, run_stage
from promet.core.words import count
from promet.evaluation.settings import Evaluation
from promet.evaluation.stats import dynamic, over_time, product_limit
from promet.evaluation.stats.gray import gray
from promet.study.concordance import harrell
from promet.study.follow_up import settled
from promet.study.forms import shapes
from promet.study.forms.survival import FILE as PRODUCT
from promet.study.forms.survival import Survival
from promet.study.forms.tables import MULTIMODAL, PREDICTIONS
from promet.study.outcome import METACHRONOUS, PAPER, ByHorizon, status
from promet.study.outcome import Outcome as Outcomes
from promet.study.table import by_patient

NAMES = {1: ["all"], 2: ["low", "high"], 3: ["low", "middle", "high"]}
DYNAMIC_RESAMPLES = 500  # of the intervals over time, at most
FEW = 10  # events below which every figure is called descriptive


def kaplan_meier(time: np.ndarray, event: np.ndarray, level: float = 0.95) -> dict[str, Any]:
    """n, events, median with interval, curve and censored (see GROUP above) of one group.

    Where another event competes (``event`` 2) the curve is 1 - the cumulative incidence of the event (Aalen-Johansen).
    """
    competing = bool((np.asarray(event) == 2).any())
    found = (product_limit.free_of if competing else product_limit.kaplan_meier)(time, event, level)
    median, low, high = (
        product_limit.quantile(found.time, curve) for curve in (found.survival, found.low, found.high)
    )
    gone = np.sort(settled(time)[0][event == 0])
    steps = found.survival.tolist()
    return {
        "n": len(time),
        "events": int((event == 1).sum()),
        "median": median,
        "median_low": low,
        "median_high": high,
        "curve": {
            "time": [0.0, *found.time.tolist()],
            "survival": [1.0, *steps],
            "low": [None, *map(_finite, found.low)],
            "high": [None, *map(_finite, found.high)],
        },
        "censored": {
            "time": gone.tolist(),
            "survival": [steps[k] for k in np.searchsorted(found.time, gone)],
        },
    }


def compare(
    time: np.ndarray, event: np.ndarray, group: np.ndarray, names: list[str], level: float = 0.95
) -> dict[str, Any]:
    """Curves of the groups ``names`` (lowest first) and the tests: groups, logrank, gray, trend, notes of CUT."""
    time, _ = settled(time)
    competing = bool((event == 2).any())
    ticks = _ticks(float(time.max(initial=0.0)))
    groups, notes = [], []
    for name in names:
        mine = group == name
        if not mine.any():
            notes.append(f"Group {name} has no patients.")
            continue
        curve = kaplan_meier(time[mine], event[mine], level)
        if curve["events"] == 0:
            notes.append(f"Group {name} has no events: its median is not reached and its curve stays at 1.")
        curve["at_risk"] = _at_risk(ticks, time[mine], curve["curve"])
        groups.append({"name": str(name), **curve})
    nothing: dict[str, float | None] = {"statistic": None, "df": None, "p": None}
    test, grays, trend = dict(nothing), dict(nothing), dict(nothing)
    if len(groups) > 2 and not competing:
        trend = over_time.trend(time, event, np.array([names.index(g) for g in group]))  # type: ignore[assignment]
    if len(groups) < 2:
        notes.append(
            "There is only one group: nothing to compare." if groups else "There is nobody to analyse."
        )
    elif competing:
        found = gray(time, event, group)
        grays = {key: None if found[key] is None else float(found[key]) for key in nothing}
        notes += found["notes"]
    elif event.sum() < 2:
        notes.append(f"Only {count(int(event.sum()), 'event')}: no log-rank test.")
    else:
        from lifelines.statistics import multivariate_logrank_test

        try:
            found = multivariate_logrank_test(time, group, event)
        except (np.linalg.LinAlgError, ValueError):
            found = None
        if found is not None and math.isfinite(found.p_value):
            test = {
                "statistic": float(found.test_statistic),
                "df": float(len(groups) - 1),
                "p": float(found.p_value),
            }
        else:
            notes.append("The log-rank test is not possible: no event happens while two groups are at risk.")
    return {"groups": groups, "logrank": test, "gray": grays, "trend": trend, "notes": notes}


def cut(score: np.ndarray, kind: str) -> tuple[list[float], np.ndarray, list[str], list[str]]:
    """Thresholds, each patient's group, the groups' names and notes; kind is ``tertiles`` or ``median``."""
    shares = {"tertiles": [1 / 3, 2 / 3], "median": [0.5]}[kind]
    thresholds = np.quantile(score, shares)
    position = np.searchsorted(thresholds, score, side="left")
    notes = []
    names = NAMES[len(shares) + 1]
    if len(np.unique(position)) < len(names):
        notes.append(f"Tied scores leave fewer than {len(names)} groups.")
    return thresholds.tolist(), np.array(names)[position], names, notes


def cox(
    time: np.ndarray, event: np.ndarray, score: np.ndarray, level: float = 0.95
) -> tuple[dict[str, float | int | None], list[str]]:
    """Hazard ratio per standard deviation of the score with Wald interval and p, and notes.

    With one covariate the estimate is infinite exactly when at every event the patient concerned has
    the highest score of all at risk (or at every event the lowest): then nothing is given.
    """
    sd = float(np.std(score, ddof=1)) if len(score) > 1 else 0.0
    result: dict[str, float | int | None] = {
        "hazard_ratio": None,
        "low": None,
        "high": None,
        "p": None,
        "sd": sd,
        "n": len(score),
        "events": int(event.sum()),
    }
    if len(score) and score.min() == score.max():
        return result, ["The score is the same for everyone: no hazard ratio."]
    if event.sum() < 2:
        return result, [f"Only {count(int(event.sum()), 'event')}: no hazard ratio."]
    at_events = [(score[i], score[time >= time[i]]) for i in np.flatnonzero(event)]
    if all(x >= risk.max() for x, risk in at_events) or all(x <= risk.min() for x, risk in at_events):
        return result, ["The score orders the events perfectly: the hazard ratio is infinite, none is given."]
    import pandas as pd
    from lifelines import CoxPHFitter
    from lifelines.exceptions import ConvergenceError

    table = pd.DataFrame({"time": time, "event": event, "score": (score - score.mean()) / sd})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fitter = CoxPHFitter(alpha=1 - level).fit(
                table, "time", "event", fit_options={"precision": 1e-12, "r_precision": 1e-14}
            )
    except (ConvergenceError, ValueError, np.linalg.LinAlgError):
        return result, ["The Cox model did not converge: no hazard ratio."]
    row = fitter.summary.iloc[0]
    found = {
        "hazard_ratio": row["exp(coef)"],
        "low": row.filter(like="exp(coef) lower").iloc[0],
        "high": row.filter(like="exp(coef) upper").iloc[0],
        "p": row["p"],
    }
    if not all(math.isfinite(x) for x in found.values()):
        return result, ["The Cox model has no finite interval: no hazard ratio."]
    return result | {key: float(x) for key, x in found.items()}, []


def concordance(time: np.ndarray, event: np.ndarray, score: np.ndarray) -> tuple[float | None, list[str]]:
    """Harrell's C of a score that is higher for earlier events, and notes."""
    value, _ = harrell(time, event, score)
    return value, [] if value is not None else ["No two patients can be compared in time: no C-index."]


def analyse(
    time: np.ndarray,
    event: np.ndarray,
    score: np.ndarray,
    level: float = 0.95,
    cuts: tuple[str, ...] = ("tertiles", "median"),
) -> dict[str, Any]:
    """n, events, cuts, cox, concordance, notes of survival.json; arrays without missing values."""
    time, event, score = (np.asarray(x, float) for x in (time, event, score))
    time, _ = settled(time)
    happened = (event == 1).astype(float)
    result: dict[str, Any] = {
        "n": len(time),
        "events": int(happened.sum()),
        "competing": int((event == 2).sum()),
        "cuts": {},
        "notes": [],
    }
    for kind in cuts:
        thresholds, group, names, notes = cut(score, kind) if len(score) else ([], score, [], [])
        found = compare(time, event, group, names, level)
        found["notes"] = notes + found["notes"]
        result["cuts"][kind] = {"thresholds": thresholds, **found}
    result["cox"], notes = cox(time, happened, score, level)
    result["proportional"] = over_time.proportional(time, event, score, level)
    result["concordance"], more = concordance(time, event, score)
    result["notes"] = notes + more
    if result["events"] < FEW:
        result["notes"].append(f"{count(result['events'], 'event')}: all of this is descriptive.")
    return result


def at_horizon(time: np.ndarray, event: np.ndarray, horizon: float) -> tuple[np.ndarray, np.ndarray]:
    """Follow-up ended at ``horizon``: time = min(time, horizon), later events become event-free."""
    time, end = settled(time, horizon)
    return np.minimum(time, end), np.where(time > end, 0.0, event)


def study(
    cohort: dict[str, dict[str, str]],
    scores: dict[str, tuple[str, float]],
    settings: Evaluation,
    outcome: Outcomes = PAPER,
) -> Survival:
    """survival.json: the first outcome over time, in the metachronous patients before the test part, and the others.

    Args:
        cohort: rows of the table, with the columns of ``outcome``.
        scores: patient -> (part, multimodal score).
        settings: of the evaluation.
        outcome: what is learnt and evaluated.
    """
    timed = {name: aim for name, aim in outcome.aims.items() if isinstance(aim, ByHorizon)}
    order = sorted(timed, key=lambda name: outcome.patients_of(name) != "metachronous")
    if not order:
        return _empty("", METACHRONOUS, settings, PAPER) | {"reason": "No outcome over time is evaluated."}
    found = [of_aim(name, timed[name], cohort, scores, settings, outcome) for name in order]
    return found[0] | {"also": dict(zip(order[1:], found[1:], strict=True))}


def _empty(name: str, aim: ByHorizon, settings: Evaluation, outcome: Outcomes) -> Survival:
    interval = {"low": None, "high": None}
    return {
        "schema": 1,
        "status": "skipped",
        "reason": "",
        "score": "multimodal",
        "name": name,
        "part": outcome.patients_of(name) if name else "metachronous",
        "words": outcome.noun(aim),
        "horizon_months": aim.horizon(settings.horizon_months),
        "confidence": settings.confidence,
        "n": 0,
        "events": 0,
        "competing": 0,
        "follow_up": {"median": None, **interval},  # type: ignore[typeddict-item]
        "excluded": [],
        "cuts": {},
        "cox": None,
        "proportional": {"p": None, "sentence": ""},
        "concordance": None,
        "concordance_interval": dict(interval),  # type: ignore[typeddict-item]
        "dynamic": None,
        "also": {},
        "notes": [],
    }


def of_aim(
    name: str,
    aim: ByHorizon,
    cohort: dict[str, dict[str, str]],
    scores: dict[str, tuple[str, float]],
    settings: Evaluation,
    outcome: Outcomes,
) -> Survival:
    """survival.json of one outcome over time."""
    result = _empty(name, aim, settings, outcome)
    part, horizon = result["part"], result["horizon_months"]
    who = "metachronous cohort" if part == "metachronous" else "test part"
    members = [p for p, (of, _) in scores.items() if of == part and p in cohort]
    if not members:
        return result | {"reason": f"There is no {who} with predictions, so there are no survival curves."}
    stated = np.array([status(cohort[p], aim) for p in members], float)
    score = np.array([scores[p][1] for p in members])
    gaps = {
        aim.event: np.array([not cohort[p].get(aim.event) for p in members]),
        aim.time: np.array([not cohort[p].get(aim.time) for p in members]),
        "a score": ~np.isfinite(score),
    }
    result["excluded"] = [f"{int(bad.sum())} without {what}." for what, bad in gaps.items() if bad.any()]
    keep = ~np.any(list(gaps.values()), axis=0)
    result["n"] = int(keep.sum())
    if result["n"] < 2:
        patients = "metachronous" if part == "metachronous" else "test"
        return result | {
            "reason": f"Of {len(members)} {patients} patients {result['n']} have {aim.event}, {aim.time} and a score; "
            "survival curves need at least two."
        }
    time, event, score = stated[keep, 0], stated[keep, 1], score[keep]
    result["follow_up"] = over_time.followed(time, event, settings.confidence)
    resamples = min(settings.bootstrap, DYNAMIC_RESAMPLES)
    of_time = dynamic.record(
        time,
        event,
        score,
        horizon,
        1 / (1 + np.exp(-np.clip(score, -700, 700))),
        settings.confidence,
        resamples,
        settings.seed,
        score,
    )
    if aim.flags != outcome.learn.flags:
        learnt = "metastases on the scan" if outcome.learnt == "metastases" else outcome.learnt
        of_time["notes"].append(
            f"Brier score and calibration take the model's probability of {learnt} as that of {result['words']}."
        )
    time, event = at_horizon(time, event, horizon)
    found = analyse(time, event, score, settings.confidence)
    bounds = _resampled(time, event, score, settings.confidence, resamples, settings.seed)
    return result | found | {"status": "ok", "dynamic": of_time, "concordance_interval": bounds}


def _resampled(
    time: np.ndarray, event: np.ndarray, score: np.ndarray, level: float, resamples: int, seed: int
) -> dict[str, float | None]:
    """Percentile interval of Harrell's C over resampled patients; none where a fifth of them gives no C."""
    random, found = np.random.default_rng(seed), []
    for _ in range(resamples):
        pick = random.integers(0, len(time), len(time))
        value, _ = harrell(time[pick], event[pick], score[pick])
        if value is not None:
            found.append(value)
    if len(found) < 0.8 * resamples or len(set(found)) < 2:
        return {"low": None, "high": None}
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return {"low": float(low), "high": float(high)}


@dataclass(frozen=True)
class Inputs:
    """What this stage reads."""

    cohort: Path  # patient table (TSV)
    predictions: Path  # predictions.parquet of fuse
    outcome: Outcomes = PAPER  # what is learnt and evaluated


def run(inputs: Inputs, settings: Evaluation, out: Path, pin: str) -> Sidecar:
    """Write survival.json beside ``out``, and the sidecar ``out`` last."""

    def work() -> Outcome:
        table = PREDICTIONS.read(inputs.predictions, ["patient", "part", MULTIMODAL])
        scores = {row.patient: (row.part, float(row.multimodal)) for row in table.itertuples()}
        cohort = by_patient(inputs.cohort, inputs.outcome.extra)
        result = study(cohort, scores, settings, inputs.outcome)
        product = out.with_name(PRODUCT)
        shapes.write(Survival, product, result)
        values = {key: result[key] for key in ("status", "reason", "n", "events", "concordance")}
        return Outcome(
            products={"survival": product},
            values=values,
            warnings=[result["reason"]] if result["reason"] else [],
        )

    fuse = inputs.predictions.with_name("fuse.json")
    return run_stage(
        "survive",
        out,
        pin,
        work,
        upstream={"fuse": fuse} if fuse.exists() else {},
        makes=(PRODUCT,),
        packages=("numpy", "scipy", "pandas", "lifelines", "statsmodels"),
    )


def _at_risk(ticks: list[float], time: np.ndarray, curve: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Numbers at risk and the step curve at the ticks."""
    numbers = [int((time >= t).sum()) for t in ticks]
    where = np.searchsorted(curve["time"], ticks, side="right") - 1
    there = {
        key: [curve[key][k] if n else None for k, n in zip(where, numbers, strict=True)]
        for key in ("survival", "low", "high")
    }
    return {"time": ticks, "n": numbers, **there}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _ticks(longest: float) -> list[float]:
    """Times for the numbers at risk: at most eight, a round step (months: 12 for four years)."""
    steps = (0.1, 0.25, 0.5, 1, 2, 3, 6, 12, 24, 60, 120, 365, 730)
    step = next((s for s in steps if longest / s <= 7), longest / 7)
    return [round(k * step, 6) for k in range(int(longest / step + 1e-9) + 1)] if longest > 0 else [0.0]
