"""The naive Bayes with weights for patients who left follow-up: R's values (where they lie beside the checkout) and scikit-learn's."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.naive_bayes import GaussianNB

from promet.core.errors import UsageError
from promet.fusion.naive_bayes import NaiveBayes
from promet.study.follow_up import known

ROOT = Path(__file__).parents[2]
ORACLES = next((p for p in (ROOT / "shared/oracles", ROOT.parent / "shared/oracles") if p.is_dir()), None)


def data(seed: int, n: int = 60, p: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    y = random.permutation(np.arange(n) % 2)
    x = random.normal(size=(n, p)) * 3 + np.outer(y, random.normal(size=p))
    return x, y, random.uniform(1, 3, n)


@pytest.mark.skipif(ORACLES is None, reason="R's values (shared/oracles) are not on this machine")
def test_equals_r() -> None:
    wanted = json.loads((ORACLES / "naive_bayes_ipcw.json").read_text())["nb_40"]
    with open(ORACLES / wanted["file"], newline="") as handle:
        rows = list(csv.DictReader(handle))
    time, event = (np.array([float(row[name]) for row in rows]) for name in ("months", "event"))
    x = np.array([[float(row[name] or "nan") for name in wanted["features"]] for row in rows])
    who = known(time, event, wanted["tau"])
    assert who is not None
    assert who.weight == pytest.approx(wanted["weights"], abs=1e-9)
    ours = NaiveBayes(wanted["features"], wanted["var_smoothing"]).fit(x, who.case, weights=who.weight)
    assert ours.prior[1] == pytest.approx(wanted["kaplan_meier"], abs=1e-9)
    assert ours.epsilon == pytest.approx(wanted["epsilon"], rel=1e-9)
    for j, name in enumerate(wanted["features"]):
        theirs = wanted["densities"][name]
        assert ours.seen[j].tolist() == theirs["seen"]
        assert ours.mean[j] == pytest.approx(theirs["mean"], abs=1e-9)
        assert ours.effective[j] == pytest.approx(theirs["n_effective"], abs=1e-9)
        own = ours.variance[j] - ours.epsilon
        assert own == pytest.approx(theirs["variance_without_epsilon"], abs=1e-9)
    assert ours.log_odds(x) == pytest.approx(wanted["log_odds"], abs=1e-9)
    assert ours.probability(x) == pytest.approx(wanted["probability"], abs=1e-9)
    again = NaiveBayes.from_dict(json.loads(json.dumps(ours.to_dict())))
    assert again.log_odds(x).tolist() == ours.log_odds(x).tolist()
    assert again.to_dict() == ours.to_dict()


@pytest.mark.parametrize("seed", range(4))
def test_equals_scikit_learn_with_sample_weight(seed: int) -> None:
    x, y, w = data(seed)
    new, _, _ = data(seed + 50)
    w[:7] = 0
    ours = NaiveBayes(list("abcd"), var_smoothing=0).fit(x, np.where(w > 0, y, np.nan), weights=w)
    theirs = GaussianNB(var_smoothing=0).fit(x[w > 0], y[w > 0], sample_weight=w[w > 0])
    joint = theirs.predict_joint_log_proba(new)
    np.testing.assert_allclose(ours.log_odds(new), joint[:, 1] - joint[:, 0], rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(ours.variance.T, theirs.var_, rtol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_weights_of_one_change_no_bit(seed: int) -> None:
    """Neither against the fit without weights, nor against numpy's own mean and variance."""
    x, y, _ = data(seed)
    x[np.random.default_rng(seed).random(x.shape) < 0.2] = np.nan
    plain, weighted = (
        NaiveBayes(list("abcd")).fit(x, y, weights=weights) for weights in (None, np.ones(len(y)))
    )
    assert weighted.log_odds(x).tolist() == plain.log_odds(x).tolist()
    assert weighted.effective.tolist() == weighted.seen.tolist()
    for j in range(4):
        for c in (0, 1):
            values = x[(y == c) & ~np.isnan(x[:, j]), j]
            assert plain.mean[j, c] == values.mean()
            assert plain.variance[j, c] == values.var() + plain.epsilon
    assert plain.prior.tolist() == [(y == c).sum() / len(y) for c in (0, 1)]
    assert not any("effective" in feature for feature in plain.to_dict()["features"].values())


def test_the_floor_and_the_minimum_count_patients_not_weights() -> None:
    x = np.array([[1.0], [1.2], [1.1], [5.0], [6.0], [7.0], [8.0], [9.0]])
    y = np.array([0, 0, 0, 1, 1, 1, 1, 1])
    few = NaiveBayes(["a"]).fit(x, y, weights=np.where(y, 1.0, 30.0))
    assert few.floored.tolist() == [[True, False]]
    alone = NaiveBayes(["a"]).fit(x, y, weights=np.r_[50.0, 0, 0, np.ones(5)])
    assert list(alone.dropped) == ["a"]
    with pytest.raises(UsageError, match="one of each"):
        NaiveBayes(["a"]).fit(x, y, weights=(y == 1).astype(float))
