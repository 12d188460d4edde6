"""Delimited tables and the numbers in them, read in one way by every command.

A table is text with one line of column names and one line per row, every line with as many cells as there are columns.
Whatever could put a cell into a wrong column, or a row into another, is damage and is never read around. Messages say
where, never what a cell holds unless it is a number: it may be a name.
"""

from __future__ import annotations

import codecs
import csv
import math
import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from promet.core.errors import UsageError
from promet.core.reads import content

# What numeric columns of other programs hold for a missing value.
MISSING = frozenset({"", "na", "n/a", "nan", "none", "null", "."})
NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
# Shown in messages: what consists of digits and signs of numbers, and the words for a missing value or a flag.
HARMLESS = re.compile(r"[-+.,;'<>=%/ 0-9eE_]{1,24}|[cCpP]?[tT][0-9xX][a-cA-C]?")
WORDS = MISSING | {"-", "--", "?", "unknown", "missing", "yes", "no", "true", "false", "inf", "-inf"}
SEPARATORS = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}
SAVE = {
    "\t": "In LibreOffice save it as 'Text CSV' with the field delimiter tab and the character set Unicode (UTF-8), in Excel as "
    "'Unicode Text (*.txt)' or, without letters beyond a to z, as 'Text (tab-delimited)'",
    ",": "In LibreOffice save it as 'Text CSV' with the field delimiter comma and the character set Unicode (UTF-8), in Excel as "
    "'CSV UTF-8' where the list separator is a comma",
}
# First bytes of what is no delimited text.
KINDS = {
    b"PK\x03\x04": "a workbook (.xlsx or .ods) or another zip archive",
    b"\xd0\xcf\x11\xe0": "a workbook of an older Excel (.xls)",
    b"\x09\x08": "a workbook of a very old Excel (.xls)",
    b"PAR1": "a Parquet file",
    b"\x1f\x8b": "a gzip archive",
    b"%PDF": "a PDF file",
    b"{\\rtf": "a document (RTF)",
    b"<": "a page or a workbook in XML or HTML",
}
QUOTED = re.compile('"(?:[^"]|"")*"')
# Control characters, separators of lines that no editor shows as such, what a lost character leaves, marks of byte order.
BAD = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufffd\ufeff\ufffe\uffff]")
NAMES = {"\0": "a NUL character", "\ufffd": "a character that an earlier conversion lost"}


@dataclass(frozen=True)
class Damage:
    """What makes a line unreadable: line of the file (the first is 1), column or '', found, expected."""

    line: int
    column: str
    found: str
    expected: str
    cells: tuple[str, ...] = ()  # of a line that can be cut into cells, but into too many or too few


@dataclass
class Table:
    """Column names and (line, cells) of every row, cells as they stand in the file; rows without any value left out."""

    names: list[str] = field(default_factory=list)
    rows: list[tuple[int, list[str]]] = field(default_factory=list)
    damages: list[Damage] = field(default_factory=list)


def parse(text: str) -> float | None:
    """The finite number that a cell holds, or None.

    ASCII digits with a decimal point, a sign, an exponent; nothing else of what float() takes (1_5, other digits, inf).
    """
    text = text.strip()
    if not NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def instead(text: str) -> str:
    """The number that was meant by a cell with a decimal comma, in words, or ''."""
    text = text.strip()
    point = text.replace(",", ".")
    if point == text or parse(point) is None:
        return ""
    if re.fullmatch(r"[+-]?[1-9][0-9]{0,2},[0-9]{3}", text):
        return f"{point} or {text.replace(',', '')}, with a decimal point and without separators of thousands"
    return f"{point}, with a decimal point"


def shown(text: str) -> str:
    """A cell as a message may show it: a number or what was meant as one, else only how long it is."""
    text = text.strip()
    if not text:
        return "nothing"
    if HARMLESS.fullmatch(text) or text.lower() in WORDS:
        return f"'{text}'"
    return f"a text of {len(text)} characters" if len(text) > 1 else "a single character"


