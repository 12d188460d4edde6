"""Files written whole or not at all, and their digests."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# What systems leave in any folder they show: macOS and Windows, network disks of Synology and QNAP, archives.
LEFT_BEHIND = frozenset(
    {
        *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r", "__macosx", "lost+found"),
        *("$recycle.bin", "system volume information", "network trash folder", "temporary items"),
        *("@eadir", "@tmp", "#recycle", "#snapshot", "@recycle", "@recently-snapshot"),
    }
)


def left_behind(name: str) -> bool:
    """True for a file or folder that is no part of what a folder holds, by its name.

    Hidden ones (``.DS_Store``, ``._*`` of macOS, ``.nfs*``, the unfinished files of rsync), office locks, and the
    folders of thumbnails and dustbins: they come and go by themselves, so nothing may depend on them.
    """
    return name.startswith((".", "~$")) or name.lower() in LEFT_BEHIND


@contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name beside ``path``; on success fsync it and rename it over ``path``.

    A kill at any instant leaves either the old file or the new one. The temporary name keeps the
    full suffix (``.nii.gz``), since writers choose the format by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_text_if_changed(path: str | os.PathLike[str], text: str) -> bool:
    """Write only if the content differs, so that file times stay; say whether it did."""
    path = Path(path)
    if path.exists() and path.read_bytes() == text.encode():
        return False
    write_text(path, text)
    return True


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write JSON atomically: sorted keys, two-space indent, NaN refused."""
    write_text(path, as_json(value))


def as_json(value: Any) -> str:
    """The text that ``write_json`` writes."""
    return json.dumps(value, sort_keys=True, indent=2, allow_nan=False) + "\n"


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def digest_file(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def digest_files(paths: dict[str, Path]) -> str:
    """One digest of several named products: SHA-256 over the sorted (name, file digest) pairs."""
    total = hashlib.sha256()
    for name in sorted(paths):
        total.update(f"{name}\0{digest_file(paths[name])}\n".encode())
    return total.hexdigest()
