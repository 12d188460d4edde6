"""The group of a patient with missing inputs: given only where every value leads to it, checked by trying them all."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from promet.core.files import read_json
from promet.fusion.naive_bayes import NaiveBayes
from promet.model import certain, thresholds
from promet.model.opened import load
from promet.model.predict import predict

RANGES = {"psa": (0.1, 500.0, False), "grade_group": (1, 5, True), "positive_cores_percent": (0, 100, False)}
CONTRACT = {
    "clinical": {
        name: {"range": [low, high], "whole": whole, "meaning": "", "expected": ""}
        for name, (low, high, whole) in RANGES.items()
    }
}


def random_model(rng):
    model = NaiveBayes(["psa", "grade_group", "positive_cores_percent", "cnn_score"])
    model.prior = np.array([0.6, 0.4])
    model.mean = np.column_stack([rng.normal(c, 1, 4) * [1, 2, 40, 1] for c in (1, 1.5)])
    model.variance = rng.uniform(0.05, 2, (4, 2)) * np.array([[1], [2], [400], [1]])
    if rng.random() < 0.3:
        model.variance[:, 1] = model.variance[:, 0]
    return model


def test_what_an_input_can_add_is_what_trying_its_values_gives():
    rng = np.random.default_rng(1)
    for _ in range(60):
        model = random_model(rng)
        for j, (name, (low, high, whole)) in enumerate(RANGES.items()):
            logged = name == "psa"
            x = np.arange(low, high + 1) if whole else np.linspace(low, high, 20001)
            x = np.log(x) if logged else x
            each = norm.logpdf(x, model.mean[j, 1], model.variance[j, 1] ** 0.5)
            each -= norm.logpdf(x, model.mean[j, 0], model.variance[j, 0] ** 0.5)
            least, most = certain.adds(model, name, (low, high), whole, logged)
            assert least == pytest.approx(each.min(), abs=2e-3) and most == pytest.approx(
                each.max(), abs=2e-3
            )
            assert least <= each.min() + 1e-9 and most >= each.max() - 1e-9
        least, most = certain.adds(model, "cnn_score", *certain.domain(CONTRACT, "cnn_score"), False)
        assert math.isinf(least) or math.isinf(most)


def test_a_given_group_is_that_of_every_value():
    """Random models, cuts and patients: a group is withheld exactly when two values of a missing input give two groups."""
    rng = np.random.default_rng(2)
    given = held = 0
    for _ in range(300):
        model = random_model(rng)
        row = np.array([[rng.uniform(0, 4), rng.integers(1, 6), rng.uniform(0, 100), rng.normal()]])
        missing = [name for name in RANGES if rng.random() < 0.4]
        gone = row.copy()
        for name in missing:
            gone[0, model.features.index(name)] = np.nan
        score = float(model.log_odds(gone)[0])
        number = int(rng.integers(1, 3))
        cuts = {
            "cuts": [
                {
                    "name": "cut",
                    "thresholds": sorted(rng.normal(score, 20, number).tolist()),
                    "includes": rng.choice(["upper", "lower"]),
                    "groups": thresholds.NAMES[number],
                    "origin": "",
                    "patients": 9,
                }
            ]
        }
        found = certain.groups(cuts, CONTRACT, model, ["psa"], score, missing)["cut"]
        grid = {
            "psa": np.log(np.geomspace(0.1, 500, 1500)),
            "grade_group": np.arange(1, 6),
            "positive_cores_percent": np.linspace(0, 100, 1500),
        }
        low = high = score
        for name in missing:
            tried = np.full((len(grid[name]), 4), np.nan)
            tried[:, model.features.index(name)] = grid[name]
            adds = model.factors(tried)[:, model.features.index(name)]
            low, high = low + adds.min(), high + adds.max()
        ends = [thresholds.groups(cuts, value)["cut"]["group"] for value in (low, high)]
        near = min(abs(t - v) for t in cuts["cuts"][0]["thresholds"] for v in (low, high)) < 0.01 * len(
            missing
        )
        if near:
            continue  # the grid of this test is not fine enough
        if ends[0] == ends[1]:
            assert found["group"] == ends[0] and found["possible"] == [ends[0]] and found["reason"] == ""
            given += bool(missing)
        else:
            assert found["group"] is None and {ends[0], ends[1]} <= set(found["possible"])
            assert found["reason"].startswith("withheld: with ")
            held += 1
    assert given > 20 and held > 20


def test_nothing_missing_gives_the_group_of_the_score(model, study):
    opened = load(model)
    row = study.clinical("pro001")
    row = {name: 3 if value is None else value for name, value in row.items()}
    answer = predict(opened, study.files("pro001"), row)
    assert answer["inputs_missing"] == [] and answer["inputs_used"] == 7
    plain = thresholds.groups(opened.thresholds, answer["log_odds"])
    assert {k: v["group"] for k, v in answer["groups"].items()} == {k: v["group"] for k, v in plain.items()}


def test_the_patient_who_moved_to_high(edited, study):
    """Low by hundreds with all inputs; without one of them the patient was high, though nothing about them had changed."""

    def spread(fitted):
        entry = fitted["models"]["multimodal"]["features"]["positive_cores_percent"]
        entry |= {"mean": [10.0, 90.0], "variance": [4.0, 4.0], "seen": [5, 5], "dropped": ""}

    folder = edited("models/naive_bayes.json", spread)
    opened = load(folder)
    row = {**study.clinical("pro001"), "psa": 6, "grade_group": 2, "positive_cores_percent": 10}
    whole = predict(opened, study.files("pro001"), row)
    part = predict(opened, study.files("pro001"), {**row, "positive_cores_percent": None})
    assert whole["log_odds"] < part["log_odds"] - 100 and whole["groups"]["median"]["group"] == "low"
    for cut in part["groups"].values():
        assert cut["group"] is None and cut["possible"][0] == "low" and cut["possible"][-1] == "high"
    assert any("withheld" in sentence for sentence in part["warnings"])


def test_ranges_come_from_the_contract_or_from_the_table_of_an_older_one(model):
    agreed = read_json(model / "configs/contract.json")
    older = {"clinical": {name: {"meaning": "", "expected": ""} for name in agreed["clinical"]}}
    for name in ("psa", "grade_group", "suv_peak", "psma_expression"):
        assert certain.domain(agreed, name) == certain.domain(older, name) != (certain.ANYTHING, False)
