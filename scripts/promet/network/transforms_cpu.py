"""Loops of the transforms for CPU, where torch has no fast operation: reading at moved places, filters, curves, powers, waves, shuffled
boxes, random numbers.

Arrays are C-contiguous; volumes (n, z, y, x) or (n, 2, z, y, x) with PET and lesion map, float32. A loop returns
its result, or None where it writes that into the volumes.
"""

from __future__ import annotations

import math

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
CHUNK = (
    1024  # words made at once: 64-bit and 32-bit loops apart, since together they would be as slow as 64 bit
)
# Least-maximum polynomials, lowest power first; errors 3e-8, 8e-8 (relative), 5e-9 (relative) and 5e-8.
LOG2 = (1.442695, -0.72134735, 0.48091064, -0.36070368, 0.28791623, -0.23894494, 0.21571591, -0.20726909)
LOG2 = tuple(np.float32(term) for term in (*LOG2, 0.12583538))  # log2(1 + t) / t, 1 + t from 0.707 to 1.414
EXP2 = (1.00000007, 0.69314697, 0.2402212, 0.05550713, 0.00967554, 0.00132765)
EXP2 = tuple(np.float32(term) for term in EXP2)  # 2^t, t from -0.5 to 0.5
SINE = (3.14159264, -5.16770968, 2.55006973, -0.59824213, 0.07756039)
SINE = tuple(np.float32(term) for term in SINE)  # sin(pi t) / t in t^2, t from -0.5 to 0.5
COSINE = (0.99999995, -4.93479286, 4.05841192, -1.33188016, 0.21969679)
COSINE = tuple(np.float32(term) for term in COSINE)  # cos(pi t) in t^2


@compiled
def _polynomial(x: float, terms: tuple[float, ...]) -> float:
    value = terms[-1]
    for k in range(len(terms) - 2, -1, -1):
        value = value * x + terms[k]
    return value


@compiled
def _log2(x: float) -> float:
    """Of a float32 that is positive and not subnormal; without a call, so that loops stay vectors."""
    bits = np.float32(x).view(np.int32)
    power = np.int32(np.int32(bits - np.int32(0x3F3504F3)) >> np.int32(23))  # 0 from 0.707 to 1.414
    t = np.int32(bits - np.int32(power << np.int32(23))).view(np.float32) - np.float32(1)
    return t * _polynomial(t, LOG2) + np.float32(power)


@compiled
def _exp2(x: float) -> float:
    """Of a float32 below 127; 2^-126 for what is smaller."""
    x = np.float32(-126) if x < np.float32(-126) else x
    whole = x + ROUND - ROUND
    scale = np.int32((np.int32(whole) + np.int32(127)) << np.int32(23)).view(np.float32)
    return _polynomial(x - whole, EXP2) * scale


@compiled
def _words(seed: int, start: int, upper: Array, lower: Array) -> None:
    """Halves of the words of SplitMix64 from number ``start`` on."""
    for k in range(upper.size):
        word = seed + np.uint64(start + k + 1) * STEP
        word = (word ^ (word >> np.uint64(30))) * FIRST
        word = (word ^ (word >> np.uint64(27))) * SECOND
        word ^= word >> np.uint64(31)
        upper[k], lower[k] = np.int32(word >> np.uint64(32)), np.int32(word)


@compiled
def uniform(seeds: Array, size: int) -> Array:
    """(n, size) float32, uniform from -1 to 1: the upper, then the lower halves of the words of SplitMix64 from each of the (n,) seeds."""
    half = (size + 1) // 2
    out = np.empty((len(seeds), 2 * half), np.float32)
    upper, lower = np.empty(CHUNK, np.int32), np.empty(CHUNK, np.int32)
    for i in range(len(seeds)):
        for start in range(0, half, CHUNK):
            count = min(CHUNK, half - start)
            _words(np.uint64(seeds[i]), start, upper[:count], lower[:count])
            first, second = out[i, start : start + count], out[i, half + start : half + start + count]
            for k in range(count):
                first[k] = np.float32(upper[k]) * np.float32(2.0**-31)
                second[k] = np.float32(lower[k]) * np.float32(2.0**-31)
    return out[:, :size]


