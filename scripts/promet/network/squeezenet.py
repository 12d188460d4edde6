"""SqueezeNet 1.1 in three dimensions.

Layers after Iandola et al. 2016 (arXiv:1602.07360, version 1.1) in the 3D form of Köpüklü et al. 2019 (arXiv:1904.02422): batch norm
after each convolution, residual bypass on fire 3, 5, 7 and 9, a fourth pooling before fire 8. Classifier as in the paper
reproduced: AdaptiveMaxPool3d(1), Dropout(0.8), Linear(512, 1).
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from promet.network import fused


class Pointwise(nn.Conv3d):
    """A 1x1x1 convolution, computed as one matrix product: torch's own route leaves channels-last and takes twice the time."""

    def __init__(self, channels: int, out: int, bias: bool = True) -> None:
        super().__init__(channels, out, kernel_size=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.apply_to(x, self.weight, self.bias)

    def apply_to(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The convolution with another weight and bias."""
        return functional.linear(x.movedim(1, -1), weight.flatten(1), bias).movedim(-1, 1)


class Cube(nn.Conv3d):
    """A 3x3x3 convolution that keeps the size; a single slice takes the middle ninth of the weights, since the others meet zeros alone."""

    def __init__(self, channels: int, out: int, groups: int) -> None:
        super().__init__(channels, out, kernel_size=3, padding=1, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        return self.apply_to(x, self.weight, self.bias)

    def apply_to(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The convolution with another weight and bias."""
        if x.shape[2] > 1:
            return functional.conv3d(x, weight, bias, 1, 1, 1, self.groups)
        middle = weight[:, :, 1].contiguous(memory_format=torch.channels_last)
        return functional.conv2d(x[:, :, 0], middle, bias, 1, 1, 1, self.groups).unsqueeze(2)


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
        if _inferring(self, x):
            y = _without_norm(self.squeeze, x).relu_()
            y = torch.cat([_without_norm(self.expand1, y), _without_norm(self.expand3, y)], dim=1)
        else:
            y = self.squeeze(x)
            y = torch.cat([self.expand1[0](y), self.expand3[0](y)], dim=1)
            y = _joint_norm(y, self.expand1[1], self.expand3[1])
        if self.bypass:
            y += x
        return functional.relu_(y) if self.relu else y


def _inferring(module: nn.Module, x: Tensor) -> bool:
    """No gradients, no hooks to be served: batch norms can be part of the convolutions. On a GPU it would not pay."""
    return not module.training and x.device.type == "cpu" and torch.is_inference_mode_enabled()


def _without_norm(layer: nn.Sequential, x: Tensor) -> Tensor:
    """Convolution and batch norm in evaluation."""
    return layer[0].apply_to(x, *fused.folded(layer[0], layer[1]))


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
        layers, parts = self.features, list(self.features)
        if _inferring(self, x):
            x, parts = fused.inferred_stem(x, layers.stem, layers.norm), parts[4:]
        elif self.training and x.device.type == "cpu" and not x.requires_grad:
            x, parts = fused.stem(x, layers.stem, layers.norm), parts[4:]
        for part in parts:
            x = part(x)
        return self.classifier(x).squeeze(1)
