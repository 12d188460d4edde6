"""Changes of intensity on CPU: curves, powers, waves, shuffled patches, noise.

Arrays are C-contiguous; volumes (n, z, y, x) or (n, 2, z, y, x) with PET and lesion map, float32; what is made takes their place unless it is returned.
"""

from __future__ import annotations

import math

import numpy as np

from promet.network.augment.loops.math import exp2, log2
from promet.network.compiled import compiled

Array = np.ndarray


@compiled
def _range(volume: Array) -> tuple[float, float]:
    """Smallest value and largest minus smallest of (z, y, x), by columns so that the loop works on vectors."""
    low, high = volume[0, 0].copy(), volume[0, 0].copy()
    for z in range(volume.shape[0]):
        for y in range(volume.shape[1]):
            line = volume[z, y]
            for x in range(line.size):
                low[x] = line[x] if line[x] < low[x] else low[x]
                high[x] = line[x] if line[x] > high[x] else high[x]
    return low.min(), high.max() - low.min()


@compiled
def bend(volumes: Array, floating: Array, points: Array) -> None:
    """A piecewise linear curve through equidistant points of the range; a volume without a range stays as it is.

    Args:
        volumes: (n, z, y, x).
        floating: (n, most points), where the points go, 0 to 1.
        points: (n,) number of points.
    """
    start, rise = np.empty(floating.shape[1], np.float32), np.zeros(floating.shape[1], np.float32)
    for i in range(len(volumes)):
        values = volumes[i].ravel()
        least, extent = _range(volumes[i])
        if not extent > 0:
            continue
        last = points[i] - 1
        most = np.float32(last - 1)
        scale = np.float32(last) / extent
        start[:] = floating[i]
        for k in range(last):
            rise[k] = start[k + 1] - start[k]
        for k in range(values.size):
            place = (values[k] - least) * scale
            index = np.uint64(place if place < most else most)  # the last for NaN too
            values[k] = (start[index] + (place - np.float32(index)) * rise[index]) * extent + least


@compiled
def power(volumes: Array, gamma: Array) -> None:
    """The share of the range that a value has, to the power of ``gamma`` (n,); 0 to the power of 0 is 1."""
    for i in range(len(volumes)):
        values = volumes[i].ravel()
        least, extent = _range(volumes[i])
        exponent, scale = np.float32(gamma[i]), np.float32(1) / (extent + np.float32(1e-7))
        for k in range(values.size):
            share = (values[k] - least) * scale
            share = (
                np.float32(1.2e-38) if share < np.float32(1.2e-38) else share
            )  # the logarithm stays finite
            kept = values[k] - values[k]  # 0, or what is not finite
            values[k] = exp2(exponent * log2(share)) * extent + least + kept


@compiled
def shift(volumes: Array, factor: Array) -> None:
    """Plus ``factor`` (n,) times the volume's own standard deviation; sums by columns, so that the loop works on vectors."""
    n, depth, rows, columns = volumes.shape
    sums = np.empty(columns, np.float32)
    for i in range(n):
        sums[:] = 0
        for z in range(depth):
            for y in range(rows):
                line = volumes[i, z, y]
                for x in range(columns):
                    sums[x] += line[x]
        mean = np.float32(sums.sum() / (depth * rows * columns))
        sums[:] = 0
        for z in range(depth):
            for y in range(rows):
                line = volumes[i, z, y]
                for x in range(columns):
                    sums[x] += (line[x] - mean) * (line[x] - mean)
        offset = np.float32(factor[i] * math.sqrt(sums.sum() / (depth * rows * columns)))
        values = volumes[i].ravel()
        for k in range(values.size):
            values[k] = values[k] + offset


@compiled
def shuffle(volumes: Array, corner: Array, size: Array, count: Array, keys: Array) -> None:
    """In one patch after the other the voxels change places.

    Args:
        volumes: (n, z, y, x).
        corner, size: (n, patches, 3) voxels.
        count: (n,) how many of the patches exist.
        keys: (n, patches, voxels of the largest patch); their order is the permutation.
    """
    for i in range(len(volumes)):
        for patch in range(count[i]):
            (z, y, x), (depth, high, wide) = corner[i, patch], size[i, patch]
            part = volumes[i, z : z + depth, y : y + high, x : x + wide]
            values = part.copy().ravel()
            order = np.argsort(keys[i, patch, : values.size], kind="mergesort")  # stable
            part[:] = values[order].reshape(part.shape)


@compiled
def bias(volumes: Array, coefficients: Array, z: Array, y: Array, x: Array) -> None:
    """Volumes times the exponential of a polynomial.

    Args:
        volumes: (n, z, y, x).
        coefficients: (n, terms), of the products of a row of z, y and x whose numbers add up to at most the degree.
        z, y, x: (degree + 1, size) float64, polynomials of one axis.
    """
    orders, depth = z.shape
    rows, columns = y.shape[1], x.shape[1]
    exponent, lines = np.empty(columns, np.float32), (x / math.log(2)).astype(np.float32)
    plane = np.empty((orders, orders))
    for i in range(len(volumes)):
        for at in range(depth):
            plane[:] = 0
            number = 0
            for a in range(orders):
                for b in range(orders - a):
                    for c in range(orders - a - b):
                        plane[b, c] += coefficients[i, number] * z[a, at]
                        number += 1
            for row in range(rows):
                exponent[:] = 0
                for c in range(orders):
                    weight = np.float32(0)
                    for b in range(orders):
                        weight += np.float32(plane[b, c] * y[b, row])
                    line = lines[c]
                    for k in range(columns):
                        exponent[k] += weight * line[k]
                values = volumes[i, at, row]
                for k in range(columns):
                    values[k] *= exp2(exponent[k])


