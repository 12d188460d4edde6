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


class Pointwise(nn.Conv3d):
    """A 1x1x1 convolution, computed as one matrix product: torch's own route leaves channels-last and takes twice the time."""

    def __init__(self, channels: int, out: int, bias: bool = True) -> None:
        super().__init__(channels, out, kernel_size=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x.movedim(1, -1), self.weight.flatten(1), self.bias).movedim(-1, 1)


class Cube(nn.Conv3d):
    """A 3x3x3 convolution that keeps the size."""

    def __init__(self, channels: int, out: int, groups: int) -> None:
        super().__init__(channels, out, kernel_size=3, padding=1, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2] > 1:
            return super().forward(x)
        # a single slice takes the middle ninth of the weights, since the others meet zeros alone
        return functional.conv2d(
            x[:, :, 0], self.weight[:, :, 1], self.bias, padding=1, groups=self.groups
        ).unsqueeze(2)


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
        y = torch.cat([self.expand1(y), self.expand3(y)], dim=1)
        y = x + y if self.bypass else y
        return torch.relu(y) if self.relu else y


class Pool(nn.MaxPool3d):
    """Max pooling to half the size, and a ReLU."""

    def __init__(self) -> None:
        super().__init__(kernel_size=3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).relu()


class GlobalMax(nn.AdaptiveMaxPool3d):
    """The largest value of each channel, (n, channels, 1, 1, 1). torch's pooling has no deterministic gradient on a GPU; there it is a maximum,
    whose gradient differs where several voxels share the largest value."""

    def __init__(self) -> None:
        super().__init__(1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if x.device.type == "cpu" else x.amax((2, 3, 4), keepdim=True)


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
                pool1=Pool(),
                fire2=Fire(64, 16, 64, groups, bypass=False),
                fire3=Fire(128, 16, 64, groups, bypass=True, relu=False),
                pool3=Pool(),
                fire4=Fire(128, 32, 128, groups, bypass=False),
                fire5=Fire(256, 32, 128, groups, bypass=True, relu=False),
                pool5=Pool(),
                fire6=Fire(256, 48, 192, groups, bypass=False),
                fire7=Fire(384, 48, 192, groups, bypass=True, relu=False),
                pool7=Pool(),
                fire8=Fire(384, 64, 256, groups, bypass=False),
                fire9=Fire(512, 64, 256, groups, bypass=True),
            )
        )
        self.classifier = nn.Sequential(
            OrderedDict(
                pool=GlobalMax(),
                flatten=nn.Flatten(),
                dropout=nn.Dropout(dropout),
                linear=nn.Linear(512, 1),
            )
        )
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                # as the 3D reference; torch's own default is meant for no batch norm
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                # without effect, since the batch norm takes it away: its gradient is rounding, which Adam would follow
                nn.init.zeros_(module.bias).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, z, y, x) to logits (n,)."""
        return self.classifier(self._features(x)).squeeze(1)

    def _features(self, x: Tensor) -> Tensor:
        """By compiled loops in training, or scoring without gradients, on CPU; elsewhere hooks may want the layers one by one, or torch is as
        fast."""
        if x.device.type == "cpu" and (
            torch.is_inference_mode_enabled() or (self.training and not x.requires_grad)
        ):
            from promet.network.cpu import features

            return features(self.features, x)
        return self.features(x)
