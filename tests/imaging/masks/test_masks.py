"""Masks from NIfTI, SEG and RTSTRUCT on the PET grid, against volumes known by formula and by other software."""

import copy

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_series import CT_CLASS, SHARED_DATA, circle, save, write, write_rtstruct
from pydicom import dcmread
from shapes import grid, millilitres, segmentation
from skimage.draw import polygon2mask

from promet.core.errors import DataError, UsageError
from promet.imaging import geometry
from promet.imaging.convert import convert_source
from promet.imaging.dicom import files as dicom
from promet.imaging.masks import contours, seg
from promet.imaging.masks.read import read_mask
from promet.imaging.masks.roi import Chooser

SMALL = SHARED_DATA / "small_dicom"
GE, SARCOMA = SHARED_DATA / "ge_wholebody_pelvis", SHARED_DATA / "sarcoma_fdg_cohort/nifti"
needs_small = pytest.mark.skipif(not SMALL.is_dir(), reason="the small DICOM files are not here")
Z = np.arange(-30, 30.1, 3.0)


def refused(*args, **rest):
    with pytest.raises(DataError) as caught:
        read_mask(*args, **rest)
    return caught.value.code


@pytest.mark.parametrize("spacing", [(4.07, 4.07, 3.0), (2.0, 2.0, 3.0), (5.47, 5.47, 3.0), (1.0, 1.0, 1.0)])
def test_cylinder(tmp_path, spacing):
    path = write_rtstruct(tmp_path / "rt.dcm", {"Prostate": [circle(1.3, -2.2, z, 22.0) for z in Z]})
    mask = read_mask(path, grid(spacing, (60, 60, 90)), "(?i)prostate")
    assert millilitres(mask) == pytest.approx(np.pi * 2.2**2 * 6.3, rel=0.025)


@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (4.07, 4.07, 3.0), (5.47, 5.47, 3.27)])
def test_ellipsoid(tmp_path, spacing):
    def slice_at(z):
        share = np.sqrt(1 - (z / 32) ** 2)
        outline = circle(0, 0, z, 1.0)
        return outline * [25 * share, 18 * share, 1]

    path = write_rtstruct(tmp_path / "rt.dcm", {"Prostate": [slice_at(z) for z in np.arange(-31, 31.1, 2.0)]})
    mask = read_mask(path, grid(spacing, (60, 60, 60), (1.1, 0.7, 0.4)), "Prostate")
    assert millilitres(mask) == pytest.approx(4 / 3 * np.pi * 2.5 * 1.8 * 3.2, rel=0.03)


def test_holes_and_islands(tmp_path):
    """Contours of one ROI by exclusive or, ROIs by union."""
    ring = [c for z in Z for c in (circle(0, 0, z, 20.0), circle(0, 0, z, 10.0))]
    disc = [circle(0, 0, z, 20.0) for z in Z]
    path = write_rtstruct(tmp_path / "rt.dcm", {"ring": ring, "disc one": disc, "disc two": disc})
    reference = grid((2.0, 2.0, 3.0), (60, 60, 30))
    assert millilitres(read_mask(path, reference, "^ring$")) == pytest.approx(
        np.pi * (4 - 1) * 6.3, rel=0.025
    )
    told = []
    assert millilitres(read_mask(path, reference, "disc", warnings=told)) == pytest.approx(
        np.pi * 4 * 6.3, rel=0.025
    )
    assert "2 ROIs fit and were united" in told
    assert millilitres(read_mask(path, reference, "label=1")) == millilitres(
        read_mask(path, reference, "^ring$")
    )


def test_place_in_a_turned_grid(tmp_path):
    """Planes that are no slices of the PET: sagittal contours, and a PET turned by 20 degrees."""
    sagittal = [circle(5.3, 6.4, 0, 15.0)[:, [2, 0, 1]] + [x, 0, 0] for x in np.arange(-9, 9.1, 2.0)]
    path = write_rtstruct(tmp_path / "rt.dcm", {"Prostate": sagittal})
    a = np.deg2rad(20)
    turn = (np.cos(a), -np.sin(a), 0, np.sin(a), np.cos(a), 0, 0, 0, 1)
    for reference in (grid((2.0, 2.0, 2.0)), grid((2.0, 2.0, 2.0), direction=turn)):
        mask = read_mask(path, reference, "Prostate")
        assert millilitres(mask) == pytest.approx(np.pi * 1.5**2 * 2.0, rel=0.03)
        middle = np.mean(np.argwhere(sitk.GetArrayFromImage(mask)), 0)[::-1]
        np.testing.assert_allclose(
            mask.TransformContinuousIndexToPhysicalPoint(middle), (0, 5.3, 6.4), atol=0.3
        )


