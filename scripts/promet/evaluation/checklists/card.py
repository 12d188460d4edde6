"""The model card: what the model is, for whom, how good, what it cannot do, and what promet does not know of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from promet.evaluation.checklists import answers as say

if TYPE_CHECKING:
    from promet.evaluation.checklists.facts import Facts


def card(known: Facts) -> list[tuple[str, list[str]]]:
    """Title and sentences of each part of the model card; promet's ignorance is a part of its own."""
    chosen = known.get("select", "values") or {}
    members = known.get("model", "members") or [known.found.get("model") or {}]
    names = members[0].get("architecture") or {}
    model = []
    if names and chosen:
        size = f", {known.parameters:,} parameters" if known.parameters else ""
        model.append(
            f"Network: {names.get('name')} in 3D{size}. Of {chosen['candidates']} trained ones {say.taken(chosen)}, by the validation part alone."
        )
    parts = (
        ("Model", [*model, say.specification(known), say.calculation(known)]),
        (
            "Intended use",
            [
                "Research on patients with untreated prostate cancer and a PSMA PET. It is no medical device and decides nothing about a patient."
            ],
        ),
        (
            "Not for",
            [
                "Treated patients, other tracers than the table names, scans without an intraprostatic lesion (the network gives them no "
                "score), other outcomes than those below."
            ],
        ),
        ("Inputs", [say.predictors(known), say.measured(known)]),
        ("Training data", [say.split(known), say.events(known), say.missing(known)]),
        ("Performance", [say.performance(known), say.recalibrated(known), say.chance(known)]),
        ("Limits", say.limits(known)),
        (
            "What promet does not know",
            [
                "Who was asked and who declined; dates; treatments; origin, income and language of the patients; how the outcome was "
                "confirmed; who read the scans; ethics, consent and funding.",
                "Whether the model is fair to any group of people: nothing in the table allows it to be tested but age.",
            ],
        ),
    )
    return [(title, [s for s in sentences if s]) for title, sentences in parts]
