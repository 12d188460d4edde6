"""The TRIPOD+AI checklist."""

from __future__ import annotations

from typing import Any

from promet.core.words import count
from promet.report.table import Table

ANSWERED = {"answered": "answered", "partly": "in part", "authors": "by the authors"}


def checklist(told: dict[str, Any] | None) -> Table | None:
    """The TRIPOD+AI checklist."""
    if not told:
        return None
    rows = [
        [row["item"], row["section"], row["asks"], ANSWERED.get(row["status"], row["status"]), row["text"]]
        for row in told["items"]
    ]
    counts = told["counts"]
    caption = f"TRIPOD+AI: {count(counts['answered'], 'item')} answered from the records, {counts['partly']} in part, {counts['authors']} left to the authors."
    head = ["Item", "Section", "Asks", "Answered", "Text"]
    return Table(
        caption, head, rows, [told["standard"], *told["notes"]], sortable=True, filtered=True, compact=True
    )
