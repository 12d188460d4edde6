"""What a job was planned to read from outside the study: it reads that, or it fails.

The table, the ledger and the images belong to people, who may change them between the moment a plan is made and the
moment a job reads. Files that are read as text are read once and held, so that what was checked is what is used.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

_held: dict[str, bytes] = {}
_current: list[Reads] = []


class Reads(Protocol):
    """What one job reads."""

    def digests(self) -> dict[str, str]:
        """Name of each thing -> digest of what the job uses of it, for its record."""

    def check(self, thorough: bool = False) -> None:
        """Compare with what was planned; before, and after a fault thoroughly.

        Raises:
            IntegrityError: it is something else, or not there.
        """


@contextmanager
def planned(reads: Reads) -> Iterator[None]:
    """Stages that run inside read this and nothing else."""
    _current.append(reads)
    try:
        yield
    finally:
        _current.pop()


def current() -> Reads | None:
    """What the stage that runs now was planned to read, if somebody said so."""
    return _current[-1] if _current else None


def hold(path: str | os.PathLike[str]) -> None:
    """Read a file now, and give these bytes to whoever asks for it in this process."""
    _held[os.path.abspath(path)] = Path(path).read_bytes()


def release() -> None:
    """Hold nothing any more."""
    _held.clear()


def content(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a file, those that are held if it is."""
    known = _held.get(os.path.abspath(path)) if _held else None
    return Path(path).read_bytes() if known is None else known
