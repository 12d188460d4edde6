"""Grids: orientation, files without text, masks from one grid to another."""

import gzip
import struct

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from promet.core.errors import DataError
from promet.imaging import geometry


def image(array, spacing=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0), direction=None):
    made = sitk.GetImageFromArray(array)
    made.SetSpacing(spacing)
    made.SetOrigin(origin)
    if direction is not None:
        made.SetDirection(np.ravel(direction).tolist())
    return made


def turned(degrees):
    a = np.deg2rad(degrees)
    return np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])


def ball(spacing, radius, direction=None, size_mm=60.0, centre=(0.0, 0.0, 0.0)):
    """A sphere by voxel centres on a grid around the origin."""
    size = [round(size_mm / s) for s in spacing]
    direction = np.eye(3) if direction is None else direction
    origin = -direction @ [(n - 1) * s / 2 for n, s in zip(size, spacing, strict=True)]
    empty = image(np.zeros(size[::-1], np.uint8), spacing, origin.tolist(), direction)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in size], indexing="ij"), -1) * spacing
    points = index @ direction.T + origin
    inside = np.linalg.norm(points - centre, axis=-1) <= radius
    made = sitk.GetImageFromArray(inside.transpose(2, 1, 0).astype(np.uint8))
    made.CopyInformation(empty)
    return made


def millilitres(mask):
    return np.count_nonzero(sitk.GetArrayFromImage(mask)) * np.prod(mask.GetSpacing()) / 1000


@pytest.mark.parametrize("spacing", [(0.98, 0.98, 1.5), (0.7, 0.7, 5.0), (4.07, 4.07, 2.0)])
@pytest.mark.parametrize("angle", [0, 17])
def test_to_grid_keeps_volume(spacing, angle):
    reference = ball((4.07, 4.07, 3.0), 1.0, size_mm=90)
    mask = ball(spacing, 20.0, turned(angle), centre=(3.3, -2.1, 1.7))
    moved = geometry.to_grid(mask, reference)
    assert geometry.same_grid(moved, reference) and moved.GetPixelID() == sitk.sitkUInt8
    assert millilitres(moved) == pytest.approx(4 / 3 * np.pi * 8, rel=0.03)
    off = 0.3 if spacing[0] < 4 else 1.0  # equal pixels half a pixel apart
    middle = np.mean(np.argwhere(sitk.GetArrayFromImage(moved)), 0)[::-1]
    np.testing.assert_allclose(
        moved.TransformContinuousIndexToPhysicalPoint(middle), (3.3, -2.1, 1.7), atol=off
    )


def test_to_grid_is_the_majority_of_a_voxel():
    """3 x 3 x 3 fine voxels per coarse one: exactly counted."""
    rng = np.random.default_rng(1)
    fine = ndimage.zoom(rng.random((4, 4, 4)), 3, order=1) > 0.5
    mask = image(fine.astype(np.uint8))
    coarse = image(np.zeros((4, 4, 4), np.float32), (3.0,) * 3, (1.0,) * 3)
    expected = fine.reshape(4, 3, 4, 3, 4, 3).sum((1, 3, 5)) >= 14
    np.testing.assert_array_equal(sitk.GetArrayFromImage(geometry.to_grid(mask, coarse)) > 0, expected)


