"""Batch norm over channels-last maps on CPU, in as few passes over memory as it needs.

Maps are (n, z, y, x, channels), rows (voxels, channels), both C-contiguous but for what is said; float32 or float64. Sums over
voxels are float64.
"""

from __future__ import annotations

import numpy as np

from promet.network.compiled import compiled

Array = np.ndarray
BLOCK = 128  # rows summed in the maps' own precision before they join the float64 sum


@compiled
def add_moments(rows: Array, pivot: Array, total: Array, squares: Array) -> None:
    """Add each channel's sum of rows - pivot to total, and that of its squares to squares; both float64."""
    count, channels = rows.shape
    part, part_squares = np.empty_like(pivot), np.empty_like(pivot)
    for start in range(0, count, BLOCK):
        part[:] = 0
        part_squares[:] = 0
        for i in range(start, min(count, start + BLOCK)):
            row = rows[i]
            for k in range(channels):
                value = row[k] - pivot[k]
                part[k] += value
                part_squares[k] += value * value
        for k in range(channels):
            total[k] += part[k]
            squares[k] += part_squares[k]


@compiled
def as_moments(pivot: Array, total: Array, squares: Array, count: int) -> tuple[Array, Array]:
    """Mean and biased variance from the sums above."""
    mean = total / count
    return pivot + mean, np.maximum(squares / count - mean * mean, 0)


@compiled
def moments(rows: Array) -> tuple[Array, Array]:
    """Mean and biased variance of each channel, float64."""
    pivot = rows[0].copy()  # of the values' size, so that the squares keep their digits
    total, squares = np.zeros(rows.shape[1]), np.zeros(rows.shape[1])
    add_moments(rows, pivot, total, squares)
    return as_moments(pivot, total, squares, len(rows))


@compiled
def fold(
    mean: Array,
    variance: Array,
    bias: Array,
    scale: Array,
    shift: Array,
    running_mean: Array,
    running_variance: Array,
    momentum: float,
    count: int,
    eps: float,
) -> Array:
    """What the loops below need of a batch norm: mean, factor, shift and 1 / standard deviation, (4, channels).

    The bias of the convolution before it is never added: the norm takes it away again, so it moves the running mean and nothing else.

    Args:
        mean, variance: of the batch, float64; unused if count is 0.
        bias: of the convolution.
        scale, shift: the norm's weight and bias.
        running_mean, running_variance: the norm's, changed unless count is 0, which takes them as they are.
        momentum, eps: the norm's.
        count: voxels measured.
    """
    out = np.empty((4, bias.size), bias.dtype)
    for k in range(bias.size):
        if count:
            unbiased = variance[k] * count / (count - 1)
            running_mean[k] += momentum * (mean[k] + bias[k] - running_mean[k])
            running_variance[k] += momentum * (unbiased - running_variance[k])
            centre, spread = mean[k], variance[k]
        else:
            centre, spread = np.float64(running_mean[k]) - bias[k], np.float64(running_variance[k])
        inverse = 1 / np.sqrt(spread + eps)
        out[0, k], out[1, k], out[2, k], out[3, k] = centre, scale[k] * inverse, shift[k], inverse
    return out


@compiled
def normalise(rows: Array, norm: Array, lowest: float, out: Array, first: int) -> None:
    """out[:, first:] = max((rows - mean) * factor + shift, lowest).

    Args:
        rows: raw values.
        norm: see ``fold``.
        lowest: 0 is a ReLU, minus infinity none.
        out: rows with at least first + channels channels.
        first: channel of out that takes the first one.
    """
    count, channels = rows.shape
    mean, factor, shift = norm[0], norm[1], norm[2]
    low = rows.dtype.type(lowest)
    for i in range(count):
        row, to = rows[i], out[i, first : first + channels]
        for k in range(channels):
            value = (row[k] - mean[k]) * factor[k] + shift[k]
            to[k] = low if value < low else value


@compiled
def _normalise_onto(rows: Array, norm: Array, lowest: float, bypass: Array, out: Array, first: int) -> None:
    """The same with bypass[:, first:] added first."""
    count, channels = rows.shape
    mean, factor, shift = norm[0], norm[1], norm[2]
    low = rows.dtype.type(lowest)
    for i in range(count):
        row, to, other = rows[i], out[i, first : first + channels], bypass[i, first : first + channels]
        for k in range(channels):
            value = (row[k] - mean[k]) * factor[k] + shift[k] + other[k]
            to[k] = low if value < low else value


