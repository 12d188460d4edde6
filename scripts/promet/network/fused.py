"""SqueezeNet's stem, fire modules and poolings on CPU, in training and in scoring: the layers one by one, but for rounding.

Convolutions and matrix products are torch's; batch norm, ReLU, bypass, joining and pooling are the loops of loops.py, so that each map is
read and written as seldom as possible. Gradients are written out, since the chain of single steps would keep and read every map between.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from promet.network import cube, loops

RELU, NO_RELU = 0.0, -np.inf
CHANNELS_LAST = torch.channels_last_3d
aten = torch.ops.aten


def applies(module: nn.Module, x: Tensor) -> bool:
    """Training, or scoring without gradients, on CPU; elsewhere hooks may want the layers one by one, or torch is as fast."""
    return x.device.type == "cpu" and (module.training or torch.is_inference_mode_enabled())


def _rows(x: Tensor) -> Tensor:
    """(n, channels, z, y, x) to (voxels, channels), without a copy when the map is channels-last."""
    return x.movedim(1, -1).reshape(-1, x.shape[1])


def _maps(x: Tensor) -> np.ndarray:
    """(n, channels, z, y, x) to (n, z, y, x, channels)."""
    return x.movedim(1, -1).contiguous().numpy()


def _empty(like: Tensor, *shape: int) -> Tensor:
    """A channels-last map (n, channels, z, y, x)."""
    return torch.empty(shape, dtype=like.dtype, memory_format=CHANNELS_LAST)


class _Norm:
    """A batch norm with the statistics of this batch in training, the running ones in scoring.

    The bias of the convolution before it is never added: the norm takes it away again, so it moves the running mean and nothing else.

    Args:
        conv, norm: the two layers.
        dtype: of the maps.
        measured: mean and biased variance of the batch (channels,), float64, and the number of voxels; None takes the running ones.
    """

    def __init__(
        self,
        conv: nn.Conv3d,
        norm: nn.BatchNorm3d,
        dtype: torch.dtype,
        measured: tuple[np.ndarray, np.ndarray, int] | None,
    ) -> None:
        bias, kind = conv.bias.detach(), torch.empty(0, dtype=dtype).numpy().dtype
        if measured:
            mean, variance, self.count = measured
            for running, new in (
                (norm.running_mean, torch.from_numpy(mean).to(dtype) + bias),
                (norm.running_var, torch.from_numpy(variance * self.count / (self.count - 1)).to(dtype)),
            ):
                running.lerp_(new, norm.momentum)
            norm.num_batches_tracked.add_(1)
        else:
            mean, variance = (norm.running_mean - bias).double().numpy(), norm.running_var.double().numpy()
        self.inverse = 1 / np.sqrt(variance + norm.eps)
        self.mean = mean.astype(kind)
        self.factor = (norm.weight.detach().numpy() * self.inverse).astype(kind)
        self.shift = norm.bias.detach().numpy()

    def apply(
        self, rows: Tensor, out: Tensor, first: int = 0, lowest: float = RELU, bypass: Tensor | None = None
    ) -> None:
        """Write the normalised rows into channels of ``out``, see loops.py."""
        given = rows.numpy(), self.mean, self.factor, self.shift
        if bypass is None:
            loops.normalise(*given, lowest, out.numpy(), first)
        else:
            loops.normalise_onto(*given, bypass.numpy(), out.numpy(), first)

    def sums(
        self, grad: Tensor, first: int, rows: Tensor, lowest: float
    ) -> tuple[Tensor, Tensor, np.ndarray, np.ndarray]:
        """Gradients of weight and bias; slope and offset of the gradient that each voxel gets for its share in the statistics."""
        total, product = loops.gradient_sums(
            grad.numpy(), first, rows.numpy(), self.mean, self.factor, self.shift, lowest
        )
        kind = self.mean.dtype
        slope = -self.factor * self.inverse**2 * product / self.count
        offset = -self.factor * total / self.count
        weight, bias = (
            torch.from_numpy(value.astype(kind, copy=False)) for value in (product * self.inverse, total)
        )
        return weight, bias, slope.astype(kind), offset.astype(kind)

    def backward(
        self, grad: Tensor, first: int, rows: Tensor, lowest: float = RELU
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of the raw rows, of weight and bias."""
        weight, bias, slope, offset = self.sums(grad, first, rows, lowest)
        out = torch.empty_like(rows)
        self.spread(grad, first, rows, lowest, slope, offset, out)
        return out, weight, bias

    def spread(
        self,
        grad: Tensor,
        first: int,
        rows: Tensor,
        lowest: float,
        slope: np.ndarray,
        offset: np.ndarray,
        out: Tensor,
    ) -> None:
        """The gradient of the raw rows, see loops.py."""
        given = grad.numpy(), first, rows.numpy(), self.mean, self.factor, self.shift, lowest
        loops.gradient(*given, slope, offset, out.numpy())


