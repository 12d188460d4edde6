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
from collections.abc import Container, Iterable
from dataclasses import astuple, dataclass
from itertools import product
from pathlib import Path
from typing import Any

from promet.core.errors import UsageError
from promet.core.files import write_json, write_text
from promet.core.reads import content
from promet.study import parts
from promet.study.parts import DEALT as PARTS
from promet.study.parts import PROSPECTIVE, holds
from promet.study.table import Row

METACHRONOUS = "metachronous"


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
    return Path(registry) / study / parts.FREEZE


def sealed_path(registry: str | Path, study: str) -> Path:
    """Folder of the fusion models that a waiver keeps as they are."""
    return Path(registry) / study / "sealed"


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


def freeze_name(registry: str | Path, study: str) -> str:
    """Name of the study's freeze, or '' while it is open."""
    return _freeze(registry, study).get("name", "")


def excluded(registry: str | Path, study: str) -> set[str]:
    """Members of the fit parts who stay out of a frozen model, since they could not be fitted on at the freeze."""
    return parts.excluded(ledger_path(registry, study))


def waivers(registry: str | Path, study: str) -> dict[str, dict[str, str]]:
    """Withdrawn patient -> reason and date of the waiver that keeps the frozen model as it is."""
    return _freeze(registry, study).get("waivers", {})


def withdrawn(registry: str | Path) -> dict[str, dict[str, str]]:
    """The waivers of every study of a registry: who withdrew from one is processed for none."""
    studies = sorted(path.parent.name for path in Path(registry).glob(f"*/{parts.FREEZE}"))
    return {patient: entry for study in studies for patient, entry in waivers(registry, study).items()}


def come_back(waived: dict[str, dict[str, str]], named: Container[str]) -> UsageError | None:
    """Why nothing may go on while somebody whom a waiver withdrew stands in the table again; None when nobody does."""
    back = sorted(patient for patient in waived if patient in named)
    if not back:
        return None
    return UsageError(
        "E_WITHDRAWN_RETURNS",
        f"{back[0]} stands in the table again, whom a waiver withdrew on {waived[back[0]].get('date', 'an unknown day')}",
        "no row of a withdrawn patient: none of the images may be processed again",
        "Delete the row; with a new consent the patient belongs into a new study with a registry of its own",
    )


def left_fit(entries: Iterable[Entry], rows: list[Row]) -> list[str]:
    """Who was dealt to a part that networks are fitted on and has no row, no role or no label by now, sorted."""
    known = {row["patient"]: row for row in rows}
    dealt = {entry.patient: entry.part for entry in entries if entry.part in PARTS[:2]}
    return sorted(name for name, part in dealt.items() if name not in known or not holds(part, known[name]))


def cannot_train(entries: Iterable[Entry], rows: list[Row], excluded: Container[str] = ()) -> str:
    """Which parts that networks are fitted on lack a label, in words; '' when none does, or nobody is to be trained on.

    The stage ``dataset`` refuses them; it is known before any image is worked on.
    """
    known = {row["patient"]: row for row in rows}
    labels: dict[tuple[str, str], list[str]] = defaultdict(list)
    for entry in entries:
        if entry.part in PARTS and entry.patient in known and entry.patient not in excluded:
            row = known[entry.patient]
            if holds(entry.part, row):
                labels[entry.split, entry.part].append(row["synchronous_metastasis"])
    lacking = [
        f"split {split}, {part}: {found.count('1')} with and {found.count('0')} without metastasis"
        for split in sorted({split for split, _ in labels})
        for part in PARTS[:2]
        if set(found := labels.get((split, part), [])) != {"0", "1"}
    ]
    more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
    return "; ".join(lacking[:3]) + more


def _freeze(registry: str | Path, study: str) -> dict[str, Any]:
    return parts.freeze(freeze_path(registry, study))


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


def require_roles(entries: list[Entry], rows: list[Row]) -> None:
    """Refuse a patient who is recorded in one role and now stands in another (it would leak).

    Raises:
        UsageError: E_ROLE_CHANGED.
    """
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
    require_roles(entries, rows)
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
    write_text(_copy(path), text.getvalue())
    write_text(path, text.getvalue())


def close(registry: str | Path, study: str, name: str, excluded: Iterable[str] = ()) -> None:
    """Freeze a study: from now on new patients are scored, never trained on.

    Args:
        registry, study: whose ledger.
        name: of the freeze.
        excluded: members of the fit parts whose images, row, role or label could not be used so far; they stay out, even
            when mended.
    """
    path = freeze_path(registry, study)
    if path.exists():
        raise UsageError(
            "E_FROZEN",
            f"The study {study} is already frozen as {freeze_name(registry, study)}",
            remedy="promet freeze NAME --into NEWSTUDY begins a new one with its patients",
        )
    if not read(ledger_path(registry, study)):
        raise UsageError(
            "E_LEDGER_EMPTY", "The study has no patients to freeze", remedy="Run promet intake first"
        )
    date = datetime.date.today().isoformat()
    write_json(path, {"name": name, "date": date, "excluded": sorted(excluded)})


def seal(registry: str | Path, study: str, fusions: dict[str, Path]) -> None:
    """Keep a copy of each split's fitted fusion: split -> naive_bayes.json."""
    for split, path in fusions.items():
        write_text(sealed_path(registry, study) / f"split-{split}.json", path.read_text(encoding="utf-8"))


def waive(
    registry: str | Path,
    study: str,
    patient: str,
    reason: str,
    rows: list[Row],
    signature: Iterable[float] = (),
) -> None:
    """Keep a frozen study's model although a patient it was fitted on was withdrawn; the reason stays on record.

    ``signature``: of the scan, so that it is known again under another name.
    """
    if patient in {row["patient"] for row in rows}:
        raise UsageError(
            "E_NOT_WITHDRAWN",
            f"Patient {patient} still stands in the table",
            remedy="Delete the row first; a waiver is for patients who withdrew",
        )
    held = {entry.patient for entry in read(ledger_path(registry, study)) if entry.part in PARTS[:2]}
    held -= excluded(registry, study)
    name = freeze_name(registry, study)
    if not name or patient not in held:
        raise UsageError(
            "E_NO_WAIVER",
            f"No frozen model of the study {study} was fitted on {patient}",
            remedy="Nothing is needed: promet run goes on without this patient, promet prune --yes deletes the files",
        )
    content = _freeze(registry, study)
    entry = {"reason": reason, "date": datetime.date.today().isoformat(), "signature": list(signature)}
    content["waivers"] = {**content.get("waivers", {}), patient: entry}
    write_json(freeze_path(registry, study), content)


def next_generation(
    entries: list[Entry],
    rows: list[Row],
    ratios: tuple[float, ...],
    stratify: list[str],
    repeats: int,
    salt: str,
) -> list[Entry]:
    """The ledger of a new study: everyone stays in their part, prospective patients are dealt, withdrawn ones are left out."""
    here = {row["patient"] for row in rows}
    kept = [entry for entry in entries if entry.patient in here and entry.part != PROSPECTIVE]
    return kept + extend(kept, rows, ratios, stratify, repeats, salt)
