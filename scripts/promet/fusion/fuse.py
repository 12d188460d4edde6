"""Fits the naive Bayes models on training + validation and predicts every patient."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from promet.core.errors import UsageError
from promet.core.files import read_json, write_json
from promet.core.sidecar import Sidecar
from promet.core.stage import Outcome, run_stage
from promet.core.words import count
from promet.fusion import predictors
from promet.fusion.naive_bayes import NARROW, OWN_SPREAD, NaiveBayes, logistic
from promet.fusion.settings import Fusion
from promet.study.follow_up import known
from promet.study.forms.tables import PATIENTS, PREDICTIONS, SCORES
from promet.study.ledger import FIT
from promet.study.outcome import PAPER, SYNCHRONOUS, AnyAim, ByHorizon
from promet.study.outcome import Outcome as Outcomes
from promet.study.parts import of_study
from promet.study.renamed import first_names
from promet.study.table import by_patient

if TYPE_CHECKING:
    import pandas as pd

MODEL = "naive_bayes.json"


def weighed(table: pd.DataFrame, at: float | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Labels of the rows, and weights: none of a label; of an outcome over time those of ``study.follow_up.known`` among these rows.

    Raises:
        UsageError: none of them is followed to the horizon.
    """
    if at is None:
        return table["label"].to_numpy(float), None
    who = known(table["time"].to_numpy(float), table["event"].to_numpy(float), at)
    if who is None:
        raise UsageError(
            "E_FUSION_HORIZON",
            f"None of {count(len(table), 'training or validation patient')} is followed for {at:g} months",
            "some who are followed to the horizon",
            "Take an earlier horizon",
        )
    return who.case.astype(float), who.weight


def fit(
    table: pd.DataFrame, settings: Fusion, at: float | None = None
) -> tuple[dict[str, NaiveBayes], list[str]]:
    """Fit each model of the settings on the rows of ``table`` whose part is training or validation.

    At a horizon each has a weight, which who left before it gives to those who stayed.

    The CNN score's densities see the validation part only (``settings.cnn_score``), the others both.
    Rows of any other part are never looked at.

    Args:
        table: as ``predictors.gather`` gives it.
        at: the horizon in months of an outcome over time.

    Returns:
        name -> fitted model, and warnings.

    Raises:
        UsageError: a fitted patient without a label, or only one class.
    """
    seen = table[table["part"].isin(FIT)]
    labels, weights = weighed(seen, at)
    if weights is None and np.isnan(labels).any():
        raise UsageError(
            "E_LABEL_MISSING",
            f"{count(int(seen['label'].isna().sum()), 'training or validation patient')} without a label",
            "the learnt outcome of each of them, 0 or 1",
            "Complete the cohort table",
        )
    warnings = []
    if settings.cnn_score == "in_sample":
        warnings.append(
            "The CNN score's densities are fitted on the network's own training cases too (cnn_score: in_sample): "
            "its weight in the fused score is exaggerated."
        )
    models = {}
    for name, features in settings.models.items():
        values = predictors.transform(seen, features, settings.log)
        rows = np.ones(values.shape, bool)
        if settings.cnn_score == "validation" and "cnn_score" in features:
            rows[:, features.index("cnn_score")] = (seen["part"] == "validation").to_numpy()
        models[name] = NaiveBayes(list(features), settings.var_smoothing).fit(values, labels, rows, weights)
        warnings += [f"Model {name}: {sentence}" for sentence in models[name].warnings]
    return models, warnings


def keep(table: pd.DataFrame, settings: Fusion, locked: Path) -> tuple[dict[str, NaiveBayes], list[str]]:
    """The models of ``locked``, and a sentence on those it was fitted on who are no longer in ``table``.

    Raises:
        UsageError: the settings ask for other models or other inputs.
    """
    record = read_json(locked)
    models, log = from_record(record)
    asked = {name: list(features) for name, features in settings.models.items()}
    if {name: list(model.features) for name, model in models.items()} != asked or log != list(settings.log):
        raise UsageError(
            "E_SEALED",
            "The settings of the fusion differ from those of the model that a waiver keeps",
            "the settings it was fitted with",
            "Put them back, or begin a new study: promet freeze NAME --into NEWSTUDY",
        )
    before = sum(record["fitted_on"].values())
    gone = before - int(table["part"].isin(FIT).sum())
    return models, [
        f"{gone} of the {before} patients the model was fitted on can no longer be used, at least one after "
        "withdrawal. The model was kept as it was, by a waiver on record; nothing was fitted again."
    ]


