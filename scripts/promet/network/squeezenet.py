"""SqueezeNet 1.1 in three dimensions.

Layers after Iandola et al. 2016 (arXiv:1602.07360, version 1.1) in the 3D form of Köpüklü et al. 2019 (arXiv:1904.02422): batch norm
after each convolution, residual bypass on fire 3, 5, 7 and 9, a fourth pooling before fire 8. Classifier as in the paper
reproduced: AdaptiveMaxPool3d(1), Dropout(0.8), Linear(512, 1).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional


class Pointwise(nn.Conv3d):
    """A 1x1x1 convolution, computed as one matrix product: torch's own route leaves channels-last and takes twice the time."""

    def __init__(self, channels: int, out: int, bias: bool = True) -> None:
        super().__init__(channels, out, kernel_size=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x.movedim(1, -1), self.weight.flatten(1), self.bias).movedim(-1, 1)


class Cube(nn.Conv3d):
    """A 3x3x3 convolution that keeps the size; a single slice takes the middle ninth of the weights, since the others meet zeros alone."""

    def __init__(self, channels: int, out: int, groups: int) -> None:
        super().__init__(channels, out, kernel_size=3, padding=1, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2] > 1:
            return super().forward(x)
        weight = self.weight[:, :, 1].contiguous(memory_format=torch.channels_last)
        y = functional.conv2d(x[:, :, 0], weight, self.bias, 1, 1, 1, self.groups)
        return y.unsqueeze(2)


class Fire(nn.Module):
    """Squeeze to few channels, expand by 1x1x1 and by grouped 3x3x3 convolutions side by side.

    Args:
        channels: input channels.
        squeeze: channels between.
        expand: output channels of each of the two expand convolutions.
        groups: groups of the 3x3x3 convolution.
        bypass: add the input to the output (needs ``channels == 2 * expand``).
        relu: end with a ReLU. Before a pooling it comes after that instead: the same numbers from a smaller map.
    """

    def __init__(
        self, channels: int, squeeze: int, expand: int, groups: int, bypass: bool, relu: bool = True
    ) -> None:
        super().__init__()
        self.bypass, self.relu = bypass, relu
        self.squeeze = nn.Sequential(
            Pointwise(channels, squeeze), nn.BatchNorm3d(squeeze), nn.ReLU(inplace=True)
        )
        self.expand1 = nn.Sequential(Pointwise(squeeze, expand), nn.BatchNorm3d(expand))
        self.expand3 = nn.Sequential(Cube(squeeze, expand, groups), nn.BatchNorm3d(expand))

    def forward(self, x: Tensor) -> Tensor:
        y = self.squeeze(x)
        y = torch.cat([self.expand1[0](y), self.expand3[0](y)], dim=1)
        y = _joint_norm(y, self.expand1[1], self.expand3[1])
        if self.bypass:
            y += x
        return functional.relu_(y) if self.relu else y


def _joint_norm(x: Tensor, *norms: nn.BatchNorm3d) -> Tensor:
    """Batch norms of neighbouring channels as one: on half of a tensor's channels torch takes five times as long."""
    first = norms[0]
    mean = torch.cat([norm.running_mean for norm in norms])
    variance = torch.cat([norm.running_var for norm in norms])
    weight, bias = torch.cat([norm.weight for norm in norms]), torch.cat([norm.bias for norm in norms])
    y = functional.batch_norm(x, mean, variance, weight, bias, first.training, first.momentum, first.eps)
    if first.training:
        parts = zip(norms, mean.split(first.num_features), variance.split(first.num_features), strict=True)
        for norm, new_mean, new_variance in parts:
            norm.running_mean.copy_(new_mean)
            norm.running_var.copy_(new_variance)
            norm.num_batches_tracked.add_(1)
    return y


