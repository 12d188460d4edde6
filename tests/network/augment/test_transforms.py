"""Each batched transform against monai's own: the same output at the same parameters, the same distribution of parameters."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from promet.network.augment import loops
from promet.network.augment import transforms as t
from promet.network.augment.batched import Batched
from promet.network.augment.by_monai import monai_transforms
from promet.network.augment.loops import math as math_loops
from promet.network.augment.settings import TRANSFORMS, Augmentation

SHAPE = (14, 54, 54)
SETTINGS = Augmentation()
DRAWS = 1000


@pytest.fixture(scope="module", autouse=True)
def _plain_tensors() -> None:
    from monai.data import set_track_meta

    set_track_meta(False)


@pytest.fixture(scope="module")
def volumes() -> torch.Tensor:
    """Three volumes with values also outside [0, 1], as after earlier transforms; lesion maps binary."""
    rng = np.random.default_rng(0)
    made = rng.normal(0.4, 0.5, (3, 2, *SHAPE))
    made[:, 1] = 0
    made[:, 1, 4:9, 15:30, 20:33] = 1
    made[2, 0, :, :10] = 0
    return torch.tensor(made, dtype=torch.float32)


def monai_one(name: str, seed: int) -> Any:
    return monai_transforms(SETTINGS, SHAPE)[name]().set_random_state(seed=seed)


def array(transform: Any) -> Any:
    """The array transform inside a dictionary transform."""
    names = ("rand_rotate", "rand_gaussian_noise", "rand_rician_noise", "shifter", "shuffle", "rand_noise")
    names += ("rand_3d_elastic", "rand_affine", "rand_gibbs", "rand_gibbs_noise", "rand_bias_field", "adjust")
    inner = [
        value for value in vars(transform).values() if type(value).__module__.startswith("monai.transforms")
    ]
    return inner[0] if inner else next(getattr(transform, name) for name in names if hasattr(transform, name))


class Shuffler:
    """A random state whose permutations are remembered."""

    def __init__(self, state: np.random.RandomState) -> None:
        self.state, self.orders = state, []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.state, name)

    def shuffle(self, values: np.ndarray) -> None:
        order = self.state.permutation(len(values))
        self.orders.append(order)
        values[:] = values[order]


def parameters(name: str, inner: Any) -> dict[str, torch.Tensor]:  # noqa: PLR0912
    """What monai drew, in the words of transforms.py, one row."""
    row = lambda *values: torch.tensor([values], dtype=torch.float64)  # noqa: E731
    one = lambda value: torch.tensor([float(value)], dtype=torch.float64)  # noqa: E731
    if name == "rotation":
        return {"angles": row(inner.x, inner.y, inner.z)}
    if name == "std_shift":
        return {"factor": one(inner.factor)}
    if name == "contrast":
        return {"gamma": one(inner.gamma_value)}
    if name == "gaussian_smooth":
        return {"sigma": row(inner.x, inner.y, inner.z)}
    if name == "gaussian_sharpen":
        return {
            "first": row(inner.x1, inner.y1, inner.z1),
            "second": row(inner.x2, inner.y2, inner.z2),
            "alpha": one(inner.a),
        }
    if name == "histogram_shift":
        points = torch.tensor(inner.floating_control_points)
        most = SETTINGS.histogram_shift.control_points[1]
        return {
            "floating": torch.nn.functional.pad(points, (0, most - len(points)), value=1.0)[None],
            "points": torch.tensor([len(points)]),
        }
    if name == "coarse_shuffle":
        patches = SETTINGS.coarse_shuffle.holes[1]
        corner, size = (
            torch.zeros(1, patches, 3, dtype=torch.long),
            torch.ones(1, patches, 3, dtype=torch.long),
        )
        for number, patch in enumerate(inner.hole_coords):
            corner[0, number] = torch.tensor([part.start for part in patch[1:]])
            size[0, number] = torch.tensor([part.stop - part.start for part in patch[1:]])
        return {"corner": corner, "size": size, "count": torch.tensor([len(inner.hole_coords)])}
    if name == "elastic":
        return {"sigma": one(inner.sigma), "magnitude": one(inner.magnitude)}
    if name == "affine":
        grid = inner.rand_affine_grid
        return {
            "scale": row(*grid.scale_params),
            "shear": row(*grid.shear_params),
            "shift": row(*grid.translate_params),
        }
    if name == "gibbs_noise":
        return {"alpha": one(inner.sampled_alpha)}
    if name == "bias_field":
        return {"coefficients": row(*inner._coeff)}
    if name == "kspace_spike":
        return {
            "place": torch.tensor([inner.sampled_locs[0][1:]]),
            "intensity": one(inner.sampled_k_intensity[0]),
        }
    raise KeyError(name)


def both(name: str, volume: torch.Tensor, seed: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """monai's output for a volume (2, z, y, x), and ours at the parameters it drew."""
    transform = monai_one(name, seed)
    inner = array(transform) if name != "flip" else None
    state = Shuffler(inner.R) if name == "coarse_shuffle" else None
    if state:
        inner.R = state
    if name == "affine":  # monai draws again for each key, after the grid is made: keep what was drawn first
        inner.rand_affine_grid.randomize()
        inner.rand_affine_grid.randomize = lambda *_: None
    given = {"pet": volume[:1].clone(), "lesions": volume[1:].clone()}
    out = transform(given)
    batch = volume[None].clone()
    if name == "flip":
        return out, t.flip(batch, 2)[0]
    if name == "gaussian_noise":
        return out, t.gaussian_noise(batch[:, 0], torch.ones(1), torch.tensor(inner.noise))
    if name == "rician_noise":
        noise = torch.stack([torch.tensor(inner._noise1), torch.tensor(inner._noise2)], dim=1)
        return out, t.rician_noise(batch[:, 0], torch.ones(1), noise)
    drawn = parameters(name, inner)
    if name == "rotation":
        return out, t.linear_map(batch, t.rotation_matrix(**drawn))[0]
    if name == "affine":
        return out, t.linear_map(batch, t.affine_matrix(**drawn))[0]
    if name == "elastic":
        return out, t.elastic(batch, **drawn, offsets=torch.tensor(inner.rand_offset)[None])[0]
    if name == "bias_field":
        drawn["degree"] = SETTINGS.bias_field.degree
    if state:
        keys = torch.zeros(1, drawn["corner"].shape[1], math.prod(SETTINGS.coarse_shuffle.max_size))
        for number, order in enumerate(state.orders):  # keys whose order is the permutation
            keys[0, number, torch.tensor(order)] = torch.linspace(0, 1, len(order))
        drawn["keys"] = keys
    return out, getattr(t, name)(batch[:, 0], **drawn)


