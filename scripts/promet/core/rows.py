"""Tab-separated tables as rows of text, and their cells as numbers."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from promet.core.errors import UsageError

MISSING = frozenset({"", "na", "n/a", "nan", "none", "null", "."})


def read_table(path: str | Path) -> list[dict[str, str]]:
    """Rows of a TSV file with a header, names and cells stripped."""
    with Path(path).open(newline="", encoding="utf-8-sig") as handle:
        return [
            {(key or "").strip(): (cell or "").strip() for key, cell in row.items() if key is not None}
            for row in csv.DictReader(handle, delimiter="\t")
        ]


def number(row: dict[str, str], column: str) -> float:
    """A cell as a number, NaN when empty or the column is absent; ``UsageError`` when it is neither."""
    cell = row.get(column, "")
    if cell.lower() in MISSING:
        return math.nan
    try:
        value = float(cell)
    except ValueError:
        value = math.inf
    if math.isinf(value):
        raise UsageError(
            "E_TABLE_NUMBER",
            f"Column {column} of patient {row.get('patient', '?')} is not a number",
            "a number with a decimal point, or an empty cell for a missing value",
            "Correct the cohort table; promet check lists every such cell",
        )
    return value
