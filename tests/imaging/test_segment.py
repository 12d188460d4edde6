"""Lesions given and found, their limits, and the stage from files."""

import csv

import numpy as np
import pytest
import SimpleITK as sitk

from promet.core.errors import DataError
from promet.core.files import digest_file
from promet.core.sidecar import NO_LESION, QUARANTINED, Sidecar
from promet.imaging.segment import Inputs, drop_small, limit, run, segment, watershed
from promet.imaging.settings import Lesions, Segment

SPACING = (2.0, 2.0, 3.0)  # x, y, z in mm
SIZE = (60, 60, 40)
PLACES = np.stack(
    np.meshgrid(
        *[(np.arange(n) - (n - 1) / 2) * s for n, s in zip(SIZE, SPACING, strict=True)], indexing="ij"
    ),
    -1,
).transpose(2, 1, 0, 3)  # (z, y, x, mm)


def image(array):
    found = sitk.GetImageFromArray(array.astype(np.uint8 if array.dtype == bool else np.float32))
    found.SetSpacing(SPACING)
    found.SetOrigin((-12.0, 340.0, -77.0))
    return found


def ball(centre, radius):
    return ((PLACES - np.array(centre)) ** 2).sum(-1) <= radius**2


def blob(centre, top, sigma):
    return top * np.exp(-((PLACES - np.array(centre)) ** 2).sum(-1) / (2 * sigma**2))


def millilitres(mask):
    return np.count_nonzero(mask) * np.prod(SPACING) / 1000


ORGAN = ball((0, 0, 0), 22)
ONE = Lesions(fraction_of_max=0, min_volume_ml=0)


def found(pet, organ=ORGAN, settings=ONE):
    lesions, warnings = watershed(image(pet), image(organ), settings)
    return sitk.GetArrayFromImage(lesions) > 0, warnings


def test_floor_gives_the_iso_contour():
    """A Gaussian of top 12 and sigma 6 mm reaches SUV 4 at sigma sqrt(2 ln 3) = 8.9 mm."""
    lesions, warnings = found(0.5 + blob((3, -4, 2), 11.5, 6))
    np.testing.assert_array_equal(lesions, 0.5 + blob((3, -4, 2), 11.5, 6) >= 4)
    radius = 6 * np.sqrt(2 * np.log(11.5 / 3.5))
    assert millilitres(lesions) == pytest.approx(4 / 3 * np.pi * radius**3 / 1000, rel=0.05)
    assert warnings == []


def test_fraction_of_the_maximum_tightens_hot_lesions_only():
    pet = 0.5 + blob((-9, 0, 0), 39.5, 4) + blob((12, 0, 0), 6, 4)
    wide, _ = found(pet)
    tight, _ = found(pet, settings=Lesions(min_volume_ml=0))
    left, right = PLACES[..., 0] < 3, PLACES[..., 0] >= 3
    top = pet[left].max()
    assert pet[tight & left].min() >= 0.41 * top
    assert pet[wide & left].min() == pytest.approx(4, abs=0.8)
    np.testing.assert_array_equal(tight & right, wide & right)  # 0.41 of 6.5 is below the floor
    assert (wide & right).any()


def test_spill_of_the_bladder_is_not_a_lesion():
    """A bladder of SUV 60 above the prostate spills over its upper pole."""
    pet = 1 + blob((0, 0, 36), 60, 8) + blob((6, 6, -8), 9, 5)
    spill = (pet >= 4) & ORGAN & (PLACES[..., 2] > 5)
    assert millilitres(spill) > 1
    lesions, warnings = found(pet)
    assert millilitres(lesions & spill) < 0.1 * millilitres(spill)
    centre = PLACES[lesions].mean(axis=0)
    np.testing.assert_allclose(centre, (6, 6, -8), atol=2.5)
    assert any("bladder" in sentence for sentence in warnings)


def test_uptake_in_the_rim_counts_within_the_margin_only():
    pet = 0.5 + blob((23.5, 0, 0), 12, 5)  # 1.5 mm beyond the contour
    near, _ = found(pet)
    assert near.any()
    assert np.linalg.norm(PLACES[near], axis=1).max() <= 22 + 3 + 1e-6
    assert not found(pet, settings=Lesions(organ_margin_mm=0))[0].any()


def test_nothing_below_the_floor_and_nothing_small():
    pet = 0.5 + blob((0, 0, 0), 3, 6)
    assert not found(pet)[0].any()
    assert found(pet, settings=Lesions(floor_suv=2.0))[0].any()
    pet = np.full(ORGAN.shape, 0.5)
    pet[20, 30, 30] = 9  # one voxel of 0.012 ml
    assert found(pet)[0].sum() == 1
    assert not found(pet, settings=Lesions())[0].any()


