"""site.json: what a hospital that validated a locked model sends back. Aggregates only; read strictly, since it comes from elsewhere.

A count is a number, or "<10" where it is below the file's ``smallest_cell`` (">90" where the others are); then what is estimated
from it is null with ``reason: small_cell``. Numbers have four significant digits, counts are exact.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from promet.core.errors import DataError

SCHEMA = 1
SMALL_CELL = "small_cell"  # the only reason that is about privacy
# Why there is no estimate, and in words.
REASONS = {
    "small_cell": "too few with or without the event to be told",
    "one_class": "everyone known is of one kind",
    "horizon_not_reached": "nobody is followed to the horizon",
    "undefined": "the estimate is at the edge of what is possible, and has no standard error",
}
Count = Annotated[int, Field(ge=0)] | Annotated[str, Field(pattern=r"^[<>]\d+$")]
Share = Annotated[float, Field(ge=0, le=1)]
Error = Annotated[float, Field(ge=0)]


class Form(BaseModel):
    """Unknown keys, NaN and numbers written as text are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Outcome(Form):
    """What the model predicts, as its contract says."""

    kind: Literal["binary", "by_horizon", "time_to_event"]
    event: str  # name of the column: the label, or the event
    competing: str | None = None


class Estimate(Form):
    """A value and its standard error; ``reason`` where there is none."""

    value: float | None
    se: Error | None
    reason: str | None = None


class Area(Form):
    """AUC; ``logit_se`` on the scale log(A / (1 - A)), null where A is 0 or 1."""

    value: Share | None
    se: Error | None
    logit_se: Error | None
    reason: str | None = None


class Ratio(Form):
    """``O``: share (risk) observed, ``E``: mean probability, ``se``: of O."""

    O: Share | None  # noqa: E741
    E: Share | None
    se: Error | None
    reason: str | None = None


class Brier(Form):
    """``null``: of the same risk for everyone."""

    value: Share | None
    null: Share | None
    se: Error | None
    reason: str | None = None


class Benefit(Form):
    """Net benefit of acting at a threshold of the probability; ``all``: of acting on everyone."""

    threshold: Annotated[float, Field(gt=0, lt=1)]
    model: float | None
    all: float | None
    se: Error | None
    reason: str | None = None


class Survival(Form):
    """Event-free share (1 - risk of the event) at a time in months."""

    time: float
    survival: Share | None
    se: Error | None
    reason: str | None = None


class Group(Form):
    """A group of the model's fixed cuts: ``observed`` with interval, ``mean_p`` probability."""

    name: str
    n: Count | None  # null: hidden, or a small one would follow by subtraction
    events: Count | None
    mean_p: Share | None
    observed: Share | None
    low: Share | None
    high: Share | None
    reason: str | None = None


class Cut(Form):
    """Groups of one of the model's cuts."""

    name: str
    groups: list[Group]


class Subgroup(Form):
    """How the model does among patients of one kind."""

    name: str
    n: Count | None
    events: Count | None
    auc: Area
    oe: Ratio


class Attribute(Form):
    """Subgroups by one attribute; tests among those with an AUC (Cochran's Q; score x group), p corrected over attributes (Holm)."""

    groups: list[Subgroup]
    q: Error | None
    df: int
    p: Share | None
    p_holm: Share | None
    interaction: float | None
    interaction_p: Share | None


class Site(Form):
    """The file."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    promet: str
    stages: dict[str, int]  # versions of what made the scores
    site: Annotated[str, Field(min_length=1, max_length=60)]
    model_digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    compared: bool  # was the digest compared with one received separately
    outcome: Outcome
    horizon: Annotated[float, Field(gt=0)] | None  # months
    smallest_cell: Annotated[int, Field(ge=5)]
    level: Annotated[float, Field(gt=0, lt=1)]
    n: Count  # scored, with an outcome (or a follow-up)
    events: Count
    competing: Count
    known: Count  # status at the horizon known
    refused: Count  # not scored
    followup: float | None  # median by reverse Kaplan-Meier, whole months
    missing: dict[str, Count]  # input of the model -> patients without
    auc: Area
    intercept: Estimate  # slope fixed at 1
    slope: Estimate
    oe: Ratio
    brier: Brier
    net_benefit: list[Benefit]
    survival: list[Survival]
    groups: list[Cut]
    subgroups: dict[str, Attribute]


def text(site: dict[str, Any]) -> str:
    """The JSON of a record, checked; keys sorted, one line each."""
    found = Site.model_validate(site).model_dump(by_alias=True, exclude_unset=True)
    return json.dumps(found, indent=1, sort_keys=True, allow_nan=False) + "\n"


def read(path: Path) -> Site:
    """A site.json of another hospital.

    Raises:
        DataError: E_SITE_FILE, it cannot be read; E_SITE_FORM, it is no site.json, of a newer form, or was changed by hand.
    """
    try:
        told = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise DataError(
            "E_SITE_FILE",
            f"{Path(path).name} is not there, or no JSON in UTF-8",
            "the site.json that promet validate writes",
            "Ask the hospital for the file again",
        ) from None
    try:
        return Site.model_validate(told)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise DataError(
            "E_SITE_FORM",
            f"{Path(path).name} is no site.json of form {SCHEMA}: {where}: {first['msg']}",
            "the file as promet validate wrote it",
            "Ask the hospital for the file again, and which promet wrote it",
        ) from None


def rounded(value: float | None) -> float | None:
    """Four significant digits; what is not finite is null."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")