def scan(path: str | Path, delimiter: str = "\t", known: Collection[str] = ()) -> Table:
    """Cut a delimited text into cells, with every damage of its lines.

    UTF-8, with or without a byte order mark, or UTF-16 with one (Excel's 'Unicode Text'); lines end as on any system.
    Quotes are read strictly (RFC 4180): a quoted cell ends on its line, holds no tab, and no other cell holds a quote.
    A last column without a name and without values is left out, as spreadsheets write one.

    Args:
        path: the file.
        delimiter: tab or comma.
        known: names some of which the header must hold, to recognise a table with another separator.

    Raises:
        UsageError: the file is no text table with this delimiter.
        OSError: the file cannot be read.
    """
    text = _text(Path(path), delimiter)
    table, lines = Table(), re.split("\r\n|\r|\n", text)
    bad = BAD.search(text) is not None
    for number, line in enumerate(lines, 1):
        if not line.strip(delimiter + " \xa0"):
            continue
        if not table.names:
            _require_separator(Path(path), line, delimiter, known)
        if bad and (sign := BAD.search(line)):
            column = _name(table, line[: sign.start()].count(delimiter))
            what = NAMES.get(sign[0], "a control character")
            table.damages.append(Damage(number, column, what, "text without it: type the cell again"))
            cells = None
        else:
            cells = _cut(number, line, delimiter, table)
        if not table.names:
            if cells is None:
                raise _refused(path, table.damages[0])
            _header(number, cells, table)
        elif cells is not None and any(cell.strip() for cell in cells):
            if len(cells) == len(table.names):
                table.rows.append((number, cells))
            else:
                table.damages.append(_ragged(number, cells, len(table.names)))
    if not table.names:
        raise UsageError(
            "E_TABLE_EMPTY", f"{Path(path).name} holds no line", "a line with the names of the columns"
        )
    _unnamed(table)
    return table


def read_table(path: str | Path, delimiter: str = "\t") -> list[dict[str, str]]:
    """Rows of a delimited file with a header, names and cells stripped.

    Raises:
        UsageError: a damage, see ``scan``.
    """
    table = whole(path, delimiter)
    return [dict(zip(table.names, (cell.strip() for cell in cells), strict=True)) for _, cells in table.rows]


def tidy(text: str) -> str:
    """A cell without what nobody sees: blanks at its ends, repeated or of another kind, letters composed another way."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def whole(path: str | Path, delimiter: str = "\t", known: Collection[str] = ()) -> Table:
    """``scan`` of a file without any damage.

    Raises:
        UsageError: the first damage, in words.
    """
    table = scan(path, delimiter, known)
    if table.damages:
        raise _refused(path, table.damages[0])
    return table


def _refused(path: str | Path, damage: Damage) -> UsageError:
    where = f"line {damage.line}" + (f", column {damage.column}" if damage.column else "")
    return UsageError(
        "E_TABLE_DAMAGED",
        f"{Path(path).name}, {where}: found {damage.found}",
        damage.expected,
        "Correct that line, in the spreadsheet and not in a text editor where you can",
    )


def _text(path: Path, delimiter: str) -> str:
    data = content(path)
    head = data[:64].removeprefix(codecs.BOM_UTF8).lstrip(b" \r\n") or data[:64]
    kind = next((words for sign, words in KINDS.items() if head.startswith(sign)), "")
    if kind:
        raise UsageError(
            "E_TABLE_WORKBOOK",
            f"{path.name} is {kind}, whatever its name says",
            f"text with {SEPARATORS[delimiter]} between the columns, in UTF-8",
            SAVE[delimiter],
        )
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = len(re.split(b"\r\n|\r|\n", data[: error.start]))
        raise UsageError(
            "E_TABLE_ENCODING",
            f"{path.name} is no UTF-8 text"
            + (
                ""
                if wide
                else f": line {line} holds a letter in another encoding, as Windows programs write it"
            ),
            f"text with {SEPARATORS[delimiter]} between the columns, in UTF-8",
            SAVE[delimiter],
        ) from error
    if text.count("\0") > len(text) // 4:
        raise UsageError(
            "E_TABLE_ENCODING",
            f"{path.name} is no UTF-8 text: every second character is NUL, as in UTF-16 without its mark",
            f"text with {SEPARATORS[delimiter]} between the columns, in UTF-8",
            SAVE[delimiter],
        )
    return text


def _cut(number: int, line: str, delimiter: str, table: Table) -> list[str] | None:
    """The cells of a line; None when they cannot be told apart, which the table's damages then say."""
    if '"' not in line:
        cells = line.split(delimiter)
        place = next((place for place, cell in enumerate(cells) if "\t" in cell), None)
        found = "a tab inside of a cell"
    else:
        cells, place = _quoted(line, delimiter)
        found = "a quote that is not one of a pair around a whole cell, or a tab inside of a cell"
    if place is None:
        return cells
    expected = (
        'no tab and no line break in a cell; quotes only around a whole cell, those inside of it doubled ("")'
    )
    table.damages.append(Damage(number, _name(table, place), found, expected))
    return None


