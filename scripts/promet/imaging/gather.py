"""All patients in one table, the excluded in another, and two digests that training and fusion wait for."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promet.core import bucket
from promet.core.errors import UsageError
from promet.core.files import write_json, write_text
from promet.core.pin import pin as digest_of
from promet.core.sidecar import NO_LESION, OK, QUARANTINED, Sidecar
from promet.core.stage import Outcome, run_stage
from promet.core.words import count
from promet.study import likeness
from promet.study.forms.tables import MEASURES, PATIENTS
from promet.workflow.stages import of_patients

STAGES = of_patients("normalise", "measure")
EXCLUSIONS = ("patient", "status", "code", "reason", "origin")
PRODUCTS = (PATIENTS.file, "exclusions.tsv", "tensors.json", "measures.json")


def records(patients: Path, patient: str) -> dict[str, Sidecar]:
    """The sidecars of one patient by stage; normalise and measure must be there.

    Raises:
        UsageError: ``E_RECORD_MISSING``.
    """
    found = {}
    for stage in STAGES:
        path = Path(patients) / patient / f"{stage}.json"
        if path.exists():
            found[stage] = Sidecar.read(path)
        elif stage in ("normalise", "measure"):
            raise UsageError(
                "E_RECORD_MISSING",
                f"Patient {patient} has no {stage}.json",
                "the records of normalise and measure of every patient",
                "Run the imaging stages first",
            )
    return found


def bucket_records(folder: Path, ids: list[str]) -> dict[str, dict[str, Sidecar]]:
    """The records of patients who share jobs, from the tables of their buckets.

    Raises:
        UsageError: ``E_RECORD_MISSING``.
    """
    table = bucket.table(folder)
    missing = [patient for patient in ids if not {"normalise", "measure"} <= set(table.get(patient, ()))]
    if missing:
        raise UsageError(
            "E_RECORD_MISSING",
            f"No normalise or no measure in the buckets for {count(len(missing), 'patient')}, the first is {missing[0]}",
            "both of every patient",
            "Run the imaging stages first",
        )
    return {
        patient: {
            stage: record for stage, record in bucket.sidecars(table[patient]).items() if stage in STAGES
        }
        for patient in ids
    }


def row(patient: str, stages: dict[str, Sidecar]) -> dict[str, Any]:
    """One row of patients.parquet: status of the patient, digest of the tensor, measures (None = not measured).

    The status is that of ``normalise``, unless only ``measure`` was quarantined.
    """
    tensor, measured = stages["normalise"], stages["measure"]
    judge = measured if measured.status == QUARANTINED and tensor.status != QUARANTINED else tensor
    line: dict[str, Any] = {
        "patient": patient,
        "status": judge.status,
        "code": judge.code,
        "reason": judge.reason,
        "origin": judge.origin,
        "tensor_digest": tensor.products.get("tensor.npy", "") if tensor.ok else "",
    }
    if judge.status == NO_LESION:
        line["code"] = line["code"] or "NO_LESION"
        line["reason"] = line["reason"] or "No lesion was found in the prostate."
    for name in sorted({*MEASURES, *measured.values}):
        line[name] = measured.values.get(name)
    line["inside_fraction"] = stages["crop"].values.get("inside_fraction") if "crop" in stages else None
    return line


def frame(rows: list[dict[str, Any]]) -> Any:
    """The rows as a pandas frame: text columns first, every other column float64 with NaN for missing."""
    import pandas as pd

    numbers = (
        list(dict.fromkeys(name for line in rows for name in line if name not in PATIENTS.text))
        or PATIENTS.numbers
    )
    numbers = [*sorted(name for name in numbers if name != "inside_fraction"), "inside_fraction"]
    columns: dict[str, Any] = {
        name: pd.Series([line[name] for line in rows], dtype="object") for name in PATIENTS.text
    }
    for name in numbers:
        columns[name] = pd.Series([line.get(name) for line in rows], dtype="float64")
    return pd.DataFrame(columns)


def _cell(text: str) -> str:
    return " ".join(str(text).split())


def require_one_name_each(
    patients: Path, found: dict[str, dict[str, Sidecar]], freeze: Path | None = None
) -> None:
    """Refuse two patients with one scan, and the scan of somebody who was assigned before and left the table, or was withdrawn.

    Raises:
        UsageError: ``E_SAME_SCAN``, ``E_RENAMED``, ``E_WITHDRAWN_RETURNS``.
    """
    converted = {patient: stages["convert"] for patient, stages in found.items() if "convert" in stages}
    signatures = {
        patient: record.values.get("signature", []) for patient, record in converted.items() if record.ok
    }
    tensors: dict[str, list[str]] = {}
    for patient, stages in found.items():
        if digest := stages["normalise"].products.get("tensor.npy"):
            tensors.setdefault(digest, []).append(patient)
    for names in likeness.alike(signatures) + [names for names in tensors.values() if len(names) > 1]:
        raise UsageError(
            "E_SAME_SCAN",
            f"{' and '.join(names)} have the same scan in SUV, although their files differ",
            "one pseudonym per patient: one patient in training and in test would leak",
            "Delete the doubled row, or correct the folder of one of them",
        )
    if freeze:
        book = freeze.with_name("ledger.tsv")
        likeness.require_nobody_former(book, patients, signatures, found)
        likeness.keep(book, signatures)


@dataclass(frozen=True)
class Inputs:
    """Whose records: ``ids``, in the folders below ``patients``, or in the tables of ``buckets`` where patients share jobs.

    ``freeze`` is freeze.json of the study, for its waivers.
    """

    patients: Path
    ids: Sequence[str]
    buckets: Path | None = None
    freeze: Path | None = None


def run(inputs: Inputs, settings: None, out: Path, pin: str) -> Sidecar:
    """The stage ``gather``.

    Writes beside ``out``: patients.parquet (one row per patient, sorted by id), exclusions.tsv (those whose status is
    not ok), and two files of nothing but a digest, equal in bytes when what they stand for is equal: tensors.json over
    (patient, tensor digest) of those with a tensor, measures.json over (patient, status, measures). The counts and the
    warnings of all stages are in the record's values.

    Raises:
        UsageError: ``E_RECORD_MISSING``, ``E_GATHER_IDS`` (an id twice), and as ``require_one_name_each``.
    """
    folder, ids, buckets = out.parent, sorted(inputs.ids), inputs.buckets
    if len(set(ids)) != len(ids):
        raise UsageError("E_GATHER_IDS", "A patient id was given twice", "each id once")

    def work() -> Outcome:
        if buckets is None:
            found = {patient: records(inputs.patients, patient) for patient in ids}
        else:
            found = bucket_records(buckets, ids)
        require_one_name_each(inputs.patients, found, inputs.freeze)
        bucket.leave_only(folder.parent / "buckets", buckets)
        rows = [row(patient, stages) for patient, stages in found.items()]
        PATIENTS.write(folder / PATIENTS.file, frame(rows))
        lost = [line for line in rows if line["status"] != OK]
        text = io.StringIO()
        writer = csv.writer(text, delimiter="\t", lineterminator="\n")
        writer.writerows([EXCLUSIONS, *([_cell(line[name]) for name in EXCLUSIONS] for line in lost)])
        write_text(folder / "exclusions.tsv", text.getvalue())
        tensors = [[line["patient"], line["tensor_digest"]] for line in rows if line["tensor_digest"]]
        write_json(folder / "tensors.json", {"digest": digest_of(tensors)})
        hidden = {"code", "reason", "origin", "tensor_digest", "inside_fraction"}
        measured = [{name: value for name, value in line.items() if name not in hidden} for line in rows]
        write_json(folder / "measures.json", {"digest": digest_of(measured)})
        warnings = [
            [patient, stage, sentence]
            for patient, stages in found.items()
            for stage, record in stages.items()
            for sentence in record.warnings
        ]
        counts = {name: sum(line["status"] == name for line in rows) for name in (OK, NO_LESION, QUARANTINED)}
        return Outcome(
            products={name: folder / name for name in PRODUCTS},
            values={"patients": len(rows), **counts, "warnings": warnings},
        )

    return run_stage("gather", out, pin, work, makes=PRODUCTS, packages=("pandas", "pyarrow"))
