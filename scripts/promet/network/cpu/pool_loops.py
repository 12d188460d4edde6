"""Max pooling over channels-last maps on CPU: windows of 3 at stride 2 with padding 1.

Along x first, then y, then z: of equal values the first in the window counts, as for torch. Maps are (..., channels), C-contiguous;
float32 or float64. A map that is not a number anywhere stays so; a single one may get lost, but behind a batch norm there is none, and asking
for it would take five times as long.
"""

from __future__ import annotations

import numpy as np

from promet.network.compiled import compiled
from promet.network.cpu.norm_loops import (
    BLOCK,
    add_moments,
    as_moments,
    gradient,
    gradient_shares,
    gradient_sums,
    join,
)

Array = np.ndarray
NOWHERE = 27  # place of a maximum that is the start value itself


@compiled
def _raise(given: Array, place: Array, step: int, best: Array, at: Array) -> None:
    """Where given is above best it takes its place, and ``place`` + step that of at."""
    for k in range(best.size):
        more = not (given[k] <= best[k])
        best[k] = given[k] if more else best[k]
        at[k] = place[k] + np.int32(step) if more else at[k]


@compiled
def _across(row: Array, best: Array, at: Array) -> None:
    """Maximum along x of (x, channels): (X, channels), and where in the window of 3 it was."""
    wide, channels = row.shape
    for x in range(len(best)):
        left, right = max(2 * x - 1, 0), min(2 * x + 1, wide - 1)
        one, two, three, high, place = row[left], row[2 * x], row[right], best[x], at[x]
        first, middle, last = np.int32(1 + left - 2 * x), np.int32(1), np.int32(1 + right - 2 * x)
        for k in range(channels):
            more = not (two[k] <= one[k])
            value, where = two[k] if more else one[k], middle if more else first
            more = not (three[k] <= value)
            high[k], place[k] = three[k] if more else value, last if more else where


@compiled
def _max_pool_slice(image: Array, out: Array, places: Array) -> None:
    """Maximum of a slice (y, x, channels), and where in the window it was, 3 y + x: (Y, X, channels)."""
    line, line_at, kept, kept_at = (
        np.empty_like(out[0]),
        np.empty_like(places[0]),
        np.empty_like(out[0]),
        np.empty_like(places[0]),
    )
    for y in range(len(out)):
        best, at = out[y].ravel(), places[y].ravel()
        if y == 0:
            _across(image[0], out[0], places[0])
            at += np.int32(3)
        else:
            best[:] = kept.ravel()
            at[:] = kept_at.ravel()
            _across(image[2 * y], line, line_at)
            _raise(line.ravel(), line_at.ravel(), 3, best, at)
        if 2 * y + 1 < len(image):
            _across(image[2 * y + 1], kept, kept_at)
            _raise(kept.ravel(), kept_at.ravel(), 6, best, at)


@compiled
def max_pool_next(
    pair: Array, z: int, start: float, last: Array, last_at: Array, out: Array, places: Array
) -> None:
    """Slice z of a max pooling, not below ``start``: 0 is a ReLU, minus infinity none.

    Args:
        pair: slices 2 z and 2 z + 1 of the map, or the first alone where the map ends, (1 or 2, y, x, channels).
        last, last_at: slice 2 z - 1 pooled in itself (not read for the first z); afterwards that of 2 z + 1. Like out and places.
        out: filled, (Y, X, channels).
        places: filled, int32 like ``out``: where in the window the first maximum was, 9 z + 3 y + x, or NOWHERE where nothing
            was above ``start``.
    """
    best, at = out.ravel(), places.ravel()
    best[:] = start
    at[:] = NOWHERE
    if z > 0:
        _raise(last.ravel(), last_at.ravel(), 0, best, at)
    for number in range(len(pair)):
        _max_pool_slice(pair[number], last, last_at)
        _raise(last.ravel(), last_at.ravel(), 9 * (1 + number), best, at)


@compiled
def max_pool(maps: Array, start: float, out: Array, places: Array) -> None:
    """The whole pooling of volumes: maps (n, z, y, x, channels); out and places (n, Z, Y, X, channels), see ``max_pool_next``."""
    last, last_at = np.empty_like(out[0, 0]), np.empty_like(places[0, 0])
    for i in range(len(maps)):
        for z in range(out.shape[1]):
            max_pool_next(maps[i, 2 * z : 2 * z + 2], z, start, last, last_at, out[i, z], places[i, z])


