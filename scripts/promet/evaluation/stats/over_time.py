"""Of groups and scores over time: how long patients were followed, a test for ordered groups, and one of proportional hazards."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from scipy import stats

from promet.evaluation.stats import product_limit
from promet.study.follow_up import settled
from promet.study.forms.survival import FollowUp, Logrank, Proportional

LEAST = 5  # events below which nothing is said of proportional hazards


def followed(time: np.ndarray, event: np.ndarray, level: float = 0.95) -> FollowUp:
    """Median follow-up by the reverse Kaplan-Meier method: leaving is the event, and the event ends what can be seen.

    Source: Schemper & Smith, Control Clin Trials 1996;17:343.
    """
    if not len(time):
        return {"median": None, "low": None, "high": None}
    found = product_limit.kaplan_meier(time, (np.asarray(event) == 0).astype(float), level)
    median, low, high = (
        product_limit.quantile(found.time, curve) for curve in (found.survival, found.low, found.high)
    )
    return {"median": median, "low": low, "high": high}


def trend(time: np.ndarray, event: np.ndarray, rank: np.ndarray) -> Logrank:
    """Log-rank test for a trend over ordered groups; ``rank`` (n,) is the number of the group. Null where it cannot be made.

    Source: Tarone, Biometrika 1975;62:679; variance with the correction for tied times.
    """
    time, event = settled(time)[0], np.asarray(event) == 1
    apart, variance = 0.0, 0.0
    for t in np.unique(time[event]):
        at_risk, dead = time >= t, event & (time == t)
        n, d, x = int(at_risk.sum()), int(dead.sum()), rank[at_risk].astype(float)
        apart += float(rank[dead].sum()) - d * x.mean()
        if n > 1:
            variance += d * (n - d) / (n - 1) * float(x.var())
    if variance <= 0:
        return {"statistic": None, "df": None, "p": None}
    statistic = apart**2 / variance
    return {"statistic": statistic, "df": 1.0, "p": float(stats.chi2.sf(statistic, 1))}


def proportional(time: np.ndarray, event: np.ndarray, score: np.ndarray, level: float = 0.95) -> Proportional:
    """Whether the effect of a score changes over time: scaled Schoenfeld residuals against the rank of time, in words.

    Source: Grambsch & Therneau, Biometrika 1994;81:515 (lifelines).
    """
    event = np.asarray(event) == 1
    if event.sum() < LEAST:
        return {"p": None, "sentence": f"{int(event.sum())} events are too few to test proportional hazards."}
    nothing: Proportional = {"p": None, "sentence": "Proportional hazards could not be tested."}
    if np.ptp(score) == 0:
        return nothing
    import pandas as pd
    from lifelines import CoxPHFitter
    from lifelines.exceptions import ConvergenceError
    from lifelines.statistics import proportional_hazard_test

    table: Any = pd.DataFrame({"time": time, "event": event, "score": (score - score.mean()) / score.std()})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fitter = CoxPHFitter().fit(table, "time", "event")
            p = float(np.ravel(proportional_hazard_test(fitter, table, time_transform="rank").p_value)[0])
    except (ConvergenceError, ValueError, ArithmeticError, np.linalg.LinAlgError):
        return nothing
    if not math.isfinite(p):
        return nothing
    if p < 1 - level:
        said = "the hazard ratio changes over time, so one number for all of it describes none of it well"
    else:
        said = "no sign that the hazard ratio changes over time, which with few events is weak evidence"
    return {"p": p, "sentence": f"Test of proportional hazards (scaled Schoenfeld residuals): {said}."}
