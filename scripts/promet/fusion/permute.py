"""Does the fusion find something where there is nothing? Refits the models on permuted labels.

permutation.json::

    schema: 1
    permutations, seed
    part: "test"
    models: {NAME: {n, positives, negatives: patients of the test part with label and score
                    observed: AUC with the true labels, null if not possible
                    fit: NULL       labels of training and validation permuted, each part within itself; test labels true
                    all: NULL}}     labels of the test part permuted too
    notes: [sentence, ...]

    NULL: auc: [one per permutation]; mean, low, high (2.5 and 97.5 percent); p = (1 + permutations with an AUC at least
          as high as the observed) / (1 + permutations); empty and null where not possible

Of an outcome over time AUC is Harrell's C up to the horizon (``measure``: "concordance"; the key stays), positives have the event by
then, negatives are known without it, and what is permuted are the pairs of time and event.

Both are valid tests of "the labels have nothing to do with the inputs". ``fit`` alone has little power where inputs
are strong and agree: a fit to noise that happens to point the right way separates the test part as well. The CNN is not
trained again: its score enters as it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from promet.core.files import read_json, write_json
from promet.core.sidecar import Sidecar
from promet.core.stage import Outcome, run_stage
from promet.fusion import predictors
from promet.fusion.fuse import MODEL, from_record, weighed
from promet.fusion.naive_bayes import NaiveBayes
from promet.fusion.settings import Fusion
from promet.study.auc import auc
from promet.study.concordance import harrell
from promet.study.forms.tables import PREDICTIONS
from promet.study.ledger import FIT

if TYPE_CHECKING:
    import pandas as pd

PRODUCT = "permutation.json"
PART = "test"


def null(table: pd.DataFrame, record: dict[str, Any], permutations: int, seed: int) -> dict[str, Any]:
    """permutation.json from the predictions and the record of the fitted models (naive_bayes.json)."""
    models, log = from_record(record)
    at = record.get("outcome", {}).get("horizon_months")
    fitted = table[table["part"].isin(FIT)]
    part = fitted["part"].to_numpy()
    tested = table[(table["part"] == PART) & table["label" if at is None else "time"].notna()]
    truth = tested["label"].to_numpy(float)
    result: dict[str, Any] = {
        "schema": 1,
        "permutations": permutations,
        "seed": seed,
        "part": PART,
        "models": {},
        "notes": ["The CNN is not trained again: its score enters as it is."],
    }
    if at is not None:
        result["measure"] = "concordance"
    possible = bool((truth == 1).any() and (truth == 0).any())
    if not possible:
        result["notes"].append(
            f"The {PART} part does not have both classes: there is no AUC to compare with."
        )
    random = np.random.default_rng(seed)
    places, all_ = np.arange(len(fitted)), np.arange(len(tested))
    draws = [(_within(places, part, random), random.permutation(all_)) for _ in range(permutations)]
    for name, model in models.items():
        here: dict[str, Any] = {
            "n": len(truth),
            "positives": int((truth == 1).sum()),
            "negatives": int((truth == 0).sum()),
            "observed": None,
            "fit": _summary([], None),
            "all": _summary([], None),
        }
        result["models"][name] = here
        if not possible:
            continue
        known, new = (predictors.transform(t, model.features, log) for t in (fitted, tested))
        rows = np.ones(known.shape, bool)
        if "cnn_score" in model.features:
            rows[:, model.features.index("cnn_score")] = np.isin(part, record["cnn_score_fitted_on"])
        here["observed"] = _judged(tested, all_, model.log_odds(new), at)
        fit, everything = [], []
        for permuted, shuffled in draws:
            labels, weights = weighed(fitted.iloc[permuted], at)
            again = NaiveBayes(model.features, model.var_smoothing).fit(known, labels, rows, weights)
            scores = again.log_odds(new)
            fit.append(_judged(tested, all_, scores, at))
            everything.append(_judged(tested, shuffled, scores, at))
        here["fit"] = _summary(fit, here["observed"])
        here["all"] = _summary(everything, here["observed"])
    return result


def run(inputs: Path, settings: Fusion, out: Path, pin: str) -> Sidecar:
    """Write permutation.json beside ``out``, and the sidecar ``out`` last; ``inputs``: folder of fuse.json."""

    def work() -> Outcome:
        found = null(
            PREDICTIONS.read(inputs / PREDICTIONS.file),
            read_json(inputs / MODEL),
            settings.permutations,
            settings.permutation_seed,
        )
        product = out.with_name(PRODUCT)
        write_json(product, found)
        values = {
            name: {
                "observed": model["observed"],
                **{f"{kind}_{key}": model[kind][key] for kind in ("fit", "all") for key in ("mean", "p")},
            }
            for name, model in found["models"].items()
        }
        return Outcome(products={"permutation": product}, values=values, warnings=found["notes"][1:])

    return run_stage(
        "permute",
        out,
        pin,
        work,
        upstream={"fuse": inputs / "fuse.json"},
        needs=("fuse",),
        makes=(PRODUCT,),
        packages=("numpy", "scipy", "pandas", "pyarrow"),
    )


def _judged(tested: pd.DataFrame, order: np.ndarray, scores: np.ndarray, at: float | None) -> float:
    """AUC, or C up to ``at``, of the scores if the outcomes of the tested had this order."""
    outcomes = tested.iloc[order]
    if at is None:
        return auc(outcomes["label"], scores)
    value, _ = harrell(outcomes["time"].to_numpy(), outcomes["event"].to_numpy(), scores, at)
    return 0.5 if value is None else value


def _within(places: np.ndarray, part: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Whose outcome each row gets, permuted within each part, so that every fit sees as many of each class as the true one."""
    result = places.copy()
    for name in FIT:
        mine = part == name
        result[mine] = random.permutation(places[mine])
    return result


def _summary(areas: list[float], observed: float | None) -> dict[str, Any]:
    if observed is None or not areas:
        return {"auc": [], "mean": None, "low": None, "high": None, "p": None}
    low, high = np.quantile(areas, [0.025, 0.975])
    return {
        "auc": areas,
        "mean": float(np.mean(areas)),
        "low": float(low),
        "high": float(high),
        "p": (1 + sum(x >= observed - 1e-12 for x in areas)) / (1 + len(areas)),
    }
