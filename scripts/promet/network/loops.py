"""Batch norm and max pooling over channels-last maps on CPU, in as few passes over memory as they need.

Maps are (n, z, y, x, channels), rows (voxels, channels), both C-contiguous but for what is said; float32 or float64. Sums over
voxels are float64.
"""

from __future__ import annotations

import numpy as np

from promet.network.compiled import compiled

Array = np.ndarray
BLOCK = 128  # rows summed in the maps' own precision before they join the float64 sum
NOWHERE = 27  # place of a maximum that is the start value itself


@compiled
def moments(rows: Array) -> tuple[Array, Array]:
    """Mean and biased variance of each channel, float64."""
    count, channels = rows.shape
    pivot = rows[0].copy()  # of the values' size, so that the squares keep their digits
    total, squares = np.zeros(channels), np.zeros(channels)
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
    total /= count
    return pivot + total, np.maximum(squares / count - total * total, 0)


@compiled
def normalise(
    rows: Array, mean: Array, factor: Array, shift: Array, lowest: float, out: Array, first: int
) -> None:
    """out[:, first:] = max((rows - mean) * factor + shift, lowest).

    Args:
        rows: raw values.
        mean, factor, shift: (channels,).
        lowest: 0 is a ReLU, minus infinity none.
        out: rows with at least first + channels channels.
        first: channel of out that takes the first one.
    """
    count, channels = rows.shape
    low = rows.dtype.type(lowest)
    for i in range(count):
        row, to = rows[i], out[i, first : first + channels]
        for k in range(channels):
            value = (row[k] - mean[k]) * factor[k] + shift[k]
            to[k] = low if value < low else value


@compiled
def normalise_onto(
    rows: Array, mean: Array, factor: Array, shift: Array, bypass: Array, out: Array, first: int
) -> None:
    """The same without ReLU, and with bypass[:, first:] added."""
    count, channels = rows.shape
    for i in range(count):
        row, to, other = rows[i], out[i, first : first + channels], bypass[i, first : first + channels]
        for k in range(channels):
            to[k] = (row[k] - mean[k]) * factor[k] + shift[k] + other[k]


@compiled
def gradient_sums(
    grad: Array, first: int, rows: Array, mean: Array, factor: Array, shift: Array, lowest: float
) -> tuple[Array, Array]:
    """Sums over the rows of g and of g * (rows - mean), float64; g is grad[:, first:] where ``normalise`` was above lowest."""
    count, channels = rows.shape
    low, zero = rows.dtype.type(lowest), rows.dtype.type(0)
    total, product = np.zeros(channels), np.zeros(channels)
    part, part_product = np.empty_like(mean), np.empty_like(mean)
    for start in range(0, count, BLOCK):
        part[:] = 0
        part_product[:] = 0
        for i in range(start, min(count, start + BLOCK)):
            row, g = rows[i], grad[i, first : first + channels]
            for k in range(channels):
                centred = row[k] - mean[k]
                one = g[k] if centred * factor[k] + shift[k] > low else zero
                part[k] += one
                part_product[k] += one * centred
        for k in range(channels):
            total[k] += part[k]
            product[k] += part_product[k]
    return total, product


@compiled
def gradient(
    grad: Array,
    first: int,
    rows: Array,
    mean: Array,
    factor: Array,
    shift: Array,
    lowest: float,
    slope: Array,
    offset: Array,
    out: Array,
) -> None:
    """out = g * factor + (rows - mean) * slope + offset, with g as in ``gradient_sums``."""
    count, channels = rows.shape
    low, zero = rows.dtype.type(lowest), rows.dtype.type(0)
    for i in range(count):
        row, g, to = rows[i], grad[i, first : first + channels], out[i]
        for k in range(channels):
            centred = row[k] - mean[k]
            one = g[k] if centred * factor[k] + shift[k] > low else zero
            to[k] = one * factor[k] + centred * slope[k] + offset[k]


@compiled
def max_pool(maps: Array, start: float, out: Array, places: Array) -> None:
    """Maximum in windows of 3 at stride 2 with padding 1, not below ``start``; not a number stays that.

    Args:
        maps: (n, z, y, x, channels).
        start: minus infinity, or 0 for a ReLU as well.
        out: filled, (n, Z, Y, X, channels).
        places: filled, uint8 like ``out``: where in the window the first maximum was, 9 z + 3 y + x, or NOWHERE.
    """
    n, depth, high, wide, channels = maps.shape
    for i in range(n):
        for z in range(out.shape[1]):
            for y in range(out.shape[2]):
                for x in range(out.shape[3]):
                    best, at = out[i, z, y, x], places[i, z, y, x]
                    best[:] = start
                    at[:] = NOWHERE
                    left, right = max(2 * x - 1, 0), min(2 * x + 1, wide - 1)
                    for dz in range(max(0, 1 - 2 * z), min(3, depth + 1 - 2 * z)):
                        for dy in range(max(0, 1 - 2 * y), min(3, high + 1 - 2 * y)):
                            row = maps[i, 2 * z + dz - 1, 2 * y + dy - 1]
                            one, two, three = row[left], row[2 * x], row[right]
                            middle = 9 * dz + 3 * dy + 1
                            first = np.uint8(middle + left - 2 * x)
                            second, third = np.uint8(middle), np.uint8(middle + right - 2 * x)
                            for k in range(channels):
                                value, place = best[k], at[k]
                                new = one[k]
                                more = (new > value) | np.isnan(new)
                                value, place = new if more else value, first if more else place
                                new = two[k]
                                more = (new > value) | np.isnan(new)
                                value, place = new if more else value, second if more else place
                                new = three[k]
                                more = (new > value) | np.isnan(new)
                                value, place = new if more else value, third if more else place
                                best[k], at[k] = value, place


@compiled
def max_pool_gradient(grad: Array, places: Array, out: Array) -> None:
    """Add each gradient (n, Z, Y, X, channels) to the voxel of ``out`` (n, z, y, x, channels) that was its window's maximum."""
    zero = grad.dtype.type(0)
    _, deep, tall, broad, channels = grad.shape
    n, depth, high, wide, _ = out.shape
    for i in range(n):
        for z in range(depth):
            for y in range(high):
                for x in range(wide):
                    to = out[i, z, y, x]
                    for oz in range(z // 2, min(deep, (z + 1) // 2 + 1)):
                        for oy in range(y // 2, min(tall, (y + 1) // 2 + 1)):
                            for ox in range(x // 2, min(broad, (x + 1) // 2 + 1)):
                                here = np.uint8(9 * (z - 2 * oz + 1) + 3 * (y - 2 * oy + 1) + x - 2 * ox + 1)
                                g, at = grad[i, oz, oy, ox], places[i, oz, oy, ox]
                                for k in range(channels):
                                    to[k] += g[k] if at[k] == here else zero
