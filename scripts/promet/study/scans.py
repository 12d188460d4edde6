"""The same scan, or the same person, under two pseudonyms: what of a PET no new name, UID or header changes.

``registry/scans.tsv`` keeps, of every patient that was ever registered, hashes of single slices as they are stored (the
smallest ``KEPT`` of them stand for all) and a keyed hash of the DICOM PatientID. Two scans of two people share no slice that
is more than noise-free background. Rows of patients who left the table stay: who was withdrawn must not come back unseen.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import hmac
import io
import logging
import os
import secrets
import struct
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from promet.core.files import write_text_if_changed
from promet.core.words import say
from promet.study.sources import list_files

COLUMNS = ("patient", "pet", "slices", "person")
KEPT = 64
SHARED = 2  # slices in common that make two scans one
FEW_VALUES = 16  # a slice of fewer different bytes is background
UNDEFINED, PIXELS = 0xFFFFFFFF, b"\xe0\x7f\x10\x00"
KEY = "PROMET_ID_KEY"


@dataclass(frozen=True)
class Scan:
    """Digest of the PET source it was taken from, hashes of slices, and ``key:hash`` of the DICOM PatientID or ''."""

    pet: str
    slices: frozenset[str] = frozenset()
    person: str = ""

    def same(self, other: Scan) -> bool:
        """True when both hold the same pixels, at least in part."""
        fewest = min(len(self.slices), len(other.slices))
        return self.pet == other.pet or 0 < min(SHARED, fewest) <= len(self.slices & other.slices)


def path(registry: str | Path) -> Path:
    """Where the scans of a registry are kept."""
    return Path(registry) / "scans.tsv"


def read(registry: str | Path) -> dict[str, Scan]:
    """Patient -> scan; a file that is absent or damaged gives what is whole of it."""
    try:
        text = path(registry).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    rows = [row for row in csv.reader(io.StringIO(text), delimiter="\t") if len(row) == len(COLUMNS)]
    return {row[0]: Scan(row[1], frozenset(row[2].split()), row[3]) for row in rows[1:]}


def write(registry: str | Path, scans: dict[str, Scan]) -> None:
    """Keep the scans."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(COLUMNS)
    for patient in sorted(scans):
        scan = scans[patient]
        writer.writerow((patient, scan.pet, " ".join(sorted(scan.slices)), scan.person))
    write_text_if_changed(path(registry), text.getvalue())


def bring_up_to_date(
    pets: dict[str, tuple[str, Path]], kept: dict[str, Scan], threads: int
) -> dict[str, Scan]:
    """The scans of these patients; only those are read whose PET changed, or whose PatientID another key hashed.

    Args:
        pets: patient -> digest and path of the PET source.
        kept: what is known.
        threads: how many sources are read at once.
    """
    todo = [name for name, (digest, _) in pets.items() if name not in kept or kept[name].pet != digest]
    with ThreadPoolExecutor(threads) as pool:
        read_now = dict(zip(todo, pool.map(lambda name: _slices(pets[name][1]), todo), strict=True))
    found = {name: kept[name] for name in pets if name not in read_now}
    found |= {name: Scan(pets[name][0], slices) for name, slices in read_now.items() if slices is not None}
    found = {name: found[name] for name in pets if name in found}
    return _with_persons(found, {name: source for name, (_, source) in pets.items()})


def alike(scans: dict[str, Scan]) -> list[list[str]]:
    """Groups of patients with the same scan."""
    return _groups(scans, lambda scan: [scan.pet, *scan.slices], Scan.same)


def one_person(scans: dict[str, Scan]) -> list[list[str]]:
    """Groups of patients with one DICOM PatientID."""
    return _groups(scans, lambda scan: [scan.person] * bool(scan.person), lambda a, b: a.person == b.person)


def _groups(scans: dict[str, Scan], marks, same) -> list[list[str]]:
    holders: dict[str, list[str]] = defaultdict(list)
    for name, scan in scans.items():
        for mark in marks(scan):
            holders[mark].append(name)
    root = {name: name for name in scans}

    def top(name: str) -> str:
        while root[name] != name:
            name = root[name]
        return name

    for names in holders.values():
        for other in names[1:]:
            if top(names[0]) != top(other) and same(scans[names[0]], scans[other]):
                root[top(other)] = top(names[0])
    groups: dict[str, list[str]] = defaultdict(list)
    for name in scans:
        groups[top(name)].append(name)
    return sorted(sorted(names) for names in groups.values() if len(names) > 1)


# Pixels ---------------------------------------------------------------------------------------------------


def _slices(source: Path) -> frozenset[str] | None:
    """The smallest hashes of the slices of a source; None when it cannot be read."""
    hashes: set[str] = set()
    try:
        for file in list_files(source):
            for pixels in _pixels(file.read_bytes()):
                if len(set(pixels[::7])) > FEW_VALUES:
                    hashes.add(hashlib.blake2b(pixels, digest_size=8).hexdigest())
    except (EOFError, gzip.BadGzipFile, zlib.error, struct.error):
        return frozenset()  # no image, which is convert's to say
    except OSError:
        return None
    return frozenset(sorted(hashes)[:KEPT])


