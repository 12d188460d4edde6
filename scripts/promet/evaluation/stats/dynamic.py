"""What a score and its probability are worth over time, when some patients leave follow-up early.

A patient who leaves before a time without the event is neither a case nor a control at that time. Leaving these patients out
would favour short follow-up; instead the others are weighted. The rule and the formulas: ``promet.evaluation.stats.horizon``.
"""

from __future__ import annotations

import numpy as np

from promet.core.words import count
from promet.evaluation.stats import calibration, horizon
from promet.evaluation.stats.auc import logit_interval, quantile
from promet.study import concordance, follow_up
from promet.study.forms.metrics import Estimate, Interval, Slope, empty
from promet.study.forms.survival import Brier, Calibration, Dynamic, Uno, WeightedRatio

SHARES = (0.25, 0.5, 0.75, 1.0)  # of the horizon, or quantiles of the event times without one
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5)  # at which net benefit is given
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

RECORDED = (
    "A competing event is recorded apart: who had it can no longer have the event and counts as without it, the risk is the "
    "cumulative incidence (Aalen-Johansen), and 1 - Kaplan-Meier, which would be too high, is not shown."
)


def record(
    time: np.ndarray,
    event: np.ndarray,
    score: np.ndarray,
    at: float | None = None,
    probability: np.ndarray | None = None,
    level: float = 0.95,
    bootstrap: int = 500,
    seed: int = 0,
    log_odds: np.ndarray | None = None,
) -> Dynamic:
    """Figures of one score (higher = earlier event); follow-up is *not* cut at the horizon.

    Args:
        at: the horizon.
        probability: predicted probability of an event by the horizon, for the Brier score and calibration.
        log_odds: its logit where the caller has it; it keeps what rounding to 0 or 1 loses.

    Keys:
        horizon: the time up to which all of this looks (null: up to the last event).
        auc: [{time, auc, low, high, se, logit {low, high}, cases, controls}]: cases (event at or before the time) against
            controls (followed to it or beyond without); low, high: bootstrap percentile interval; se, logit: with the
            weights taken as known.
        uno: {value, low, high}: Uno's C up to the horizon, events at it included.
        brier: {time, value, reference, scaled}: weighted Brier score of ``probability`` at the horizon; reference: that of
            the Kaplan-Meier curve, which knows no patient apart; scaled = 1 - value / reference.
        calibration: CALIBRATION of ``probability`` at the horizon, null without one.
        resamples, seed: of the intervals.
        censoring, competing: sentences for the reader.
        notes: sentences.

        CALIBRATION: see ``calibrated``.
    """
    time, event, score = (np.asarray(x, float) for x in (time, event, score))
    result: Dynamic = {
        "horizon": at,
        "auc": [],
        "uno": empty(Uno),
        "brier": {**empty(Brier), "time": at},
        "calibration": None,
        "resamples": bootstrap,
        "seed": seed,
        "censoring": CENSORING,
        "competing": RECORDED if (event == 2).any() else COMPETING,
        "notes": [],
    }
    notes = result["notes"]
    early = int((event == 1).sum() if at is None else follow_up.by_then(time[event == 1], at).sum())
    if len(time) < 3 or early < 2:
        notes.append(
            f"Only {count(early, 'event')} among {count(len(time), 'patient')}: nothing that depends on time can be given."
        )
        return result
    followed = at is None or follow_up.reached(time, at)
    if not followed:
        notes.append(
            f"Nobody is followed to {at:g}: nothing can be given at that time, nor Uno's C up to it."
        )
    if score.min() == score.max():
        notes.append("The score is the same for everyone: no AUC over time and no Uno's C.")
    else:
        _ranking(result, time, event, score, followed, level)
        _intervals(result, time, event, score, level, np.random.default_rng(seed))
    who = None if at is None or probability is None else follow_up.known(time, event, at)
    if probability is not None and at is not None and who is not None:
        probability = np.asarray(probability, float)
        share, _ = horizon.observed(time, event, at)
        value, reference = (horizon.brier(who, p, len(time)) for p in (probability, share))
        scaled = 1 - value / reference if reference > 0 else None
        result["brier"] |= {"value": value, "reference": reference, "scaled": scaled}
        result["calibration"] = calibrated(time, event, probability, at, level, log_odds)
        _spread(result, time, event, probability, at, level, np.random.default_rng(seed))
    return result


def auc_at(time: np.ndarray, event: np.ndarray, score: np.ndarray, at: float) -> float | None:
    """AUC at one time; ``None`` without cases, without controls or when nobody is followed so far."""
    who = follow_up.known(time, event, at)
    return None if who is None else horizon.auc(who, score)


