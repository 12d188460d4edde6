"""Calibration and decision curves against statsmodels' Logit, scikit-learn and the definitions."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from sklearn.metrics import brier_score_loss
from typer.testing import CliRunner

from promet.evaluation.cli import app
from promet.evaluation.stats import calibration, decision


def sample(seed: int = 0, n: int = 200) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    lp = random.normal(-0.3, 1.3, n)
    return (random.random(n) < expit(0.4 + 0.6 * lp)).astype(float), lp


def expit(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("seed", range(3))
def test_intercept_and_slope_equal_logit(seed: int) -> None:
    y, lp = sample(seed)
    found = calibration.record(y, expit(lp), bootstrap=100)
    theirs = sm.Logit(y, sm.add_constant(lp)).fit(disp=0, tol=1e-12)
    assert found["slope"]["value"] == pytest.approx(theirs.params[1], rel=1e-8)
    assert found["slope"]["intercept"] == pytest.approx(theirs.params[0], rel=1e-8)
    assert found["slope"]["se"] == pytest.approx(theirs.bse[1], rel=1e-8)
    assert (found["slope"]["low"], found["slope"]["high"]) == pytest.approx(tuple(theirs.conf_int()[1]))
    large = sm.Logit(y, np.ones(len(y)), offset=lp).fit(disp=0, tol=1e-12)
    assert found["intercept"]["value"] == pytest.approx(large.params[0], rel=1e-7)
    assert found["intercept"]["se"] == pytest.approx(large.bse[0], rel=1e-8)
    # in the large: with it, mean probability = observed share
    assert expit(lp + found["intercept"]["value"]).mean() == pytest.approx(y.mean(), abs=1e-10)


def test_brier_and_ratio() -> None:
    y, lp = sample()
    found = calibration.record(y, expit(lp), bootstrap=100)
    brier = brier_score_loss(y, expit(lp))
    assert found["brier"] == pytest.approx(brier)
    assert found["brier_scaled"] == pytest.approx(1 - brier / brier_score_loss(y, np.full(200, y.mean())))
    ratio = found["expected_observed"]
    assert ratio["ratio"] == pytest.approx(expit(lp).mean() / y.mean())
    assert math.log(ratio["high"] / ratio["low"]) == pytest.approx(
        2 * 1.959963985 * math.sqrt((1 - y.mean()) / y.sum())
    )
    assert sum(g["n"] for g in found["groups"]) == 200 and len(found["groups"]) == 5
    assert sum(g["positives"] for g in found["groups"]) == y.sum()


def test_recalibrated_on_the_same_patients_is_calibrated() -> None:
    y, lp = sample(2)
    by = calibration.recalibration(y, lp)
    after = calibration.record(y, expit(calibration.recalibrated(lp, by)), bootstrap=100)
    assert by["usable"] and after["slope"]["value"] == pytest.approx(1)
    assert after["intercept"]["value"] == pytest.approx(0, abs=1e-9)
    assert after["expected_observed"]["ratio"] == pytest.approx(1)
    assert after["ici"] < calibration.record(y, expit(lp), bootstrap=100)["ici"]


def test_curve_of_a_right_model_is_the_diagonal() -> None:
    random = np.random.default_rng(0)
    p = random.uniform(0.05, 0.95, 4000)
    found = calibration.record((random.random(4000) < p).astype(float), p, bootstrap=100)
    curve = {k: np.array(v) for k, v in found["curve"].items() if k != "resamples"}
    assert found["ici"] < 0.03 and np.abs(curve["observed"] - curve["probability"]).max() < 0.08
    inside = (curve["low"] <= curve["observed"]) & (curve["observed"] <= curve["high"])
    assert inside.mean() > 0.9 and (curve["high"] - curve["low"]).mean() < 0.1


def test_log_odds_keep_what_rounding_loses() -> None:
    y, lp = sample()
    lp = lp * 40
    p = expit(lp)
    assert (p == 1).any()
    assert calibration.record(y, p, bootstrap=100)["slope"]["value"] is None
    found = calibration.record(y, p, lp, bootstrap=100)["slope"]
    plain = calibration.record(y, expit(lp / 40), bootstrap=100)["slope"]
    assert found["value"] * 40 == pytest.approx(plain["value"], rel=1e-8)


def test_extreme_log_odds_have_an_intercept_too() -> None:
    """Naive Bayes says 30 and -30; the mean probability must become the observed share all the same."""
    y, lp = sample(3, 40)
    wild = lp * 30
    found = calibration.record(y, expit(wild), wild, bootstrap=100)["intercept"]
    assert found["value"] is not None and found["se"] > 0
    assert expit(wild + found["value"]).mean() == pytest.approx(y.mean(), abs=1e-12)
    hopeless = np.where(np.arange(40) < 20, 800.0, -800.0)
    label = (np.arange(40) % 2).astype(float)
    nothing = calibration.record(label, expit(hopeless / 30), hopeless, bootstrap=100)
    assert nothing["intercept"]["value"] is None and any("so extreme" in n for n in nothing["notes"])


def test_a_crowd_at_one_probability_has_a_curve() -> None:
    """60 patients, 45 of them at 0.1: their neighbours are all equal, the curve is their share there (as in R)."""
    p = np.r_[np.full(45, 0.1), np.linspace(0.2, 0.8, 15)]
    y = np.r_[np.repeat([1.0, 0.0], [5, 40]), np.tile([0.0, 1.0, 1.0], 5)]
    found = calibration.record(y, p, bootstrap=100)
    assert found["curve"]["observed"][0] == pytest.approx(5 / 45) and found["ici"] is not None
    assert not any("smooth" in note for note in found["notes"])
    shuffled = np.random.default_rng(0).permutation(60)
    assert calibration.record(y[shuffled], p[shuffled], bootstrap=100)["ici"] == pytest.approx(
        found["ici"], abs=1e-12
    )


def test_curve_is_seeded() -> None:
    y, lp = sample(1, 60)
    one, two, other = (calibration.record(y, expit(lp), bootstrap=100, seed=s)["curve"] for s in (1, 1, 2))
    assert one == two and one["low"] != other["low"] and one["observed"] == other["observed"]


@pytest.mark.parametrize(
    ("label", "probability", "word"),
    [
        ([], [], "Nobody"),
        ([1, 0], [0.4, 0.2], "Only 2"),
        ([1, 1, 1, 1], [0.4, 0.2, 0.1, 0.3], "with the outcome"),
        ([0, 0, 0, 0], [0.4, 0.2, 0.1, 0.3], "without the outcome"),
        ([0, 1, 0, 1], [0.4, 0.4, 0.4, 0.4], "same for everyone"),
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], "infinite"),
        ([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.9], "infinite"),
        ([1, 1, 0, 0], [0.1, 0.2, 0.8, 0.9], "infinite"),
        ([0, 1, 1, 0], [0.0, 0.2, 0.8, 1.0], "exactly 0 or 1"),
        ([0, 1, 1, 0], [0.1, 0.2, 1.8, 0.3], "no probabilities"),
        ([0, 1, 1, 0], [0.1, 0.2, np.inf, 0.3], "no probabilities"),
        ([0, 1, 1, 0], [np.nan] * 4, "Nobody"),
        ([0, 1] * 10, [0.5] * 10 + [0.4] * 10, "only 2 different probabilities"),
        ([0, 1] * 10, [0.5] * 20, "only 1 different probability."),
        ([0, 1] * 4, np.linspace(0.1, 0.8, 8), "at least 10 patients, here are 8"),
    ],
)
def test_degenerate_inputs_give_a_sentence(label: list, probability: list, word: str) -> None:
    found = calibration.record(np.array(label, float), np.array(probability, float), bootstrap=100)
    assert any(word in note for note in found["notes"]), found["notes"]
    if "different" not in word and "at least" not in word:
        assert found["slope"]["value"] is None and found["slope"]["low"] is None
    assert found["curve"]["observed"] == []
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("label", "score", "word"),
    [
        ([0, 1, 0], [1, 2, 3], "two patients of each"),
        ([0, 0, 1, 1], [1, 2, 3, 4], "infinite"),
        ([0, 1, 0, 1, 0], [4, 1, 3, 2, 1.5], "turn the order"),
        ([0, 1, 0, 1], [1, 1, 1, 1], "same for everyone"),
    ],
)
def test_unusable_recalibration_says_why(label: list, score: list, word: str) -> None:
    by = calibration.recalibration(np.array(label, float), np.array(score, float))
    assert not by["usable"] and word in by["reason"]


def test_net_benefit_is_its_definition() -> None:
    y, lp = sample(3, 80)
    p, q = expit(lp), np.round(expit(-lp), 2)
    found = decision.curves(y, {"a": p, "b": q})
    for name, x in (("a", p), ("b", q)):
        for t, benefit in zip(found["thresholds"], found["models"][name]["net_benefit"], strict=True):
            hits, alarms = ((x >= t) & (y == 1)).sum(), ((x >= t) & (y == 0)).sum()
            assert benefit == pytest.approx(hits / 80 - alarms / 80 * t / (1 - t), abs=1e-12)
    assert found["treat_all"][49] == pytest.approx(2 * y.mean() - 1)
    assert set(found["treat_none"]) == {0}
    best = np.maximum(found["treat_all"], 0)
    above = np.array(found["models"]["a"]["net_benefit"]) > best + 1e-12
    assert found["models"]["a"]["better_steps"] == above.sum() > 0
    assert found["models"]["a"]["better_from"] == np.array(found["thresholds"])[above].min()


def test_decision_curve_degenerate() -> None:
    y = np.array([0, 1, 1, np.nan, 0])
    p = np.array([0.2, np.nan, 0.3, 0.4, 0.1])
    found = decision.curves(y, {"a": p, "b": p})
    assert (found["n"], found["missing"]) == (3, 1) and found["models"]["b"]["net_benefit"]
    for label, prob, word in [
        ([1, 0], [0.1, 0.2], "Only 2"),
        ([1, 1, 1], [0.1, 0.2, 0.3], "with the outcome"),
        ([1, 0, 1], [0.1, 0.2, 1.3], "no probabilities"),
    ]:
        nothing = decision.curves(np.array(label, float), {"a": np.array(prob)})
        assert any(word in note for note in nothing["notes"])
        assert nothing["treat_all"] == [] and nothing["models"]["a"]["better_steps"] is None
        json.dumps(nothing, allow_nan=False)


def test_commands(tmp_path) -> None:
    y, lp = sample(4, 60)
    path = tmp_path / "some table.csv"
    pd.DataFrame({"y": y.astype(int), "p": expit(lp), "q": expit(0.5 * lp)}).to_csv(path, index=False)

    def call(*arguments: str) -> str:
        result = CliRunner().invoke(app, [arguments[0], str(path), "--label", "y", *arguments[1:]])
        assert result.exit_code == 0, result.output
        return result.stdout

    found = json.loads(call("calibration", "--probability", "p", "--json"))
    assert found["n"] == 60 and found["slope"]["value"] == pytest.approx(
        calibration.slope(y, lp)[0]["value"], rel=1e-6
    )
    assert f"{found['slope']['value']:.3f}" in call("calibration", "--probability", "p")
    both = json.loads(call("decision-curve", "--probability", "p", "--probability", "q", "--json"))
    assert set(both["models"]) == {"p", "q"}
    assert "everyone" in call("decision-curve", "--probability", "p")