@compiled
def spike(volumes: Array, place: Array, intensity: Array) -> None:
    """One coefficient of the spectrum gets another size and keeps its phase: a sum over the volume, then one wave on top.

    Args:
        volumes: (n, z, y, x).
        place: (n, 3) in the shifted spectrum.
        intensity: (n,) logarithm of the coefficient's new size.
    """
    n, depth, rows, columns = volumes.shape
    turns = np.empty(3)  # of one voxel's step along each axis
    cosine, sine = np.empty(columns, np.float32), np.empty(columns, np.float32)
    real, imaginary = np.empty(columns, np.float32), np.empty(columns, np.float32)
    for i in range(n):
        for axis in range(3):
            size = volumes.shape[1 + axis]
            turns[axis] = -2 * math.pi * (place[i, axis] - size // 2) / size
        for x in range(columns):
            cosine[x], sine[x] = math.cos(turns[2] * x), math.sin(turns[2] * x)
        coefficient = 0j
        for z in range(depth):
            real[:] = 0
            imaginary[:] = 0
            for y in range(rows):
                angle, line = turns[0] * z + turns[1] * y, volumes[i, z, y]
                a, b = np.float32(math.cos(angle)), np.float32(math.sin(angle))
                for x in range(columns):
                    real[x] += a * line[x]
                    imaginary[x] += b * line[x]
            for x in range(columns):
                coefficient += complex(real[x], imaginary[x]) * complex(cosine[x], sine[x])
        size = abs(coefficient)
        phase = coefficient / size if size > 0 else 1 + 0j
        change = (math.exp(intensity[i]) - size) * phase / (depth * rows * columns)
        for z in range(depth):
            for y in range(rows):
                angle, line = turns[0] * z + turns[1] * y, volumes[i, z, y]
                wave = change * complex(math.cos(angle), -math.sin(angle))
                a, b = np.float32(wave.real), np.float32(wave.imag)
                for x in range(columns):
                    line[x] += a * cosine[x] + b * sine[x]  # real part of (a + ib)(cos - i sin)


@compiled
def cut(spectrum: Array, alpha: Array) -> Array:
    """Removes k-space outside a sphere. monai's is not quite about 0, so a frequency has the mean of what k and -k get as its weight m.

    Still m changes when only one axis of k is flipped. The four weights that a frequency has with the flips of its axes mix
    those coefficients of a separable Hartley transform that differ by a flip of two axes.

    Args:
        spectrum: (n, z, y, x), Hartley transform along each axis.
        alpha: (n,), share of the radius that is cut off; the whole radius reaches the corners of a cube of the largest size.
    """
    n, depth, rows, columns = spectrum.shape
    out = np.empty_like(spectrum)
    squares = np.empty((3, 2, max(depth, rows, columns)), np.float32)  # distances of k and of -k, exact
    for axis in range(3):
        size = spectrum.shape[1 + axis]
        for k in range(size):
            squares[axis, 0, k] = squares[axis, 1, -k % size] = ((k + size // 2) % size - (size - 1) / 2) ** 2
    plus, minus = squares[2, 0], squares[2, 1]
    flipped = np.empty((2, columns), np.float32)
    for i in range(n):
        limit = np.float32(((1 - alpha[i]) * max(depth, rows, columns)) ** 2 / 2)
        for z in range(depth):
            for y in range(rows):
                # without x: of k and -k, and of both with z flipped
                both = squares[0, 0, z] + squares[1, 0, y], squares[0, 1, z] + squares[1, 1, y]
                one = squares[0, 1, z] + squares[1, 0, y], squares[0, 0, z] + squares[1, 1, y]
                here, turned = spectrum[i, z, y], spectrum[i, -z, -y]
                for k in range(columns):
                    flipped[0, k] = spectrum[i, z, -y, -k]
                    flipped[1, k] = spectrum[i, -z, y, -k]
                first, second, to = flipped[0], flipped[1], out[i, z, y]
                for k in range(columns):
                    a, b = limit - plus[k], limit - minus[k]
                    m = np.float32(both[0] <= a) + np.float32(both[1] <= b)
                    m_x = np.float32(both[0] <= b) + np.float32(both[1] <= a)
                    m_z = np.float32(one[0] <= a) + np.float32(one[1] <= b)
                    m_y = np.float32(one[0] <= b) + np.float32(one[1] <= a)
                    total = (m + m_x + m_y + m_z) * here[k] - (m + m_z - m_y - m_x) * first[k]
                    total -= (m + m_y - m_z - m_x) * second[k] + (m + m_x - m_z - m_y) * turned[k]
                    to[k] = total * np.float32(0.125)
    return out


@compiled
def noisy(volumes: Array, std: Array, noise: Array) -> None:
    """Plus ``std`` (n,) times the noise (n, z, y, x)."""
    for i in range(len(volumes)):
        values, added, scale = volumes[i].ravel(), noise[i].ravel(), np.float32(std[i])
        for k in range(values.size):
            values[k] += scale * added[k]


@compiled
def rician(volumes: Array, std: Array, noise: Array) -> None:
    """Length of a vector: the volume and 0, each with noise of its own.

    Args:
        volumes: (n, z, y, x).
        std: (n,).
        noise: (n, 2, z, y, x), standard normal.
    """
    for i in range(len(volumes)):
        values, scale = volumes[i].ravel(), np.float32(std[i])
        first, second = noise[i, 0].ravel(), noise[i, 1].ravel()
        for k in range(values.size):
            a, b = values[k] + scale * first[k], scale * second[k]
            values[k] = np.sqrt(a * a + b * b)
