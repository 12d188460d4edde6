"""The best of many runs without skill."""

from itertools import combinations

import numpy as np
import pytest

from promet.report import chance
from promet.report.chance import expected_best, null_distribution, share_reaching


def exact(positives: int, negatives: int) -> np.ndarray:
    n = positives + negatives
    sums = np.array([sum(c) for c in combinations(range(1, n + 1), positives)])
    return np.sort((sums - positives * (positives + 1) / 2) / (positives * negatives))


@pytest.mark.parametrize(
    ("positives", "negatives", "runs"), [(3, 4, 1), (4, 3, 10), (5, 6, 50), (1, 9, 4), (9, 1, 4)]
)
def test_counted_out_as_of_all_orders(positives, negatives, runs):
    every = exact(positives, negatives)
    areas, weights = null_distribution(positives, negatives)
    assert weights == pytest.approx([np.isclose(every, area).mean() for area in areas], abs=1e-14)
    below = (np.arange(len(every) + 1) / len(every)) ** runs
    assert expected_best(positives, negatives, runs) == pytest.approx(
        (every * np.diff(below)).sum(), abs=1e-12
    )
    for best in areas[1:]:
        share = (every >= best - 1e-9).mean()
        assert share_reaching(best, positives, negatives, runs) == pytest.approx(
            1 - (1 - share) ** runs, abs=1e-12
        )


def test_a_perfect_run_of_four_on_ten_patients():
    """One order in 252 is perfect: 1 - (251/252)^4 = 0.0158. Simulated with 200,000 draws it was shown as 0.015."""
    assert share_reaching(1.0, 5, 5, 4) == pytest.approx(1 - (251 / 252) ** 4, abs=1e-15)
    assert share_reaching(0.0, 5, 5, 4) == 1


def test_moments_are_those_of_mann_whitney_and_beyond_the_limit_it_is_normal(monkeypatch):
    areas, weights = null_distribution(60, 41)
    assert weights.sum() == pytest.approx(1, abs=1e-12) and (areas * weights).sum() == pytest.approx(0.5)
    assert ((areas - 0.5) ** 2 * weights).sum() == pytest.approx(102 / (12 * 60 * 41), rel=1e-9)
    counted = share_reaching(0.62, 60, 41, 50), expected_best(60, 41, 50)
    chance.null_distribution.cache_clear()
    monkeypatch.setattr(chance, "EXACT", 0)
    assert share_reaching(0.62, 60, 41, 50) == pytest.approx(counted[0], rel=0.02)
    assert expected_best(60, 41, 50) == pytest.approx(counted[1], abs=0.001)
    chance.null_distribution.cache_clear()


def test_fifty_runs_on_nineteen_patients_reach_four_fifths():
    assert expected_best(9, 10, 50) == pytest.approx(0.80, abs=0.01)


def test_expected_best_from_maxima_of_simulated_groups():
    random = np.random.default_rng(1)
    maxima = random.choice(exact(4, 5), (20_000, 20)).max(axis=1)
    assert expected_best(4, 5, 20) == pytest.approx(maxima.mean(), abs=0.005)
    assert share_reaching(0.9, 4, 5, 20) == pytest.approx((maxima >= 0.9 - 1e-9).mean(), abs=0.015)


def test_concordance_by_chance():
    """What a simulation of 50 networks on 19 validation patients gave: .74 with half having the event, .85 with a fifth."""
    for events, expected in ((10, 0.74), (4, 0.85)):
        time = np.r_[np.arange(1, events + 1) * 4.0, np.full(19 - events, 60.0)]
        null = chance.null_of_concordance(time, time < 48, 48.0)
        assert null[0].mean() == pytest.approx(0.5, abs=0.01)
        assert chance.best_of(null, 50) == pytest.approx(
            expected, abs=0.03
        )  # there some left early: fewer pairs


def test_concordance_of_a_label_is_its_auc():
    """Everyone with the event at one time, everyone else followed beyond: the Mann-Whitney distribution."""
    time, event = np.r_[np.full(5, 10.0), np.full(6, 60.0)], np.r_[np.ones(5), np.zeros(6)]
    null = chance.null_of_concordance(time, event, 48.0)
    assert chance.best_of(null, 50) == pytest.approx(expected_best(5, 6, 50), abs=0.01)
    assert chance.reaching(null, 0.9, 50) == pytest.approx(share_reaching(0.9, 5, 6, 50), rel=0.2)
