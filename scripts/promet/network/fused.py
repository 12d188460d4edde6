"""SqueezeNet's stem, fire modules and poolings on CPU, in training and in scoring: the layers one by one, but for rounding.

Convolutions and matrix products are torch's; batch norm, ReLU, bypass, joining and pooling are the loops of loops.py, so that each map is
read and written as seldom as possible. Gradients are written out, since the chain of single steps would keep and read every map between.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from promet.network import cube, loops

RELU, NO_RELU = 0.0, -np.inf
CHANNELS_LAST = torch.channels_last_3d
NONE = np.empty(0)
COLUMNS = 32  # loops over multiples of it have no remainder
aten = torch.ops.aten


def applies(module: nn.Module, x: Tensor) -> bool:
    """Training, or scoring without gradients, on CPU; elsewhere hooks may want the layers one by one, or torch is as fast."""
    return x.device.type == "cpu" and (module.training or torch.is_inference_mode_enabled())


def _rows(x: Tensor) -> Tensor:
    """(n, channels, z, y, x) to (voxels, channels), without a copy when the map is channels-last. To read, not to write."""
    return x.movedim(1, -1).reshape(-1, x.shape[1])


def _maps(x: Tensor) -> np.ndarray:
    """(n, channels, z, y, x) to (n, z, y, x, channels), likewise."""
    return x.movedim(1, -1).contiguous().numpy()


def _sizes(x: Tensor) -> tuple[int, ...]:
    """n, z, y, x of a map."""
    return x.shape[0], *x.shape[2:]


def _map(rows: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """(voxels, channels) to a channels-last map of these sizes (n, z, y, x), without a copy."""
    return rows.view(*sizes, -1).movedim(-1, 1)


def _flat(maps: np.ndarray) -> np.ndarray:
    """(n, z, y, x, channels) to (voxels, channels), without a copy."""
    return maps.reshape(-1, maps.shape[-1], copy=False)


# ---------------------------------------------------------------- batch norm


def _fold(
    conv: nn.Conv3d, norm: nn.BatchNorm3d, mean: np.ndarray, variance: np.ndarray, count: int
) -> np.ndarray:
    """See loops.py; with the batch's statistics in training, with the running ones (count 0) in scoring."""
    if count:
        norm.num_batches_tracked.add_(1)
    layers = (conv.bias, norm.weight, norm.bias, norm.running_mean, norm.running_var)
    return loops.fold(
        mean, variance, *(part.detach().numpy() for part in layers), norm.momentum, count, norm.eps
    )


def _norm(
    rows: Tensor,
    conv: nn.Conv3d,
    norm: nn.BatchNorm3d,
    out: Tensor,
    first: int = 0,
    lowest: float = RELU,
    bypass: Tensor | None = None,
) -> np.ndarray:
    """Write normalised rows into channels of ``out``; gives what the gradient needs, see ``loops.fold``."""
    raw = rows.numpy()
    measured = (*loops.moments(raw), len(raw)) if norm.training else (NONE, NONE, 0)
    fold = _fold(conv, norm, *measured)
    if bypass is None:
        loops.normalise(raw, fold, lowest, out.numpy(), first)
    else:
        loops.normalise_onto(raw, fold, bypass.numpy(), out.numpy(), first)
    return fold


