"""Contours of one plane: copies once, holes, islands, unions; nothing that is not in them matters."""

import re

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_series import CT_CLASS, circle, write, write_rtstruct
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from shapes import grid, millilitres

from promet.core.errors import DataError
from promet.imaging.masks.contours import fill, once
from promet.imaging.masks.read import read_mask

Z = np.arange(-15, 15.1, 3.0)  # 11 planes, 33 mm
REFERENCE = grid((2.0, 2.0, 3.0), (60, 60, 41))
DISC = np.pi * 2.0**2 * 3.3  # ml of a radius of 20 mm
LENS = 2 * 20**2 * np.arccos(12 / 20) - 12 * np.sqrt(
    4 * 20**2 - 24**2
)  # mm2 that two discs 24 mm apart share


def discs(x=0.0, radius=20.0, planes=Z):
    return [circle(x, 0, z, radius) for z in planes]


def typed(path, kinds):
    """Contour types by number; None takes the element away."""
    data = dcmread(path)
    for number, contour in enumerate(data.ROIContourSequence[0].ContourSequence):
        kind = kinds if not callable(kinds) else kinds(number)
        if kind is None:
            del contour.ContourGeometricType
        else:
            contour.ContourGeometricType = kind
    data.save_as(path)
    return path


def read(path, roi="P", **rest):
    told = []
    mask = read_mask(path, REFERENCE, roi, warnings=told, **rest)
    return millilitres(mask), told


def drawn(tmp_path, contours, kinds="CLOSED_PLANAR"):
    return read(typed(write_rtstruct(tmp_path / "rt.dcm", {"P": contours}), kinds))


@pytest.mark.parametrize("planes", [Z, Z[2:6]], ids=["all", "some"])
def test_contours_drawn_twice_count_once(tmp_path, planes):
    """Formerly 0 ml, 'no lesion', or without those planes."""
    ml, told = drawn(tmp_path, [*discs(), *discs(planes=planes)])
    assert ml == pytest.approx(DISC, rel=0.01)
    assert told == [f"{len(planes)} contours left out: the same as others"]


def test_lobes_that_overlap_are_united(tmp_path):
    """By inclusion and exclusion; exclusive or takes the lens away twice, and is right for its own type."""
    lobes = [*discs(-12.0), *discs(12.0)]
    both, either = 2 * DISC - LENS * 33 / 1000, 2 * DISC - 2 * LENS * 33 / 1000
    ml, told = drawn(tmp_path, lobes)
    assert ml == pytest.approx(both, rel=0.01)
    assert len(told) == 1
    said = re.fullmatch(
        r"Contours overlap in part on 11 planes and were united: (.*) ml, by exclusive or it would be (.*) ml",
        told[0],
    )
    assert [float(number) for number in said.groups()] == pytest.approx([both, either], rel=0.01)
    ml, told = drawn(tmp_path, lobes, "CLOSEDPLANAR_XOR")
    assert ml == pytest.approx(either, rel=0.01) and not told


def test_holes_and_islands(tmp_path):
    """Also a hole that lies in two overlapping lobes."""
    ml, told = drawn(tmp_path, [*discs(3.0, 4.0), *discs(), *discs(3.0, 10.0)])
    assert ml == pytest.approx(np.pi * (4 - 1 + 0.16) * 3.3, rel=0.01)
    assert told == [
        f"11 contours inside others taken as holes: {ml:.1f} ml, filled it would be {DISC:.1f} ml"
    ]
    ml, told = drawn(tmp_path, [*discs(-12.0), *discs(0.0, 5.0), *discs(12.0)])
    assert ml == pytest.approx(2 * DISC - (LENS + np.pi * 25) * 33 / 1000, rel=0.01) and len(told) == 2


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.floats(0, 0.12), st.sampled_from([1.0, 0.7, 0.4]))
def test_nothing_but_the_lines_matters(seed, jitter, step):
    """Order, direction, first point, repeated points and copies with a little jitter, for random nests of ellipses."""
    rng = np.random.default_rng(seed)

    def ellipse(x, y, a, b):
        turn = np.linspace(0, 2 * np.pi, 90, endpoint=False)
        return np.column_stack([y + b * np.sin(turn), x + a * np.cos(turn)]) / step + 0.37  # off the lattice

    outer = [ellipse(30, 30, 20, 15), ellipse(30 + rng.uniform(10, 25), 33, 12, 10)]
    lines = [*outer, ellipse(25, 28, 7, 6), ellipse(25, 28, 3, 3), ellipse(10, 70, 4, 4)]
    shape = (int(100 / step), int(100 / step))
    expected = fill(lines, [False] * len(lines), shape, step)

    def again(line):
        line = np.roll(line, rng.integers(len(line)), 0)[:: rng.choice([-1, 1])]
        return np.repeat(line, rng.integers(1, 3, len(line)), 0)

    def other_z(line):
        return np.column_stack([line, np.zeros(len(line))])

    mixed = [
        once(other_z(again(line)) * [step, step, 1])[:, :2] / step
        for line in rng.permutation(np.array(lines))
    ]
    found = fill(mixed, [False] * len(mixed), shape, step)
    np.testing.assert_array_equal(found.inside, expected.inside)
    assert (found.holes, found.partial, found.copies) == (expected.holes, expected.partial, 0)
    copies = [line + rng.normal(0, jitter, line.shape) / step for line in lines]
    twice = fill([*copies, *mixed], [False] * 2 * len(lines), shape, step)
    assert twice.copies == len(lines) and twice.holes == expected.holes
    outline = sum(np.linalg.norm(line - np.roll(line, 1, 0), axis=1).sum() for line in lines)
    assert np.count_nonzero(twice.inside ^ expected.inside) <= 2 * jitter / step * outline + 1


