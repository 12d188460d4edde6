"""The naive Bayes against scikit-learn, and what missing values may not do."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from sklearn.naive_bayes import GaussianNB

from promet.core.errors import UsageError
from promet.fusion.naive_bayes import NARROW, OWN_SPREAD, NaiveBayes, logistic


def data(seed: int, n: int = 66, p: int = 7) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    y = np.arange(n) % 2
    x = random.normal(size=(n, p)) * random.uniform(0.1, 30, p) + np.outer(y, random.normal(size=p))
    x[:, -1] = np.round(x[:, -1])
    return x, random.permutation(y)


def fitted(x: np.ndarray, y: np.ndarray, rows: np.ndarray | None = None) -> NaiveBayes:
    return NaiveBayes([f"f{j}" for j in range(x.shape[1])]).fit(x, y, rows)


@pytest.mark.parametrize("seed", range(5))
def test_equals_scikit_learn_when_nothing_is_missing(seed: int) -> None:
    x, y = data(seed)
    new, _ = data(seed + 100)
    theirs = GaussianNB().fit(x, y)
    ours = fitted(x, y)
    joint = theirs.predict_joint_log_proba(new)
    np.testing.assert_allclose(ours.log_odds(new), joint[:, 1] - joint[:, 0], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(ours.probability(new), theirs.predict_proba(new)[:, 1], rtol=0, atol=1e-12)
    assert ours.epsilon == pytest.approx(theirs.epsilon_, rel=1e-12)
    np.testing.assert_allclose(ours.variance.T, theirs.var_, rtol=1e-12)


def test_missing_values_drop_their_factor_in_fit_and_prediction() -> None:
    x, y = data(1)
    random = np.random.default_rng(8)
    holes = random.random(x.shape) < 0.3
    gappy = np.where(holes, np.nan, x)
    ours = NaiveBayes([f"f{j}" for j in range(7)], var_smoothing=0).fit(gappy, y)
    # Independent: one scikit-learn model per feature on the rows that have it; the priors are ours, from everyone.
    expected = np.full(len(x), np.log(y.mean() / (1 - y.mean())))
    for j in range(7):
        has = ~holes[:, j]
        one = GaussianNB(var_smoothing=0, priors=[0.5, 0.5]).fit(x[has, j : j + 1], y[has])
        joint = one.predict_joint_log_proba(x[has, j : j + 1])
        expected[has] += joint[:, 1] - joint[:, 0]
    np.testing.assert_allclose(ours.log_odds(gappy), expected, rtol=1e-10, atol=1e-10)
    assert ours.seen[:, 1].tolist() == [int((~holes[y == 1, j]).sum()) for j in range(7)]


def test_nothing_known_gives_the_prior() -> None:
    x, y = data(2)
    ours = fitted(x, np.r_[np.ones(10), np.zeros(56)])
    assert ours.probability(np.full((1, 7), np.nan))[0] == pytest.approx(10 / 66, abs=1e-15)
    assert len(y) == 66


def test_missing_in_all_cases_says_nothing() -> None:
    random = np.random.default_rng(0)
    y = np.repeat([0, 1], 40)
    x = random.normal(size=(80, 1))
    x[y == 1] = np.nan
    ours = fitted(x, y)
    assert roc_auc_score(y, ours.log_odds(x)) == 0.5
    assert "f0" in ours.dropped and "left out" in ours.warnings[0]


def test_missing_in_some_cases_says_nothing() -> None:
    """Equal values in both classes, a third of the cases without: the score may not know who is missing."""
    values = np.linspace(-2, 2, 20)
    x = np.r_[values, values, np.full(10, np.nan)][:, None]
    y = np.r_[np.zeros(20), np.ones(30)]
    ours = fitted(x, y)
    assert roc_auc_score(y, np.round(ours.log_odds(x), 9)) == 0.5


def test_rows_limit_what_one_feature_sees() -> None:
    x, y = data(3)
    rows = np.ones(x.shape, bool)
    rows[:40, 0] = False
    part = fitted(x, y, rows)
    changed = x.copy()
    changed[:40, 0] = 1e6
    assert fitted(changed, y, rows).to_dict() == part.to_dict()
    assert part.seen[0].sum() == 26
    assert part.mean[0, 1] == pytest.approx(x[40:][y[40:] == 1, 0].mean())
    whole = fitted(x, y)
    assert np.array_equal(part.mean[1:], whole.mean[1:])
    assert np.array_equal(part.prior, whole.prior)


@pytest.mark.parametrize("known", [0, 1])
def test_feature_seen_in_fewer_than_two_cases_is_dropped(known: int) -> None:
    x, y = data(4)
    x[np.flatnonzero(y == 1)[known:], 2] = np.nan
    ours = fitted(x, y)
    assert list(ours.dropped) == ["f2"]
    assert (ours.factors(data(5)[0])[:, 2] == 0).all()


def test_round_trip_is_exact() -> None:
    x, y = data(6)
    x[y == 1, 3] = np.nan
    ours = fitted(x, y)
    again = NaiveBayes.from_dict(json.loads(json.dumps(ours.to_dict(), allow_nan=False)))
    new = data(7)[0]
    assert np.array_equal(again.log_odds(new), ours.log_odds(new))
    assert again.to_dict() == ours.to_dict()


@pytest.mark.parametrize("other", [0.1, None])
def test_one_value_in_a_class_is_no_spike(other: float | None) -> None:
    """Ordinal scores are often constant in a small class; the plain density would decide alone (1e9 log-odds)."""
    x, y = data(9)
    x[y == 1, 0] = 2.0
    if other is not None:
        x[y == 0, 0] = other
    ours = fitted(x, y)
    said = [s for s in ours.warnings if s.startswith("f0 has one and the same value")]
    assert len(said) == (1 if other is None else 2)
    assert ours.variance[0, 1] == pytest.approx(x[:, 0].var())
    factor = ours.factors(np.where(np.arange(7) == 0, np.c_[[2.0, 0.1]], np.nan))[:, 0]
    assert factor[0] > 0
    assert abs(factor).max() < 10


def test_two_patients_of_a_class_do_not_decide() -> None:
    """Two PSAs of 6.0 and 6.1 beside forty from 2 to 60: alone they gave log-odds of tens of thousands."""
    psa = np.log(np.r_[np.geomspace(2, 60, 40), 6.0, 6.1])[:, None]
    y = np.r_[np.zeros(40), np.ones(2)]
    plain = GaussianNB(priors=[0.5, 0.5]).fit(psa, y).predict_joint_log_proba(psa)
    assert (plain[:, 1] - plain[:, 0]).min() < -10_000
    ours = fitted(psa, y)
    assert ours.floored.tolist() == [[False, True]] and ours.seen.tolist() == [[40, 2]]
    assert ours.variance[0, 1] == pytest.approx(psa.var(), rel=1e-6)
    assert abs(ours.factors(psa)).max() < 2
    assert ours.warnings == [
        "f0 is known in only 2 fitted patients with the outcome: its spread there is taken from all fitted patients together."
    ]
    assert ours.to_dict()["features"]["f0"]["floored"] == [False, True]


@given(st.integers(0, 10**9), st.integers(1, 10), st.integers(1, 10), st.integers(-6, 6))
@settings(max_examples=150, deadline=None)
def test_no_density_is_a_spike(seed: int, without: int, with_: int, scale: int) -> None:
    """Any two small classes, spread and place as it comes, ties and outliers too."""
    random = np.random.default_rng(seed)
    x = [
        random.normal(random.normal() * 10.0 ** random.integers(-3, 4), 10.0 ** random.integers(-6, 4), n)
        for n in (without, with_)
    ]
    if random.random() < 0.3:
        x = [np.round(one) for one in x]
    x, y = np.concatenate(x)[:, None] * 10.0**scale, np.r_[np.zeros(without), np.ones(with_)]
    ours = fitted(x, y)
    if ours.dropped:
        assert min(without, with_) == 1 or x.var() == 0 or np.ptp(x) == 0
        assert (ours.factors(x) == 0).all()
        return
    own, all_ = np.array([x[y == c].var() for c in (0, 1)]), x.var()
    believed = (np.array([without, with_]) >= OWN_SPREAD) & (own >= NARROW**2 * all_) | (own >= all_)
    assert (ours.floored[0] == ~believed).all()
    # where a class is believed, its variance has the bits of a fit without the floor; elsewhere it is that of all
    assert np.array_equal(ours.variance[0], np.where(believed, own, all_) + ours.epsilon)
    # No class says more against a patient than a density a tenth as wide as all would, a floored one no more than one as wide.
    z2 = (x - ours.mean) ** 2 / all_
    limit = 0.5 * z2 * np.where(ours.floored[0], 1, NARROW**-2) * (1 + 1e-9)
    assert ((x - ours.mean) ** 2 / ours.variance[0] / 2 <= limit).all()
    if ours.floored.all():
        # two floored densities have one variance: the log-odds rise or fall with the value, they never turn
        steps = np.diff(ours.factors(np.sort(x, axis=0))[:, 0])
        assert abs(ours.factors(x)).max() <= 0.5 * z2.max() * (1 + 1e-9)
        assert (np.sign(steps[abs(steps) > 1e-9]) == np.sign(ours.mean[0, 1] - ours.mean[0, 0])).all()
    assert (ours.factors(np.full((2, 1), np.nan)) == 0).all()
    again = NaiveBayes.from_dict(json.loads(json.dumps(ours.to_dict(), allow_nan=False)))
    assert np.array_equal(again.floored, ours.floored) and again.to_dict() == ours.to_dict()


def test_an_own_spread_above_the_limits_keeps_its_bytes() -> None:
    x, y = data(10)
    record = fitted(x, y).to_dict()
    assert not record["warnings"] and not any("floored" in entry for entry in record["features"].values())
    theirs = GaussianNB().fit(x, y)
    for j, entry in enumerate(record["features"].values()):
        assert entry["variance"] == [x[y == c, j].var() + record["epsilon"] for c in (0, 1)]
        assert entry["variance"] == pytest.approx(theirs.var_[:, j].tolist(), rel=1e-12)


@pytest.mark.parametrize(
    ("seen", "share", "floored"),
    [(4, 0.5, True), (5, 0.5, False), (5, 0.11, False), (5, 0.05, True), (4, 2.0, False)],
)
def test_where_the_floor_acts(seen: int, share: float, floored: bool) -> None:
    """Below five values, or below a tenth of the spread of all; a class wider than all is left alone."""
    shape = np.linspace(-1, 1, seen)
    x = np.r_[np.linspace(-2, 2, 60), shape / shape.std() * share * 1.17]
    ours = fitted(x[:, None], np.r_[np.zeros(60), np.ones(seen)])
    assert ours.floored.tolist() == [[False, floored]]


def test_constant_everywhere_is_dropped_with_smoothing_too() -> None:
    y = np.arange(10) % 2
    ours = NaiveBayes(["a", "b"]).fit(np.c_[np.full(10, 3.0), np.arange(10.0)], y)
    assert list(ours.dropped) == ["a"]


def test_constant_everywhere_without_smoothing_is_dropped() -> None:
    y = np.arange(10) % 2
    ours = NaiveBayes(["a", "b"], var_smoothing=0).fit(np.c_[np.full(10, 3.0), np.arange(10.0)], y)
    assert list(ours.dropped) == ["a"]
    assert np.isfinite(ours.log_odds(np.array([[4.0, 1.0]]))).all()


def test_refusals() -> None:
    x, y = data(0)
    with pytest.raises(UsageError, match="0 patients with"):
        fitted(x, np.zeros(66))
    with pytest.raises(UsageError, match="neither 0 nor 1"):
        fitted(x, np.where(y == 1, 2.0, 0.0))
    with pytest.raises(UsageError, match="neither 0 nor 1"):
        fitted(x, np.where(y == 1, np.nan, 0.0))
    x[3, 3] = np.inf
    with pytest.raises(UsageError, match="f3 holds an infinite"):
        fitted(x, y)


def test_logistic_does_not_overflow() -> None:
    with np.errstate(all="raise"):
        assert logistic(np.array([-700.0, 0.0, 700.0])).tolist() == pytest.approx([0, 0.5, 1])