def _measured(rows: Tensor, training: bool) -> tuple[np.ndarray, np.ndarray, int] | None:
    return (*loops.moments(rows.numpy()), len(rows)) if training else None


# ---------------------------------------------------------------- fire


def _fire(layer: Any, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...], tuple[_Norm, ...]]:
    """Output, maps and norms for the backward pass."""
    squeeze, squeeze_norm = layer.squeeze[:2]
    (one, one_norm), (three, three_norm) = layer.expand1, layer.expand3
    rows, sizes = _rows(x), (x.shape[0], *x.shape[2:])
    raw = rows @ squeeze.weight.flatten(1).T
    first = _Norm(squeeze, squeeze_norm, x.dtype, _measured(raw, layer.training))
    narrow = torch.empty_like(raw)
    first.apply(raw, narrow)
    narrow_map = narrow.unflatten(0, sizes).movedim(-1, 1)
    parts = narrow @ one.weight.flatten(1).T, _rows(cube.forward(narrow_map, three.weight, three.groups))
    out = _empty(x, x.shape[0], 2 * one.out_channels, *x.shape[2:])
    bypass, lowest = rows if layer.bypass else None, RELU if layer.relu else NO_RELU
    norms = [first]
    for number, (part, conv, norm) in enumerate(
        zip(parts, (one, three), (one_norm, three_norm), strict=True)
    ):
        norms.append(_Norm(conv, norm, x.dtype, _measured(part, layer.training)))
        norms[-1].apply(part, _rows(out), number * one.out_channels, lowest, bypass)
    if layer.bypass and layer.relu:
        out.relu_()
    return out, (rows, raw, narrow, *parts), tuple(norms)


class _Fire(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, layer: Any, x: Tensor, *_: Tensor) -> Tensor:  # type: ignore[override]
        out, maps, ctx.norms = _fire(layer, x)
        ctx.layer, ctx.sizes = layer, (x.shape[0], *x.shape[2:])
        ctx.save_for_backward(*maps, *([out] if layer.bypass and layer.relu else []))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        layer, (rows, raw, narrow, wide1, wide3, *out) = ctx.layer, ctx.saved_tensors
        first, second, third = ctx.norms
        squeeze, one, three = layer.squeeze[0], layer.expand1[0], layer.expand3[0]
        if out:
            grad = aten.threshold_backward(grad, out[0], 0)
        grad = _rows(grad)
        lowest = RELU if layer.relu and not layer.bypass else NO_RELU
        wide1, scale1, shift1 = second.backward(grad, 0, wide1, lowest)
        wide3, scale3, shift3 = third.backward(grad, one.out_channels, wide3, lowest)
        weight1 = wide1.T @ narrow
        maps = (part.unflatten(0, ctx.sizes).movedim(-1, 1) for part in (wide3, narrow))
        back, weight3 = cube.backward(*maps, three.weight, three.groups)
        back = torch.addmm(_rows(back), wide1, one.weight.flatten(1))
        raw, scale, shift = first.backward(back, 0, raw)
        weight = raw.T @ rows
        flat = squeeze.weight.flatten(1)
        x = torch.addmm(grad, raw, flat) if layer.bypass else raw @ flat
        gradients = []
        for conv, *others in (
            (squeeze, weight, scale, shift),
            (one, weight1, scale1, shift1),
            (three, weight3, scale3, shift3),
        ):
            gradients += [others[0].view_as(conv.weight), torch.zeros_like(conv.bias), *others[1:]]
        return None, x.unflatten(0, ctx.sizes).movedim(-1, 1), *gradients


def fire(layer: Any, x: Tensor) -> Tensor:
    """The fire module of squeezenet.py."""
    if not layer.training:
        return _fire(layer, x)[0]
    return _Fire.apply(layer, x, *layer.parameters())


# ---------------------------------------------------------------- pooling


