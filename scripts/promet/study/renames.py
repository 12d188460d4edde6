"""``promet intake --renamed OLD=NEW``: ledgers, registry and results go over to the new name, and nothing is trained again.

What is to be written stands in ``registry/renaming.json`` before anything is; an interrupted renaming is finished by the next
intake.
"""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import NamedTuple

from promet.core.errors import UsageError
from promet.core.files import as_json, read_json, write_json, write_text
from promet.study import freezing, ledger, likeness, news, registry, scans
from promet.study.renamed import FILE, first_names
from promet.study.sources import source
from promet.study.table import Row

JOURNAL = "renaming.json"
MOVING = ".renaming-"


class Folders(NamedTuple):
    """Where a study lies: folder of the table, of the registry, of the results."""

    table: Path
    registry: Path
    results: Path


def parse(pairs: list[str]) -> dict[str, str]:
    """Old name -> new name.

    Raises:
        UsageError: E_RENAMED_OTHER.
    """
    split = [pair.split("=") for pair in pairs]
    if any(len(pair) != 2 or not all(pair) for pair in split):
        raise _other("A renaming is not of the form OLD=NEW")
    renamed = dict(split)
    if len(renamed) < len(split) or len(set(renamed.values())) < len(split):
        raise _other("A name stands twice among the renamings")
    return {old: new for old, new in renamed.items() if old != new}


def apply(at: Folders, rows: list[Row], renamed: dict[str, str]) -> None:
    """Rename patients; all at once, so that names may also be exchanged.

    Raises:
        UsageError: E_RENAMED_OTHER (not the same scan, a name that is taken, a patient whom a waiver withdrew).
    """
    finish(at)
    again = _require(at, rows, renamed)
    folder = at.registry
    left = {old for old, new in renamed.items() if new in again}  # whose images of now are registered already
    texts = {
        str(registry.images_path(folder)): _mapped(registry.images_path(folder), renamed, left),
        str(scans.path(folder)): _mapped(scans.path(folder), renamed, left),
    }
    for path in sorted(folder.glob("*/ledger.tsv")):
        texts |= _study(path, renamed, again)
    journal = {
        "texts": {path: text for path, text in texts.items() if text},
        "names": {old: new for old, new in renamed.items() if old not in left},
        "moved": False,
    }
    write_json(folder / JOURNAL, journal)
    finish(at)


def finish(at: Folders) -> None:
    """Go on with a renaming that was begun; nothing to do otherwise."""
    path = at.registry / JOURNAL
    if not path.exists():
        return
    journal = read_json(path)
    patients = at.results / "patients"
    if not journal["moved"]:
        for old, new in journal["names"].items():
            if (patients / old).is_dir() and not (patients / f"{MOVING}{new}").exists():
                os.replace(patients / old, patients / f"{MOVING}{new}")
        write_json(path, {**journal, "moved": True})
    for new in journal["names"].values():
        if (patients / f"{MOVING}{new}").is_dir():
            os.replace(patients / f"{MOVING}{new}", patients / new)
    for name, text in journal["texts"].items():
        write_text(name, text)
    # What lists patients is made anew: where names were exchanged, no pin and no time of a file would tell.
    for pattern in ("*/gather/gather.json", "*/dataset/split-*/dataset.json"):
        for record in at.results.glob(pattern):
            record.unlink()
    path.unlink()


def _require(at: Folders, rows: list[Row], renamed: dict[str, str]) -> set[str]:
    """The new names that are registered already as somebody new, with the scan written anew: gather has refused them."""
    here = {row["patient"]: row for row in rows}
    known = news.known_scans(at.registry)
    ledgers = sorted(at.registry.glob("*/ledger.tsv"))
    held = {entry.patient for path in ledgers for entry in ledger.read(path)}
    patients = at.results / "patients"
    kept = {name: found for path in ledgers for name, found in likeness.read(path).items()}

    def written_anew(old: str, new: str) -> bool:
        before = kept.get(old) or likeness.of_record(patients, old)
        return new not in renamed and likeness.same(before, likeness.of_record(patients, new))

    again = {new for old, new in renamed.items() if written_anew(old, new)}
    for old, new in renamed.items():
        if old not in known:
            raise _other(f"{old} was never registered with a PET that could be read")
        if new not in here or (old in here and old not in renamed.values()):
            raise _other(
                f"{new} is not in the table" if new not in here else f"{old} still stands in the table"
            )
        taken = new in known or new in held or (patients / new).exists()
        if taken and new not in renamed and new not in again:
            raise _other(f"{new} has been registered as another patient")
        if old in freezing.withdrawn(at.registry):
            raise _other(f"{old} was withdrawn by a waiver")
    base = at.table
    pets = {new: source(base, here[new]["pet"]) for new in renamed.values() if here[new]["pet"]}
    found = news.scans_of(pets)
    for old, new in renamed.items():
        if new not in again and (new not in found or not found[new].same(known[old])):
            raise _other(f"{new} does not have the PET of {old}")
    return again


def _other(found: str) -> UsageError:
    return UsageError(
        "E_RENAMED_OTHER",
        found,
        "--renamed OLD=NEW, once for each: a registered patient who is not in the table under the old name, with the same PET",
        "Look again which row is whose; nothing was changed",
    )


def _mapped(path: Path, renamed: dict[str, str], without: set[str]) -> str:
    """A table of the registry with the new names, but for these patients' rows; '' when there is none."""
    if not path.exists():
        return ""
    header, *lines = csv.reader(io.StringIO(path.read_text(encoding="utf-8")), delimiter="\t")
    at = header.index("patient")
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(header)
    writer.writerows(
        [renamed.get(cell, cell) if k == at else cell for k, cell in enumerate(line)]
        for line in lines
        if line[at] not in without
    )
    return text.getvalue()


def _study(path: Path, renamed: dict[str, str], again: set[str]) -> dict[str, str]:
    """The files of a study's registry that hold names: file -> new text. Who was assigned anew has the first place again."""
    entries = {entry.patient for entry in ledger.read(path)}
    if not entries & set(renamed):
        return {}
    twice = {new for old, new in renamed.items() if old in entries and new in again}
    text, before = _mapped(path, renamed, twice), first_names(path)
    first = {renamed.get(name, name): old for name, old in before.items()}
    kept = {name: found for name, found in likeness.read(path).items() if name not in twice}
    first |= {new: before.get(old, old) for old, new in renamed.items() if old in entries}
    freeze, texts = path.with_name("freeze.json"), {}
    if freeze.exists():
        content = read_json(freeze)
        content["excluded"] = sorted(renamed.get(name, name) for name in content.get("excluded", []))
        texts[str(freeze)] = as_json(content)
    if kept:
        texts[str(path.with_name(likeness.FILE))] = as_json(
            {renamed.get(name, name): found for name, found in kept.items()}
        )
    first = {name: old for name, old in first.items() if name != old}
    # The copy first, as always: what is lost of one of the two stands in the other.
    return {
        str(path.with_name(FILE)): as_json(first),
        str(path.with_name("ledger.copy.tsv")): text,
        str(path): text,
        **texts,
    }
