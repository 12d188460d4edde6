"""Opening a bundle: is it whole, is it the one that is meant, and does this promet compute as the one that locked it?

Three different things can be known of a bundle. Its files agree with the list that lies in it (``SHA256SUMS``): then they
were not damaged on their way, but whoever edits a file can write the list again. The record of the job that locked it
(``bundle.json``, no part of the bundle) names the same list: then both would have to be edited. Its digest is the one that
was received on another way: only then is it the model that was locked.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promet.core import checksums
from promet.core.errors import IntegrityError, UsageError
from promet.core.pin import pin as make_pin
from promet.core.sidecar import Sidecar
from promet.core.words import count
from promet.model import contract, parts, update
from promet.model.identity import require_digest

RECORD = "bundle.json"
# What file managers leave in every folder they show.
LITTER = (".DS_Store", "Thumbs.db", "desktop.ini", ".directory", "Icon\r")


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: its folder, its digest, whether that was compared with one received separately, its JSON files."""

    folder: Path
    digest: str
    compared: bool
    contract: dict[str, Any]
    training: dict[str, Any]
    fusion: dict[str, Any]
    thresholds: dict[str, Any]
    distribution: dict[str, Any]
    metrics: dict[str, Any]
    update: dict[str, Any] | None = None  # of a child, models/update.json


def verify(folder: Path) -> list[tuple[str, str]]:
    """(name, what) of every file of a bundle that is not as its own list or its record says.

    Raises:
        UsageError: the folder is no bundle.
        IntegrityError: its list of checksums is damaged.
    """
    folder = Path(folder)
    if not (folder / checksums.NAME).is_file():
        raise UsageError(
            "E_MODEL_MISSING",
            f"There is no locked model in {folder}" if folder.is_dir() else f"There is no folder {folder}",
            f"the folder that promet run left for a frozen study, results/STUDY/model, or a copy of it, with {checksums.NAME}",
            "Correct the path of the model",
        )
    return [*checksums.compare(folder, (RECORD,)), *_against_record(folder), *update.faults(folder)]


def _against_record(folder: Path) -> list[tuple[str, str]]:
    """The list of checksums, if the record of the job that locked the model names another one."""
    if not (folder / RECORD).exists():
        return []
    try:
        record = Sidecar.read(folder / RECORD)
        named = {record.values["model"], record.products[checksums.NAME]}
        whole = record.digest == make_pin([sorted(record.products.items()), record.values])
    except (IntegrityError, KeyError, TypeError, AttributeError, ValueError):
        return [(RECORD, "damaged")]
    if not whole:
        return [(RECORD, "changed")]
    if named != {checksums.identity(folder)}:
        return [(checksums.NAME, f"not the list that {RECORD} names")]
    return []


def recorded(folder: Path) -> bool:
    """Does the record of the job that locked the model lie beside it?"""
    return (Path(folder) / RECORD).exists()


def litter(name: str) -> bool:
    """A file that a computer's file manager left, no part of any model."""
    base = name.rpartition("/")[2]
    return base in LITTER or base.startswith("._")


def load(folder: Path, digest: str | None = None) -> Bundle:
    """Open a bundle after comparing every file with its checksum.

    Args:
        digest: the bundle's digest as it was received separately; None when nobody sent one.

    Raises:
        UsageError: there is none, or the digest is none.
        IntegrityError: it is damaged, another one, or from a promet that computes otherwise.
    """
    folder = Path(folder)
    faults = verify(folder)
    compared = require_digest(folder, digest)
    if faults:
        name, what = faults[0]
        raise IntegrityError(
            "E_MODEL_CHANGED",
            f"Not as locked: {count(len(faults), 'file')} of the model, the first is {name} ({what})",
            f"every file as {checksums.NAME} names it, no other file, and {checksums.NAME} as {RECORD} names it",
            f"{what_to_do(faults)}; promet verify MODEL_DIR lists them",
        )
    found = parts.read(folder)
    contract.require_code(found["contract"])
    changed = update.read(folder, found["contract"])
    if changed and set(changed["factors"]) != set(found["fusion"]["models"][parts.MULTIMODAL]["order"]):
        raise parts.broken(update.FILE, "factors, which do not belong to the other files")
    return Bundle(folder, checksums.identity(folder), compared, **found, update=changed)


def what_to_do(faults: list[tuple[str, str]]) -> str:
    """Of faults as ``verify`` gives them."""
    added = [name for name, what in faults if what == checksums.EXTRA]
    if len(added) < len(faults):
        return "Copy the model again"
    if all(map(litter, added)):
        return "The computer's file manager made it, it is no part of the model: delete it"
    return "Delete what is not part of the model, or copy it again"