@pytest.mark.parametrize("loops", [loops, None], ids=["loops", "torch"])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_same_output_at_the_same_parameters(
    name: str, loops: ModuleType | None, volumes: torch.Tensor, monkeypatch
) -> None:
    monkeypatch.setattr(t, "_loops", lambda _: loops)  # what a GPU does, too
    for seed, volume in enumerate(volumes):
        theirs, ours = both(name, volume, seed)
        scale = max(1.0, theirs["pet"].abs().max().item())
        assert (ours[:1] - theirs["pet"]).abs().max().item() <= 1e-4 * scale
        assert not torch.equal(theirs["pet"], volume[:1])
        if ours.shape[0] == 2:  # spatial: a voxel may go the other way where a place lies just between two
            assert set(ours[1].unique().tolist()) <= {0.0, 1.0}
            assert (ours[1:] != theirs["lesions"]).sum() <= 3
            assert not torch.equal(ours[1], volume[1]) or name == "elastic"


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_batch_is_its_volumes(name: str, volumes: torch.Tensor) -> None:
    engine = Batched(Augmentation(count=1, transforms=(name,)), 3, SHAPE)
    together = engine(volumes, 1, [4, 5, 6])
    for number in range(3):
        alone = engine(volumes[number : number + 1], 1, [4 + number])[0]
        torch.testing.assert_close(together[number], alone, rtol=0, atol=1e-5)
    assert torch.equal(engine(strided(volumes), 1, [4, 5, 6]), together)


