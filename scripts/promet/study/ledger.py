"""The split ledger: who is in which part, written once and never edited.

``registry/<study>/ledger.tsv``: split, patient, part, stratum (as it was then), freeze, date. Rows are only appended.
Standard library only.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path

from promet.core.errors import IntegrityError, UsageError
from promet.core.files import write_text
from promet.core.reads import content

FIT = ("training", "validation")  # networks and fusion are fitted on
ASSIGNED = (*FIT, "test")
METACHRONOUS, PROSPECTIVE = "metachronous", "prospective"


@dataclass(frozen=True)
class Entry:
    """One row of the ledger."""

    split: str
    patient: str
    part: str
    stratum: str
    freeze: str
    date: str


COLUMNS = tuple(Entry.__dataclass_fields__)


def ledger_path(registry: str | Path, study: str) -> Path:
    """Path of a study's ledger."""
    return Path(registry) / study / "ledger.tsv"


def _copy(path: str | Path) -> Path:
    # Written before the ledger itself: whatever is lost of one of the two stands in the other.
    return Path(path).with_name("ledger.copy.tsv")


def mend(path: str | Path) -> bool:
    """Make the ledger whole again when it is the beginning of its copy; says whether it was broken."""
    ledger, copy = Path(path), _copy(path)
    if not copy.exists():
        return False
    kept = copy.read_bytes()
    there = ledger.read_bytes() if ledger.exists() else b""
    if len(there) >= len(kept) or not kept.startswith(there):
        return False
    write_text(ledger, kept.decode())
    return True


def read(path: str | Path) -> list[Entry]:
    """The ledger's entries; an absent file is an empty ledger, a damaged one raises ``UsageError``.

    A ledger that is shorter than its copy has lost rows, also when it was cut between two of them.
    """
    copy = _copy(path)
    if not Path(path).exists() and not copy.exists():
        return []
    text = content(path).decode() if Path(path).exists() else ""
    kept = copy.read_text(encoding="utf-8") if copy.exists() else ""
    if len(text) < len(kept) and kept.startswith(text):
        raise UsageError(
            "E_LEDGER_CUT",
            "The split ledger has lost rows that its copy still holds",
            "a ledger as long as its copy",
            "promet intake and promet run put them back by themselves",
        )
    rows = list(csv.reader(text.splitlines(), delimiter="\t"))
    whole = (
        text.endswith("\n") and tuple(rows[0]) == COLUMNS and all(len(row) == len(COLUMNS) for row in rows)
    )
    if not whole:
        raise UsageError(
            "E_LEDGER_BROKEN",
            "The split ledger is damaged",
            f"columns {', '.join(COLUMNS)}, one row per patient and split",
            f"It cannot be made again, since it says who was trained on. Compare it with {copy}, which is written "
            f"with it; if that one is right: cp {copy} {path}",
        )
    return [Entry(*row) for row in rows[1:]]


def assigned(entries: Iterable[Entry]) -> dict[int, dict[str, str]]:
    """Split -> patient -> part, as the ledger says.

    Raises:
        IntegrityError: a patient is in two parts of a split.
    """
    found: dict[int, dict[str, str]] = {}
    for entry in entries:
        of_split = found.setdefault(int(entry.split), {})
        if of_split.setdefault(entry.patient, entry.part) != entry.part:
            raise IntegrityError(
                "E_LEDGER_TWICE",
                f"Patient {entry.patient} is in two parts of split {int(entry.split)}",
                "one part per patient and split",
                "Restore the ledger; it is append-only",
            )
    return found


def append(path: str | Path, added: list[Entry]) -> None:
    """Append entries; the old rows stay as they are, byte for byte, and the file is replaced whole."""
    if not added:
        return
    path = Path(path)
    text = io.StringIO()
    if path.exists():
        read(path)  # refuses a damaged ledger
        text.write(path.read_text(encoding="utf-8"))
    else:
        text.write("\t".join(COLUMNS) + "\n")
    csv.writer(text, delimiter="\t", lineterminator="\n").writerows(astuple(entry) for entry in added)
    write_text(_copy(path), text.getvalue())
    write_text(path, text.getvalue())