def test_filling_against_scikit_image():
    rng = np.random.default_rng(0)
    for _ in range(50):
        points = rng.uniform(1, 38, (rng.integers(3, 30), 2))
        np.testing.assert_array_equal(contours.inside(points, (40, 50)), polygon2mask((40, 50), points))


def test_rtstruct_refusals(tmp_path):
    rois = {
        "ZQXNAME": [circle(0, 0, z, 20.0) for z in Z],
        "empty": [],
        "far": [circle(900, 0, z, 20.0) for z in Z],
    }
    path, reference = write_rtstruct(tmp_path / "a" / "rt.dcm", rois), grid()
    with pytest.raises(DataError, match="None of the 3 ROIs") as caught:
        read_mask(path, reference, "prostate")
    assert caught.value.code == "E_MASK_ROI_MISSING" and "ZQX" not in str(caught.value)
    assert refused(path, reference, "empty") == "E_MASK_NO_CONTOUR"
    assert refused(path, reference, "far") == "E_MASK_OUTSIDE"
    bent = write_rtstruct(
        tmp_path / "bent.dcm", {"x": [circle(0, 0, 0, 20.0) + np.linspace(0, 9, 360)[:, None] * [0, 0, 1]]}
    )
    assert refused(bent, reference, "x") == "E_MASK_BENT"
    uneven = write_rtstruct(tmp_path / "uneven.dcm", {"x": [circle(0, 0, z, 20.0) for z in (0, 3, 6, 10.2)]})
    assert refused(uneven, reference, "x") == "E_MASK_UNEVEN"
    write_rtstruct(tmp_path / "a" / "second.dcm", {"other": rois["ZQXNAME"]})
    assert millilitres(read_mask(tmp_path / "a", reference, "other")) > 10
    write_rtstruct(tmp_path / "a" / "third.dcm", {"other": rois["ZQXNAME"]})
    assert refused(tmp_path / "a", reference, "other") == "E_MASK_AMBIGUOUS"
    with pytest.raises(UsageError):
        read_mask(path, reference, "(prostate")


def test_frame_of_reference(tmp_path):
    pet = write(tmp_path / "pet")  # frame 1.2.3.4, instances 1.2.3.5.N
    ct = write(
        tmp_path / "ct",
        {"Modality": "CT", "SOPClassUID": CT_CLASS, "FrameOfReferenceUID": "1.2.3.4"},
        series="1.7",
    )
    discs = {"Prostate": [circle(0, 0, z, 20.0) for z in Z]}
    same = write_rtstruct(tmp_path / "same.dcm", discs)
    other = write_rtstruct(tmp_path / "other.dcm", discs, frame="9.9")
    known = write_rtstruct(tmp_path / "known.dcm", discs, frame="9.9", images=["1.7.1", "1.7.2"])
    dangling = write_rtstruct(tmp_path / "dangling.dcm", discs, images=["1.7.1", "1.7.99"])
    assert millilitres(read_mask(same, grid(), "P", ct=ct, pet=pet)) > 10
    assert refused(other, grid(), "P", pet=pet) == "E_MASK_FRAME"
    assert refused(other, grid(), "P", ct=ct) == "E_MASK_FRAME"
    assert millilitres(read_mask(other, grid(), "P")) > 10  # nothing known, nothing to compare
    told = []
    assert millilitres(read_mask(known, grid(), "P", ct=ct, warnings=told)) > 10 and told
    assert refused(dangling, grid(), "P", ct=ct) == "E_MASK_REFERENCE"


def test_single_plane(tmp_path):
    """Its thickness is the slice distance of the CT, else that of the PET."""
    path = write_rtstruct(tmp_path / "rt.dcm", {"P": [circle(0, 0, 0, 20.0)]})
    ct = write(tmp_path / "ct", {"Modality": "CT", "SOPClassUID": CT_CLASS})  # 5 mm apart
    reference = grid((2.0, 2.0, 1.0), (60, 60, 41))
    assert millilitres(read_mask(path, reference, "P", ct=ct)) == pytest.approx(np.pi * 4 * 0.5, rel=0.025)
    assert millilitres(read_mask(path, reference, "P")) == pytest.approx(np.pi * 4 * 0.1, rel=0.025)


