"""A hospital's page shows the outcome that the model learnt, whatever it is."""

import numpy as np
import pytest

from promet.centres import local, scored
from promet.core.files import write_json
from promet.core.sidecar import Sidecar
from promet.evaluation.settings import Evaluation
from promet.study.outcome import PAPER
from promet.study.table import Row

BINARY = {"kind": "binary", "columns": ["psa_persistence"], "called": "PSA persistence"}
OVER_TIME = {
    "kind": "time_to_event",
    "columns": ["recurrence", "died", "seen_months"],
    "called": "recurrence",
    "competing": "death",
    "horizon_months": 24.0,
}


@pytest.fixture(scope="module")
def hospital(tmp_path_factory):
    folder, random, rows = tmp_path_factory.mktemp("a hospital"), np.random.default_rng(1), []
    for i in range(40):
        name, label = f"P{i:02d}", i % 2
        odds = float(random.normal(label))
        one = {"log_odds": odds, "probability": 1 / (1 + np.exp(-odds))}
        told = {"cnn_score": {"value": odds}, "image": {"measures": {"suv_max": 3.0, "suv_peak": 2.0}}}
        at = folder / "patients" / name
        write_json(at / "prediction.json", {**one, **told, "inputs": {}, "models": {"clinical": one}})
        Sidecar("predict", "p").write(at / "predict.json")
        flags = {"psa_persistence": str(label), "recurrence": str(label), "died": str(int(i % 5 == 0))}
        months = f"{random.uniform(2, 20) if label else random.uniform(25, 60):.1f}"
        rows.append(Row({"patient": name, "role": "metachronous", **flags, "seen_months": months}))
    return folder, rows


@pytest.mark.parametrize(
    ("told", "title"), [(BINARY, "PSA persistence, There"), (OVER_TIME, "Recurrence within 24 months, There")]
)
def test_the_models_own_outcome(hospital, told, title):
    outcome = scored.outcome({"outcome": told})
    metrics, survival = local.read(*hospital, "There", Evaluation(bootstrap=100), outcome)
    shown = [key for key, section in metrics["sections"].items() if section["status"] == "ok"]
    assert shown == [metrics["primary"]] == ["learnt"]
    section = metrics["sections"]["learnt"]
    assert (section["title"], section["n"], section["positives"]) == (title, 40, 20)
    assert section["scores"]["multimodal"]["auc"] > 0.6
    assert survival["status"] == ("ok" if told is OVER_TIME else "skipped")
    assert survival["words"] in ("recurrence", "progression")


def test_the_papers(hospital):
    assert scored.outcome({}) is PAPER
    metrics, _ = local.read(*hospital, "There", Evaluation(bootstrap=100))
    assert next(iter(metrics["sections"])) == "synchronous" and metrics["primary"] == "synchronous"
