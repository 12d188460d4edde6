"""The registry: a digest of every patient's image bytes, kept by ``promet intake``.

``images.tsv`` holds one row per patient and source. Its digests go into the pins, its paths do not: moving,
copying, renaming or touching files changes nothing; one changed byte makes that patient stale.
Standard library only.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from promet.cohort.table import SOURCES, Row
from promet.core.errors import DataError, UsageError
from promet.core.files import digest_file, read_json, write_json, write_text_if_changed

COLUMNS = ("patient", "source", "path", "digest", "files", "bytes")
MISSING = "missing"  # digest of a source that is named in the table and cannot be read


@dataclass
class Intake:
    """What an intake found: patients by kind of news."""

    new: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    missing: list[tuple[str, str]] = field(default_factory=list)  # (patient, source)
    gone: list[str] = field(default_factory=list)
    twins: list[list[str]] = field(default_factory=list)  # patients whose PET bytes are the same
    hashed: int = 0
    files: int = 0


def images_path(registry: str | Path) -> Path:
    """Path of images.tsv in the registry folder."""
    return Path(registry) / "images.tsv"


def read(path: str | Path) -> dict[str, dict[str, Row]]:
    """images.tsv as patient -> source -> row; an absent file is an empty registry."""
    images: dict[str, dict[str, Row]] = defaultdict(dict)
    if Path(path).exists():
        text = Path(path).read_text(encoding="utf-8")
        reader = csv.DictReader(text.splitlines(), delimiter="\t")
        rows = list(reader)
        if (
            not text.endswith("\n")
            or tuple(reader.fieldnames or ()) != COLUMNS
            or any(None in row.values() for row in rows)
        ):
            raise UsageError(
                "E_REGISTRY_BROKEN",
                "The image registry is damaged",
                "a whole images.tsv",
                "Delete it and run promet intake",
            )
        for row in rows:
            images[row["patient"]][row["source"]] = row
    return dict(images)


def sources(path: str | Path, patient: str) -> dict[str, Path]:
    """Source name (pet, ct, prostate, lesions) -> path of one patient; unreadable ones raise ``DataError``."""
    found = {}
    for name, row in read(path).get(patient, {}).items():
        if row["digest"] == MISSING or not Path(row["path"]).exists():
            raise DataError(
                "E_SOURCE_MISSING",
                f"The {name} source of this patient is missing, empty or cannot be read",
                "the file or folder named in the cohort table",
                "Correct the table or bring the files back, then promet intake and promet run",
            )
        found[name] = Path(row["path"])
    return found


def list_files(source: Path) -> list[Path]:
    """Every regular file of a source, sorted; links to folders are not followed, so a loop cannot hang it."""
    if source.is_file():
        return [source]

    def refuse(error: OSError) -> None:
        raise error

    found = (Path(folder, name) for folder, _, names in os.walk(source, onerror=refuse) for name in names)
    return sorted(path for path in found if path.is_file() or path.is_symlink())  # a named pipe would hang


def _digest_source(hashes: list[str]) -> str:
    # A multiset of contents: renamed or re-sorted slices are the same source.
    return hashlib.sha256("\n".join(sorted(hashes)).encode()).hexdigest()


def intake(rows: list[Row], base: Path, registry: str | Path, deep: bool = False) -> Intake:
    """Bring the registry up to date with the table.

    Args:
        rows: the cohort table.
        base: folder that relative paths of the table start from.
        registry: folder of the registry.
        deep: hash every file again, also those whose size and time are unchanged.
    """
    registry = Path(registry)
    before = read(images_path(registry))
    cache_path = registry / "stat.json"
    try:
        cache = {} if deep or not cache_path.exists() else read_json(cache_path)
    except ValueError:
        cache = {}  # only a cache: hash again
    result, fresh = Intake(), {}
    jobs: dict[str, os.stat_result] = {}
    listed: dict[tuple[str, str], list[str] | None] = {}
    for row in rows:
        for name in SOURCES:
            if row[name]:
                listed[row["patient"], name] = _list(base / row[name], cache, fresh, jobs)
    with ThreadPoolExecutor() as pool:
        for path, digest in zip(jobs, pool.map(_try_digest, jobs), strict=True):
            stat = jobs[path]
            fresh[path] = [stat.st_size, stat.st_mtime_ns, digest]
    result.hashed, result.files = len(jobs), len(fresh)

    lines: list[Row] = []
    for row in rows:
        for name in SOURCES:
            if row[name]:
                lines.append(
                    _line(row["patient"], name, base / row[name], listed[row["patient"], name], fresh)
                )
    _compare(before, lines, result)
    if result.twins:
        return result  # refused by the caller: nothing is registered
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, delimiter="\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    write_text_if_changed(images_path(registry), text.getvalue())
    if fresh != cache:
        write_json(cache_path, fresh)
    return result


def _list(source: Path, cache: dict, fresh: dict, jobs: dict[str, os.stat_result]) -> list[str] | None:
    names = []
    try:
        for path in list_files(source):
            key, stat = str(path), path.stat()
            known = cache.get(key)
            if known and known[:2] == [stat.st_size, stat.st_mtime_ns] and known[2]:
                fresh[key] = known
            else:
                jobs[key] = stat
            names.append(key)
    except OSError:
        return None
    return names


def _try_digest(path: str) -> str:
    try:
        return digest_file(path)
    except OSError:
        return ""


def _line(patient: str, name: str, source: Path, files: list[str] | None, fresh: dict) -> Row:
    entries = [fresh[path] for path in files or []]
    whole = bool(entries) and all(entry[2] for entry in entries)
    return {
        "patient": patient,
        "source": name,
        "path": os.path.relpath(source),
        "digest": _digest_source([entry[2] for entry in entries]) if whole else MISSING,
        "files": str(len(entries)),
        "bytes": str(sum(entry[0] for entry in entries)),
    }


def _compare(before: dict[str, dict[str, Row]], lines: list[Row], result: Intake) -> None:
    after: dict[str, dict[str, str]] = defaultdict(dict)
    pets: dict[str, list[str]] = defaultdict(list)
    for line in lines:
        after[line["patient"]][line["source"]] = line["digest"]
        if line["digest"] == MISSING:
            result.missing.append((line["patient"], line["source"]))
        elif line["source"] == "pet":
            pets[line["digest"]].append(line["patient"])
    for patient, digests in after.items():
        if patient not in before:
            result.new.append(patient)
        elif {name: row["digest"] for name, row in before[patient].items()} != digests:
            result.changed.append(patient)
    result.gone = sorted(set(before) - set(after))
    result.twins = [sorted(group) for group in pets.values() if len(group) > 1]