def calibrated(
    time: np.ndarray,
    event: np.ndarray,
    probability: np.ndarray,
    at: float,
    level: float = 0.95,
    log_odds: np.ndarray | None = None,
) -> Calibration:
    """Whether probabilities of an event by ``at`` are right; somebody must be followed so far. ``log_odds``: see ``record``.

    Keys:
        n, known (event by then or followed so far), cases, controls.
        mean_probability; observed, observed_se: risk by Kaplan-Meier.
        expected_observed: {ratio, log_se, low, high}: mean probability / observed; interval on the log scale.
        intercept {value, se, low, high}, slope {value, se, low, high, intercept}: weighted logistic, sandwich errors.
        groups: [{n, probability, observed, se, low, high}]: thirds by probability.
        net_benefit: [{threshold, model, all}].
        notes: sentences.
    """
    who = follow_up.known(time, event, at)
    assert who is not None
    share, se = horizon.observed(time, event, at)
    seen = who.weight > 0
    result: Calibration = {
        "n": len(time),
        "known": int(seen.sum()),
        "cases": int(who.case.sum()),
        "controls": int(who.control.sum()),
        "mean_probability": float(probability.mean()),
        "observed": share,
        "observed_se": se if np.isfinite(se) else None,
        "expected_observed": empty(WeightedRatio),
        "intercept": empty(Estimate),
        "slope": empty(Slope),
        "groups": horizon.groups(time, event, probability, at, level),
        "net_benefit": [
            {
                "threshold": h,
                "model": horizon.net_benefit(time, event, probability, at, h),
                "all": horizon.treat_all(time, event, at, h),
                "low": None,
                "high": None,
            }
            for h in THRESHOLDS
        ],
        "notes": [],
    }
    if not (who.case.any() and who.control.any()):
        group = "with" if who.case.any() else "without"
        result["notes"].append(
            f"All {int(seen.sum())} known at {at:g} are {group} the event: no intercept, slope and E/O."
        )
        return result
    log_se = se / share
    ratio, half = float(probability.mean()) / share, quantile(level) * log_se
    result["expected_observed"] = {
        "ratio": ratio,
        "log_se": log_se,
        "low": ratio * float(np.exp(-half)),
        "high": ratio * float(np.exp(half)),
    }
    odds = (calibration.logit(probability) if log_odds is None else np.asarray(log_odds, float))[seen]
    if not np.isfinite(odds).all():
        result["notes"].append("Some probabilities are exactly 0 or 1: no calibration intercept and slope.")
        return result
    label, weight = who.case[seen].astype(float), who.weight[seen]
    result["intercept"], more = calibration.intercept(label, odds, level, weight)
    result["slope"], again = calibration.slope(label, odds, level, weight)
    result["notes"] += more + again
    return result


def _ranking(
    result: Dynamic,
    time: np.ndarray,
    event: np.ndarray,
    score: np.ndarray,
    followed: bool,
    level: float,
) -> None:
    """AUC over time and Uno's C, put into ``result``."""
    at, notes = result["horizon"], result["notes"]
    where = at * np.array(SHARES) if at is not None else np.quantile(time[event == 1], SHARES[:-1])
    for t in np.unique(where):
        who = follow_up.known(time, event, t)
        value = None if who is None else horizon.auc(who, score)
        se = None if who is None or value is None else horizon.auc_se(who, score)
        logit = empty(Interval)
        if se is not None and se > 0 and value is not None and 0 < value < 1:
            logit = logit_interval(value, se, level)
        result["auc"].append(
            {
                "time": float(t),
                "auc": value,
                "low": None,
                "high": None,
                "se": se,
                "logit": logit,
                "cases": int(follow_up.by_then(time[event == 1], t).sum()),
                "controls": 0 if who is None else int(who.control.sum()),
            }
        )
        if who is None:
            notes.append(f"No AUC at {t:g}: nobody is followed so far.")
        elif value is None:
            row = result["auc"][-1]
            notes.append(
                f"No AUC at {t:g}: {row['cases']} had the event by then and {row['controls']} are known to be without."
            )
    if followed:
        result["uno"]["value"] = concordance.uno(time, event, score, at)
        if result["uno"]["value"] is None:
            notes.append("No Uno's C: no two patients can be compared in time.")


def _spread(
    result: Dynamic,
    time: np.ndarray,
    event: np.ndarray,
    probability: np.ndarray,
    at: float,
    level: float,
    random: np.random.Generator,
) -> None:
    """Percentile bounds of Brier score and net benefit over resampled patients, put into ``result``."""
    rows = result["calibration"]["net_benefit"] if result["calibration"] else []
    drawn: list[list[float | None]] = []
    for _ in range(result["resamples"]):
        pick = random.integers(0, len(time), len(time))
        t, e, p = time[pick], event[pick], probability[pick]
        who = follow_up.known(t, e, at)
        worth = [None if who is None else horizon.net_benefit(t, e, p, at, r["threshold"]) for r in rows]
        drawn.append([None if who is None else horizon.brier(who, p, len(t)), *worth])
    for k, target in enumerate([result["brier"], *rows]):
        values = [row[k] for row in drawn if row[k] is not None]
        if drawn and len(values) >= 0.8 * len(drawn) and len(set(values)) > 1:
            low, high = np.quantile(np.array(values, float), [(1 - level) / 2, (1 + level) / 2])
            target |= {"low": float(low), "high": float(high)}


def _intervals(
    result: Dynamic,
    time: np.ndarray,
    event: np.ndarray,
    score: np.ndarray,
    level: float,
    random: np.random.Generator,
) -> None:
    """Percentile bounds over resampled patients, put into ``result``; none where a fifth of the resamples fails."""
    asked = [row for row in result["auc"] if row["auc"] is not None]
    targets: list[tuple[str, Interval]] = [(f"the AUC at {row['time']:g}", row) for row in asked]
    if result["uno"]["value"] is not None:
        targets.append(("Uno's C", result["uno"]))
    drawn: list[list[float | None]] = []
    for _ in range(result["resamples"] if targets else 0):
        pick = random.integers(0, len(time), len(time))
        t, e, s = time[pick], event[pick], score[pick]
        row = [auc_at(t, e, s, target["time"]) for target in asked]
        drawn.append(row + [concordance.uno(t, e, s, result["horizon"])] * (len(targets) - len(asked)))
    for k, (whose, target) in enumerate(targets):
        values = [row[k] for row in drawn if row[k] is not None]
        if len(values) >= 0.8 * len(drawn) and len(set(values)) > 1:
            low, high = np.quantile(np.array(values, float), [(1 - level) / 2, (1 + level) / 2])
            target |= {"low": float(low), "high": float(high)}
        else:
            why = (
                "too few resamples give a value"
                if len(values) < 0.8 * len(drawn)
                else "all resamples give the same value"
            )
            result["notes"].append(f"No interval for {whose}: {why}.")
