"""What is learnt and what is evaluated: the block ``outcome`` of the configuration, and every patient's status by it.

The one home of outcomes. Three kinds: ``binary`` (a column 0/1), ``by_horizon`` (did the event come by so many months? a
binary label, unknown to whoever left before) and ``time_to_event`` (the event and when). The columns are those of the table
by name; one that is none of promet's own (``study.table.COLUMNS``) is allowed and demanded once it is named here
(``Outcome.extra``, which the table's reader takes). The default is the paper's and enters no pin (``used``).

How the rooms get it: the rules hand a stage the parts it declares (``Stage.outcome``) as key ``outcome`` of ``--settings``,
and nothing at all for the paper's; ``apart`` takes that out again. Whoever reads the table reads it with ``outcome.extra``.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, field_validator, model_serializer, model_validator

from promet.core.settings import Settings, from_json
from promet.study.table import COLUMNS, Column, Row, number

CENSORED, EVENT, COMPETING = 0.0, 1.0, 2.0  # as evaluation.stats.horizon counts them
TOLERANCE = math.sqrt(sys.float_info.epsilon)  # of times, as study.follow_up has it (which needs numpy)
TASK = ("kind", "horizon_months", "edges", "loss")  # what a network is told of a time to an event
LEAST = 2  # events and known event-free in a part that is fitted on; of a binary outcome 1
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")]
# Of promet's own columns those that say what happened, and when; no other can be an outcome.
FLAGS, TIMES = ("synchronous_metastasis", "progression", "died"), ("months",)
# What the report calls a column whose own name does not read well.
CALLED = {"synchronous_metastasis": "metastases", "progression": "progression", "died": "death"}


class Aim(Settings):
    """What is common to every kind; a dump holds no key that says nothing."""

    patients: Literal["test", "metachronous"] | None = Field(
        None,
        description="of outcome.evaluate: whose it is evaluated in; left out it is the test part, or the metachronous patients for an outcome over time where a binary one is learnt",
    )

    @model_serializer(mode="wrap")
    def _short(self, handler: Any) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if value not in (None, "", (), [])}


class Binary(Aim):
    """A column that holds 0 or 1."""

    kind: Literal["binary"] = "binary"
    column: Name

    @property
    def flags(self) -> tuple[str, ...]:
        """Columns that hold 0 or 1."""
        return (self.column,)

    @property
    def times(self) -> tuple[str, ...]:
        """Columns that hold months."""
        return ()


class ByHorizon(Aim):
    """An event by a horizon: who left before without one is unknown, and weighted in where it is evaluated."""

    kind: Literal["by_horizon"] = "by_horizon"
    event: Name = "progression"
    time: Name = "months"
    competing: Name | Literal[""] = Field(
        "", description="column 0/1 of what makes the event impossible, at the same time, e.g. died"
    )
    horizon_months: float | None = Field(None, gt=0, description="left out: evaluation.horizon_months")

    @property
    def flags(self) -> tuple[str, ...]:
        """Columns that hold 0 or 1."""
        return (self.event, *([self.competing] if self.competing else []))

    @property
    def times(self) -> tuple[str, ...]:
        """Columns that hold months."""
        return (self.time,)

    def horizon(self, otherwise: float = math.nan) -> float:
        """Months; ``otherwise`` (evaluation.horizon_months) where none is given."""
        return self.horizon_months or otherwise


class TimeToEvent(ByHorizon):
    """An event and when it came; ``edges`` are the ends of the intervals in which a hazard is learnt, the last is the horizon."""

    kind: Literal["time_to_event"] = "time_to_event"  # type: ignore[assignment]
    edges: tuple[float, ...] = ()
    loss: Literal["hazard", "cox"] = Field(
        "hazard",
        description="of the networks: a hazard per interval, which gives a probability; or Cox (Efron), which ranks only",
    )

    @model_serializer(mode="wrap")
    def _short(self, handler: Any) -> dict[str, Any]:
        usual: tuple[Any, ...] = (None, "", (), [], "hazard")
        return {key: value for key, value in handler(self).items() if value not in usual}

    @model_validator(mode="after")
    def _last_is_the_horizon(self) -> TimeToEvent:
        ends = self.edges
        if ends and (list(ends) != sorted(set(ends)) or ends[0] <= 0):
            raise ValueError("edges must ascend from above 0")
        if ends and self.horizon_months is not None and ends[-1] != self.horizon_months:
            raise ValueError(f"the last edge is {ends[-1]:g} and horizon_months {self.horizon_months:g}")
        return self

    @property
    def intervals(self) -> tuple[float, ...]:
        """The edges in months; four equal intervals up to the horizon where none are given."""
        return self.edges or tuple(self.horizon() * k / 4 for k in range(1, 5))

    def horizon(self, otherwise: float = math.nan) -> float:
        """Months: the last edge, where there are any."""
        return self.horizon_months or (self.edges[-1] if self.edges else otherwise)


AnyAim = Annotated[Binary | ByHorizon | TimeToEvent, Field(discriminator="kind")]
SYNCHRONOUS = Binary(column="synchronous_metastasis")
METACHRONOUS = ByHorizon()


class Outcome(Settings):
    """What the networks and the fusion learn and what is evaluated: any column of the table by name."""

    learn: AnyAim = Field(
        SYNCHRONOUS,
        description="what is learnt (paper: metastasis on the scan). {kind: binary, column: NAME}, a column 0/1; {kind: by_horizon, event: NAME, time: NAME, competing: NAME, horizon_months: N}, did the event come by then; {kind: time_to_event, ..., edges: [12, 24, 36, 48]}, a hazard per interval, of which the last ends at the horizon; with loss: cox the networks rank only. A part that is fitted on needs one patient with and one without, over time two events and two known to be free of it at the horizon",
    )
    evaluate: dict[Name, AnyAim] = Field(
        {"synchronous": SYNCHRONOUS, "metachronous": METACHRONOUS},
        description="name -> what is evaluated, written as learn is; horizon_months left out is evaluation.horizon_months; patients: test or metachronous says in whom (left out: the test part; the metachronous patients for an outcome over time where a binary one is learnt)",
    )
    words: dict[Name, str] = Field(
        {},
        description="column -> what the report calls it, where the column's name with blanks does not read well, e.g. psa_persistence: PSA persistence",
    )

    @model_validator(mode="before")
    @classmethod
    def _of_their_kind(cls, values: Any) -> Any:
        """Laid over the defaults key by key, a block of another kind still holds the default's keys: they are taken out."""
        if not isinstance(values, dict):
            return values
        found = dict(values)
        if isinstance(found.get("learn"), dict):
            found["learn"] = _own_keys(found["learn"], SYNCHRONOUS)
        if isinstance(found.get("evaluate"), dict):
            default: dict[str, Binary | ByHorizon] = {
                "synchronous": SYNCHRONOUS,
                "metachronous": METACHRONOUS,
            }
            found["evaluate"] = {
                name: _own_keys(aim, default[name]) if isinstance(aim, dict) and name in default else aim
                for name, aim in found["evaluate"].items()
            }
        return found

    @field_validator("learn")
    @classmethod
    def _learnt(cls, aim: Any) -> Any:
        if isinstance(aim, ByHorizon) and math.isnan(aim.horizon()):
            raise ValueError("horizon_months is missing: by when?")
        if aim.patients:
            raise ValueError("patients belongs to outcome.evaluate: the development patients are learnt from")
        return aim

    @field_validator("evaluate")
    @classmethod
    def _names_are_free(cls, aims: dict[str, Any]) -> dict[str, Any]:
        for name in aims:
            if name in ("learnt", "prospective") or name.endswith(("_training", "_validation")):
                raise ValueError(f"the name {name} is taken: learnt, prospective, *_training, *_validation")
        return aims

    @model_validator(mode="after")
    def _columns_fit(self) -> Outcome:
        aims = [self.learn, *self.evaluate.values()]
        flags = {name for aim in aims for name in aim.flags}
        times = {name for aim in aims for name in aim.times}
        for name in sorted(flags | times):
            allowed = FLAGS if name in flags else TIMES
            if name in COLUMNS and name not in allowed:
                raise ValueError(
                    f"the column {name} holds something else; an outcome is {', '.join(allowed)} or a column of your own"
                )
        if both := flags & times:
            raise ValueError(f"the column {min(both)} cannot hold both 0 or 1 and months")
        for aim in aims:
            if isinstance(aim, ByHorizon) and aim.competing == aim.event:
                raise ValueError("event and competing are one column")
        return self

    @property
    def columns(self) -> dict[str, Column]:
        """Every column that an outcome is made of, with what its cells must be; sorted by name."""
        aims = [self.learn, *self.evaluate.values()]
        flags = {name for aim in aims for name in aim.flags}
        times = {name for aim in aims for name in aim.times}
        return {
            name: COLUMNS.get(name) or (FLAG if name in flags else MONTHS) for name in sorted(flags | times)
        }

    @property
    def extra(self) -> dict[str, Column]:
        """Those of them that are none of promet's own: allowed and demanded in the table."""
        return {name: column for name, column in self.columns.items() if name not in COLUMNS}

    @property
    def given_by(self) -> tuple[str, ...]:
        """The columns without which a patient has no part: what is learnt."""
        aim = self.learn
        return (aim.column,) if isinstance(aim, Binary) else (aim.event, aim.time)

    @property
    def learnt(self) -> str:
        """What is learnt, as messages and the report call it: metastases, progression within 48 months."""
        aim = self.learn
        return self.noun(aim) + (f" within {aim.horizon():g} months" if isinstance(aim, ByHorizon) else "")

    @property
    def timed(self) -> bool:
        """Is what is learnt an event over time (by_horizon or time_to_event)?"""
        return isinstance(self.learn, ByHorizon)

    def patients_of(self, name: str) -> Literal["test", "metachronous"]:
        """In whom an outcome of ``evaluate`` is evaluated."""
        aim = self.evaluate.get(name, self.learn)
        return aim.patients or ("metachronous" if isinstance(aim, ByHorizon) and not self.timed else "test")

    @property
    def primary(self) -> str:
        """The name in ``evaluate`` of what is learnt, in the test part; ``learnt`` where it is not asked for."""
        asked = [name for name in self.evaluate if self.patients_of(name) == "test"]
        same = (name for name in asked if _alike(self.evaluate[name], self.learn))
        return next(same, "learnt")

    @property
    def aims(self) -> dict[str, Binary | ByHorizon]:
        """What is evaluated, the learnt one first: every study says how good it is at what it learnt."""
        first = self.primary
        found: dict[str, Binary | ByHorizon] = {first: self.evaluate.get(first, self.learn)}
        return found | {name: aim for name, aim in self.evaluate.items() if name != first}

    def called(self, column: str) -> str:
        """What the report calls a column: metastases, progression, PSA persistence."""
        return self.words.get(column) or CALLED.get(column) or column.replace("_", " ")

    def noun(self, aim: Binary | ByHorizon) -> str:
        """What the report calls what is learnt or evaluated."""
        return self.called(aim.flags[0])