def volume(path, array, like):
    made = sitk.GetImageFromArray(array)
    made.CopyInformation(like)
    sitk.WriteImage(made, str(path))
    return path


def test_nifti(tmp_path):
    reference = grid()
    one = np.zeros((40, 40, 40), np.uint8)
    one[10:20, 12:22, 14:24] = 255
    several = one.copy()
    several[30:33] = 7
    share = one.astype(np.float32) / 255 * 0.6
    for name, array in (
        ("one", one),
        ("several", several),
        ("share", share),
        ("zero", one * 0),
        ("suv", share * 20.5),
    ):
        volume(tmp_path / f"{name}.nii.gz", array, reference)
    expected = one > 0
    for name, roi in (("one", "x"), ("share", "x"), ("several", "label=255")):
        found = read_mask(tmp_path / f"{name}.nii.gz", reference, roi)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(found) > 0, expected)
    assert (
        sitk.GetArrayFromImage(read_mask(tmp_path / "several.nii.gz", reference, "label=any")).sum()
        == (several > 0).sum()
    )
    assert refused(tmp_path / "several.nii.gz", reference, "x") == "E_MASK_LABELS"
    assert refused(tmp_path / "zero.nii.gz", reference, "x") == "E_MASK_EMPTY"
    assert refused(tmp_path / "suv.nii.gz", reference, "x") == "E_MASK_VALUES"
    assert refused(tmp_path / "none.nii.gz", reference, "x") == "E_SOURCE_MISSING"
    assert refused(tmp_path / "one.nii.gz", grid(centre=(900.0, 0, 0)), "x") == "E_MASK_OUTSIDE"
    (tmp_path / "text.txt").write_text("no mask")
    assert refused(tmp_path / "text.txt", reference, "x") == "E_MASK_FORMAT"


def test_missing_planes_are_left_empty_and_told_of(tmp_path):
    """Neither closed silently nor filled: the reader sees it in the warnings."""
    kept = [z for z in Z if z not in (-3.0, 0.0, 9.0)]
    path = write_rtstruct(tmp_path / "rt.dcm", {"P": [circle(0, 0, z, 20.0) for z in kept]})
    told = []
    mask = read_mask(path, grid((2.0, 2.0, 3.0), (60, 60, 41)), "P", warnings=told)
    assert millilitres(mask) == pytest.approx(np.pi * 4 * 0.3 * len(kept), rel=0.02)
    depth = sitk.GetArrayFromImage(mask).any(axis=(1, 2))
    assert (~depth[10:31]).sum() == 3 and told == ["2 gaps between contour planes were left empty"]


@pytest.mark.parametrize("also", [False, True])
def test_contours_of_no_roi_are_not_left_out(tmp_path, also):
    """Renumbered by half: the ROI seems empty, which would be no lesion, or holds only some of what was drawn."""
    path = write_rtstruct(tmp_path / "rt.dcm", {"P": [circle(0, 0, z, 20.0) for z in Z]})
    data = dcmread(path)
    if also:
        data.ROIContourSequence.append(copy.deepcopy(data.ROIContourSequence[0]))
    data.ROIContourSequence[-1].ReferencedROINumber = 99
    data.save_as(path)
    assert refused(path, grid((2.0, 2.0, 3.0), (60, 60, 41)), "P") == "E_MASK_UNUSABLE"


