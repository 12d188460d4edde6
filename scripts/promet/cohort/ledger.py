"""The split ledger: who is in which part, written once and never edited.

``registry/<study>/ledger.tsv``: split, patient, part, stratum (as it was then), freeze, date. Rows are only appended.
Standard library only.
"""

from __future__ import annotations

import csv
import datetime
import hashlib
import io
from collections import Counter, defaultdict
from dataclasses import asdict, astuple, dataclass
from itertools import product
from pathlib import Path

from promet.cohort.table import Row
from promet.core.errors import UsageError
from promet.core.files import read_json, write_json, write_text

PARTS = ("training", "validation", "test")
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


def freeze_path(registry: str | Path, study: str) -> Path:
    """Path of the file that says the study's split is closed."""
    return Path(registry) / study / "freeze.json"


def read(path: str | Path) -> list[Entry]:
    """The ledger's entries; an absent file is an empty ledger, a damaged one raises ``UsageError``."""
    if not Path(path).exists():
        return []
    text = Path(path).read_text(encoding="utf-8")
    rows = list(csv.reader(text.splitlines(), delimiter="\t"))
    whole = (
        text.endswith("\n") and tuple(rows[0]) == COLUMNS and all(len(row) == len(COLUMNS) for row in rows)
    )
    if not whole:
        raise UsageError(
            "E_LEDGER_BROKEN",
            "The split ledger is damaged",
            f"columns {', '.join(COLUMNS)}, one row per patient and split",
            "Restore it from your backup: it cannot be made again, since it says who was trained on",
        )
    return [Entry(*row) for row in rows[1:]]


def freeze_name(registry: str | Path, study: str) -> str:
    """Name of the study's freeze, or '' while it is open."""
    path = freeze_path(registry, study)
    return read_json(path)["name"] if path.exists() else ""


def _order(patient: str, split: int, salt: str) -> str:
    return hashlib.blake2b(f"{salt}/{split}/{patient}".encode(), digest_size=16).hexdigest()


def _largest_remainder(total: int, ratios: tuple[float, ...]) -> list[int]:
    exact = [total * ratio for ratio in ratios]
    counts = [int(value + 1e-9) for value in exact]
    by_remainder = sorted(range(len(ratios)), key=lambda i: (counts[i] - exact[i], i))
    for i in by_remainder[: total - sum(counts)]:
        counts[i] += 1
    return counts


def deal(
    newcomers: dict[str, str],
    present: list[tuple[str, str]],
    ratios: tuple[float, ...],
    split: int,
    salt: str,
) -> dict[str, str]:
    """Deal new patients to training, validation and test, nobody who is there ever moves.

    Args:
        newcomers: patient -> stratum.
        present: (part, stratum) of each patient already dealt in this split.
        ratios: shares of the parts; they add up to 1.
        split: number of the split.
        salt: seed of the order in which patients are dealt.

    Returns:
        patient -> part. Part sizes follow the largest remainder of the whole (94 -> 47/19/28), each stratum is
        within one patient of its own share as far as the earlier rows allow.
    """
    count = Counter(present)
    strata = sorted(set(newcomers.values()) | {stratum for _, stratum in present})
    total = len(present) + len(newcomers)
    waiting: dict[str, list[str]] = defaultdict(list)
    for patient in sorted(newcomers, key=lambda name: _order(name, split, salt)):
        waiting[newcomers[patient]].append(patient)

    # Room left in each part, and in each stratum of each part (real-valued share minus who is there).
    size = dict(zip(PARTS, _largest_remainder(total, ratios), strict=True))
    room = {part: size[part] - sum(count[part, s] for s in strata) for part in PARTS}
    share = {
        (part, s): ratio * (sum(count[p, s] for p in PARTS) + len(waiting[s]))
        for (part, ratio), s in product(zip(PARTS, ratios, strict=True), strata)
    }
    dealt: dict[str, str] = {}

    def give(stratum: str, part: str) -> None:
        dealt[waiting[stratum].pop(0)] = part
        count[part, stratum] += 1
        room[part] -= 1

    # Whole shares first, so that only the remainders are left to compete for the last places.
    for stratum in strata:
        for part in PARTS:
            while (
                waiting[stratum]
                and room[part] > 0
                and count[part, stratum] + 1 <= share[part, stratum] + 1e-9
            ):
                give(stratum, part)
    while any(waiting.values()):
        options = [(s, part) for s in strata if waiting[s] for part in PARTS if room[part] > 0]
        if not options:  # earlier rows overfill some part: fall back on the stratum's own deficit
            options = [(s, part) for s in strata if waiting[s] for part in PARTS]
        best = max(
            options,
            key=lambda option: (round(share[option[1], option[0]] - count[option[1], option[0]], 9), option),
        )
        give(*best)
    return dealt


