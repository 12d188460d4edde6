"""SqueezeNet's stem on CPU: convolution, batch norm, pooling and ReLU, in training and in scoring.

A batch norm is monotone in each channel: the raw convolution is pooled first, with the sign of the norm's scale, and only the pooled map is
normalised. The map itself, the network's largest, is neither kept nor made again for the gradient.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from promet.network.cpu import norm_loops, pool_loops, window_loops
from promet.network.cpu.batchnorm import folded, with_running

COLUMNS = 32  # loops over multiples of it have no remainder


class Stem:
    """The forward pass, with what the backward pass needs.

    Args:
        x: (n, channels, z, y, x).
        conv, norm: of squeezenet.py; the norm's running statistics are changed in training.
    """

    def __init__(self, x: Tensor, conv: nn.Conv3d, norm: nn.BatchNorm3d) -> None:
        self.conv, self.volumes = conv, x.movedim(1, -1).contiguous().numpy()
        signs = torch.where(norm.weight < 0, -1.0, 1.0).to(x.dtype)
        weight = conv.weight.detach() * signs.view(-1, 1, 1, 1, 1)
        size = [-(-length // step) for length, step in zip(x.shape[2:], conv.stride, strict=True)]
        self.out = torch.empty(len(x), *(-(-length // 2) for length in size), len(weight), dtype=x.dtype)
        out, self.places = self.out.numpy(), np.empty(self.out.shape, np.int32)
        parts, self.count = [], len(x) * math.prod(size)
        # Two or three volumes each: of one alone torch does not see that it is channels-last.
        for some in np.array_split(np.arange(len(x)), max(1, len(x) // 2)):
            part = slice(some[0], some[-1] + 1)
            volumes = torch.from_numpy(self.volumes[part]).movedim(-1, 1)
            maps = (
                functional.conv3d(volumes, weight, None, conv.stride, 1).movedim(1, -1).contiguous().numpy()
            )
            if norm.training:
                parts.append(
                    (len(some), *pool_loops.max_pool_and_measure(maps, out[part], self.places[part]))
                )
            else:
                pool_loops.max_pool(maps, -np.inf, out[part], self.places[part])
        self.fold = (
            folded(conv, norm, parts, self.count, signs.numpy()) if parts else with_running(conv, norm)
        )
        rows = out.reshape(-1, out.shape[-1], copy=False)
        signed = self.fold.copy()
        signed[:2] *= signs.numpy()
        pool_loops.normalise_peaks(rows, signed, self.places.reshape(rows.shape, copy=False))

    def backward(self, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of weight, scale and shift from that of the output (n, z, y, x, channels).

        Few voxels of the map have a gradient of their own, and what the others get for their share in the statistics is a product of the
        weight with the windows' products with each other.
        """
        weight = _rows_of(self.conv.weight.detach()).double()
        windows = Windows(self.volumes, self.conv.stride[1:])
        at_maxima = np.zeros((len(weight), window_loops.whole(weight.shape[1], COLUMNS)), self.volumes.dtype)
        for volume, *maxima in zip(self.volumes, grad.contiguous().numpy(), self.places, strict=True):
            windows.fill(volume)
            window_loops.weight_gradient(*maxima, windows.slices, windows.numbers, at_maxima)
            windows.add_pairs()
        maxima, products = torch.from_numpy(at_maxima[:, : weight.shape[1]]).double(), windows.products()
        mean = torch.from_numpy(self.fold[0]).double()
        total = maxima[:, windows.one]
        product = (weight * maxima).sum(1) - mean * total
        shares = norm_loops.gradient_shares(self.fold, total.numpy(), product.numpy(), self.count)
        scale, shift, slope, offset = map(torch.from_numpy, shares)
        factor = torch.from_numpy(self.fold[1])
        rows = maxima * factor[:, None] + (weight * slope[:, None]) @ products
        rows += (offset - slope * mean)[:, None] * products[windows.one]
        return _weight_of(rows, self.conv.weight), scale, shift


class Windows:
    """What a 3x3x3 convolution (stride 1 in z, padding 1) sees of one volume after the other, in one place of memory.

    A window is three slices that lie one after the other: rows overlap and nothing is copied three times. Of each slice the number after
    the last is 1, so that sums come with the products, and the rest 0.

    Args:
        like: volumes (n, z, y, x, channels).
        strides: in y and x.
    """

    def __init__(self, like: np.ndarray, strides: tuple[int, int]) -> None:
        _, self.depth, *area, channels = like.shape
        self.strides, self.each = strides, _numbers_of_a_slice(channels)
        self.one = self.each + 9 * channels  # the 1 of the middle slice
        area = [-(-length // step) for length, step in zip(area, strides, strict=True)]
        shape = *area, self.depth + 2, self.each
        self.places, width = math.prod(area), 3 * self.each
        self.numbers = np.empty(math.prod(shape) + window_loops.whole(width, COLUMNS), like.dtype)
        self.slices = self.numbers[: math.prod(shape)].reshape(shape)
        self.numbers[math.prod(shape) :] = 0  # read behind the last window, but never used
        self.row, self.rows = self._rows(1).mT, self._rows(3)
        self.pairs = torch.zeros(self.depth, self.each, width, dtype=self.rows.dtype)

    def fill(self, volume: np.ndarray) -> None:
        """Take up another volume."""
        window_loops.neighbourhoods(volume, *self.strides, self.slices)

    def _rows(self, slices: int) -> Tensor:
        """(z, places, slices * numbers), from the volume's first slice on; slices of zeros lie before and behind it."""
        apart = self.each, (self.depth + 2) * self.each, 1
        shape = self.depth, self.places, slices * self.each
        return torch.from_numpy(self.numbers).as_strided(shape, apart, self.each)

    def add_pairs(self) -> None:
        """Add the products, summed over places, of each slice with itself, the next and the next but one."""
        self.pairs.baddbmm_(self.row, self.rows)

    def products(self) -> Tensor:
        """Products of the windows with themselves, summed over all places so far: float64 (3 * numbers, 3 * numbers)."""
        pairs, first, second = self.pairs.double(), self.each, 2 * self.each
        out = torch.zeros(3 * first, 3 * first, dtype=pairs.dtype)
        # The first slice of a window runs from the zeros before to the last but one, the middle one over all of the volume.
        out[:first] = pairs[:-1].sum(0)
        out[first:second, first:] = pairs.sum(0)[:, :second]
        out[second:, second:] = pairs[1:].sum(0)[:, :first]
        out[first:, :first] = out[:first, first:].T
        out[second:, first:second] = out[first:second, second:].T
        return out


def _numbers_of_a_slice(channels: int) -> int:
    """3 x 3 x channels, a 1, and room up to where ``window_loops.neighbourhoods`` writes."""
    return 6 * channels + window_loops.whole(3 * channels + 1, window_loops.CELL)


def _rows_of(weight: Tensor) -> Tensor:
    """Convolution weight (out, channels, 3, 3, 3) to (out, 3 * numbers of a slice)."""
    out, channels = weight.shape[:2]
    rows = weight.new_zeros(out, 3, _numbers_of_a_slice(channels))
    rows[..., : 9 * channels] = weight.movedim(1, -1).reshape(out, 3, -1)
    return rows.flatten(1)


def _weight_of(rows: Tensor, like: Tensor) -> Tensor:
    """The reverse."""
    out, channels = like.shape[:2]
    inner = rows.view(out, 3, -1)[..., : 9 * channels].reshape(out, 3, 3, 3, channels)
    return inner.movedim(-1, 1).to(like.dtype)
