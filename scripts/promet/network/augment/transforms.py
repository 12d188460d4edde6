"""The fifteen transforms at given parameters, for many volumes at once, each equal to monai's (1.6) to 1e-4.

Volumes are (n, z, y, x) float32, for the spatial ones (n, 2, z, y, x) with PET and lesion map; parameters have one row per
volume. Nothing is drawn here. On CPU the volumes may be written into: what is returned counts. The parameters are monai's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

Given = Tensor | np.ndarray  # parameters on CPU may be arrays: slicing those costs less
AXES = (-3, -2, -1)
NOWHERE = np.empty((0, 3, 1, 1, 1), np.float32)  # no offsets
IDENTITY = np.eye(3, 4)  # a map that moves nothing
NARROW = 8  # voxels on each side up to which a filter's loop is faster than matrix products on CPU


def _per(values: Tensor, like: Tensor) -> Tensor:
    """One number per volume, in a shape and type that broadcast over volumes."""
    return values.to(like.dtype).view(-1, *[1] * (like.ndim - 1))


def _loops(volumes: Tensor) -> ModuleType | None:
    """The compiled loops for volumes on CPU; elsewhere torch does it, and numba is not loaded."""
    if volumes.device.type != "cpu":
        return None
    from promet.network.augment import loops

    return loops


def _compiled(loop: Callable[..., Any], volumes: Tensor, *given: Given | float) -> Tensor:
    """A compiled loop on CPU volumes, written into if they are contiguous; what it returns, or the volumes it has changed."""
    volumes = volumes.contiguous()
    arrays = [part.contiguous().numpy() if isinstance(part, Tensor) else part for part in given]
    made = loop(volumes.numpy(), *arrays)
    return volumes if made is None else torch.from_numpy(made)


# ---------------------------------------------------------------- spatial


def _places(shape: torch.Size, matrix: Tensor) -> Tensor:
    """(n, 3, z, y, x), voxels: where a linear map about the centre takes each voxel from."""
    half = (torch.tensor(shape, device=matrix.device, dtype=matrix.dtype) - 1) / 2
    z, y, x = (
        matrix[:, :3, axis, None]
        * (torch.arange(size, device=matrix.device, dtype=matrix.dtype) - (size - 1) / 2)
        for axis, size in enumerate(shape)
    )
    plane = (z + (matrix[:, :3, 3] + half)[..., None])[..., None] + y[:, :, None]
    return plane[..., None] + x[:, :, None, None]


def _sample(volumes: Tensor, places: Tensor) -> Tensor:
    """Volumes at places (n, 3, z, y, x): PET trilinear, lesion map nearest, 0 outside."""
    sizes = torch.tensor(volumes.shape[-3:], device=places.device).view(3, 1, 1, 1)
    grid = ((2 * places + 1) / sizes - 1).to(volumes.dtype).flip(1).movedim(1, -1)  # grid_sample has x first
    ways = zip(volumes.split(1, dim=1), ("bilinear", "nearest"), strict=True)
    return torch.cat(
        [functional.grid_sample(part, grid, way, "zeros", align_corners=False) for part, way in ways], dim=1
    )


def linear_map(volumes: Tensor, matrix: Tensor) -> Tensor:
    """Volumes seen through a linear map about their centre: the value at i comes from matrix (i - centre) + centre.

    PET is interpolated trilinearly, the lesion map takes the nearest voxel; outside is 0.

    Args:
        volumes: (n, 2, z, y, x).
        matrix: (n, 3, 4) or (n, 4, 4), voxels, axes z, y, x, shift in the last column.
    """
    if not (loops := _loops(volumes)):
        return _sample(volumes, _places(volumes.shape[-3:], matrix))
    return _compiled(loops.resample, volumes, matrix[:, :3], NOWHERE)


def displace(volumes: Tensor, offsets: Tensor) -> Tensor:
    """The same with the value at i from i + offset.

    Args:
        volumes: (n, 2, z, y, x).
        offsets: (n, 3, z, y, x) voxels.
    """
    if loops := _loops(volumes):
        return _compiled(
            loops.resample, volumes, np.broadcast_to(IDENTITY, (len(volumes), 3, 4)).copy(), offsets
        )
    identity = torch.from_numpy(IDENTITY).to(volumes.device).expand(len(volumes), -1, -1)
    return _sample(volumes, _places(volumes.shape[-3:], identity) + offsets)


def rotation_matrix(angles: Tensor) -> Tensor:
    """RandRotate, (n, 4, 4): rotations about z, then y, then x (in the moved frame), monai's create_rotate.

    Args:
        angles: (n, 3) radians; monai calls the first axis of an array x.
    """
    cos, sin = angles.cos(), angles.sin()
    matrix = torch.eye(4, dtype=angles.dtype, device=angles.device).repeat(len(angles), 1, 1)
    for axis, (a, b, sign) in enumerate(((1, 2, 1), (0, 2, -1), (0, 1, 1))):
        one = torch.eye(4, dtype=angles.dtype, device=angles.device).repeat(len(angles), 1, 1)
        one[:, a, a] = one[:, b, b] = cos[:, axis]
        one[:, a, b], one[:, b, a] = -sign * sin[:, axis], sign * sin[:, axis]
        matrix = matrix @ one
    return matrix


def affine_matrix(scale: Tensor, shear: Tensor, shift: Tensor) -> Tensor:
    """RandAffine without its rotation, (n, 4, 4): shear after shift after scale, as monai's AffineGrid composes them.

    Args:
        scale: (n, 3) factors.
        shear: (n, 6), of which each is one elementary shear, the first applied first.
        shift: (n, 3) voxels.
    """
    eye = torch.eye(4, dtype=scale.dtype, device=scale.device).repeat(len(scale), 1, 1)
    matrix = eye
    for number, (row, column) in enumerate(((0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1))):
        one = eye.clone()
        one[:, row, column] = shear[:, number]
        matrix = one @ matrix
    moved, scaled = eye.clone(), eye.clone()
    moved[:, :3, 3] = shift
    scaled[:, (0, 1, 2), (0, 1, 2)] = scale
    return matrix @ moved @ scaled


def flip(volumes: Tensor, axis: int) -> Tensor:
    """RandFlip about one axis of (z, y, x)."""
    return volumes.flip(axis - 3)


def elastic(volumes: Tensor, sigma: Tensor, magnitude: Tensor, offsets: Tensor) -> Tensor:
    """Rand3DElastic: displacements are ``offsets`` blurred and magnified.

    Args:
        volumes: (n, 2, z, y, x).
        sigma, magnitude: (n,).
        offsets: (n, 3, z, y, x) from -1 to 1.
    """
    sigma, magnitude = torch.as_tensor(sigma), torch.as_tensor(magnitude)
    smooth = blur(offsets, sigma[:, None].expand(-1, 3), truncated=3.0)
    return displace(volumes, smooth.mul_(_per(magnitude, offsets)))


# ---------------------------------------------------------------- intensity


def _tails(sigma: Tensor, truncated: float) -> Tensor:
    """Voxels on each side of the middle of monai's gaussian_1d."""
    return ((sigma.double() * truncated).clamp_min(0.5) + 0.5).floor()


