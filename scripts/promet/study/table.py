"""The cohort table: its columns, and the one reader of it, which makes the text of each cell canonical.

What a cell says does not depend on how it is spelled: every command and stage reads through this, and pins are made from
the same text. Standard library only: the Snakefile reads the table each time it is parsed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from promet.core.errors import UsageError
from promet.core.rows import Table, parse, shown, tidy, whole
from promet.study import tnm

Row = dict[str, str]

ROLES = ("development", "metachronous", "")
SOURCES = ("pet", "ct", "prostate", "lesions")
PATIENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
# Names that Windows shares cannot hold (products are folders named by the patient), and words that readers of
# tables take for a missing value.
RESERVED = {
    *("na", "nan", "null", "none"),
    "con",
    "prn",
    "aux",
    "nul",
    *(f"com{i}" for i in range(1, 10)),
    *(f"lpt{i}" for i in range(1, 10)),
}


def _number(low: float, high: float, whole: bool = False) -> Callable[[str], bool]:
    def valid(text: str) -> bool:
        value = parse(text)
        return value is not None and low <= value <= high and (not whole or value == int(value))

    return valid


def _text(text: str) -> bool:
    return text.isprintable() and len(text) <= 200


def _path(text: str) -> bool:
    return (
        len(text.encode(errors="surrogateescape")) < 4096
    )  # of any letters and blanks; Linux takes no longer one


@dataclass(frozen=True)
class Column:
    """One column: its meaning, what a value must be, and the test for it; of a number its range and whether it is whole."""

    meaning: str
    expected: str
    valid: Callable[[str], bool]
    numeric: bool = False
    range: tuple[float, float] | None = None
    whole: bool = False
    optional: bool = False  # a table without this column is a table, until the configuration names it


def _measured(
    meaning: str, expected: str, low: float, high: float, whole: bool = False, optional: bool = False
) -> Column:
    return Column(meaning, expected, _number(low, high, whole), True, (low, high), whole, optional)


COLUMNS: dict[str, Column] = {
    "patient": Column(
        "pseudonym; names files and folders, so never a name or a hospital number",
        "1 to 64 of A-Z a-z 0-9 _ -, beginning with a letter or digit",
        lambda text: bool(PATIENT_ID.fullmatch(text)) and text.lower() not in RESERVED,
    ),
    "role": Column(
        "development = training, validation and test; metachronous = later progression; empty = prospective, only scored",
        "development, metachronous or empty",
        lambda text: text in ROLES,
    ),
    "site": Column("hospital or scanner, for tables and stratified splits", "short text", _text),
    "pet": Column(
        "folder of the PET series, or NIfTI already in SUV; relative to this table", "an existing path", _path
    ),
    "ct": Column("folder of the CT series", "an existing path or empty", _path),
    "prostate": Column("prostate mask: NIfTI, DICOM SEG or RTSTRUCT", "an existing path or empty", _path),
    "lesions": Column(
        "mask of the lesions in the prostate; empty = watershed", "an existing path or empty", _path
    ),
    "tracer": Column(
        "tracer, e.g. 18F-DCFPyL; must not contradict the header of the PET", "short text", _text
    ),
    "psa": _measured("PSA before treatment, ng/ml", "above 0 up to 20000", 1e-6, 20000),
    "grade_group": _measured("ISUP grade group of the biopsy", "1 to 5", 1, 5, whole=True),
    "gleason_primary": _measured("primary Gleason pattern", "1 to 5", 1, 5, whole=True),
    "gleason_secondary": _measured("secondary Gleason pattern", "1 to 5", 1, 5, whole=True),
    "positive_cores_percent": _measured("share of biopsy cores with cancer, percent", "0 to 100", 0, 100),
    "clinical_t": Column("clinical T category", tnm.EXPECTED, lambda text: tnm.clinical_t(text) is not None),
    "age": _measured("age at the scan, years", "18 to 110", 18, 110),
    "suv_peak_reader": _measured(
        "reader's peak SUV in the prostate; wins over the computed one", "above 0 up to 500", 1e-6, 500
    ),
    "primary_score": _measured("reader's PRIMARY score", "1 to 5", 1, 5, whole=True),
    "psma_expression": _measured("reader's PSMA expression score (PROMISE V2)", "0 to 3", 0, 3, whole=True),
    "ucla_psma_risk": _measured("UCLA PSMA risk read off the nomogram", "0 to 100", 0, 100),
    "synchronous_metastasis": _measured("metastasis on the same scan", "0 or 1", 0, 1, whole=True),
    "progression": _measured("metastatic progression during follow-up", "0 or 1", 0, 1, whole=True),
    "months": _measured("months from scan to progression, death or last follow-up", "0 to 600", 0, 600),
    "died": _measured(
        "death at these months; with progression = 1 the progression counts. May be left out of the table",
        "0 or 1",
        0,
        1,
        whole=True,
        optional=True,
    ),
}


@lru_cache(maxsize=1 << 16)  # most cells of a large table repeat
def normalise(column: str, text: str | None) -> str:
    """Make a cell canonical: ``tidy``, and 7.50 -> 7.5, so that re-saving changes nothing.

    Paths stay as they are, since every blank may be part of a name. A column that is none of promet's own holds an
    outcome (study.outcome) and is a number.
    """
    if column in SOURCES:
        return text if text and text.strip() else ""
    text = tidy(text or "")
    if text and (column not in COLUMNS or COLUMNS[column].numeric):
        value = parse(text)
        return text if value is None else f"{value + 0.0:.12g}"  # -0 is 0
    if column == "clinical_t" and text:
        return tnm.clinical_t(text) or text
    return text


def cells_of(path: Path, cut: Callable[..., Table]) -> tuple[Table, list[tuple[int, Row]]]:
    """The table as ``cut`` (``scan`` or ``whole``) gives it, and each line's cells by column, as they stand there."""
    try:
        table = cut(path, known=COLUMNS)
    except OSError as error:
        raise UsageError(
            "E_COHORT_MISSING",
            f"The cohort table {path} cannot be read ({error.strerror})",
            "a tab-separated file with the columns of config/README.md",
            "Check the key 'cohort' of the configuration",
        ) from error
    return table, [(line, dict(zip(table.names, cells, strict=True))) for line, cells in table.rows]


