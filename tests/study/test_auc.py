"""The one AUC, against scikit-learn's and by counting pairs."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu
from sklearn.metrics import roc_auc_score

from promet.study.auc import auc, mann_whitney_u


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("decimals", [0, 1, 12])  # many ties, some, none
def test_is_scikit_learns(seed: int, decimals: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.r_[0, 1, rng.integers(0, 2, 30)]
    scores = np.round(rng.normal(size=32) + labels, decimals)
    assert auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-14)
    u = mann_whitney_u(labels, scores)
    assert u == mannwhitneyu(scores[labels == 1], scores[labels == 0], method="asymptotic").statistic
    pairs = np.subtract.outer(scores[labels == 1], scores[labels == 0])
    assert auc(labels, scores) == ((pairs > 0).sum() + (pairs == 0).sum() / 2) / pairs.size  # to the bit
