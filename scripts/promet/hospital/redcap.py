"""``promet cohort from-redcap`` and ``dictionary``: clinical cells from a REDCap project, joined by the key file alone."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from promet.core.errors import EXIT_OK, EXIT_REFUSED, UsageError
from promet.core.files import write_text_if_changed
from promet.core.words import count
from promet.hospital import keys, redcap_file
from promet.hospital import mapping as mappings
from promet.hospital.export.layout import Rows
from promet.hospital.mapping import Mapping
from promet.hospital.redcap_file import Export
from promet.hospital.values import Fault, Wrong, value
from promet.study.table import COLUMNS, normalise

FAULTS = "redcap-faults.tsv"
PAIR = ("progression", "months")  # stand or fall together


@dataclass
class Merged:
    """What came out: numbers, faults as (patient, column, fault), sentences for the terminal."""

    rows: int = 0
    filled: int = 0
    faults: list[tuple[str, str, Fault]] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)


def from_redcap(
    export: Path,
    mapping: Path,
    key: Path,
    out: Path,
    replace: Sequence[str] = (),
    dictionary: Path | None = None,
) -> Merged:
    """Merge a REDCap export into the table; a cell that is there and differs stays, unless its column is to be replaced.

    A table that is not there is written, with a row for each record that the key file knows.

    Raises:
        UsageError: E_REDCAP_*, E_KEY_*, E_TABLE_*, E_COHORT_COLUMNS.
    """
    keys.require_place(key, [out.parent])
    rules = mappings.read(mapping)
    project = redcap_file.read(export, rules.record)
    _require_fields(rules, project, dictionary)
    if wrong := next((name for name in replace if name not in rules.columns), ""):
        raise UsageError(
            "E_USAGE", "--replace names a column that the mapping does not fill", "one of its columns", wrong
        )
    if not key.exists():
        raise UsageError(
            "E_KEY_PLACE", "The key file is not there", "the file that from-dicom wrote", "Check --key"
        )
    records = {entry.patient: entry.redcap_record for entry in keys.read(key) if entry.redcap_record}
    merged = Merged()
    rows = Rows(out)
    cells = _cells(records, project, rules, merged)
    if rows.exists:
        _merge(cells, rows, set(replace), merged)
    else:
        rows.append(cells)
        merged.rows = len(cells)
        merged.filled = sum(bool(cell) for row in cells.values() for cell in row.values())
    _write(merged, out.with_name(FAULTS))
    return merged


def _require_fields(rules: Mapping, project: Export, dictionary: Path | None) -> None:
    for name, column in rules.columns.items():
        if gone := sorted(column.all() - set(project.fields)):
            raise UsageError(
                "E_REDCAP_FIELD",
                f"The export has no field {gone[0]}, which the mapping names for {name}",
                "a field of the export; a box of a checkbox is FIELD___CODE, with a minus as _",
                "Correct the mapping or export the field too",
            )
        for event in {column.event, column.from_event} - {""}:
            if project.records and not any(
                line.cells.get(redcap_file.EVENT) == event
                for lines in project.records.values()
                for line in lines
            ):
                raise UsageError(
                    "E_REDCAP_FIELD",
                    f"The export has no event {event}",
                    "a redcap_event_name",
                    "Correct the mapping",
                )
    secret = redcap_file.identifiers(dictionary) if dictionary else set()
    for name, column in rules.columns.items():
        if named := sorted(column.fields() & secret):
            raise UsageError(
                "E_REDCAP_IDENTIFIER",
                f"The field {named[0]}, which the mapping names for {name}, is an identifier by the project's dictionary",
                "fields that identify nobody",
                "Take another field",
            )


def _cells(
    records: dict[str, str], project: Export, rules: Mapping, merged: Merged
) -> dict[str, dict[str, str]]:
    """Patient -> column -> cell, of every patient of the key file whose record is there."""
    found: dict[str, dict[str, str]] = {}
    known = set(records.values())
    for record, lines in project.records.items():
        if record not in known:
            fault = Fault(
                "RECORD_UNKNOWN", "a record that the key file does not name", "redcap_record of a patient"
            )
            merged.faults.append(("", "", Fault(fault.code, fault.found, fault.expected, lines[0].number)))
    for patient, record in sorted(records.items()):
        if record not in project.records:
            fault = Fault(
                "RECORD_ABSENT", "no such record in the export", "the redcap_record of the key file"
            )
            merged.faults.append((patient, "", fault))
            continue
        found[patient] = {}
        for name, column in rules.columns.items():
            try:
                found[patient][name] = value(name, column, rules, project.records[record])
            except Wrong as wrong:
                found[patient][name] = ""
                merged.faults.append((patient, name, wrong.fault))
        _together(patient, found[patient], merged)
    return found


def _together(patient: str, cells: dict[str, str], merged: Merged) -> None:
    """Progression without months, or the other way round, is refused by ``promet check``."""
    if not set(PAIR) <= cells.keys() or all(cells[name] for name in PAIR):
        return
    if any(cells[name] for name in PAIR) and not any(
        who == patient and name in PAIR for who, name, _ in merged.faults
    ):
        there = next(name for name in PAIR if cells[name])
        gone = next(name for name in PAIR if not cells[name])
        merged.faults.append(
            (patient, gone, Fault("CELL_ALONE", f"{there} without {gone}", "both or neither"))
        )
    cells.update(dict.fromkeys(PAIR, ""))


def _merge(cells: dict[str, dict[str, str]], rows: Rows, replace: set[str], merged: Merged) -> None:
    if gone := next((name for row in cells.values() for name in row if name not in rows.names), ""):
        raise UsageError(
            "E_COHORT_COLUMNS",
            f"The table has no column {gone}",
            "every column that the mapping fills",
            "Add it",
        )
    changes: dict[str, dict[str, str]] = {}
    for patient, new in cells.items():
        if patient not in rows.rows:
            continue
        old = rows.rows[patient][1]
        conflicts = {
            name
            for name, cell in new.items()
            if cell and old[name].strip() and normalise(name, old[name]) != cell
        }
        kept = conflicts - replace
        for name in sorted(kept):
            merged.faults.append(
                (
                    patient,
                    name,
                    Fault(
                        "CELL_CONFLICT", "another value than the table's", f"one; --replace {name} takes it"
                    ),
                )
            )
        if kept & set(PAIR):
            kept |= set(PAIR)
        changes[patient] = {
            name: cell
            for name, cell in new.items()
            if cell and name not in kept and (name in conflicts or not old[name].strip())
        }
    merged.rows = sum(bool(change) for change in changes.values())
    merged.filled = sum(map(len, changes.values()))
    rows.fill({patient: change for patient, change in changes.items() if change})
    if without := [patient for patient in cells if patient not in rows.rows]:
        merged.sentences.append(
            f"{count(len(without), 'patient')} of the key file without a row: from-dicom writes it"
        )


def _write(merged: Merged, path: Path) -> None:
    merged.faults.sort(key=lambda fault: (fault[0], fault[1], fault[2].code, fault[2].line))
    lines = ["patient\tcolumn\tline\tcode\tfound\texpected"]
    for patient, column, fault in merged.faults:
        lines.append(
            "\t".join([patient, column, str(fault.line or ""), fault.code, fault.found, fault.expected])
        )
    write_text_if_changed(path, "\n".join(lines) + "\n")
    merged.sentences.insert(0, f"{count(merged.filled, 'cell')} in {count(merged.rows, 'row')}")
    if merged.faults:
        merged.sentences.append(f"{count(len(merged.faults), 'fault')}, in {path.name}")


def fill(export: Path, mapping: Path, key: Path, out: Path) -> int:
    """``from_redcap`` with nothing replaced, said on the terminal; the exit code."""
    return say(from_redcap(export, mapping, key, out))


def say(merged: Merged) -> int:
    """Print what came out; the exit code of the command."""
    for sentence in merged.sentences:
        print(sentence)
    return EXIT_REFUSED if merged.faults else EXIT_OK


# REDCap's own template of a data dictionary.
HEADER = (
    "Variable / Field Name",
    "Form Name",
    "Section Header",
    "Field Type",
    "Field Label",
    "Choices, Calculations, OR Slider Labels",
    "Field Note",
    "Text Validation Type OR Show Slider Number",
    "Text Validation Min",
    "Text Validation Max",
    "Identifier?",
    "Branching Logic (Show field only if...)",
    "Required Field?",
    "Custom Alignment",
    "Question Number (surveys only)",
    "Matrix Group Name",
    "Matrix Ranking?",
    "Field Annotation",
)
FORM = "promet"
STAGES = ("T1a", "T1b", "T1c", "T2a", "T2b", "T2c", "T3a", "T3b", "T4")
NOT_CLINICAL = ("patient", "role", "site", "pet", "ct", "prostate", "lesions", "tracer")


def dictionary(out: Path) -> int:
    """Write a REDCap data dictionary with one field for each clinical column, after the record id; their number."""
    text = io.StringIO()
    writer = csv.DictWriter(text, HEADER, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerow(_line("record_id", "text", "Record ID"))
    names = [name for name in COLUMNS if name not in NOT_CLINICAL]
    for name in names:
        column = COLUMNS[name]
        line = _line(name, "text", column.meaning) | {"Field Note": column.expected}
        low, high = column.range or (0.0, 0.0)
        if name == "clinical_t":
            line |= {"Field Type": "radio", "Choices, Calculations, OR Slider Labels": _choices(STAGES)}
        elif column.whole and (low, high) == (0, 1):
            line |= {"Field Type": "yesno"}
        elif column.whole:
            codes = [str(code) for code in range(int(low), int(high) + 1)]
            line |= {"Field Type": "radio", "Choices, Calculations, OR Slider Labels": _choices(codes)}
        elif column.range:
            line |= {
                "Text Validation Type OR Show Slider Number": "number",
                "Text Validation Min": f"{low:.10g}" if low >= 1e-3 else "0",
                "Text Validation Max": f"{high:.10g}",
            }
        writer.writerow(line)
    write_text_if_changed(out, text.getvalue())
    return len(names)


def _line(name: str, kind: str, label: str) -> dict[str, str]:
    return {"Variable / Field Name": name, "Form Name": FORM, "Field Type": kind, "Field Label": label}


def _choices(codes: Sequence[str]) -> str:
    return " | ".join(f"{code}, {code}" for code in codes)
