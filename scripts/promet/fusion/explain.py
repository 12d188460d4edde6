"""Exact Shapley values of the multimodal model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pandas as pd

from promet.core.errors import UsageError
from promet.core.files import atomic, read_json, write_json
from promet.core.sidecar import Sidecar
from promet.core.stage import Outcome, run_stage
from promet.fusion import predictors
from promet.fusion.fuse import MODEL, from_record
from promet.fusion.naive_bayes import NaiveBayes
from promet.study.forms.tables import PREDICTIONS
from promet.study.ledger import FIT

SHAP, WATERFALL = "shap.parquet", "waterfall.json"
EXPLAINED = "multimodal"


def shapley(
    model: NaiveBayes, values: np.ndarray, background: np.ndarray, rows: np.ndarray | None = None
) -> tuple[np.ndarray, float]:
    """Shapley values of the log-odds, by enumeration of all coalitions of the inputs (shap, exact).

    Inputs outside a coalition take the values of the background's rows, one row at a time, each
    input on its own (independent masker). A missing value is a value like any other here: it brings
    the factor 0. Its Shapley value is therefore minus the mean factor of that input over the background.

    Args:
        values: (patients, inputs) as the model sees them, NaN = missing.
        background: (rows, inputs), likewise.
        rows: boolean, shape of ``background``: cells that count (default: all). A cell that does not
            count stands for the mean factor of those that do.

    Returns:
        Values (patients, inputs) and the base; base + a row's sum = that patient's log-odds.
    """
    import shap

    # shap compares and copies numbers, which NaN would break: it gets each cell's row number instead of its value.
    n, columns = len(background), np.arange(background.shape[1])
    factors = model.factors(np.concatenate([background, values]))
    if rows is not None:
        for j in columns:
            counted = factors[:n, j][rows[:, j]]
            factors[:n, j][~rows[:, j]] = counted.mean() if len(counted) else 0.0
    codes = np.tile(np.arange(len(factors), dtype=float)[:, None], (1, len(columns)))
    prior = float(np.log(model.prior[1] / model.prior[0]))

    def log_odds(coded: np.ndarray) -> np.ndarray:
        return prior + factors[np.asarray(coded).astype(int), columns].sum(axis=1)

    explainer = shap.explainers.ExactExplainer(log_odds, shap.maskers.Independent(codes[:n], max_samples=n))
    explained = explainer(codes[n:], silent=True)
    return np.asarray(explained.values, float), float(np.mean(log_odds(codes[:n])))


class Ranked(TypedDict):
    """An input, its mean |SHAP| (None where no patient has it) and in how many patients it is known."""

    input: str
    mean_abs_shap: float | None
    n: int


def ranking(long: pd.DataFrame, names: list[str]) -> list[Ranked]:
    """Inputs by mean |SHAP| over the patients in whom the input is known, largest first."""
    rows: list[Ranked] = []
    for name in names:
        known = long[(long["input"] == name) & long["value"].notna()]["shap"].abs()
        rows.append(
            {"input": name, "mean_abs_shap": float(known.mean()) if len(known) else None, "n": len(known)}
        )
    return sorted(rows, key=lambda row: (row["mean_abs_shap"] is None, -(row["mean_abs_shap"] or 0)))


def waterfalls(long: pd.DataFrame, base: float) -> dict[str, dict[str, Any]]:
    """What to draw for each patient: from the base, input by input, to the log-odds.

    Returns:
        patient -> {part, base, log_odds, steps: [{input, value (raw; null = missing), shap, start, end}]}, largest step
        first; the first starts at the base, the last ends at the log-odds.
    """
    found: dict[str, dict[str, Any]] = {}
    for patient, mine in long.groupby("patient", sort=True):
        steps, at = [], base
        order = mine["shap"].abs().sort_values(ascending=False, kind="stable").index
        for row in mine.loc[order].itertuples():
            value = None if np.isnan(row.value) else float(row.value)
            end = at + float(row.shap)
            steps.append(
                {"input": row.input, "value": value, "shap": float(row.shap), "start": at, "end": end}
            )
            at = end
        found[str(patient)] = {
            "part": str(mine["part"].iloc[0]),
            "base": base,
            "log_odds": at,
            "steps": steps,
        }
    return found


def run(inputs: Path, settings: None, out: Path, pin: str) -> Sidecar:
    """Write shap.parquet (patient, part, input, value (raw), shap (log-odds)) and waterfall.json beside ``out``.

    Every predicted patient is explained against the training + validation patients (the CNN score against
    the part its densities were fitted on). The ranking
    in the sidecar's values is over the test part, or over all predicted patients when there is none.
    ``inputs``: folder of fuse.json.
    """

    def work() -> Outcome:
        record = read_json(inputs / MODEL)
        models, log = from_record(record)
        model = models[EXPLAINED]
        table = PREDICTIONS.read(inputs / PREDICTIONS.file)
        fitted = table["part"].isin(FIT).to_numpy()
        if not fitted.any():
            raise UsageError(
                "E_EXPLAIN_EMPTY", "There are no training or validation patients to compare with"
            )
        values = predictors.transform(table, model.features, log)
        rows = np.ones((int(fitted.sum()), len(model.features)), bool)
        if "cnn_score" in model.features:
            # As in the fit: the network's near perfect scores of its own training cases would shift every base.
            allowed = table["part"][fitted].isin(record["cnn_score_fitted_on"]).to_numpy()
            rows[:, model.features.index("cnn_score")] = allowed
        shares, base = shapley(model, values, values[fitted], rows)
        long = pd.DataFrame(
            {
                "patient": np.repeat(table["patient"].to_numpy(), len(model.features)),
                "part": np.repeat(table["part"].to_numpy(), len(model.features)),
                "input": np.tile(model.features, len(table)),
                "value": table[model.features].to_numpy("float64").ravel(),
                "shap": shares.ravel(),
            }
        )
        product = out.with_name(SHAP)
        with atomic(product) as temporary:
            long.to_parquet(temporary, index=False)
        steps_file = out.with_name(WATERFALL)
        steps = waterfalls(long, base)
        write_json(steps_file, {"schema": 1, "unit": "log-odds", "model": EXPLAINED, "patients": steps})
        test = long[long["part"] == "test"]
        over = "test" if len(test) else "all"
        ranked = ranking(test if len(test) else long, model.features)
        warnings = []
        if over == "all":
            warnings.append("There is no test part: inputs are ranked over all predicted patients.")
        return Outcome(
            products={"shap": product, "waterfall": steps_file},
            values={
                "model": EXPLAINED,
                "unit": "log-odds",
                "base": base,
                "background": int(fitted.sum()),
                "over": over,
                "patients": int((test if len(test) else long)["patient"].nunique()),
                "ranking": ranked,
                "dropped": sorted(model.dropped),
            },
            warnings=warnings,
        )

    return run_stage(
        "explain",
        out,
        pin,
        work,
        upstream={"fuse": inputs / "fuse.json"},
        needs=("fuse",),
        makes=(SHAP, WATERFALL),
        packages=("numpy", "pandas", "pyarrow", "shap"),
    )
