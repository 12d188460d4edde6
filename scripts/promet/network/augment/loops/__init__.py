"""The transforms as compiled loops, for volumes on CPU alone: nothing else loads this folder, nor numba."""

from promet.network.augment.loops.filter import band, convolve, sharpen
from promet.network.augment.loops.intensity import (
    bend,
    bias,
    cut,
    noisy,
    power,
    rician,
    shift,
    shuffle,
    spike,
)
from promet.network.augment.loops.random import normal, uniform
from promet.network.augment.loops.resample import resample

__all__ = [
    "band",
    "bend",
    "bias",
    "convolve",
    "cut",
    "noisy",
    "normal",
    "power",
    "resample",
    "rician",
    "sharpen",
    "shift",
    "shuffle",
    "spike",
    "uniform",
]
