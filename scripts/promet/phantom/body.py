"""The picture of a synthetic patient: uptake (SUV) and density (HU) of a male pelvis on any grid.

All shapes are ellipsoids given in mm, so PET and CT grids see the same patient. Arrays are (z, y, x), slices from
feet to head, rows from front to back, columns from the patient's right to left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter

from promet.phantom.truth import Bump, Truth, Vector

FWHM_MM = 5.5  # point spread of the scanner
NOISE = 0.012  # variance of a voxel over its SUV
CT_NOISE_HU = 12.0
LONG = 1e4  # an ellipsoid this long is a cylinder


@dataclass(frozen=True)
class Grid:
    """Voxel grid: shape and spacing in mm (z, y, x), centre in mm relative to the field of view."""

    shape: tuple[int, int, int]
    spacing: Vector
    centre: Vector

    @property
    def first(self) -> Vector:
        """Centre of the first voxel in mm, relative to the field of view."""
        return tuple(
            c - (n - 1) * s / 2 for n, s, c in zip(self.shape, self.spacing, self.centre, strict=True)
        )

    def axes(self) -> list[np.ndarray]:
        """Coordinates in mm of the voxel centres along z, y, x."""
        return [
            (f + s * np.arange(n)).astype(np.float32)
            for n, s, f in zip(self.shape, self.spacing, self.first, strict=True)
        ]


class Grids(NamedTuple):
    """The PET grid and the finer CT grid of one patient."""

    pet: Grid
    ct: Grid


FULL = Grids(
    pet=Grid((42, 84, 84), (3.0, 4.0728, 4.0728), (0.0, 0.0, 0.0)),
    ct=Grid((32, 128, 128), (4.0, 2.6, 2.6), (0.7, -1.3, 0.9)),
)
# The prostate and what touches it, for tests of the plan.
SMALL = Grids(
    pet=Grid((14, 24, 24), (6.0, 6.0, 6.0), (-22.0, 14.0, 0.0)),
    ct=Grid((18, 32, 32), (5.0, 4.5, 4.5), (-21.5, 13.0, 0.5)),
)


def grids(small: bool = False) -> Grids:
    """The grids of a full or a tiny phantom."""
    return SMALL if small else FULL


class Shape(NamedTuple):
    """One organ: centre and radii in mm (z, y, x), SUV, HU."""

    centre: Vector
    radii: Vector
    suv: float
    hu: float


def scene(truth: Truth) -> list[Shape]:
    """The organs without the gland, in painting order."""
    a, suv = truth.anatomy, truth.anatomy.suv
    depth, width = a.body
    gz, gy, gx = a.gland_centre
    rz, ry, _ = a.gland_radii
    # 10 mm of bladder wall, neck and fat keep the spill of the urine out of the gland.
    bladder = (gz + rz + 10 + a.bladder_radii[0], gy - 8, gx)
    shapes = [
        Shape((0, 0, 0), (LONG, depth, width), suv["fat"], -100),
        Shape((0, 2, 0), (LONG, depth - a.fat_mm, width - a.fat_mm), suv["muscle"], 55),
        Shape((5, 15, 0), (75, 58, 60), suv["fat"], -90),
        Shape((40, 82, 0), (60, 13, 30), suv["bone"], 350),
    ]
    for side in (-1, 1):
        shapes += [
            Shape((20, 12, side * 98), (42, 30, 15), suv["bone"], 380),
            Shape((-15, 5, side * 92), (24, 24, 24), suv["bone"], 480),
            Shape((-15, 5, side * 92), (18, 18, 18), suv["bone"], 300),
            Shape((-48, 42, side * 55), (24, 16, 12), suv["bone"], 420),
            Shape((-26, -52, side * 17), (13, 9, 16), suv["bone"], 420),
            Shape((0, -48, side * 62), (LONG, 6.5, 6.5), suv["blood"], 45),
            Shape((0, -46, side * 76), (LONG, 5, 5), suv["blood"], 45),
            Shape((gz + rz + 6, gy + ry - 2, gx + side * 17), (6, 6, 13), suv["gland"] * 0.7, 25),
        ]
    shapes += [Shape(centre, radii, uptake, 30) for centre, radii, uptake in a.bowel]
    shapes += [
        Shape((0, gy + ry + 17, gx), (LONG, 13, 15), suv["rectum"], 30),
        Shape((10, gy + ry + 16, gx), (25, 6, 7), 0.3, -700),
        Shape((gz - rz - 12, gy + 6, gx), (6, 7, 9), suv["blood"], 45),
        Shape(bladder, tuple(r + 3 for r in a.bladder_radii), suv["muscle"], 35),
        Shape(bladder, a.bladder_radii, suv["bladder"], 8),
    ]
    shapes += [
        Shape(
            (bladder[0] + 25, bladder[1] + 24, gx + side * (a.bladder_radii[2] + 8)),
            (16, 3.5, 3.5),
            suv["ureter"],
            20,
        )
        for side in (-1, 1)
    ]
    return [shape._replace(centre=_add(shape.centre, a.shift)) for shape in shapes]


def pet_suv(truth: Truth, small: bool = False) -> tuple[np.ndarray, Vector, np.ndarray, np.ndarray]:
    """The PET of a patient without any DICOM.

    Returns:
        SUV (z, y, x) float32 with point spread and noise; spacing in mm (z, y, x); gland mask and lesion mask (bool).
    """
    grid = grids(small).pet
    suv, gland, lesions = measured(truth, grid, truth.stream("pet-noise"))
    return suv, grid.spacing, gland, lesions


def measured(
    truth: Truth, grid: Grid, random: np.random.Generator, noise: float = NOISE
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a scanner sees on any grid: SUV, gland and lesion mask (z, y, x); ``noise``: variance of a voxel over its SUV."""
    gland, parts = gland_occupancy(truth, grid), lesion_occupancies(truth, grid)
    clean = _uptake(truth, grid, gland, parts)
    sigma = [FWHM_MM / 2.3548 / s for s in grid.spacing]
    clean = gaussian_filter(clean, sigma, mode="nearest")
    grain = gaussian_filter(random.standard_normal(grid.shape, dtype=np.float32), 0.5)
    grain *= np.sqrt(noise * clean) / grain.std()
    return np.maximum(clean + grain, 0), gland >= 0.5, union(gland, parts) >= 0.5


