"""A REDCap export as rows by record: what its first line says, and what it must not be."""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from promet.core.errors import UsageError

NAME = re.compile(r"[a-z][a-z0-9_]*")
EVENT, INSTRUMENT, INSTANCE = "redcap_event_name", "redcap_repeat_instrument", "redcap_repeat_instance"
IDENTIFIER = ("Variable / Field Name", "Identifier?")


@dataclass(frozen=True)
class Line:
    """One line of the export: its number in the file (the header is 1) and its cells by field."""

    number: int
    cells: dict[str, str]


@dataclass
class Export:
    """The lines of each record, and the names of the fields."""

    fields: list[str]
    records: dict[str, list[Line]]


def read(path: Path, record: str) -> Export:
    """An export as CSV with raw values and raw headers; commas, semicolons or tabs; with or without a byte order mark.

    Raises:
        UsageError: E_REDCAP_FILE, E_REDCAP_LABELS, E_REDCAP_FIELD.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise _unusable(f"cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise _unusable("is no text in UTF-8") from None
    head = text.split("\n", 1)[0]
    sign = max(",;\t", key=head.count)
    try:
        found = list(csv.reader(io.StringIO(text, newline=""), delimiter=sign, strict=True))
    except csv.Error:
        raise _unusable("has a quote that is not one of a pair") from None
    if not found:
        raise _unusable("is empty")
    names, *rows = [[cell.strip() for cell in row] for row in found]
    if not all(NAME.fullmatch(name) for name in names):
        raise _labels("has labels as names of its columns")
    if len(set(names)) < len(names):
        raise _unusable("has two columns of one name")
    if record not in names:
        raise UsageError(
            "E_REDCAP_FIELD",
            f"The export has no field {record}",
            "the record id",
            "Set 'record' in the mapping",
        )
    records: dict[str, list[Line]] = defaultdict(list)
    for number, row in enumerate(rows, 2):
        if not any(row):
            continue
        if len(row) != len(names):
            raise _unusable(f"has {len(row)} cells in row {number} and {len(names)} columns")
        cells = dict(zip(names, row, strict=True))
        if any(
            value not in ("", "0", "1", "2") for name, value in cells.items() if name.endswith("_complete")
        ):
            raise _labels("has labels as values of its forms' status")
        if any(value in ("Checked", "Unchecked") for name, value in cells.items() if "___" in name):
            raise _labels("has labels as values of its checkboxes")
        records[cells[record]].append(Line(number, cells))
    return Export(names, dict(records))


def identifiers(dictionary: Path) -> set[str]:
    """Fields that the project's data dictionary marks as identifiers.

    Raises:
        UsageError: E_REDCAP_FILE.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(dictionary.read_bytes().decode("utf-8-sig"), newline="")))
    except (OSError, UnicodeDecodeError, csv.Error):
        raise _unusable("or its dictionary cannot be read") from None
    if not rows or any(name not in rows[0] for name in IDENTIFIER):
        raise UsageError(
            "E_REDCAP_FILE",
            "The data dictionary lacks the column of the fields' names or of the identifiers",
            f"REDCap's own columns, among them '{IDENTIFIER[0]}' and '{IDENTIFIER[1]}'",
            "Download it from the project's Data Dictionary page",
        )
    return {row[IDENTIFIER[0]].strip() for row in rows if (row[IDENTIFIER[1]] or "").strip().lower() == "y"}


def _unusable(what: str) -> UsageError:
    return UsageError(
        "E_REDCAP_FILE",
        f"The REDCap export {what}",
        "CSV with a line of field names, in UTF-8",
        "Export it again as 'CSV / Microsoft Excel (raw data)', and do not save it from a spreadsheet",
    )


def _labels(what: str) -> UsageError:
    return UsageError(
        "E_REDCAP_LABELS",
        f"The REDCap export {what}",
        "raw data: labels are changed by whoever edits the project, codes are not",
        "Export it as 'CSV / Microsoft Excel (raw data)'",
    )
