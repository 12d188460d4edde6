"""SqueezeNet's layers before its classifier on CPU, in training and in scoring: the layers one by one, but for rounding.

Convolutions and matrix products are torch's; batch norm, ReLU, bypass, joining and pooling are compiled loops, so that each map is read and
written as seldom as possible. Gradients are written out, since the chain of single steps would keep and read every map between.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from promet.network.cpu import norm_loops, pool_loops
from promet.network.cpu.batchnorm import measured
from promet.network.cpu.cube import CubeConvolution
from promet.network.cpu.stem import Stem

RELU, NO_RELU = 0.0, -np.inf
NOTHING, NOWHERE = np.empty((0, 1, 1, 1, 1), np.float32), np.empty((0, 1, 1, 1, 1), np.int32)


def features(layers: nn.Sequential, x: Tensor) -> Tensor:
    """The layers of squeezenet.py before its classifier: stem, norm and pool, then fires, and poolings after some of them.

    Args:
        layers: whose parameters get gradients in training.
        x: (n, channels, z, y, x), which gets none.

    Returns:
        (n, channels, z, y, x), channels-last.
    """
    if not layers.training:
        return _forward(layers, x)[-1].out.movedim(-1, 1)
    learnt = [parameter for parameter in layers.parameters() if parameter.requires_grad]
    return _Features.apply(layers, x, *learnt)


def _forward(layers: nn.Sequential, x: Tensor) -> list[Any]:
    """Stem and fires with their outputs."""
    done: list[Any] = [Stem(x, layers.stem, layers.norm)]
    for layer, following in pairwise([*list(layers)[3:], None]):
        if not isinstance(layer, nn.MaxPool3d):
            done.append(Fire(done[-1].out, layer, pooled=isinstance(following, nn.MaxPool3d)))
    return done


class _Features(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, layers: nn.Sequential, x: Tensor, *_: Tensor) -> Tensor:  # type: ignore[override]
        ctx.done = _forward(layers, x)
        return ctx.done[-1].out.movedim(-1, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        grad, gradients = grad.movedim(1, -1), []
        # What is done with is freed, since maps are written over: there is no second time.
        while len(ctx.done) > 1:
            grad, *others = ctx.done.pop().backward(grad)
            gradients = others + gradients
        return None, None, *ctx.done.pop().backward(grad), *gradients


class Fire:
    """A fire module of squeezenet.py and the pooling after it: the forward pass, with what the backward pass needs.

    Args:
        x: (n, z, y, x, channels), contiguous.
        layer: the module.
        pooled: with the pooling.
    """

    def __init__(self, x: Tensor, layer: Any, pooled: bool) -> None:
        (squeeze, squeeze_norm, _), (one, one_norm), (three, three_norm) = (
            layer.squeeze,
            layer.expand1,
            layer.expand3,
        )
        sizes, channels = x.shape[:-1], 2 * one.out_channels
        self.layer, self.sizes, self.x = layer, sizes, x.flatten(0, -2)
        self.raw = self.x @ squeeze.weight.flatten(1).T
        self.narrow = torch.empty_like(self.raw)
        self.fold = measured(self.raw.numpy(), squeeze, squeeze_norm)
        norm_loops.normalise(self.raw.numpy(), self.fold, RELU, self.narrow.numpy(), 0)
        self.one = self.narrow @ one.weight.flatten(1).T
        self.cube = CubeConvolution(self.narrow.view(*sizes, -1), three.weight, three.groups)
        self.three = self.cube.out.flatten(0, -2)
        raw = self.one.numpy(), self.three.numpy()
        self.folds = measured(raw[0], one, one_norm), measured(raw[1], three, three_norm)
        given = *raw, *self.folds, (self.x if layer.bypass else self.x[:0]).numpy()
        if pooled:
            half = (-(-size // 2) for size in sizes[1:])
            self.out = torch.empty(sizes[0], *half, channels, dtype=x.dtype)
            self.places = np.empty(self.out.shape, np.int32)
            pool_loops.join_and_pool(
                *given, np.empty((*sizes[1:], channels), raw[0].dtype), self.out.numpy(), self.places
            )
        else:
            self.out, self.places = torch.empty(*sizes, channels, dtype=x.dtype), NOWHERE
            norm_loops.join(*given, RELU, self.out.view(-1, channels).numpy())

    def backward(self, grad: Tensor) -> list[Tensor]:
        """Gradients of x and, for each of the three convolutions, of weight, scale and shift.

        Args:
            grad: of out.
        """
        layer, lowest, pooled = self.layer, NO_RELU, NOTHING
        squeeze, one, three = layer.squeeze[0], layer.expand1[0], layer.expand3[0]
        if len(self.places):
            pooled = grad.contiguous().numpy()
            grad = torch.empty(*self.sizes, pooled.shape[-1], dtype=grad.dtype)
        elif layer.bypass:
            grad = torch.ops.aten.threshold_backward(grad, self.out, 0).contiguous()
        else:
            grad, lowest = grad.contiguous(), RELU
        raw = self.one.numpy(), self.three.numpy()
        pooled = pooled.astype(raw[0].dtype, copy=False)
        norms = pool_loops.join_gradient(grad.numpy(), *raw, *self.folds, lowest, pooled, self.places)
        narrow, weight3 = self.cube.backward(self.three.view(*self.sizes, -1))
        narrow = narrow.flatten(0, -2).addmm_(self.one, one.weight.flatten(1))
        norm = norm_loops.norm_gradient(narrow.numpy(), self.raw.numpy(), self.fold, RELU)
        flat, grad = squeeze.weight.flatten(1), grad.flatten(0, -2)
        x = grad.addmm_(self.raw, flat) if layer.bypass else self.raw @ flat
        gradients = [x.view(*self.sizes, -1)]
        for conv, weight, of_norm in (
            (squeeze, self.raw.T @ self.x, norm),
            (one, self.one.T @ self.narrow, norms[:2]),
            (three, weight3, norms[2:]),
        ):
            gradients += [weight.view_as(conv.weight), *map(torch.from_numpy, of_norm)]
        return gradients
