"""What is new among the patients of a table: ``promet intake`` compares their files with the registry and brings it up to date.

Standard library only.
"""

from __future__ import annotations

import csv
import io
import os
from collections import defaultdict
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from promet.core.errors import DataError, UsageError
from promet.core.files import read_json, write_json, write_text_if_changed
from promet.core.words import count
from promet.study import scans
from promet.study.looks import digest as digest_of
from promet.study.looks import look as look_at
from promet.study.registry import COLUMNS, MISSING, images_path, read
from promet.study.sources import list_files
from promet.study.sources import source as located
from promet.study.table import SOURCES, Row

THREADS = 32
LESS = 0.9  # of the bytes: less of them in as many files is asked about


class Shorter(NamedTuple):
    """A registered source that holds fewer files or bytes now: (files, bytes) as found and as registered."""

    patient: str
    source: str
    found: tuple[int, int]
    expected: tuple[int, int]


@dataclass
class Intake:
    """What an intake found: patients by kind of news."""

    new: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    missing: list[tuple[str, str]] = field(default_factory=list)  # (patient, source)
    away: list[tuple[str, str]] = field(default_factory=list)  # registered, and not there now
    gone: list[str] = field(default_factory=list)
    alike: list[list[str]] = field(default_factory=list)  # patients with one PET scan
    returned: list[tuple[str, str]] = field(
        default_factory=list
    )  # (new name, who left the table with that scan)
    exchanged: list[tuple[str, str]] = field(default_factory=list)  # (who has it now, whose scan it was)
    shorter: list[Shorter] = field(default_factory=list)
    persons: list[list[str]] = field(
        default_factory=list
    )  # patients with one DICOM PatientID, one of them news
    hashed: int = 0
    files: int = 0


def intake(
    rows: list[Row],
    base: Path,
    registry: str | Path,
    deep: bool = False,
    recall: bool = True,
    exchanged: bool = False,
    shorter: Collection[str] = (),
) -> Intake:
    """Bring the registry up to date with the table.

    Args:
        rows: the cohort table.
        base: folder that relative paths of the table start from.
        registry: folder of the registry.
        deep: hash every file again. Otherwise only the sources in which a file's name, size or time changed.
        recall: also compare with patients who left the table.
        exchanged: patients of the table may have each other's images now.
        shorter: patients whose sources may hold less than was registered.

    Returns:
        What was found. With ``alike``, ``returned``, ``exchanged`` or ``shorter`` it is for the caller to refuse: nothing is
        registered.
    """
    registry = Path(registry)
    try:
        before = read(images_path(registry))
    except UsageError:
        before = {}  # damaged, and made again now
    cache_path = registry / "stat.json"
    cache = {} if deep else _cache(registry)
    cells = {(row["patient"], name): row[name] for row in rows for name in SOURCES if row[name]}
    named = {key: str(located(base, cell)) for key, cell in cells.items()}
    result, fresh = Intake(), {}
    # Many at once, since a network disk answers each question late.
    with ThreadPoolExecutor(THREADS) as pool:
        looks = dict(zip(paths := dict.fromkeys(named.values()), pool.map(look_at, paths), strict=True))
        changed = [
            path
            for path, look in looks.items()
            if look.files and cache.get(path, [""])[0] != look.fingerprint
        ]
        digests = dict(zip(changed, pool.map(digest_of, changed), strict=True))
    for path, look in looks.items():
        digest = digests.get(path, cache.get(path, ["", ""])[1])
        if look.files and digest:
            fresh[path] = [look.fingerprint, digest]
    result.hashed = sum(looks[path].files for path in changed)
    result.files = sum(look.files for look in looks.values())

    away = {
        key: row
        for key, path in named.items()
        if path not in fresh and (row := _kept(before, key, path, cache))
    }
    fresh |= {named[key]: cache[named[key]] for key in away if named[key] in cache}
    result.away = sorted(away)
    lines: list[Row] = [
        away.get((patient, name))
        or {
            "patient": patient,
            "source": name,
            "path": path if os.path.isabs(cells[patient, name]) else os.path.relpath(path),
            "digest": fresh[path][1] if path in fresh else MISSING,
            "files": str(looks[path].files),
            "bytes": str(looks[path].bytes),
        }
        for (patient, name), path in named.items()
    ]
    _compare(before, lines, result)
    kept, known = scans.read(registry), known_scans(registry)
    pets = {
        patient: (fresh[path][1], Path(path))
        for (patient, name), path in named.items()
        if name == "pet" and path in fresh and (patient, name) not in away
    }
    there = scans.bring_up_to_date(pets, kept, THREADS)
    there |= {patient: known[patient] for patient, name in away if name == "pet" and patient in known}
    _recognise(before, known, there, {row["patient"] for row in rows}, recall, result)
    if exchanged:
        result.exchanged = []
    result.shorter = [one for one in _shorter(before, lines) if one.patient not in shorter]
    if result.alike or result.returned or result.exchanged or result.shorter:
        return result
    scans.write(registry, {**kept, **{patient: there[patient] for patient in pets if patient in there}})
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, delimiter="\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    write_text_if_changed(images_path(registry), text.getvalue())
    if fresh != cache:
        write_json(cache_path, fresh)
    return result


