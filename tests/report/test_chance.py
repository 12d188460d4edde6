"""The best of many runs without skill."""

from itertools import combinations

import numpy as np
import pytest

from promet.report.chance import expected_best, null_aucs, share_reaching


def exact(positives: int, negatives: int) -> np.ndarray:
    n = positives + negatives
    sums = np.array([sum(c) for c in combinations(range(1, n + 1), positives)])
    return np.sort((sums - positives * (positives + 1) / 2) / (positives * negatives))


@pytest.mark.parametrize(("positives", "negatives", "runs"), [(3, 4, 1), (3, 4, 10), (5, 6, 50)])
def test_expected_best_is_that_of_all_orders(positives, negatives, runs):
    areas = exact(positives, negatives)
    below = (np.arange(len(areas) + 1) / len(areas)) ** runs
    assert expected_best(positives, negatives, runs) == pytest.approx(
        (areas * np.diff(below)).sum(), abs=0.004
    )


def test_variance_is_that_of_mann_whitney():
    assert null_aucs(9, 10).var() == pytest.approx(20 / (12 * 9 * 10), rel=0.02)


def test_fifty_runs_on_nineteen_men_reach_four_fifths():
    assert expected_best(9, 10, 50) == pytest.approx(0.80, abs=0.01)


def test_expected_best_from_maxima_of_simulated_groups():
    random = np.random.default_rng(1)
    maxima = random.choice(exact(4, 5), (20_000, 20)).max(axis=1)
    assert expected_best(4, 5, 20) == pytest.approx(maxima.mean(), abs=0.005)
    assert share_reaching(0.9, 4, 5, 20) == pytest.approx((maxima >= 0.9 - 1e-9).mean(), abs=0.015)


def test_same_every_time():
    assert expected_best(9, 10, 50) == expected_best(9, 10, 50)