@compiled
def max_pool_and_measure(maps: Array, out: Array, places: Array) -> tuple[Array, Array]:
    """``max_pool`` without ReLU; gives mean and biased variance of the maps' channels, see ``norm_loops.moments``."""
    channels = maps.shape[-1]
    pivot = maps[0, 0, 0, 0].copy()
    total, squares = np.zeros(channels), np.zeros(channels)
    last, last_at = np.empty_like(out[0, 0]), np.empty_like(places[0, 0])
    for i in range(len(maps)):
        for z in range(out.shape[1]):
            pair = maps[i, 2 * z : 2 * z + 2]
            add_moments(pair.reshape(pair.size // channels, channels), pivot, total, squares)
            max_pool_next(pair, z, -np.inf, last, last_at, out[i, z], places[i, z])
    return as_moments(pivot, total, squares, maps.size // channels)


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
                                here = np.int32(9 * (z - 2 * oz + 1) + 3 * (y - 2 * oy + 1) + x - 2 * ox + 1)
                                g, at = grad[i, oz, oy, ox], places[i, oz, oy, ox]
                                for k in range(channels):
                                    to[k] += g[k] if at[k] == here else zero


@compiled
def normalise_peaks(rows: Array, norm: Array, places: Array) -> None:
    """``norm_loops.normalise`` with a ReLU, in place; where that is 0, ``places`` (like rows) becomes NOWHERE."""
    count, channels = rows.shape
    mean, factor, shift = norm[0], norm[1], norm[2]
    zero, nowhere = rows.dtype.type(0), np.int32(NOWHERE)
    for i in range(count):
        row, at = rows[i], places[i]
        for k in range(channels):
            value = (row[k] - mean[k]) * factor[k] + shift[k]
            row[k] = zero if value < zero else value
        for k in range(channels):
            at[k] = at[k] if row[k] != zero else nowhere


@compiled
def join_and_pool(
    one: Array,
    two: Array,
    norm_one: Array,
    norm_two: Array,
    bypass: Array,
    maps: Array,
    out: Array,
    places: Array,
) -> None:
    """``join`` and ``max_pool`` with a ReLU, volume by volume: what is joined stays in the processor's cache.

    Args:
        one, two, norm_one, norm_two, bypass: see ``join``.
        maps: (z, y, x, channels), overwritten by each volume.
        out, places: see ``max_pool``.
    """
    voxels = maps.shape[0] * maps.shape[1] * maps.shape[2]
    joined = maps.reshape(voxels, maps.shape[3])
    for i in range(len(out)):
        some = slice(i * voxels, (i + 1) * voxels)
        join(one[some], two[some], norm_one, norm_two, bypass[some], -np.inf, joined)
        max_pool(maps.reshape(1, *maps.shape), 0.0, out[i : i + 1], places[i : i + 1])


@compiled
def join_gradient(
    grad: Array,
    one: Array,
    two: Array,
    norm_one: Array,
    norm_two: Array,
    lowest: float,
    pooled: Array,
    places: Array,
) -> tuple[Array, Array, Array, Array]:
    """The same for both maps of ``join`` or ``join_and_pool``: weight and bias of the first, of the second.

    Args:
        grad: of what was joined, (n, z, y, x, channels); filled from ``pooled`` unless that is empty.
        one, two, norm_one, norm_two, lowest: as there.
        pooled, places: see ``max_pool_gradient``; no volumes where nothing was pooled.
    """
    n, channels = len(grad), one.shape[1]
    voxels = len(one) // n
    rows = grad.reshape(len(one), 2 * channels)
    sums = np.zeros((4, channels))
    for i in range(n):
        if len(pooled):
            max_pool_gradient(pooled[i : i + 1], places[i : i + 1], grad[i : i + 1])
        for start in range(i * voxels, (i + 1) * voxels, BLOCK):
            some = slice(start, min(start + BLOCK, (i + 1) * voxels))
            gradient_sums(rows[some], 0, one[some], norm_one, lowest, sums[0], sums[1])
            gradient_sums(rows[some], channels, two[some], norm_two, lowest, sums[2], sums[3])
    weight_one, bias_one, slope_one, offset_one = gradient_shares(norm_one, sums[0], sums[1], len(one))
    weight_two, bias_two, slope_two, offset_two = gradient_shares(norm_two, sums[2], sums[3], len(two))
    for start in range(0, len(one), BLOCK):
        some = slice(start, min(start + BLOCK, len(one)))
        gradient(rows[some], 0, one[some], norm_one, lowest, slope_one, offset_one)
        gradient(rows[some], channels, two[some], norm_two, lowest, slope_two, offset_two)
    return weight_one, bias_one, weight_two, bias_two