@pytest.mark.parametrize("step", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("shift", [0.0, 1.0, 2.0])
def test_to_grid_is_fair_among_equally_full_voxels(step, shift):
    """A block on aligned grids leaves whole faces of equal voxels: none of its sides may be preferred."""
    block = np.zeros((9, 10, 11), np.uint8)
    block[3:6, 3:7, 3:8] = 1
    mask = image(block, (4.0, 4.0, 4.0))
    size = [round(60 / step)] * 3
    reference = image(np.zeros(size[::-1], np.float32), (step,) * 3, (-8.0 + shift,) * 3)
    moved = geometry.to_grid(mask, reference)
    assert abs(millilitres(moved) * 1000 - 60 * 64) <= step**3 / 2 + 1e-6
    middle = np.argwhere(sitk.GetArrayFromImage(moved)).mean(0)[::-1] * step - 8.0 + shift
    # 3 mm do not divide the block: voxels are cut unevenly, and half of one is the most that can be missed
    np.testing.assert_allclose(middle, (20.0, 18.0, 16.0), atol=(0.2 if 4 % step == 0 else 0.5) * step)


def test_to_grid_corner_cases():
    reference = image(np.zeros((5, 6, 7), np.float32), (4.0, 4.0, 4.0))
    same = np.zeros((5, 6, 7), np.uint8)
    same[2, 3, 4] = 7
    kept = geometry.to_grid(image(same, (4.0, 4.0, 4.0)), reference)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(kept), same // 7)
    speck = np.zeros((20, 24, 28), np.uint8)
    speck[9, 10, 11] = 1  # 1 mm3 in a voxel of 64: kept as one voxel, not lost
    assert sitk.GetArrayFromImage(geometry.to_grid(image(speck), reference)).sum() == 1
    away = geometry.to_grid(image(speck, origin=(500.0, 0.0, 0.0)), reference)
    assert sitk.GetArrayFromImage(away).sum() == 0
    assert sitk.GetArrayFromImage(geometry.to_grid(image(speck * 0), reference)).sum() == 0


def test_canonical():
    array = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    turn = np.array([[0, 0, -1], [-1, 0, 0], [0, 1, 0]], float)
    original = image(array, (1.0, 2.0, 3.0), (5.0, 6.0, 7.0), turn)
    made = geometry.canonical(original)
    np.testing.assert_allclose(made.GetDirection(), np.eye(3).ravel())
    for index in [(0, 0, 0), (4, 3, 2), (1, 2, 0)]:
        point = original.TransformIndexToPhysicalPoint(index)
        assert made[made.TransformPhysicalPointToIndex(point)] == original[index]


def test_files_hold_no_text(tmp_path):
    made = image(np.ones((3, 4, 5), np.float32))
    for key in ("ITK_FileNotes", "descrip", "aux_file", "intent_name", "db_name"):
        made.SetMetaData(key, "ZQXMARK")
    geometry.write_nifti(made, tmp_path / "ZQXMARK.nii.gz")
    packed = (tmp_path / "ZQXMARK.nii.gz").read_bytes()
    plain = gzip.decompress(packed)
    assert b"ZQX" not in packed + plain and packed[3] == 0 and packed[4:8] == b"\0" * 4  # no name, no time
    assert not any(plain[14:32]) and not any(plain[148:252]) and not any(plain[328:344])
    assert [path.name for path in tmp_path.iterdir()] == ["ZQXMARK.nii.gz"]
    assert made.GetMetaData("descrip") == "ZQXMARK"  # the caller's image is untouched
    back = geometry.read_image(tmp_path / "ZQXMARK.nii.gz")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(back), 1)


def nifti(path, change):
    geometry.write_nifti(image(np.ones((3, 4, 5), np.float32), (1.0, 2.0, 3.0)), path)
    header = bytearray(path.read_bytes())
    change(header)
    path.write_bytes(header)
    return path


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda h: struct.pack_into("<f", h, 284, float("nan")), "E_IMAGE_GEOMETRY"),
        (lambda h: struct.pack_into("<f", h, 268, float("nan")), "E_IMAGE_GEOMETRY"),
        (lambda h: struct.pack_into("<f", h, 84, float("nan")), "E_IMAGE_GEOMETRY"),
        (lambda h: struct.pack_into("<hh", h, 252, 0, 0), "E_IMAGE_ORIENTATION"),
        (
            lambda h: (struct.pack_into("<hh", h, 252, 0, 1), struct.pack_into("<f", h, 284, 0.2)),
            "E_IMAGE_SHEARED",
        ),
    ],
    ids=["sform-nan", "origin-nan", "spacing-nan", "no-orientation", "sheared"],
)
def test_bad_nifti_is_refused(tmp_path, change, code):
    with pytest.raises(DataError) as caught:
        geometry.read_image(nifti(tmp_path / "a.nii", change))
    assert caught.value.code == code


