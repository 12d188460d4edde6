"""The registry: a digest of every patient's image bytes, kept by ``promet intake`` (study.news), read by plan and jobs.

``images.tsv`` holds one row per patient and source. Its digests go into the pins, its paths do not: moving,
copying, renaming or touching files changes nothing; one changed byte makes that patient stale.
Standard library only.
"""

from __future__ import annotations

import csv
import json
import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from promet.core import reads
from promet.core.errors import DataError, IntegrityError, UsageError
from promet.study.looks import digest, look, trace
from promet.study.table import Row

COLUMNS = ("patient", "source", "path", "digest", "files", "bytes")
MISSING = "missing"  # digest of a source that is named in the table and cannot be read


def images_path(registry: str | Path) -> Path:
    """Path of images.tsv in the registry folder."""
    return Path(registry) / "images.tsv"


def read(path: str | Path) -> dict[str, dict[str, Row]]:
    """images.tsv as patient -> source -> row; an absent file is an empty registry."""
    images: dict[str, dict[str, Row]] = defaultdict(dict)
    if Path(path).exists():
        text = Path(path).read_text(encoding="utf-8")
        header, *rows = csv.reader(text.splitlines(), delimiter="\t") if text else [[]]
        if (
            not text.endswith("\n")
            or tuple(header) != COLUMNS
            or any(len(row) != len(COLUMNS) for row in rows)
        ):
            raise UsageError(
                "E_REGISTRY_BROKEN",
                "The image registry is damaged",
                "a whole images.tsv",
                "Run promet intake, which makes it again from the files",
            )
        for cells in rows:
            row = dict(zip(COLUMNS, cells, strict=True))
            images[row["patient"]][row["source"]] = row
    return dict(images)


def sources(path: str | Path, patient: str) -> dict[str, Path]:
    """Source name (pet, ct, prostate, lesions) -> path of one patient; what was not there at intake raises ``DataError``.

    Where the job was told what the plan holds, that counts; by hand it is the registry.

    Raises:
        IntegrityError: a registered source is not there now.
    """
    planned = reads.current()
    if isinstance(planned, Registered):
        return paths(planned.given)
    time = os.stat(path).st_mtime_ns if os.path.exists(path) else 0
    rows = _unchanged(path, time).get(patient, {})
    for name, row in rows.items():
        if row["digest"] != MISSING and not Path(row["path"]).exists():
            raise gone(name)
    return paths(rows)


def paths(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Path]:
    """Source name -> path; ``DataError`` when one was not there at intake."""
    if missing := [name for name, row in rows.items() if row["digest"] == MISSING]:
        raise DataError(
            "E_SOURCE_MISSING",
            f"The {missing[0]} source of this patient is missing, empty or cannot be read",
            "the file or folder named in the cohort table",
            "Correct the table or bring the files back, then promet intake and promet run",
        )
    return {name: Path(row["path"]) for name, row in rows.items()}


@lru_cache(maxsize=1)
def _unchanged(path: str | Path, time: int) -> dict[str, dict[str, Row]]:
    """The registry, read once for all patients of one process."""
    return read(path)


@dataclass
class Registered:
    """The files of one patient that a job was planned to read: name -> path, digest, number of files and bytes."""

    given: dict[str, dict[str, Any]]
    _seen: dict[str, list[tuple[int, ...]]] = field(default_factory=dict)

    def digests(self) -> dict[str, str]:
        """As registered."""
        return {name: row["digest"] for name, row in self.given.items()}

    def check(self, thorough: bool = False) -> None:
        """Before the job the bytes; afterwards names, sizes and times, and after a fault the bytes again.

        Raises:
            IntegrityError: ``E_SOURCE_GONE``, ``E_SOURCE_CHANGED``.
        """
        for name, row in self.given.items():
            if row["digest"] == MISSING:
                continue
            seen = look(row["path"])
            if not seen.files or seen.files < int(row["files"]) or seen.bytes < int(row["bytes"]):
                raise gone(name)
            if thorough or name not in self._seen:
                found = digest(row["path"])
                if not found:
                    raise gone(name)
                if found != row["digest"]:
                    raise _changed(name)
            now = trace(Path(row["path"]))
            if self._seen.setdefault(name, now) != now:
                raise _changed(name)


def planned(text: str) -> Registered | None:
    """What the rule of a job that reads images and nothing else told it (workflow/planned.py); None of any other job."""
    told = json.loads(text)
    return Registered(told["sources"]) if told.keys() == {"sources"} else None


def gone(name: str) -> IntegrityError:
    """The disk's fault, not the patient's: the job fails, and another attempt may help."""
    return IntegrityError(
        "E_SOURCE_GONE",
        f"The registered {name} source of this patient is not there, is shorter than it was or cannot be read now",
        "the files as they were registered",
        "Is the disk mounted? When they are back, start the run again; promet intake if they were changed or moved on purpose",
    )


def _changed(name: str) -> IntegrityError:
    return IntegrityError(
        "E_SOURCE_CHANGED",
        f"The bytes of the {name} source of this patient are not those that are registered",
        "the files as they were registered",
        "promet intake registers them anew; then start the run again",
    )
