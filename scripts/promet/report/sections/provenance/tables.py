"""Tables of the records: configuration, durations, software, warnings."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from promet.core.stage import versions
from promet.core.words import count
from promet.report import read
from promet.report.table import Table
from promet.report.text import seconds

if TYPE_CHECKING:
    from promet.report.read import Study


def context(study: Study, patient_level: bool) -> dict[str, Any]:
    """What the section shows besides its figures."""
    return {
        "configuration": configuration(study.config),
        "durations": durations(read.durations(study)),
        "versions": Table(
            "Software.",
            ["Package", "Version"],
            [list(v) for v in read.versions(study, versions("snakemake", "matplotlib"))],
        ),
        "warnings": warnings(study, patient_level),
    }


def configuration(config: dict[str, Any]) -> Table:
    """Every key."""

    def walk(value: Any, path: str) -> Iterable[tuple[str, str]]:
        if isinstance(value, dict) and value:
            for key in sorted(value):
                yield from walk(value[key], f"{path}.{key}" if path else str(key))
        elif isinstance(value, list):
            yield path, ", ".join(map(_told, value)) or "none"
        else:
            yield path, _told(value)

    return Table(
        "Configuration, every key but the paths.",
        ["Key", "Value"],
        [list(pair) for pair in walk(config, "")],
        filtered=True,
    )


def _told(value: Any) -> str:
    if value is None or value == {}:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def durations(rows: list[tuple[str, int, float, float]]) -> Table | None:
    """Wall time per stage."""
    cells = [[stage, str(jobs), seconds(total), seconds(longest)] for stage, jobs, total, longest in rows]
    return (
        Table("Wall time of the jobs that made what is shown.", ["Stage", "Jobs", "In all", "Longest"], cells)
        if cells
        else None
    )


def warnings(study: Study, patient_level: bool) -> Table | None:
    """Warnings of all stages; without patient level, those that differ only in numbers are one row."""
    ids = sorted(map(re.escape, study.patients), key=len, reverse=True)
    patient = re.compile(rf"(?<![\w-])(?:{'|'.join(ids)})(?![\w-])") if ids else None
    counts: Counter[tuple[str, str]] = Counter()
    for _, record in study.records:
        for sentence in record.warnings:
            told = sentence
            if not patient_level and patient is not None:
                told = re.sub(r"\d+(?:[.,]\d+)?", "…", patient.sub("A patient", told))
            counts[record.stage, told] += 1
    if not counts:
        return None
    ordered = sorted(counts.items(), key=lambda item: (item[0][0], -item[1], item[0][1]))
    rows = [[stage, sentence, str(number)] for (stage, sentence), number in ordered]
    note = (
        ""
        if patient_level
        else "Numbers are replaced by … and patients are not named (report.patient_level is off)."
    )
    caption = f"{count(sum(counts.values()), 'warning')} of all stages."
    return Table(caption, ["Stage", "Warning", "Times"], rows, [note] if note else [])