FLAG = Column("an outcome named in the configuration", "0 or 1", COLUMNS["died"].valid, True, (0, 1), True)
MONTHS = Column(
    "months to the event or to the last follow-up, named in the configuration",
    COLUMNS["months"].expected,
    COLUMNS["months"].valid,
    True,
    COLUMNS["months"].range,
)
PAPER = Outcome()


def _own_keys(given: dict[str, Any], default: Binary | ByHorizon) -> dict[str, Any]:
    kinds: dict[Any, type[Aim]] = {"binary": Binary, "by_horizon": ByHorizon, "time_to_event": TimeToEvent}
    kind = given.get("kind")
    if kind == default.kind or kind not in kinds:
        return given
    before, own = default.model_dump(), kinds[kind].model_fields
    return {key: value for key, value in given.items() if key in own or before.get(key) != value}


def _alike(one: Binary | ByHorizon, other: Binary | ByHorizon) -> bool:
    """The same columns at the same horizon; the horizon that is left out is another one than any that is given."""
    if isinstance(one, Binary) or isinstance(other, Binary):
        return one.flags == other.flags and not (one.times or other.times)
    return (one.flags, one.time) == (other.flags, other.time) and one.horizon(-1) == other.horizon(-1)


# A patient's status ----------------------------------------------------------------------------------------


