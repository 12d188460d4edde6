"""survival.json of the stage survive, as report, checklist and locked model read it; meanings: evaluation.survive."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from promet.study.forms.metrics import Estimate, Interval, Ratio, Slope

FILE = "survival.json"


class Steps(TypedDict):
    """A Kaplan-Meier curve with its interval; where another event competes 1 - the cumulative incidence (Aalen-Johansen)."""

    time: list[float]
    survival: list[float]
    low: list[float | None]
    high: list[float | None]


class Ticks(TypedDict):
    """Who left without an event."""

    time: list[float]
    survival: list[float]


class AtRisk(TypedDict):
    """Numbers at risk and the curve there."""

    time: list[float]
    n: list[int]
    survival: list[float | None]
    low: list[float | None]
    high: list[float | None]


class Group(TypedDict):
    """Patients between two cuts of the score."""

    name: Literal["low", "middle", "high"]
    n: int
    events: int
    median: float | None
    median_low: float | None
    median_high: float | None
    curve: Steps
    censored: Ticks
    at_risk: AtRisk


class Logrank(TypedDict):
    """Over all groups."""

    statistic: float | None
    df: float | None
    p: float | None


class Cut(TypedDict):
    """Tertiles or median."""

    thresholds: list[float]
    groups: list[Group]
    logrank: Logrank
    gray: Logrank
    trend: Logrank
    notes: list[str]


class Proportional(TypedDict):
    """Test of proportional hazards, null where there is none."""

    p: float | None
    sentence: str


class FollowUp(Interval):
    """Median follow-up by the reverse Kaplan-Meier method."""

    median: float | None


class Cox(Interval):
    """Per standard deviation of the score; cause-specific where another event competes."""

    hazard_ratio: float | None
    p: float | None
    sd: float
    n: int
    events: int


class Area(Interval):
    """AUC at one time."""

    time: float
    auc: float | None
    se: float | None
    logit: Interval
    cases: int
    controls: int


class Uno(Interval):
    """Uno's C."""

    value: float | None


class Brier(Interval):
    """At the horizon."""

    time: float | None
    value: float | None
    reference: float | None
    scaled: float | None


class WeightedRatio(Ratio):
    """Expected over observed, with the error of its logarithm."""

    log_se: float | None


class Third(Interval):
    """Patients of like probability."""

    n: int
    probability: float
    observed: float | None
    se: float | None


class NetBenefit(Interval):
    """At one threshold; the interval is that of the model."""

    threshold: float
    model: float | None
    all: float | None


class Calibration(TypedDict):
    """evaluation.stats.dynamic.calibrated."""

    n: int
    known: int
    cases: int
    controls: int
    mean_probability: float
    observed: float
    observed_se: float | None
    expected_observed: WeightedRatio
    intercept: Estimate
    slope: Slope
    groups: list[Third]
    net_benefit: list[NetBenefit]
    notes: list[str]


class Dynamic(TypedDict):
    """evaluation.stats.dynamic.record."""

    horizon: float | None
    auc: list[Area]
    uno: Uno
    brier: Brier
    calibration: Calibration | None
    resamples: int
    seed: int
    censoring: str
    competing: str
    notes: list[str]


class Survival(TypedDict):
    """The file."""

    schema: int
    status: Literal["ok", "skipped"]
    reason: str
    score: str
    name: str
    part: Literal["test", "metachronous"]
    words: str
    horizon_months: float
    confidence: float
    n: int
    events: int
    competing: int
    follow_up: FollowUp
    excluded: list[str]
    cuts: dict[str, Cut]
    cox: Cox | None
    proportional: Proportional
    concordance: float | None
    concordance_interval: Interval
    dynamic: Dynamic | None
    also: dict[str, Survival]
    notes: list[str]
