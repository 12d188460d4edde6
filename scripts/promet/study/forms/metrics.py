"""metrics.json of the stage evaluate, as report, pooling, checklist and locked model read it; meanings: evaluation.evaluate."""

from __future__ import annotations

from typing import Literal, TypeVar, cast

from typing_extensions import TypedDict

FILE = "metrics.json"
T = TypeVar("T")
Method = Literal["delong", "logit", "bootstrap"]  # of an interval


def empty(kind: type[T]) -> T:
    """A form of numbers none of which can be given."""
    return cast(T, dict.fromkeys(kind.__annotations__))


class Interval(TypedDict):
    """``None``: cannot be given, a note beside it says why."""

    low: float | None
    high: float | None


class Resampled(Interval):
    """A bootstrap interval."""

    resamples: int
    seed: int


class Resampling(TypedDict):
    """How intervals were resampled."""

    resamples: int
    seed: int


class Delong(Interval):
    """Wald interval and test of the AUC."""

    variance: float | None
    se: float | None
    z: float | None
    p: float | None


class Error(TypedDict):
    """A standard error."""

    se: float | None


class MannWhitney(TypedDict):
    """U of the positives and three p values."""

    u: float | None
    z: float | None
    p: float | None
    p_ties: float | None
    p_exact: float | None


class Youden(TypedDict):
    """The best threshold."""

    j: float | None
    threshold: float | None
    sensitivity: float | None
    specificity: float | None


class Roc(TypedDict):
    """The corners of the curve; the first threshold is ``None``."""

    fpr: list[float]
    tpr: list[float]
    threshold: list[float | None]


class Counts(TypedDict):
    """Patients with label and value, and labelled ones without."""

    n: int
    positives: int
    negatives: int
    missing: int


class Record(Counts):
    """One score: evaluation.stats.auc.record."""

    auc: float | None
    delong: Delong
    logit: Interval
    bootstrap: Resampled
    hanley_mcneil: Error
    mann_whitney: MannWhitney
    youden: Youden
    roc: Roc
    notes: list[str]


class Paired(Counts, Interval):
    """Two scores: evaluation.stats.auc.paired."""

    auc_a: float | None
    auc_b: float | None
    difference: float | None
    se: float | None
    z: float | None
    p: float | None
    notes: list[str]


class Ratio(Interval):
    """Expected over observed."""

    ratio: float | None


class Estimate(Interval):
    """A coefficient."""

    value: float | None
    se: float | None


class Slope(Estimate):
    """With the intercept fitted beside it."""

    intercept: float | None


class Curve(TypedDict):
    """Smooth calibration curve."""

    probability: list[float]
    observed: list[float]
    low: list[float | None]
    high: list[float | None]
    resamples: int


class Group(TypedDict):
    """Patients of like probability."""

    n: int
    positives: int
    probability: float
    observed: float
    low: float | None
    high: float | None


class Calibration(Counts):
    """One model's probabilities: evaluation.stats.calibration.record."""

    mean_probability: float | None
    observed: float | None
    expected_observed: Ratio
    intercept: Estimate
    slope: Slope
    brier: float | None
    brier_scaled: float | None
    ici: float | None
    e50: float | None
    e90: float | None
    e_max: float | None
    curve: Curve
    groups: list[Group]
    notes: list[str]


class Stages(TypedDict):
    """Before and after recalibration."""

    before: Calibration
    after: Calibration | None


class Benefit(TypedDict):
    """One model's decision curve."""

    net_benefit: list[float | None]
    better_from: float | None
    better_to: float | None
    better_steps: int | None


class Decision(Counts):
    """evaluation.stats.decision.curves."""

    thresholds: list[float]
    treat_all: list[float]
    treat_none: list[float]
    models: dict[str, Benefit]
    notes: list[str]


class Size(TypedDict):
    """A simulated cohort."""

    positives: int
    negatives: int


class Advice(TypedDict):
    """evaluation.stats.coverage.advice."""

    prefer: Method | None
    coverage: dict[str, float] | None
    size: Size | None
    areas: list[float] | None
    mann_whitney_size: float | None
    delong_size: float | None
    sentence: str


class Recalibration(TypedDict):
    """evaluation.stats.calibration.recalibration."""

    n: int
    positives: int
    intercept: float | None
    slope: float | None
    usable: bool
    reason: str


class Share(Interval):
    """A proportion."""

    value: float | None


class Operating(TypedDict):
    """The multimodal score at a threshold that was fixed on the validation part: evaluation.stats.operating."""

    threshold: float
    n: int
    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int
    sensitivity: Share
    specificity: Share
    ppv: Share
    npv: Share
    notes: list[str]


class Section(TypedDict):
    """One outcome in one part."""

    title: str
    part: Literal["training", "validation", "test", "metachronous", "prospective"]
    outcome: str
    words: str
    horizon: float | None
    unknown: int
    seen: bool
    status: Literal["ok", "empty"]
    reason: str
    patients: int
    n: int
    positives: int
    negatives: int
    no_lesion: int
    excluded: list[str]
    scores: dict[str, Record]
    paired: dict[str, Paired]
    calibration: dict[str, Stages]
    decision: Decision | None
    operating: Operating | None
    interval_advice: Advice | None
    notes: list[str]


class Score(TypedDict):
    """A score's name on the page."""

    title: str
    unit: str
    available: bool
    reason: str


class Complete(TypedDict):
    """Patients with and without a CAPRA."""

    complete: int
    incomplete: int


class Metrics(TypedDict):
    """The file."""

    schema: int
    confidence: float
    horizon_months: float
    bootstrap: Resampling
    scores: dict[str, Score]
    order: list[str]
    capra: Complete
    recalibration: dict[str, Recalibration]
    sections: dict[str, Section]
    section_order: list[str]
    primary: str
    later: str
    notes: list[str]
