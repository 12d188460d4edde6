"""The grouped 3x3x3 convolution of a fire module on CPU: forward, and backward where torch's own has a slow corner."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from promet.network import loops

FEW_VOXELS = 512  # up to here the weight's gradient is faster as one matrix product of copied neighbourhoods
LANES = 16  # channels that torch's convolution computes at once; of fewer it wastes the rest
aten = torch.ops.aten


def forward(x: Tensor, weight: Tensor, groups: int, bias: Tensor | None = None) -> Tensor:
    """Convolution that keeps the size; a single slice takes the middle ninth of the weights, since the others meet zeros alone.

    Args:
        x: (n, channels, z, y, x), channels-last.
        weight: (out, channels / groups, 3, 3, 3).
        groups: of channels.
        bias: (out,).
    """
    if x.shape[2] > 1:
        return functional.conv3d(x, weight, bias, 1, 1, 1, groups)
    middle = weight[:, :, 1].contiguous(memory_format=torch.channels_last)
    return functional.conv2d(x[:, :, 0], middle, bias, 1, 1, 1, groups).unsqueeze(2)


def backward(grad: Tensor, x: Tensor, weight: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """Gradients of x and of the weight."""
    return _towards_input(grad, weight, groups), _towards_weight(grad, x, weight, groups)


def _towards_input(grad: Tensor, weight: Tensor, groups: int) -> Tensor:
    """The gradient of x: the convolution of ``grad`` with the mirrored weights."""
    rows = weight.detach().movedim(1, -1)
    if grad.shape[2] == 1:
        mirrored = torch.from_numpy(loops.mirrored(rows[:, 1:2].numpy(), groups)).squeeze(1).movedim(-1, 1)
        return functional.conv2d(grad[:, :, 0], mirrored, None, 1, 1, 1, groups).unsqueeze(2)
    mirrored = torch.from_numpy(loops.mirrored(rows.numpy(), groups))  # channels, z, y, x, out / groups
    few = mirrored.shape[0] // groups
    if few * 2 > LANES or grad.shape[3] % 2:
        return functional.conv3d(grad, mirrored.movedim(-1, 1), None, 1, 1, 1, groups)
    # Two neighbours in y as twice the channels, from a window of four: a third more work on lanes that idle otherwise.
    pair = mirrored.new_zeros(groups, 2, few, 3, 4, *mirrored.shape[3:])
    pair[:, 0, :, :, :3] = pair[:, 1, :, :, 1:] = mirrored.unflatten(0, (groups, few))
    out = functional.conv3d(grad, pair.flatten(0, 2).movedim(-1, 1), None, (1, 2, 1), 1, 1, groups)
    n, _, depth, half, wide = out.shape
    out = out.unflatten(1, (groups, 2, few)).permute(0, 4, 5, 2, 6, 1, 3)  # n, z, y, 2, x, groups, in
    return out.reshape(n, depth, 2 * half, wide, groups * few).movedim(-1, 1)


def _towards_weight(grad: Tensor, x: Tensor, weight: Tensor, groups: int) -> Tensor:
    n, _, depth, high, wide = x.shape
    voxels = n * depth * high * wide
    if voxels > FEW_VOXELS:
        given = (grad, x, weight, None, [1] * 3, [1] * 3, [1] * 3, False, [0] * 3, groups)
        return aten.convolution_backward(*given, [False, True, False])[1]
    deep = 3 if depth > 1 else 1
    padded = functional.pad(x.movedim(1, -1), (0, 0, 1, 1, 1, 1, deep // 2, deep // 2))
    windows = padded.unfold(1, deep, 1).unfold(2, 3, 1).unfold(3, 3, 1).unflatten(4, (groups, -1))
    windows = windows.permute(4, 0, 1, 2, 3, 6, 7, 8, 5).reshape(groups, voxels, -1)
    grads = grad.movedim(1, -1).reshape(voxels, groups, -1).permute(1, 2, 0)
    out = torch.bmm(grads, windows).view(len(weight), deep, 3, 3, -1).movedim(-1, 1)
    if deep == 3:
        return out
    whole = torch.zeros_like(weight)
    whole[:, :, 1] = out[:, :, 0]
    return whole