def ct_hu(truth: Truth, small: bool = False) -> np.ndarray:
    """The CT of a patient in HU (z, y, x) float32; lesions do not show."""
    grid = grids(small).ct
    volume = np.full(grid.shape, -1000, np.float32)
    for shape in scene(truth):
        _paint(volume, grid, shape.centre, shape.radii, shape.hu)
    gland = gland_occupancy(truth, grid)
    volume += gland * (40 - volume)
    volume += CT_NOISE_HU * truth.stream("ct-noise").standard_normal(grid.shape, dtype=np.float32)
    return np.clip(volume, -1024, 3000)


def gland_occupancy(truth: Truth, grid: Grid) -> np.ndarray:
    """How much of each voxel the prostate fills, 0 to 1; 0.5 is its surface."""
    a = truth.anatomy
    return _fill(grid, _add(a.gland_centre, a.shift), a.gland_radii, a.gland_bumps)


def lesion_occupancies(truth: Truth, grid: Grid) -> list[np.ndarray]:
    """The same for each lesion, before it is clipped to the gland."""
    centre = _add(truth.anatomy.gland_centre, truth.anatomy.shift)
    return [_fill(grid, _add(centre, lesion.centre), lesion.radii, lesion.bumps) for lesion in truth.lesions]


def bladder_occupancy(truth: Truth, grid: Grid) -> np.ndarray:
    """The same for the urine."""
    shape = max(scene(truth), key=lambda shape: shape.suv)
    return _fill(grid, shape.centre, shape.radii)


def union(gland: np.ndarray, parts: list[np.ndarray]) -> np.ndarray:
    """All lesions together, clipped to the gland."""
    return np.minimum(gland, np.max(parts, axis=0)) if parts else np.zeros_like(gland)


def true_volumes_ml(truth: Truth) -> tuple[float, float]:
    """Volumes of gland and lesions in ml, on a 1 mm grid."""
    a = truth.anatomy
    shape = tuple(int(2 * r * 1.15) + 4 for r in a.gland_radii)
    grid = Grid(shape, (1.0, 1.0, 1.0), _add(a.gland_centre, a.shift))
    gland = gland_occupancy(truth, grid)
    return float(gland.sum()) / 1000, float(union(gland, lesion_occupancies(truth, grid)).sum()) / 1000


