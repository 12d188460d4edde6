"""A known ellipsoid, placed anywhere, lands at its place of the cuboid within half a voxel, its volume within 2 %.

From the CT's grid, or from contours and DICOM slices, over the grid of the PET to the cuboid: every step together.
"""

import tempfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_series import circle, write, write_rtstruct
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from promet.imaging.convert import convert_source
from promet.imaging.crop import centroid_mm, crop
from promet.imaging.geometry import canonical, to_grid
from promet.imaging.masks.read import read_mask
from promet.imaging.settings import Crop

CUBOID = Crop()  # 14 x 54 x 54 voxels of 5 x 1.37 x 1.37 mm
STEP = np.array(CUBOID.spacing_mm[::-1])  # (x, y, z)
RADII = np.array([24.0, 20.0, 22.0])  # of the organ
sizes = st.tuples(*[st.floats(9, 14)] * 3)
shifts = st.tuples(*[st.floats(-8, 8)] * 3)
places = st.tuples(*[st.floats(-500, 500)] * 3)
turns = st.tuples(*[st.floats(-3.2, 3.2)] * 3)
signs = st.tuples(*[st.sampled_from((1.0, -1.0))] * 3)
often = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def axes_of(turn, sign=(1, 1, 1)):
    """Columns: the directions of a grid's axes; left-handed for an odd number of minus signs."""
    return Rotation.from_euler("xyz", turn).as_matrix() * sign


def grid(spacing, field, middle, axes):
    size = np.ceil(field / np.array(spacing)).astype(int)
    image = sitk.Image(size.tolist(), sitk.sitkUInt8)
    image.SetSpacing(spacing)
    image.SetDirection(axes.ravel().tolist())
    image.SetOrigin((np.array(middle) - axes @ ((size - 1) / 2 * spacing)).tolist())
    return image


def points(image):
    index = np.stack(np.indices(image.GetSize()[::-1])[::-1], axis=-1) * image.GetSpacing()
    return index @ np.reshape(image.GetDirection(), (3, 3)).T + image.GetOrigin()


def ellipsoid(image, centre, radii):
    """The voxels of a grid whose centre lies in an ellipsoid along the patient's axes."""
    made = sitk.GetImageFromArray(((((points(image) - centre) / radii) ** 2).sum(-1) <= 1).astype(np.uint8))
    made.CopyInformation(image)
    return made


def where(marked):
    """Mean distance (x, y, z) from the middle of the cuboid in its voxels, and volume in mm3."""
    index = np.argwhere(marked)[:, ::-1]
    return index.mean(0) - (np.array(marked.shape[::-1]) - 1) / 2, len(index) * STEP.prod()


def check(cuboid, organ, centre, radii):
    """Against the ellipsoid as it was thought of: nothing of the rasters in between."""
    found, volume = where(cuboid[1] > 0)
    middle = centroid_mm(organ)
    assert np.abs(found - (np.array(centre) - middle) / STEP).max() < 0.5
    assert volume == pytest.approx(4 / 3 * np.pi * np.prod(radii), rel=0.02)


@often
@given(
    st.tuples(st.floats(0.7, 1.4), st.floats(0.7, 1.4), st.floats(0.7, 2.0)),
    st.tuples(st.floats(1.5, 4.1), st.floats(1.5, 4.1), st.floats(1.5, 3.3)),
    turns,
    turns,
    signs,
    signs,
    places,
    shifts,
    sizes,
)
def test_from_the_ct_grid(ct, pet, ct_turn, pet_turn, ct_sign, pet_sign, place, shift, radii):
    """Both grids oblique in any way, left- or right-handed, anisotropic, anywhere in the scanner."""
    place, radii = np.array(place), np.array(radii)
    centre = place + shift
    fine = grid(ct, 64, place, axes_of(ct_turn, ct_sign))
    reference = canonical(grid(pet, 130, place + 3.3, axes_of(pet_turn, pet_sign)))
    organ = to_grid(ellipsoid(fine, place, RADII), reference)
    lesions = to_grid(ellipsoid(fine, centre, radii), reference)
    suv = sitk.GetImageFromArray(
        (9 * np.exp(-((points(reference) - centre) ** 2).sum(-1) / 128)).astype(np.float32)
    )
    suv.CopyInformation(reference)
    cuboid, values, _ = crop(suv, organ, lesions, CUBOID)
    check(cuboid, organ, centre, radii)
    hot = np.clip(cuboid[0] - 5, 0, None)  # the core of the uptake, which the organ's rim does not cut
    index = np.stack(np.indices(hot.shape)[::-1], -1) - (np.array(hot.shape[::-1]) - 1) / 2
    found = (hot[..., None] * index).sum((0, 1, 2)) / hot.sum()
    assert np.abs(found - (centre - centroid_mm(organ)) / STEP).max() < 0.5
    assert values["inside_fraction"] == 1