def _kept(
    before: dict[str, dict[str, Row]], key: tuple[str, str], path: str, cache: dict[str, list[str]]
) -> Row | None:
    """The row of a registered source that cannot be looked at now: a disk that is away changes no patient.

    None where nothing was registered, or something else under another path.
    """
    row = before.get(key[0], {}).get(key[1])
    known = cache.get(path, ["", ""])[1]
    same = row is not None and row["digest"] != MISSING and known in ("", row["digest"])
    other = not known and row is not None and os.path.abspath(row["path"]) != os.path.abspath(path)
    return row if same and not other else None


def away(rows: list[Row], base: Path, registry: str | Path) -> set[tuple[str, str]]:
    """(patient, source) of what is registered and cannot be looked at now: it stays registered."""
    try:
        before = read(images_path(registry))
    except UsageError:
        return set()
    cache = _cache(registry)
    named = {
        (row["patient"], name): str(located(base, row[name])) for row in rows for name in SOURCES if row[name]
    }
    asked = {key: path for key, path in named.items() if _kept(before, key, path, cache)}
    with ThreadPoolExecutor(THREADS) as pool:
        looks = zip(asked, pool.map(look_at, asked.values()), strict=True)
        return {key for key, look in looks if not look.files}


def known_scans(registry: str | Path) -> dict[str, scans.Scan]:
    """The scan of everybody who was ever registered, as far as it was kept."""
    try:
        images = read(images_path(registry))
    except UsageError:
        images = {}
    digests = {name: rows["pet"]["digest"] for name, rows in images.items() if "pet" in rows}
    found = {name: scans.Scan(digest) for name, digest in digests.items() if digest != MISSING}
    return found | scans.read(registry)


def scans_of(pets: dict[str, Path]) -> dict[str, scans.Scan]:
    """The scans of these patients, read now; without those that cannot be read."""
    digests = {name: digest_of(str(path)) for name, path in pets.items()}
    return scans.bring_up_to_date(
        {name: (digest, pets[name]) for name, digest in digests.items() if digest}, {}, THREADS
    )


def alike(rows: list[Row], base: Path, registry: str | Path) -> list[list[str]]:
    """Patients whose PET bytes are the same, before an intake. Only PETs of the same size are read, and none that is known."""
    pets = {row["patient"]: str(located(base, row["pet"])) for row in rows if row["pet"]}
    cache = _cache(registry)
    with ThreadPoolExecutor(THREADS) as pool:
        looks = dict(zip(pets, pool.map(look_at, pets.values()), strict=True))
        sizes: dict[tuple[int, int], list[str]] = defaultdict(list)
        for patient, look in looks.items():
            sizes[look.files, look.bytes].append(patient)
        asked = [
            patient
            for (files, _), patients in sizes.items()
            if files and len(patients) > 1
            for patient in patients
        ]

        def digest(patient: str) -> str:
            fingerprint, known = cache.get(pets[patient], ["", ""])
            return known if fingerprint == looks[patient].fingerprint else digest_of(pets[patient])

        same: dict[str, list[str]] = defaultdict(list)
        for patient, found in zip(asked, pool.map(digest, asked), strict=True):
            same[found or patient].append(patient)
    return [sorted(patients) for patients in same.values() if len(patients) > 1]


def touched(rows: list[Row], base: Path, registry: str | Path) -> list[str]:
    """Those of the patients whose files no longer look (names, sizes, times) as they did at the last intake."""
    if not rows:
        return []
    cache = _cache(registry)

    def differs(row: Row) -> bool:
        paths = [str(located(base, row[name])) for name in SOURCES if row[name]]
        return any(look_at(path).fingerprint != cache.get(path, [""])[0] for path in paths)

    with ThreadPoolExecutor(THREADS) as pool:
        return [row["patient"] for row, other in zip(rows, pool.map(differs, rows), strict=True) if other]


