"""Is it the same scan? A few numbers of a PET that stay when it is exported again, in whichever encoding and units."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

# Ranks among the hottest voxels: single ones, which noise makes unlike in any other scan, then every second power.
RANKS = (*range(1, 17), *(2**k for k in range(5, 16)))
SPREAD = 3e-4
FEWEST = 6


def signature(suv: np.ndarray) -> list[float]:
    """Logarithms of the hottest voxels' values, by rank, relative to the hottest of all.

    Independent of the order and number of slices (as long as the hottest ones are there), of flips, of the encoding, and
    of one factor for all values (another weight, Bq/ml instead of SUV).

    Args:
        suv: array of any shape.

    Returns:
        One number for each of RANKS that the volume has positive voxels for; empty when the hottest voxels differ too little
        to tell two scans apart (a plateau).
    """
    values = np.asarray(suv).ravel()
    values = values[values > 0]
    most = min(len(values), RANKS[-1])
    if most < RANKS[FEWEST]:
        return []
    top = np.sort(np.partition(values, len(values) - most)[len(values) - most :].astype("float64"))[::-1]
    found = [float(np.log(top[rank - 1] / top[0])) for rank in RANKS if rank <= most]
    steps = sum(a - b > SPREAD for a, b in pairwise(found[:16]))
    return [round(value, 6) for value in found] if steps >= FEWEST else []
