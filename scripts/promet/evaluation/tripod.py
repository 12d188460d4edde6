"""TRIPOD+AI checklist and model card, filled from a study's own records; what promet cannot know it says.

checklist.json (written by ``promet evaluation tripod``)::

    schema: 1
    standard: sentence with the source
    items: [{item, section, asks, status, where, text}]     52 lines of 27 numbered items, in their order
              asks: the item in short, in own words; status: "answered" (from the records) | "partly" (the records tell one
              side, the rest is the authors') | "authors" (promet does not know); where: place in the report or file,
              "" when nowhere; text: sentences
    counts: {answered, partly, authors}
    model_card: [{title, sentences: [sentence, ...]}]
    notes: [sentence, ...]
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promet.core.errors import UsageError
from promet.core.files import write_json
from promet.core.sidecar import Sidecar
from promet.core.stage import Outcome, run_stage
from promet.evaluation.checklists.answers import answers
from promet.evaluation.checklists.card import card
from promet.evaluation.checklists.facts import Facts, facts
from promet.evaluation.checklists.items import ITEMS
from promet.workflow.stages import STAGES

PRODUCT = "checklist.json"
STANDARD = "TRIPOD+AI, 27 items: Collins et al., BMJ 2024;385:e078378. The items are paraphrased; the published checklist is binding."
UNKNOWN = "promet does not know: "


def checklist(known: Facts) -> list[dict[str, str]]:
    """All lines of the checklist."""
    given = answers(known)
    rows = []
    for item, section, asks, gap in ITEMS:
        where, text = given.get(item, ("", ""))
        missing = "how the outcome was confirmed" if item == "8a" and not known.paper else gap
        status = "authors" if not text else "partly" if missing else "answered"
        said = " ".join(part for part in (text, UNKNOWN + missing + "." if missing else "") if part)
        if not said:
            status, said = (
                "authors",
                UNKNOWN + "the records this needs are not there (the run is not finished).",
            )
        rows.append(
            {"item": item, "section": section, "asks": asks, "status": status, "where": where, "text": said}
        )
    return rows


def model_card(known: Facts) -> list[dict[str, Any]]:
    """Model card in the order of Mitchell et al. (FAT* 2019): what it is, for whom, how good, what it cannot do."""
    return [{"title": title, "sentences": sentences} for title, sentences in card(known)]


@dataclass(frozen=True)
class Inputs:
    """What this stage reads."""

    study: Path  # results folder of the study
    config: dict[str, Any]  # the whole configuration without its paths


def run(inputs: Inputs, settings: None, out: Path, pin: str) -> Sidecar:
    """Write checklist.json beside ``out``, and the sidecar ``out`` last."""
    study = inputs.study
    if not study.is_dir():
        raise UsageError("E_STUDY_MISSING", "The study folder does not exist", "results/<study> of a run")

    def work() -> Outcome:
        known = facts(study, inputs.config)
        items = checklist(known)
        counts = {
            status: sum(row["status"] == status for row in items)
            for status in ("answered", "partly", "authors")
        }
        product = out.with_name(PRODUCT)
        write_json(
            product,
            {
                "schema": 1,
                "standard": STANDARD,
                "items": items,
                "counts": counts,
                "model_card": model_card(known),
                "notes": [
                    "Every sentence comes from the records of the first split; the authors must read and complete them."
                ],
            },
        )
        return Outcome(products={"tripod": product}, values=counts)

    first = next((p.name.removeprefix("split-") for p in sorted(study.glob("fusion/split-*"))), "00")
    paths = {name: study / STAGES[name].record.format(split=first) for name in STAGES["tripod"].before}
    return run_stage(
        "tripod",
        out,
        pin,
        work,
        upstream={name: path for name, path in paths.items() if path.exists()},
        makes=(PRODUCT,),
    )
