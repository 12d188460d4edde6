"""The quality-control picture: places, no text in the file, all statuses."""

import struct

import numpy as np
import pytest
import SimpleITK as sitk

from promet.core.files import digest_file
from promet.core.sidecar import NO_LESION, QUARANTINED, Sidecar
from promet.imaging.picture import (
    EXCERPT,
    Inputs,
    draw,
    excerpt,
    extent,
    hottest,
    neighbourhood,
    plane,
    projection,
    run,
    view_of,
    write_excerpt,
)
from promet.imaging.settings import Crop, Picture

SPACING = (4.0, 3.0, 5.0)
SIZE = (40, 50, 30)
ANGLE = 0.3
TURN = np.array([[np.cos(ANGLE), -np.sin(ANGLE), 0], [np.sin(ANGLE), np.cos(ANGLE), 0], [0, 0, 1]])
MIDDLE = np.array([15.0, -200.0, 700.0])
ORIGIN = MIDDLE - TURN @ ((np.array(SIZE) - 1) / 2 * SPACING)
PLACES = np.stack(np.indices(SIZE[::-1])[::-1], axis=-1) * SPACING @ TURN.T + ORIGIN


def image(array):
    found = sitk.GetImageFromArray(array.astype(np.uint8 if array.dtype == bool else np.float32))
    found.SetSpacing(SPACING)
    found.SetDirection(TURN.ravel().tolist())
    found.SetOrigin(ORIGIN.tolist())
    return found


def ball(shift, radius):
    return ((PLACES - MIDDLE - shift) ** 2).sum(axis=-1) <= radius**2


HOT = np.array([8.0, 6.0, -5.0])
PET = 0.5 + 12 * np.exp(-((PLACES - MIDDLE - HOT) ** 2).sum(axis=-1) / 72)
ORGAN, LESIONS = ball(0, 20), ball(HOT, 7)


def test_planes_go_through_the_hottest_lesion_voxel():
    pet = PET.copy()
    pet[0, 0, 0] = 99  # elsewhere
    point = hottest(image(pet), image(LESIONS))
    assert np.abs(point - MIDDLE - HOT).max() <= 3
    view = view_of(image(pet), image(ORGAN), image(LESIONS))
    np.testing.assert_allclose(view.point, point)
    np.testing.assert_allclose(view.high - view.low, 2 * (20 + 30), atol=8)
    none = view_of(image(pet), image(ORGAN), image(LESIONS & False))
    np.testing.assert_allclose(none.point, MIDDLE, atol=1)


@pytest.mark.parametrize(("across", "up"), [(0, 1), (0, 2), (1, 2)])
def test_a_plane_shows_each_place_where_it_is(across, up):
    """A linear image on an oblique grid: every pixel has the value of its place."""
    slope = np.array([0.1, 0.2, 0.3])
    ramp = image(200 + PLACES @ slope)
    view = view_of(image(PET), image(ORGAN), image(LESIONS))
    cut = plane(neighbourhood(ramp, view), view, across, up, outside=np.nan)
    points = np.tile(view.point, (*cut.shape, 1))
    points[..., across] = view.low[across] + 0.5 * (np.arange(cut.shape[1]) + 0.5)
    points[..., up] = (view.low[up] + 0.5 * (np.arange(cut.shape[0]) + 0.5))[:, None]
    inside = np.isfinite(cut) & (np.abs(points - MIDDLE) < 45).all(axis=-1)
    assert inside.mean() > 0.5
    np.testing.assert_allclose(cut[inside], (200 + points @ slope)[inside], atol=1e-3)


def test_extent_follows_an_oblique_grid():
    low, high = extent(image(ORGAN))
    np.testing.assert_allclose((low + high) / 2, MIDDLE, atol=2.5)
    np.testing.assert_allclose(high - low, 40, atol=6)


def test_drawn_box_is_that_of_the_crop_settings():
    figure = draw(
        image(PET),
        image(ORGAN),
        image(LESIONS),
        "P001",
        Picture(),
        Crop(shape=(10, 20, 30), spacing_mm=(5.0, 2.0, 1.0)),
    )
    sides = [(ax.patches[0].get_width(), ax.patches[0].get_height()) for ax in figure.axes[:3]]
    assert sides == [(30, 40), (30, 50), (40, 50)]
    assert [ax.get_aspect() for ax in figure.axes[:3]] == [1.0] * 3  # mm across = mm upwards
    front, back = figure.axes[0].get_ylim()[::-1]
    assert front < back  # anterior above
    assert figure.get_suptitle() == "P001"