def stratum(row: Row, columns: list[str]) -> str:
    """The stratum of a row: its values of ``columns``."""
    return "/".join(row[name] or "-" for name in columns)


def extend(
    entries: list[Entry],
    rows: list[Row],
    ratios: tuple[float, ...],
    stratify: list[str],
    repeats: int,
    salt: str,
    freeze: str = "",
    today: str | None = None,
) -> list[Entry]:
    """The entries to append for patients of the table that the ledger does not hold.

    Development patients with a label are dealt (``prospective`` once the study is frozen); metachronous ones
    are recorded as such, so that nobody can later be trained on; prospective ones are not recorded.

    Raises:
        UsageError: a patient recorded in one role now stands in another (it would leak).
    """
    today = today or datetime.date.today().isoformat()
    roles = {row["patient"]: row["role"] for row in rows}
    for entry in entries:
        role = roles.get(entry.patient)
        if role is not None and (entry.part == METACHRONOUS) != (role == METACHRONOUS):
            raise UsageError(
                "E_ROLE_CHANGED",
                f"Patient {entry.patient} is in the ledger as {entry.part} and in the table as '{role}'",
                "one role for ever within a study: a change would carry what the model saw into its test",
                "Put the role back, or begin a new study (key 'study')",
            )
    added = []
    for split in range(repeats):
        number = f"{split:02d}"
        here = [entry for entry in entries if entry.split == number]
        known = {entry.patient for entry in here}
        fresh = [row for row in rows if row["patient"] not in known]
        labelled = {
            row["patient"]: stratum(row, stratify)
            for row in fresh
            if row["role"] == "development" and row["synchronous_metastasis"]
        }
        if freeze:
            parts = dict.fromkeys(labelled, PROSPECTIVE)
        else:
            parts = deal(
                labelled, [(e.part, e.stratum) for e in here if e.part in PARTS], ratios, split, salt
            )
        added += [
            Entry(number, name, parts[name], labelled[name], freeze, today) for name in sorted(labelled)
        ]
        added += [
            Entry(number, row["patient"], METACHRONOUS, "", freeze, today)
            for row in fresh
            if row["role"] == METACHRONOUS
        ]
    return added


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
    write_text(path, text.getvalue())


def close(registry: str | Path, study: str, name: str) -> None:
    """Freeze a study: from now on new patients are scored, never trained on."""
    path = freeze_path(registry, study)
    if path.exists():
        raise UsageError(
            "E_FROZEN",
            f"The study {study} is already frozen as {freeze_name(registry, study)}",
            remedy="Begin a new study (key 'study') to train again",
        )
    if not read(ledger_path(registry, study)):
        raise UsageError(
            "E_LEDGER_EMPTY", "The study has no patients to freeze", remedy="Run promet intake first"
        )
    write_json(path, {"name": name, "date": datetime.date.today().isoformat()})


def as_rows(entries: list[Entry]) -> list[dict[str, str]]:
    """Entries as dictionaries, for tables."""
    return [asdict(entry) for entry in entries]