def test_a_contour_between_two_slices_thins_no_others(tmp_path):
    """The planes would be half as thick as all contours but one mean: 26 instead of 50 ml, with a note of gaps."""
    reference, told = grid((2.0, 2.0, 3.0), (60, 60, 41)), []
    plain = [circle(0, 0, z, 20.0) for z in Z]
    small = [circle(40, 0, z, 5.0) for z in np.arange(-9.0, 10.0, 1.5)]
    for extra in (1.5, -13.5, 7.0):
        path = write_rtstruct(tmp_path / "rt.dcm", {"P": [*plain, circle(0, 0, extra, 20.0)]})
        assert refused(path, reference, "P") == "E_MASK_UNEVEN"
    path = write_rtstruct(tmp_path / "rt.dcm", {"P": plain, "P2": small})
    assert refused(path, reference, "P.*") == "E_MASK_UNEVEN"
    # Lesions of one plane each that lie beside each other are no structure with gaps.
    apart = [circle(x, 0, z, 6.0) for x, z in ((-30, -12), (0, -9), (30, -3), (-30, 3), (0, 9))]
    path = write_rtstruct(tmp_path / "rt.dcm", {"P": apart})
    assert millilitres(read_mask(path, reference, "P", warnings=told)) == pytest.approx(
        np.pi * 0.36 * 0.3 * 5, rel=0.05
    )
    assert told == ["3 gaps between contour planes were left empty"]


@pytest.mark.parametrize("order", [(2, 1, 0), (0, 2, 1), (1, 2, 0), (2, 0, 1)])
def test_a_nifti_with_swapped_axes_keeps_its_place(tmp_path, order):
    """The same voxels with their axes in another order, as some programs write them."""
    reference = grid((2.0, 3.0, 4.0), (30, 31, 32))
    array = np.zeros((32, 31, 30), np.uint8)
    array[5:9, 10:13, 20:27] = 1
    swapped = sitk.PermuteAxes(sitk.ReadImage(str(volume(tmp_path / "m.nii.gz", array, reference))), order)
    sitk.WriteImage(swapped, str(tmp_path / "swapped.nii.gz"))
    found = read_mask(tmp_path / "swapped.nii.gz", reference, "x")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), array)


def test_a_mask_half_outside_the_pet_is_told_of(tmp_path):
    reference, wide = grid((2.0, 2.0, 3.0)), grid((2.0, 2.0, 3.0), (40, 40, 120))
    array = np.zeros((120, 40, 40), np.uint8)
    array[68:100, 10:30, 10:30] = 1  # planes 40 to 79 are the reference
    told = []
    mask = read_mask(volume(tmp_path / "m.nii.gz", array, wide), reference, "x", warnings=told)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(mask), array[40:80])
    assert told == ["Only 38 % of the mask's volume lies inside the PET"]


def test_chooser():
    assert Chooser("(?i)prost")(1, "Prostate") and not Chooser("prost")(1, "Prostate")
    assert Chooser("label=3")(3, "") and not Chooser("label=3")(1, "label=3") and Chooser("label=any")(9, "")


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_seg(tmp_path, kind):
    """Frames out of order, an odd number of pixels (bits run on over bytes), a plane that is not stored."""
    rng = np.random.default_rng(5)
    truth = rng.random((2, 4, 9, 13)) > 0.6  # segment, plane
    truth[1] &= ~truth[0]
    order = [3, 0, 1]  # plane 2 is not stored
    if kind == "LABELMAP":
        arrays = [truth[0, i] * 1 + truth[1, i] * 2 for i in order]
        positions = [(0, 10.0 + 3 * i) for i in order]
    else:
        scale = 1 if kind == "BINARY" else 120
        arrays = [truth[s, i] * scale for s in (0, 1) for i in order]
        positions = [(s + 1, 10.0 + 3 * i) for s in (0, 1) for i in order]
    labels = {1: "Prostate", 2: "Lesion"}
    path = save(
        segmentation(kind, arrays, labels, positions, 1 if kind == "BINARY" else 8), tmp_path / "seg.dcm"
    )
    reference = sitk.Image([13, 9, 4], sitk.sitkFloat32)
    reference.SetSpacing((1.5, 2.0, 3.0))
    reference.SetOrigin((-7.0, -9.0, 10.0))
    truth[:, 2] = False
    for number, name in labels.items():
        found = sitk.GetArrayFromImage(read_mask(path, reference, name))
        np.testing.assert_array_equal(found > 0, truth[number - 1])
    assert refused(path, reference, "bladder") == "E_MASK_ROI_MISSING"


@needs_small
def test_real_seg_voxel_by_voxel():
    folder = SMALL / "dcmqi_ct_seg"
    truth = geometry.read_image(folder / "liver_seg.nrrd")
    found = read_mask(folder / "liver.dcm", truth, "Liver", ct=folder / "ct-3slice")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), sitk.GetArrayFromImage(truth))
    assert sitk.GetArrayFromImage(found).sum() == 107098


