"""Whether a folder of images is one that ``promet pacs get`` made and has not finished."""

from __future__ import annotations

from pathlib import Path

COMPLETE = "complete"  # holds the number of images
MARK = ".pacs-get"  # in each folder of a series that promet pacs get makes, from its beginning
SUFFIX = ".dcm"


def unfinished(folder: Path) -> bool:
    """True for the folder of a series of which images may still be missing; False for any that pacs get did not make."""
    if not (folder / MARK).exists():
        return False
    try:
        number = (folder / COMPLETE).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return True
    return number != str(sum(1 for _ in folder.glob(f"*{SUFFIX}")))
