"""Who is assigned to training, validation and test: by stratum, reproducibly, and nobody who is there ever moves.

Nothing heavy is loaded.
"""

from __future__ import annotations

import datetime
import hashlib
from collections import Counter, defaultdict
from itertools import product

from promet.study import outcome as outcomes
from promet.study.ledger import ASSIGNED, METACHRONOUS, PROSPECTIVE, Entry
from promet.study.outcome import PAPER, Outcome
from promet.study.parts import require_roles
from promet.study.table import Row


def _order(patient: str, split: int, salt: str) -> str:
    return hashlib.blake2b(f"{salt}/{split}/{patient}".encode(), digest_size=16).hexdigest()


def _largest_remainder(total: int, ratios: tuple[float, ...]) -> list[int]:
    exact = [total * ratio for ratio in ratios]
    counts = [int(value + 1e-9) for value in exact]
    by_remainder = sorted(range(len(ratios)), key=lambda i: (counts[i] - exact[i], i))
    for i in by_remainder[: total - sum(counts)]:
        counts[i] += 1
    return counts


def assign(
    newcomers: dict[str, str],
    present: list[tuple[str, str]],
    ratios: tuple[float, ...],
    split: int,
    salt: str,
) -> dict[str, str]:
    """Assign new patients to training, validation and test, nobody who is there ever moves.

    Args:
        newcomers: patient -> stratum.
        present: (part, stratum) of each patient already assigned in this split.
        ratios: shares of the parts; they add up to 1.
        split: number of the split.
        salt: seed of the order in which patients are assigned.

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
    size = dict(zip(ASSIGNED, _largest_remainder(total, ratios), strict=True))
    room = {part: size[part] - sum(count[part, s] for s in strata) for part in ASSIGNED}
    share = {
        (part, s): ratio * (sum(count[p, s] for p in ASSIGNED) + len(waiting[s]))
        for (part, ratio), s in product(zip(ASSIGNED, ratios, strict=True), strata)
    }
    assigned: dict[str, str] = {}

    def give(stratum: str, part: str) -> None:
        assigned[waiting[stratum].pop(0)] = part
        count[part, stratum] += 1
        room[part] -= 1

    # Whole shares first, so that only the remainders are left to compete for the last places.
    for stratum in strata:
        for part in ASSIGNED:
            while (
                waiting[stratum]
                and room[part] > 0
                and count[part, stratum] + 1 <= share[part, stratum] + 1e-9
            ):
                give(stratum, part)
    while any(waiting.values()):
        options = [(s, part) for s in strata if waiting[s] for part in ASSIGNED if room[part] > 0]
        if not options:  # earlier rows overfill some part: fall back on the stratum's own deficit
            options = [(s, part) for s in strata if waiting[s] for part in ASSIGNED]
        best = max(
            options,
            key=lambda option: (round(share[option[1], option[0]] - count[option[1], option[0]], 9), option),
        )
        give(*best)
    return assigned


LEARNT = "synchronous_metastasis"  # of split.stratify: stands for what is learnt, whatever that is


def stratum(row: Row, columns: list[str], outcome: Outcome = PAPER) -> str:
    """The stratum of a row: what is learnt (``study.outcome.stratum``) and its values of the other ``columns``."""
    return "/".join(
        outcomes.stratum(row, outcome.learn) if name == LEARNT else row[name] or "-" for name in columns
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
    outcome: Outcome = PAPER,
) -> list[Entry]:
    """The entries to append for patients of the table that the ledger does not hold.

    Development patients whose learnt outcome is given are assigned (``prospective`` once the study is frozen); metachronous ones
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
            row["patient"]: stratum(row, stratify, outcome)
            for row in fresh
            if row["role"] == "development" and outcomes.given(row, outcome.learn)
        }
        if freeze:
            parts = dict.fromkeys(labelled, PROSPECTIVE)
        else:
            parts = assign(
                labelled, [(e.part, e.stratum) for e in here if e.part in ASSIGNED], ratios, split, salt
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


def next_generation(
    entries: list[Entry],
    rows: list[Row],
    ratios: tuple[float, ...],
    stratify: list[str],
    repeats: int,
    salt: str,
    outcome: Outcome = PAPER,
) -> list[Entry]:
    """The ledger of a new study: everyone stays in their part, prospective patients are assigned, withdrawn ones are left out."""
    here = {row["patient"] for row in rows}
    kept = [entry for entry in entries if entry.patient in here and entry.part != PROSPECTIVE]
    return kept + extend(kept, rows, ratios, stratify, repeats, salt, outcome=outcome)
