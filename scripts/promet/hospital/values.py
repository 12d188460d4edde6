"""The value of one column for one record of a REDCap project, or what is wrong with it. Dates do not leave this module."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from promet.core.rows import parse, shown
from promet.hospital.mapping import Column, Mapping
from promet.hospital.redcap_file import EVENT, INSTANCE, INSTRUMENT, Line
from promet.study import table

DAYS_PER_MONTH = 30.4375
DATE = re.compile(r"\d{4}-\d{2}-\d{2}|\d{1,2}[./]\d{1,2}[./]\d{2,4}")


@dataclass(frozen=True)
class Fault:
    """What is wrong with a cell; ``found`` never shows a date or text."""

    code: str
    found: str
    expected: str
    line: int = 0


class Wrong(Exception):
    """A value that cannot be taken."""

    def __init__(self, code: str, found: str, expected: str, line: int = 0) -> None:
        super().__init__(code)
        self.fault = Fault(code, found, expected, line)


def value(name: str, column: Column, mapping: Mapping, lines: list[Line]) -> str:
    """The cell of column ``name`` in the table's own spelling; '' when nothing is there.

    Raises:
        Wrong: it is said what.
    """
    if column.months:
        found = _months(column, mapping, lines)
    else:
        each = [
            (line, _of_line(column, mapping, line)) for line in _lines(lines, column.event, column.instrument)
        ]
        found = _take(column, [(line, text) for line, text in each if text != ""])
    if DATE.fullmatch(found):
        raise Wrong("CELL_DATE", "a date", "no date: dates stay in the export")
    cell = table.normalise(name, found)
    if cell and not table.COLUMNS[name].valid(cell):
        raise Wrong("CELL_RANGE", shown(cell), table.COLUMNS[name].expected)
    return cell


def _lines(lines: list[Line], event: str, instrument: str) -> list[Line]:
    kept = [line for line in lines if not event or line.cells.get(EVENT, "") == event]
    return [line for line in kept if not instrument or line.cells.get(INSTRUMENT, "") == instrument]


def _text(mapping: Mapping, line: Line, field: str) -> str:
    text = line.cells[field].strip()
    return "" if text in mapping.missing else text


def _of_line(column: Column, mapping: Mapping, line: Line) -> str:
    """What one line says, '' when nothing."""
    if column.when and line.cells[column.when] != "2":
        return ""
    if column.field:
        return _single(column, mapping, line)
    if column.any:
        boxes = [_text(mapping, line, field) for field in column.any]
        if bad := next((text for text in boxes if text not in ("", "0", "1")), ""):
            raise Wrong("CELL_CODE", shown(bad), "0 or 1 of a checkbox", line.number)
        return "" if not any(boxes) else str(int("1" in boxes))
    part, whole = (_number(mapping, line, field) for field in column.percent)
    if part is None or whole is None:
        return ""
    if not 0 <= part <= whole or whole == 0:
        raise Wrong(
            "CELL_RANGE", f"{part:g} of {whole:g}", "a part that is no more than the whole", line.number
        )
    return f"{100 * part / whole:.4f}"


def _single(column: Column, mapping: Mapping, line: Line) -> str:
    text = _text(mapping, line, column.field)
    if column.codes and text:
        if text not in column.codes:
            raise Wrong(
                "CELL_CODE", shown(text), f"one of {len(column.codes)} codes of the mapping", line.number
            )
        return str(column.codes[text])
    if mapping.decimal == "," and re.fullmatch(r"[+-]?\d+,\d+", text):
        return text.replace(",", ".")
    if re.fullmatch(r"[+-]?\d+,\d+", text):
        raise Wrong(
            "CELL_NUMBER", "a decimal comma", "a decimal point, or decimal: ',' in the mapping", line.number
        )
    return text


def _number(mapping: Mapping, line: Line, field: str) -> float | None:
    text = _text(mapping, line, field)
    if mapping.decimal == ",":
        text = text.replace(",", ".")
    if not text:
        return None
    number = parse(text)
    if number is None:
        raise Wrong("CELL_NUMBER", shown(text), "a number", line.number)
    return number


def _take(column: Column, found: list[tuple[Line, str]]) -> str:
    if not found:
        return ""
    if column.take == "last":
        return max(found, key=lambda pair: _instance(pair[0]))[1]
    kinds = {text for _, text in found}
    if column.take == "any":
        if not kinds <= {"0", "1"}:
            raise Wrong("CELL_CODE", f"{len(kinds)} different values", "0 and 1 where one of several counts")
        return str(int("1" in kinds))
    if len(kinds) > 1:
        numbers = {parse(text) for text in kinds}
        if len(numbers) > 1 or None in numbers:
            raise Wrong(
                "CELL_SEVERAL",
                f"{len(kinds)} different values",
                "one, or take: last or any",
                found[-1][0].number,
            )
    return found[0][1]


def _instance(line: Line) -> tuple[float, int]:
    return parse(line.cells.get(INSTANCE, "")) or 0.0, line.number


def _months(column: Column, mapping: Mapping, lines: list[Line]) -> str:
    first, second = column.months
    begins = _dates(mapping, _lines(lines, column.from_event, ""), first)
    ends = _dates(mapping, _lines(lines, column.event, column.instrument), second, column.when)
    if column.stop_at:
        stops = [(line, day) for line, day in ends if _text(mapping, line, column.stop_at) == "1"]
        ends = [min(stops, key=lambda pair: pair[1])] if stops else ends
    if not begins or not ends:
        return ""
    days = {day for _, day in begins}
    if len(days) > 1:
        raise Wrong("CELL_SEVERAL", f"{len(days)} different first dates", "one", begins[-1][0].number)
    if column.take == "only" and len({day for _, day in ends}) > 1:
        raise Wrong("CELL_SEVERAL", "several second dates", "one, or take: last", ends[-1][0].number)
    line, end = max(ends, key=lambda pair: pair[1])
    gap = (end - days.pop()).days
    if gap < 0:
        raise Wrong(
            "DATE_ORDER", "a second date before the first", "dates in their order, of one record", line.number
        )
    return f"{gap / DAYS_PER_MONTH:.2f}"


def _dates(mapping: Mapping, lines: Iterable[Line], field: str, when: str = "") -> list[tuple[Line, date]]:
    found = []
    for line in lines:
        text = _text(mapping, line, field)
        if not text or (when and line.cells[when] != "2"):
            continue
        try:
            found.append((line, date.fromisoformat(text[:10])))
        except ValueError:
            raise Wrong(
                "CELL_DATE", "what is no date", "a date as REDCap exports it, year-month-day", line.number
            ) from None
    return found
