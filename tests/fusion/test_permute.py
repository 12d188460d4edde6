"""The permutation null against plain refits, and what it says about chance and about a signal."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.naive_bayes import GaussianNB
from typer.testing import CliRunner

from promet.core.files import read_json
from promet.core.sidecar import Sidecar
from promet.fusion import fuse, permute
from promet.fusion.cli import app
from promet.fusion.predictors import INPUTS
from promet.fusion.settings import Fusion


def table_of(seed: int, effect: float, sizes=(40, 16, 30)) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    part = np.repeat(["training", "validation", "test"], sizes)
    y = np.arange(len(part)) % 2
    table = pd.DataFrame({"patient": [f"P{i:03d}" for i in range(len(part))], "part": part, "label": y * 1.0})
    for name in INPUTS:
        x = random.normal(size=len(part)) + effect * y
        table[name] = np.exp(x) if name in ("psa", "suv_peak") else x
    return table


def fitted(table: pd.DataFrame, **changes: object) -> dict:
    settings = Fusion(**changes)
    models, _ = fuse.fit(table, settings)
    return fuse.to_record(models, settings, 0, {})


def test_a_signal_stands_out_and_chance_does_not() -> None:
    table = table_of(0, 1.0)
    found = permute.null(table, fitted(table), 60, 0)["models"]["multimodal"]
    predicted = fuse.predict(table, *fuse.from_record(fitted(table)))
    test = predicted[predicted["part"] == "test"]
    assert found["observed"] == pytest.approx(roc_auc_score(test["label"], test["multimodal"]))
    assert found["observed"] > 0.9 and found["all"]["p"] == pytest.approx(1 / 61)
    # Fitted on noise alone the score may point either way, and the inputs are strong: the null is wide.
    assert found["fit"]["high"] - found["fit"]["low"] > 1.5 * (found["all"]["high"] - found["all"]["low"])
    p = []
    for seed in range(12):
        chance = table_of(100 + seed, 0.0)
        null = permute.null(chance, fitted(chance), 40, seed)["models"]["multimodal"]
        assert null["all"]["mean"] == pytest.approx(0.5, abs=0.07)
        p.append(null["fit"]["p"])
    assert min(p) > 0.01 and 0.2 < np.mean(p) < 0.8


def test_each_refit_is_a_naive_bayes_on_labels_permuted_within_the_parts() -> None:
    table = table_of(1, 0.5)
    record = fitted(table, models={"multimodal": ["grade_group", "primary_score"]}, log=[])
    found = permute.null(table, record, 25, 7)["models"]["multimodal"]
    fit = table[table["part"] != "test"]
    test = table[table["part"] == "test"]
    random = np.random.default_rng(7)
    columns = ["grade_group", "primary_score"]
    for area in found["fit"]["auc"]:
        labels = fit["label"].to_numpy().copy()
        for name in ("training", "validation"):
            mine = (fit["part"] == name).to_numpy()
            labels[mine] = random.permutation(labels[mine])
        random.permutation(test["label"].to_numpy())
        model = GaussianNB().fit(fit[columns].to_numpy(), labels)
        assert area == pytest.approx(
            roc_auc_score(test["label"], model.predict_proba(test[columns].to_numpy())[:, 1])
        )


def test_cnn_score_keeps_to_its_part() -> None:
    table = table_of(2, 1.0)
    record = fitted(table)
    before = permute.null(table, record, 20, 0)
    table.loc[table["part"] == "training", "cnn_score"] *= 50
    assert permute.null(table, record, 20, 0) == before


def test_missing_only_in_the_cases_stays_at_one_half() -> None:
    table = table_of(3, 0.0)
    table.loc[table["label"] == 1, "grade_group"] = np.nan
    record = fitted(table, models={"multimodal": ["grade_group"]})
    found = permute.null(table, record, 20, 0)["models"]["multimodal"]
    assert found["observed"] == 0.5


def test_test_part_without_both_classes_has_no_null() -> None:
    table = table_of(4, 1.0)
    record = fitted(table)
    table.loc[table["part"] == "test", "label"] = 1.0
    found = permute.null(table, record, 20, 0)
    assert found["models"]["multimodal"]["observed"] is None and "both classes" in found["notes"][1]
    assert found["models"]["clinical"]["fit"]["p"] is None
    json.dumps(found, allow_nan=False)
    empty = permute.null(table[table["part"] != "test"], record, 20, 0)
    assert empty["models"]["multimodal"]["n"] == 0


def test_command(study) -> None:
    inputs, fused = study.write("with space")
    fuse.run(inputs, Fusion(), fused, "p")
    home = fused.parent
    digests = set()
    for name in ("a", "b"):
        out = home / name / "permute.json"
        result = CliRunner().invoke(
            app,
            ["permute", "--fuse-dir", str(home), "--out", str(out), "--settings", '{"permutations": 20}'],
        )
        assert result.exit_code == 0, result.output
        found = read_json(out.with_name("permutation.json"))
        assert len(found["models"]["multimodal"]["fit"]["auc"]) == found["permutations"] == 20
        record = Sidecar.read(out)
        assert set(record.values) == {"multimodal", "clinical"}
        digests.add(record.digest)
    assert len(digests) == 1