@often
@given(
    st.tuples(st.floats(1, 4.2), st.floats(1, 4.2), st.floats(1, 5)),
    turns,
    signs,
    places,
    shifts,
    st.tuples(*[st.floats(5, 12)] * 3),
)
def test_a_small_lesion_keeps_its_voxels_volume(spacing, turn, sign, place, shift, radii):
    """From the grid of the PET to the cuboid alone: nothing is lost beyond half a voxel of the cuboid."""
    reference = canonical(grid(spacing, 120, place, axes_of(turn, sign)))
    organ = ellipsoid(reference, place, RADII)
    lesions = ellipsoid(reference, np.array(place) + shift, radii)
    native = sitk.GetArrayViewFromImage(lesions).sum() * np.prod(spacing)
    cuboid, _, _ = crop(organ, organ, lesions, CUBOID)
    found, volume = where(cuboid[1] > 0)
    assert abs(volume - native) <= STEP.prod() / 2 + 1e-6
    assert np.abs(found - (centroid_mm(lesions) - centroid_mm(organ)) / STEP).max() < 0.5


@settings(often, max_examples=6)
@given(turns, st.lists(st.floats(2.6, 3.4), min_size=34, max_size=34), places, shifts, sizes)
def test_from_dicom_slices_and_contours(turn, gaps, place, shift, radii):
    """Oblique PET slices at irregular distances; contours on transverse planes, as on a CT."""
    place, radii = np.array(place), np.array(radii)
    centre, axes = place + shift, axes_of(turn)
    depths = np.cumsum([0, *gaps]) - sum(gaps) / 2
    first = place - axes[:, :2] @ [48.0, 46.5]
    y, x = np.mgrid[:32, :33]

    def plane(index):
        at = (
            first
            + axes[:, 2] * depths[index]
            + x[..., None] * 3.0 * axes[:, 0]
            + y[..., None] * 3.0 * axes[:, 1]
        )
        return (200 + 20000 * np.exp(-((at - centre) ** 2).sum(-1) / 128)).astype(np.int16)

    changes = {
        "Units": "GML", "RescaleSlope": 0.001, "PixelSpacing": [3.0, 3.0],
        "ImageOrientationPatient": [*axes[:, 0], *axes[:, 1]],
        "ImagePositionPatient": lambda i: (first + axes[:, 2] * depths[i]).tolist(),
    }  # fmt: skip

    def contours(middle, size):
        heights = middle[2] + (np.arange(-40, 40) + 0.5) * 1.5
        share = {z: 1 - ((z - middle[2]) / size[2]) ** 2 for z in heights}
        return [circle(0, 0, z, 1.0, 180) * [*(size[:2] * np.sqrt(s)), 1] + [*middle[:2], 0]
                for z, s in share.items() if s > 0.002]  # fmt: skip

    with tempfile.TemporaryDirectory() as folder:
        source = write(Path(folder, "pet"), changes, slices=len(depths), values=plane)
        drawn = write_rtstruct(
            Path(folder, "rt.dcm"), {"Prostate": contours(place, RADII), "Lesion": contours(centre, radii)}
        )
        pet = convert_source(source).image
        organ, lesions = (read_mask(drawn, pet, name, pet=source) for name in ("Prostate", "Lesion"))
    cuboid, _, _ = crop(pet, organ, lesions, Crop(mask_outside=False))
    check(cuboid, organ, centre, radii)
    hot = np.clip(cuboid[0] - 12, 0, None)
    index = np.stack(np.indices(hot.shape)[::-1], -1) - (np.array(hot.shape[::-1]) - 1) / 2
    found = (hot[..., None] * index).sum((0, 1, 2)) / hot.sum()
    assert np.abs(found - (centre - centroid_mm(organ)) / STEP).max() < 0.5
