"""promet evaluation: how good the scores are."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

import typer

from promet.core.settings import from_json, whole
from promet.study.outcome import apart

app = typer.Typer(
    no_args_is_help=True, help="ROC and DeLong, calibration, survival, CAPRA: in the pipeline and by hand."
)


class Cut(str, Enum):  # noqa: UP042 - typer shows the values of a str enum
    """Where a score is cut into groups."""

    tertiles = "tertiles"
    median = "median"


COHORT = typer.Option(..., help="cohort table (TSV)")
PREDICTIONS = typer.Option(..., help="predictions.parquet of the fuse stage")
MEASURES = typer.Option(..., help="patients.parquet of the gather stage")
OUT = typer.Option(..., help="sidecar to write; products lie beside it")
PIN = typer.Option("", help="what the job uses, stored as given")
SETTINGS = typer.Option("{}", help="settings of the evaluation, JSON")
FILE = typer.Argument(..., help="CSV, TSV or Parquet table with a header", show_default=False)
LEVEL = typer.Option(0.95, min=0.5, max=0.9999, help="level of the intervals")
JSON = typer.Option(False, "--json", help="print JSON instead of tables")


@app.command()
def evaluate(
    *,
    cohort: Path = COHORT,
    predictions: Path = PREDICTIONS,
    measures: Path = MEASURES,
    out: Path = OUT,
    pin: str = PIN,
    settings: str = SETTINGS,
) -> None:
    """AUCs of every score in every part of the study, and paired comparisons: metrics.json, capra.parquet.

    Example: promet evaluation evaluate --cohort cohort.tsv --predictions results/main/fusion/split-00/predictions.parquet
    --measures results/main/gather/patients.parquet --out results/main/evaluation/split-00/evaluate.json
    """
    from promet.evaluation.evaluate import Inputs, run
    from promet.evaluation.settings import Evaluation

    settings, outcome = apart(settings)
    run(Inputs(cohort, predictions, measures, outcome), from_json(Evaluation, settings), out, pin)


@app.command()
def survive(
    *,
    cohort: Path = COHORT,
    predictions: Path = PREDICTIONS,
    measures: Path | None = typer.Option(None, hidden=True, help="not used; accepted for one more version"),
    out: Path = OUT,
    pin: str = PIN,
    settings: str = SETTINGS,
) -> None:
    """Survival of the metachronous cohort by the multimodal score: survival.json.

    Example: promet evaluation survive --cohort cohort.tsv --predictions results/main/fusion/split-00/predictions.parquet
    --out results/main/evaluation/split-00/survive.json
    """
    from promet.evaluation.settings import Evaluation
    from promet.evaluation.survive import Inputs, run

    settings, outcome = apart(settings)
    run(Inputs(cohort, predictions, outcome), from_json(Evaluation, settings), out, pin)


@app.command()
def auc(
    *,
    file: Path = FILE,
    label: str = typer.Option(..., help="column of the outcome, 0 or 1"),
    score: str = typer.Option(..., help="column of the score, higher = more likely"),
    compare: list[str] = typer.Option(
        [], help="column of another score: adds its AUC and the paired DeLong tests; may be given again"
    ),
    level: float = LEVEL,
    bootstrap: int = typer.Option(2000, min=100, help="resamples of the bootstrap interval"),
    seed: int = typer.Option(0, min=0, help="seed of the bootstrap"),
    as_json: bool = JSON,
) -> None:
    """AUC of a score with DeLong, logit and bootstrap intervals, and Mann-Whitney p values.

    Example: promet evaluation auc table.csv --label progressed --score model --compare capra --compare psa
    """
    from promet.evaluation import by_hand, terminal

    terminal.show(by_hand.auc_file(file, label, score, list(compare), level, bootstrap, seed), as_json, "auc")


@app.command()
def survival(
    *,
    file: Path = FILE,
    time: str = typer.Option(..., help="column of the time to event or end of follow-up"),
    event: str = typer.Option(..., help="column of the event, 0 or 1"),
    group: str | None = typer.Option(None, help="column of the groups to compare"),
    score: str | None = typer.Option(None, help="column of a score to cut into groups"),
    cut: Cut = typer.Option(Cut.tertiles, help="where to cut the score"),
    horizon: float | None = typer.Option(None, min=0, help="time up to which AUC over time and Uno's C look"),
    probability: str | None = typer.Option(
        None, help="column of the probability of an event by the horizon: adds the Brier score"
    ),
    bootstrap: int = typer.Option(500, min=100, help="resamples of the intervals over time"),
    level: float = LEVEL,
    as_json: bool = JSON,
) -> None:
    """Kaplan-Meier curves, log-rank test, hazard ratio, C-index (Harrell, Uno) and AUC over time.

    Example: promet evaluation survival table.csv --time months --event progressed --score model --cut median
    """
    from promet.evaluation import by_hand, terminal

    found = by_hand.survival_file(
        file, time, event, group, score, cut.value, level, horizon, bootstrap, probability
    )
    terminal.show(found, as_json, "survival")


@app.command()
def horizon(
    *,
    file: Path = FILE,
    time: str = typer.Option(..., help="column of the time to event or end of follow-up"),
    event: str = typer.Option(..., help="column of the event: 0, 1, and 2 = a competing event"),
    horizon: float = typer.Option(..., help="the time, in the unit of --time"),
    competing: str | None = typer.Option(
        None, help="column of the competing event, 0 or 1, if --event has no 2"
    ),
    probability: str | None = typer.Option(
        None, help="column of the probability of the event by the horizon"
    ),
    log_odds: str | None = typer.Option(
        None, help="column of its log-odds: tell apart what is 0 or 1 otherwise"
    ),
    score: str | None = typer.Option(None, help="column of the score (default: the probability ranks)"),
    compare: list[str] = typer.Option([], help="column of a further score; may be given again"),
    threshold: list[float] = typer.Option([], help="of the probability, for net benefit; may be given again"),
    level: float = LEVEL,
    as_json: bool = JSON,
) -> None:
    """AUC, C, Brier score, calibration, groups and net benefit at one time, honest about those who left before it.

    Example: promet evaluation horizon table.csv --time months --event progressed --horizon 48 --probability risk
    """
    from promet.evaluation import horizon as module
    from promet.evaluation import terminal

    thresholds = tuple(threshold) or module.THRESHOLDS
    found = module.horizon_file(
        file, time, event, horizon, competing, probability, score, compare, log_odds, thresholds, level
    )
    terminal.show(found, as_json, "horizon")


@app.command()
def calibration(
    *,
    file: Path = FILE,
    label: str = typer.Option(..., help="column of the outcome, 0 or 1"),
    probability: str | None = typer.Option(None, help="column of the probability, 0 to 1"),
    log_odds: str | None = typer.Option(
        None, help="column of its log-odds instead: they tell apart what as a probability is 0 or 1"
    ),
    level: float = LEVEL,
    bootstrap: int = typer.Option(500, min=100, help="resamples of the curve's interval"),
    seed: int = typer.Option(0, min=0, help="seed of the bootstrap"),
    as_json: bool = JSON,
) -> None:
    """Calibration of a probability: intercept, slope, E/O, Brier score, ICI, curve.

    Example: promet evaluation calibration table.csv --label progressed --probability risk
    """
    from promet.evaluation import by_hand, terminal

    found = by_hand.calibration_file(file, label, probability, level, bootstrap, seed, log_odds)
    terminal.show(found, as_json, "calibration")


@app.command()
def decision_curve(
    *,
    file: Path = FILE,
    label: str = typer.Option(..., help="column of the outcome, 0 or 1"),
    probability: list[str] = typer.Option(..., help="column of a probability, 0 to 1; may be given again"),
    as_json: bool = JSON,
) -> None:
    """Decision curves: net benefit of acting on each probability, on everyone and on nobody.

    Example: promet evaluation decision-curve table.csv --label progressed --probability risk --probability capra_risk
    """
    from promet.evaluation import by_hand, terminal

    terminal.show(by_hand.decision_file(file, label, probability), as_json, "decision")


@app.command()
def capra(*, file: Path = FILE, as_json: bool = JSON) -> None:
    """CAPRA score (0 to 10) of every row, with its points and what is missing.

    Columns: psa, grade_group or gleason_primary and gleason_secondary, clinical_t, positive_cores_percent, age.

    Example: promet evaluation capra cohort.tsv --json
    """
    from promet.evaluation import by_hand, terminal

    terminal.show(by_hand.capra_file(file), as_json, "capra")


@app.command()
def risk_groups(*, file: Path = FILE, as_json: bool = JSON) -> None:
    """Risk groups of every row: D'Amico, EAU, NCCN version 2.2020, and the CAPRA score.

    Columns as for capra. With a missing value a group is given only where every possible value leads to it.

    Example: promet evaluation risk-groups cohort.tsv --json
    """
    from promet.evaluation import by_hand, terminal

    terminal.show(by_hand.risk_groups_file(file), as_json, "risk groups")


size = typer.Typer(
    no_args_is_help=True,
    help="How many patients a prediction model needs to be developed or validated (Riley 2020, 2021).",
)
app.add_typer(size, name="sample-size")
PARAMETERS = typer.Option(..., help="of the regression: one per input, more for curves and categories")
PREVALENCE = typer.Option(..., help="share with the outcome")
R2 = typer.Option(None, help="Cox-Snell R² that is expected")


@size.command()
def development(
    *,
    parameters: int = PARAMETERS,
    prevalence: float = PREVALENCE,
    r2: float | None = R2,
    c: float | None = typer.Option(None, help="AUC that is expected, in place of R²"),
    as_json: bool = JSON,
) -> None:
    """Patients to develop a model of a binary outcome.

    Example: promet evaluation sample-size development --parameters 7 --prevalence 0.48 --c 0.82
    """
    from promet.evaluation import terminal
    from promet.evaluation.stats import sample_size

    terminal.show(sample_size.development(parameters, prevalence, r2, c), as_json, "sample size")


@size.command("survival")
def size_survival(
    *,
    parameters: int = PARAMETERS,
    rate: float = typer.Option(..., help="events per patient and unit of time"),
    followup: float = typer.Option(..., help="mean follow-up"),
    timepoint: float = typer.Option(..., help="time at which the risk is told"),
    r2: float | None = R2,
    as_json: bool = JSON,
) -> None:
    """Patients to develop a model of the time to an event.

    Example: promet evaluation sample-size survival --parameters 25 --rate 0.065 --followup 2.07 --timepoint 2 --r2 0.051
    """
    from promet.evaluation import terminal
    from promet.evaluation.stats import sample_size

    terminal.show(sample_size.survival(parameters, rate, followup, timepoint, r2), as_json, "sample size")


@size.command()
def validation(
    *,
    prevalence: float = PREVALENCE,
    c: float = typer.Option(..., help="AUC that is expected"),
    lp_mean: float | None = typer.Option(
        None, help="mean of the log-odds; without it that of a score with this C"
    ),
    lp_sd: float | None = typer.Option(None, help="standard deviation of the log-odds"),
    oe_width: float = typer.Option(0.2, help="width of the interval of observed / expected"),
    oe_se: float | None = typer.Option(None, help="standard error of its logarithm, in place of the width"),
    slope_width: float = typer.Option(0.2, help="width of the interval of the slope"),
    c_width: float = typer.Option(0.1, help="width of the interval of C"),
    sensitivity: float | None = typer.Option(None, help="at the threshold, for net benefit"),
    specificity: float | None = typer.Option(None, help="at the threshold"),
    threshold: float | None = typer.Option(None, help="probability from which one acts"),
    as_json: bool = JSON,
) -> None:
    """Patients to validate a model of a binary outcome.

    Example: promet evaluation sample-size validation --prevalence 0.48 --c 0.82 --lp-mean -0.1 --lp-sd 1.3
    """
    from promet.evaluation import terminal
    from promet.evaluation.stats import sample_size

    widths = (oe_width, slope_width, c_width)
    found = sample_size.validation(
        prevalence, c, lp_mean, lp_sd, *widths, sensitivity, specificity, threshold, oe_se
    )
    terminal.show(found, as_json, "sample size")


@app.command()
def table1(
    *,
    cohort: Path = COHORT,
    measures: Path = MEASURES,
    patients: Path | None = typer.Option(
        None, help="results/patients: adds uptake time and voxel size of every PET"
    ),
    ledger: Path | None = typer.Option(
        None, help="split ledger (TSV): groups by part of the study instead of by role"
    ),
    out: Path = OUT,
    pin: str = PIN,
    settings: str = SETTINGS,
) -> None:
    """Table 1 by cohort and label, missing values, sites and outliers: characteristics.json.

    Example: promet evaluation table1 --cohort cohort.tsv --measures results/main/gather/patients.parquet
    --patients results/patients --out results/main/evaluation/table1.json
    """
    from promet.evaluation.settings import Evaluation
    from promet.evaluation.table1 import Inputs, run

    settings, outcome = apart(settings)
    run(Inputs(cohort, measures, patients, ledger, outcome), from_json(Evaluation, settings), out, pin)


@app.command()
def pool(
    *,
    metrics: list[Path] = typer.Option(..., help="metrics.json of one split; given once per split"),
    out: Path = OUT,
    pin: str = PIN,
) -> None:
    """AUCs of repeated splits together, with an interval that knows they share patients: pooled.json.

    Example: promet evaluation pool --metrics results/main/evaluation/split-00/metrics.json
    --metrics results/main/evaluation/split-01/metrics.json --out results/main/evaluation/pool.json
    """
    from promet.evaluation.pool import run

    run(metrics, None, out, pin)


@app.command()
def tripod(
    *,
    study: Path = typer.Option(..., help="results folder of the study"),
    config: str = typer.Option("{}", help="the whole configuration without its paths, JSON"),
    out: Path = OUT,
    pin: str = PIN,
) -> None:
    """TRIPOD+AI checklist and model card from the study's own records: checklist.json.

    What the records cannot tell is named as unknown, for the authors to fill in.

    Example: promet evaluation tripod --study results/main --out results/main/evaluation/tripod.json
    """
    from promet.evaluation.tripod import Inputs, run

    run(Inputs(study, whole(config)), None, out, pin)