class _Stem(torch.autograd.Function):
    """Convolution, batch norm (training) and max pooling, two volumes at a time, so that the largest maps stay in the processor's cache.

    The batch norm is monotone in each channel: the raw convolution is pooled first (with the sign of the scale in its weights) and only the
    pooled map is normalised. Backward the convolution is computed again, which takes less time than writing and reading its result.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, x: Tensor, weight: Tensor, scale: Tensor, shift: Tensor, eps: float, stride: tuple[int, ...]
    ) -> tuple[Tensor, Tensor, Tensor]:
        sign = torch.where(scale < 0, -1.0, 1.0).to(scale.dtype)
        signed = (weight * sign.view(-1, 1, 1, 1, 1)).contiguous(memory_format=torch.channels_last_3d)
        means, variances, pooled, places = [], [], [], []
        parts = _pairs(x)
        for one in parts:
            y = functional.conv3d(one, signed, None, stride, 1)
            mean, variance = torch.batch_norm_update_stats(y, None, None, 0.0)
            largest, place = functional.max_pool3d(y, 3, 2, 1, return_indices=True)
            for found, value in ((means, mean), (variances, variance), (pooled, largest), (places, place)):
                found.append(value)
        share = torch.tensor([len(one) / len(x) for one in parts], dtype=torch.float64)
        centres = torch.stack(means).double()
        mean = share @ centres
        variance = (share @ (torch.stack(variances).double() + (centres - mean) ** 2)).to(x.dtype)
        mean = mean.to(x.dtype)
        inverse = (variance + eps).rsqrt()
        normed = (torch.cat(pooled) - _channel(mean)).mul_(_channel(inverse))
        ctx.stride, ctx.count = stride, x.shape[0] * y[0, 0].numel()
        ctx.save_for_backward(x, signed, sign, scale.abs() * inverse, inverse, mean, normed, *places)
        ctx.mark_non_differentiable(mean, variance)
        return torch.addcmul(_channel(shift), normed, _channel(scale.abs())), mean * sign, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, signed, sign, factor, inverse, mean, normed, *places = ctx.saved_tensors
        shift = grad.sum((0, 2, 3, 4))
        scale = (grad * normed).sum((0, 2, 3, 4))
        slope = -factor * inverse * scale / ctx.count
        offset = -factor * shift / ctx.count - slope * mean
        total = torch.zeros_like(signed)
        grad = grad * _channel(factor)
        sloped = signed * slope.view(-1, 1, 1, 1, 1)  # the convolution itself scales and shifts
        for one, g, place in zip(_pairs(x), _pairs(grad), places, strict=True):
            y = functional.conv3d(one, sloped, offset, ctx.stride, 1)
            y += torch.ops.aten.max_pool3d_with_indices_backward(
                g, y, [3] * 3, [2] * 3, [1] * 3, [1] * 3, False, place
            )
            total += torch.ops.aten.convolution_backward(
                y, one, signed, None, ctx.stride, [1] * 3, [1] * 3, False, [0] * 3, 1, [False, True, False]
            )[1]
        return None, total * sign.view(-1, 1, 1, 1, 1), scale * sign, shift, None, None


def _pairs(x: Tensor) -> tuple[Tensor, ...]:
    """Two or three volumes each: of a single one torch does not see that it is channels-last."""
    return x.tensor_split(max(1, len(x) // 2))


def _channel(values: Tensor) -> Tensor:
    return values.view(1, -1, 1, 1, 1)


def _fused_stem(x: Tensor, stem: nn.Conv3d, norm: nn.BatchNorm3d) -> Tensor:
    """Stem, norm and first pooling in training. The bias moves the running mean and nothing else: the norm takes it away again."""
    y, mean, variance = _Stem.apply(x, stem.weight, norm.weight, norm.bias, norm.eps, stem.stride)
    with torch.no_grad():
        count = x.shape[0] * math.prod(
            (size + 2 - 3) // step + 1 for size, step in zip(x.shape[2:], stem.stride, strict=True)
        )
        norm.running_mean.lerp_(mean + stem.bias, norm.momentum)
        norm.running_var.lerp_(variance * (count / (count - 1)), norm.momentum)
        norm.num_batches_tracked.add_(1)
    return y + stem.bias.sum() * 0  # the bias's gradient is 0, not absent


def _pool() -> nn.MaxPool3d:
    return nn.MaxPool3d(kernel_size=3, stride=2, padding=1)


class SqueezeNet(nn.Module):
    """2 x 14 x 54 x 54 (channel, z, y, x) to one logit.

    Args:
        in_channels: PET and lesion map: 2.
        groups: groups of the 3x3x3 expand convolutions; parameters with 2 channels: 1,836,545 (1), 1,007,105 (2),
            592,385 (4), 385,025 (8).
        dropout: before the last layer.
    """

    def __init__(self, in_channels: int = 2, groups: int = 2, dropout: float = 0.8) -> None:
        super().__init__()
        self.features = nn.Sequential(
            OrderedDict(
                stem=nn.Conv3d(in_channels, 64, 3, stride=(1, 2, 2), padding=1),
                norm=nn.BatchNorm3d(64),
                pool1=_pool(),
                relu=nn.ReLU(inplace=True),
                fire2=Fire(64, 16, 64, groups, bypass=False),
                fire3=Fire(128, 16, 64, groups, bypass=True, relu=False),
                pool3=_pool(),
                relu3=nn.ReLU(inplace=True),
                fire4=Fire(128, 32, 128, groups, bypass=False),
                fire5=Fire(256, 32, 128, groups, bypass=True, relu=False),
                pool5=_pool(),
                relu5=nn.ReLU(inplace=True),
                fire6=Fire(256, 48, 192, groups, bypass=False),
                fire7=Fire(384, 48, 192, groups, bypass=True, relu=False),
                pool7=_pool(),
                relu7=nn.ReLU(inplace=True),
                fire8=Fire(384, 64, 256, groups, bypass=False),
                fire9=Fire(512, 64, 256, groups, bypass=True),
            )
        )
        self.classifier = nn.Sequential(
            OrderedDict(
                pool=nn.AdaptiveMaxPool3d(1),
                flatten=nn.Flatten(),
                dropout=nn.Dropout(dropout),
                linear=nn.Linear(512, 1),
            )
        )
        for module in self.modules():
            if isinstance(
                module, nn.Conv3d
            ):  # as the 3D reference; torch's own default is meant for no batch norm
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, z, y, x) to logits (n,)."""
        parts = list(self.features)
        if self.training and x.device.type == "cpu" and not x.requires_grad:
            x, parts = _fused_stem(x, parts[0], parts[1]), parts[3:]
        for part in parts:
            x = part(x)
        return self.classifier(x).squeeze(1)
