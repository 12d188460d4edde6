"""MobileNet v1 and ShuffleNet v1 in three dimensions, after Köpüklü et al. 2019 (arXiv:1904.02422), with one logit."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from promet.network.squeezenet import GlobalMax, Pointwise

# output channels at width 1, how many, stride of the first
MOBILENET = ((64, 1, 2), (128, 2, 2), (256, 2, 2), (512, 6, 2), (1024, 2, 1))
SHUFFLENET = {1: (24, 144, 288, 567), 2: (24, 200, 400, 800), 3: (24, 240, 480, 960), 4: (24, 272, 544, 1088)}
SHUFFLENET[8] = (24, 384, 768, 1536)
REPEATS = (4, 8, 4)


def _conv(channels: int, out: int, stride: Any, groups: int = 1) -> list[nn.Module]:
    return [nn.Conv3d(channels, out, 3, stride, 1, groups=groups, bias=False), nn.BatchNorm3d(out)]


def _classifier(channels: int, dropout: float) -> nn.Module:
    return nn.Sequential(
        GlobalMax(), nn.Flatten(), nn.Dropout(dropout), nn.Linear(channels, 1), nn.Flatten(0)
    )


def mobilenet(in_channels: int, dropout: float, width: float = 0.5) -> nn.Module:
    """Depthwise 3x3x3 and 1x1x1 convolutions in turn; parameters with 2 channels: 0.24 M (width 0.25), 0.86 M (0.5), 3.3 M (1)."""
    channels = int(32 * width)
    layers = [nn.Sequential(*_conv(in_channels, channels, (1, 2, 2)), nn.ReLU(inplace=True))]
    for out, count, stride in MOBILENET:
        for number in range(count):
            wide = int(out * width)
            layers.append(
                nn.Sequential(
                    *_conv(channels, channels, stride if number == 0 else 1, groups=channels),
                    nn.ReLU(inplace=True),
                    Pointwise(channels, wide, bias=False),
                    nn.BatchNorm3d(wide),
                    nn.ReLU(inplace=True),
                )
            )
            channels = wide
    return nn.Sequential(nn.Sequential(*layers), _classifier(channels, dropout))


def _mean(x: Tensor) -> Tensor:
    """3x3x3 mean with stride 2 and padding. torch's own has no deterministic gradient on a GPU; there it is a convolution."""
    if x.device.type == "cpu":
        return functional.avg_pool3d(functional.pad(x, (1,) * 6), 3, 2)
    channels = x.shape[1]
    weight = x.new_full((channels, 1, 3, 3, 3), 1 / 27)
    return functional.conv3d(x, weight, stride=2, padding=1, groups=channels)


class Unit(nn.Module):
    """ShuffleNet unit: grouped 1x1x1, channel shuffle, depthwise 3x3x3, grouped 1x1x1, beside a shortcut.

    The shortcut of a strided unit is a 3x3x3 mean with padding, as in two dimensions: the reference's 2x2x2 without padding gives another
    size than the convolution wherever a side is odd, and fails on a depth of 14.
    """

    def __init__(self, channels: int, out: int, stride: int, groups: int) -> None:
        super().__init__()
        self.stride, self.groups = stride, groups if channels > 24 else 1
        middle, grown = out // 4 // groups * groups, out - channels if stride == 2 else out
        self.reduce = nn.Sequential(
            nn.Conv3d(channels, middle, 1, groups=self.groups, bias=False),
            nn.BatchNorm3d(middle),
            nn.ReLU(inplace=True),
        )
        self.depthwise = nn.Sequential(*_conv(middle, middle, stride, groups=middle))
        self.grow = nn.Sequential(
            nn.Conv3d(middle, grown, 1, groups=groups, bias=False), nn.BatchNorm3d(grown)
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.reduce(x)
        y = y.unflatten(1, (self.groups, -1)).transpose(1, 2).flatten(1, 2)
        y = self.grow(self.depthwise(y))
        if self.stride == 1:
            return (x + y).relu()
        return torch.cat([y, _mean(x)], dim=1).relu()


def shufflenet(in_channels: int, dropout: float, groups: int) -> nn.Module:
    """ShuffleNet v1; parameters with 2 channels and 3 groups: 0.95 M."""
    stem, *widths = SHUFFLENET[groups]
    layers: list[nn.Module] = [
        nn.Sequential(*_conv(in_channels, stem, (1, 2, 2)), nn.ReLU(inplace=True)),
        nn.MaxPool3d(3, 2, 1),
    ]
    channels = stem
    for out, count in zip(widths, REPEATS, strict=True):
        for number in range(count):
            layers.append(Unit(channels, out, 2 if number == 0 else 1, groups))
            channels = out
    return nn.Sequential(nn.Sequential(*layers), _classifier(channels, dropout))