def read(path: str | Path, extra: Collection[str] = ()) -> list[Row]:
    """All rows in canonical text, sorted by patient, every column present ('' = missing).

    ``extra``: columns that are none of promet's own and that the outcome names (``study.outcome.Outcome.extra``). Rows without any value are skipped. Nothing is checked here beyond what makes rows ambiguous:
    a damaged line, a missing or a doubled patient id raises ``UsageError``.
    """
    _, raw = cells_of(Path(path), whole)
    names = (*COLUMNS, *extra)
    rows = [{name: normalise(name, row.get(name)) for name in names} for _, row in raw]
    rows = sorted((row for row in rows if any(row.values())), key=lambda row: row["patient"])
    seen = [row["patient"] for row in rows]
    if len({name.lower() for name in seen}) != len(seen) or not all(
        COLUMNS["patient"].valid(name) for name in seen
    ):
        raise UsageError(
            "E_COHORT_IDS",
            "The cohort table has missing, unsafe or doubled patient ids",
            remedy="promet check lists them",
        )
    return rows


def by_patient(path: str | Path, extra: Collection[str] = ()) -> dict[str, Row]:
    """``read`` as patient -> row, sorted by patient."""
    return {row["patient"]: row for row in read(path, extra)}


def number(row: Mapping[str, str], column: str, other: Column | None = None) -> float:
    """A cell of a canonical row as a number, NaN when it is empty.

    Args:
        row: of the table.
        column: its name.
        other: what the cell must be where the column is none of promet's own.

    Raises:
        UsageError: ``E_TABLE_NUMBER``, what ``promet check`` calls an error.
    """
    cell = row.get(column, "")
    if not cell:
        return math.nan
    value, declared = parse(cell), COLUMNS.get(column) or other
    if value is None or declared is None or not declared.valid(cell):
        raise UsageError(
            "E_TABLE_NUMBER",
            f"Column {column} of patient {row.get('patient', '?')} is {shown(cell)}",
            f"{declared.expected if declared else 'a known column'}, or an empty cell for a missing value",
            "Correct the cohort table; promet check lists every such cell",
        )
    return value
