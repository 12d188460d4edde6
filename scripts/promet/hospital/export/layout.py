"""A folder of links per patient into the export, and rows at the end of the table. What is there stays as it is."""

from __future__ import annotations

import csv
import io
import os
import shutil
from pathlib import Path

from pydicom import dcmread

from promet.core.errors import UsageError
from promet.core.files import write_text, write_text_if_changed
from promet.core.rows import whole
from promet.hospital.export.choice import Chosen
from promet.hospital.export.files import Seen
from promet.study.table import COLUMNS

FOLDER = "images"
SUFFIX = ".dcm"


def parts(chosen: Chosen) -> dict[str, list[Seen]]:
    """Sub-folder -> files, in the order of their numbers."""
    found = {"PT": chosen.pet, "CT": chosen.ct}
    for mask in (chosen.prostate, chosen.lesions):
        if mask is not None and mask not in found.setdefault(mask.kind, []):
            found[mask.kind].append(mask)
    return {kind: files for kind, files in found.items() if files}


def cells(patient: str, chosen: Chosen) -> dict[str, str]:
    """The cells of the table that name sources."""
    base = f"{FOLDER}/{patient}"
    found = {"pet": f"{base}/PT" if chosen.pet else "", "ct": f"{base}/CT" if chosen.ct else ""}
    laid = parts(chosen)
    for name, mask in (("prostate", chosen.prostate), ("lesions", chosen.lesions)):
        number = laid[mask.kind].index(mask) + 1 if mask is not None else 0
        found[name] = f"{base}/{mask.kind}/{number:05d}{SUFFIX}" if mask is not None else ""
    return found


def lay(base: Path, patient: str, chosen: Chosen, copy: bool) -> None:
    """Write images/PATIENT anew, whole or not at all.

    Raises:
        OSError: a disk that takes no links, for instance.
    """
    folder = base / FOLDER / patient
    temporary, old = folder.with_name(f".{patient}.new"), folder.with_name(f".{patient}.old")
    for left in (temporary, old):
        shutil.rmtree(left, ignore_errors=True)
    for kind, files in parts(chosen).items():
        (temporary / kind).mkdir(parents=True)
        for number, seen in enumerate(files, 1):
            place = temporary / kind / f"{number:05d}{SUFFIX}"
            if copy:
                shutil.copyfile(seen.path, place)
            else:
                target = os.path.realpath(seen.path)
                place.symlink_to(
                    os.path.relpath(target, os.path.realpath(folder.parent) + f"/{patient}/{kind}")
                )
    if folder.exists():
        os.replace(folder, old)
    os.replace(temporary, folder)
    shutil.rmtree(old, ignore_errors=True)


def laid(base: Path, patient: str) -> dict[str, list[Path]]:
    """Sub-folder -> files of a patient who has a row."""
    folder = base / FOLDER / patient
    if not folder.is_dir():
        return {}
    return {kind.name: sorted(kind.glob(f"*{SUFFIX}")) for kind in sorted(folder.iterdir()) if kind.is_dir()}


def instance(path: Path) -> str:
    """SOPInstanceUID of a file that was laid; '' when it is gone."""
    try:
        return str(
            dcmread(
                path, stop_before_pixels=True, specific_tags=["SOPInstanceUID"], force=True
            ).SOPInstanceUID
        )
    except (OSError, AttributeError):
        return ""


class Rows:
    """The table as it stands, for appending rows and filling in cells."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.exists = path.exists() and path.stat().st_size > 0
        self.names = list(COLUMNS)
        self._text = ""
        self.rows: dict[str, tuple[int, dict[str, str]]] = {}
        if self.exists:
            table = whole(path, known=COLUMNS)
            self.names = table.names
            if gone := [
                name for name in ("patient", "pet", "ct", "prostate", "lesions") if name not in table.names
            ]:
                raise UsageError(
                    "E_COHORT_COLUMNS",
                    f"The table has no column {gone[0]}",
                    "the columns patient, pet, ct, prostate and lesions",
                    "Add it, or name a new table with --out",
                )
            try:
                self._text = path.read_bytes().decode()  # a byte order mark stays
            except UnicodeDecodeError:
                raise UsageError(
                    "E_TABLE_ENCODING", "The table is no UTF-8 text", "a table in UTF-8", "Save it as UTF-8"
                ) from None
            for line, row in table.rows:
                named = dict(zip(table.names, row, strict=True))
                self.rows[named["patient"].strip()] = line, named

    def append(self, rows: dict[str, dict[str, str]]) -> None:
        """Rows of new patients, in the order of their names."""
        if not rows and self.exists:
            return
        if not self.exists:
            self._text = self._line(dict(zip(self.names, self.names, strict=True)))
        if not self._text.endswith("\n"):
            self._text += "\n"
        self._text += "".join(self._line({"patient": name, **rows[name]}) for name in sorted(rows))
        write_text(self.path, self._text)
        self.exists = True

    def fill(self, cells: dict[str, dict[str, str]]) -> None:
        """Put cells into rows that are there; every other byte of the table stays."""
        lines = self._text.splitlines(keepends=True)
        for patient, new in cells.items():
            line, row = self.rows[patient]
            if all(row[name] == cell for name, cell in new.items()):
                continue
            end = lines[line - 1][len(lines[line - 1].rstrip("\r\n")) :]
            lines[line - 1] = self._line({**row, **new}).rstrip("\n") + end
            self.rows[patient] = line, {**row, **new}
        self._text = "".join(lines)
        write_text_if_changed(self.path, self._text)

    def _line(self, row: dict[str, str]) -> str:
        text = io.StringIO()
        writer = csv.DictWriter(
            text, self.names, restval="", extrasaction="ignore", delimiter="\t", lineterminator="\n"
        )
        writer.writerow(row)
        return text.getvalue()
