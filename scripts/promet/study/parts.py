"""The part that a patient was dealt, as it counts now: one rule for the plan and for every stage.

Whoever was dealt to training, validation or test is only scored while role or label is empty; the ledger keeps the place.
Whoever could not be fitted on when the study was frozen is only scored from then on, in every split.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from promet.core.errors import IntegrityError, UsageError
from promet.core.files import read_json
from promet.core.rows import read_table

DEALT = ("training", "validation", "test")
PROSPECTIVE = "prospective"
FREEZE = "freeze.json"  # beside the ledger, once the study is frozen


def holds(part: str, row: Mapping[str, str]) -> bool:
    """Are role and label there, without which nobody is in training, validation or test?

    A table without these columns leaves everybody in place.
    """
    return part not in DEALT or bool(
        row.get("role", DEALT[0]).strip() and row.get("synchronous_metastasis", "0").strip()
    )


def now(part: str, row: Mapping[str, str], out: bool = False) -> str:
    """The part that one of the ledger stands for.

    Args:
        part: as dealt.
        row: of the cohort table.
        out: excluded since the freeze.
    """
    return part if holds(part, row) and not out else PROSPECTIVE


def freeze(path: str | Path) -> dict[str, Any]:
    """freeze.json of a study; empty while it is open.

    Raises:
        UsageError: the file is damaged.
    """
    if not Path(path).exists():
        return {}
    try:
        return read_json(path)
    except ValueError as error:
        raise UsageError(
            "E_FREEZE_BROKEN",
            "The file freeze.json of this study is damaged",
            "the JSON that promet freeze wrote",
            f"Delete it and freeze again: rm {path} && promet freeze NAME; then promet waive for each waiver there was",
        ) from error


def excluded(ledger: str | Path) -> set[str]:
    """Who stays out of a frozen model, since images, row, role or label could not be used at the freeze."""
    return set(freeze(Path(ledger).with_name(FREEZE)).get("excluded", []))


def dealt(ledger: str | Path) -> dict[int, dict[str, str]]:
    """Split -> patient -> part, as the ledger says; an absent ledger is empty.

    Raises:
        IntegrityError: a patient is in two parts of a split.
    """
    found: dict[int, dict[str, str]] = defaultdict(dict)
    for row in read_table(ledger) if Path(ledger).exists() else []:
        of_split = found[int(row["split"])]
        if of_split.setdefault(row["patient"], row["part"]) != row["part"]:
            raise IntegrityError(
                "E_LEDGER_TWICE",
                f"Patient {row['patient']} is in two parts of split {int(row['split'])}",
                "one part per patient and split",
                "Restore the ledger; it is append-only",
            )
    return found


def current(
    ledger: str | Path, rows: Mapping[str, Mapping[str, str]], quarantined: Container[str] = ()
) -> dict[int, dict[str, str]]:
    """Split -> patient -> part as it counts now, of those in the ledger and in the table; nobody else is in any part.

    Args:
        ledger: the study's.
        rows: patient -> row of the table.
        quarantined: whom a table of the cohort counts in the part in which they were lost: no result depends on them.
    """
    out = {name for name in excluded(ledger) if name not in quarantined}
    return {
        split: {name: now(part, rows[name], name in out) for name, part in parts.items() if name in rows}
        for split, parts in dealt(ledger).items()
    }
