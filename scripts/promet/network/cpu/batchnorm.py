"""Batch norm after a convolution, as the compiled loops want it: see ``norm_loops.fold``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import nn

from promet.network.cpu import norm_loops

NONE = np.empty(0)


def _fold(
    conv: nn.Conv3d, norm: nn.BatchNorm3d, mean: np.ndarray, variance: np.ndarray, count: int
) -> np.ndarray:
    layers = (conv.bias, norm.weight, norm.bias, norm.running_mean, norm.running_var)
    arrays = (part.detach().numpy() for part in layers)
    return norm_loops.fold(mean, variance, *arrays, norm.momentum, count, norm.eps)


def with_running(conv: nn.Conv3d, norm: nn.BatchNorm3d) -> np.ndarray:
    """With the running statistics: for scoring."""
    return _fold(conv, norm, NONE, NONE, 0)


def folded(
    conv: nn.Conv3d,
    norm: nn.BatchNorm3d,
    parts: Sequence[tuple[int, np.ndarray, np.ndarray]],
    count: int,
    signs: np.ndarray | float = 1.0,
) -> np.ndarray:
    """With the statistics of a batch in parts, which move the running ones.

    Args:
        conv: whose bias goes into the running mean.
        norm: whose running statistics are changed.
        parts: relative size, mean and variance of each part, per channel.
        count: voxels of all parts.
        signs: of the channels, if they were measured with another sign.
    """
    norm.num_batches_tracked.add_(1)
    if len(parts) == 1:
        _, mean, variance = parts[0]
    else:
        sizes, means, variances = map(np.stack, zip(*parts, strict=True))
        share = sizes / sizes.sum()
        mean = share @ means
        variance = share @ (variances + (means - mean) ** 2)
    return _fold(conv, norm, mean * signs, variance, count)


def measured(rows: np.ndarray, conv: nn.Conv3d, norm: nn.BatchNorm3d) -> np.ndarray:
    """Of raw rows (voxels, channels) in training; in scoring with the running statistics."""
    if not norm.training:
        return with_running(conv, norm)
    return folded(conv, norm, [(1, *norm_loops.moments(rows))], len(rows))
