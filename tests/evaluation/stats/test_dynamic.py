"""AUC over time, Uno's C and the Brier score against their definitions written out pair by pair."""

import json

import numpy as np
import pytest

from promet.evaluation import survive
from promet.evaluation.settings import Evaluation
from promet.evaluation.stats import dynamic
from promet.study import concordance


def cohort(seed: int, n: int = 40, censored: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    score = random.normal(size=n)
    time = random.exponential(40 * np.exp(-0.8 * score))
    gone = random.uniform(10, 100, n) if censored else np.full(n, np.inf)
    return np.minimum(time, gone), (time <= gone).astype(float), score


def still_observed(time: np.ndarray, event: np.ndarray, at: float) -> float:
    """Kaplan-Meier of the censoring, times without ties."""
    left = 1.0
    for t in np.sort(time[(event == 0) & (time <= at)]):
        left *= 1 - 1 / (time >= t).sum()
    return left


@pytest.mark.parametrize("seed", range(4))
def test_auc_is_its_definition(seed: int) -> None:
    time, event, score = cohort(seed)
    for at in (15.0, 30.0):
        cases, controls = np.flatnonzero((time <= at) & (event == 1)), np.flatnonzero(time > at)
        weight = {i: 1 / still_observed(time, event, time[i]) for i in cases}
        won = sum(weight[i] * (score[i] > score[j]) for i in cases for j in controls)
        expected = won / (sum(weight.values()) * len(controls))
        assert dynamic.auc_at(time, event, score, at) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_uno_is_its_definition(seed: int) -> None:
    time, event, score = cohort(seed)
    won = total = 0.0
    for i in np.flatnonzero((event == 1) & (time < 40)):
        weight = still_observed(time, event, time[i]) ** -2
        later = time > time[i]
        won += weight * (score[i] > score[later]).sum()
        total += weight * later.sum()
    assert concordance.uno(time, event, score, 40.0) == pytest.approx(won / total, rel=1e-9)


def test_brier_is_its_definition() -> None:
    time, event, score = cohort(5)
    p = 1 / (1 + np.exp(-score))
    at, total = 30.0, 0.0
    for i in range(len(time)):
        if time[i] <= at and event[i] == 1:
            total += (1 - p[i]) ** 2 / still_observed(time, event, time[i])
        elif time[i] > at:
            total += p[i] ** 2 / still_observed(time, event, at)
    found = dynamic.record(time, event, score, at, p, bootstrap=100)["brier"]
    assert found["value"] == pytest.approx(total / len(time), rel=1e-9)
    assert found["scaled"] == pytest.approx(1 - found["value"] / found["reference"])


def test_without_censoring_it_is_the_plain_thing() -> None:
    time, event, score = cohort(6, censored=False)
    assert concordance.uno(time, event, score, None) == pytest.approx(
        survive.concordance(time, event, score)[0]
    )
    brier = dynamic.record(time, event, score, 30.0, np.full(40, 0.3), bootstrap=100)["brier"]
    share = (time <= 30).mean()
    assert brier["value"] == pytest.approx(share * 0.7**2 + (1 - share) * 0.3**2)
    assert brier["reference"] == pytest.approx(share * (1 - share))


def test_record_has_intervals_and_is_seeded() -> None:
    time, event, score = cohort(7, 60)
    p = 1 / (1 + np.exp(-score))
    one, two = (dynamic.record(time, event, score, 48.0, p, bootstrap=100) for _ in range(2))
    assert one == two
    assert [row["time"] for row in one["auc"]] == [12, 24, 36, 48]
    for row in [*one["auc"], one["uno"] | {"auc": one["uno"]["value"]}]:
        assert row["low"] < row["auc"] < row["high"]
    assert one["auc"][0]["cases"] == ((time <= 12) & (event == 1)).sum()
    assert not one["notes"] and "censored" in one["censoring"] and "Death" in one["competing"]


@pytest.mark.parametrize(
    ("time", "event", "score", "word"),
    [
        ([5, 6, 7, 8], [0, 0, 0, 0], [1, 2, 3, 4], "Only 0 events"),
        ([5, 6, 7, 8], [1, 0, 0, 0], [1, 2, 3, 4], "Only 1 event"),
        ([50, 60, 70, 80], [1, 1, 1, 1], [1, 2, 3, 4], "Only 0 events"),
        ([5, 6], [1, 1], [1, 2], "among 2 patients"),
        ([5, 6, 7, 8], [1, 1, 1, 0], [2, 2, 2, 2], "same for everyone"),
        ([5, 6, 47, 47], [1, 1, 0, 0], [4, 3, 2, 1], "No AUC at 48"),
        ([5, 6, 47, 47], [1, 1, 0, 0], [4, 3, 2, 1], "Nobody is followed to 48"),
    ],
)
def test_degenerate_inputs_give_a_sentence(time: list, event: list, score: list, word: str) -> None:
    found = dynamic.record(time, event, score, 48.0, np.full(len(time), 0.4), bootstrap=100)
    assert any(word in note for note in found["notes"]), found["notes"]
    assert found["uno"]["value"] is None
    json.dumps(found, allow_nan=False)


def test_study_looks_beyond_the_horizon() -> None:
    time, event, score = cohort(8, 40)
    rows = {
        f"P{i}": {"patient": f"P{i}", "months": str(t), "progression": str(int(e))}
        for i, (t, e) in enumerate(zip(time, event, strict=True))
    }
    scores = {f"P{i}": ("metachronous", float(s)) for i, s in enumerate(score)}
    found = survive.study(rows, scores, Evaluation(bootstrap=100, horizon_months=36))
    expected = dynamic.record(time, event, score, 36.0, 1 / (1 + np.exp(-score)), bootstrap=100)
    assert found["dynamic"]["auc"] == expected["auc"] and found["dynamic"]["brier"] == expected["brier"]
    assert found["dynamic"]["auc"][-1]["controls"] == (time > 36).sum() > 0


def test_log_odds_keep_what_rounding_of_the_probability_loses() -> None:
    time, event, score = cohort(9, 40)
    wild = 40 * score
    p = 1 / (1 + np.exp(-np.clip(wild, -700, 700)))
    assert (p == 1).any()
    lost = dynamic.calibrated(time, event, p, 30.0)
    assert lost["slope"]["value"] is None and any("exactly 0 or 1" in note for note in lost["notes"])
    kept = dynamic.calibrated(time, event, p, 30.0, 0.95, wild)["slope"]
    plain = dynamic.calibrated(time, event, 1 / (1 + np.exp(-score)), 30.0)["slope"]
    assert kept["value"] * 40 == pytest.approx(plain["value"], rel=1e-8)