def _kernels(sigma: Tensor, tails: Tensor, distance: Tensor) -> Tensor:
    """monai's gaussian_1d at these distances in voxels, one more axis than sigma and tails."""
    narrow = (0.70710678 / sigma.float())[..., None]
    kernel = (narrow * (distance + 0.5)).erf_().sub_((narrow * (distance - 0.5)).erf_()).mul_(0.5)
    return kernel.mul_(distance.abs() <= tails[..., None])


def _narrow(sigma: Given, truncated: float = 4.0) -> bool:
    return float(sigma.max()) * truncated < NARROW + 0.5


def blur(volumes: Tensor, sigma: Tensor, truncated: float = 4.0) -> Tensor:
    """Gaussian filter, 0 outside, as new volumes.

    Args:
        volumes: (n, ..., z, y, x).
        sigma: (n, 3) voxels in z, y, x.
        truncated: half width of the kernel in sigmas.
    """
    if not (loops := _loops(volumes)):
        return _blur(volumes, sigma, _tails(sigma, truncated))
    if volumes.ndim == 4 and _narrow(sigma, truncated):
        return _compiled(loops.convolve, volumes.clone(), sigma, truncated)
    parts = volumes.reshape(-1, *volumes.shape[-3:])  # fields of one volume apart: better in the cache
    each = len(parts) // len(volumes)
    bands = []
    for axis, size in enumerate(volumes.shape[-3:]):
        band = _compiled(loops.band, sigma[:, axis], truncated, size)
        bands.append(band.expand(each, -1, -1) if len(band) == 1 else band.repeat_interleave(each, 0))
    return _products(parts, bands).view(volumes.shape)


