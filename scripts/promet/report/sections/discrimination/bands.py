"""The confidence band of a ROC curve."""

from __future__ import annotations

from typing import Any

import numpy as np

GRID = np.linspace(0, 1, 101)


def sensitivity(
    roc: dict[str, Any], positives: int, negatives: int, level: float, resamples: int = 1000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Pointwise percentile interval of the sensitivity at each 1 - specificity of ``GRID``.

    Patients are resampled within each class, as in the bootstrap interval of the AUC. The curve says how many of
    each class lie between two of its corners, and nothing more is needed: their order within a stretch does not matter.
    Source: the bootstrap of sensitivity at given specificity, Carpenter & Bithell, Stat Med 2000;19:1141; pROC's ci.se.

    Args:
        roc: {fpr, tpr} from (0, 0) to (1, 1), ``promet.evaluation.stats.auc.roc``.
        level: 0.95 for 95 %.

    Returns:
        low, high, shape (101,).
    """
    random = np.random.default_rng(seed)
    curves = []
    for name, size in (("fpr", negatives), ("tpr", positives)):
        share = np.diff(roc[name])
        drawn = random.multinomial(size, share / share.sum(), resamples).cumsum(axis=1) / size
        curves.append(np.column_stack([np.zeros(resamples), drawn]))
    at = np.array([np.interp(GRID, across, up) for across, up in zip(*curves, strict=True)])
    return tuple(np.quantile(at, [(1 - level) / 2, (1 + level) / 2], axis=0))
