"""SHA256SUMS of a folder, in the format of ``sha256sum``: it can be checked without promet, too."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from promet.core.errors import IntegrityError
from promet.core.files import digest_file, write_text_if_changed

NAME = "SHA256SUMS"
MISSING, CHANGED, EXTRA = "missing", "changed", "not listed"  # what can be wrong with a file
_LINE = re.compile(r"([0-9A-Fa-f]{64}) [ *](.+)")


def write(folder: Path, names: list[str]) -> Path:
    """Write SHA256SUMS over ``names``, relative to ``folder``; an equal file keeps its time."""
    write_text_if_changed(folder / NAME, text({name: digest_file(folder / name) for name in names}))
    return folder / NAME


def read(folder: Path) -> dict[str, str]:
    """Name -> SHA-256.

    Raises:
        IntegrityError: there is no such file, or it is damaged.
    """
    try:
        lines = (Path(folder) / NAME).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise IntegrityError(
            "E_CHECKSUMS_MISSING", f"The folder has no readable {NAME}", "the folder as promet wrote it"
        ) from error
    found = [_LINE.fullmatch(line) for line in lines]
    names = [match[2] for match in found if match]
    damaged = len(names) < len(lines) or len(set(names)) < len(names)
    if not names or damaged or any(_outside(name) for name in names):
        raise IntegrityError(
            "E_CHECKSUMS_BROKEN",
            f"{NAME} is damaged",
            "a digest and a name in every line, each name once",
            "Copy it again",
        )
    return {match[2]: match[1].lower() for match in found if match}


def identity(folder: Path) -> str:
    """SHA-256 of SHA256SUMS as ``write`` makes it: line ends, their order and the letters' case change nothing.

    Raises:
        IntegrityError: as ``read``.
    """
    return hashlib.sha256(text(read(folder)).encode()).hexdigest()


def text(digests: dict[str, str]) -> str:
    """What ``write`` writes for these names and digests."""
    return "".join(f"{digests[name]}  {name}\n" for name in sorted(digests))


def _outside(name: str) -> bool:
    return Path(name).is_absolute() or ".." in Path(name).parts


def compare(folder: Path, beside: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """(name, ``MISSING`` | ``CHANGED`` | ``EXTRA``) of each file that is not as recorded.

    Args:
        folder: holds SHA256SUMS.
        beside: names of files that need not be listed.
    """
    wanted = read(folder)
    faults = []
    for name, digest in wanted.items():
        path = folder / name
        if not path.is_file():
            faults.append((name, MISSING))
        elif digest_file(path) != digest:
            faults.append((name, CHANGED))
    known = {*wanted, *beside, NAME}
    there = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file())
    return faults + [(name, EXTRA) for name in there if name not in known]