@pytest.mark.parametrize("points", [90, 24, 12])
def test_a_copy_of_fewer_points_is_a_copy(tmp_path, points):
    """A polygon of 12 lies up to 0.7 mm inside its circle: no hole that leaves a shell."""
    coarse = [circle(0, 0, z, 20.0, points) for z in Z]
    for contours in ([*discs(), *coarse], [*coarse, *discs()]):
        ml, told = drawn(tmp_path, contours)
        assert ml == pytest.approx(DISC, rel=0.01) and told == ["11 contours left out: the same as others"]


def test_a_keyhole(tmp_path):
    """One line that runs to the hole and back, whichever way around it goes there."""
    for turn in (1, -1):
        keyhole = [
            np.vstack([c, c[:1], inner[::turn], inner[::turn][:1]])
            for c, inner in zip(discs(), discs(radius=10.0), strict=True)
        ]
        ml, told = drawn(tmp_path, keyhole)
        assert ml == pytest.approx(np.pi * 3 * 3.3, rel=0.01) and not told


def test_a_contour_of_fewer_points_than_it_says(tmp_path):
    path = write_rtstruct(tmp_path / "rt.dcm", {"P": discs()})
    data = dcmread(path)
    data.ROIContourSequence[0].ContourSequence[3].ContourData = (
        data.ROIContourSequence[0].ContourSequence[3].ContourData[:900]
    )
    data.save_as(path)
    with pytest.raises(DataError) as caught:
        read(path)
    assert caught.value.code == "E_MASK_POINTS"


def test_a_line_written_twice_around(tmp_path):
    around = [np.vstack([c, c[:1], c, c[:1]]) for c in discs()]
    assert drawn(tmp_path, around)[0] == pytest.approx(DISC, rel=0.01)
    assert len(once(around[0])) == 360


@pytest.mark.parametrize("kind", ["INTERPOLATED_PLANAR", "OPEN_PLANAR", "OPEN_NONPLANAR", "POINT", "", None])
@pytest.mark.parametrize("which", ["all", "some"])
def test_lines_that_are_not_closed_are_no_empty_mask(tmp_path, kind, which):
    with pytest.raises(DataError, match="ContourGeometricType") as caught:
        drawn(tmp_path, discs(), kind if which == "all" else lambda n: kind if n < 3 else "CLOSED_PLANAR")
    assert caught.value.code == "E_MASK_UNUSABLE"


def test_specks(tmp_path):
    """A point or a pair beside closed contours encloses nothing; alone it is a lesion that nobody drew."""
    speck = np.array([[1.0, 2.0, 18.0]])
    pair = np.array([[1.0, 2.0, -18.0], [2.0, 2.0, -18.0]])
    ml, told = drawn(tmp_path, [*discs(), speck, pair], lambda n: "POINT" if n == 11 else "CLOSED_PLANAR")
    assert ml == pytest.approx(DISC, rel=0.01) and told == [
        "2 contours left out: less than three points enclose nothing"
    ]
    line = np.array([[0.0, 0, 0], [5.0, 5, 0], [9.0, 9, 0]])
    for alone in ([speck], [pair], [line]):
        with pytest.raises(DataError) as caught:
            drawn(tmp_path, alone)
        assert caught.value.code == "E_MASK_UNUSABLE"


