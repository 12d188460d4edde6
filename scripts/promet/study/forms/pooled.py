"""pooled.json of the stage pool, as report and checklist read it; meanings: evaluation.pool."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

FILE = "pooled.json"
Method = Literal["corrected", "fixed"]


class Interval(TypedDict):
    """Standard error, limits and test; ``None``: cannot be given."""

    se: float | None
    low: float | None
    high: float | None
    p: float | None


class Estimate(Interval):
    """A number of several splits together."""

    values: list[float | None]
    n: int
    mean: float | None
    sd: float | None
    smallest: float | None
    largest: float | None


class Section(TypedDict):
    """The patients of one question."""

    title: str
    method: Method
    n_tested: float | None
    n_fitted: float | None
    ratio: float | None
    scores: dict[str, Estimate]
    differences: dict[str, Estimate]
    notes: list[str]


class Pooled(TypedDict):
    """The whole file."""

    schema: int
    splits: int
    confidence: float
    order: list[str]
    sections: dict[str, Section]
    section_order: list[str]
    notes: list[str]
