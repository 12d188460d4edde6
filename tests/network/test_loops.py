"""The compiled loops and the grouped convolution against torch's own operations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from promet.network import cube, fused, loops

CHANNELS_LAST = torch.channels_last_3d


def map_of(*shape: int, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    return torch.randn(shape).contiguous(memory_format=CHANNELS_LAST)


def test_moments_are_those_of_float64_also_far_from_zero() -> None:
    rows = np.random.default_rng(0).normal(1000, 0.5, (1001, 7)).astype(np.float32)
    mean, variance = loops.moments(rows)
    np.testing.assert_allclose(mean, rows.mean(0, dtype=np.float64), rtol=1e-9)
    np.testing.assert_allclose(variance, rows.var(0, dtype=np.float64), rtol=1e-5)


@pytest.mark.parametrize("size", [(7, 14, 14), (4, 7, 7), (2, 5, 3), (1, 1, 1)])
def test_pooling_and_its_gradient(size: tuple[int, int, int]) -> None:
    ours = map_of(3, 17, *size).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    a, b = fused.pool(ours), functional.max_pool3d(theirs, 3, 2, 1).relu()
    assert torch.equal(a, b)
    weights = torch.randn(a.shape)
    (a * weights).sum().backward()
    (b * weights).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_equal_values_give_the_gradient_to_the_first_and_not_a_number_stays() -> None:
    flat = torch.ones(1, 4, 4, 6, 6).requires_grad_()
    same = flat.detach().clone().requires_grad_()
    fused.pool(flat).sum().backward()
    functional.max_pool3d(same, 3, 2, 1).sum().backward()
    assert torch.equal(flat.grad, same.grad)
    holed = torch.ones(1, 4, 4, 6, 6)
    holed[0, 2, 1, 3, 3] = torch.nan
    assert torch.equal(fused.pool(holed).isnan(), functional.max_pool3d(holed, 3, 2, 1).isnan())
    assert fused.pool(holed).isnan().any()


@pytest.mark.parametrize(
    ("n", "channels", "out", "groups", "size"),
    [
        (8, 16, 64, 2, (7, 14, 14)),  # neighbours in y as channels
        (3, 16, 64, 2, (5, 7, 9)),
        (8, 32, 128, 2, (4, 7, 7)),
        (8, 48, 192, 2, (2, 4, 4)),  # one matrix product
        (8, 64, 256, 2, (1, 2, 2)),  # a single slice
        (2, 16, 64, 8, (4, 6, 5)),
        (2, 16, 64, 1, (4, 6, 5)),
    ],
)
def test_convolution_and_its_gradients(
    n: int, channels: int, out: int, groups: int, size: tuple[int, int, int]
) -> None:
    x = map_of(n, channels, *size)
    weight = map_of(out, channels // groups, 3, 3, 3, seed=1)
    grad = map_of(n, out, *size, seed=2)
    given, learnt = x.double().requires_grad_(), weight.double().requires_grad_()
    expected = functional.conv3d(given, learnt, None, 1, 1, 1, groups)
    expected.backward(grad.double())
    found = cube.forward(x, weight, groups), *cube.backward(grad, x, weight, groups)
    for a, b in zip(found, (expected.detach(), given.grad, learnt.grad), strict=True):
        assert (a.double() - b).abs().max() < 1e-5 * b.abs().max()


@pytest.mark.parametrize(
    ("channels", "size"), [(2, (14, 54, 54)), (2, (5, 9, 12)), (2, (1, 6, 7)), (1, (4, 8, 8)), (3, (6, 7, 8))]
)
def test_weight_gradient_of_a_convolution_whose_map_is_not_made(
    channels: int, size: tuple[int, int, int]
) -> None:
    torch.manual_seed(0)
    x, weight = torch.rand(3, channels, *size).double(), torch.randn(8, channels, 3, 3, 3).double()
    raw = functional.conv3d(x, weight, None, (1, 2, 2), 1)
    maps = raw.movedim(1, -1).contiguous().numpy()
    peaks = np.empty((3, *(-(-length // 2) for length in maps.shape[1:4]), 8))
    places = np.empty(peaks.shape, np.uint8)
    loops.max_pool(maps, -np.inf, peaks, places)
    peaks = np.random.default_rng(0).normal(size=peaks.shape)
    peaks[peaks < -0.5] = 0
    scattered = np.empty_like(maps)
    loops.max_pool_gradient(peaks, places, scattered)
    slope, offset = torch.randn(8).double().view(-1, 1, 1, 1, 1), torch.randn(8).double()
    grad = (
        raw * slope.view(-1, 1, 1, 1) + offset.view(-1, 1, 1, 1) + torch.from_numpy(scattered).movedim(-1, 1)
    )
    expected = torch.nn.grad.conv3d_weight(x, weight.shape, grad, (1, 2, 2), 1)
    found = fused._stem_weight(
        x.movedim(1, -1).contiguous().numpy(),
        (2, 2),
        peaks,
        places,
        (weight * slope).movedim(1, -1).contiguous().numpy(),
        offset.numpy(),
    )
    torch.testing.assert_close(torch.from_numpy(found).movedim(-1, 1), expected, rtol=1e-10, atol=1e-10)
