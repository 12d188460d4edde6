"""What a bucket (workflow/buckets.py) records of its patients, so that followers read a few tables instead of all records."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from promet.core.errors import IntegrityError
from promet.core.files import read_json
from promet.core.sidecar import Sidecar

TABLE = "patients.json"  # a bucket's product: patient -> stage -> what gather, dataset and status need of its record
WITH_VALUES = ("crop", "measure")
LEFT_OUT = ("stage", "notes", "versions", "seconds")


def entry(record: Sidecar, path: Path) -> dict[str, Any]:
    """A patient's record as it stands in a bucket's table: what is empty is left out, its time in nanoseconds added."""
    kept = {name: value for name, value in vars(record).items() if value and name not in LEFT_OUT}
    if record.stage not in WITH_VALUES:
        kept.pop("values", None)
    return kept | {"time": path.stat().st_mtime_ns}


def table(folder: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Patient -> stage -> entry over all buckets below ``folder``; a damaged table raises ``IntegrityError``."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for path in sorted(Path(folder).glob(f"*/{TABLE}")):
        try:
            for patient, stages in read_json(path).items():
                found.setdefault(patient, {}).update(stages)
        except (ValueError, TypeError, AttributeError) as error:
            raise IntegrityError(
                "E_BUCKET_BROKEN",
                f"The table {path.parent.name}/{TABLE} cannot be read",
                "the JSON that the bucket's job wrote",
                "Delete that folder and run again; no patient is computed anew",
            ) from error
    return found


def leave_only(root: Path, kept: Path | None) -> None:
    """Delete the tables of another number of buckets, which would outlive the patients in them."""
    others = [path for path in root.glob("*") if kept is None or path.name != kept.name]
    for path in others:
        shutil.rmtree(path)
    if others and kept is None:
        root.rmdir()


def sidecars(entries: dict[str, dict[str, Any]]) -> dict[str, Sidecar]:
    """One patient's entries as records."""
    return {stage: _sidecar(stage, known) for stage, known in entries.items()}


def _sidecar(stage: str, known: dict[str, Any]) -> Sidecar:
    known = dict(known)
    del known["time"]
    return Sidecar(stage=stage, **known)


class Records:
    """Reads records; a bucket's table stands for the records of its patients whose times are still those it noted.

    Args:
        folder: the buckets, or '' when every patient has own jobs.
    """

    def __init__(self, folder: str) -> None:
        try:
            self._table = table(Path(folder)) if folder else {}
        except (OSError, IntegrityError):
            self._table = {}  # damaged: the records themselves are read

    def read(self, path: str, stage: str, patient: str = "") -> Sidecar | None:
        """The record at ``path``, None when there is none.

        Raises:
            IntegrityError: it cannot be read.
        """
        try:
            time = os.stat(path).st_mtime_ns
        except FileNotFoundError:
            return None
        known = self._table.get(patient, {}).get(stage)
        return _sidecar(stage, known) if known and known["time"] == time else Sidecar.read(path)
