"""The cuboid: places in mm are kept whatever the grid of the PET; faults are counted."""

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from promet.core.errors import DataError
from promet.core.sidecar import NO_LESION, Sidecar
from promet.imaging.crop import centroid_mm, crop, cuboid_grid, inside_fraction, outside_image_fraction, run
from promet.imaging.geometry import canonical, to_grid
from promet.imaging.settings import Crop

PLAIN = Crop(mask_outside=False)


def rotation(angles):
    """Rotation about x, then y, then z; radians."""
    (ca, cb, cc), (sa, sb, sc) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, ca, -sa], [0, sa, ca]])
    about_y = np.array([[cb, 0, sb], [0, 1, 0], [-sb, 0, cb]])
    about_z = np.array([[cc, -sc, 0], [sc, cc, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


class Grid:
    """A PET grid around ``middle`` (mm, LPS): functions of place become images."""

    def __init__(self, spacing=(2.0, 2.0, 3.0), field=200.0, middle=(0.0, 0.0, 0.0), angles=(0.0, 0.0, 0.0)):
        self.spacing = np.array(spacing, dtype=float)
        self.size = np.ceil(field / self.spacing).astype(int)
        self.axes = rotation(np.array(angles))
        self.origin = np.array(middle) - self.axes @ ((self.size - 1) / 2 * self.spacing)

    def places(self):
        index = np.stack(np.indices(self.size[::-1])[::-1], axis=-1) * self.spacing
        return index @ self.axes.T + self.origin

    def image(self, array):
        image = sitk.GetImageFromArray(array.astype(np.float32 if array.dtype != bool else np.uint8))
        image.SetSpacing(self.spacing.tolist())
        image.SetDirection(self.axes.ravel().tolist())
        image.SetOrigin(self.origin.tolist())
        return image

    def ellipsoid(self, centre, radii):
        return self.image((((self.places() - centre) / radii) ** 2).sum(axis=-1) <= 1)


def cuboid_places(shape=(14, 54, 54), spacing=(5.0, 1.37, 1.37)):
    """Distance (x, y, z) in mm of each voxel of the cuboid from its middle."""
    axes = [(np.arange(n) - (n - 1) / 2) * step for n, step in zip(shape, spacing, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij")[::-1], axis=-1)


degrees = st.floats(-0.4, 0.4)
step = st.floats(1.0, 4.2)
offset = st.floats(-8.0, 8.0)


@settings(max_examples=8, deadline=None, derandomize=True, phases=[Phase.generate])
@given(
    st.tuples(step, step, step),
    st.tuples(degrees, degrees, degrees),
    st.tuples(*[st.floats(-400, 400)] * 3),
    st.tuples(offset, offset, offset),
)
def test_an_ellipsoid_lands_at_its_place(spacing, angles, organ_at, shift):
    """Oblique, anisotropic and shifted grids: the same place within half a voxel and the same volume."""
    grid = Grid(spacing, 130, organ_at, angles)
    target = Crop(shape=(68, 54, 54), spacing_mm=(1.0, 1.37, 1.37))
    organ_at, shift = np.array(organ_at), np.array(shift)
    organ = grid.ellipsoid(organ_at, (24, 20, 22))
    lesions = grid.ellipsoid(organ_at + shift, (15, 14, 16))
    places = grid.places() - organ_at - shift
    pet = grid.image(9 * np.exp(-(places**2).sum(axis=-1) / (2 * 8.0**2)))
    cuboid, values, warnings = crop(pet, organ, lesions, target)
    around = cuboid_places(target.shape, target.spacing_mm)
    # PET: centre of mass of the hot part; the organ mask cuts the tail where it is far off, so only the core counts.
    core = np.clip(cuboid[0] - 4, 0, None)
    assert (
        np.abs((core[..., None] * around).sum(axis=(0, 1, 2)) / core.sum() - shift).max() <= 0.5 * 1.37 + 1e-6
    )
    found = cuboid[1] > 0
    native = np.count_nonzero(sitk.GetArrayViewFromImage(lesions)) * np.prod(spacing)
    assert np.abs(around[found].mean(axis=0) - shift).max() <= 0.5 * 1.37 + 1e-6
    assert found.sum() * np.prod(target.spacing_mm) == pytest.approx(native, rel=0.01)
    inside = (cuboid[0] > 0).sum() * np.prod(target.spacing_mm)
    assert inside == pytest.approx(4 / 3 * np.pi * 24 * 20 * 22, rel=0.02)
    assert values["inside_fraction"] == 1
    assert warnings == []


@pytest.mark.parametrize("shape", [(14, 54, 54), (13, 53, 55), (1, 2, 3)])
def test_places_are_exact(shape):
    """A linear PET comes back exactly, so every voxel lies where it should; even and odd sizes."""
    grid = Grid((2.1, 2.7, 3.3), 260, (11.0, -250.0, 900.0), (0.1, -0.2, 0.3))
    slope = np.array([0.01, 0.02, 0.03])
    pet = grid.image(50 + grid.places() @ slope)
    organ = grid.ellipsoid(np.array([14.0, -246.0, 905.0]), (20, 22, 18))
    cuboid, _, _ = crop(pet, organ, organ, Crop(shape=shape, mask_outside=False))
    expected = 50 + (centroid_mm(organ) + cuboid_places(shape)) @ slope
    np.testing.assert_allclose(cuboid[0], expected, atol=2e-4)


def test_axes_point_to_head_back_and_left():
    grid = Grid((2, 2, 2), 160)
    organ = grid.ellipsoid(np.zeros(3), (25, 25, 25))
    for axis, direction in ((2, 0), (1, 1), (0, 2)):  # array axis, axis of LPS
        away = np.eye(3)[direction] * 12.0
        cuboid, _, _ = crop(organ, organ, grid.ellipsoid(away, (5, 5, 5)), PLAIN)
        place = np.argwhere(cuboid[1]).mean(axis=0) - (np.array(cuboid.shape[1:]) - 1) / 2
        assert place[axis] * PLAIN.spacing_mm[axis] == pytest.approx(12, abs=1.5)
        assert np.abs(np.delete(place, axis)).max() < 0.5


def test_the_centroid_lies_between_the_two_middle_voxels():
    grid = cuboid_grid(np.array([10.0, -20.0, 30.0]), PLAIN)
    middle = grid.TransformContinuousIndexToPhysicalPoint([26.5, 26.5, 6.5])
    np.testing.assert_allclose(middle, (10, -20, 30), atol=1e-9)


def test_pet_outside_the_organ_is_zero_and_margin_widens_it():
    grid = Grid((2, 2, 2), 160)
    pet = grid.image(np.full(grid.size[::-1], 7.0))
    organ = grid.ellipsoid(np.zeros(3), (20, 20, 20))
    volumes = {}
    for margin in (0.0, 5.0):
        cuboid, _, _ = crop(pet, organ, organ, Crop(margin_mm=margin))
        assert set(np.unique(cuboid[0])) == {0, 7}
        volumes[margin] = (cuboid[0] > 0).sum() * 5 * 1.37**2
    assert volumes[0.0] == pytest.approx(4 / 3 * np.pi * 20**3, rel=0.03)
    assert volumes[5.0] == pytest.approx(4 / 3 * np.pi * 25**3, rel=0.06)
    cuboid, _, _ = crop(pet, organ, organ, PLAIN)
    assert (cuboid[0] == 7).all()


def test_lesion_beyond_the_organ_is_counted():
    grid = Grid((2, 2, 2), 160)
    organ = grid.ellipsoid(np.zeros(3), (20, 20, 20))
    lesions = grid.ellipsoid(np.array([20.0, 0, 0]), (6, 6, 6))
    _, values, _ = crop(organ, organ, lesions, Crop())
    assert 0.3 < values["lesion_masked_fraction"] < 0.8
    assert crop(organ, organ, lesions, PLAIN)[1]["lesion_masked_fraction"] == 0


def test_organ_larger_than_the_box_is_warned_about():
    grid = Grid((2, 2, 2), 200)
    organ = grid.ellipsoid(np.zeros(3), (50, 20, 20))
    _, values, warnings = crop(organ, organ, organ, Crop())
    half = 54 * 1.37 / 2 / 50  # the cuboid holds |x| < half of the ellipsoid's half axis
    assert values["inside_fraction"] == pytest.approx(1.5 * half - 0.5 * half**3, abs=0.02)
    assert values["box_mm"] == pytest.approx([70, 73.98, 73.98])
    assert any("inside the cuboid" in sentence for sentence in warnings)


def test_box_beyond_the_image_is_zero_and_warned_about():
    grid = Grid((2, 2, 2), 80)  # 80 mm cube
    pet = grid.image(np.full(grid.size[::-1], 3.0))
    organ = grid.ellipsoid(np.array([0, 0, 30.0]), (8, 8, 8))  # its cuboid reaches 25 mm above the image
    cuboid, values, warnings = crop(pet, organ, organ, PLAIN)
    assert values["outside_image_fraction"] == pytest.approx(5 / 14, abs=0.001)
    assert (cuboid[0] == 0).mean() == pytest.approx(values["outside_image_fraction"])
    assert any("outside the PET" in sentence for sentence in warnings)


def test_lesions_beyond_the_box_are_warned_about():
    grid = Grid((2, 2, 2), 200)
    organ = grid.ellipsoid(np.zeros(3), (20, 20, 20))
    cuboid, _, warnings = crop(organ, organ, grid.ellipsoid(np.array([60.0, 0, 0]), (8, 8, 8)), Crop())
    assert not cuboid[1].any()
    assert any("empty lesion map" in sentence for sentence in warnings)


def test_fractions_follow_an_oblique_grid():
    """Turned by 90 degrees about z, axes x and y change their parts."""
    grid = Grid((2, 2, 2), 200, angles=(0, 0, np.pi / 2))
    organ = grid.ellipsoid(np.zeros(3), (50, 20, 20))
    straight = Grid((2, 2, 2), 200).ellipsoid(np.zeros(3), (50, 20, 20))
    cuboid = cuboid_grid(np.zeros(3), Crop())
    assert inside_fraction(organ, cuboid) == pytest.approx(inside_fraction(straight, cuboid), abs=1e-3)
    narrow = Grid((2, 2, 2), 200, angles=(0, 0, np.pi / 2))
    narrow.size = np.array([60, 100, 100])  # its first axis is the patient's y: from -100 to 20 mm
    expected = (54 * 1.37 / 2 - 20) / (54 * 1.37)
    assert outside_image_fraction(narrow.image(np.zeros(narrow.size[::-1])), cuboid) == pytest.approx(
        expected, abs=0.02
    )


def test_empty_organ_is_refused():
    grid = Grid((4, 4, 4), 80)
    empty = grid.image(np.zeros(grid.size[::-1], dtype=bool))
    with pytest.raises(DataError) as caught:
        crop(empty, empty, empty, Crop())
    assert caught.value.code == "E_MASK_EMPTY"


def test_stage(tmp_path):
    grid = Grid((4, 4, 3), 120)
    organ = grid.ellipsoid(np.zeros(3), (20, 20, 20))
    pet = grid.image(5 * np.exp(-(grid.places() ** 2).sum(axis=-1) / 800))
    for name, image in (
        ("pet", pet),
        ("prostate", organ),
        ("lesions", lesions := grid.ellipsoid((8, 5, -6), (9, 9, 9))),
    ):
        sitk.WriteImage(image, str(tmp_path / f"{name}.nii.gz"))
    Sidecar("convert", "c", digest="1").write(tmp_path / "convert.json")
    Sidecar("segment", "s", digest="2").write(tmp_path / "segment.json")
    record = run(tmp_path, Crop(), tmp_path / "crop.json", "pin")
    assert record.ok
    cuboid = np.load(tmp_path / "cuboid.npy", allow_pickle=False)
    assert (cuboid.shape, cuboid.dtype) == ((2, 14, 54, 54), np.float32)
    np.testing.assert_array_equal(cuboid, crop(pet, organ, lesions, Crop())[0])
    assert run(tmp_path, Crop(), tmp_path / "crop.json", "pin").digest == record.digest

    Sidecar("segment", "s", NO_LESION, origin="segment").write(tmp_path / "segment.json")
    record = run(tmp_path, Crop(), tmp_path / "crop.json", "pin")
    assert (record.status, record.products) == (NO_LESION, {})
    assert not (tmp_path / "cuboid.npy").exists()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_left_handed_grid_gives_the_same_cuboid(axis):
    """The same voxels stored backwards along one axis: the direction has determinant -1."""
    grid = Grid((2.0, 2.5, 3.0), 130, (40.0, -300.0, 900.0), (0.1, -0.2, 0.3))
    organ = grid.ellipsoid((40.0, -300.0, 900.0), (20, 18, 22))
    lesions = grid.ellipsoid((46.0, -296.0, 905.0), (8, 7, 9))
    pet = grid.image(9 * np.exp(-((grid.places() - (46.0, -296.0, 905.0)) ** 2).sum(axis=-1) / 100))

    def backwards(image):
        array = np.flip(sitk.GetArrayFromImage(image), 2 - axis).copy()
        turned = sitk.GetImageFromArray(array)
        turned.SetSpacing(image.GetSpacing())
        axes = np.reshape(image.GetDirection(), (3, 3)).copy()
        axes[:, axis] *= -1
        turned.SetDirection(axes.ravel().tolist())
        last = [0, 0, 0]
        last[axis] = image.GetSize()[axis] - 1
        turned.SetOrigin(image.TransformIndexToPhysicalPoint(last))
        assert np.linalg.det(axes) == pytest.approx(-1)
        return turned

    first, values, _ = crop(pet, organ, lesions, Crop())
    second, others, _ = crop(*(backwards(image) for image in (pet, organ, lesions)), Crop())
    np.testing.assert_allclose(second[0], first[0], atol=1e-4)
    assert np.count_nonzero(second[1] != first[1]) <= 2  # centres that lie on a face by rounding
    assert others["inside_fraction"] == values["inside_fraction"]
    np.testing.assert_array_equal(
        sitk.GetArrayFromImage(canonical(backwards(pet))), sitk.GetArrayFromImage(canonical(pet))
    )
    onto = to_grid(backwards(lesions), pet)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(onto), sitk.GetArrayFromImage(lesions))


def test_masks_by_the_nearest_voxel_if_asked():
    """As other programs do; the default keeps the volume instead."""
    grid = Grid((4.0, 4.0, 3.0), 120, angles=(0.2, -0.1, 0.3))
    organ, lesions = (
        grid.ellipsoid(np.zeros(3), (22, 20, 21)),
        grid.ellipsoid(np.array([5.0, 3, -4]), (6, 5, 7)),
    )
    cuboid = cuboid_grid(centroid_mm(organ), Crop())
    expected = sitk.Resample(lesions, cuboid, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    nearest, _, _ = crop(organ, organ, lesions, Crop(masks="nearest"))
    np.testing.assert_array_equal(nearest[1], sitk.GetArrayFromImage(expected))
    kept, _, _ = crop(organ, organ, lesions, Crop())
    native = np.count_nonzero(sitk.GetArrayViewFromImage(lesions)) * 48
    assert abs(kept[1].sum() * 5 * 1.37**2 - native) <= 5 * 1.37**2 / 2