def predict(table: pd.DataFrame, models: dict[str, NaiveBayes], log: Iterable[str]) -> pd.DataFrame:
    """``table`` with two columns per model: NAME (log-odds) and NAME_probability."""
    result = table.copy()
    for name, model in models.items():
        result[name] = model.log_odds(predictors.transform(table, model.features, log))
        result[f"{name}_probability"] = logistic(result[name].to_numpy())
    return result


def to_record(
    models: dict[str, NaiveBayes],
    settings: Fusion,
    split: int,
    parts: dict[str, int],
    learn: AnyAim = SYNCHRONOUS,
) -> dict[str, Any]:
    """The JSON of all fitted models; of an outcome over time its kind and horizon, of which the probability is."""
    over_time = (
        {"kind": learn.kind, "horizon_months": learn.horizon()} if isinstance(learn, ByHorizon) else None
    )
    return {
        "schema": 1,
        **({"outcome": over_time} if over_time else {}),
        "split": split,
        "fitted_on": parts,
        "cnn_score_fitted_on": ["validation"] if settings.cnn_score == "validation" else list(FIT),
        "log": list(settings.log),
        "models": {name: model.to_dict() for name, model in models.items()},
    }


def from_record(record: dict[str, Any]) -> tuple[dict[str, NaiveBayes], list[str]]:
    """Fitted models and the names of the logged inputs, from the JSON."""
    return {name: NaiveBayes.from_dict(m) for name, m in record["models"].items()}, record["log"]


@dataclass(frozen=True)
class Inputs:
    """What this stage reads."""

    cohort: Path  # patient table (TSV)
    ledger: Path  # split ledger (TSV)
    split: int
    scores: Path  # scores.parquet of the selected network
    measures: Path  # patients.parquet of gather
    # A naive_bayes.json that stays as it is, nothing is fitted (a patient withdrew, and a waiver keeps the model).
    locked: Path | None = None
    outcome: Outcomes = PAPER  # what is learnt


def run(inputs: Inputs, settings: Fusion, out: Path, pin: str) -> Sidecar:
    """Write naive_bayes.json and predictions.parquet beside ``out``, and the sidecar ``out`` last.

    predictions.parquet: one row per patient of the cohort table that is not quarantined, sorted by
    patient: patient, part, label (and of an outcome over time, time and event), the seven raw inputs, suv_peak_source, and for each model NAME
    (log-odds) and NAME_probability.
    """
    split, locked = inputs.split, inputs.locked

    def work() -> Outcome:
        rows = by_patient(inputs.cohort, inputs.outcome.extra)
        table, warnings = predictors.gather(
            rows.values(),
            of_study(inputs.ledger, rows, outcome=inputs.outcome).get(split, {}),
            SCORES.read(inputs.scores),
            PATIENTS.read(inputs.measures),
            first_names(inputs.ledger),
            inputs.outcome.learn,
        )
        learn = inputs.outcome.learn
        at = learn.horizon() if isinstance(learn, ByHorizon) else None
        models, more = keep(table, settings, locked) if locked else fit(table, settings, at)
        predictions = predict(table, models, settings.log)
        counts = {part: int((table["part"] == part).sum()) for part in FIT}
        model_file, prediction_file = out.with_name(MODEL), out.with_name(PREDICTIONS.file)
        write_json(
            model_file, read_json(locked) if locked else to_record(models, settings, split, counts, learn)
        )
        PREDICTIONS.write(prediction_file, predictions)
        return Outcome(
            products={"model": model_file, "predictions": prediction_file},
            values={
                "split": split,
                "patients": len(table),
                "parts": {str(k): int(v) for k, v in table["part"].value_counts().sort_index().items()},
                "fitted_on": counts,
                "missing": {name: int(table[name].isna().sum()) for name in predictors.INPUTS},
                "suv_peak_source": {
                    source: int((table["suv_peak_source"] == source).sum())
                    for source in ("reader", "measured")
                },
                "cnn_score_fitted_on": settings.cnn_score,
                # A model that is kept may have been fitted before there was a floor.
                "floor": None if locked else {"seen": OWN_SPREAD, "share": NARROW},
                "dropped": {name: sorted(model.dropped) for name, model in models.items()},
            },
            warnings=warnings + more,
        )

    # An outcome of another run must not look current beside it.
    upstream = {
        name: path
        for name, path in {
            "score": inputs.scores.with_name("score.json"),
            "gather": inputs.measures.with_name("gather.json"),
        }.items()
        if path.exists()
    }
    return run_stage(
        "fuse",
        out,
        pin,
        work,
        upstream=upstream,
        makes=(MODEL, PREDICTIONS.file),
        packages=("numpy", "pandas", "pyarrow"),
    )
