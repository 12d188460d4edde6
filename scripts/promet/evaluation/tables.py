"""Reads any CSV, TSV or Parquet table for the stand-alone commands."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from promet.core.errors import UsageError
from promet.core.rows import MISSING, instead, parse, shown, whole

if TYPE_CHECKING:
    import pandas as pd

FLAGS = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}


def read_any(path: str | Path) -> pd.DataFrame:
    """A CSV, TSV or Parquet table, by its ending; text cells stay text, the index of a text table is its lines."""
    import pandas as pd

    path = Path(path)
    if not path.is_file():
        raise UsageError("E_FILE_MISSING", "The given table does not exist", "a CSV, TSV or Parquet file")
    if path.suffix.lower() in (".parquet", ".pq"):
        try:
            return pd.read_parquet(path)
        except (ValueError, OSError) as error:
            raise UsageError(
                "E_FILE_BROKEN", "The given table cannot be read", "a CSV, TSV or Parquet file with a header"
            ) from error
    delimiter = {".tsv": "\t", ".tab": "\t", ".txt": "\t", ".csv": ","}.get(path.suffix.lower())
    if delimiter is None:
        raise UsageError(
            "E_FILE_KIND",
            "The table's ending is not known",
            ".csv (commas), .tsv or .txt (tabs) or .parquet",
            "Save a workbook as text with tabs between the columns, in UTF-8",
        )
    table = whole(path, delimiter)
    lines = pd.Index([line for line, _ in table.rows], name="line")
    cells = [[cell.strip() for cell in cells] for _, cells in table.rows]
    return pd.DataFrame(cells, lines, columns=table.names, dtype=object)


def column_of(table: pd.DataFrame, column: str) -> list[tuple[str, str]]:
    """(where, text in small letters) of every cell of a column; ``UsageError`` when there is none of this name."""
    column = unicodedata.normalize("NFC", column)
    if column not in table:
        raise UsageError(
            "E_COLUMN_MISSING",
            f"The table has no column {column}",
            f"one of: {', '.join(map(str, table.columns))}",
        )
    where = "line {}" if table.index.name == "line" else "row {}"
    places = table.index if table.index.name == "line" else range(1, len(table) + 1)
    texts = ["" if cell is None else str(cell).strip().lower() for cell in table[column].tolist()]
    return [(where.format(place), text) for place, text in zip(places, texts, strict=True)]


def numbers(table: pd.DataFrame, column: str) -> np.ndarray:
    """A column as float64, NaN = missing, infinite where it says so; ``UsageError`` names column and place of a bad cell."""
    values = np.full(len(table), np.nan)
    for i, (where, text) in enumerate(column_of(table, column)):
        if text in MISSING or text == "<na>":
            continue
        value = {"true": 1.0, "false": 0.0, "inf": np.inf, "-inf": -np.inf}.get(text, parse(text))
        if value is None:
            raise UsageError(
                "E_TABLE_NUMBER",
                f"Column {column}, {where} of the table: found {shown(text)}",
                instead(text) or "a number with a decimal point, or nothing",
            )
        values[i] = value
    return values


def flags(table: pd.DataFrame, column: str) -> np.ndarray:
    """A 0/1 column (also true/false, yes/no) as float64, NaN = missing."""
    values = np.full(len(table), np.nan)
    for i, (where, text) in enumerate(column_of(table, column)):
        if text in MISSING or text == "<na>":
            continue
        value = FLAGS.get(text, parse(text))
        if value not in (0, 1):
            raise UsageError(
                "E_TABLE_LABEL",
                f"Column {column}, {where} of the table is neither 0 nor 1: found {shown(text)}",
                "0 or 1, or nothing",
            )
        values[i] = value
    return values
