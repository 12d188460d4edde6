"""The phantom as a hospital gives it: a flat export of all patients, a REDCap export, and the key file that joins them."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from dataclasses import replace
from pathlib import Path

from promet.core.errors import UsageError
from promet.core.files import write_text
from promet.phantom import series
from promet.phantom.truth import Truth

EXPORT, REDCAP, MAPPING = "export", "redcap.csv", "redcap.yaml"
KEY_COLUMNS = (
    *("patient", "issuer", "patient_id", "study_uid", "pet_uid", "ct_uid", "state", "decided"),
    "redcap_record",
)


def from_pacs(truth: Truth) -> Truth:
    """The patient with every mask as DICOM: a NIfTI does not go through a PACS."""
    form = {"nifti-pet": "seg-pet", "nifti-ct": "seg-ct"}.get(truth.prostate_form, truth.prostate_form)
    return replace(truth, prostate_form=form, lesion_form=form if truth.lesion_form else "")


def flatten(folder: Path, export: Path) -> None:
    """Move a patient's files into the export, under names that say nothing and no suffix."""
    export.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.rglob("*.dcm")):
        name = f"{folder.name}/{path.relative_to(folder).as_posix()}"
        os.replace(path, export / hashlib.sha256(name.encode()).hexdigest()[:16])


def write_redcap(out: Path, rows: list[dict[str, str]], columns: list[str]) -> None:
    """The clinical columns as a REDCap export with its mapping; records are numbered in the order of the rows."""
    text = io.StringIO()
    writer = csv.DictWriter(
        text, ["record_id", *columns], lineterminator="\n", extrasaction="ignore", restval=""
    )
    writer.writeheader()
    writer.writerows({**row, "record_id": number} for number, row in enumerate(rows, 1))
    write_text(out / REDCAP, text.getvalue())
    fields = "".join(f"  {name}: {{field: {name}}}\n" for name in columns)
    write_text(out / MAPPING, f"record: record_id\ncolumns:\n{fields}")


def write_key(key: Path, truths: list[Truth], names: list[str]) -> None:
    """Append the patients that the key file does not hold, with their pseudonyms; as any key file, its owner's alone.

    Raises:
        UsageError: E_PHANTOM_KEY: the file holds something else.
    """
    head = "\t".join(KEY_COLUMNS) + "\n"
    there = key.read_text(encoding="utf-8") if key.exists() else ""
    if there and (
        not there.startswith(head) or any(series.ID_MARKER not in line for line in there.splitlines()[1:])
    ):
        raise UsageError(
            "E_PHANTOM_KEY",
            "The key file holds patients who are no phantoms",
            "a file of its own for a phantom",
            "Name another with --key",
        )
    known = {line.split("\t")[0] for line in there.splitlines()}
    text = "" if there else head
    for number, (truth, name) in enumerate(zip(truths, names, strict=True), 1):
        if name not in known:
            cells = {"patient": name, "patient_id": f"{series.ID_MARKER}{truth.number}", "state": "named"}
            text += (
                "\t".join((cells | {"redcap_record": str(number)}).get(column, "") for column in KEY_COLUMNS)
                + "\n"
            )
    key.parent.mkdir(parents=True, exist_ok=True)
    with open(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8") as handle:
        handle.write(text)
