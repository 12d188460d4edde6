"""Gaussian filters of volumes on CPU.

Arrays are C-contiguous; volumes (n, z, y, x) or (n, 2, z, y, x) with PET and lesion map, float32; what is made takes their place unless it is returned.
"""

from __future__ import annotations

import math

import numpy as np

from promet.network.compiled import compiled

Array = np.ndarray


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
