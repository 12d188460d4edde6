"""SqueezeNet's stem as one step of training on CPU, and batch norms within the convolutions in evaluation: the layers one by one, but
for rounding, with fewer passes over the largest maps.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

aten = torch.ops.aten


def _rows(x: Tensor) -> Tensor:
    """(n, channels, z, y, x) to (n, voxels, channels); nothing is copied when the map is channels-last."""
    return x.movedim(1, -1).flatten(1, 3)


def _channel(values: Tensor) -> Tensor:
    return values.view(1, -1, 1, 1, 1)


class _Stem(torch.autograd.Function):
    """Convolution, batch norm, max pooling and ReLU, two volumes at a time, so that the largest maps stay in the processor's cache.

    The batch norm is monotone in each channel: the raw convolution is pooled first (with the sign of the scale in its weights) and only the
    pooled map is normalised. Backward the convolution is computed again, which takes less time than writing and reading its result.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        scale: Tensor,
        shift: Tensor,
        eps: float,
        stride: tuple[int, ...],
    ) -> tuple[Tensor, Tensor, Tensor]:
        sign = torch.where(scale < 0, -1.0, 1.0).to(scale.dtype)
        signed = (weight * sign.view(-1, 1, 1, 1, 1)).contiguous(memory_format=torch.channels_last_3d)
        means, variances, pooled, places = [], [], [], []
        parts = _pairs(x)
        for one in parts:
            y = functional.conv3d(one, signed, None, stride, 1)
            mean, variance = torch.batch_norm_update_stats(y, None, None, 0.0)
            largest, place = functional.max_pool3d(y, 3, 2, 1, return_indices=True)
            means.append(mean)
            variances.append(variance)
            pooled.append(largest)
            places.append(_rows(place))
        share = torch.tensor([len(one) / len(x) for one in parts], dtype=torch.float64)
        centres = torch.stack(means).double()
        mean = share @ centres
        variance = (share @ (torch.stack(variances).double() + (centres - mean) ** 2)).to(x.dtype)
        mean = mean.to(x.dtype)
        inverse = (variance + eps).rsqrt()
        factor = scale.abs() * inverse
        centred = torch.cat(pooled).sub_(_channel(mean))
        result = torch.addcmul(_channel(shift), centred, _channel(factor)).relu_()
        ctx.stride, ctx.count = stride, x.shape[0] * y[0, 0].numel()
        ctx.save_for_backward(x, signed, sign, factor, inverse, mean, centred, result, *places)
        ctx.mark_non_differentiable(mean, variance)
        return result, mean * sign, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, signed, sign, factor, inverse, mean, centred, result, *places = ctx.saved_tensors
        grad = aten.threshold_backward(grad, result, 0)
        shift = grad.sum((0, 2, 3, 4))
        scale = (centred * grad).sum((0, 2, 3, 4)) * inverse
        slope = -factor * inverse * scale / ctx.count
        offset = -factor * shift / ctx.count - slope * mean
        total = torch.zeros_like(signed)
        grad = grad * _channel(factor)
        sloped = signed * slope.view(-1, 1, 1, 1, 1)  # the convolution itself scales and shifts
        for one, g, place in zip(_pairs(x), _pairs(grad), places, strict=True):
            y = functional.conv3d(one, sloped, offset, ctx.stride, 1)
            y = _rows(y).scatter_add_(1, place, _rows(g)).unflatten(1, y.shape[2:]).movedim(-1, 1)
            total += aten.convolution_backward(
                y, one, signed, None, ctx.stride, [1] * 3, [1] * 3, False, [0] * 3, 1, [False, True, False]
            )[1]
        weight = total * sign.view(-1, 1, 1, 1, 1)
        return None, weight, torch.zeros_like(shift), scale * sign, shift, None, None


def _pairs(x: Tensor) -> tuple[Tensor, ...]:
    """Two or three volumes each: of a single one torch does not see that it is channels-last."""
    return x.tensor_split(max(1, len(x) // 2))


def stem(x: Tensor, conv: nn.Conv3d, norm: nn.BatchNorm3d) -> Tensor:
    """Convolution, batch norm, pooling and ReLU in training; ``x`` gets no gradient."""
    y, mean, variance = _Stem.apply(x, conv.weight, conv.bias, norm.weight, norm.bias, norm.eps, conv.stride)
    sizes = zip(x.shape[2:], conv.stride, strict=True)
    count = len(x) * math.prod((size - 1) // step + 1 for size, step in sizes)
    with torch.no_grad():
        # the norm takes the convolution's bias away again: it moves the running mean and nothing else
        norm.running_mean.lerp_(mean + conv.bias, norm.momentum)
        norm.running_var.lerp_(variance * (count / (count - 1)), norm.momentum)
        norm.num_batches_tracked.add_(1)
    return y


def folded(conv: nn.Conv3d, norm: nn.BatchNorm3d) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution that does the batch norm's work too."""
    factor = norm.weight * (norm.running_var + norm.eps).rsqrt()
    return conv.weight * factor.view(-1, 1, 1, 1, 1), (conv.bias - norm.running_mean) * factor + norm.bias


def inferred_stem(x: Tensor, conv: nn.Conv3d, norm: nn.BatchNorm3d) -> Tensor:
    """Convolution, batch norm, pooling and ReLU in evaluation, two volumes at a time."""
    weight, bias = folded(conv, norm)
    weight = weight.contiguous(memory_format=torch.channels_last_3d)
    maps = (functional.conv3d(one, weight, bias, conv.stride, 1) for one in _pairs(x))
    return torch.cat([functional.max_pool3d(y, 3, 2, 1) for y in maps]).relu_()