def _pooled(x: Tensor, start: float) -> tuple[Tensor, np.ndarray]:
    """Maximum and its places, see loops.py."""
    out = _empty(x, *x.shape[:2], *(-(-size // 2) for size in x.shape[2:]))
    places = np.empty(_maps(out).shape, np.uint8)
    loops.max_pool(_maps(x), start, _maps(out), places)
    return out, places


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
        out, ctx.places = _pooled(x, RELU)
        ctx.shape = x.shape
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        out = _empty(grad, *ctx.shape).zero_()
        loops.max_pool_gradient(_maps(grad), ctx.places, _maps(out))
        return out


def pool(x: Tensor) -> Tensor:
    """Max pooling of 3 at stride 2 and ReLU."""
    return _Pool.apply(x) if torch.is_grad_enabled() else _pooled(x, RELU)[0]


# ---------------------------------------------------------------- stem


def _pairs(x: Tensor) -> tuple[Tensor, ...]:
    """Two or three volumes each: the largest maps stay in the processor's cache, and torch sees that they are channels-last."""
    return x.tensor_split(max(1, len(x) // 2))


def _stem(
    x: Tensor, conv: nn.Conv3d, norm: nn.BatchNorm3d
) -> tuple[Tensor, Tensor, list[np.ndarray], Tensor, Tensor, _Norm]:
    """Output; pooled raw map, its places, weight with the signs of the norm's scale, signs, norm for the backward pass.

    A batch norm is monotone in each channel: the raw convolution is pooled first and only the pooled map is normalised.
    """
    sign = torch.where(norm.weight < 0, -1.0, 1.0).to(x.dtype)
    signed = (conv.weight * sign.view(-1, 1, 1, 1, 1)).contiguous(memory_format=CHANNELS_LAST)
    means, variances, counts, pooled, places = [], [], [], [], []
    for part in _pairs(x):
        y = functional.conv3d(part, signed, None, conv.stride, 1)
        if norm.training:
            mean, variance = loops.moments(_rows(y).numpy())
            means.append(mean)
            variances.append(variance)
            counts.append(y.shape[0] * y[0, 0].numel())
        largest, place = _pooled(y, NO_RELU)
        pooled.append(largest)
        places.append(place)
    measured = None
    signs = sign.double().numpy()
    if norm.training:
        centres, share = np.stack(means), np.array(counts) / sum(counts)
        mean = share @ centres
        measured = mean * signs, share @ (np.stack(variances) + (centres - mean) ** 2), sum(counts)
    whole = torch.cat(pooled)
    normed = _Norm(conv, norm, x.dtype, measured)
    normed.mean, normed.factor = (
        (value * signs).astype(value.dtype) for value in (normed.mean, normed.factor)
    )
    out = torch.empty_like(whole)
    normed.apply(_rows(whole), _rows(out))
    return out, whole, places, signed, sign, normed


class _Stem(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, conv: nn.Conv3d, norm: nn.BatchNorm3d, *_: Tensor) -> Tensor:  # type: ignore[override]
        out, pooled, ctx.places, signed, sign, ctx.norm = _stem(x, conv, norm)
        ctx.stride = conv.stride
        ctx.save_for_backward(x, pooled, signed, sign)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        (x, pooled, signed, sign), norm = ctx.saved_tensors, ctx.norm
        grad, pooled = _rows(grad), _rows(pooled)
        scale, shift, slope, offset = norm.sums(grad, 0, pooled, RELU)
        peaks = torch.empty_like(pooled)
        none = np.zeros_like(slope)
        norm.spread(grad, 0, pooled, RELU, none, none, peaks)
        # The convolution itself scales and shifts; computing it again takes less time than writing and reading its result.
        slope, offset = torch.from_numpy(slope), torch.from_numpy(offset - slope * norm.mean)
        sloped = signed * slope.view(-1, 1, 1, 1, 1)
        total, start = torch.zeros_like(signed), 0
        for part, places in zip(_pairs(x), ctx.places, strict=True):
            y = functional.conv3d(part, sloped, offset, ctx.stride, 1).contiguous(memory_format=CHANNELS_LAST)
            size = places[..., 0].size
            loops.max_pool_gradient(
                peaks[start : start + size].numpy().reshape(places.shape), places, _maps(y)
            )
            start += size
            given = (y, part, signed, None, ctx.stride, [1] * 3, [1] * 3, False, [0] * 3, 1)
            total += aten.convolution_backward(*given, [False, True, False])[1]
        weight = total * sign.view(-1, 1, 1, 1, 1)
        return None, None, None, weight, torch.zeros_like(shift), scale * sign, shift


def stem(x: Tensor, conv: nn.Conv3d, norm: nn.BatchNorm3d) -> Tensor:
    """Convolution, batch norm, pooling and ReLU; ``x`` gets no gradient."""
    if not norm.training:
        return _stem(x, conv, norm)[0]
    return _Stem.apply(x, conv, norm, conv.weight, conv.bias, norm.weight, norm.bias)
