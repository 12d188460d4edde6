"""Loops of the transforms for CPU, where torch has no fast operation: reading at moved places, narrow filters, curves, shuffled boxes,
random numbers.

Arrays are C-contiguous; volumes (n, z, y, x) or (n, 2, z, y, x) with PET and lesion map, float32. Each public function returns a
new array.
"""

from __future__ import annotations

import numpy as np

from promet.network.compiled import compiled

Array = np.ndarray
OUTSIDE = np.float32(-1)  # from here on outwards everything is 0
# Adding and subtracting 1.5 * 2^23 leaves no bits for a fraction: rounds half to even, without a call.
ROUND = np.float32(1.5 * 2**23)
ONE = np.uint64(1)  # with signed numbers each index would be checked for a negative one
# Of SplitMix64 (Steele, Lea and Flood 2014): the step of its counter, and the factors that mix a counter's bits.
STEP, FIRST, SECOND = (
    np.uint64(0x9E3779B97F4A7C15),
    np.uint64(0xBF58476D1CE4E5B9),
    np.uint64(0x94D049BB133111EB),
)


@compiled
def uniform(seeds: Array, size: int) -> Array:
    """(n, size) float32, uniform from -1 to 1: the upper halves of the words of SplitMix64, started at each of the (n,) seeds."""
    out = np.empty((len(seeds), size), np.float32)
    for i in range(len(seeds)):
        row, seed = out[i], np.uint64(seeds[i])
        for k in range(size):
            word = seed + np.uint64(k + 1) * STEP
            word = (word ^ (word >> np.uint64(30))) * FIRST
            word = (word ^ (word >> np.uint64(27))) * SECOND
            word ^= word >> np.uint64(31)
            row[k] = np.float32(np.int32(word >> np.uint64(32))) * np.float32(2.0**-31)
    return out


@compiled
def _pad(volume: Array, padded: Array) -> None:
    """Volume (z, y, x) into the middle of one with a layer of zeros before and two behind."""
    for z in range(volume.shape[0]):
        for y in range(volume.shape[1]):
            line, to = volume[z, y], padded[z + 1, y + 1, 1:]
            for x in range(line.size):
                to[x] = line[x]


@compiled
def _split(places: Array, size: int, step: int, corner: Array, nearest: Array) -> None:
    """Places on one axis of ``size`` voxels into the index below, times ``step``, and the fraction above it.

    Args:
        places: float32, replaced by the fractions.
        step: distance of neighbours in the flat padded volume.
        corner, nearest: int32, to which the index below and that of the nearest voxel are added.
    """
    end = np.float32(size)
    for k in range(places.size):
        place = places[k]
        place = place if place > OUTSIDE else OUTSIDE
        place = place if place < end else end
        low = np.floor(place)
        places[k] = place - low
        corner[k] += np.int32(low) * step
        nearest[k] += np.int32(place + ROUND - ROUND) * step


@compiled
def _read(
    padded: Array, z: Array, y: Array, x: Array, corner: Array, nearest: Array, pet: Array, lesions: Array
) -> None:
    """One plane: PET from the eight voxels around, lesion map from the nearest.

    Args:
        padded: (2, z + 3, y + 3, x + 3).
        z, y, x: fractions.
        corner, nearest: flat indices in the padded volume.
        pet, lesions: written to.
    """
    values, marks = padded[0].ravel(), padded[1].ravel()
    plane, line = np.uint64(padded.shape[2] * padded.shape[3]), np.uint64(padded.shape[3])
    for k in range(pet.size):
        at, up, down, across = np.uint64(corner[k]), z[k], y[k], x[k]
        first, last = values[at], values[at + ONE]
        near = first + (last - first) * across
        first, last = values[at + line], values[at + line + ONE]
        near += (first + (last - first) * across - near) * down
        at += plane
        first, last = values[at], values[at + ONE]
        far = first + (last - first) * across
        first, last = values[at + line], values[at + line + ONE]
        far += (first + (last - first) * across - far) * down
        pet[k] = near + (far - near) * up
        lesions[k] = marks[np.uint64(nearest[k])]


@compiled
def resample(volumes: Array, matrix: Array, offsets: Array) -> Array:
    """Volumes seen through a linear map about their centre, and moved: the value at i comes from matrix (i - centre) + centre + offset.

    Args:
        volumes: (n, 2, z, y, x).
        matrix: (n, 3, 4) float64, voxels, axes z, y, x, shift in the last column.
        offsets: (n, z, y, x, 3) float32, voxels; empty for none.
    """
    n, _, depth, rows, columns = volumes.shape
    out = np.empty_like(volumes)
    padded = np.zeros((2, depth + 3, rows + 3, columns + 3), np.float32)
    places = np.empty((3, rows, columns), np.float32)  # of one plane
    corner, nearest = np.empty(rows * columns, np.int32), np.empty(rows * columns, np.int32)
    steps = np.array([(rows + 3) * (columns + 3), columns + 3, 1], np.int32)
    middle = np.array([(depth - 1) / 2, (rows - 1) / 2, (columns - 1) / 2])
    for i in range(n):
        _pad(volumes[i, 0], padded[0])
        _pad(volumes[i, 1], padded[1])
        for z in range(depth):
            corner[:] = steps.sum()
            nearest[:] = steps.sum()
            for axis in range(3):
                by_z, by_y, by_x, shift = matrix[i, axis]
                for y in range(rows):
                    start = by_z * (z - middle[0]) + by_y * (y - middle[1]) + shift + middle[axis]
                    line = places[axis, y]
                    for x in range(columns):
                        line[x] = start + by_x * (x - middle[2])
                    if len(offsets):
                        moved = offsets[i, z, y]
                        for x in range(columns):
                            line[x] += moved[x, axis]
                _split(places[axis].ravel(), volumes.shape[2 + axis], steps[axis], corner, nearest)
            fractions = places[0].ravel(), places[1].ravel(), places[2].ravel()
            _read(padded, *fractions, corner, nearest, out[i, 0, z].ravel(), out[i, 1, z].ravel())
    return out


