"""What a source looks like from outside (names, sizes, times), and the digest of its bytes.

Standard library only.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from promet.core.files import digest_file, left_behind
from promet.study.sources import list_files


@dataclass(frozen=True)
class Look:
    """What a source looks like without reading it; ``fingerprint``: names, sizes and times of its files."""

    fingerprint: str = ""
    files: int = 0
    bytes: int = 0


def look(source: str) -> Look:
    try:
        if os.path.isdir(source):
            seen = list(_stats(source))
        else:
            seen = [
                ("", os.stat(source)),
                *(("beside", path.stat()) for path in list_files(Path(source))[1:]),
            ]
    except OSError:
        return Look()
    lines = sorted(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}" for name, stat in seen)
    total = hashlib.blake2b("\n".join(lines).encode(errors="surrogateescape"), digest_size=12)
    return Look(total.hexdigest(), len(seen), sum(stat.st_size for _, stat in seen))


def _stats(folder: str, inner: str = "") -> Iterator[tuple[str, os.stat_result]]:
    """The files of ``list_files``, with one question to the disk for each."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if left_behind(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _stats(entry.path, f"{inner}{entry.name}/")
            elif entry.is_file() or (entry.is_symlink() and not entry.is_dir()):
                yield inner + entry.name, entry.stat()


def digest(source: str) -> str:
    """Digest of a source's contents, a multiset: renamed or re-sorted slices are the same source; '' when unreadable."""
    try:
        hashes = sorted(digest_file(path) for path in list_files(Path(source)))
    except OSError:
        return ""
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def trace(source: Path) -> list[tuple[int, ...]]:
    """Of each file what also betrays one that was replaced and put back."""
    try:
        stats = [os.stat(path) for path in list_files(source)]
    except OSError:
        return []
    return [(stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for stat in stats]