def _blur(volumes: Tensor, sigma: Tensor, tails: Tensor) -> Tensor:
    """The filter as three matrix products, which cost the same at any width."""
    shape = volumes.shape[-3:]
    largest = max(shape)
    distance = torch.arange(1 - largest, largest, device=sigma.device, dtype=torch.float32)
    kernels = _kernels(sigma, tails, distance)
    bands = [
        kernels[:, axis, largest - size : largest + size - 1].unfold(1, size, 1).flip(1)
        for axis, size in enumerate(shape)
    ]
    return _products(volumes, bands)


def _products(volumes: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Matrices (n, size, size) applied along z, y and x of (n, ..., z, y, x). Each leaves its axis in front."""
    n, shape = len(volumes), tuple(volumes.shape[-3:])
    out = volumes
    for matrix in reversed(matrices):
        out = torch.bmm(matrix, out.reshape(n, -1, matrix.shape[-1]).mT)
    return out.view(n, *shape, -1).movedim(-1, 1).reshape(volumes.shape)


def gaussian_noise(volumes: Tensor, std: Tensor, noise: Tensor) -> Tensor:
    """RandGaussianNoise: (n,) and standard normal noise (n, z, y, x)."""
    if loops := _loops(volumes):
        return _compiled(loops.noisy, volumes, std, noise)
    return torch.addcmul(volumes, noise, _per(std, volumes))


def rician_noise(volumes: Tensor, std: Tensor, noise: Tensor) -> Tensor:
    """RandRicianNoise: (n,) and standard normal noise (n, 2, z, y, x)."""
    if loops := _loops(volumes):
        return _compiled(loops.rician, volumes, std, noise)
    std = _per(std, volumes)
    return torch.hypot(torch.addcmul(volumes, noise[:, 0], std), noise[:, 1] * std)


def std_shift(volumes: Tensor, factor: Tensor) -> Tensor:
    """RandStdShiftIntensity: factor (n,) times each volume's own standard deviation is added."""
    if loops := _loops(volumes):
        return _compiled(loops.shift, volumes, factor)
    deviation = volumes - volumes.mean(AXES, keepdim=True)
    return volumes + deviation.square_().mean(AXES, keepdim=True).sqrt_() * _per(factor, volumes)


def contrast(volumes: Tensor, gamma: Tensor) -> Tensor:
    """RandAdjustContrast: gamma (n,)."""
    if loops := _loops(volumes):
        return _compiled(loops.power, volumes, gamma)
    low, high = volumes.amin(AXES, keepdim=True), volumes.amax(AXES, keepdim=True)
    span = high - low
    # a fifth of the time of torch's power; the logarithm of 0 stays finite, so that 0 to the power of 0 is 1
    power = (volumes - low).div_(span + 1e-7).log_().clamp_min_(-1e38).mul_(_per(gamma, volumes)).exp_()
    return power.mul_(span).add_(low)


def gaussian_smooth(volumes: Tensor, sigma: Tensor) -> Tensor:
    """RandGaussianSmooth: (n, 3) voxels."""
    if (loops := _loops(volumes)) and _narrow(sigma):
        return _compiled(loops.convolve, volumes, sigma, 4.0)
    return blur(volumes, sigma)


def gaussian_sharpen(volumes: Tensor, first: Tensor, second: Tensor, alpha: Tensor) -> Tensor:
    """RandGaussianSharpen: two blurs (n, 3) voxels and a strength (n,)."""
    if (loops := _loops(volumes)) and _narrow(first) and _narrow(second):
        return _compiled(loops.sharpen, volumes, first, second, alpha, 4.0)
    blurred = blur(volumes, first)
    return torch.addcmul(blurred, blurred - blur(blurred, second), _per(alpha, volumes))


def histogram_shift(volumes: Tensor, floating: Tensor, points: Tensor) -> Tensor:
    """RandHistogramShift: a piecewise linear curve through equidistant points.

    Args:
        volumes: (n, z, y, x).
        floating: (n, most points) where the points go, 0 to 1; what is beyond a volume's own number is not used.
        points: (n,) number of points.
    """
    if loops := _loops(volumes):
        return _compiled(loops.bend, volumes, floating, points)
    low, high = volumes.amin(AXES, keepdim=True), volumes.amax(AXES, keepdim=True)
    span = high - low
    return _bend(volumes, low, span, floating, points)


def _bend(volumes: Tensor, low: Tensor, span: Tensor, floating: Tensor, points: Tensor) -> Tensor:
    last = _per(points, volumes) - 1
    place = (volumes - low) * torch.where(span > 0, last / span, torch.zeros_like(span))
    index = torch.minimum(place.floor(), last - 1)
    table = torch.stack([floating[:, :-1], floating.diff(dim=1)], dim=-1).to(volumes.dtype)
    rows = torch.arange(len(volumes), device=volumes.device).mul(table.shape[1]).view(-1, 1, 1, 1)
    pair = functional.embedding(index.to(torch.int64) + rows, table.flatten(0, 1))
    bent = torch.addcmul(pair[..., 0], place - index, pair[..., 1]) * span + low
    return torch.where(span > 0, bent, volumes)


def coarse_shuffle(volumes: Tensor, corner: Tensor, size: Tensor, count: Tensor, keys: Tensor) -> Tensor:
    """RandCoarseShuffle: in one patch after the other the voxels change places.

    Args:
        volumes: (n, z, y, x).
        corner, size: (n, patches, 3) voxels.
        count: (n,) how many of the patches exist.
        keys: (n, patches, voxels of the largest patch) random; their order is the permutation.
    """
    if loops := _loops(volumes):
        return _compiled(loops.shuffle, volumes, corner, size, count, keys)
    return _shuffle(volumes, corner, size, count, keys)


def _shuffle(volumes: Tensor, corner: Tensor, size: Tensor, count: Tensor, keys: Tensor) -> Tensor:
    rows, columns = volumes.shape[-2:]
    k = torch.arange(keys.shape[2], device=volumes.device)
    depth, high, wide = (size[..., axis, None] for axis in range(3))
    exists = torch.arange(keys.shape[1], device=volumes.device) < count[:, None]
    inside = (k < depth * high * wide) & exists[..., None]
    z, y, x = k // (high * wide), k // wide % high, k % wide
    places = (
        ((corner[..., 0, None] + z) * rows + corner[..., 1, None] + y) * columns + corner[..., 2, None] + x
    )
    flat = functional.pad(volumes.flatten(1), (0, 1))  # what is in no patch goes to a place of its own
    places = torch.where(inside, places, flat.shape[1] - 1)
    order = torch.where(inside, keys, 2.0).argsort(dim=2, stable=True)
    sources = places.gather(2, order)
    for patch in range(keys.shape[1]):  # one after the other, since patches may overlap
        flat.scatter_(1, places[:, patch], flat.gather(1, sources[:, patch]))
    return flat[:, :-1].view_as(volumes)


@cache
def _distances(shape: tuple[int, int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Distance of each frequency of a real transform, and of its mirror image, from what monai takes as the centre."""
    axes = [torch.arange(size, dtype=torch.float64) - (size - 1) / 2 for size in shape]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    whole = torch.fft.ifftshift((z**2 + y**2 + x**2).sqrt())
    mirror = whole.flip((0, 1, 2)).roll((1, 1, 1), (0, 1, 2))
    half = shape[2] // 2 + 1
    return whole[..., :half].to(device), mirror[..., :half].to(device)


@cache
def _hartley(size: int) -> Tensor:
    """(1, size, size): the Hartley transform, which is real, symmetric and its own inverse."""
    k = torch.arange(size, dtype=torch.float64)
    angle = 2 * math.pi / size * torch.outer(k, k)
    return ((angle.cos() + angle.sin()) / math.sqrt(size)).float()[None]


def gibbs_noise(volumes: Tensor, alpha: Tensor) -> Tensor:
    """RandGibbsNoise: k-space outside a sphere is cut off; alpha (n,) is the share of the radius.

    monai takes the real part of an unsymmetric mask's result; that is a symmetric mask's result, so half the transform is enough.
    """
    shape = tuple(volumes.shape[-3:])
    if loops := _loops(volumes):  # matrix products are faster than Fourier transforms of so few voxels
        waves = [_hartley(size).expand(len(volumes), -1, -1) for size in shape]
        return _products(_compiled(loops.cut, _products(volumes, waves), alpha), waves)
    radius = ((1 - alpha.double()) * max(shape) * math.sqrt(2) / 2).view(-1, 1, 1, 1)
    whole, mirror = _distances(shape, volumes.device)
    mask = ((whole <= radius).to(volumes.dtype) + (mirror <= radius)) * 0.5
    return torch.fft.irfftn(torch.fft.rfftn(volumes, dim=AXES).mul_(mask), s=shape, dim=AXES)


@cache
def _legendre(size: int, degree: int, device: torch.device) -> Tensor:
    """(degree + 1, size): Legendre polynomials on [-1, 1]."""
    x = torch.linspace(-1, 1, size, dtype=torch.float64)
    rows = [torch.ones_like(x), x]
    for k in range(1, degree):
        rows.append(((2 * k + 1) * x * rows[k] - k * rows[k - 1]) / (k + 1))
    return torch.stack(rows[: degree + 1]).to(device)


def bias_orders(degree: int) -> list[tuple[int, int, int]]:
    """Orders in z, y, x of the coefficients of a bias field, in monai's order."""
    every = range(degree + 1)
    return [(i, j, k) for i in every for j in every for k in every if i + j + k <= degree]


def bias_field(volumes: Tensor, coefficients: Tensor, degree: int) -> Tensor:
    """RandBiasField: times the exponential of a polynomial; coefficients (n, len(bias_orders(degree)))."""
    n, shape = len(volumes), tuple(volumes.shape[-3:])
    if loops := _loops(volumes):
        lines = (_legendre(size, degree, volumes.device) for size in shape)
        return _compiled(loops.bias, volumes, coefficients, *lines)
    cube = torch.zeros(n, *[degree + 1] * 3, dtype=torch.float64, device=volumes.device)
    orders = torch.tensor(bias_orders(degree), device=volumes.device)
    cube[:, orders[:, 0], orders[:, 1], orders[:, 2]] = coefficients.double()
    z, y, x = (_legendre(size, degree, volumes.device) for size in shape)
    plane = torch.einsum("nijk,iz,jy->nzyk", cube, z, y).to(volumes.dtype).reshape(n, -1, degree + 1)
    return torch.matmul(plane, x.to(volumes.dtype)).exp_().view_as(volumes) * volumes


def kspace_spike(volumes: Tensor, place: Tensor, intensity: Tensor) -> Tensor:
    """RandKSpaceSpikeNoise: one coefficient of the spectrum gets another size and keeps its phase.

    One coefficient needs no Fourier transform: it is a sum over the volume, and its change is one wave.

    Args:
        volumes: (n, z, y, x).
        place: (n, 3) in the shifted spectrum.
        intensity: (n,) logarithm of the coefficient's new size.
    """
    if loops := _loops(volumes):
        return _compiled(loops.spike, volumes, place, intensity)
    shape = volumes.shape[-3:]
    waves = []
    for axis, size in enumerate(shape):
        index = torch.arange(size, device=volumes.device, dtype=torch.float64)
        turns = (place[:, axis, None] - size // 2) * index / size
        waves.append(torch.polar(torch.ones_like(turns), 2 * math.pi * turns))
    plane = (waves[0][:, :, None] * waves[1][:, None, :]).flatten(1)
    x = torch.view_as_real(waves[2]).to(volumes.dtype)  # (n, x, 2): cos, sin
    rows = torch.view_as_complex(torch.bmm(volumes.flatten(1, 2), x).double())
    coefficient = (rows.conj().resolve_conj() * plane.conj()).sum(1)
    change = torch.polar(intensity.double().exp(), coefficient.angle()) - coefficient
    wave = torch.view_as_real((change / math.prod(shape))[:, None] * plane).to(volumes.dtype)
    wave[..., 1].neg_()  # real part of (a + ib)(cos + i sin)
    return torch.baddbmm(volumes.flatten(1, 2), wave, x.mT).view_as(volumes)
