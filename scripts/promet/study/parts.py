"""The part that a patient was assigned, as it counts now: one rule for the plan, every stage and every command.

Whoever was assigned to training, validation or test is only scored while role or label is empty; the ledger keeps the place.
Whoever could not be fitted on when the study was frozen is only scored from then on, in every split.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from pathlib import Path

from promet.core.errors import UsageError
from promet.study import freezing, ledger
from promet.study.ledger import ASSIGNED, FIT, METACHRONOUS, PROSPECTIVE, Entry
from promet.study.outcome import PAPER, Outcome, fitted_counts, given
from promet.study.table import Row


def holds(part: str, row: Row, outcome: Outcome = PAPER) -> bool:
    """Are role and the learnt outcome there, without which nobody is in training, validation or test?"""
    return part not in ASSIGNED or bool(row["role"] and given(row, outcome.learn))


def current(
    entries: Iterable[Entry], rows: Mapping[str, Row], out: Container[str], outcome: Outcome = PAPER
) -> dict[int, dict[str, str]]:
    """Split -> patient -> part as it counts now, of those in the ledger and in the table; nobody else is in any part.

    Args:
        entries: of the ledger.
        rows: patient -> row of the table.
        out: excluded since the freeze.
        outcome: of the study; ``rows`` were read with its columns.
    """
    return {
        split: {
            name: part if holds(part, rows[name], outcome) and name not in out else PROSPECTIVE
            for name, part in parts.items()
            if name in rows
        }
        for split, parts in ledger.assigned(entries).items()
    }


def of_study(
    book: str | Path,
    rows: Mapping[str, Row],
    quarantined: Iterable[str] = (),
    outcome: Outcome = PAPER,
) -> dict[int, dict[str, str]]:
    """``current`` of a ledger's file and the freeze beside it.

    Args:
        book: the ledger; an absent one is empty.
        rows: patient -> row of the table.
        quarantined: whom a table of the cohort counts in the part in which they were lost: no result depends on them.
        outcome: of the study; ``rows`` were read with its columns.
    """
    return current(ledger.read(book), rows, freezing.excluded(book).difference(quarantined), outcome)


def left_fit(entries: Iterable[Entry], rows: list[Row], outcome: Outcome = PAPER) -> list[str]:
    """who was assigned to a part that networks are fitted on and has no row, no role or no label by now, sorted."""
    known = {row["patient"]: row for row in rows}
    assigned = {entry.patient: entry.part for entry in entries if entry.part in FIT}
    return sorted(
        name for name, part in assigned.items() if name not in known or not holds(part, known[name], outcome)
    )


def cannot_train(
    entries: Iterable[Entry], rows: list[Row], excluded: Container[str] = (), outcome: Outcome = PAPER
) -> str:
    """Which parts that networks are fitted on lack patients with or without the outcome, in words; '' when none does, or
    nobody is to be trained on.

    The stage ``dataset`` refuses them; it is known before any image is worked on.
    """
    known = {row["patient"]: row for row in rows}
    lacking = []
    for split, parts in sorted(current(entries, known, excluded, outcome).items()):
        for part in FIT if set(ASSIGNED) & set(parts.values()) else ():
            found = [known[name] for name in parts if parts[name] == part]
            with_it, without, enough = fitted_counts(found, outcome.learn)
            if not enough:
                lacking.append(
                    f"split {split:02d}, {part}: {with_it} with and {without} without {outcome.learnt}"
                )
    more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
    return "; ".join(lacking[:3]) + more


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