def test_flat_pet_and_organ_at_the_edge_are_no_error():
    assert not found(np.ones(ORGAN.shape))[0].any()
    pet = 0.5 + blob((55, 55, 55), 12, 6)
    lesions, _ = found(pet, organ=ball((55, 55, 55), 12))
    assert lesions.any()


def test_two_foci_are_two():
    pet = 0.5 + blob((-10, 0, 0), 12, 3.5) + blob((10, 4, 6), 8, 3.5)
    _, values, _ = segment(image(pet), image(ORGAN), None, Segment())
    assert values["lesion_count"] == 2
    assert values["lesion_source"] == "watershed"
    assert values["organ_ml"] == pytest.approx(4 / 3 * np.pi * 2.2**3, rel=0.02)


def test_drop_small_keeps_what_is_large_enough():
    mask = np.zeros((8, 8, 8), dtype=bool)
    mask[0:2, 0:2, 0:2] = True  # 8 voxels
    mask[4, 4, 4] = mask[5, 5, 5] = True  # 2 voxels that touch at a corner
    assert drop_small(mask, 0.008, (1, 1, 1)).sum() == 8
    assert drop_small(mask, 0.002, (1, 1, 1)).sum() == 10
    assert not drop_small(mask, 0.0081, (1, 1, 1)).any()


def test_given_lesions_are_limited_to_the_organ():
    inside, outside = ball((0, 0, 0), 6), ball((45, 0, 0), 6)
    lesions, share, warnings = limit(image(inside | outside), image(ORGAN), 3.0)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(lesions) > 0, inside)
    assert share == pytest.approx(0.5, abs=0.03)
    assert any("outside the prostate" in sentence for sentence in warnings)
    assert limit(image(inside), image(ORGAN), 3.0)[1:] == (0.0, [])
    rim = ball((22, 0, 0), 8)
    kept = sitk.GetArrayFromImage(limit(image(rim), image(ORGAN), 3.0)[0]) > 0
    assert ORGAN[kept].mean() < 1
    assert np.linalg.norm(PLACES[kept], axis=1).max() <= 25 + 1e-6


def test_empty_and_odd_organs():
    pet = image(np.ones(ORGAN.shape))
    with pytest.raises(DataError) as caught:
        segment(pet, image(ORGAN & False), None, Segment())
    assert caught.value.code == "E_MASK_EMPTY"
    _, _, warnings = segment(pet, image(ball((0, 0, 0), 7)), None, Segment())
    assert any("unusual" in sentence for sentence in warnings)


@pytest.fixture
def patient(tmp_path):
    """A patient's folder after convert, and a registry writer: patient(source=array, ...) -> registry path."""
    folder = tmp_path / "patients" / "P001"
    folder.mkdir(parents=True)
    sitk.WriteImage(image(0.5 + blob((3, 0, 0), 11, 6)), str(folder / "pet.nii.gz"))
    Sidecar("convert", "c", digest="1").write(folder / "convert.json")

    def register(**masks):
        registry = tmp_path / "images.tsv"
        with open(registry, "w", newline="", encoding="utf-8") as handle:
            writer = csv.writer(handle, delimiter="\t", lineterminator="\n")
            writer.writerow(("patient", "source", "path", "digest", "files", "bytes"))
            writer.writerow(("P001", "pet", str(folder / "pet.nii.gz"), "0", 1, 1))
            for name, array in masks.items():
                path = tmp_path / f"given {name}.nii.gz"
                sitk.WriteImage(image(array), str(path))
                writer.writerow(("P001", name, str(path), digest_file(path), 1, 1))
        return registry, folder / "segment.json"

    return register


def test_stage_by_watershed(patient):
    registry, out = patient(prostate=ORGAN)
    record = run(Inputs(out.parent, "P001", registry), Segment(), out, "pin")
    assert record.ok, record.reason
    assert set(record.products) == {"prostate.nii.gz", "lesions.nii.gz"}
    assert record.values["lesion_source"] == "watershed"
    for name, expected in (("prostate", ORGAN), ("lesions", 0.5 + blob((3, 0, 0), 11, 6) >= 0.41 * 11.5)):
        written = sitk.ReadImage(str(out.with_name(f"{name}.nii.gz")))
        assert written.GetPixelID() == sitk.sitkUInt8
        assert written.GetSize() == SIZE
        assert (sitk.GetArrayFromImage(written) > 0)[expected].mean() > 0.95
    assert run(Inputs(out.parent, "P001", registry), Segment(), out, "pin").digest == record.digest