def test_names(tmp_path):
    """The whole name beats a part of it; two that overlap and differ are two answers; label=any takes all."""
    wide, narrow = discs(radius=25.0), discs()

    def rois(**named):
        return write_rtstruct(tmp_path / "rt.dcm", named)

    for order in (("PTV_Prostate+SV", "Prostate"), ("prostate", "PTV_Prostate+SV")):
        named = {name: narrow if name.lower() == "prostate" else wide for name in order}
        ml, told = read(rois(**named), "(?i)prostate")
        assert ml == pytest.approx(DISC, rel=0.01)
        assert told == ["1 more fit in part and were not taken, since 1 fit exactly"]
    both = rois(**{"Prostate_1": narrow, "PTV_Prostate": wide})
    with pytest.raises(DataError, match=r"41\.\d and 64\.\d ml") as caught:
        read(both, "(?i)prostate")
    assert caught.value.code == "E_MASK_AMBIGUOUS"
    assert read(both, "label=any")[0] == pytest.approx(np.pi * 2.5**2 * 3.3, rel=0.01)
    apart = rois(**{"Prostate left": discs(-22.0), "Prostate right": discs(22.0)})
    assert read(apart, "(?i)prostate")[0] == pytest.approx(2 * DISC, rel=0.01)
    many = rois(
        **{"Lesion": discs(-25.0, 5.0), "Lesion 2": discs(25.0, 5.0)}
    )  # no lesion is lost to another's name
    told = []
    mask = read_mask(many, REFERENCE, "(?i)lesion", warnings=told, several=True)
    assert millilitres(mask) == pytest.approx(2 * np.pi * 0.25 * 3.3, rel=0.02)


def ct(folder, gap, series, first=100.0):
    return write(
        folder,
        {
            "Modality": "CT",
            "SOPClassUID": CT_CLASS,
            "ImagePositionPatient": lambda i: [-20.0, -30.0, first + gap * i],
        },
        series=series,
        slices=5,
    )


def test_the_thickness_of_a_single_plane(tmp_path):
    """Of the images it was drawn on, whichever others lie beside them; asked where nothing tells."""
    ct(tmp_path / "ct/thin", 1.5, "1.7", -3.0), ct(tmp_path / "ct/thick", 6.0, "1.8", -12.0)
    one = {"P": [circle(0, 0, 0, 20.0)]}

    def thick(pet=None, **rest):
        path = write_rtstruct(tmp_path / "rt.dcm", one, **rest)
        return millilitres(
            read_mask(path, grid((2.0, 2.0, 0.5), (60, 60, 80)), "P", ct=tmp_path / "ct", pet=pet)
        ) / (np.pi * 0.4)

    assert thick(images=["1.7.3"]) == pytest.approx(1.5, rel=0.02)
    assert thick(images=["1.8.3"]) == pytest.approx(6.0, rel=0.02)
    with pytest.raises(DataError, match=r"1\.5 or 6 mm") as caught:
        thick()
    assert caught.value.code == "E_MASK_THICKNESS"
    ct(tmp_path / "ct/thick", 6.0, "1.8", -11.0)  # has no image at the contour's plane
    assert thick() == pytest.approx(1.5, rel=0.02)
    pet = write(
        tmp_path / "pet",
        {"ImagePositionPatient": lambda i: [-20.0, -30.0, 5.0 * i - 10]},
        series="1.9",
        slices=5,
    )
    assert thick(pet=pet) == pytest.approx(1.5, rel=0.02)  # which has an image at that plane, too
    assert thick(pet=pet, images=["1.9.3"]) == pytest.approx(5.0, rel=0.02)


def test_contours_on_every_other_image_are_told_of(tmp_path):
    source = ct(tmp_path / "ct", 3.0, "1.7", -6.0)
    path = write_rtstruct(
        tmp_path / "rt.dcm", {"P": discs(planes=[-6.0, 0.0, 6.0])}, images=["1.7.1", "1.7.3"]
    )
    ml, told = read(path, ct=source)
    assert ml == pytest.approx(np.pi * 4 * 1.8, rel=0.01)
    assert told == [
        "The contour planes lie 6 mm apart, the images 3 mm: each contour was taken as 6 mm thick"
    ]


def test_the_order_of_an_oblique_structure(tmp_path):
    """Planes that are no slices of the PET: which way the first contour runs decides nothing."""
    sagittal = [circle(5.3, 6.4, 0, 15.0)[:, [2, 0, 1]] + [x, 0.2 * x, 0] for x in np.arange(-9, 9.1, 2.0)]
    lean = np.array([[1, 0.2, 0], [-0.2, 1, 0], [0, 0, 1]]) / np.sqrt([[1.04], [1.04], [1]])
    turned = [(c - c.mean(0)) @ lean + c.mean(0) for c in sagittal]
    masks = []
    for contours in (turned, turned[::-1], [c[::-1] for c in turned]):
        path = write_rtstruct(tmp_path / "rt.dcm", {"P": contours})
        masks.append(sitk.GetArrayFromImage(read_mask(path, REFERENCE, "P")))
    np.testing.assert_array_equal(masks[0], masks[1])
    np.testing.assert_array_equal(masks[0], masks[2])