def _uptake(truth: Truth, grid: Grid, gland: np.ndarray, parts: list[np.ndarray]) -> np.ndarray:
    volume = np.zeros(grid.shape, np.float32)
    for shape in scene(truth):
        _paint(volume, grid, shape.centre, shape.radii, shape.suv)
    a, rng = truth.anatomy, truth.stream("texture")
    volume += gland * (a.suv["gland"] - volume)
    centre = _add(_add(a.gland_centre, a.shift), (3, -4, 0))  # transition zone: a little brighter
    inner = np.minimum(gland, _fill(grid, centre, tuple(0.55 * r for r in a.gland_radii)))
    volume += inner * (1.2 * a.suv["gland"] - volume)
    for lesion, part in zip(truth.lesions, parts, strict=True):
        occupancy = np.minimum(gland, part)
        uptake = lesion.suv * (1 + lesion.texture * _texture(rng, grid))
        volume += occupancy * np.maximum(uptake - volume, 0)  # where lesions overlap the hotter one shows
    return volume


def _texture(rng: np.random.Generator, grid: Grid) -> np.ndarray:
    """A smooth random field of mean 0 within -1..1, defined in mm: waves of 9 to 20 mm."""
    z, y, x = grid.axes()
    field = np.zeros(grid.shape, np.float32)
    for _ in range(3):
        axis = rng.standard_normal(3)
        axis *= 2 * np.pi / rng.uniform(9, 20) / np.linalg.norm(axis)
        phase = rng.uniform(0, 2 * np.pi)
        wave = np.exp(1j * (axis[0] * z + phase))[:, None, None] * np.exp(1j * axis[1] * y)[:, None]
        field += (wave * np.exp(1j * axis[2] * x)).real.astype(np.float32) / 3
    return field


def _add(a: Vector, b: Vector) -> Vector:
    return tuple(p + q for p, q in zip(a, b, strict=True))


def _box(grid: Grid, centre: Vector, radii: Vector) -> tuple[slice, ...]:
    """The part of the grid a shape can reach; 1.3 leaves room for bumps."""
    box = []
    for n, s, f, c, r in zip(grid.shape, grid.spacing, grid.first, centre, radii, strict=True):
        low, high = np.clip([(c - 1.3 * r - f) / s - 1, (c + 1.3 * r - f) / s + 2], 0, n).astype(int)
        box.append(slice(low, high))
    return tuple(box)


def _occupancy(
    grid: Grid, box: tuple[slice, ...], centre: Vector, radii: Vector, bumps: tuple[Bump, ...]
) -> np.ndarray:
    axes = [axis[part] - c for axis, part, c in zip(grid.axes(), box, centre, strict=True)]
    z, y, x = np.ix_(*axes)
    squares = [(p / np.float32(r)) ** 2 for p, r in zip((z, y, x), radii, strict=True)]
    rho = np.sqrt(squares[0] + squares[1] + squares[2]) + np.float32(1e-6)
    slope = np.sqrt(
        sum(q / np.float32(r * r) for q, r in zip(squares, radii, strict=True))
    ) / rho + np.float32(1e-6)
    surface = np.float32(1)
    if bumps:
        length = np.sqrt(z * z + y * y + x * x) + np.float32(1e-3)
        for bump in bumps:
            along = (bump.axis[0] * z + bump.axis[1] * y + bump.axis[2] * x) / length
            surface = surface + np.float32(bump.size) * np.cos(
                np.float32(bump.waves) * along + np.float32(bump.phase)
            )
    distance = (surface - rho) / slope  # mm to the surface, first order; positive inside
    return np.clip(0.5 + distance / np.float32(np.mean(grid.spacing)), 0, 1)


def _fill(grid: Grid, centre: Vector, radii: Vector, bumps: tuple[Bump, ...] = ()) -> np.ndarray:
    volume = np.zeros(grid.shape, np.float32)
    box = _box(grid, centre, radii)
    volume[box] = _occupancy(grid, box, centre, radii, bumps)
    return volume


def _paint(volume: np.ndarray, grid: Grid, centre: Vector, radii: Vector, value: float) -> None:
    box = _box(grid, centre, radii)
    if volume[box].size:
        volume[box] += _occupancy(grid, box, centre, radii, ()) * (np.float32(value) - volume[box])
