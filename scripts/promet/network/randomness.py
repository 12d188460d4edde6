"""Where every random number of a training comes from."""

from __future__ import annotations

import numpy as np

INITIALISATION, ORDER, DROPOUT, AUGMENTATION, NOISE = range(5)


def derive(seed: int, purpose: int, epoch: int = 0, sample: int = 0) -> int:
    """A 32-bit seed that depends on nothing but its four arguments.

    No generator is carried from epoch to epoch, so the numbers depend neither on the order of the work nor on
    whether the training was interrupted.
    """
    return int(np.random.SeedSequence([seed, purpose, epoch, sample]).generate_state(1)[0])
