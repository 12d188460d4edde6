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
CELL = 8  # numbers copied at once


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
def normalise_onto(rows: Array, norm: Array, bypass: Array, out: Array, first: int) -> None:
    """The same without ReLU, and with bypass[:, first:] added."""
    count, channels = rows.shape
    mean, factor, shift = norm[0], norm[1], norm[2]
    for i in range(count):
        row, to, other = rows[i], out[i, first : first + channels], bypass[i, first : first + channels]
        for k in range(channels):
            to[k] = (row[k] - mean[k]) * factor[k] + shift[k] + other[k]


@compiled
def gradient_sums(
    grad: Array, first: int, rows: Array, norm: Array, lowest: float, count: int
) -> tuple[Array, Array, Array, Array]:
    """Gradients of the norm's weight and bias; slope and offset of what each voxel gets for its share in the statistics.

    Args:
        grad: of ``normalise``'s out.
        first, norm, lowest: as there.
        rows: as there, or those of its voxels that have a gradient.
        count: voxels measured.
    """
    some, channels = rows.shape
    mean, factor, shift, inverse = norm[0], norm[1], norm[2], norm[3]
    low, zero = rows.dtype.type(lowest), rows.dtype.type(0)
    total, product = np.zeros(channels), np.zeros(channels)
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
    weight, bias, slope, offset = (
        np.empty_like(mean),
        np.empty_like(mean),
        np.empty_like(mean),
        np.empty_like(mean),
    )
    for k in range(channels):
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
def mirrored(weight: Array, groups: int) -> Array:
    """The weight of the convolution that takes gradients back: window reversed, channels in and out exchanged in each group.

    Args:
        weight: (out, z, y, x, channels / groups).
        groups: of the convolution.

    Returns:
        (channels, z, y, x, out / groups).
    """
    count, depth, high, wide, inner = weight.shape
    outer = count // groups
    out = np.empty((groups * inner, depth, high, wide, outer), weight.dtype)
    for g in range(groups):
        for z in range(depth):
            for y in range(high):
                for x in range(wide):
                    given = weight[g * outer : (g + 1) * outer, z, y, x]
                    for i in range(inner):
                        to = out[g * inner + i, depth - 1 - z, high - 1 - y, wide - 1 - x]
                        for k in range(outer):
                            to[k] = given[k, i]
    return out


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
    """Each gradient (n, Z, Y, X, channels) to the voxel of ``out`` (n, z, y, x, channels) that was its window's maximum, 0 elsewhere."""
    zero = grad.dtype.type(0)
    _, deep, tall, broad, channels = grad.shape
    n, depth, high, wide, _ = out.shape
    for i in range(n):
        for z in range(depth):
            for y in range(high):
                for x in range(wide):
                    to = out[i, z, y, x]
                    to[:] = 0
                    for oz in range(z // 2, min(deep, (z + 1) // 2 + 1)):
                        for oy in range(y // 2, min(tall, (y + 1) // 2 + 1)):
                            for ox in range(x // 2, min(broad, (x + 1) // 2 + 1)):
                                here = np.uint8(9 * (z - 2 * oz + 1) + 3 * (y - 2 * oy + 1) + x - 2 * ox + 1)
                                g, at = grad[i, oz, oy, ox], places[i, oz, oy, ox]
                                for k in range(channels):
                                    to[k] += g[k] if at[k] == here else zero


@compiled
def neighbourhoods(volume: Array, step_y: int, step_x: int, out: Array) -> None:
    """Of each slice, what a 3x3 convolution with padding 1 sees from its places: 3 x 3 x channels numbers, then a 1.

    Args:
        volume: (z, y, x, channels).
        step_y, step_x: strides of the convolution.
        out: (Y, X, z + 2, at least 9 * channels + CELL); the slices between the first and the last are written.
    """
    depth, high, wide, channels = volume.shape
    run = 3 * channels
    padded = np.zeros((high + 2, (wide + 2) * channels + CELL), volume.dtype)
    for z in range(depth):
        for y in range(high):
            line, to = volume[z, y].ravel(), padded[y + 1, channels:]
            for k in range(line.size):
                to[k] = line[k]
        for y in range(out.shape[0]):
            rows = out[y, :, z + 1]
            for near in range(3):
                line = padded[y * step_y + near]
                for start in range(0, run, CELL):  # whole cells; what is too much is written over by the next
                    at = near * run + start
                    for x in range(out.shape[1]):
                        place = x * step_x * channels + start
                        few, to = line[place : place + CELL], rows[x, at : at + CELL]
                        for k in range(CELL):
                            to[k] = few[k]
            rows[:, 3 * run] = 1


@compiled
def weight_gradient(grad: Array, places: Array, around: Array, numbers: Array, out: Array) -> None:
    """Add to out what gradients of a pooled 3x3x3 convolution mean for its weight: few voxels of the map have one, so no map is made.

    Args:
        grad, places: of ``max_pool``'s out, (Z, Y, X, channels).
        around: ``neighbourhoods`` of what was convolved.
        numbers: the memory that ``around`` begins, longer by a row of out.
        out: (channels, at least three slices of around).
    """
    deep, tall, broad, channels = grad.shape
    _, wide, slices, each = around.shape
    columns = out.shape[1]
    steps = np.zeros(NOWHERE + 1, np.int64)
    for place in range(NOWHERE):
        steps[place] = ((place // 3 % 3 - 1) * wide + place % 3 - 1) * slices + place // 9 - 1
    alive = np.empty(channels, np.int64)
    for y in range(tall):
        for x in range(broad):
            for z in range(deep):
                g, at = grad[z, y, x], places[z, y, x]
                middle = 2 * (y * wide + x) * slices + 2 * z
                count = 0
                for k in range(channels):  # zeros are sorted out first, since a processor cannot foresee them
                    alive[count] = k
                    count += g[k] != 0
                for i in range(count):
                    k = np.uint64(alive[i])
                    start = np.uint64((middle + steps[at[k]]) * each)
                    one, to, row = g[k], out[k], numbers[start : start + np.uint64(columns)]
                    for j in range(columns):
                        to[j] += one * row[j]
