"""The sections of metrics.json: what is asked of whom (study.outcome), and what it comes to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from promet.core.words import count
from promet.evaluation.settings import Evaluation
from promet.evaluation.stats import auc, calibration, coverage, decision, operating, weighted
from promet.study.follow_up import reached
from promet.study.forms.metrics import (
    Calibration,
    Decision,
    Operating,
    Paired,
    Recalibration,
    Record,
    Section,
)
from promet.study.outcome import PAPER, Binary, ByHorizon, Outcome, given, label, status

if TYPE_CHECKING:
    import pandas as pd

Cohort = dict[str, dict[str, str]]
CURVE_RESAMPLES = 500  # of a calibration curve, at most


@dataclass(frozen=True)
class Asked:
    """One section: what is asked of whom."""

    title: str
    part: str
    aim: Binary | ByHorizon
    words: str  # what the outcome is called
    seen: bool = False


def sections(outcome: Outcome, horizon: float) -> dict[str, Asked]:
    """Key -> section: what is learnt in the test, training and validation part, what else is evaluated, and who came later.

    ``horizon``: months, of an outcome that gives none.
    """

    def asked(name: str, part: str, where: str, seen: bool = False) -> Asked:
        aim = outcome.aims[name]
        words = outcome.noun(aim)
        return Asked(f"{_headline(outcome, aim, part, horizon)}{where}", part, aim, words, seen)

    first = outcome.primary
    found = {
        first: asked(first, "test", ", test part"),
        f"{first}_training": asked(first, "training", ", training part", True),
        f"{first}_validation": asked(first, "validation", ", validation part", True),
    }
    for name in outcome.aims:
        if name != first:
            part = outcome.patients_of(name)
            found[name] = asked(name, part, "" if part == "metachronous" else ", test part")
    return found | {"prospective": asked(first, "prospective", ", patients added later")}


def _headline(outcome: Outcome, aim: Binary | ByHorizon, part: str, horizon: float) -> str:
    column = aim.flags[0]
    if column not in outcome.words:  # the paper's two have names of their own
        if column == "synchronous_metastasis":
            return "Synchronous metastases"
        if column == "progression" and part == "metachronous":
            return "Metachronous metastases"
    words = outcome.noun(aim)
    within = f" within {aim.horizon(horizon):g} months" if isinstance(aim, ByHorizon) else ""
    return f"{words[0].upper()}{words[1:]}{within}"


def recalibrations(
    table: pd.DataFrame, models: list[str], cohort: Cohort, outcome: Outcome, horizon: float
) -> dict[str, Recalibration]:
    """Logistic recalibration of each model, fitted on the validation part for what is learnt.

    None where somebody of that part left before the horizon: the label of those who stayed is not that of all.
    """
    mine = table[table["part"] == "validation"]
    rows = [cohort.get(patient, {}) for patient in mine["patient"]]
    aim = outcome.learn
    labels = np.array([label(row, aim, horizon) for row in rows], float)
    found = {name: calibration.recalibration(labels, mine[name].to_numpy("float64")) for name in models}
    left = sum(math.isnan(y) and given(row, aim) for y, row in zip(labels, rows, strict=True))
    if left:
        why = f"{count(left, 'validation patient')} left before {aim.horizon(horizon):g} months."
        nothing: dict[str, Any] = {"usable": False, "reason": why, "intercept": None, "slope": None}
        found = {name: {**by, **nothing} for name, by in found.items()}  # type: ignore[misc]
    return found


@dataclass(frozen=True)
class Judged:
    """The patients of a section and what happened to them; ``time`` and ``event`` of an outcome over time.

    ``label`` (n,): 1, 0, NaN = left before the horizon ``at``.
    """

    label: np.ndarray
    time: np.ndarray | None = None
    event: np.ndarray | None = None
    at: float | None = None

    @property
    def plain(self) -> bool:
        """Is everybody's status known? Then every weight is 1, and the figures are those of a label."""
        return self.at is None or (not np.isnan(self.label).any() and reached(self.time, self.at))

    def record(self, score: np.ndarray, settings: Evaluation) -> Record:
        """Of one score."""
        how = (settings.confidence, settings.bootstrap, settings.seed)
        if self.plain:
            return auc.record(self.label, score, *how)
        return weighted.record(self.time, self.event, self.at, score, *how)  # type: ignore[arg-type]

    def paired(self, a: np.ndarray, b: np.ndarray, level: float) -> Paired:
        """Of two scores."""
        if self.plain:
            return auc.paired(self.label, a, b, level)
        return weighted.paired(self.time, self.event, self.at, a, b, level)  # type: ignore[arg-type]

    def calibration(self, log_odds: np.ndarray, settings: Evaluation) -> Calibration:
        """Of one model."""
        resamples = min(settings.bootstrap, CURVE_RESAMPLES)
        p = _probability(log_odds)
        if self.plain:
            return calibration.record(self.label, p, log_odds, settings.confidence, resamples, settings.seed)
        return weighted.calibration(
            self.time,
            self.event,
            self.at,
            p,
            log_odds,
            settings.confidence,
            resamples,  # type: ignore[arg-type]
        )

    def operating(self, score: np.ndarray, threshold: float, settings: Evaluation) -> Operating:
        """Of one score at a threshold."""
        if self.plain:
            return operating.of_labels(self.label, score, threshold, settings.confidence)
        resamples = min(settings.bootstrap, CURVE_RESAMPLES)
        how = (threshold, settings.confidence, resamples, settings.seed)
        return operating.by_horizon(self.time, self.event, self.at, score, *how)  # type: ignore[arg-type]

    def decision(self, models: dict[str, np.ndarray]) -> Decision:
        """Of all models together."""
        if self.plain:
            return decision.curves(self.label, models)
        return weighted.decision(self.time, self.event, self.at, models)  # type: ignore[arg-type]


