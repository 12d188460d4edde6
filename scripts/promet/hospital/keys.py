"""The key file: which pseudonym is whom. The only file of promet, with the questions beside it, that names a patient.

It lies outside of every project and of every git work tree, readable by its owner alone, and lines are only ever
appended. One line is one thing that was settled: a pseudonym was given (``named``), a row was written with these series
(``row``), a question was answered (its code). Of several lines of one kind the last counts.
"""

from __future__ import annotations

import csv
import fcntl
import io
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from promet.core.errors import UsageError

NAMED, ROW = "named", "row"


@dataclass(frozen=True)
class Entry:
    """One line.

    Attributes:
        patient: pseudonym.
        issuer, patient_id: IssuerOfPatientID and PatientID as they stand in the files.
        study_uid, pet_uid, ct_uid: StudyInstanceUID and SeriesInstanceUID of the PET, SeriesInstanceUID of the CT.
        state: ``named``, ``row`` or the code of a question.
        decided: of an answer ``id=choice``, what was chosen, and the reason.
        redcap_record: record of the REDCap project.
    """

    patient: str = ""
    issuer: str = ""
    patient_id: str = ""
    study_uid: str = ""
    pet_uid: str = ""
    ct_uid: str = ""
    state: str = ""
    decided: str = ""
    redcap_record: str = ""


COLUMNS = tuple(field.name for field in fields(Entry))


def require_place(path: Path, folders: Iterable[Path]) -> None:
    """Refuse a key that would lie in the project.

    Args:
        path: the key file.
        folders: of the table, results, registry and logs.

    Raises:
        UsageError: E_KEY_PLACE.
    """
    place = Path(os.path.realpath(path))
    inside = "a git work tree" if any((above / ".git").exists() for above in place.parents) else ""
    if any(place.is_relative_to(os.path.realpath(folder)) for folder in folders):
        inside = "a folder of the project"
    if inside or place.is_dir():
        raise UsageError(
            "E_KEY_PLACE",
            f"The key file would lie in {inside}" if inside else "The key file is a folder",
            "a file outside of the project, of results, registry and logs, and of every git work tree, where only you can read it",
            "Name another with --key: who has key and table knows who the patients are",
        )


def read(path: Path) -> list[Entry]:
    """All lines of a key file; the last, if a kill cut it short, is not counted. An absent file holds none.

    Raises:
        UsageError: E_KEY_DAMAGED.
    """
    return _parse(path.read_bytes())[1] if path.exists() else []


def _parse(content: bytes) -> tuple[list[str], list[Entry], str]:
    """Column names, lines and what separates the cells. Tabs, or commas as hospitals' programs write them."""
    try:
        lines = content.decode("utf-8-sig").splitlines(keepends=True)
    except UnicodeDecodeError:
        raise _damaged("is no text in UTF-8") from None
    if not lines:
        return list(COLUMNS), [], "\t"
    sign = "," if "," in lines[0] and "\t" not in lines[0] else "\t"
    names, *rows = csv.reader(lines, delimiter=sign)
    if "patient" not in names or len(set(names)) < len(names):
        raise _damaged("has no column patient, or two columns of one name")
    if rows and len(rows[-1]) != len(names) and not content.endswith(b"\n"):
        del rows[-1]
    if number := next((k for k, row in enumerate(rows, 2) if row and len(row) != len(names)), 0):
        raise _damaged(f"has too many or too few cells in line {number}")
    cells = [dict(zip(names, row, strict=True)) for row in rows if row]
    return names, [Entry(**{name: row.get(name, "") for name in COLUMNS}) for row in cells], sign


def _damaged(what: str) -> UsageError:
    return UsageError(
        "E_KEY_DAMAGED",
        f"The key file {what}",
        f"a table in UTF-8 with the columns {', '.join(COLUMNS)}",
        "Is it another file? If not, mend it in a text editor: a spreadsheet changes numbers",
    )


def rows_of(entries: Iterable[Entry]) -> dict[str, Entry]:
    """Patient -> the line of the row that was written last."""
    return {entry.patient: entry for entry in entries if entry.state == ROW}


class Book:
    """A key file that is open for appending."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._columns, self.entries, self._sign = _parse(path.read_bytes())
        if gone := [name for name in COLUMNS[:-1] if name not in self._columns]:
            raise _damaged(f"has no column {gone[0]}")
        self._names = {entry.patient for entry in self.entries}

    def add(self, *entries: Entry) -> None:
        """Append lines, whole and on the disk before this returns."""
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns, delimiter=self._sign, lineterminator="\n", restval="")
        for entry in entries:
            cells = {name: " ".join(value.split()) for name, value in asdict(entry).items()}
            writer.writerow({name: cells[name] for name in self._columns if name in cells})
        with open(self.path, "ab") as handle:
            handle.write(text.getvalue().encode())
            handle.flush()
            os.fsync(handle.fileno())
        self.entries.extend(entries)
        self._names |= {entry.patient for entry in entries}

    def new_name(self) -> str:
        """A pseudonym that nobody has: 8 random hexadecimal digits, which no spreadsheet takes for a number."""
        while True:
            name = secrets.token_hex(4)
            if name not in self._names and set(name) & set("abcdf"):
                self._names.add(name)
                return name


@contextmanager
def opened(path: Path) -> Iterator[Book]:
    """The key file for one command alone, made when there is none, readable by its owner only.

    Raises:
        UsageError: E_KEY_HELD (another command has it), E_KEY_DAMAGED.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                "E_KEY_HELD",
                "Another command works with this key file",
                "one at a time",
                "Try again when it is done",
            ) from None
        os.fchmod(descriptor, 0o600)
        _mend(descriptor)
        yield Book(path)
    finally:
        os.close(descriptor)


def _mend(descriptor: int) -> None:
    """Write the header of a new file; end the last line, or cut it off where a kill left half of it."""
    size = os.fstat(descriptor).st_size
    held = os.pread(descriptor, size, 0)
    if not size:
        os.pwrite(descriptor, ("\t".join(COLUMNS) + "\n").encode(), 0)
    elif not held.endswith(b"\n"):
        names, _, sign = _parse(held)
        whole = held.rfind(b"\n") + 1
        half = whole and held[whole:].count(sign.encode()) < len(names) - 1
        os.ftruncate(descriptor, whole) if half else os.pwrite(descriptor, b"\n", size)
