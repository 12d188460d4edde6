"""Which studies are wanted: a list that a person wrote, and the one study of the PACS that each of its lines means."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promet.core.errors import UsageError
from promet.core.rows import whole
from promet.hospital import web

# Columns of the list and the tags they are compared with.
TAGS = {
    "StudyInstanceUID": "0020000D",
    "AccessionNumber": "00080050",
    "PatientID": "00100020",
    "StudyDate": "00080020",
}
ISSUER, SERIES_IN_STUDY = "00100021", "00201206"
OF_ONE_LINE = ("E_PACS_NONE", "E_PACS_AMBIGUOUS")
# Any one of these says which study is meant.
ENOUGH = (("StudyInstanceUID",), ("AccessionNumber",), ("PatientID", "StudyDate"))


@dataclass(frozen=True)
class Wanted:
    """A line of the list: where it stands, and the cells that are filled."""

    line: int
    cells: dict[str, str]


def read(path: Path) -> list[Wanted]:
    """The lines of a list of studies: tab-separated, with columns out of ``TAGS``.

    Raises:
        UsageError: E_PACS_LIST for a line that says too little or what no study can have; a damage of the table.
    """
    if not path.is_file():
        raise UsageError(
            "E_FILE_MISSING",
            "The list of studies does not exist",
            "a table, tab-separated",
            "Correct the path of --list",
        )
    table = whole(path, known=TAGS)
    lines = [
        Wanted(
            number,
            {
                name: cell.strip()
                for name, cell in zip(table.names, cells, strict=True)
                if name in TAGS and cell.strip()
            },
        )
        for number, cells in table.rows
    ]
    faults = [fault for line in lines for fault in _faults(line)]
    if not lines or faults:
        raise UsageError(
            "E_PACS_LIST",
            f"The list of studies cannot be used: {'; '.join(faults) or 'it holds no line'}",
            "in each line StudyInstanceUID, or AccessionNumber, or PatientID and StudyDate (YYYYMMDD)",
            "Name the columns so and separate them by tabs",
        )
    return lines


def _faults(line: Wanted) -> Iterator[str]:
    cells = line.cells
    if not any(all(name in cells for name in names) for names in ENOUGH):
        yield f"line {line.line} says too little"
    if not web.UID.fullmatch(cells.get("StudyInstanceUID", "1.2")):
        yield f"line {line.line}, column StudyInstanceUID: no UID"
    if not re.fullmatch(r"[0-9]{8}", cells.get("StudyDate", "20000101")):
        yield f"line {line.line}, column StudyDate: no date of eight digits"
    for name in ("AccessionNumber", "PatientID"):  # a PACS takes these signs for any letters, or for a list
        if re.search(r"[*?\\]", cells.get(name, "")):
            yield f"line {line.line}, column {name}: a sign that stands for others"


def study_of(server: web.Server, line: Wanted) -> dict[str, Any]:
    """The entry of the one study that a line means.

    Every filled cell of the line has to be the study's: a service that does not know a filter gives all it has.

    Raises:
        UsageError: E_PACS_NONE, E_PACS_AMBIGUOUS.
    """
    names = next(names for names in ENOUGH if all(name in line.cells for name in names))
    found = server.ask(
        "studies",
        key=(TAGS["StudyInstanceUID"], TAGS["PatientID"], ISSUER),
        **{name: line.cells[name] for name in names},
        includefield=",".join((SERIES_IN_STUDY, ISSUER, *TAGS.values())),
    )
    hits = [
        entry
        for entry in found
        if all(web.value(entry, TAGS[name]) == cell for name, cell in line.cells.items())
    ]
    if not hits:
        raise UsageError(
            "E_PACS_NONE",
            f"The PACS has no study as line {line.line} of the list says"
            + (f", though {len(found)} of which not every cell fits" if found else ""),
            "every filled cell of the line as the PACS has it, leading zeros included",
            "Correct the line",
        )
    if len(hits) > 1:
        raise UsageError(
            "E_PACS_AMBIGUOUS",
            f"{len(hits)} studies of the PACS are as line {line.line} of the list says",
            "one; the first would be a guess",
            "Give StudyInstanceUID in that line, and PatientID too where one study lies under two patients",
        )
    return hits[0]
