"""The fusion of an outcome over time: weights, the prior by Kaplan-Meier or Aalen-Johansen, and its own null."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from lifelines import KaplanMeierFitter

from promet.core.errors import UsageError
from promet.fusion import fuse, permute
from promet.fusion.settings import Fusion
from promet.study.outcome import Outcome

SETTINGS = Fusion(models={"multimodal": ["psa", "grade_group"]}, permutations=60)
LEARN = Outcome.model_validate(
    {"learn": {"kind": "time_to_event", "edges": [12, 24, 36, 48], "competing": "died"}}
)


def written(study, strength: float = 1.0, seed: int = 0) -> pd.DataFrame:
    """Gives the cohort times that hang on the PSA; a third leave early, some die."""
    random = np.random.default_rng(seed)
    rows = []
    for row in study.cohort:
        psa = float(row["psa"])
        event = random.exponential(60) * np.exp(strength * (2.5 - np.log(psa)))
        death, leaving = random.exponential(200), random.uniform(15, 90)
        first = min(event, death, leaving)
        row["progression"], row["died"] = str(int(first == event)), str(int(first == death))
        row["months"] = f"{first:.3g}"
        row["role"] = "development" if row["role"] else ""
        rows.append((float(row["months"]), 1 if first == event else 2 if first == death else 0))
    return pd.DataFrame(rows, columns=["time", "event"])


def run(study, name: str = "study"):
    inputs, out = study.write(name)
    record = fuse.run(
        fuse.Inputs(
            *(getattr(inputs, f) for f in ("cohort", "ledger", "split", "scores", "measures")), None, LEARN
        ),
        SETTINGS,
        out,
        "pin",
    )
    return record, json.loads(out.with_name("naive_bayes.json").read_text()), out


def test_the_prior_is_the_cumulative_incidence_and_everyone_is_predicted(study) -> None:
    written(study)
    record, model, out = run(study)
    assert model["outcome"] == {"kind": "time_to_event", "horizon_months": 48.0}
    table = pd.read_parquet(out.with_name("predictions.parquet"))
    fitted = table[table["part"].isin(["training", "validation"])]
    # Aalen-Johansen by hand: events times the share who had neither before
    free, share = 1.0, 0.0
    for t in sorted(fitted["time"].unique()):
        here, risk = fitted[fitted["time"] == t], (fitted["time"] >= t).sum()
        if t <= 48:
            share += free * (here["event"] == 1).sum() / risk
        free *= 1 - (here["event"] != 0).sum() / risk
    assert model["models"]["multimodal"]["prior"][1] == pytest.approx(share, abs=1e-12)
    psa = model["models"]["multimodal"]["features"]["psa"]
    assert sum(psa["seen"]) < len(fitted)  # who is unknown at the horizon has no part in a density
    assert all(e <= s for e, s in zip(psa["effective"], psa["seen"], strict=True))
    unknown = fitted["label"].isna()
    assert unknown.any() and table.loc[unknown[unknown].index, "multimodal_probability"].notna().all()
    assert record.values["fitted_on"] == {"training": 40, "validation": 16}


def test_without_deaths_the_prior_is_kaplan_meiers(study) -> None:
    pairs = written(study)
    for row in study.cohort:
        row["died"] = "0"
    _, model, out = run(study)
    fitted = pd.read_parquet(out.with_name("predictions.parquet"))
    fitted = fitted[fitted["part"].isin(["training", "validation"])]
    assert len(pairs) > len(fitted)
    km = KaplanMeierFitter().fit(fitted["time"], fitted["event"])
    assert model["models"]["multimodal"]["prior"][1] == pytest.approx(1 - km.predict(48.0), abs=1e-9)


def test_permuted_pairs_are_chance_and_the_true_ones_are_not(study) -> None:
    written(study, strength=2.0)
    _, model, out = run(study)
    found = permute.null(pd.read_parquet(out.with_name("predictions.parquet")), model, 60, 0)
    assert found["measure"] == "concordance"
    result = found["models"]["multimodal"]
    assert result["observed"] > 0.7 and result["all"]["p"] < 0.05
    assert result["all"]["mean"] == pytest.approx(0.5, abs=0.05)


def test_nobody_followed_to_the_horizon(study) -> None:
    written(study)
    for row in study.cohort:
        row["months"] = str(min(float(row["months"]), 40.0))
    inputs, out = study.write()
    with pytest.raises(
        UsageError, match="None of 56 training or validation patients is followed for 48 months"
    ):
        fuse.run(
            fuse.Inputs(inputs.cohort, inputs.ledger, 0, inputs.scores, inputs.measures, None, LEARN),
            SETTINGS,
            out,
            "pin",
        )
