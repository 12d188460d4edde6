"""The quality-control picture: places, no text in the file, all statuses."""

import struct

import numpy as np
import pytest
import SimpleITK as sitk

from promet.core.files import digest_file
from promet.core.sidecar import NO_LESION, QUARANTINED, Sidecar
from promet.imaging.picture import draw, extent, hottest, neighbourhood, plane, run, view_of
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
    Sidecar("segment", "s", digest="2").write(folder / "segment.json")
    record = run(folder / "picture.json", "pin", Picture(), Crop())
    assert record.ok
    assert record.products == {"picture.png": digest_file(folder / "picture.png")}
    assert set(chunks(folder / "picture.png")) <= {"IHDR", "pHYs", "IDAT", "IEND"}

    sitk.WriteImage(image(LESIONS & False), str(folder / "lesions.nii.gz"))
    Sidecar("segment", "s", NO_LESION, digest="3", origin="segment").write(folder / "segment.json")
    other = run(folder / "picture.json", "pin", Picture(), Crop())
    assert other.ok
    assert other.digest != record.digest

    Sidecar("segment", "s", QUARANTINED, code="E_MASK_MISSING", reason="x.", origin="segment").write(
        folder / "segment.json"
    )
    lost = run(folder / "picture.json", "pin", Picture(), Crop())
    assert (lost.status, lost.code) == (QUARANTINED, "E_MASK_MISSING")
    assert not (folder / "picture.png").exists()
