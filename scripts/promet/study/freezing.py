"""The freeze of a study: who stays out of its model, and whose withdrawal a waiver keeps it in spite of.

``registry/<study>/freeze.json`` beside the ledger, once the study is frozen: name, date, excluded, waivers.
Standard library only.
"""

from __future__ import annotations

import datetime
from collections.abc import Container, Iterable
from pathlib import Path
from typing import TypedDict

from promet.core.errors import UsageError
from promet.core.files import read_json, write_json, write_text
from promet.study import ledger
from promet.study.table import Row

FILE = "freeze.json"


class Waiver(TypedDict, total=False):
    """Why and when a patient withdrew, and the signature of the scan, so that it is known again under another name."""

    reason: str
    date: str
    signature: list[float]


class Freeze(TypedDict, total=False):
    """freeze.json; empty while the study is open."""

    name: str
    date: str
    excluded: list[str]
    waivers: dict[str, Waiver]


def freeze_path(registry: str | Path, study: str) -> Path:
    """Path of the file that says the study's split is closed."""
    return Path(registry) / study / FILE


def sealed_path(registry: str | Path, study: str) -> Path:
    """Folder of the fusion models that a waiver keeps as they are."""
    return Path(registry) / study / "sealed"


def read(path: str | Path) -> Freeze:
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


def frozen(book: str | Path) -> bool:
    """Is the study of this ledger frozen?"""
    return Path(book).with_name(FILE).exists()


def excluded(book: str | Path) -> set[str]:
    """Who stays out of the frozen model of this ledger's study, since images, row, role or label could not be used at the freeze."""
    return set(read(Path(book).with_name(FILE)).get("excluded", []))


def freeze_name(registry: str | Path, study: str) -> str:
    """Name of the study's freeze, or '' while it is open."""
    return read(freeze_path(registry, study)).get("name", "")


def waivers(registry: str | Path, study: str) -> dict[str, Waiver]:
    """Withdrawn patient -> the waiver that keeps the frozen model as it is."""
    return read(freeze_path(registry, study)).get("waivers", {})


def withdrawn(registry: str | Path) -> dict[str, Waiver]:
    """The waivers of every study of a registry: who withdrew from one is processed for none."""
    studies = sorted(path.parent.name for path in Path(registry).glob(f"*/{FILE}"))
    return {patient: entry for study in studies for patient, entry in waivers(registry, study).items()}


def come_back(waived: dict[str, Waiver], named: Container[str]) -> UsageError | None:
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
    if not ledger.read(ledger.ledger_path(registry, study)):
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
    book = ledger.ledger_path(registry, study)
    held = {entry.patient for entry in ledger.read(book) if entry.part in ledger.FIT} - excluded(book)
    name = freeze_name(registry, study)
    if not name or patient not in held:
        raise UsageError(
            "E_NO_WAIVER",
            f"No frozen model of the study {study} was fitted on {patient}",
            remedy="Nothing is needed: promet run goes on without this patient, promet prune --yes deletes the files",
        )
    content = read(freeze_path(registry, study))
    entry: Waiver = {
        "reason": reason,
        "date": datetime.date.today().isoformat(),
        "signature": list(signature),
    }
    content["waivers"] = {**content.get("waivers", {}), patient: entry}
    write_json(freeze_path(registry, study), content)