@compiled
def normal(seeds: Array, size: int) -> Array:
    """(n, size) float32, standard normal, by Box and Muller: a word's upper half is the radius, its lower half the angle of two numbers."""
    half = (size + 1) // 2
    out = np.empty((len(seeds), 2 * half), np.float32)
    upper, lower = np.empty(CHUNK, np.uint32), np.empty(CHUNK, np.int32)
    for i in range(len(seeds)):
        for start in range(0, half, CHUNK):
            count = min(CHUNK, half - start)
            _words(np.uint64(seeds[i]), start, upper[:count], lower[:count])
            first, second = out[i, start : start + count], out[i, half + start : half + start + count]
            for k in range(count):
                share = (np.float32(upper[k]) + np.float32(0.5)) * np.float32(2.0**-32)
                radius = np.sqrt(np.float32(-2 * math.log(2)) * _log2(share))
                angle = np.float32(lower[k]) * np.float32(2.0**-31)  # in pi
                t = abs(angle) - np.float32(0.5)
                across = radius * _polynomial(t * t, COSINE)
                first[k] = -radius * t * _polynomial(t * t, SINE)  # cos(pi (t + 0.5)) is -sin(pi t)
                second[k] = across if angle > 0 else -across
    return out[:, :size]


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
def resample(volumes: Array, matrix: Array, offsets: Array) -> None:
    """Volumes seen through a linear map about their centre, and moved: the value at i comes from matrix (i - centre) + centre + offset.

    Args:
        volumes: (n, 2, z, y, x).
        matrix: (n, 3, 4) float64, voxels, axes z, y, x, shift in the last column.
        offsets: (n, 3, z, y, x) float32, voxels; empty for none.
    """
    n, _, depth, rows, columns = volumes.shape
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
                        moved = offsets[i, axis, z, y]
                        for x in range(columns):
                            line[x] += moved[x]
                _split(places[axis].ravel(), volumes.shape[2 + axis], steps[axis], corner, nearest)
            fractions = places[0].ravel(), places[1].ravel(), places[2].ravel()
            _read(padded, *fractions, corner, nearest, volumes[i, 0, z].ravel(), volumes[i, 1, z].ravel())


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
            values[k] = _exp2(exponent * _log2(share)) * extent + least + kept


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
    """In one box after the other the voxels change places.

    Args:
        volumes: (n, z, y, x).
        corner, size: (n, boxes, 3) voxels.
        count: (n,) how many of the boxes exist.
        keys: (n, boxes, voxels of the largest box); their order is the permutation.
    """
    for i in range(len(volumes)):
        for box in range(count[i]):
            (z, y, x), (depth, high, wide) = corner[i, box], size[i, box]
            part = volumes[i, z : z + depth, y : y + high, x : x + wide]
            values = part.copy().ravel()
            order = np.argsort(keys[i, box, : values.size], kind="mergesort")  # stable
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
                    values[k] *= _exp2(exponent[k])


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


@compiled
def _tail(sigma: float, truncated: float) -> int:
    """Voxels on each side of the middle of monai's gaussian_1d."""
    return int(max(sigma * truncated, 0.5) + 0.5)


@compiled
def _kernel(sigma: float, distance: int) -> float:
    """monai's gaussian_1d at this distance in voxels."""
    narrow = 0.70710678 / sigma
    return 0.5 * (math.erf(narrow * (distance + 0.5)) - math.erf(narrow * (distance - 0.5)))