def strided(volumes: torch.Tensor) -> torch.Tensor:
    """The same numbers, not contiguous."""
    return volumes.transpose(-1, -2).contiguous().transpose(-1, -2)


@pytest.mark.parametrize("shape", [SHAPE, (1, 6, 6), (5, 9, 7)])
def test_reading_at_places_as_torch_does(shape: tuple[int, int, int]) -> None:
    rng = torch.Generator().manual_seed(0)
    volumes = torch.rand(4, 2, *shape, generator=rng)
    volumes[:, 1] = (volumes[:, 1] > 0.5).float()
    matrix = (
        torch.eye(3, 4, dtype=torch.float64) + torch.randn(4, 3, 4, dtype=torch.float64, generator=rng) / 4
    )
    matrix[1, :, 3] = 1.25  # some of it lies outside
    matrix[2, :, 3] = 1000  # all of it
    identity = torch.eye(3, 4, dtype=torch.float64).repeat(4, 1, 1)
    offsets = torch.randn(4, 3, *shape, generator=rng) * torch.tensor([0.3, 1, 3, 100]).view(-1, 1, 1, 1, 1)
    for ours, places in (  # strided volumes are copied, so that they stay as they are
        (t.linear_map(strided(volumes), matrix), t._places(shape, matrix)),
        (t.displace(strided(volumes), offsets), t._places(shape, identity) + offsets),
    ):
        theirs = t._sample(volumes, places)
        assert ours.shape == theirs.shape
        torch.testing.assert_close(ours[:, 0], theirs[:, 0], rtol=0, atol=3e-5)
        between = ((places - places.floor() - 0.5).abs() < 1e-4).any(1)  # there rounding decides
        assert torch.equal(ours[:, 1][~between], theirs[:, 1][~between])
    assert not t.linear_map(volumes, matrix)[2].any()


def test_halfway_between_two_voxels_the_even_one_is_nearest() -> None:
    volumes = torch.arange(7.0).repeat(1, 2, 7, 7, 1)
    places = torch.arange(7) + 0.5
    ours = t.displace(volumes, torch.full((1, 3, 7, 7, 7), 0.5))[0, 1, 1, 1]
    assert torch.equal(ours, places.round())


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_stays_so(bad: float) -> None:
    volumes = torch.rand(1, 2, 5, 6, 7)
    volumes[0, 0, 2, 3, 3] = bad
    pet, still = volumes[:, 0], torch.zeros(1, 3)
    turned = t.linear_map(volumes.clone(), t.rotation_matrix(still.double()))
    assert not turned[0, 0, 2, 3, 3].isfinite()
    assert not t.blur(pet, still + 0.5)[0, 2, 3, 3].isfinite()
    assert not t.contrast(pet.clone(), torch.ones(1))[0, 2, 3, 3].isfinite()
    drawn = {"floating": torch.linspace(0, 1, 8)[None], "points": torch.tensor([8])}
    assert not t.histogram_shift(pet.clone(), **drawn)[0, 2, 3, 3].isfinite()


@pytest.mark.parametrize("shape", [SHAPE, (1, 6, 6), (5, 9, 7)])
def test_narrow_filters_as_matrix_products(shape: tuple[int, int, int]) -> None:
    volumes = torch.randn(5, *shape, generator=torch.Generator().manual_seed(0))
    sigma = torch.linspace(0.05, 1.9, 15, dtype=torch.float64).view(5, 3)
    tails = t._tails(sigma, 4.0)
    assert tails.max() == t.NARROW
    ours = t.blur(strided(volumes), sigma)
    torch.testing.assert_close(ours, t._blur(volumes, sigma, tails), rtol=0, atol=2e-6)


def test_curves_as_torch_bends() -> None:
    rng = torch.Generator().manual_seed(0)
    volumes = torch.randn(6, 5, 9, 7, generator=rng)
    volumes[3] = 0.25  # no range
    floating, points = torch.rand(6, 12, generator=rng).double(), torch.tensor([3, 5, 8, 8, 12, 12])
    low, high = volumes.amin(t.AXES, keepdim=True), volumes.amax(t.AXES, keepdim=True)
    theirs = t._bend(volumes, low, high - low, floating, points)
    ours = t.histogram_shift(strided(volumes), floating, points)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    assert torch.equal(ours[3], volumes[3])


