"""Random numbers on CPU: a sixth of the time of torch's."""

from __future__ import annotations

import math

import numpy as np

from promet.network.augment.loops.math import COSINE, SINE, log2, polynomial
from promet.network.compiled import compiled

Array = np.ndarray
# Of SplitMix64 (Steele, Lea and Flood 2014): the step of its counter, and the factors that mix a counter's bits.
STEP, FIRST, SECOND = (
    np.uint64(0x9E3779B97F4A7C15),
    np.uint64(0xBF58476D1CE4E5B9),
    np.uint64(0x94D049BB133111EB),
)
CHUNK = (
    1024  # words made at once: 64-bit and 32-bit loops apart, since together they would be as slow as 64 bit
)


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
                radius = np.sqrt(np.float32(-2 * math.log(2)) * log2(share))
                angle = np.float32(lower[k]) * np.float32(2.0**-31)  # in pi
                t = abs(angle) - np.float32(0.5)
                across = radius * polynomial(t * t, COSINE)
                first[k] = -radius * t * polynomial(t * t, SINE)  # cos(pi (t + 0.5)) is -sin(pi t)
                second[k] = across if angle > 0 else -across
    return out[:, :size]
