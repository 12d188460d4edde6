"""What a table of the page is."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Table:
    """A table: caption, column heads, rows of text (first cell is the row's head), notes below, marked rows.

    ``sortable``: a click on a head sorts; ``filtered``: a field above it hides rows; ``compact``: small print for many columns;
    ``grouped``: rows whose first cell is empty belong to the row above.
    """

    caption: str
    head: list[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)
    marked: set[int] = field(default_factory=set)
    sortable: bool = False
    filtered: bool = False
    compact: bool = False
    grouped: bool = False
