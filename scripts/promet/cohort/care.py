"""Looking after products: are they what their records say, whose are no longer wanted, which to try again."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from promet.cohort.plan import ORGANS, PATIENT_STAGES, Plan
from promet.core import checksums
from promet.core.bucket import TABLE
from promet.core.errors import IntegrityError
from promet.core.files import digest_file, read_json
from promet.core.sidecar import QUARANTINED, Sidecar


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


def abandoned(plan: Plan) -> list[Path]:
    """Folders of patients that the table no longer holds (Snakemake never deletes them)."""
    folder = Path(plan.patients_dir)
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name not in plan.named)


def prune(plan: Plan) -> list[Path]:
    """Delete the folders and logs of patients that the table no longer holds; returns what was deleted."""
    gone = []
    for folder in abandoned(plan):
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