def _pixels(data: bytes) -> Iterator[bytes]:
    """The pixels of each slice, as they are stored, of a DICOM file or a NIfTI volume."""
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    if len(data) > 352 and data[344:347] in (b"n+1", b"ni1"):
        order = "<" if data[:4] == b"\x5c\x01\x00\x00" else ">"
        x, y = struct.unpack_from(f"{order}2h", data, 42)
        (bits,) = struct.unpack_from(f"{order}h", data, 72)
        (start,) = struct.unpack_from(f"{order}f", data, 108)
        yield from _cut(data[int(start) :], x * y * bits // 8)
    elif data[128:132] == b"DICM":
        yield from _dicom_pixels(data)
    else:
        yield data


def _dicom_pixels(data: bytes) -> Iterator[bytes]:
    """Of element (7FE0,0010), the last one of a file (an icon has one, too), in explicit or implicit little endian."""
    at = data.rfind(PIXELS)
    while at >= 0:
        explicit = data[at + 4 : at + 6] in (b"OW", b"OB")
        start = at + (12 if explicit else 8)
        if start < len(data):
            (length,) = struct.unpack_from("<I", data, start - 4)
            if length == UNDEFINED and data[start : start + 4] == b"\xfe\xff\x00\xe0":  # compressed
                yield data[start:]
                return
            if 0 < length <= len(data) - start:
                yield from _cut(data[start : start + length], _frame_bytes(data[:at]))
                return
        at = data.rfind(PIXELS, 0, at)


def _frame_bytes(header: bytes) -> int:
    """Rows x columns x bytes per pixel, to tell the frames of one file apart; 0 when they are not found."""
    sizes = []
    for element in (b"\x10\x00", b"\x11\x00", b"\x00\x01"):
        tag = b"\x28\x00" + element
        for mark in (tag + b"US\x02\x00", tag + b"\x02\x00\x00\x00"):
            at = header.rfind(mark)
            if at >= 0:
                sizes.append(struct.unpack_from("<H", header, at + 8)[0])
                break
    return sizes[0] * sizes[1] * sizes[2] // 8 if len(sizes) == 3 else 0


def _cut(pixels: bytes, size: int) -> Iterator[bytes]:
    if size <= 0 or len(pixels) <= size or len(pixels) % size > 1:
        yield pixels
    else:
        yield from (pixels[at : at + size] for at in range(0, len(pixels) - len(pixels) % size, size))


# Persons --------------------------------------------------------------------------------------------------


def key_path() -> Path:
    """File of the key: ``PROMET_ID_KEY``, else one of this user, outside of any project."""
    if os.environ.get(KEY):
        return Path(os.environ[KEY])
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "promet/patient-id.key"


def secret() -> bytes:
    """The key, made when there is none; empty when it cannot be kept."""
    try:
        file = key_path().absolute()
        if file.is_relative_to(Path.cwd()) and not os.environ.get(KEY):
            return b""
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
                handle.write(secrets.token_hex(32) + "\n")
        return file.read_bytes().strip()
    except (OSError, RuntimeError):
        return b""


def _with_persons(scans: dict[str, Scan], pets: dict[str, Path]) -> dict[str, Scan]:
    """Add the hash of the PatientID where it is lacking or made with another key."""
    suspects = [name for name in scans if pets[name].is_dir() or pets[name].suffix.lower() == ".dcm"]
    if not suspects:
        return scans
    key = secret()
    if not key:
        say(
            f"DICOM PatientIDs are not compared: no key can be kept in {key_path()} ({KEY} names another place)"
        )
        return scans
    mark = hashlib.sha256(key).hexdigest()[:8]
    todo = [name for name in suspects if not scans[name].person.startswith(f"{mark}:")]
    found = dict(scans)
    for name, number in zip(todo, _patient_ids([pets[name] for name in todo]), strict=True):
        text = " ".join(number.split()).upper()
        digest = hmac.new(key, text.encode(), "sha256").hexdigest()[:24] if text else ""
        found[name] = replace(scans[name], person=f"{mark}:{digest}" if digest else "")
    return found


def _patient_ids(sources: Iterable[Path]) -> Iterator[str]:
    """PatientID of the first DICOM file of each source, '' without one. It goes into the keyed hash and nowhere else."""
    import pydicom

    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    for source in sources:
        yield _patient_id(pydicom, source)


def _patient_id(pydicom, source: Path) -> str:
    try:
        for file in list_files(source)[:20]:
            with open(file, "rb") as handle:
                if handle.read(132)[128:] != b"DICM":
                    continue
            data = pydicom.dcmread(file, specific_tags=["PatientID"], stop_before_pixels=True)
            if data.get("PatientID"):
                return str(data.PatientID)
    except Exception:  # a broken header is convert's to refuse; here it only says nothing
        return ""
    return ""
