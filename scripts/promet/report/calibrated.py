"""Sentences about calibration, benefit and intervals; they follow from numbers alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from promet.core.words import count
from promet.report.text import fixed, interval, known, level

if TYPE_CHECKING:
    from promet.study.forms.metrics import Metrics, Section

DESCRIPTIVE = 50  # patients of the rarer class below which the evaluation calls calibration descriptive
INTERVALS = {"delong": "DeLong", "logit": "logit-DeLong", "bootstrap": "bootstrap"}
UNEXAMINED = "An AUC says how patients are ranked. Whether a probability given here is right was not examined, so none should be quoted."


def examined(section: Section | None, name: str = "multimodal") -> dict[str, Any] | None:
    """The record of a model's probabilities as they are; ``None`` when they were not examined."""
    return (((section or {}).get("calibration") or {}).get(name) or {}).get("before")


def doubt(section: Section | None, confidence: float) -> tuple[str, str]:
    """Title and sentence: what the calibration of the multimodal score in ``section`` shows."""
    record = examined(section)
    if record is None:
        return "Calibration not examined", UNEXAMINED
    slope, intercept = record["slope"], record["intercept"]
    patients = f"{count(record['n'], 'patient')} ({record['positives']} with the outcome, {record['negatives']} without)"
    if not (known(slope["value"]) and known(intercept["value"])):
        return "Calibration cannot be judged", " ".join(
            [f"Whether the probabilities are right cannot be judged in {patients}.", *record["notes"]]
        )
    numbers = (
        f"slope {fixed(slope['value'])} ({level(confidence)} CI {interval(slope['low'], slope['high'])}; 1 = right), "
        f"intercept {fixed(intercept['value'])} ({interval(intercept['low'], intercept['high'])}; 0 = right)"
    )
    wrong = ["too extreme"] if slope["high"] < 1 else ["not extreme enough"] if slope["low"] > 1 else []
    wrong += ["too high"] if intercept["high"] < 0 else ["too low"] if intercept["low"] > 0 else []
    if wrong:
        return "The probabilities are not right", (
            f"In {patients} the multimodal probabilities are {' and on average '.join(wrong) if len(wrong) == 2 else wrong[0]}: "
            f"{numbers}; none should be quoted."
        )
    if min(record["positives"], record["negatives"]) < DESCRIPTIVE:
        return "Calibration cannot be judged", (
            f"{patients} are too few to judge whether the probabilities are right: {numbers}; that the intervals include the right "
            "values is no proof."
        )
    return "Calibrated here only", (
        f"The probabilities are not shown to be wrong in {patients}: {numbers}; elsewhere, with another share of patients with the "
        "outcome, they need not hold."
    )


def preferred(section: Section) -> str:
    """The interval to quote for an AUC: the one whose coverage is nearest to its level in a cohort of this size."""
    return (section.get("interval_advice") or {}).get("prefer") or "delong"


def quoted(section: Section, name: str) -> tuple[float | None, float | None]:
    """Bounds of the preferred interval of a score's AUC; ``None`` where it cannot be given."""
    bounds = section["scores"][name].get(preferred(section)) or {}
    return bounds.get("low"), bounds.get("high")


def advice(section: Section | None, name: str = "multimodal") -> str:
    """Which interval of the AUC to quote and what it is; empty when nothing is known about it."""
    told = (section or {}).get("interval_advice")
    if not told or not told.get("sentence"):
        return ""
    preferred = told.get("prefer")
    bounds = (section["scores"].get(name) or {}).get(preferred) if section and preferred else None
    if not bounds or not known(bounds["low"]):
        return told["sentence"]
    return f"{told['sentence']} For the multimodal AUC the {INTERVALS[preferred]} interval is {interval(bounds['low'], bounds['high'])}."


def unusable(metrics: Metrics, titles: dict[str, str]) -> list[str]:
    """Why a model could not be recalibrated."""
    return [
        f"No recalibration of the score {titles.get(name, name)}: {by['reason']}"
        for name, by in sorted((metrics.get("recalibration") or {}).items())
        if not by["usable"]
    ]


def benefit(section: Section, titles: dict[str, str]) -> list[str]:
    """Where each model is worth more than treating all or none, one sentence each, and the notes."""
    curves = section.get("decision")
    if not curves:
        return []
    steps, said = len(curves["thresholds"]), []
    for name in ordered(curves["models"]):
        model = curves["models"][name]
        if not model["net_benefit"]:
            continue
        better = model["better_steps"]
        where = (
            f"at {better} of {steps} thresholds, all of them between {fixed(model['better_from'])} and {fixed(model['better_to'])}"
            if better
            else "at no threshold"
        )
        said.append(
            f"{titles.get(name, name)}: net benefit above both treating all and treating none {where}."
        )
    return [
        f"{section['title']}, {count(curves['n'], 'patient')}. {' '.join([*said, *curves['notes']])}".strip()
    ]


def ordered(models: dict[str, Any]) -> list[str]:
    """Names of the models, multimodal and clinical first."""
    first = [name for name in ("multimodal", "clinical") if name in models]
    return first + sorted(set(models) - set(first))
