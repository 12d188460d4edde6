"""What stands in the way of a run: folders that cannot be written, a full disk, nobody to train on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from promet.core import system
from promet.core.errors import PrometError, UsageError
from promet.workflow.job import Job
from promet.workflow.plan import Plan
from promet.workflow.reasons import last_words
from promet.workflow.scheduler import refusals
from promet.workflow.stages import PATIENT_STAGES

FULL = 2**20  # bytes; with less than this left a disk is called full


def written(plan: Plan, jobs: list[Job]) -> Iterator[Path]:
    """Folders and logs that a run of these jobs writes, as far as they can be told before it."""
    yield from (Path(".snakemake"), Path(plan.results), Path(plan.logs), Path(plan.ledger).parent)
    yield from (path for path in Path(".snakemake").glob("*") if path.is_dir())
    stale = [job for job in jobs if job.state != "fresh"]
    yield from {Path(job.path).parent for job in stale}
    # Shells open the logs, and have no words of promet's when they cannot. Of patients, who may be many, those of now.
    names = {job.at.get("patient", "") for job in stale}
    for folder, _, files in os.walk(plan.logs if stale else ""):
        yield Path(folder)
        ours = [name for name in files if Path(folder).name not in PATIENT_STAGES or Path(name).stem in names]
        yield from (Path(folder, name) for name in ours)


def require_writable(paths: Iterable[str | Path]) -> None:
    """Refuse a run in a folder that belongs to somebody else, or on a disk mounted read-only.

    Raises:
        UsageError: the first path that cannot be written.
    """
    for refusal in system.not_writable(paths):
        raise refusal


def cause(plan: Plan, start: float) -> PrometError | None:
    """Why jobs that began after ``start`` (seconds since 1970) failed, if the operating system or SLURM refused something."""
    for folder in (plan.results, plan.logs, ".snakemake"):
        disk = system.status(Path(folder))
        if disk and (disk.f_bavail * disk.f_frsize < FULL or (disk.f_files and not disk.f_favail)):
            return system.no_room(Path(folder))
        if refused := system.probe(folder):
            return refused
    for path in (*sorted(Path(plan.logs).rglob("*.log")), refusals.TOLD):
        if path.exists() and path.stat().st_mtime >= start:
            code, _, words = last_words(path).partition(": ")
            if kind := system.CODES.get(code):
                return kind(code, words)
    return None


def nobody_to_train(plan: Plan) -> UsageError | None:
    """Why no network can be: the table holds nobody of the development role."""
    if plan.sealed or not plan.rows or any(plan.fit_members(split) for split in plan.splits):
        return None
    return UsageError(
        "E_NOBODY_TO_TRAIN",
        "There is nobody to train a network on: no patient has been assigned to training or validation",
        f"patients of role development, with and without {plan.outcome.learnt}",
        f"Fill in role and {' and '.join(plan.outcome.given_by)}, then promet intake; to score patients with a model that there is: "
        "promet predict MODEL_DIR --cohort TABLE",
    )