class Status(NamedTuple):
    """Months to the event or the last follow-up, and 0 (censored), 1 (event) or 2 (competing); NaN where not given."""

    time: float
    event: float


def status(row: Mapping[str, str], aim: ByHorizon) -> Status:
    """Time and event of a row of the table; the event wins over a competing one of the same row.

    An empty cell of the competing column says that it is not known to have happened.

    Raises:
        UsageError: ``E_TABLE_NUMBER``.
    """
    event, time = number(row, aim.event, FLAG), number(row, aim.time, MONTHS)
    if math.isnan(event) or math.isnan(time):
        return Status(math.nan, math.nan)
    if not event and aim.competing and number(row, aim.competing, FLAG) == 1:
        event = COMPETING
    return Status(time, event)


def label(row: Mapping[str, str], aim: Binary | ByHorizon, otherwise: float = math.nan) -> float:
    """1.0 with, 0.0 without, NaN unknown: the column itself, or the status at the horizon.

    At a horizon: with = the event came by then; without = seen free of it at the horizon or later, or the competing
    event came by then; else unknown.

    Args:
        row: of the table.
        aim: what is asked.
        otherwise: the horizon in months of an aim that gives none.
    """
    if isinstance(aim, Binary):
        return number(row, aim.column, FLAG)
    time, event = status(row, aim)
    horizon = aim.horizon(otherwise)
    if math.isnan(time):
        return math.nan
    # What differs by rounding is the same moment.
    at = math.isclose(time, horizon, rel_tol=TOLERANCE, abs_tol=0)
    if event == EVENT and (time <= horizon or at):
        return 1.0
    return 0.0 if event == COMPETING or time >= horizon or at else math.nan