def test_projection_shows_the_highest_value_where_it_is():
    pet = np.zeros(SIZE[::-1])
    pet[20, 10, 5], pet[20, 40, 5], pet[3, 0, 30] = 3, 7, 5
    straight = image(pet)
    straight.SetDirection(np.eye(3).ravel().tolist())
    flat, (left, right, bottom, top) = projection(straight)
    assert flat.shape == (SIZE[2], SIZE[0]) and (flat[20, 5], flat[3, 30], flat.sum()) == (7, 5, 12)
    np.testing.assert_allclose([left, bottom], ORIGIN[[0, 2]] - np.array(SPACING)[[0, 2]] / 2)
    np.testing.assert_allclose(
        [right - left, top - bottom], np.array(SIZE)[[0, 2]] * np.array(SPACING)[[0, 2]]
    )
    turned = straight[::-1, :, ::-1]  # the same places, stored the other way round
    np.testing.assert_array_equal(projection(turned)[0], flat)


def test_excerpt_holds_the_uptake_in_its_place(tmp_path):
    small, labels, step = excerpt(image(PET), image(ORGAN), image(LESIONS), Crop(), 10.0)
    assert small.GetSize() == labels.GetSize() and np.prod(small.GetSize()) < np.prod(SIZE)
    path = write_excerpt(small, tmp_path / "x.nii.gz", step)
    read = sitk.ReadImage(str(path))  # SimpleITK applies the slope
    organ = sitk.GetArrayFromImage(labels) > 0
    assert organ.sum() == ORGAN.sum() and (sitk.GetArrayFromImage(labels) == 2).sum() == LESIONS.sum()
    values = sitk.GetArrayFromImage(read)
    np.testing.assert_allclose(np.sort(values[organ]), np.sort(PET[ORGAN]), atol=step / 2 + 1e-4)
    np.testing.assert_allclose(
        read.TransformIndexToPhysicalPoint((3, 4, 5)),
        small.TransformIndexToPhysicalPoint((3, 4, 5)),
        atol=1e-3,
    )
    hot = excerpt(image(PET + 99), image(ORGAN), image(LESIONS & False), Crop(), 10.0)
    assert hot[2] == pytest.approx((PET[ORGAN].max() + 99) / 255, rel=1e-4)


def chunks(path):
    data = path.read_bytes()[8:]
    names = []
    while data:
        length, name = struct.unpack(">I4s", data[:8])
        names.append(name.decode())
        data = data[12 + length :]
    return names


def test_stage(tmp_path):
    folder = tmp_path / "P001"
    folder.mkdir()
    for name, array in (("pet", PET), ("prostate", ORGAN), ("lesions", LESIONS)):
        sitk.WriteImage(image(array), str(folder / f"{name}.nii.gz"))
    Sidecar("convert", "c", digest="1").write(folder / "convert.json")
    Sidecar("segment", "s", digest="2").write(folder / "segment.json")
    record = run(Inputs(folder, Crop()), Picture(volumes=True), folder / "picture.json", "pin")
    assert record.ok
    assert record.products == {name: digest_file(folder / name) for name in ("picture.png", *EXCERPT)}
    again = run(Inputs(folder, Crop()), Picture(volumes=True), folder / "picture.json", "pin")
    assert again.products == record.products
    assert set(chunks(folder / "picture.png")) <= {"IHDR", "pHYs", "IDAT", "IEND"}

    sitk.WriteImage(image(LESIONS & False), str(folder / "lesions.nii.gz"))
    Sidecar("segment", "s", NO_LESION, digest="3", origin="segment").write(folder / "segment.json")
    other = run(Inputs(folder, Crop()), Picture(), folder / "picture.json", "pin")
    assert other.ok
    assert other.digest != record.digest

    Sidecar("segment", "s", QUARANTINED, code="E_MASK_MISSING", reason="x.", origin="segment").write(
        folder / "segment.json"
    )
    lost = run(Inputs(folder, Crop()), Picture(), folder / "picture.json", "pin")
    assert (lost.status, lost.code) == (QUARANTINED, "E_MASK_MISSING")
    assert not any((folder / name).exists() for name in ("picture.png", *EXCERPT))
