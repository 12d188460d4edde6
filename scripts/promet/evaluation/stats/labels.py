"""Who has the outcome, who has not, and of whom it is not known."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from promet.evaluation.stats.horizon import observed
from promet.study.follow_up import by_then, reached, until
from promet.study.table import number

if TYPE_CHECKING:
    import pandas as pd

Cohort = dict[str, dict[str, str]]


def outcome(row: dict[str, str], name: str, horizon: float) -> tuple[float, str]:
    """Label of one patient (NaN = none) and, if there is none, why.

    ``progression`` counts at or before ``horizon`` months: later progression is 0, as is no progression when followed to
    the horizon; without progression and followed for less is no label. Without months the column is taken as it is.
    """
    value = number(row, name)
    if math.isnan(value):
        return value, f"have no {name}"
    if name == "progression":
        months = number(row, "months")
        if value == 1:
            return float(math.isnan(months) or by_then(months, horizon)), ""
        if not (math.isnan(months) or until(months, horizon)):
            return math.nan, f"were followed for less than {horizon:g} months without progression"
    return value, ""


def labelled(
    mine: pd.DataFrame, name: str, cohort: Cohort, horizon: float
) -> tuple[np.ndarray, list[tuple[float, str]]]:
    """Labels (n,) of the patients of a table, and each with its reason, by ``outcome``."""
    found = [outcome(cohort.get(p, {}), name, horizon) for p in mine["patient"]]
    return np.array([label for label, _ in found], float), found


def left_early(patients: list[str], cohort: Cohort, labels: np.ndarray, at: float) -> list[str]:
    """What leaving out those who left before the horizon does to the share with progression, in a sentence."""
    event = np.array([number(cohort.get(p, {}), "progression") for p in patients])
    time = np.array([number(cohort.get(p, {}), "months") for p in patients])
    usable = ~np.isnan(event) & (time >= 0)
    known = ~np.isnan(labels)
    if not (usable & ~known).any() or not known.any() or not reached(time[usable], at):
        return []
    share, _ = observed(time[usable], event[usable], at)
    return [
        f"Without those who left early the share with progression is {100 * labels[known].mean():.0f} %; Kaplan-Meier, which "
        f"counts them for as long as they were followed, gives {100 * share:.0f} %."
    ]
