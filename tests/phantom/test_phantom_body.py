"""The picture in memory: planted uptake, noise, volumes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion

from promet.phantom import body
from promet.phantom.truth import patient_truth


def inside(truth, grid, name: str) -> np.ndarray:
    """Voxels well inside the urine or the gland."""
    field = body.bladder_occupancy(truth, grid) if name == "bladder" else body.gland_occupancy(truth, grid)
    return binary_erosion(field >= 0.999, iterations=2)


def test_planted_uptake_is_found_again():
    truth = patient_truth(1, 7, "development", 1.0)  # no lesion
    suv, spacing, gland, lesions = body.pet_suv(truth)
    assert suv.dtype == np.float32
    assert suv.shape == gland.shape == lesions.shape == body.FULL.pet.shape
    assert spacing == body.FULL.pet.spacing
    assert not lesions.any()
    grid = body.FULL.pet
    assert suv[inside(truth, grid, "bladder")].mean() == pytest.approx(truth.anatomy.suv["bladder"], rel=0.03)
    muscle = suv[:8, 57:61, 26:30]  # gluteal, behind and to the right of the pelvic fat
    assert muscle.mean() == pytest.approx(truth.anatomy.suv["muscle"], rel=0.1)
    assert suv[:, :3].max() < 0.3  # air


@pytest.mark.parametrize("small", [False, True])
def test_no_voxel_near_a_gland_without_lesion_reaches_suv_4(small):
    for index in (7, 25, 43):
        suv, _, gland, _ = body.pet_suv(patient_truth(1, index, "development", 1.0), small)
        assert suv[binary_dilation(gland)].max() < 4


@pytest.mark.parametrize("small", [False, True])
def test_a_visible_lesion_shows_above_suv_4_and_lies_in_the_gland(small):
    for index in range(6):
        truth = patient_truth(6, index, "development", 1.0)
        suv, spacing, gland, lesions = body.pet_suv(truth, small)
        assert lesions.any()
        assert not (lesions & ~gland).any()
        assert ((suv > 4) & gland).sum() * np.prod(spacing) / 1000 > 0.2
        if not small:
            assert suv[lesions].mean() < max(lesion.suv for lesion in truth.lesions)  # partial volume


def test_the_variance_of_the_noise_is_proportional_to_the_uptake():
    truth = patient_truth(1, 7, "development", 1.0)
    scans = np.stack(
        [body.pet_suv(replace(truth, index=1000 + i))[0] for i in range(24)]
    )  # the noise alone differs
    mean, variance = scans.mean(0), scans.var(0, ddof=1)
    for low, high in ((0.4, 0.8), (1.2, 2.5), (15, 100)):
        where = (mean > low) & (mean < high)
        assert where.sum() > 100
        assert variance[where].mean() / mean[where].mean() == pytest.approx(body.NOISE, rel=0.1)


def test_volumes_on_the_grids_agree_with_a_fine_sampling():
    for index in range(8):
        truth = patient_truth(1, index, "development", 1.0)
        gland_ml, lesions_ml = body.true_volumes_ml(truth)
        assert 15 < gland_ml < 90
        assert 0 <= lesions_ml < gland_ml
        for grid in body.FULL:
            found = (body.gland_occupancy(truth, grid) >= 0.5).sum() * np.prod(grid.spacing) / 1000
            assert found == pytest.approx(gland_ml, rel=0.03)


def test_a_smooth_gland_has_the_volume_of_an_ellipsoid():
    truth = patient_truth(1, 0, "development", 1.0)
    truth = replace(truth, anatomy=replace(truth.anatomy, gland_bumps=()))
    expected = 4 / 3 * np.pi * np.prod(truth.anatomy.gland_radii) / 1000
    assert body.true_volumes_ml(truth)[0] == pytest.approx(expected, rel=0.005)


def test_ct_has_air_fat_muscle_and_bone():
    hu = body.ct_hu(patient_truth(1, 0, "development", 1.0))
    assert hu.shape == body.FULL.ct.shape
    assert np.median(hu[:, 0]) == pytest.approx(-1000, abs=15)
    for low, high in ((-120, -80), (35, 75), (380, 520)):
        assert ((hu > low) & (hu < high)).mean() > 0.005
