"""Compares every job's record with what the plan wants. Reads sidecars, starts nothing."""

from __future__ import annotations

from pathlib import Path

from promet.core import checksums
from promet.core.bucket import Records
from promet.core.errors import IntegrityError
from promet.core.files import digest_file
from promet.core.sidecar import Sidecar
from promet.workflow import times
from promet.workflow.edges import Graph
from promet.workflow.job import Job
from promet.workflow.plan import Plan
from promet.workflow.reasons import Reasons
from promet.workflow.stages import PATIENT_STAGES, STAGES

MISSED = "E_SOURCE_MISSING"  # also what an earlier promet said of a disk that was away for a moment


def inspect(plan: Plan, phase: str = "all") -> list[Job]:
    """The state of every job up to a phase, in the order in which they run.

    A job is stale when its record's pin is not the one the plan wants, when a record it read has another digest
    by now, or when the record cannot be read. Followers of a stale job are not listed as stale: whether they have
    to run is known once it has run.
    """
    jobs: list[Job] = []
    reasons = Reasons(plan)
    digests: dict[tuple[str, str], str | None] = {}
    records = Records(plan.buckets_dir)
    for stage, at in plan.jobs(phase):
        path = plan.sidecar(stage, **at)
        job = Job(stage, at, path, "fresh", pin=plan.pin(stage, **at))
        jobs.append(job)
        try:
            record = records.read(path, stage, at.get("patient", ""))
        except IntegrityError:
            job.state, job.why = "stale", "its record is damaged"
            continue
        if record is None:
            job.state, job.why = "missing", "not made yet"
            continue
        job.status, job.code, job.reason, job.origin = (
            record.status,
            record.code,
            record.reason,
            record.origin,
        )
        job.made_with = record.pin
        patient = at.get("patient", "")
        digests[patient, stage] = record.digest
        if stage == "train" and plan.model_locked:
            continue  # kept as it is, whatever a newer promet would train
        if record.code == MISSED and record.origin == stage and not plan.lacks_a_source(patient):
            job.state, job.why = "stale", "a source that could not be read is registered"
        elif record.pin != job.pin:
            job.state, job.why = "stale", reasons.why(job)
        elif stage in PATIENT_STAGES:
            read = dict.fromkeys(STAGES[stage].after[:1]) | record.inputs if STAGES[stage].after else {}
            older = [n for n, digest in read.items() if digests.get((patient, n), digest) != digest]
            if older:
                job.state, job.why = "stale", f"made from an older {older[0]}"
        elif checksums.NAME in record.products and (damage := _damage(Path(path), record)):
            job.state, job.why = "stale", damage
    _note_newer(plan, jobs)
    made = {job.at["patient"] for job in jobs if job.stage in PATIENT_STAGES and job.state != "missing"}
    finished = any(job.stage == "report" and job.state != "missing" for job in jobs)
    for job in jobs:
        if job.state == "missing" and job.at.get("patient") in made:
            job.state, job.why = "lost", "its record is gone" if finished else "not made yet"
        elif job.state == "missing" and finished and "split" in job.at and job.stage != "train":
            job.why = "its record is gone"
    return jobs


def _note_newer(plan: Plan, jobs: list[Job]) -> None:
    """A run that was killed between two jobs left a product newer than what was made from it."""
    newer = times.outdated(Graph(plan))
    for job in jobs if newer else ():
        before = newer.get((job.stage, *job.at.values()))
        if before and job.state == "fresh":
            job.state, job.why = "stale", f"made from an older {before}"


def _damage(path: Path, record: Sidecar) -> str:
    """What is not as it was in the folder of a locked model, whose record names only the list of its checksums; '' = nothing."""
    sums = path.with_name(checksums.NAME)
    try:
        faults = [(name, what) for name, what in checksums.compare(path.parent) if what != checksums.EXTRA]
    except IntegrityError:
        return f"{checksums.NAME} of the locked model is missing or damaged"
    if digest_file(sums) != record.products[checksums.NAME]:
        faults.insert(0, (checksums.NAME, checksums.CHANGED))
    return f"{faults[0][0]} of the locked model is {faults[0][1]}" if faults else ""


def stale_records(plan: Plan, jobs: list[Job]) -> list[str]:
    """The records that Snakemake has to be told to make again, whatever its own records say or have lost.

    It makes a patient's missing records by itself, unless a bucket stands before them; of a study's it makes none as
    long as later ones are there.
    """
    hidden = PATIENT_STAGES if plan.buckets else ()
    return sorted(
        {
            plan.output(job.stage, **job.at)
            for job in jobs
            if job.state in ("stale", "lost")
            or (job.state == "missing" and (job.stage in hidden or "patient" not in job.at))
        }
    )
