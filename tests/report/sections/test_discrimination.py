"""The band of the ROC curve against a bootstrap of the raw scores."""

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from promet.report.sections.discrimination.bands import GRID, sensitivity


def curve(label, score):
    fpr, tpr, _ = roc_curve(label, score, drop_intermediate=False)
    return {"fpr": fpr.tolist(), "tpr": tpr.tolist()}


@pytest.mark.parametrize("digits", [9, 0])  # 0: many ties
def test_band_is_that_of_resampled_patients(digits):
    random = np.random.default_rng(3)
    yes, no = (random.normal(shift, 1, n).round(digits) for shift, n in ((1.0, 25), (0.0, 40)))
    drawn = []
    for _ in range(3000):
        score = np.r_[random.choice(yes, 25), random.choice(no, 40)]
        again = curve(np.r_[np.ones(25), np.zeros(40)], score)
        drawn.append(np.interp(GRID, again["fpr"], again["tpr"]))
    expected = np.quantile(drawn, [0.05, 0.95], axis=0)
    found = sensitivity(curve(np.r_[np.ones(25), np.zeros(40)], np.r_[yes, no]), 25, 40, 0.9, resamples=3000)
    # a step of the sensitivity is 1/25, and quantiles of two simulations may fall on neighbouring steps
    assert np.abs(np.array(found) - expected).max() <= 0.081
    assert np.abs(np.array(found) - expected).mean() < 0.01


def test_band_of_a_perfect_score_has_no_width():
    low, high = sensitivity({"fpr": [0, 0, 1], "tpr": [0, 1, 1]}, 10, 13, 0.95)
    assert (low == 1).all() and (high == 1).all()
