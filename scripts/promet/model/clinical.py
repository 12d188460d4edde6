"""The clinical values of a patient: read, checked, and refused in words that repeat no text of theirs."""

from __future__ import annotations

import codecs
import json
import re
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from promet.core.errors import UsageError
from promet.core.rows import instead, parse, shown
from promet.study.faults import cell_faults, grade_group
from promet.study.table import COLUMNS

MARKS = {
    codecs.BOM_UTF8: "UTF-8 with a byte order mark (BOM)",
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
# No biopsy has a hundred cores: 1 or less of a hundred is a fraction of one.
PERCENT = ("positive_cores_percent", "ucla_psma_risk")
GLEASON = re.compile(r"([1-5])\s*\+\s*([1-5])")


def values(contract: dict[str, Any], given: Any) -> dict[str, str]:
    """Clinical values as cells of a table, after every check.

    Args:
        contract: of the model.
        given: key -> number, numeric text, or null for a missing value.

    Raises:
        UsageError: no mapping, an unknown key, a value outside its domain or on another scale.
    """
    known = contract["clinical"]
    if not isinstance(given, dict):
        raise UsageError("E_CLINICAL_FORMAT", "The clinical row is no JSON object", 'e.g. {"psa": 7.5}')
    unknown = sorted({_key(str(name)) for name in given if name not in known})
    if unknown:
        raise UsageError(
            "E_CLINICAL_KEY",
            f"The clinical row has keys the model does not know: {', '.join(unknown)}",
            f"only {', '.join(known)}",
            "Correct the spelling, or leave the key out; null means missing",
        )
    cells = {}
    for name, value in given.items():
        cell = "" if value is None else str(value).strip()
        wrong_kind = isinstance(value, bool) or not isinstance(value, (str, int, float, type(None)))
        hint = "" if wrong_kind or not cell else _hint(name, cell)
        if wrong_kind or hint or (cell and not _agreed(known[name], name, cell)):
            what = f"of the kind {type(value).__name__}" if wrong_kind else _shown(cell)
            raise UsageError(
                "E_CLINICAL_VALUE",
                f"{name} is {what}{f', which looks like {hint}' if hint else ''}",
                f"{known[name]['expected']} ({known[name]['meaning']}), or null for a missing value",
                "Correct the row; promet does not guess",
            )
        cells[name] = cell
    return cells


def _agreed(key: dict[str, Any], name: str, cell: str) -> bool:
    """Is a cell a value of the column, and within what the contract of this model says?"""
    number = parse(cell)
    if number is None or not COLUMNS[name].valid(cell):
        return False
    low, high = key.get("range") or (number, number)
    return low <= number <= high and not (key.get("whole") and number % 1)


def of_table(contract: dict[str, Any], row: dict[str, str]) -> tuple[dict[str, str | None], list[str]]:
    """The clinical values of a row of the cohort table, as ``study.table`` reads it, for ``values``, and warnings.

    Raises:
        UsageError: E_CLINICAL_VALUE, two cells contradict each other.
    """
    known = contract["clinical"]
    warnings = []
    for fault in cell_faults(row):
        if fault.column not in known:
            continue
        if fault.severity == "warning":
            warnings.append(f"{fault.column} is {fault.found}; expected {fault.expected}.")
        elif not fault.value or COLUMNS[fault.column].valid(fault.value):
            raise UsageError(
                "E_CLINICAL_VALUE",
                f"{fault.column} is {fault.found}, and other cells of the row say otherwise",
                fault.expected,
                "Correct the row; promet does not guess",
            )
    return {name: row[name] or None for name in known}, warnings


def _key(name: str) -> str:
    """An unknown key, if it is like one of promet's own: any other may be a name."""
    plain = "_".join(name.lower().replace("-", " ").split())
    if get_close_matches(plain, COLUMNS, 1, 0.6):
        return name[:40]
    return f"one of {len(name)} characters that is no word of promet's"


def _shown(cell: str) -> str:
    """A number as it stands there; of anything else only how long it is, since it may be a name."""
    return cell[:24] if parse(cell) is not None else shown(cell)


def _hint(name: str, cell: str) -> str:
    """What a value that is none, or one on another scale, looks like."""
    number = parse(cell)
    if name in PERCENT and number is not None and 0 < number <= 1:
        return f"a fraction; in percent it would be {100 * number:g}"
    if COLUMNS[name].valid(cell):
        return ""
    if name == "grade_group":
        pair = GLEASON.search(cell)
        if pair:
            return f"a Gleason score; its grade group is {grade_group(int(pair[1]), int(pair[2]))}"
        total = re.fullmatch(r"\D{0,12}?(6|7|8|9|10)(?:\.0*)?", cell)
        if total:
            groups = {"6": "1", "7": "2 (3+4) or 3 (4+3)", "8": "4", "9": "5", "10": "5"}
            return f"a Gleason score; its grade group would be {groups[total[1]]}"
    meant = instead(cell)
    return f"a number with a decimal comma: {meant}" if meant else ""


def read(path: Path) -> Any:
    """The JSON of a clinical row.

    Raises:
        UsageError: it cannot be read, is in another encoding, is no JSON, or holds a key twice.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) < len(pairs):
            raise ValueError("a key twice")
        return dict(pairs)

    example = 'a file like {"psa": 7.5, "grade_group": 2}'
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(
            "E_CLINICAL_FORMAT", f"The clinical row cannot be read ({error.strerror})", example
        ) from error
    encoding = _encoding(content)
    if encoding:
        raise UsageError(
            "E_CLINICAL_FORMAT",
            f"The clinical row is written in {encoding}",
            "UTF-8 without a byte order mark",
            "Save it again in that encoding",
        )
    try:
        return json.loads(content.decode("utf-8"), object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            "E_CLINICAL_FORMAT", "The clinical row cannot be read as JSON with each key once", example
        ) from error


def _encoding(content: bytes) -> str:
    """The name of an encoding that is not plain UTF-8; '' when it is."""
    for mark, name in MARKS.items():
        if content.startswith(mark):
            return name
    if b"\0" in content[:4]:
        return "UTF-16 or UTF-32 without a byte order mark"
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return "another encoding than UTF-8, as Windows programs write it"
    return ""
