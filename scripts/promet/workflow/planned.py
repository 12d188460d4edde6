"""What the rules tell their jobs of the plan, and how the jobs hold what they read against it.

The plan is made when a run begins; a job may read hours later. A rule hands over (``PROMET_PLANNED``) what the pin of the
job holds of the table, the ledger and the registry. A job that finds something else fails and leaves no record, so that
no record ever says less than what was read; a source that is not there is the disk's fault and not the patient's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promet.core import reads
from promet.core.errors import IntegrityError
from promet.core.pin import pin as digest_of
from promet.study import freezing, ledger, registry, table
from promet.study import parts as study_parts
from promet.study.outcome import Outcome
from promet.study.sources import source as located
from promet.study.table import Row
from promet.workflow.buckets import ImagePins
from promet.workflow.uses import columns_used, table_uses

if TYPE_CHECKING:
    from promet.workflow.plan import Plan

VARIABLE = "PROMET_PLANNED"
PAPER = Outcome().model_dump(mode="json")


def of_table(plan: Plan, stage: str, split: str = "") -> str:
    """What a job uses of the table and the ledger, for its rule."""
    used = digest_of(plan.table_uses(stage, split))
    told = {"stage": stage, "split": plan.split_of(stage, split), "table": plan.cohort, "digest": used}
    if outcome := {k: v for k, v in plan.config["outcome"].items() if v != PAPER[k]}:
        told["outcome"] = outcome
    return json.dumps(told | {"ledger": plan.ledger, "assigned": _assigned(plan.rows, plan.entries)})


def of_sources(plan: Plan, stage: str, patient: str) -> str:
    """Where the sources that a job reads lie and what they are, for its rule."""
    return json.dumps(
        {
            "sources": sources(
                plan.config["imaging"], stage, plan.registered(patient), plan.rows[patient], plan.cohort
            )
        }
    )


def sources(
    imaging: dict[str, Any], stage: str, rows: dict[str, Row], row: Row, cohort: str | Path
) -> dict[str, dict[str, Any]]:
    """Name -> path, digest, number of files and bytes of the sources that a stage reads.

    Args:
        imaging: the section ``imaging`` of the configuration.
        stage: its name.
        rows: the registry's rows of the patient, by source.
        row: the patient's row of the table: it says where the files are now, an old registry may not.
        cohort: the table.
    """
    names = {
        name.partition(" ")[2] for name in ImagePins(imaging).uses(stage, rows) if name.startswith("source ")
    }
    if stage == "segment" and not imaging["convert"]["keep_pet"]:
        names.add("pet")  # which is converted again
    return {
        name: {
            "path": str(located(Path(cohort).parent, row[name])) if row[name] else rows[name]["path"],
            **{what: rows[name][what] for what in ("digest", "files", "bytes")},
        }
        for name in sorted(names & rows.keys())
    }


def begin(text: str) -> reads.Reads:
    """What a job was told it reads."""
    if images := registry.planned(text):
        return images
    told = json.loads(text)
    return NewPatient(told.pop("sources"), **told) if "cells" in told else Tables(**told)


def _assigned(patients: Iterable[str], entries: list[ledger.Entry]) -> str:
    known = set(patients)
    return digest_of(sorted([e.split, e.patient, e.part] for e in entries if e.patient in known))


@dataclass
class Tables:
    """The table and the ledger, read once when this is made."""

    stage: str
    split: str
    table: str
    digest: str
    ledger: str
    assigned: str
    outcome: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Hold both files."""
        for path in (self.table, self.ledger):
            if os.path.exists(path):
                reads.hold(path)

    def digests(self) -> dict[str, str]:
        """What the job uses of both."""
        return {"table": self.digest, "ledger": self.assigned}

    def check(self, thorough: bool = False) -> None:
        """Once is enough: nothing is read again."""
        outcome = Outcome.model_validate(self.outcome)
        rows = table.by_patient(self.table, outcome.extra)
        entries = ledger.read(self.ledger)
        parts = dict.fromkeys(rows, ledger.PROSPECTIVE) if self.split else {}
        if self.split:
            assigned = study_parts.current(entries, rows, freezing.excluded(self.ledger), outcome)
            parts |= assigned.get(int(self.split), {})
        columns = columns_used({"outcome": self.outcome}, self.stage)
        for what, planned, found in (
            ("cohort table", self.digest, digest_of(table_uses(self.stage, rows, parts, columns=columns))),
            ("split ledger", self.assigned, _assigned(rows, entries)),
        ):
            if planned != found:
                raise IntegrityError(
                    "E_PLAN_CHANGED",
                    f"The {what} changed while the run was going on, in what {self.stage} uses of it",
                    "what was there when the run began",
                    "Start it again",
                )


@dataclass
class NewPatient(registry.Registered):
    """What the answer for one patient of a table of new ones is made from: images and row (promet predict)."""

    table: str = ""
    patient: str = ""
    cells: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Hold the table."""
        if os.path.exists(self.table):
            reads.hold(self.table)

    def check(self, thorough: bool = False) -> None:
        """The images as registered, the row as it was when the run began."""
        super().check(thorough)
        row = {one["patient"]: one for one in table.read(self.table)}.get(self.patient, {})
        if {name: row.get(name) for name in self.cells} != self.cells:
            raise IntegrityError(
                "E_PLAN_CHANGED",
                "The table changed while the run was going on, in the row of this patient",
                "what was there when the run began",
                "Start it again",
            )
