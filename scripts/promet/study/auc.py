"""The area under the ROC curve, for every room; numpy only, so that a training job starts fast.

Under censoring it is weighted (evaluation.stats.horizon); intervals and tests stand in evaluation.stats.auc.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def auc(label: ArrayLike, score: ArrayLike) -> float:
    """P(score of a positive > score of a negative) + half P(equal): ``mann_whitney_u`` over all pairs.

    Args:
        label: (n,) of 0 and 1, both present.
        score: (n,) any finite numbers.
    """
    n1 = int((np.asarray(label) == 1).sum())
    return mann_whitney_u(label, score) / (n1 * (np.size(label) - n1))


def mann_whitney_u(label: ArrayLike, score: ArrayLike) -> float:
    """U of the positives: pairs in which the positive scores higher, ties one half.

    Args:
        label: (n,), 1 = positive, anything else negative.
        score: (n,) any finite numbers.
    """
    positive = np.asarray(label) == 1
    _, place, ties = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(ties) - (ties - 1) / 2)[place]  # mean rank of each group of ties
    n1 = int(positive.sum())
    return float(ranks[positive].sum() - n1 * (n1 + 1) / 2)
