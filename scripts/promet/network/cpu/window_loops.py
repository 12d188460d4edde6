"""What the windows of a 3x3x3 convolution hold, copied side by side, and back, for channels-last maps on CPU."""

from __future__ import annotations

import numpy as np

from promet.network.compiled import compiled
from promet.network.cpu.pool_loops import NOWHERE

Array = np.ndarray
CELL = 8  # numbers copied at once


def whole(size: int, step: int) -> int:
    """The next multiple of ``step``."""
    return -(-size // step) * step


@compiled
def neighbourhoods(volume: Array, step_y: int, step_x: int, out: Array) -> None:
    """Of each slice, what a 3x3 convolution with padding 1 sees from its places: 3 x 3 x channels numbers, then a 1, then zeros.

    Args:
        volume: (z, y, x, channels).
        step_y, step_x: strides of the convolution.
        out: (Y, X, z + 2, at least 9 * channels + CELL), filled; the first and the last slice are zeros.
    """
    depth, high, wide, channels = volume.shape
    run = 3 * channels
    padded = np.zeros((high + 2, (wide + 2) * channels + CELL), volume.dtype)
    out[:, :, 0] = 0
    out[:, :, depth + 1] = 0
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
            rows[:, 3 * run + 1 :] = 0


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
                    count += (g[k] != 0) & (at[k] != NOWHERE)
                for i in range(count):
                    k = np.uint64(alive[i])
                    start = np.uint64((middle + steps[at[k]]) * each)
                    one, to, row = g[k], out[k], numbers[start : start + np.uint64(columns)]
                    for j in range(columns):
                        to[j] += one * row[j]


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
def windows(maps: Array, groups: int) -> Array:
    """What a 3x3 convolution with padding 1 sees if slices are channels: (groups, places n y x, window y x, z, channels / groups), flat from y on.

    Args:
        maps: (n, z, y, x, channels).
        groups: of channels.
    """
    n, depth, high, wide, channels = maps.shape
    inner = channels // groups
    out = np.zeros((groups, n * high * wide, 9 * depth * inner), maps.dtype)
    for g in range(groups):
        for i in range(n):
            for y in range(high):
                for x in range(wide):
                    row = out[g, (i * high + y) * wide + x]
                    for near_y in range(max(0, 1 - y), min(3, high + 1 - y)):
                        for near_x in range(max(0, 1 - x), min(3, wide + 1 - x)):
                            for z in range(depth):
                                start = ((3 * near_y + near_x) * depth + z) * inner
                                to, given = (
                                    row[start : start + inner],
                                    maps[i, z, y + near_y - 1, x + near_x - 1],
                                )
                                few = given[g * inner : (g + 1) * inner]
                                for k in range(inner):
                                    to[k] = few[k]
    return out


@compiled
def windows_gradient(grad: Array, out: Array) -> None:
    """Gradient of the maps, filled into out like them, from that of ``windows``."""
    n, depth, high, wide, channels = out.shape
    inner = channels // len(grad)
    out[:] = 0
    for g in range(len(grad)):
        for i in range(n):
            for y in range(high):
                for x in range(wide):
                    row = grad[g, (i * high + y) * wide + x]
                    for near_y in range(max(0, 1 - y), min(3, high + 1 - y)):
                        for near_x in range(max(0, 1 - x), min(3, wide + 1 - x)):
                            for z in range(depth):
                                start = ((3 * near_y + near_x) * depth + z) * inner
                                few, to = (
                                    row[start : start + inner],
                                    out[i, z, y + near_y - 1, x + near_x - 1],
                                )
                                some = to[g * inner : (g + 1) * inner]
                                for k in range(inner):
                                    some[k] += few[k]


@compiled
def slices_as_channels(weight: Array, groups: int, depth: int) -> Array:
    """The weight of a 3x3x3 convolution of one or two slices as that of a 3x3 convolution: (groups, z out, window y x, z channels), flat but for the groups.

    Args:
        weight: (out, z, y, x, channels / groups).
        groups: of channels.
        depth: slices.
    """
    count, _, _, _, inner = weight.shape
    outer = count // groups
    out = np.empty((groups, depth * outer, 9 * depth * inner), weight.dtype)
    for g in range(groups):
        for there in range(depth):
            for o in range(outer):
                row = out[g, there * outer + o]
                for place in range(9):
                    for z in range(depth):
                        few = weight[g * outer + o, z - there + 1, place // 3, place % 3]
                        to = row[(place * depth + z) * inner : (place * depth + z + 1) * inner]
                        for k in range(inner):
                            to[k] = few[k]
    return out


@compiled
def slices_as_channels_gradient(grad: Array, depth: int) -> Array:
    """Gradient of the weight (out, z, y, x, channels / groups) from that of ``slices_as_channels``."""
    groups, rows, columns = grad.shape
    outer, inner = rows // depth, columns // (9 * depth)
    out = np.zeros((groups * outer, 3, 3, 3, inner), grad.dtype)
    for g in range(groups):
        for there in range(depth):
            for o in range(outer):
                row = grad[g, there * outer + o]
                for place in range(9):
                    for z in range(depth):
                        to = out[g * outer + o, z - there + 1, place // 3, place % 3]
                        few = row[(place * depth + z) * inner : (place * depth + z + 1) * inner]
                        for k in range(inner):
                            to[k] += few[k]
    return out
