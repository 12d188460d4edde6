"""The compiled loops, the grouped convolution and the stem against torch's own operations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from promet.network.cpu import norm_loops, pool_loops
from promet.network.cpu.cube import CubeConvolution
from promet.network.cpu.stem import Stem


def map_of(*shape: int, seed: int = 0) -> torch.Tensor:
    """(n, z, y, x, channels)."""
    torch.manual_seed(seed)
    return torch.randn(shape)


def pooled(maps: torch.Tensor, start: float = 0.0) -> tuple[torch.Tensor, np.ndarray]:
    """What max_pool makes of (n, z, y, x, channels), and the places."""
    out = torch.empty(
        len(maps), *(-(-size // 2) for size in maps.shape[1:4]), maps.shape[4], dtype=maps.dtype
    )
    places = np.empty(out.shape, np.int32)
    pool_loops.max_pool(maps.numpy(), start, out.numpy(), places)
    return out, places


def torchs_pool(maps: torch.Tensor) -> torch.Tensor:
    return functional.max_pool3d(maps.movedim(-1, 1), 3, 2, 1).movedim(1, -1)


def test_moments_are_those_of_float64_also_far_from_zero() -> None:
    rows = np.random.default_rng(0).normal(1000, 0.5, (1001, 7)).astype(np.float32)
    mean, variance = norm_loops.moments(rows)
    np.testing.assert_allclose(mean, rows.mean(0, dtype=np.float64), rtol=1e-9)
    np.testing.assert_allclose(variance, rows.var(0, dtype=np.float64), rtol=1e-5)


@pytest.mark.parametrize("size", [(7, 14, 14), (4, 7, 7), (2, 5, 3), (1, 1, 1), (14, 27, 27)])
@pytest.mark.parametrize("rounded", [False, True], ids=["", "many equal values"])
def test_pooling_and_its_gradient(size: tuple[int, int, int], rounded: bool) -> None:
    maps = map_of(3, *size, 17)
    maps = maps.round().requires_grad_() if rounded else maps.requires_grad_()
    found, places = pooled(maps.detach())
    expected = torchs_pool(maps).relu()
    assert torch.equal(found, expected)
    weights = torch.randn(expected.shape)
    (expected * weights).sum().backward()
    gradient = np.empty(maps.shape, np.float32)
    pool_loops.max_pool_gradient((weights * (found > 0)).numpy(), places, gradient)
    np.testing.assert_allclose(gradient, maps.grad, rtol=1e-5, atol=1e-6)


def test_without_a_relu_the_maximum_may_be_negative_and_the_moments_come_along() -> None:
    maps = map_of(2, 5, 9, 8, 20) - 3
    out = np.empty((2, 3, 5, 4, 20), np.float32)
    mean, variance = pool_loops.max_pool_and_measure(maps.numpy(), out, np.empty(out.shape, np.int32))
    assert np.array_equal(out, torchs_pool(maps))
    np.testing.assert_allclose(mean, maps.double().mean((0, 1, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(variance, maps.double().var((0, 1, 2, 3), correction=0), rtol=1e-5)


def test_a_map_that_is_not_a_number_stays_so() -> None:
    """A diverged training must end in a loss that is not a number, not in zeros."""
    maps = torch.full((1, 4, 6, 6, 3), torch.nan)
    maps[..., 1] = 1
    found, _ = pooled(maps)
    assert torch.equal(found.isnan(), torch.tensor([True, False, True]).expand(found.shape))


@pytest.mark.parametrize(
    ("n", "channels", "out", "groups", "size"),
    [
        (8, 16, 64, 2, (7, 14, 14)),  # neighbours in y as channels
        (3, 16, 64, 2, (5, 7, 9)),
        (8, 32, 128, 2, (4, 7, 7)),
        (8, 48, 192, 2, (2, 4, 4)),  # slices as channels
        (3, 16, 64, 2, (2, 5, 3)),
        (8, 64, 256, 2, (1, 2, 2)),
        (1, 64, 256, 1, (1, 1, 1)),
        (2, 16, 64, 8, (4, 6, 5)),
        (2, 16, 64, 1, (4, 6, 5)),
    ],
)
def test_convolution_and_its_gradients(
    n: int, channels: int, out: int, groups: int, size: tuple[int, int, int]
) -> None:
    x, grad = map_of(n, *size, channels), map_of(n, *size, out, seed=2)
    weight = map_of(out, channels // groups, 3, 3, 3, seed=1).contiguous(memory_format=torch.channels_last_3d)
    given, learnt = x.double().requires_grad_(), weight.double().requires_grad_()
    expected = functional.conv3d(given.movedim(-1, 1), learnt, None, 1, 1, 1, groups).movedim(1, -1)
    expected.backward(grad.double())
    cube = CubeConvolution(x, weight, groups)
    for a, b in zip(
        (cube.out, *cube.backward(grad)), (expected.detach(), given.grad, learnt.grad), strict=True
    ):
        assert (a.double() - b).abs().max() < 1e-5 * b.abs().max()


@pytest.mark.parametrize(
    ("channels", "size"),
    [(2, (14, 54, 54)), (2, (5, 9, 12)), (2, (1, 6, 7)), (1, (4, 8, 8)), (3, (6, 7, 8)), (8, (3, 5, 6))],
)
def test_stem_and_its_gradients(channels: int, size: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    conv, norm = nn.Conv3d(channels, 8, 3, (1, 2, 2), 1).double(), nn.BatchNorm3d(8).double()
    nn.init.normal_(norm.weight)  # of both signs
    nn.init.normal_(norm.bias)
    x = torch.rand(3, channels, *size).double()
    stem = Stem(x, conv, norm)
    after = norm.running_mean.clone(), norm.running_var.clone()
    norm.reset_running_stats()
    expected = functional.max_pool3d(norm(conv(x)), 3, 2, 1).relu()
    torch.testing.assert_close(stem.out.movedim(-1, 1), expected, rtol=1e-9, atol=1e-10)
    for ours, theirs in zip(after, (norm.running_mean, norm.running_var), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)
    grad = torch.randn_like(expected)
    expected.backward(grad)
    gradients = conv.weight.grad, norm.weight.grad, norm.bias.grad
    for ours, theirs in zip(stem.backward(grad.movedim(1, -1)), gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-9)