def given(row: Mapping[str, str], aim: Binary | ByHorizon) -> bool:
    """Does the row say what happened, so that the patient can have a part? Censored before the horizon is said, too."""
    names = (aim.column,) if isinstance(aim, Binary) else (aim.event, aim.time)
    return all(row.get(name) for name in names)


def stratum(row: Row, aim: Binary | ByHorizon) -> str:
    """What a patient is assigned by: the cell (0, 1 or - for none); over time event, event-free or unknown at the horizon."""
    if isinstance(aim, Binary):
        return row.get(aim.column) or "-"
    value = label(row, aim)
    return "unknown" if math.isnan(value) else "event" if value else "event-free"


def fitted_counts(rows: Iterable[Row], aim: Binary | ByHorizon) -> tuple[int, int, bool]:
    """How many of the rows are known to be with and without, and whether these are enough to fit on."""
    labels = [label(row, aim) for row in rows]
    least = 1 if isinstance(aim, Binary) else LEAST
    return labels.count(1), labels.count(0), min(labels.count(1), labels.count(0)) >= least


# What a stage uses of it -------------------------------------------------------------------------------------

Part = Literal["learn", "task", "evaluate", "words"]


def used(config: Mapping[str, Any], parts: Iterable[str]) -> dict[str, Any]:
    """The parts of the block that a stage declares, as far as they are not the paper's; so the paper's enters no pin.

    ``learn`` is what is learnt with its columns; ``task`` what a network is trained for without them (kind, horizon, edges
    and loss, of time_to_event alone: otherwise it sees labels); ``evaluate`` and ``words`` as they stand.

    Args:
        config: the whole configuration, dumped; one without the block is the paper's.
        parts: of learn, task, evaluate, words.
    """
    block, paper = config.get("outcome") or {}, PAPER.model_dump(mode="json")
    found: dict[str, Any] = {}
    for part in parts:
        if part == "task":
            learn = block.get("learn", {})
            if learn.get("kind") == "time_to_event":
                found["learn"] = {k: learn[k] for k in TASK if k in learn}
            continue
        value = block.get(part, paper[part])
        if part == "evaluate":  # the horizon that would be taken anyway says nothing
            usual = config.get("evaluation", {}).get("horizon_months")
            value = {name: _without_usual(aim, usual) for name, aim in value.items()}
        if value != paper[part]:
            found[part] = value
    return found


def _without_usual(aim: dict[str, Any], usual: float | None) -> dict[str, Any]:
    return {key: value for key, value in aim.items() if key != "horizon_months" or value != usual}


def columns_of(config: Mapping[str, Any], parts: Iterable[str]) -> tuple[str, ...]:
    """The columns of the table behind these parts, sorted."""
    outcome = Outcome.model_validate(config.get("outcome") or {})
    aims = [outcome.learn] if "learn" in parts else []
    aims += list(outcome.evaluate.values()) if "evaluate" in parts else []
    return tuple(sorted({name for aim in aims for name in (*aim.flags, *aim.times)}))


def of(config: Mapping[str, Any]) -> Outcome:
    """The outcome of a configuration, or of what of it a stage was told; the paper's where there is none.

    Raises:
        UsageError: E_SETTINGS.
    """
    block = config.get("outcome")
    return from_json(Outcome, block) if block else PAPER


def apart(settings: str) -> tuple[str, Outcome]:
    """A command's ``--settings`` without its key ``outcome``, and the outcome: the paper's where there is none.

    Raises:
        UsageError: E_SETTINGS.
    """
    try:
        told = json.loads(settings)
    except ValueError:
        return settings, PAPER  # the section's own reader refuses it
    if not isinstance(told, dict) or "outcome" not in told:
        return settings, PAPER
    outcome = of(told)
    return json.dumps({key: value for key, value in told.items() if key != "outcome"}), outcome
