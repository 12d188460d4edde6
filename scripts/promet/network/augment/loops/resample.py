"""Volumes read at moved places on CPU."""

from __future__ import annotations

import numpy as np

from promet.network.augment.loops.math import ROUND
from promet.network.compiled import compiled

Array = np.ndarray
OUTSIDE = np.float32(-1)  # from here on outwards everything is 0
ONE = np.uint64(1)  # with signed numbers each index would be checked for a negative one


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