def test_patches_shuffled_as_torch_sorts() -> None:
    rng = torch.Generator().manual_seed(0)
    volumes = torch.randn(6, 5, 9, 7, generator=rng)
    size = torch.randint(1, 5, (6, 4, 3), generator=rng)
    corner = (torch.rand(6, 4, 3, generator=rng) * (torch.tensor([5, 9, 7]) - size + 1)).long()
    keys = torch.randint(0, 40, (6, 4, 64), generator=rng) / 40  # many are equal: their order stays
    given = corner, size, torch.tensor([0, 1, 2, 3, 4, 4]), keys
    ours = t.coarse_shuffle(strided(volumes), *given)
    assert torch.equal(ours, t._shuffle(volumes, *given))
    assert torch.equal(ours[0], volumes[0])
    assert not torch.equal(ours[1], volumes[1])


def test_contrast_is_a_power() -> None:
    volumes = torch.rand(4, 5, 9, 7, generator=torch.Generator().manual_seed(0))
    gamma = torch.tensor([0, 0.5, 1, 4.5])
    low, high = volumes.amin(t.AXES, keepdim=True), volumes.amax(t.AXES, keepdim=True)
    power = ((volumes - low) / (high - low + 1e-7)) ** gamma.view(-1, 1, 1, 1)
    torch.testing.assert_close(
        t.contrast(volumes.clone(), gamma), power * (high - low) + low, rtol=0, atol=1e-6
    )


SEEDS = np.array([1234567, 1, 2, 2**32 - 1, 2**32 + 1, 14 << 32 | 1], np.uint64)


def words(seed: int, count: int) -> list[int]:
    """SplitMix64 as published."""
    state, made = seed, []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        word = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        word = (word ^ (word >> 27)) * 0x94D049BB133111EB % 2**64
        made.append(word ^ (word >> 31))
    return made