@compiled
def bend(volumes: Array, low: Array, span: Array, floating: Array, points: Array) -> Array:
    """A piecewise linear curve through equidistant points; a volume without a range stays as it is.

    Args:
        volumes: (n, z, y, x).
        low, span: (n,) float32, smallest value and range of each.
        floating: (n, most points) float32, where the points go, 0 to 1.
        points: (n,) number of points.
    """
    out = np.empty_like(volumes)
    rise = np.zeros(floating.shape[1], np.float32)
    for i in range(len(volumes)):
        given, to = volumes[i].ravel(), out[i].ravel()
        if not span[i] > 0:
            to[:] = given
            continue
        last = points[i] - 1
        least, extent, most = low[i], span[i], np.float32(last - 1)
        scale = np.float32(last) / extent
        start = floating[i]
        for k in range(last):
            rise[k] = start[k + 1] - start[k]
        for k in range(given.size):
            place = (given[k] - least) * scale
            index = np.uint64(place if place < most else most)  # the last for NaN too
            to[k] = (start[index] + (place - np.float32(index)) * rise[index]) * extent + least
    return out


@compiled
def shuffle(volumes: Array, corner: Array, size: Array, count: Array, keys: Array) -> Array:
    """In one box after the other the voxels change places.

    Args:
        volumes: (n, z, y, x).
        corner, size: (n, boxes, 3) voxels.
        count: (n,) how many of the boxes exist.
        keys: (n, boxes, voxels of the largest box); their order is the permutation.
    """
    out = volumes.copy()
    for i in range(len(out)):
        for box in range(count[i]):
            (z, y, x), (depth, high, wide) = corner[i, box], size[i, box]
            part = out[i, z : z + depth, y : y + high, x : x + wide]
            values = part.copy().ravel()
            order = np.argsort(keys[i, box, : values.size], kind="mergesort")  # stable
            part[:] = values[order].reshape(part.shape)
    return out


@compiled
def _spread(given: Array, step: int, kernel: Array, tail: int, out: Array) -> None:
    """Symmetric filter along an axis whose neighbours lie ``step`` apart; ``given`` has tail * step more at each end than ``out``."""
    middle, size = tail * step, out.size
    here, weight = given[middle : middle + size], kernel[0]
    for k in range(size):
        out[k] = weight * here[k]
    for d in range(1, tail + 1):
        before, behind = middle - d * step, middle + d * step
        first, second, weight = given[before : before + size], given[behind : behind + size], kernel[d]
        for k in range(size):
            out[k] += weight * (first[k] + second[k])


@compiled
def convolve(volumes: Array, kernels: Array, tails: Array) -> Array:
    """Three symmetric filters, along z, y and x, plane by plane; 0 outside.

    Args:
        volumes: (n, z, y, x).
        kernels: (n, 3, largest tail + 1) float32, from the middle outwards.
        tails: (n, 3) voxels on each side.
    """
    n, depth, rows, columns = volumes.shape
    out = np.empty_like(volumes)
    plane = rows * columns
    flat = np.empty(plane, np.float32)
    for i in range(n):
        tail_z, tail_y, tail_x = tails[i]
        wide = columns + tail_x  # the zeros behind a row are also those before the next
        deep = np.zeros((depth + 2 * tail_z) * plane, np.float32)
        deep[tail_z * plane : (tail_z + depth) * plane] = volumes[i].ravel()
        high = np.zeros((rows + 2 * tail_y) * columns, np.float32)
        inner = high[tail_y * columns : (tail_y + rows) * columns]
        spaced, filtered = np.zeros(rows * wide + 2 * tail_x, np.float32), np.empty(rows * wide, np.float32)
        for z in range(depth):
            _spread(deep[z * plane : (z + 2 * tail_z + 1) * plane], plane, kernels[i, 0], tail_z, inner)
            _spread(high, columns, kernels[i, 1], tail_y, flat)
            for y in range(rows):
                to, line = spaced[tail_x + y * wide :], flat[y * columns :]
                for x in range(columns):
                    to[x] = line[x]
            _spread(spaced, 1, kernels[i, 2], tail_x, filtered)
            for y in range(rows):
                to, line = out[i, z, y], filtered[y * wide :]
                for x in range(columns):
                    to[x] = line[x]
    return out