def _quoted(line: str, delimiter: str) -> tuple[list[str], int | None]:
    """The cells of a line with quotes, and the place of the first one whose quotes are damaged."""
    try:
        (cells,) = csv.reader([line], delimiter=delimiter, strict=True)
    except csv.Error:
        pieces = line.split(delimiter)
        return [], next(
            (k for k, piece in enumerate(pieces) if '"' in piece and not QUOTED.fullmatch(piece)), 0
        )
    rest = line
    for place, cell in enumerate(cells):
        quoted = rest.startswith('"')
        written = '"' + cell.replace('"', '""') + '"' if quoted else cell
        # The csv module takes a quote inside of a cell without quotes for a letter: the other of a pair may be lost.
        if "\t" in cell or not rest.startswith(written) or ('"' in cell and not quoted):
            return [], place
        rest = rest[len(written) + 1 :]
    return cells, None


def _name(table: Table, place: int) -> str:
    return table.names[place] if place < len(table.names) else ""


def _require_separator(path: Path, line: str, delimiter: str, known: Collection[str]) -> None:
    """Refuse a header with another separator in one sentence, instead of a fault per column."""
    most = max(SEPARATORS, key=lambda sign: (line.count(sign), sign == delimiter))
    blanks = (
        delimiter not in line
        and len(line.split()) > 1
        and {part.lower() for part in line.split()} & set(known)
    )
    if most != delimiter or blanks:
        raise UsageError(
            "E_TABLE_SEPARATOR",
            f"The columns of {path.name} are separated by {SEPARATORS[most] if most != delimiter else 'blanks'}"
            + (", and then its numbers may have decimal commas" if most == ";" else ""),
            f"{SEPARATORS[delimiter]} between the columns, and decimal points",
            SAVE[delimiter],
        )


def _header(number: int, cells: list[str], table: Table) -> None:
    table.names = [unicodedata.normalize("NFC", cell.strip()) for cell in cells]
    for name in sorted({name for name in table.names if name and table.names.count(name) > 1}):
        # Values of two columns of one name cannot be told apart.
        found = f"{table.names.count(name)} columns of this name"
        table.damages.append(Damage(number, name, found, "each name once"))


def _ragged(number: int, cells: list[str], columns: int) -> Damage:
    return Damage(
        number,
        "",
        f"{len(cells)} cells",
        f"{columns} cells, one per column"
        + (
            ": Excel leaves out empty cells at the end of a row, so let the last column be one that is filled in every row"
            if len(cells) < columns
            else ""
        ),
        tuple(cells),
    )


def _unnamed(table: Table) -> None:
    """Leave out empty columns without a name; one with values is damage."""
    unnamed = [place for place, name in enumerate(table.names) if not name]
    for place in unnamed:
        if line := next((line for line, cells in table.rows if cells[place].strip()), 0):
            expected = "a name for every column (row numbers of R or pandas: write them with row.names=FALSE, index=False)"
            found = f"a value in column {place + 1}, which has no name"
            table.damages.insert(0, Damage(line, "", found, expected))
    if unnamed:
        kept = [place for place in range(len(table.names)) if place not in unnamed]
        table.names = [table.names[place] for place in kept]
        table.rows = [(line, [cells[place] for place in kept]) for line, cells in table.rows]
