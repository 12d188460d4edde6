"""Reads tables: the cohort's TSV, and any CSV, TSV or Parquet of the stand-alone commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from promet.core.errors import UsageError
from promet.core.rows import MISSING, read_table

if TYPE_CHECKING:
    import pandas as pd

TRUE, FALSE = frozenset({"1", "1.0", "true", "yes"}), frozenset({"0", "0.0", "false", "no"})


def read_cohort(path: str | Path) -> dict[str, dict[str, str]]:
    """Patient -> row of the cohort table, cells stripped."""
    return {row["patient"]: row for row in read_table(path)}


def read_any(path: str | Path) -> pd.DataFrame:
    """A CSV, TSV or Parquet table, by its ending; text cells stay text."""
    import pandas as pd

    path = Path(path)
    if not path.is_file():
        raise UsageError("E_FILE_MISSING", "The given table does not exist", "a CSV, TSV or Parquet file")
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            return pd.read_parquet(path)
        separator = {".tsv": "\t", ".tab": "\t", ".csv": ","}.get(path.suffix.lower())
        if separator is None:
            raise UsageError("E_FILE_KIND", "The table's ending is not known", ".csv, .tsv or .parquet")
        return pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (ValueError, OSError) as error:
        raise UsageError(
            "E_FILE_BROKEN", "The given table cannot be read", "a CSV, TSV or Parquet file with a header"
        ) from error


def numbers(table: pd.DataFrame, column: str) -> np.ndarray:
    """A column as float64, NaN = missing; ``UsageError`` names the column and the first bad row."""
    if column not in table:
        raise UsageError(
            "E_COLUMN_MISSING",
            f"The table has no column {column}",
            f"one of: {', '.join(map(str, table.columns))}",
        )
    values = np.full(len(table), np.nan)
    for i, cell in enumerate(table[column].tolist()):
        text = "" if cell is None else str(cell).strip().lower()
        if text in MISSING or text == "<na>":
            continue
        if text in ("true", "false"):
            values[i] = float(text == "true")
            continue
        try:
            values[i] = float(text)
        except ValueError:
            raise UsageError(
                "E_TABLE_NUMBER",
                f"Column {column}, row {i + 1} of the table is not a number",
                "a number or nothing",
            ) from None
    return values


def flags(table: pd.DataFrame, column: str) -> np.ndarray:
    """A 0/1 column (also true/false, yes/no) as float64, NaN = missing."""
    if column not in table:
        return numbers(table, column)  # raises
    values = np.full(len(table), np.nan)
    for i, cell in enumerate(table[column].tolist()):
        text = "" if cell is None else str(cell).strip().lower()
        if text in TRUE or text in FALSE:
            values[i] = float(text in TRUE)
        elif text not in MISSING and text != "<na>":
            raise UsageError(
                "E_TABLE_LABEL",
                f"Column {column}, row {i + 1} of the table is neither 0 nor 1",
                "0 or 1, or nothing",
            )
    return values
