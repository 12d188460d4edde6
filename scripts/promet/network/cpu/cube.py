"""The grouped 3x3x3 convolution of a fire module on CPU, with its gradients written out.

Maps of many slices go through torch's convolution. In maps of one or two slices a third or more of a window lies outside: there the slices
are channels of a 3x3 convolution, which is one matrix product per group.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from promet.network.cpu import window_loops

FEW_SLICES = 2
LANES = 16  # channels that torch's convolution computes at once; of fewer it wastes the rest


class CubeConvolution:
    """A convolution that keeps the size, with what its gradients need. Maps are contiguous.

    Args:
        x: (n, z, y, x, channels).
        weight: (out, channels / groups, 3, 3, 3), channels-last.
        groups: of channels.

    Attributes:
        out: (n, z, y, x, out).
    """

    def __init__(self, x: Tensor, weight: Tensor, groups: int) -> None:
        self.x, self.weight, self.groups = x, weight.detach(), groups
        n, depth, high, wide, _ = x.shape
        self.few = depth <= FEW_SLICES
        if self.few:
            self.windows = torch.from_numpy(window_loops.windows(x.numpy(), groups))
            weight = self.weight.movedim(1, -1).numpy()
            self.matrix = torch.from_numpy(window_loops.slices_as_channels(weight, groups, depth))
            out = torch.bmm(self.windows, self.matrix.mT).view(groups, n, high, wide, depth, -1)
            self.out = out.permute(1, 4, 2, 3, 0, 5).flatten(4)
        else:
            self.out = _convolve(x, self.weight, groups)

    def backward(self, grad: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of x and of the weight from that of out."""
        if not self.few:
            maps = grad.movedim(-1, 1), self.x.movedim(-1, 1)
            given = (*maps, self.weight, None, [1] * 3, [1] * 3, [1] * 3, False, [0] * 3, self.groups)
            weight = torch.ops.aten.convolution_backward(*given, [False, True, False])[1]
            return _towards_input(grad, self.weight, self.groups), weight
        grads = grad.unflatten(4, (self.groups, -1)).permute(4, 0, 2, 3, 1, 5)
        grads = grads.reshape(self.groups, self.windows.shape[1], -1)
        x = torch.empty_like(self.x)
        window_loops.windows_gradient(torch.bmm(grads, self.matrix).numpy(), x.numpy())
        products = torch.bmm(grads.mT, self.windows).numpy()
        weight = window_loops.slices_as_channels_gradient(products, grad.shape[1])
        return x, torch.from_numpy(weight).movedim(-1, 1)


def _convolve(x: Tensor, weight: Tensor, groups: int, stride: tuple[int, int, int] = (1, 1, 1)) -> Tensor:
    """torch's convolution of maps (n, z, y, x, channels), padding 1."""
    return functional.conv3d(x.movedim(-1, 1), weight, None, stride, 1, 1, groups).movedim(1, -1).contiguous()


def _towards_input(grad: Tensor, weight: Tensor, groups: int) -> Tensor:
    """The gradient of x: the convolution of ``grad`` with the mirrored weights."""
    mirrored = torch.from_numpy(window_loops.mirrored(weight.movedim(1, -1).numpy(), groups))
    few, (n, depth, high, wide, _) = mirrored.shape[0] // groups, grad.shape
    if few * 2 > LANES or high % 2:
        return _convolve(grad, mirrored.movedim(-1, 1), groups)
    # Two neighbours in y as twice the channels, from a window of four: a third more work on lanes that idle otherwise.
    pair = mirrored.new_zeros(groups, 2, few, 3, 4, *mirrored.shape[3:])
    pair[:, 0, :, :, :3] = pair[:, 1, :, :, 1:] = mirrored.unflatten(0, (groups, few))
    out = _convolve(grad, pair.flatten(0, 2).movedim(-1, 1), groups, (1, 2, 1))
    out = out.unflatten(-1, (groups, 2, few)).permute(0, 1, 2, 5, 3, 4, 6)  # n, z, y, 2, x, groups, in
    return out.reshape(n, depth, high, wide, groups * few)
