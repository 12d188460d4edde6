"""Every fault of the cohort table at once, by the columns that it is read by."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from promet.core.rows import Damage, instead, parse, scan, shown
from promet.study.blanks import SENTINELS, absent, garbled
from promet.study.outcome import PAPER, ByHorizon, Outcome, given
from promet.study.sources import lacking, source
from promet.study.table import COLUMNS, PATIENT_ID, SOURCES, Column, Row, cells_of, normalise


@dataclass(frozen=True)
class Fault:
    """One fault: line of the file (1 = header), column, value found, what was expected."""

    line: int
    column: str
    value: str
    expected: str
    # or "quarantine": this patient will be left out, the others go on; or "warning": the row is of less use
    severity: str = "error"
    patient: str = ""
    words: str = ""  # what was found, where it is no value of a cell

    @property
    def found(self) -> str:
        """What was found, as a message may say it."""
        named = self.line == 1 or (self.column == "patient" and PATIENT_ID.fullmatch(self.value))
        return self.words or (f"'{self.value}'" if self.value and named else shown(self.value))


def check(path: str | Path, outcome: Outcome = PAPER) -> list[Fault]:
    """Every fault of the table and its folders, in file order; ``outcome``: whose columns it must have."""
    path = Path(path)
    table, raw = cells_of(path, scan)
    header = table.names
    known = {**COLUMNS, **outcome.extra}
    demanded = [name for name, column in known.items() if not column.optional or name in outcome.columns]
    absent = [name for name in demanded if name not in header]
    meant = {name: _meant(name, absent) for name in header if name not in known}
    if len(absent) > len(COLUMNS) // 2 and len(meant) > len(header) // 2:
        return [
            Fault(1, "", "", "the names of the columns, see config/README.md", words="a line without them")
        ]
    faults = [
        Fault(1, name, "", "a column of this name") for name in absent if name not in set(meant.values())
    ]
    faults += [
        Fault(
            1, name, name, f"{near}: rename the column" if near else "one of the known columns, or delete it"
        )
        for name, near in meant.items()
    ]
    faults += [_damage(damage, header) for damage in table.damages]
    seen: dict[str, tuple[int, str]] = {}
    sites = {normalise("site", cells.get("site")) for _, cells in raw}
    for line, cells in raw:
        row = {name: normalise(name, cells.get(name)) for name in known}
        if any(row.values()):
            found = [
                *_check_row(line, row, path.parent, outcome),
                *_check_twice(line, row, seen),
                *_check_number(line, row["site"], sites),
            ]
            named = COLUMNS["patient"].valid(row["patient"])
            faults += [replace(fault, patient=row["patient"]) for fault in found] if named else found
    return sorted(faults, key=lambda fault: fault.line)


def _meant(name: str, absent: list[str]) -> str:
    """The missing column that an unknown name stands for, or ''."""
    plain = "_".join(name.lower().replace("-", " ").split())
    return next(iter(get_close_matches(plain, absent, 1, 0.75)), "")


def _damage(damage: Damage, header: list[str]) -> Fault:
    """A damaged line; where it has a cell too many and one stands twice, that one is named."""
    cells = damage.cells
    if len(cells) <= len(header):
        return Fault(damage.line, damage.column, "", damage.expected, words=damage.found)
    number = f"{len(header)} cells, one per column; this row has {len(cells)}"
    twice = [i for i in range(len(header)) if cells[i].strip() and cells[i] == cells[i + 1]]
    fitting = [i for i in twice if _valid(header, cells[:i] + cells[i + 1 :])]
    # Two columns may well name the same file, so a doubled value of another column comes first.
    fitting.sort(key=lambda i: set(header[i : i + 2]) <= set(SOURCES))
    if fitting:
        at = fitting[0]
        return Fault(
            damage.line, header[at], cells[at], f"{number}: this cell stands twice, delete one of them"
        )
    return Fault(damage.line, header[-1], "\t".join(cells[len(header) - 1 :]), f"{number}: a tab too many")


def _valid(header: list[str], cells: tuple[str, ...]) -> bool:
    return all(
        not cell or name not in COLUMNS or COLUMNS[name].valid(cell)
        for name, cell in zip(header, (cell.strip() for cell in cells), strict=False)
    )


def _check_twice(line: int, row: Row, seen: dict[str, tuple[int, str]]) -> Iterable[Fault]:
    patient = row["patient"]
    if not patient:
        return
    if patient.lower() in seen:
        first, role = seen[patient.lower()]
        if role != row["role"]:
            yield Fault(line, "role", row["role"], f"one role per patient (line {first} says '{role}')")
        yield Fault(
            line, "patient", patient, f"each patient once, letter case ignored (first on line {first})"
        )
    else:
        seen[patient.lower()] = (line, row["role"])


def _check_number(line: int, site: str, sites: Collection[str]) -> Iterable[Fault]:
    """A number that stands for missing in other tables is a hospital where hospitals are counted up to it."""
    if site in SENTINELS | {"99"} and str(int(site) - 1) not in sites:
        expected = f"the hospital's name or number; where {site} stands for missing, an empty cell"
        yield Fault(line, "site", site, expected)


def cell_faults(
    row: Row, line: int = 0, taken: Collection[str] = (), outcome: Outcome = PAPER
) -> Iterable[Fault]:
    """The faults of one row, as ``read`` gives it, that its cells alone show.

    Args:
        taken: columns whose word for nothing is the name of a file or folder that is there.
        outcome: whose columns the row has.
    """
    for name, column in {**COLUMNS, **outcome.extra}.items():
        value = row[name]
        if absent(value) and name not in taken:
            yield Fault(line, name, value, "an empty cell where there is no value: leave the cell empty")
        elif name == "site" and garbled(value):
            expected = "the letters of its name: save the table as UTF-8 where they still are right"
            yield Fault(line, name, value, expected, words="letters that were read in another encoding")
        elif value and not column.valid(value):
            yield Fault(line, name, value, _instead(column, value))
        elif column.numeric and value in SENTINELS:
            yield Fault(
                line,
                name,
                value,
                f"a measured value; where {value} stands for missing, an empty cell",
                "warning",
            )
    for name in ("patient", "pet"):
        if not row[name]:
            yield Fault(line, name, "", COLUMNS[name].expected)
    cores = row["positive_cores_percent"]
    if 0 < (parse(cores) or 0) <= 1:
        # One positive core of a hundred is not taken; the median biopsy has twelve.
        yield Fault(line, "positive_cores_percent", cores, "percent: 50 for one half, 100 for all", "warning")
    yield from _check_outcomes(line, row, outcome)
    yield from _check_gleason(line, row)


def _check_row(line: int, row: Row, base: Path, outcome: Outcome) -> Iterable[Fault]:
    taken = {name for name in SOURCES if absent(row[name]) and source(base, row[name]).exists()}
    yield from cell_faults(row, line, taken, outcome)
    for name in SOURCES:
        if row[name] and COLUMNS[name].valid(row[name]):
            yield from _check_source(line, name, row[name], base)


def _instead(column: Column, value: str) -> str:
    """What to write instead of a value that is none."""
    if column.numeric and (meant := instead(value)) and column.valid(value.replace(",", ".")):
        return meant
    return column.expected + (", or an empty cell where it is missing" if value in SENTINELS else "")


def _check_source(line: int, name: str, value: str, base: Path) -> Iterable[Fault]:
    words, expected, severity = lacking(value, source(base, value))
    if words:
        yield Fault(line, name, value, expected, severity, words=words)


def _check_outcomes(line: int, row: Row, outcome: Outcome) -> Iterable[Fault]:
    role, label = row["role"], row["synchronous_metastasis"]
    aims = [outcome.learn, *outcome.evaluate.values()]
    over_time = {(aim.event, aim.time): aim for aim in (ByHorizon(), *aims) if isinstance(aim, ByHorizon)}
    for event, time in over_time:
        if row[event] and not row[time]:
            yield Fault(line, time, "", f"months, since {event} is given")
        if row[time] and not row[event]:
            yield Fault(line, event, "", f"0 or 1, since {time} is given")
    if row.get("died") and not row["months"]:
        yield Fault(line, "months", "", "months, since died is given")
    if role == "metachronous" and label == "1":
        yield Fault(
            line,
            "synchronous_metastasis",
            label,
            "0 or empty: the metachronous cohort was localised at the scan",
        )
    scored = "until then the patient is only scored"
    if role == "development" and not given(row, outcome.learn):
        column = next(name for name in outcome.given_by if not row[name])
        expected = outcome.columns[column].expected
        yield Fault(line, column, "", f"{expected}; {scored}", "warning")
    if role == "metachronous":
        later = [name for name in outcome.evaluate if outcome.patients_of(name) == "metachronous"]
        for event in dict.fromkeys(outcome.evaluate[name].flags[0] for name in later):
            if not row[event]:
                yield Fault(line, event, "", f"0 or 1; {scored}", "warning")
    if row.get("died") == "1" and not any("died" in aim.flags for aim in aims):
        yield Fault(
            line,
            "died",
            "1",
            "a death that an outcome counts: write competing: died into it, otherwise it counts as the end of follow-up",
            "warning",
        )


def grade_group(primary: int, secondary: int) -> int:
    """ISUP grade group of a Gleason score (Epstein 2016)."""
    if primary + secondary <= 6:
        return 1
    if primary + secondary == 7:
        return 2 if primary == 3 else 3
    return 4 if primary + secondary == 8 else 5


def _check_gleason(line: int, row: Row) -> Iterable[Fault]:
    cells = [row[k] for k in ("grade_group", "gleason_primary", "gleason_secondary")]
    if all(COLUMNS["grade_group"].valid(cell) for cell in cells):
        group, primary, secondary = (int(float(cell)) for cell in cells)
        if grade_group(primary, secondary) != group:
            yield Fault(
                line,
                "grade_group",
                cells[0],
                f"{grade_group(primary, secondary)}, as Gleason {primary}+{secondary} says",
            )
