"""Looking after products: are they what their records say, whose are no longer wanted, which to try again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from promet.core import checksums, system
from promet.core.bucket import TABLE
from promet.core.errors import IntegrityError, PrometError, UsageError
from promet.core.files import digest_file, read_json
from promet.core.sidecar import QUARANTINED, Sidecar
from promet.workflow.plan import ORGANS, PATIENT_STAGES, Plan
from promet.workflow.reasons import last_words
from promet.workflow.status import Job

FULL = 2**20  # bytes; with less than this left a disk is called full


@dataclass(frozen=True)
class Damage:
    """A product that is not what its record says: ``what`` is missing, changed or the record itself."""

    record: str
    product: str
    what: str


def verify(plan: Plan) -> tuple[int, list[Damage]]:
    """Compare every product of the study with the digest in its record.

    Returns:
        number of products read, and the damages. Snakemake does not notice a deleted or changed intermediate as long
        as what follows from it is there.
    """
    read, damages = 0, []
    for stage, at in plan.jobs():
        path = Path(plan.sidecar(stage, **at))
        if not path.exists():
            continue
        try:
            record = Sidecar.read(path)
        except IntegrityError:
            damages.append(Damage(str(path), path.name, "the record cannot be read"))
            continue
        for name, digest in record.products.items():
            product = path.with_name(name)
            product = product if product.exists() else path.parent / "figures" / name
            read += 1
            if not product.exists():
                damages.append(Damage(str(path), name, "missing"))
            elif digest_file(product) != digest:
                damages.append(Damage(str(path), name, "changed"))
            elif name == checksums.NAME:  # the locked model: its record names the list, the list its files
                read += len(checksums.read(path.parent))
                damages += [
                    Damage(str(path), *fault) for fault in checksums.compare(path.parent, (path.name,))
                ]
    return read, damages


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
    """Why jobs that began after ``start`` (seconds since 1970) failed, if the operating system refused something."""
    for folder in (plan.results, plan.logs, ".snakemake"):
        disk = system.status(Path(folder))
        if disk and (disk.f_bavail * disk.f_frsize < FULL or (disk.f_files and not disk.f_favail)):
            return system.no_room(Path(folder))
        if refused := system.probe(folder):
            return refused
    for path in sorted(Path(plan.logs).rglob("*.log")):
        if path.stat().st_mtime >= start:
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
        "There is nobody to train a network on: no patient has been dealt to training or validation",
        "patients of role development, with and without synchronous metastasis",
        "Fill in role and synchronous_metastasis, then promet intake; to score patients with a model that there is: "
        "promet predict MODEL_DIR --cohort TABLE",
    )


def abandoned(plan: Plan) -> list[Path]:
    """Folders of patients that the table no longer holds (Snakemake never deletes them)."""
    folder = Path(plan.patients_dir)
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name not in plan.named)


def prune(plan: Plan) -> list[Path]:
    """Delete the folders and logs of patients that the table no longer holds; returns what was deleted."""
    gone = []
    folders = abandoned(plan)
    require_writable([plan.patients_dir, *(p for f in folders for p in (f, *f.rglob("*")) if p.is_dir())])
    for folder in folders:
        logs = [
            Path(plan.logs, "imaging", stage, f"{folder.name}.log") for stage in (ORGANS, *PATIENT_STAGES)
        ]
        shutil.rmtree(folder)
        for path in (path for path in logs if path.exists()):
            path.unlink()
        gone.append(folder)
    _forget({folder.name for folder in gone}, plan)
    return gone


def _forget(names: set[str], plan: Plan) -> None:
    """Delete the tables and logs of buckets that name them; the next run writes these without them."""
    for path in sorted(Path(plan.buckets_dir).glob(f"*/{TABLE}")) if plan.buckets else []:
        if names & set(read_json(path)):
            shutil.rmtree(path.parent)
            Path(plan.logs, "imaging/bucket", f"{path.parent.name}.log").unlink(missing_ok=True)


def quarantined(plan: Plan) -> list[str]:
    """Records of the stages that quarantined a patient first; running these again tries the patients again."""
    found = []
    for patient in plan.patients:
        for stage in (*([ORGANS] if plan.organ_records([patient]) else []), *PATIENT_STAGES):
            path = Path(plan.sidecar(stage, patient=patient))
            if path.exists():
                record = Sidecar.read(path)
                if record.status == QUARANTINED and record.origin == stage:
                    found.append(str(path))
    return found