@needs_small
@pytest.mark.parametrize("name", ["sparse-labelmap-noppv.dcm", "sparse-labelmap-ppv5.dcm"])
def test_real_label_map(name):
    data = dicom.read_header(SMALL / "dcmqi_ct_seg" / name)
    own = seg.read(data, grid(), Chooser("label=any"), None, []).image
    marked = np.frombuffer(data.PixelData, np.uint8)
    wanted = [int(s.SegmentNumber) for s in data.SegmentSequence if s.SegmentNumber != 0]
    assert np.count_nonzero(sitk.GetArrayFromImage(own)) == np.isin(marked, wanted).sum() > 0


@needs_small
def test_real_rtstruct_and_its_broken_relatives():
    folder = SMALL / "rt_utils_ct_rtstruct"
    ct = sitk.ReadImage([str(folder / "ct_1.dcm"), str(folder / "ct_2.dcm")])
    mask = read_mask(folder / "rt.dcm", ct, "ROI-1", ct=folder)
    # an outer square of 24 mm and an inner outline, 5 mm thick
    assert 1.0 < millilitres(mask) < 24 * 24 * 5 / 1000
    assert refused(folder / "invalid_reference_rt.dcm", ct, "ROI-1", ct=folder) == "E_MASK_REFERENCE"
    assert refused(folder / "non_existent_reference_rt.dcm", ct, "ROI-1", ct=folder) == "E_MASK_REFERENCE"
    assert refused(folder / "invalid_reference_rt.dcm", ct, "prostate") == "E_MASK_ROI_MISSING"


@pytest.mark.skipif(
    not (GE.is_dir() and SARCOMA.is_dir()), reason="the GE series or the sarcoma cohort is not here"
)
def test_real_rtstruct_against_the_ibsi_mask():
    """The same contours as filled by the IBSI group on the same grid, and their CT mask brought to the PET."""
    pet = convert_source(GE / "PT").image
    found = sitk.GetArrayFromImage(read_mask(GE / "RTSTRUCT", pet, "GTV_Mass", pet=GE / "PT")) > 0
    theirs = geometry.canonical(geometry.read_image(SARCOMA / "STS_001/PET_mask.nii.gz"))
    on_pet = (
        sitk.GetArrayFromImage(sitk.Resample(theirs, pet, sitk.Transform(), sitk.sitkNearestNeighbor, 0)) > 0
    )
    assert 2 * (found & on_pet).sum() / (found.sum() + on_pet.sum()) > 0.99
    from_ct = read_mask(SARCOMA / "STS_001/CT_mask.nii.gz", theirs, "x")
    assert millilitres(from_ct) == pytest.approx(millilitres(theirs), rel=0.01)


@pytest.mark.skipif(
    not (SHARED_DATA / "ibsi_digital_phantom").is_dir(), reason="the IBSI phantom is not here"
)
def test_ibsi_masks():
    folder = SHARED_DATA / "ibsi_digital_phantom"
    reference = geometry.read_image(folder / "nifti/image/phantom.nii.gz")
    mask = read_mask(folder / "nifti/mask/mask.nii.gz", reference, "x")
    assert sitk.GetArrayFromImage(mask).sum() == 74 and millilitres(mask) == pytest.approx(0.592)
    own = seg.read(
        dicom.read_header(folder / "dicom/mask/mask.dcm"), reference, Chooser("ROI"), None, []
    ).image
    assert sitk.GetArrayFromImage(own).sum() == 74  # coronal frames


@pytest.mark.skipif(
    not (SHARED_DATA / "suv_reference_objects").is_dir(), reason="the SUV reference objects are not here"
)
@pytest.mark.parametrize("name", ["DRO_0_0", "DRO_5_0"])
def test_reference_object_inside_its_rtstruct(name):
    folder = SHARED_DATA / "suv_reference_objects" / name
    pet = convert_source(folder).image
    inside = sitk.GetArrayFromImage(read_mask(folder / "RS", pet, "region", pet=folder)) > 0
    values = sitk.GetArrayFromImage(pet)[inside]
    np.testing.assert_allclose(
        [values.min(), np.median(values), values.max()], [0.20, 1.00, 4.00], atol=0.005
    )