def _norm_backward(
    grad: Tensor, first: int, rows: Tensor, fold: np.ndarray, lowest: float = RELU
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of the norm's weight and bias; that of the raw rows takes their place."""
    given = grad.numpy(), first, rows.numpy(), fold, lowest
    weight, bias, *shares = loops.gradient_sums(*given, len(rows))
    loops.gradient(*given, *shares)
    return weight, bias


# ---------------------------------------------------------------- fire


def _fire(layer: Any, x: Tensor) -> tuple[Tensor, list[Tensor], list[np.ndarray]]:
    """Output, maps and norms for the backward pass."""
    (squeeze, squeeze_norm, _), (one, one_norm), (three, three_norm) = (
        layer.squeeze,
        layer.expand1,
        layer.expand3,
    )
    rows, sizes = _rows(x), _sizes(x)
    raw = rows @ squeeze.weight.flatten(1).T
    narrow = torch.empty_like(raw)
    folds = [_norm(raw, squeeze, squeeze_norm, narrow)]
    wide1 = narrow @ one.weight.flatten(1).T
    wide3 = _rows(cube.forward(_map(narrow, sizes), three.weight, three.groups))
    out = torch.empty(len(rows), 2 * one.out_channels, dtype=x.dtype)
    how = RELU if layer.relu else NO_RELU, rows if layer.bypass else None
    folds.append(_norm(wide1, one, one_norm, out, 0, *how))
    folds.append(_norm(wide3, three, three_norm, out, one.out_channels, *how))
    if layer.bypass and layer.relu:
        out.relu_()
    return _map(out, sizes), [rows, raw, narrow, wide1, wide3], folds


class _Fire(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, layer: Any, x: Tensor, *_: Tensor) -> Tensor:  # type: ignore[override]
        out, ctx.maps, ctx.folds = _fire(layer, x)
        ctx.layer, ctx.sizes = layer, _sizes(x)
        ctx.save_for_backward(*([out] if layer.bypass and layer.relu else []))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        layer, (rows, raw, narrow, wide1, wide3), folds = ctx.layer, ctx.maps, ctx.folds
        del ctx.maps  # some are written over: there is no second time
        squeeze, one, three = layer.squeeze[0], layer.expand1[0], layer.expand3[0]
        if ctx.saved_tensors:
            grad = aten.threshold_backward(grad, ctx.saved_tensors[0], 0)
        grad = _rows(grad)
        lowest = RELU if layer.relu and not layer.bypass else NO_RELU
        norm1 = _norm_backward(grad, 0, wide1, folds[1], lowest)
        norm3 = _norm_backward(grad, one.out_channels, wide3, folds[2], lowest)
        back, weight3 = cube.backward(
            _map(wide3, ctx.sizes), _map(narrow, ctx.sizes), three.weight, three.groups
        )
        back = _rows(back).addmm_(wide1, one.weight.flatten(1))
        norm = _norm_backward(back, 0, raw, folds[0])
        flat = squeeze.weight.flatten(1)
        x = torch.addmm(grad, raw, flat) if layer.bypass else raw @ flat
        gradients: list[Tensor] = []
        for conv, weight, norms in (
            (squeeze, raw.T @ rows, norm),
            (one, wide1.T @ narrow, norm1),
            (three, weight3, norm3),
        ):
            gradients += [weight.view_as(conv.weight), *map(torch.from_numpy, norms)]
        return None, _map(x, ctx.sizes), *gradients


def fire(layer: Any, x: Tensor) -> Tensor:
    """The fire module of squeezenet.py."""
    if not layer.training:
        return _fire(layer, x)[0]
    parts = layer.squeeze, layer.expand1, layer.expand3
    learnt = [tensor for conv, norm, *_ in parts for tensor in (conv.weight, norm.weight, norm.bias)]
    return _Fire.apply(layer, x, *learnt)


# ---------------------------------------------------------------- pooling


def _halved(sizes: tuple[int, ...]) -> tuple[int, ...]:
    """n, z, y, x after a pooling."""
    return sizes[0], *(-(-size // 2) for size in sizes[1:])


def _pooled(x: Tensor) -> tuple[Tensor, np.ndarray]:
    """Maximum and its places, see loops.py."""
    out = torch.empty(*_halved(_sizes(x)), x.shape[1], dtype=x.dtype)
    places = np.empty(out.shape, np.uint8)
    loops.max_pool(_maps(x), RELU, out.numpy(), places)
    return out.movedim(-1, 1), places


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
        out, ctx.places = _pooled(x)
        ctx.sizes = _sizes(x)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        out = torch.empty(*ctx.sizes, grad.shape[1], dtype=grad.dtype)
        loops.max_pool_gradient(_maps(grad), ctx.places, out.numpy())
        return out.movedim(-1, 1)


def pool(x: Tensor) -> Tensor:
    """Max pooling of 3 at stride 2 and ReLU."""
    return _Pool.apply(x) if torch.is_grad_enabled() else _pooled(x)[0]


# ---------------------------------------------------------------- stem


def _stem(x: Tensor, conv: nn.Conv3d, norm: nn.BatchNorm3d) -> tuple[Tensor, tuple[Any, ...]]:
    """Output; for the backward pass: pooled raw map, its places, weight with the signs of the norm's scale, signs, norm, voxels.

    A batch norm is monotone in each channel: the raw convolution is pooled first and only the pooled map is normalised.
    """
    signs = torch.where(norm.weight < 0, -1.0, 1.0).to(x.dtype).numpy()
    weight = conv.weight.detach().movedim(1, -1).numpy() * signs.reshape(-1, 1, 1, 1, 1)  # out, z, y, x, in
    pooled, places, parts = None, None, []
    # Two or three volumes each: the largest maps stay in the processor's cache, and torch sees that they are channels-last.
    for part in np.array_split(np.arange(len(x)), max(1, len(x) // 2)):
        some = slice(part[0], part[-1] + 1)
        y = _maps(functional.conv3d(x[some], torch.from_numpy(weight).movedim(-1, 1), None, conv.stride, 1))
        if norm.training:
            parts.append((*loops.moments(y.reshape(-1, y.shape[-1])), y[..., 0].size))
        if pooled is None:
            pooled = np.empty((len(x), *_halved(y.shape[:4])[1:], y.shape[-1]), y.dtype)
            places = np.empty(pooled.shape, np.uint8)
        loops.max_pool(y, NO_RELU, pooled[some], places[some])
    measured = NONE, NONE, 0
    if norm.training:
        means, variances, counts = map(np.stack, zip(*parts, strict=True))
        share = counts / counts.sum()
        mean = share @ means
        measured = mean * signs, share @ (variances + (means - mean) ** 2), int(counts.sum())
    fold = _fold(conv, norm, *measured)
    fold[:2] *= signs
    out = torch.empty(pooled.shape, dtype=x.dtype)
    loops.normalise(_flat(pooled), fold, RELU, _flat(out.numpy()), 0)
    return out.movedim(-1, 1), (pooled, places, weight, signs, fold, measured[2])


def _stem_weight(
    volumes: np.ndarray,
    strides: tuple[int, int],
    peaks: np.ndarray,
    places: np.ndarray,
    weight: np.ndarray,
    offset: np.ndarray,
) -> np.ndarray:
    """Gradient of the weight of a 3x3x3 convolution (stride 1 in z), if its map's is its own product with ``weight``, plus ``offset``,
    plus ``peaks`` at the maxima.

    The map is not computed again: its product with the neighbourhoods is the weight's with their products with each other, and those
    depend on two slices only. Slices of zeros at both ends let a shift by one or two rows pair the slices of each place.

    Args:
        volumes: (n, z, y, x, channels).
        strides: in y and x.
        peaks, places: (n, Z, Y, X, out), see ``loops.max_pool``.
        weight: (out, 3, 3, 3, channels).
        offset: (out,).
    """
    _, depth, *area, channels = volumes.shape
    size = 9 * channels
    each = 6 * channels + -(-(3 * channels + 1) // loops.CELL) * loops.CELL
    shape = *(-(-length // step) for length, step in zip(area, strides, strict=True)), depth + 2, each
    columns = -(-3 * each // COLUMNS) * COLUMNS
    numbers = np.zeros(math.prod(shape) + columns, volumes.dtype)
    around = numbers[: math.prod(shape)].reshape(shape)
    rows = torch.from_numpy(around).view(-1, each)[:, : size + 1]
    first, last = (torch.from_numpy(around[:, :, z, : size + 1]).view(-1, size + 1) for z in (1, depth))
    at_maxima = np.zeros((len(weight), columns), volumes.dtype)
    pairs = np.zeros((5, size + 1, size + 1))
    for volume, *maxima in zip(volumes, peaks, places, strict=True):
        loops.neighbourhoods(volume, *strides, around)
        loops.weight_gradient(*maxima, around, numbers, at_maxima)
        products = [rows[: len(rows) - shift].T @ rows[shift:] for shift in range(3)]
        pairs += torch.stack([*products, first.T @ first, last.T @ last]).numpy()
    same, next_one, next_two, first_one, last_one = pairs
    whole = np.block(
        [
            [same - last_one, next_one, next_two],
            [next_one.T, same, next_one],
            [next_two.T, next_one.T, same - first_one],
        ]
    )
    map_from = np.zeros((len(weight), 3, size + 1))
    map_from[..., :size] = weight.reshape(-1, 3, size)
    map_from[:, 1, size] = offset
    flat = torch.from_numpy(map_from).flatten(1)  # torch's threads are one, numpy's are not
    everywhere = (flat @ torch.from_numpy(whole)).view(map_from.shape).numpy()
    total = everywhere[..., :size] + at_maxima[:, : 3 * each].reshape(-1, 3, each)[..., :size]
    return total.reshape(weight.shape).astype(volumes.dtype)


class _Stem(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, conv: nn.Conv3d, norm: nn.BatchNorm3d, *_: Tensor) -> Tensor:  # type: ignore[override]
        out, ctx.maps = _stem(x, conv, norm)
        ctx.stride = conv.stride
        ctx.save_for_backward(x)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        (x,), (peaks, places, weight, signs, fold, count) = ctx.saved_tensors, ctx.maps
        del ctx.maps  # written over: there is no second time
        given = _rows(grad).numpy(), 0, _flat(peaks), fold, RELU
        scale, shift, slope, offset = loops.gradient_sums(*given, count)
        none = np.zeros_like(slope)
        loops.gradient(*given, none, none)
        per_channel = (array.reshape(-1, 1, 1, 1, 1) for array in (slope, signs))
        slopes, signed = per_channel
        total = signed * _stem_weight(
            _maps(x), ctx.stride[1:], peaks, places, weight * slopes, offset - slope * fold[0]
        )
        gradients = total, scale * signs, shift
        total, scale, shift = map(torch.from_numpy, gradients)
        return None, None, None, total.movedim(-1, 1), scale, shift


def stem(x: Tensor, conv: nn.Conv3d, norm: nn.BatchNorm3d) -> Tensor:
    """Convolution, batch norm, pooling and ReLU; ``x`` gets no gradient."""
    if not norm.training:
        return _stem(x, conv, norm)[0]
    return _Stem.apply(x, conv, norm, conv.weight, norm.weight, norm.bias)
