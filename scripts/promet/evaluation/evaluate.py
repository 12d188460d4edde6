"""AUCs of every score in every cohort section; the evaluate stage.

metrics.json (written by ``evaluate``), every key always present, ``null`` = cannot be given and a note says why::

    schema: 1
    confidence: 0.95
    horizon_months: 48.0
    bootstrap: {resamples, seed}
    scores: {NAME: {title, unit, available, reason}}    NAME in the order to show: multimodal, the other models (clinical,
              ...), cnn_score, suv_max, suv_peak, psa, capra, ucla_psma_risk. reason: sentence when available is false,
              or where the score comes from; "" else. An unavailable score is in no section.
    order: [NAME, ...]              the same order as a list (JSON objects are sorted)
    capra: {complete, incomplete}   patients with and without a CAPRA, over all parts
    recalibration: {MODEL: {n, positives, intercept, slope, usable, reason}}    logistic, fitted on the validation part;
              MODEL: every score that is a probability model (multimodal, clinical, ...)
    sections: {KEY: SECTION}        KEY: of the paper's outcome synchronous, synchronous_training, synchronous_validation,
              metachronous, prospective; of another one (study.outcome) its names in outcome.evaluate instead
    section_order: [KEY, ...]
    primary: KEY of what is learnt, in the test part; KEY_training and KEY_validation are there too
    later: KEY of the first outcome in the metachronous patients, "" without one
    notes: [sentence, ...]

    SECTION: title: headline
             part: training | validation | test | metachronous | prospective    (of the ledger)
             outcome: column of the table; words: what it is called; horizon: months, null of a binary outcome
             seen: true when the models were fitted or selected on these patients; never quote as performance
             status: "ok" | "empty"       empty: reason says why, scores and paired are {}
             reason: sentence, "" when ok
             patients: in this part, n: known to be with (positives) or without (negatives), unknown: left before the horizon.
                       Where there are any, the figures are weighted (stats.weighted), Mann-Whitney and smooth curve are null
             no_lesion: among the n, how many have no CNN score
             excluded: [sentence, ...]    who has no usable label and why, with counts
             scores: {NAME: RECORD}
             paired: {NAME: PAIRED}       multimodal (a) against NAME (b) on the patients who have both; no key multimodal
             calibration: {MODEL: {before: CALIBRATION, after: CALIBRATION | null}}    {} when seen or empty; after = with the
                         recalibration of above, null when that is not usable (its reason says why)
             decision: DECISION | null    all MODELs before recalibration, on the patients who have them all; null like {}
             operating: OPERATING | null    multimodal score at the threshold with the largest Youden index in the validation part
             interval_advice: ADVICE | null    which interval of the multimodal score's AUC to quote; null when empty
             notes: [sentence, ...]

    ADVICE: see promet.evaluation.stats.coverage.advice: prefer, coverage, size, areas, mann_whitney_size, delong_size, sentence
    OPERATING: see promet.evaluation.stats.operating
    CALIBRATION: see promet.evaluation.stats.calibration.record
    DECISION: see promet.evaluation.stats.decision.curves
    RECORD: see promet.evaluation.stats.auc.record: n, positives, negatives, missing, auc, delong{variance, se, low, high, z, p},
            logit{low, high}, bootstrap{low, high, resamples, seed}, hanley_mcneil{se},
            mann_whitney{u, z, p, p_ties, p_exact}, youden{j, threshold, sensitivity, specificity},
            roc{fpr, tpr, threshold}, notes
    PAIRED: see promet.evaluation.stats.auc.paired: n, positives, negatives, missing, auc_a, auc_b, difference, se, low, high,
            z, p, notes

capra.parquet: patient, part, capra (float64, NaN = not computable), group (low | intermediate | high | ""), one column
points_ITEM (float64) per item of ``capra.ITEMS``, notes (sentences).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from promet.core.files import atomic
from promet.core.sidecar import Sidecar
from promet.core.stage import Outcome, run_stage
from promet.evaluation.sections import Asked, Cohort, recalibrations, section, sections
from promet.evaluation.settings import Evaluation, UclaPsma
from promet.evaluation.stats.capra import COLUMNS, ITEMS, capra, cores_percent, t_stage
from promet.study.forms import shapes
from promet.study.forms.metrics import FILE as METRICS
from promet.study.forms.metrics import Metrics, Recalibration, Section
from promet.study.forms.tables import PATIENTS, PREDICTIONS
from promet.study.outcome import PAPER
from promet.study.outcome import Outcome as Outcomes
from promet.study.table import by_patient, number

if TYPE_CHECKING:
    import pandas as pd

CAPRA = "capra.parquet"
TITLES = {
    "multimodal": ("Multimodal", "log-odds"),
    "clinical": ("Clinical only", "log-odds"),
    "cnn_score": ("CNN", "logit"),
    "suv_max": ("SUVmax", "SUV"),
    "suv_peak": ("SUVpeak", "SUV"),
    "psa": ("PSA", "ng/ml"),
    "capra": ("CAPRA", "points"),
    "ucla_psma_risk": ("UCLA PSMA risk score", ""),
}


def capra_table(cohort: Cohort, parts: dict[str, str]) -> pd.DataFrame:
    """CAPRA of every patient in ``parts`` (patient -> part); columns as in capra.parquet."""
    import pandas as pd

    rows = []
    for patient, part in parts.items():
        row = cohort.get(patient, {})
        given = {c: row.get(c, "") if c == "clinical_t" else number(row, c) for c in COLUMNS}
        result = capra(**given)  # type: ignore[arg-type]
        rows.append(
            {
                "patient": patient,
                "part": part,
                "capra": _or_nan(result["capra"]),
                "group": result["group"] or "",
                **{f"points_{item}": _or_nan(result["points"][item]) for item in ITEMS},
                "notes": " ".join(result["notes"]),
            }
        )
    columns = ["patient", "part", "capra", "group", *(f"points_{item}" for item in ITEMS), "notes"]
    numeric = dict.fromkeys(["capra", *(f"points_{item}" for item in ITEMS)], "float64")
    return pd.DataFrame(rows, columns=columns).astype(numeric)


def ucla(cohort: Cohort, patients: list[str], coefficients: UclaPsma) -> tuple[np.ndarray | None, str]:
    """UCLA PSMA risk per patient and where it comes from; ``None`` and the reason when there is none."""
    column = np.array([number(cohort.get(p, {}), "ucla_psma_risk") for p in patients])
    if not np.isnan(column).all():
        return column, "Read from column ucla_psma_risk of the cohort table."
    if not coefficients.given:
        return None, (
            "The coefficients of the UCLA PSMA risk score are not public: fill column ucla_psma_risk "
            "or evaluation.ucla_psma to have it compared."
        )
    risks = []
    for patient in patients:
        row = cohort.get(patient, {})
        stage = t_stage(row.get("clinical_t", ""))
        high = math.nan if stage is None else float(stage[0] >= 3)
        terms = [
            (coefficients.grade_group, number(row, "grade_group")),
            (coefficients.positive_cores_percent, cores_percent(number(row, "positive_cores_percent"))[0]),
            (coefficients.psa, number(row, "psa")),
            (coefficients.clinical_t, high),
        ]
        # A coefficient of 0 means unused: a missing value of that item does not matter.
        eta = coefficients.intercept + sum(weight * value for weight, value in terms if weight)  # type: ignore[operator,misc]
        risks.append(1 / (1 + math.exp(-min(max(eta, -700.0), 700.0))) if not math.isnan(eta) else math.nan)
    return np.array(risks), "Computed from the coefficients in the configuration (evaluation.ucla_psma)."


def study(
    cohort: Cohort,
    predictions: pd.DataFrame,
    measures: pd.DataFrame,
    settings: Evaluation,
    outcome: Outcomes = PAPER,
) -> tuple[Metrics, pd.DataFrame]:
    """metrics.json and the CAPRA table; ``cohort`` was read with the columns of ``outcome``."""
    table = predictions.copy()
    parts = dict(zip(table["patient"], table["part"], strict=True))
    points = capra_table(cohort, parts)
    table["capra"] = points["capra"].to_numpy()
    absent: dict[str, str] = {}
    origin: dict[str, str] = {}
    if "suv_max" in measures:
        of = measures.set_index("patient")["suv_max"]
        table["suv_max"] = [_or_nan(of.get(p)) for p in table["patient"]]
    else:
        absent["suv_max"] = "The measures hold no suv_max."
    risk, sentence = ucla(cohort, table["patient"].tolist(), settings.ucla_psma)
    if risk is None:
        absent["ucla_psma_risk"] = sentence
    else:
        table["ucla_psma_risk"], origin["ucla_psma_risk"] = risk, sentence
    models = [name for name in predictions if f"{name}_probability" in predictions]
    names = list(dict.fromkeys(["multimodal", *models, *TITLES]))
    for name in [n for n in names if n not in absent]:
        if name not in table:
            absent[name] = "No model of this name was fitted."
        elif table[name].isna().all():
            absent[name] = "No patient has this score."
    usable = [name for name in names if name not in absent]
    described = {}
    for name in names:
        title, unit = TITLES.get(name, (name, "log-odds"))
        described[name] = {
            "title": title,
            "unit": unit,
            "available": name not in absent,
            "reason": absent.get(name, origin.get(name, "")),
        }
    complete = int(points["capra"].notna().sum())
    probable = [name for name in usable if name in models]
    recalibration = recalibrations(table, probable, cohort, outcome, settings.horizon_months)
    asked = sections(outcome, settings.horizon_months)
    later = (name for name in outcome.aims if outcome.patients_of(name) == "metachronous")
    return {
        "schema": 1,
        "confidence": settings.confidence,
        "horizon_months": settings.horizon_months,
        "bootstrap": {"resamples": settings.bootstrap, "seed": settings.seed},
        "scores": described,
        "order": names,
        "capra": {"complete": complete, "incomplete": len(points) - complete},
        "recalibration": recalibration,
        "sections": _sections(asked, table, usable, cohort, settings, recalibration, outcome),
        "section_order": list(asked),
        "primary": outcome.primary,
        "later": next(later, ""),
        "notes": [
            "p of mann_whitney is the paper's: normal approximation without tie or continuity correction. "
            "p of delong tests the same AUC against 0.5 with DeLong's variance. They differ."
        ],
    }, points


def _sections(
    asked: dict[str, Asked],
    table: pd.DataFrame,
    names: list[str],
    cohort: Cohort,
    settings: Evaluation,
    recalibration: dict[str, Recalibration],
    outcome: Outcomes,
) -> dict[str, Section]:
    """All of them; the threshold of the validation part (Youden, of the multimodal score) is that of the others."""
    how = (table, names, cohort, settings, recalibration, outcome)
    chosen = f"{outcome.primary}_validation"
    first = section(asked[chosen], *how)
    threshold = (first["scores"].get("multimodal") or {"youden": {"threshold": None}})["youden"]["threshold"]
    return {key: first if key == chosen else section(one, *how, threshold) for key, one in asked.items()}


@dataclass(frozen=True)
class Inputs:
    """What this stage reads."""

    cohort: Path  # patient table (TSV)
    predictions: Path  # predictions.parquet of fuse
    measures: Path  # patients.parquet of gather
    outcome: Outcomes = PAPER  # what is learnt and evaluated


def run(inputs: Inputs, settings: Evaluation, out: Path, pin: str) -> Sidecar:
    """Write metrics.json and capra.parquet beside ``out``, and the sidecar ``out`` last."""

    def work() -> Outcome:
        metrics, points = study(
            by_patient(inputs.cohort, inputs.outcome.extra),
            PREDICTIONS.read(inputs.predictions),
            PATIENTS.read(inputs.measures),
            settings,
            inputs.outcome,
        )
        metrics_file, capra_file = out.with_name(METRICS), out.with_name(CAPRA)
        shapes.write(Metrics, metrics_file, metrics)
        with atomic(capra_file) as temporary:
            points.to_parquet(temporary, index=False)
        values = {
            key: {
                "n": part["n"],
                "positives": part["positives"],
                "auc": part["scores"].get("multimodal", {}).get("auc"),
            }
            for key, part in metrics["sections"].items()
        }
        unavailable = [s["reason"] for s in metrics["scores"].values() if not s["available"]]
        return Outcome(
            products={"metrics": metrics_file, "capra": capra_file}, values=values, warnings=unavailable
        )

    upstream = {
        name: path
        for name, path in {
            "fuse": inputs.predictions.with_name("fuse.json"),
            "gather": inputs.measures.with_name("gather.json"),
        }.items()
        if path.exists()
    }
    return run_stage(
        "evaluate",
        out,
        pin,
        work,
        upstream=upstream,
        makes=(METRICS, CAPRA),
        packages=("numpy", "scipy", "pandas", "pyarrow", "statsmodels", "dcurves"),
    )


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else float(value)
