"""Time-dependent AUC, Uno's C and the Brier score with inverse probability of censoring weights.

A patient censored before a time is neither a case nor a control at that time. Instead of dropping him (which favours
short follow-up) those who remain are weighted by 1 / the probability of still being observed, estimated by Kaplan-Meier
from the same patients. This assumes that leaving follow-up has nothing to do with the outcome. Library: scikit-survival.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from promet.core.words import count

SHARES = (0.25, 0.5, 0.75, 1.0)  # of the horizon, or quantiles of the event times without one
CENSORING = (
    "Patients without an event count as event-free up to their last visit (censored); from then on they are unknown, and the "
    "others are weighted up in their place (Uno's C, AUC over time, Brier), which assumes that leaving follow-up has "
    "nothing to do with the outcome."
)
COMPETING = (
    "Death from another cause is not recorded apart: it counts as censoring, so 1 - Kaplan-Meier is the risk if nobody died of "
    "anything else and is higher than the share who will progress. With many such deaths cumulative incidence "
    "(Aalen-Johansen) is needed, for which the table would have to name them."
)


def record(
    time: np.ndarray,
    event: np.ndarray,
    score: np.ndarray,
    horizon: float | None = None,
    probability: np.ndarray | None = None,
    level: float = 0.95,
    bootstrap: int = 500,
    seed: int = 0,
) -> dict[str, Any]:
    """Figures of one score (higher = earlier event); follow-up is *not* cut at the horizon.

    Args:
        probability: predicted probability of an event by the horizon, for the Brier score.

    Keys:
        horizon: the time up to which all of this looks (null: up to the last event).
        auc: [{time, auc, low, high, cases, controls}]: cumulative cases (event by then) against dynamic controls (known
            event-free after it), Uno et al. 2007; bootstrap percentile interval.
        uno: {value, low, high}: Uno's C (Stat Med 2011;30:1105) up to the horizon.
        brier: {time, value, reference, scaled}: Graf's Brier score of ``probability`` at the horizon; reference: that of
            the Kaplan-Meier curve, which knows no patient apart; scaled = 1 - value / reference.
        resamples, seed: of the intervals.
        censoring, competing: sentences for the reader.
        notes: sentences.
    """
    time, event, score = (np.asarray(x, float) for x in (time, event, score))
    result: dict[str, Any] = {
        "horizon": horizon,
        "auc": [],
        "uno": dict.fromkeys(("value", "low", "high")),
        "brier": {"time": horizon, **dict.fromkeys(("value", "reference", "scaled"))},
        "resamples": bootstrap,
        "seed": seed,
        "censoring": CENSORING,
        "competing": COMPETING,
        "notes": [],
    }
    notes = result["notes"]
    early = event == 1 if horizon is None else (event == 1) & (time <= horizon)
    if len(time) < 3 or early.sum() < 2:
        notes.append(
            f"Only {count(int(early.sum()), 'event')} among {count(len(time), 'patient')}: nothing that depends on time can be given."
        )
        return result
    if score.min() == score.max():
        notes.append("The score is the same for everyone: nothing that depends on time can be given.")
        return result
    where = horizon * np.array(SHARES) if horizon is not None else np.quantile(time[event == 1], SHARES[:-1])
    for t in np.unique(where):
        cases, controls = int(((time <= t) & (event == 1)).sum()), int((time > t).sum())
        value = auc_at(time, event, score, t)
        result["auc"].append(
            {"time": float(t), "auc": value, "low": None, "high": None, "cases": cases, "controls": controls}
        )
        if value is None:
            notes.append(
                f"No AUC at {t:g}: {cases} had the event by then and {controls} are known to be without after it."
            )
    result["uno"]["value"] = uno(time, event, score, horizon)
    if result["uno"]["value"] is None:
        notes.append("No Uno's C: the weights are not defined, since nobody is followed long enough.")
    _intervals(result, time, event, score, level, np.random.default_rng(seed))
    if probability is not None and horizon is not None:
        result["brier"] |= brier(time, event, np.asarray(probability, float), horizon)
        if result["brier"]["value"] is None:
            notes.append(f"No Brier score at {horizon:g}: nobody is followed beyond it.")
    return result


def auc_at(time: np.ndarray, event: np.ndarray, score: np.ndarray, at: float) -> float | None:
    """Cumulative/dynamic AUC at one time; ``None`` without cases, without controls or without weights."""
    from sksurv.metrics import cumulative_dynamic_auc

    if not ((time <= at) & (event == 1)).any() or not (time > at).any():
        return None
    outcome = _outcome(time, event)
    return _try(lambda: cumulative_dynamic_auc(outcome, outcome, score, [at])[0][0])


def uno(time: np.ndarray, event: np.ndarray, score: np.ndarray, tau: float | None) -> float | None:
    """Uno's C up to ``tau``; ``None`` when its weights are not defined."""
    from sksurv.metrics import concordance_index_ipcw

    outcome = _outcome(time, event)
    return _try(lambda: concordance_index_ipcw(outcome, outcome, score, tau=tau)[0])


def brier(time: np.ndarray, event: np.ndarray, probability: np.ndarray, at: float) -> dict[str, float | None]:
    """value, reference (Kaplan-Meier for everyone), scaled; ``probability`` of an event by ``at``."""
    from lifelines import KaplanMeierFitter
    from sksurv.metrics import brier_score

    empty: dict[str, float | None] = dict.fromkeys(("value", "reference", "scaled"))
    if not (time > at).any() or not np.isfinite(probability).all():
        return empty
    outcome = _outcome(time, event)
    free = float(KaplanMeierFitter().fit(time, event).predict(at))
    value, reference = (
        _try(lambda s=s: brier_score(outcome, outcome, s[:, None], [at])[1][0])
        for s in (1 - probability, np.full(len(time), free))
    )
    if value is None or reference is None:
        return empty
    return {
        "value": value,
        "reference": reference,
        "scaled": 1 - value / reference if reference > 0 else None,
    }


def _intervals(
    result: dict[str, Any],
    time: np.ndarray,
    event: np.ndarray,
    score: np.ndarray,
    level: float,
    random: np.random.Generator,
) -> None:
    """Percentile bounds over resampled patients, put into ``result``; none where a fifth of the resamples fails."""
    asked = [row for row in result["auc"] if row["auc"] is not None]
    drawn: list[list[float | None]] = []
    for _ in range(result["resamples"]):
        pick = random.integers(0, len(time), len(time))
        t, e, s = time[pick], event[pick], score[pick]
        drawn.append([auc_at(t, e, s, row["time"]) for row in asked] + [uno(t, e, s, result["horizon"])])
    targets = [*asked, result["uno"]] if result["uno"]["value"] is not None else asked
    for k, target in enumerate(targets):
        values = [row[k] for row in drawn if row[k] is not None]
        if len(values) >= 0.8 * len(drawn) and len(set(values)) > 1:
            low, high = np.quantile(np.array(values, float), [(1 - level) / 2, (1 + level) / 2])
            target |= {"low": float(low), "high": float(high)}
        else:
            result["notes"].append(
                f"No interval for {'Uno' if target is result['uno'] else 'the AUC at ' + format(target['time'], 'g')}: "
                "too few resamples give a value."
            )


def _outcome(time: np.ndarray, event: np.ndarray) -> Any:
    from sksurv.util import Surv

    return Surv.from_arrays(event.astype(bool), time)


def _try(call: Any) -> float | None:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            value = float(call())
        except (ValueError, ZeroDivisionError):
            return None
    return value if np.isfinite(value) else None
