"""The file of voxels that a header of its own names (.mhd, .nhdr): it belongs to the source as the header does."""

from __future__ import annotations

import re
from pathlib import Path

HEADERS = (".mhd", ".nhdr")
LONGEST = 1 << 16  # bytes; such headers are a few hundred
NAMED = re.compile(rb"^(?:ElementDataFile\s*=|data ?file:)[ \t]*([^\r\n]*?)[ \t]*\r?$", re.MULTILINE)


def data_file(header: Path) -> Path | None:
    """Where the voxels of a .mhd or .nhdr lie: a file beside it. None for other files, and for names that lead elsewhere.

    Raises:
        OSError: the header cannot be read.
    """
    if not header.name.lower().endswith(HEADERS):
        return None
    with open(header, "rb") as handle:
        found = NAMED.search(handle.read(LONGEST))
    name = found[1].decode("utf-8", "replace") if found else ""
    if (
        name.split(" ")[0].upper() in ("", "LOCAL", "LIST")
        or name in (".", "..")
        or re.search(r"[/\\%\0]", name)
    ):
        return None
    return header.with_name(name)
