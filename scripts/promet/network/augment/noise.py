"""The numbers of loops/random.py as tensor operations, for a device: the same words of SplitMix64, all rows at once."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# loops/random.py, as signed numbers of 64 bits; products and sums lose what is beyond these, as there
STEP, FIRST, SECOND = (
    word - (1 << 64) for word in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)


def _shifted(words: Tensor, bits: int) -> Tensor:
    """To the right with zeros after; torch's own shift repeats the sign."""
    return (words >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def _words(seeds: Tensor, count: int) -> Tensor:
    """(n, count) int64, the words from each of the (n,) seeds."""
    words = seeds[:, None] + torch.arange(1, count + 1, device=seeds.device) * STEP
    words = (words ^ _shifted(words, 30)) * FIRST
    words = (words ^ _shifted(words, 27)) * SECOND
    return words ^ _shifted(words, 31)


def uniform(seeds: Tensor, size: int) -> Tensor:
    """(n, size) float32, uniform from -1 to 1, bit for bit those of the loop."""
    words = _words(seeds, (size + 1) // 2)
    halves = torch.cat([words >> 32, words.to(torch.int32)], dim=1)
    return halves[:, :size].to(torch.float32).mul_(2.0**-31)


def normal(seeds: Tensor, size: int) -> Tensor:
    """(n, size) float32, standard normal, those of the loop but for the rounding of logarithm, sine and cosine."""
    words = _words(seeds, (size + 1) // 2)
    share = _shifted(words, 32).to(torch.float32).add_(0.5).mul_(2.0**-32)
    radius = share.log2_().mul_(-2 * math.log(2)).sqrt_()
    angle = words.to(torch.int32).to(torch.float32).mul_(2.0**-31 * math.pi)
    return torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)[:, :size]