@compiled
def join(
    one: Array, two: Array, norm_one: Array, norm_two: Array, bypass: Array, lowest: float, out: Array
) -> None:
    """Rows of two maps, normalised, side by side.

    Args:
        one, two: raw values.
        norm_one, norm_two: see ``fold``.
        bypass: added, like out; no rows for none.
        lowest: see ``normalise``.
        out: filled.
    """
    for start in range(0, len(out), BLOCK):  # both halves of a few rows: out is written in one go
        end = min(len(out), start + BLOCK)
        some = out[start:end]
        if len(bypass):
            other = bypass[start:end]
            _normalise_onto(one[start:end], norm_one, lowest, other, some, 0)
            _normalise_onto(two[start:end], norm_two, lowest, other, some, one.shape[1])
        else:
            normalise(one[start:end], norm_one, lowest, some, 0)
            normalise(two[start:end], norm_two, lowest, some, one.shape[1])


@compiled
def gradient_sums(
    grad: Array, first: int, rows: Array, norm: Array, lowest: float, total: Array, product: Array
) -> None:
    """Sums over voxels that the gradient of a batch norm needs: of the gradient, and of its product with (rows - mean).

    Args:
        grad: of ``normalise``'s out.
        first, rows, norm, lowest: as there.
        total, product: (channels,) float64, added to.
    """
    some, channels = rows.shape
    mean, factor, shift = norm[0], norm[1], norm[2]
    low, zero = rows.dtype.type(lowest), rows.dtype.type(0)
    part, part_product = np.empty_like(mean), np.empty_like(mean)
    for start in range(0, some, BLOCK):
        part[:] = 0
        part_product[:] = 0
        for i in range(start, min(some, start + BLOCK)):
            row, g = rows[i], grad[i, first : first + channels]
            for k in range(channels):
                centred = row[k] - mean[k]
                one = g[k] if centred * factor[k] + shift[k] > low else zero
                part[k] += one
                part_product[k] += one * centred
        for k in range(channels):
            total[k] += part[k]
            product[k] += part_product[k]


@compiled
def gradient_shares(
    norm: Array, total: Array, product: Array, count: int
) -> tuple[Array, Array, Array, Array]:
    """Gradients of the norm's weight and bias; slope and offset of what each of ``count`` voxels gets for its share in the statistics."""
    mean, factor, _, inverse = norm
    weight, bias = np.empty_like(mean), np.empty_like(mean)
    slope, offset = np.empty_like(mean), np.empty_like(mean)
    for k in range(mean.size):
        weight[k], bias[k] = product[k] * inverse[k], total[k]
        slope[k] = -factor[k] * product[k] * inverse[k] * inverse[k] / count
        offset[k] = -factor[k] * total[k] / count
    return weight, bias, slope, offset


@compiled
def gradient(
    grad: Array, first: int, rows: Array, norm: Array, lowest: float, slope: Array, offset: Array
) -> None:
    """Write over the raw rows with their gradient: g * factor + (rows - mean) * slope + offset.

    g is grad[:, first:] where ``normalise`` was above lowest, else 0.
    """
    count, channels = rows.shape
    mean, factor, shift = norm[0], norm[1], norm[2]
    low, zero = rows.dtype.type(lowest), rows.dtype.type(0)
    for i in range(count):
        row, g = rows[i], grad[i, first : first + channels]
        for k in range(channels):
            centred = row[k] - mean[k]
            one = g[k] if centred * factor[k] + shift[k] > low else zero
            row[k] = one * factor[k] + centred * slope[k] + offset[k]


@compiled
def norm_gradient(grad: Array, rows: Array, norm: Array, lowest: float) -> tuple[Array, Array]:
    """Gradients of the norm's weight and bias; that of the raw rows takes their place."""
    total, product = np.zeros(rows.shape[1]), np.zeros(rows.shape[1])
    gradient_sums(grad, 0, rows, norm, lowest, total, product)
    weight, bias, slope, offset = gradient_shares(norm, total, product, len(rows))
    gradient(grad, 0, rows, norm, lowest, slope, offset)
    return weight, bias
