"""Whether the answer can be believed, in one sentence that follows from numbers and doubts alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from promet.core.words import count
from promet.report.calibrated import quoted
from promet.report.doubts import ENOUGH, WIDE
from promet.report.text import interval, known, level, listed, p_value
from promet.report.words import lead_section, nowhere, rank_test, sides

if TYPE_CHECKING:
    from collections.abc import Sequence

    from promet.report.doubts import Doubt
    from promet.study.forms.metrics import Metrics

CLAUSES = 2  # doubts that one sentence can carry; the page lists them all


def verdict(metrics: Metrics | None, doubts: Sequence[Doubt]) -> tuple[str, str]:
    """(Can it be believed?, why), which make one sentence with a colon between them.

    - no AUC: no answer;
    - no interval (a perfect separation, one patient of a class): the rank test alone says not yet, no or a hint;
    - interval below 0.5: no; interval includes 0.5, or the rank test disagrees: not yet;
    - fewer than ``ENOUGH`` patients with or without the outcome, or an interval wider than ``WIDE``: a hint;
    - a doubt that bears on the verdict (one with a clause): with reservations; else yes, in patients like these.
    """
    lead = lead_section(metrics)
    if lead is None or metrics is None:
        return (
            "There is no answer yet",
            f"no AUC can be given {nowhere(metrics)}",
        )
    section, confidence = lead[1], metrics["confidence"]
    record = section["scores"].get("multimodal")
    if record is None or not known(record["auc"]):
        return "There is no answer yet", "the multimodal score has no AUC in these patients"
    low, high = quoted(section, "multimodal")
    positives, negatives = section["positives"], section["negatives"]
    yes, no = sides(section)
    patients = f"{count(positives, 'patient')} {yes} and {negatives} {no}"
    clauses = [doubt.clause for doubt in doubts if doubt.clause][:CLAUSES]
    if not known(low) or not known(high):
        return _without_interval(record, patients, confidence, clauses)
    bounds = f"{level(confidence)} interval of the AUC ({interval(low, high)})"
    if high < 0.5:
        return "No", f"the score ranks these patients the wrong way round, the {bounds} lies below 0.5"
    if low <= 0.5:
        return (
            "Not yet",
            f"from {patients} the {bounds} includes 0.5, so the score is not shown to beat chance",
        )
    rank = record["mann_whitney"]["p"]
    if known(rank) and rank >= 1 - confidence:
        return (
            "Not yet",
            f"the {bounds} excludes 0.5, but the rank test does not exclude chance ({p_value(rank)})",
        )
    if high - low > WIDE:
        open_ = f"{patients} leave any AUC from {interval(low, high)} possible"
    elif min(positives, negatives) < ENOUGH:
        open_ = f"it rests on only {patients}"
    else:
        found = f"the {bounds} is narrow and rests on {patients}"
        if clauses:
            return "With reservations", f"{found}, but {listed(clauses)}"
        return "Yes, in patients like these", found
    return (
        "As a hint, no more",
        f"the score ranks these patients better than chance, but {listed([open_, *clauses])}",
    )


def _without_interval(
    record: dict[str, Any], patients: str, confidence: float, clauses: list[str]
) -> tuple[str, str]:
    """The verdict where the AUC has no standard error: what the rank test says, and that the size of the effect stays open."""
    name, p = rank_test(record)
    if not known(p):
        return (
            "Not yet",
            f"from {patients} neither an interval of the AUC nor a test against chance can be given",
        )
    told = f"{name} {p_value(p)}"
    if p >= 1 - confidence:
        return (
            "Not yet",
            f"from {patients} no interval of the AUC can be given and the rank test does not exclude chance ({told})",
        )
    if record["auc"] < 0.5:
        return "No", f"the score ranks these patients the wrong way round ({told})"
    perfect = (
        "it separates them without exception, so first look for the outcome among the inputs"
        if record["auc"] == 1
        else ""
    )
    open_ = f"from {patients} no interval of its AUC can be given"
    return (
        "As a hint, no more",
        f"the score ranks these patients better than chance ({told}), but {listed([open_, *filter(None, [perfect]), *clauses])}",
    )