@compiled
def band(sigma: Array, truncated: float, size: int) -> Array:
    """(n, size, size) float32: the Gaussian filters of ``size`` voxels as matrices; sigma (n,) voxels."""
    out = np.zeros((len(sigma), size, size), np.float32)
    for i in range(len(sigma)):
        for d in range(min(_tail(sigma[i], truncated), size - 1) + 1):
            weight = _kernel(sigma[i], d)
            for k in range(size - d):
                out[i, k, k + d] = out[i, k + d, k] = weight
    return out


@compiled
def _spread(given: Array, step: int, kernel: Array, tail: int, out: Array) -> None:
    """Symmetric filter along an axis whose neighbours lie ``step`` apart; ``given`` has tail * step more at each end than ``out``."""
    middle, size = tail * step, out.size
    here, weight = given[middle : middle + size], kernel[0]
    for k in range(size):
        out[k] = weight * here[k]
    for d in range(1, tail, 2):  # two distances at once: half as often through ``out``
        before, behind, near = given[middle - d * step :], given[middle + d * step :], kernel[d]
        first, last, far = given[middle - (d + 1) * step :], given[middle + (d + 1) * step :], kernel[d + 1]
        for k in range(size):
            out[k] += near * (before[k] + behind[k]) + far * (first[k] + last[k])
    if tail % 2:
        first, last, weight = given, given[2 * middle :], kernel[tail]
        for k in range(size):
            out[k] += weight * (first[k] + last[k])


@compiled
def convolve(volumes: Array, sigma: Array, truncated: float) -> None:
    """Gaussian filter, along z, y and x, plane by plane; 0 outside.

    Args:
        volumes: (n, z, y, x).
        sigma: (n, 3) voxels in z, y, x.
        truncated: half width of the kernel in sigmas.
    """
    n, depth, rows, columns = volumes.shape
    plane = rows * columns
    flat = np.empty(plane, np.float32)
    for i in range(n):
        tail_z, tail_y, tail_x = (
            _tail(sigma[i, 0], truncated),
            _tail(sigma[i, 1], truncated),
            _tail(sigma[i, 2], truncated),
        )
        kernels = np.empty((3, max(tail_z, tail_y, tail_x) + 1), np.float32)
        for axis in range(3):
            for d in range(kernels.shape[1]):
                kernels[axis, d] = _kernel(sigma[i, axis], d)
        wide = columns + tail_x  # the zeros behind a row are also those before the next
        deep = np.zeros((depth + 2 * tail_z) * plane, np.float32)
        deep[tail_z * plane : (tail_z + depth) * plane] = volumes[i].ravel()
        high = np.zeros((rows + 2 * tail_y) * columns, np.float32)
        inner = high[tail_y * columns : (tail_y + rows) * columns]
        spaced, filtered = np.zeros(rows * wide + 2 * tail_x, np.float32), np.empty(rows * wide, np.float32)
        for z in range(depth):
            _spread(deep[z * plane : (z + 2 * tail_z + 1) * plane], plane, kernels[0], tail_z, inner)
            _spread(high, columns, kernels[1], tail_y, flat)
            for y in range(rows):
                to, line = spaced[tail_x + y * wide :], flat[y * columns :]
                for x in range(columns):
                    to[x] = line[x]
            _spread(spaced, 1, kernels[2], tail_x, filtered)
            for y in range(rows):
                to, line = volumes[i, z, y], filtered[y * wide :]
                for x in range(columns):
                    to[x] = line[x]


@compiled
def sharpen(volumes: Array, first: Array, second: Array, alpha: Array, truncated: float) -> None:
    """Blurred + ``alpha`` (n,) (blurred - twice blurred); sigmas (n, 3) of both filters."""
    convolve(volumes, first, truncated)
    twice = volumes.copy()
    convolve(twice, second, truncated)
    for i in range(len(volumes)):
        to, less, strength = volumes[i].ravel(), twice[i].ravel(), np.float32(alpha[i])
        for k in range(to.size):
            to[k] += strength * (to[k] - less[k])