def halves(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Upper halves without a sign, lower ones with it."""
    made = np.array(words(seed, count), np.uint64)
    return (made >> np.uint64(32)).astype(np.uint32), made.astype(np.uint32).view(np.int32)


def independent(made: np.ndarray) -> None:
    limit = 4.2 / math.sqrt(made.shape[1])
    half = made.shape[1] // 2
    for row in made:
        for values in (row, abs(row)):
            for a, b in ((values[1:], values[:-1]), (values[:half], values[-half:])):  # halves share words
                assert abs(np.corrcoef(a, b)[0, 1]) < limit * 1.5
    for table in (made, abs(made)):
        assert np.abs(np.corrcoef(table) - np.eye(len(table))).max() < limit


def test_uniform_numbers() -> None:
    made = loops.uniform(SEEDS, 100_001)
    # the published generator's first word for this seed
    assert made[0, 0] == np.float32((6457827717110365317 >> 32) / 2**31)
    for row, seed in zip(made, SEEDS, strict=True):
        upper, lower = halves(int(seed), 3000)
        assert np.array_equal(row[:3000], upper.view(np.int32).astype(np.float32) / np.float32(2**31))
        assert np.array_equal(row[50_001:53_001], lower.astype(np.float32) / np.float32(2**31))
    assert np.array_equal(loops.uniform(SEEDS[1:2], 100_001)[0], made[1])
    assert made.min() >= -1
    assert made.max() <= 1
    assert min(stats.kstest(row, stats.uniform(-1, 2).cdf).pvalue for row in made) > 1e-3
    independent(made)


def test_normal_numbers() -> None:
    count = 1_000_001
    made = loops.normal(SEEDS, count)
    assert np.array_equal(loops.normal(SEEDS[2:3], count)[0], made[2])
    half = (count + 1) // 2
    for row, seed in zip(made, SEEDS, strict=True):  # by Box and Muller in float64 from the published words
        upper, lower = (part.astype(np.float64) for part in halves(int(seed), 20_000))
        radius, angle = np.sqrt(-2 * np.log((upper + 0.5) / 2**32)), np.pi * lower / 2**31
        limit = 2e-6 + 1e-7 / radius  # a float32 just below 1 has few digits left for a radius near 0
        assert (abs(row[:20_000] - radius * np.cos(angle)) < limit).all()
        assert (abs(row[half : half + 20_000] - radius * np.sin(angle)) < limit).all()
        assert stats.kstest(row, "norm").pvalue > 1e-3
        assert abs(row.mean(dtype=np.float64)) < 4 / math.sqrt(count)
        assert abs(row.var(dtype=np.float64) - 1) < 4 * math.sqrt(2 / count)
        for bound in (-4, -3, 3, 4):  # tails as often as they should be
            beyond = (row * np.sign(bound) > abs(bound)).sum()
            assert stats.binomtest(int(beyond), count, stats.norm.sf(abs(bound))).pvalue > 1e-4
    assert 4.5 < abs(made).max() < 6.8
    independent(made)


def test_the_rarest_words_give_finite_numbers() -> None:
    least, most = np.float32(0.5 * 2.0**-32), np.float32(2**32) * np.float32(2.0**-32)
    assert math_loops.log2(least) == pytest.approx(-33, abs=1e-6)
    assert math_loops.log2(most) == 0


def test_logarithm_and_exponential() -> None:
    x = np.exp(np.random.default_rng(0).uniform(-87, 87, 2000)).astype(np.float32)
    ours = np.array([math_loops.log2(value) for value in x])
    np.testing.assert_allclose(ours, np.log2(x.astype(np.float64)), rtol=2e-7, atol=1e-7)
    x = np.linspace(-125, 126, 2001).astype(np.float32)
    ours = np.array([math_loops.exp2(value) for value in x], np.float64)
    np.testing.assert_allclose(ours, 2.0 ** x.astype(np.float64), rtol=3e-7)
    assert math_loops.exp2(np.float32(-1e6)) == pytest.approx(2.0**-126, rel=3e-7)


OTHERS = [(5, 9, 7), (1, 6, 6), (8, 16, 16)]


def random_volumes(shape: tuple[int, int, int]) -> torch.Tensor:
    return torch.randn(3, *shape, generator=torch.Generator().manual_seed(0)) + 0.5


@pytest.mark.parametrize("shape", OTHERS)
def test_kspace_as_numpy_transforms_it(shape: tuple[int, int, int]) -> None:
    volumes, alpha = random_volumes(shape), torch.tensor([0.2, 0.35, 0.6], dtype=torch.float64)
    place = torch.tensor([[0, 0, 0], [shape[0] // 2, 2, shape[2] - 1], [size // 2 for size in shape]])
    cut, spiked = (
        t.gibbs_noise(volumes.clone(), alpha),
        t.kspace_spike(volumes.clone(), place, alpha * 10 + 4),
    )
    far = sum(
        ((n - (s - 1) / 2) ** 2 for n, s in zip(np.indices(shape), shape, strict=True)), np.zeros(shape)
    )
    for number, volume in enumerate(volumes.double().numpy()):
        spectrum = np.fft.fftshift(np.fft.fftn(volume))
        radius = (1 - alpha[number].item()) * max(shape) * math.sqrt(2) / 2
        kept = np.fft.ifftn(np.fft.ifftshift(spectrum * (np.sqrt(far) <= radius))).real
        assert not np.allclose(kept, volume, atol=1e-2)
        np.testing.assert_allclose(cut[number], kept, rtol=0, atol=5e-6)
        at = tuple(place[number].tolist())
        spectrum[at] = spectrum[at] / abs(spectrum[at]) * math.exp(alpha[number].item() * 10 + 4)
        waved = np.fft.ifftn(np.fft.ifftshift(spectrum)).real
        assert not np.allclose(waved, volume, atol=1e-2)
        np.testing.assert_allclose(spiked[number], waved, rtol=1e-6, atol=2e-5)


@pytest.mark.parametrize("shape", OTHERS)
def test_brightness_and_noise_as_numpy_computes_them(shape: tuple[int, int, int]) -> None:
    volumes, factor = random_volumes(shape), torch.tensor([0.1, -0.2, 0.7], dtype=torch.float64)
    values, weights = volumes.double().numpy(), factor.numpy().reshape(3, 1, 1, 1)
    shifted = values + weights * values.std((1, 2, 3), keepdims=True)
    np.testing.assert_allclose(t.std_shift(volumes.clone(), factor), shifted, rtol=0, atol=2e-6)
    orders, axes = t.bias_orders(2), [np.linspace(-1, 1, size) for size in shape]
    terms = np.random.default_rng(0).normal(0, 0.3, (3, len(orders)))
    cube = np.zeros((3, 3, 3, 3))
    for number, order in enumerate(orders):
        cube[(slice(None), *order)] = terms[:, number]
    fields = np.stack([np.exp(np.polynomial.legendre.leggrid3d(*axes, one)) for one in cube])
    ours = t.bias_field(volumes.clone(), torch.tensor(terms), 2)
    np.testing.assert_allclose(ours, values * fields, rtol=2e-6, atol=2e-6)
    noise = np.random.default_rng(1).normal(size=(3, 2, *shape)).astype(np.float32)
    added = values + weights * noise[:, 0]
    ours = t.gaussian_noise(volumes.clone(), factor, torch.tensor(noise[:, 0]))
    np.testing.assert_allclose(ours, added, rtol=0, atol=2e-6)
    ours = t.rician_noise(volumes.clone(), factor, torch.tensor(noise))
    np.testing.assert_allclose(ours, np.hypot(added, weights * noise[:, 1]), rtol=0, atol=2e-6)


@pytest.mark.parametrize("sigma", [0.7, 3.0])
def test_sharpening_is_what_it_is_made_of(sigma: float) -> None:
    volumes, first = random_volumes((5, 9, 7)), torch.full((3, 3), sigma, dtype=torch.float64)
    second, alpha = first / 2, torch.tensor([0.5, 2, 10], dtype=torch.float64)
    once = t._blur(volumes, first, t._tails(first, 4.0))
    theirs = once + alpha.view(3, 1, 1, 1).float() * (once - t._blur(once, second, t._tails(second, 4.0)))
    ours = t.gaussian_sharpen(volumes.clone(), first, second, alpha)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(14, 54, 54), *OTHERS])
def test_wide_filters_as_matrices(shape: tuple[int, int, int]) -> None:
    fields = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(0))
    sigma = torch.tensor([[5.0, 6.0, 7.0], [2.5, 3.0, 6.5]], dtype=torch.float64)
    theirs = t._blur(fields, sigma, t._tails(sigma, 3.0))
    torch.testing.assert_close(t.blur(fields, sigma, 3.0), theirs, rtol=0, atol=1e-6)


def columns(drawn: list[dict[str, torch.Tensor]]) -> dict[str, np.ndarray]:
    """Every single number that was drawn, by name, over the draws."""
    found = {}
    for key in drawn[0]:
        table = np.stack([one[key].double().numpy().ravel() for one in drawn])
        found |= {f"{key}[{number}]": column for number, column in enumerate(table.T)}
        if key == "floating":  # each point is drawn from the one before
            found |= {f"step[{number}]": column for number, column in enumerate(np.diff(table).T)}
    return found


def randomised(name: str) -> Callable[[int], dict[str, torch.Tensor]]:
    transform = monai_one(name, 11)
    if name == "flip":
        return lambda _: {}
    inner = array(transform)
    blank = torch.zeros(1, *SHAPE)

    def draw(_: int) -> dict[str, torch.Tensor]:
        if name in ("gaussian_noise", "rician_noise"):
            small = torch.zeros(1, 8, 16, 16)
            moved = inner(small.clone())
            noise = moved if name == "gaussian_noise" else torch.tensor(inner._noise1)
            return {"std": noise.std()[None].double()}
        if name == "affine":
            inner.rand_affine_grid.randomize()
        elif name == "elastic":
            inner.randomize((2, 2, 2))
        elif name in ("coarse_shuffle", "bias_field"):
            inner.randomize(SHAPE)
        elif name == "kspace_spike":
            inner.sampled_locs, inner.sampled_k_intensity = [], []
            inner.randomize(blank, inner._make_sequence(blank))
        else:
            inner.randomize(None)
        return parameters(name, inner)

    return draw


@pytest.mark.parametrize("name", TRANSFORMS)
def test_same_distribution_of_parameters(name: str) -> None:
    draw = randomised(name)
    theirs = columns([draw(number) for number in range(DRAWS)])
    table = Batched(Augmentation(count=1, transforms=(name,)), 5, SHAPE).draw(1, range(DRAWS))[1][name]
    if name == "flip":
        assert table == {}  # no parameter: monai always flips too
        return
    ours = columns([{key: value[row] for key, value in table.items()} for row in range(DRAWS)])
    if name == "coarse_shuffle":  # patches that do not exist have no size
        exists = np.arange(12) < theirs["count[0]"][:, None], np.arange(12) < ours["count[0]"][:, None]
    assert ours.keys() == theirs.keys()
    worst = 1.0
    for key in ours:
        a, b = ours[key], theirs[key]
        if name == "coarse_shuffle" and key != "count[0]":
            patch = int(key.split("[")[1][:-1]) // 3
            a, b = a[exists[1][:, patch]], b[exists[0][:, patch]]
        values = np.unique(np.r_[a, b])
        if len(values) == 1:
            continue
        if len(values) < 20:
            counts = np.array([[(side == value).sum() for value in values] for side in (a, b)])
            worst = min(worst, stats.chi2_contingency(counts[:, counts.sum(0) > 5]).pvalue)
        else:
            worst = min(worst, stats.ks_2samp(a, b).pvalue)
    assert worst > 1e-3 / len(ours)


def test_order_of_the_transforms_is_uniform() -> None:
    """monai's SomeOf draws 7 of 15 without replacement, in random order: each place has each transform equally often."""
    order, _ = Batched(Augmentation(), 1, SHAPE).draw(1, range(1500))
    assert order.shape == (1500, 7)
    assert all(len(set(row)) == 7 for row in order.tolist())
    counts = torch.stack([torch.bincount(column, minlength=15) for column in order.T]).numpy()
    assert stats.chisquare(counts, axis=1).pvalue.min() > 1e-3
    pairs = (
        order[:, 0] * 15 + order[:, 1]
    )  # successive places do not depend on each other but for the exclusion
    assert stats.chisquare(np.bincount(pairs, minlength=225)[[n for n in range(225) if n % 16]]).pvalue > 1e-3


def test_constant_and_empty_volumes_stay_finite() -> None:
    flat = torch.zeros(2, 2, *SHAPE)
    flat[1, 0] = 0.5
    for name in TRANSFORMS:
        engine = Batched(Augmentation(count=1, transforms=(name,)), 0, SHAPE)
        assert torch.isfinite(engine(flat, 1, [0, 1])).all(), name


@pytest.mark.parametrize("shape", [(8, 16, 16), (5, 9, 7), (1, 6, 6)])
def test_other_shapes(shape: tuple[int, int, int]) -> None:
    volume = torch.rand(2, 2, *shape)
    volume[:, 1] = (volume[:, 1] > 0.5).float()
    out = Batched(Augmentation(count=15), 1, shape)(volume, 1, [0, 1])
    assert out.shape == volume.shape
    assert torch.isfinite(out).all()
    assert set(out[:, 1].unique().tolist()) <= {0.0, 1.0}


def test_each_job_loads_what_it_uses() -> None:
    """monai costs four seconds of every training job, numba and its loops one; on a GPU (here the meta device) neither is met."""
    code = """
import sys, torch
from promet.network.train import augmenter, require_shape
from promet.network.settings import Architecture, Augmentation

shape = (4, 8, 8)
model = require_shape(Architecture(), (2, *shape)).train()
for device in ("meta", "cpu"):
    volumes = torch.empty(2, 2, *shape, device=device).fill_(0.5)
    model.to_empty(device=device)(augmenter(Augmentation(), 1, shape)(volumes, 1, [0, 1]))
    loaded = {name for name in ("monai", "numba") if name in sys.modules}
    assert loaded == (set() if device == "meta" else {"numba"}), (device, loaded)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