def test_axes_off_by_rounding_are_made_right(tmp_path):
    def change(header):
        struct.pack_into("<hh", header, 252, 0, 1)
        struct.pack_into("<f", header, 284, 0.003)  # 0.0015 rad

    made = geometry.read_image(nifti(tmp_path / "a.nii", change))
    axes = np.reshape(made.GetDirection(), (3, 3))
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-7)
    np.testing.assert_allclose(axes, np.eye(3), atol=2e-3)


def test_not_an_image(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(b"hello")
    sitk.WriteImage(sitk.Image([3, 3, 3, 2], sitk.sitkFloat32), str(tmp_path / "four.nii"))
    sitk.WriteImage(sitk.Image([3, 3, 3], sitk.sitkVectorFloat32, 2), str(tmp_path / "vector.nii"))
    for name in ("a.nii.gz", "four.nii", "vector.nii"):
        with pytest.raises(DataError) as caught:
            geometry.read_image(tmp_path / name)
        assert caught.value.code == ("E_IMAGE_FORMAT" if name == "a.nii.gz" else "E_IMAGE_VOLUMES")


@pytest.mark.parametrize("margin", [0.0, 2.0, 3.0, 7.1])
def test_dilate_against_scipy(margin):
    rng = np.random.default_rng(3)
    mask = rng.random((12, 15, 18)) > 0.995
    mask[6, 7, 8] = True
    spacing = (3.0, 1.5, 2.0)
    expected = ndimage.distance_transform_edt(~mask, sampling=spacing) <= margin + 1e-6
    np.testing.assert_array_equal(geometry.dilate_mm(mask, spacing, margin), expected)


def test_same_grid():
    a = image(np.zeros((3, 4, 5), np.uint8), (1.0, 2.0, 3.0))
    assert geometry.same_grid(a, image(np.zeros((3, 4, 5), np.float32), (1.0, 2.0, 3.0), (0.001, 0, 0)))
    assert not geometry.same_grid(a, image(np.zeros((3, 4, 5), np.uint8), (1.0, 2.0, 3.0), (0.1, 0, 0)))
    assert not geometry.same_grid(a, image(np.zeros((3, 4, 5), np.uint8), (1.0, 2.0, 3.1)))
    assert not geometry.same_grid(a, image(np.zeros((3, 4, 6), np.uint8), (1.0, 2.0, 3.0)))


@pytest.mark.parametrize("seed", range(5))
def test_ragged_lesion_on_the_ct_keeps_its_volume_and_place(seed):
    rng = np.random.default_rng(seed)
    z, y, x = np.mgrid[:30, :60, :60]
    centre = rng.uniform([10, 22, 22], [20, 38, 38])
    lesion = np.zeros(z.shape, bool)
    for bump in rng.normal(centre, 4, (5, 3)):
        lesion |= ((z - bump[0]) * 2) ** 2 + (y - bump[1]) ** 2 + (x - bump[2]) ** 2 < 20
    ct = sitk.GetImageFromArray(lesion.astype(np.uint8))
    ct.SetSpacing((1.3, 1.3, 2.5))
    pet = sitk.Image(20, 20, 26, sitk.sitkFloat32)
    pet.SetSpacing((4.07, 4.07, 3.0))
    pet.SetOrigin((-0.9, 0.4, 0.2))
    moved = geometry.to_grid(ct, pet)

    def volume_and_centre(image):
        inside = np.argwhere(sitk.GetArrayFromImage(image))[:, ::-1]
        return len(inside) * np.prod(image.GetSpacing()), inside.mean(
            0
        ) * image.GetSpacing() + image.GetOrigin()

    (v0, c0), (v1, c1) = volume_and_centre(ct), volume_and_centre(moved)
    assert abs(v1 - v0) <= np.prod(pet.GetSpacing()) / 2 + 1e-6
    assert (abs(c1 - c0) < np.array(pet.GetSpacing()) / 2).all()