def test_stage_with_given_lesions(patient):
    registry, out = patient(prostate=ORGAN, lesions=ball((0, 0, 0), 5) | ball((45, 0, 0), 5))
    record = run(Inputs(out.parent, "P001", registry), Segment(), out, "pin")
    assert record.values["lesion_source"] == "given"
    assert record.values["lesion_ml"] == pytest.approx(millilitres(ball((0, 0, 0), 5)))
    assert record.warnings


def test_stage_without_lesions_keeps_the_masks(patient):
    registry, out = patient(prostate=ball((0, 0, -30), 20))
    record = run(Inputs(out.parent, "P001", registry), Segment(), out, "pin")
    assert (record.status, record.origin) == (NO_LESION, "segment")
    assert set(record.products) == {"prostate.nii.gz", "lesions.nii.gz"}
    assert out.with_name("lesions.nii.gz").exists()


def test_an_empty_given_lesion_mask_means_no_lesion(patient):
    registry, out = patient(prostate=ORGAN, lesions=ORGAN & False)
    record = run(Inputs(out.parent, "P001", registry), Segment(), out, "pin")
    assert record.status == NO_LESION
    assert record.values["lesion_source"] == "given"


@pytest.mark.parametrize(
    ("masks", "code"), [({}, "E_MASK_MISSING"), ({"prostate": ORGAN & False}, "E_MASK_EMPTY")]
)
def test_stage_quarantines(patient, masks, code):
    registry, out = patient(**masks)
    out.with_name("lesions.nii.gz").write_bytes(b"of yesterday")
    record = run(Inputs(out.parent, "P001", registry), Segment(), out, "pin")
    assert (record.status, record.code, record.origin) == (QUARANTINED, code, "segment")
    assert "prostate" in record.reason
    assert not out.with_name("lesions.nii.gz").exists()


def test_stage_passes_on_what_convert_refused(patient):
    registry, out = patient(prostate=ORGAN)
    Sidecar("convert", "c", QUARANTINED, code="E_PET_UNITS", reason="x.", origin="convert").write(
        out.with_name("convert.json")
    )
    record = run(Inputs(out.parent, "P001", registry), Segment(), out, "pin")
    assert (record.status, record.code, record.origin) == (QUARANTINED, "E_PET_UNITS", "convert")


def test_a_known_bladder_gives_no_lesion():
    """Uptake whose maximum lies in the rim of the organ is taken, unless the bladder is known to be there."""
    pet = 0.5 + blob((0, 0, 23), 30, 5) + blob((8, 0, -8), 10, 4)
    bladder = ball((0, 0, 34), 14)
    plain, _ = watershed(image(pet), image(ORGAN), ONE)
    without, _ = watershed(image(pet), image(ORGAN), ONE, image(bladder))
    plain, without = (sitk.GetArrayFromImage(mask) > 0 for mask in (plain, without))
    assert (plain & bladder).any() and not (without & bladder).any()
    upper = PLACES[..., 2] > 5
    assert not (without & upper).any() or (without & upper).sum() < 0.2 * (plain & upper).sum()
    np.testing.assert_array_equal(plain & ~upper, without & ~upper)


def test_stage_finds_the_bladder_in_the_file_of_the_organ(patient):
    both = ORGAN.astype(np.float32) * 22
    both[ball((0, 0, 34), 12)] = 21
    registry, out = patient(prostate=both)
    numbers = Segment(prostate_roi="label=22", bladder_roi="label=21")
    assert (
        run(Inputs(out.parent, "P001", registry), numbers, out, "pin").values["lesion_source"]
        == "watershed without the bladder"
    )
    for settings in (
        Segment(prostate_roi="label=22"),
        Segment(prostate_roi="label=22", bladder_roi="label=9"),
    ):
        assert (
            run(Inputs(out.parent, "P001", registry), settings, out, "pin").values["lesion_source"]
            == "watershed"
        )
    wrong = run(Inputs(out.parent, "P001", registry), Segment(prostate_roi="label=5"), out, "pin")
    assert wrong.code == "E_MASK_ROI_MISSING"
    registry, out = patient(prostate=ORGAN)
    alone = run(Inputs(out.parent, "P001", registry), Segment(prostate_roi="label=22"), out, "pin")
    assert alone.code == "E_MASK_ROI_MISSING"  # one label of another number is another organ