def judged(rows: list[dict[str, str]], aim: Binary | ByHorizon, horizon: float) -> tuple[Judged, np.ndarray]:
    """What happened to those of whom it is said, and who they are: (n,) bool over ``rows``."""
    labels = np.array([label(row, aim, horizon) for row in rows], float)
    if isinstance(aim, Binary):
        there = ~np.isnan(labels)
        return Judged(labels[there]), there
    found = np.array([status(row, aim) for row in rows], float).reshape(-1, 2)
    there = ~np.isnan(found[:, 0])
    return Judged(labels[there], found[there, 0], found[there, 1], aim.horizon(horizon)), there


def section(
    asked: Asked,
    table: pd.DataFrame,
    names: list[str],
    cohort: Cohort,
    settings: Evaluation,
    recalibration: dict[str, Recalibration],
    outcome: Outcome = PAPER,
    threshold: float | None = None,
) -> Section:
    """One SECTION; ``table`` has patient, part and a column per score; ``recalibration``: the models' own.

    ``threshold``: of the multimodal score, fixed on the validation part.
    """
    mine = table[table["part"] == asked.part]
    rows = [cohort.get(patient, {}) for patient in mine["patient"]]
    known, there = judged(rows, asked.aim, settings.horizon_months)
    mine, total = mine[there], len(mine)
    positives, negatives = int((known.label == 1).sum()), int((known.label == 0).sum())
    left = len(mine) - positives - negatives
    lacking = int((~there).sum())
    result: Section = {
        "title": asked.title,
        "part": asked.part,  # type: ignore[typeddict-item]
        "outcome": asked.aim.flags[0],
        "words": asked.words,
        "horizon": known.at,
        "seen": asked.seen,
        "status": "ok" if len(mine) else "empty",
        "reason": "",
        "patients": total,
        "n": positives + negatives,
        "positives": positives,
        "negatives": negatives,
        "unknown": left,
        "no_lesion": int(mine["cnn_score"].isna().sum()),
        "excluded": [f"{lacking} have no {' or '.join((asked.aim.flags[0], *asked.aim.times))}."]
        if lacking
        else [],
        "scores": {},
        "paired": {},
        "calibration": {},
        "decision": None,
        "operating": None,
        "interval_advice": None,
        "notes": [],
    }
    if not len(mine):
        what = (
            f"no patient in part {asked.part}"
            if not total
            else f"of {count(total, 'patient')} in part {asked.part} none has a label"
        )
        result["reason"] = f"There is {what}." if not total else f"{what.capitalize()}."
        return result
    for name in names:
        score = mine[name].to_numpy("float64")
        result["scores"][name] = known.record(score, settings)
        if name != "multimodal":
            result["paired"][name] = known.paired(
                mine["multimodal"].to_numpy("float64"), score, settings.confidence
            )
    result["interval_advice"] = coverage.advice(result["scores"]["multimodal"], settings.confidence)
    if not asked.seen and threshold is not None:
        result["operating"] = known.operating(mine["multimodal"].to_numpy("float64"), threshold, settings)
    if not asked.seen and recalibration:
        for name, by in recalibration.items():
            before = mine[name].to_numpy("float64")
            after = calibration.recalibrated(before, by) if by["usable"] else None
            result["calibration"][name] = {
                "before": known.calibration(before, settings),
                "after": None if after is None else known.calibration(after, settings),
            }
        result["decision"] = known.decision(
            {name: _probability(mine[name].to_numpy("float64")) for name in recalibration}
        )
    result["notes"] = _notes(asked, known, left, names, bool(result["calibration"]), outcome)
    return result


def _notes(
    asked: Asked, known: Judged, left: int, names: list[str], calibrated: bool, outcome: Outcome
) -> list[str]:
    notes = []
    if calibrated:
        notes.append(
            "The recalibration is learnt on the validation part, on which the models' densities were fitted too: "
            "what it corrects there need not be what is wrong elsewhere, neither in size nor in direction."
        )
        if asked.aim.flags != outcome.learn.flags:
            within = "" if known.at is None else f" within {known.at:g} months"
            notes.append(
                f"The probabilities are those of {outcome.learnt}; here they are compared with {asked.words}{within}, so the "
                "calibration intercept also holds the difference between the two rates."
            )
    if left and known.at is not None:
        notes.append(
            f"{count(left, 'patient')} left before {known.at:g} months without {asked.words}: what became of them is unknown. They "
            "count for as long as they were followed, and the others are weighted up in their place, which assumes that "
            "leaving has nothing to do with the outcome."
        )
    if known.event is not None and (known.event == 2).any():
        notes.append(
            f"{count(int((known.event == 2).sum()), 'patient')} had a competing event: they can no longer have {asked.words}."
        )
    if asked.seen:
        notes.append("The models were fitted or selected on these patients: this is not performance.")
    if "capra" in names and asked.aim.flags[0] == "synchronous_metastasis":
        notes.append("CAPRA is defined for localised disease; here it also scores patients with metastases.")
    return notes


def _probability(log_odds: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(log_odds, -700, 700)))