def _cache(registry: str | Path) -> dict[str, list[str]]:
    """Path -> fingerprint and digest at the last intake; only a cache: lost or damaged, it is empty."""
    try:
        return read_json(Path(registry) / "stat.json")
    except (OSError, ValueError):
        return {}


def _compare(before: dict[str, dict[str, Row]], lines: list[Row], result: Intake) -> None:
    after: dict[str, dict[str, str]] = defaultdict(dict)
    for line in lines:
        after[line["patient"]][line["source"]] = line["digest"]
        if line["digest"] == MISSING:
            result.missing.append((line["patient"], line["source"]))
    for patient, digests in after.items():
        if patient not in before:
            result.new.append(patient)
        elif any(
            digest != MISSING and digest != before[patient].get(name, {}).get("digest")
            for name, digest in digests.items()
        ) or set(before[patient]) - set(digests):
            result.changed.append(patient)
    result.gone = sorted(set(before) - set(after))


def _recognise(
    before: dict[str, dict[str, Row]],
    kept: dict[str, scans.Scan],
    there: dict[str, scans.Scan],
    named: set[str],
    recall: bool,
    result: Intake,
) -> None:
    """Who has the scan or the PatientID of somebody else, of those in the table and, of the news, those who left it."""
    result.alike = scans.alike(there)
    left = {name: scan for name, scan in kept.items() if name not in named} if recall else {}
    news = {
        name: scan
        for name, scan in there.items()
        if before.get(name, {}).get("pet", {}).get("digest") != scan.pet
    }
    for group in scans.alike({**left, **news}) if left else []:
        gone = [name for name in group if name in left]
        result.returned += [(name, gone[0]) for name in group if name in news and gone]
    if recall:
        was = {f"{name}\0": kept[name] for name in kept if name in named and name in news}
        for group in scans.alike({**was, **news}) if was else []:
            others = [name.removesuffix("\0") for name in group if name in was]
            mine = [name for name in group if name in news]
            result.exchanged += [
                (new, old) for new in mine for old in others if new != old and new not in others
            ]
    result.persons = [group for group in scans.one_person({**left, **there}) if set(group) & set(news)]


def _shorter(before: dict[str, dict[str, Row]], lines: list[Row]) -> Iterator[Shorter]:
    """What is less than it was, as a copy that is not finished or a disk that answers in part; not what is whole elsewhere."""
    whole = {row["digest"] for rows in before.values() for row in rows.values()} - {MISSING}
    for line in lines:
        row = before.get(line["patient"], {}).get(line["source"])
        if row is None or row["digest"] == MISSING or line["digest"] in whole:
            continue
        if line["digest"] == MISSING and not os.path.exists(line["path"]):
            continue  # a wrong path is said as that
        found, expected = ((int(one["files"]), int(one["bytes"])) for one in (line, row))
        if found[0] < expected[0] or (
            found[1] < expected[1] and _cut(Path(line["path"]), found[1] / expected[1])
        ):
            yield Shorter(line["patient"], line["source"], found, expected)


def _cut(source: Path, share: float) -> bool:
    """Is a source of fewer bytes a part of one? A mask drawn again is often smaller, and whole; so is a series with shorter UIDs."""
    from promet.core import volumes

    if source.is_dir():
        return share < LESS or any(not path.stat().st_size for path in list_files(source))
    if not volumes.is_volume(source):
        return share < LESS
    try:
        volumes.look(source)
    except DataError as error:
        return error.code in ("E_IMAGE_TRUNCATED", "E_IMAGE_FORMAT")
    return False


def less_than_before(shorter: list[Shorter], otherwise: str) -> UsageError:
    """The refusal of registered sources that hold less now; ``otherwise``: what to do where that is right."""

    def told(size: tuple[int, int]) -> str:
        return f"{count(size[0], 'file')} of {count(size[1], 'byte')}"

    one = shorter[0]
    more = f" (and {count(len(shorter) - 1, 'source')} more like it)" if len(shorter) > 1 else ""
    return UsageError(
        "E_SOURCE_SHORTER",
        f"The {one.source} source of {one.patient} holds {told(one.found)}, {told(one.expected)} were registered{more}",
        "at least what was registered: a copy that is not finished, or a disk that answers in part, is no other image",
        f"Bring all of it back and try again; {otherwise}",
    )
