"""Compares every job's record with what the plan wants. Reads sidecars, starts nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from promet.cohort.plan import PATIENT_STAGES, Plan
from promet.core.errors import IntegrityError
from promet.core.sidecar import Sidecar

# Upstream stages of a patient's stage, in the words of the sidecars' "inputs".
AFTER = {
    "segment": "convert",
    "crop": "segment",
    "normalise": "crop",
    "measure": "segment",
    "picture": "segment",
}


@dataclass
class Job:
    """One job and its state; ``status`` is the record's own word.

    fresh, stale, missing (never made), or lost: a patient's record that is gone while later ones are there, which
    Snakemake does not make again by itself.
    """

    stage: str
    at: dict[str, str]
    path: str
    state: str
    why: str = ""
    status: str = ""
    code: str = ""
    reason: str = ""
    origin: str = ""

    @property
    def name(self) -> str:
        """Short name for a line of text."""
        return "/".join(self.at.values()) or "study"


def inspect(plan: Plan, phase: str = "all") -> list[Job]:
    """The state of every job up to a phase, in the order in which they run.

    A job is stale when its record's pin is not the one the plan wants, when a record it read has another digest
    by now, or when the record cannot be read. Followers of a stale job are not listed as stale: whether they have
    to run is known once it has run.
    """
    jobs: list[Job] = []
    digests: dict[tuple[str, str], str | None] = {}
    for stage, at in plan.jobs(phase):
        path = plan.sidecar(stage, **at)
        job = Job(stage, at, path, "fresh")
        jobs.append(job)
        if not Path(path).exists():
            job.state, job.why = "missing", "never made"
            continue
        try:
            record = Sidecar.read(path)
        except IntegrityError:
            job.state, job.why = "stale", "its record is damaged"
            continue
        job.status, job.code, job.reason, job.origin = (
            record.status,
            record.code,
            record.reason,
            record.origin,
        )
        patient = at.get("patient", "")
        digests[patient, stage] = record.digest
        if record.pin != plan.pin(stage, **at):
            job.state, job.why = "stale", _reason(stage)
        elif stage in PATIENT_STAGES:
            before = (patient, AFTER.get(stage, ""))
            if before in digests and record.inputs.get(before[1]) != digests[before]:
                job.state, job.why = "stale", f"made from an older {before[1]}"
    made = {job.at["patient"] for job in jobs if job.stage in PATIENT_STAGES and job.state != "missing"}
    for job in jobs:
        if job.state == "missing" and job.at.get("patient") in made:
            job.state, job.why = "lost", "its record is gone"
    return jobs


def _reason(stage: str) -> str:
    if stage in ("convert", "segment"):
        return "its source images or their settings changed"
    if stage in PATIENT_STAGES:
        return "its settings changed"
    return "its rows of the table, its settings or its members changed"
