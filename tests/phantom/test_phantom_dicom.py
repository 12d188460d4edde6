"""The written cohort: bytes, DICOM, SUV, masks, planted identifiers."""

from __future__ import annotations

import csv
import datetime
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from skimage.draw import polygon2mask
from typer.testing import CliRunner

from promet.core.errors import UsageError
from promet.phantom import body, masks, series
from promet.phantom.cli import app
from promet.phantom.cohort import COLUMNS, write_cohort, write_patient
from promet.phantom.truth import FORMS, TIMINGS, patient_truth


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> tuple[Path, list]:
    out = tmp_path_factory.mktemp("a cohort") / "with blanks"
    return out, write_cohort(out, development=8, metachronous=2, prospective=1, seed=1)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle, delimiter="\t"))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def read_series(folder: Path) -> list[pydicom.Dataset]:
    return sorted(
        (pydicom.dcmread(p) for p in folder.iterdir()), key=lambda image: image.ImagePositionPatient[2]
    )


def suv_by_back_computation(images: list[pydicom.Dataset]) -> np.ndarray:
    """SUVbw from acquisition time, frame duration and frame reference time alone, slice by slice (IBSI manual, option B)."""
    drug = images[0].RadiopharmaceuticalInformationSequence[0]
    decay = math.log(2) / float(drug.RadionuclideHalfLife)
    planes = []
    for image in images:
        t = float(image.ActualFrameDuration) / 1000
        acquired = datetime.datetime.strptime(
            image.AcquisitionDate + image.AcquisitionTime, "%Y%m%d%H%M%S.%f"
        )
        reference = acquired + datetime.timedelta(
            seconds=math.log(decay * t / (1 - math.exp(-decay * t))) / decay
            - float(image.FrameReferenceTime) / 1000
        )
        clock = datetime.datetime.strptime(drug.RadiopharmaceuticalStartTime, "%H%M%S.%f").time()
        start = datetime.datetime.combine(reference.date(), clock)
        if start > reference:
            start -= datetime.timedelta(days=1)
        if "RadiopharmaceuticalStartDateTime" in drug:
            assert start == datetime.datetime.strptime(
                drug.RadiopharmaceuticalStartDateTime, "%Y%m%d%H%M%S.%f"
            )
        dose = float(drug.RadionuclideTotalDose) * math.exp(-decay * (reference - start).total_seconds())
        planes.append(
            image.pixel_array * float(image.RescaleSlope) * float(image.PatientWeight) * 1000 / dose
        )
    return np.stack(planes)


def test_same_arguments_same_bytes(tmp_path):
    for name in ("one", "two"):
        write_cohort(tmp_path / name, 4, 1, 1, seed=3, small=True)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    write_cohort(tmp_path / "three", 4, 1, 1, seed=4, small=True)
    assert (
        contents(tmp_path / "one")["dicom/dev001/PT/IM0001.dcm"]
        != contents(tmp_path / "three")["dicom/dev001/PT/IM0001.dcm"]
    )


def test_more_patients_leave_the_others_as_they_are(tmp_path, cohort):
    before = write_cohort(tmp_path / "grown", 3, 1, 0, seed=3, small=True) and contents(tmp_path / "grown")
    rows = {row["patient"]: row for row in table(tmp_path / "grown" / "cohort.tsv")}
    write_cohort(tmp_path / "grown", 5, 2, 1, seed=3, small=True)
    after = contents(tmp_path / "grown")
    old = [name for name in before if name.startswith("dicom/")]
    assert len(old) > 100
    assert all(before[name] == after[name] for name in old)
    grown = {row["patient"]: row for row in table(tmp_path / "grown" / "cohort.tsv")}
    assert len(grown) == 8
    assert all(grown[patient] == row for patient, row in rows.items())
    # The same holds for whole volumes, in another folder.
    out, truths = cohort
    folder = tmp_path / "again" / "dev003"
    write_patient(truths[2], folder)
    assert contents(folder) == contents(out / "dicom" / "dev003")


def test_the_table(cohort):
    out, truths = cohort
    rows = table(out / "cohort.tsv")
    assert list(rows[0]) == list(COLUMNS)
    assert [row["patient"] for row in rows] == [t.patient for t in truths]
    assert [row["role"] for row in rows].count("metachronous") == 2
    for row in rows:
        for name in ("pet", "ct", "prostate"):
            assert (out / row[name]).exists()
        assert not row["lesions"] or (out / row["lesions"]).is_file()
    # Two left to the watershed, one without a lesion.
    assert [row["patient"] for row in rows if not row["lesions"]] == ["dev003", "dev006", "dev008"]
    answers = table(out / "truth.tsv")
    assert [float(answer["aggressiveness"]) for answer in answers] == pytest.approx(
        [t.aggressiveness for t in truths], rel=1e-6
    )


def test_suv_from_the_dicom_is_the_planted_suv(cohort):
    out, truths = cohort
    assert {t.acquisition.timing for t in truths} == set(TIMINGS)
    for truth in truths:
        images = read_series(out / "dicom" / truth.patient / "PT")
        found, (planted, _, _, lesions) = suv_by_back_computation(images), body.pet_suv(truth)
        step = planted.max(axis=(1, 2), keepdims=True) / 32767
        assert np.all(np.abs(found - planted) <= 0.51 * step + 1e-5 * planted)
        if truth.visible:
            assert found[lesions].max() > 4
        reference = datetime.datetime.strptime(images[0].SeriesDate + images[0].SeriesTime, "%Y%m%d%H%M%S.%f")
        earliest = min(image.AcquisitionTime for image in images)
        assert (images[0].SeriesTime > earliest) == (truth.acquisition.timing == "late-series")
        if truth.acquisition.timing != "late-series":
            assert reference == series.reference_time(truth)


def test_the_pet_header(cohort):
    out, truths = cohort
    for truth in truths[:5]:
        images = read_series(out / "dicom" / truth.patient / "PT")
        assert len({image.RescaleSlope for image in images}) > len(images) // 2
        assert [image.InstanceNumber for image in images] == list(range(1, len(images) + 1))
        for image in images:
            assert image.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
            assert (image.Units, image.DecayCorrection, image.Modality) == ("BQML", "START", "PT")
            assert {"ATTN", "DECY"} <= set(image.CorrectedImage)
            drug = image.RadiopharmaceuticalInformationSequence[0]
            assert float(drug.RadionuclideHalfLife) == 6586.2
            assert drug.Radiopharmaceutical == "18F-DCFPyL"
    night = read_series(out / "dicom" / "dev003" / "PT")[0]
    assert night.SeriesDate > night.StudyDate


def test_simpleitk_reads_both_series(cohort):
    out, truths = cohort
    for truth in truths[:2]:
        for name, grid in (("PT", body.FULL.pet), ("CT", body.FULL.ct)):
            files = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(out / "dicom" / truth.patient / name))
            image = sitk.ReadImage(files)
            assert image.GetSize() == grid.shape[::-1]
            assert image.GetSpacing() == pytest.approx(grid.spacing[::-1], abs=1e-4)
            assert image.GetOrigin() == pytest.approx(series.origin(truth, grid), abs=1e-3)
        hu = sitk.GetArrayFromImage(image)
        assert np.abs(hu - body.ct_hu(truth)).max() <= 0.5 + 1e-3


def read_mask(path: Path, form: str, name: str, folder: Path, grids: body.Grids) -> tuple[float, np.ndarray]:
    """Volume in ml and centroid (x, y, z) in mm of a structure, read without promet."""
    if form.startswith("nifti"):
        image = sitk.ReadImage(str(path))
        stats = sitk.LabelShapeStatisticsImageFilter()
        stats.Execute(image)
        return stats.GetPhysicalSize(1) / 1000, np.array(stats.GetCentroid(1))
    if form == "seg":
        seg = highdicom.seg.segread(path)
        number = seg.get_segment_numbers(segment_label=name)[0]
        volume = seg.get_volume(segment_numbers=[number], combine_segments=False, rescale_fractional=False)
        mask = volume.array[..., 0] > 0
        centroid = volume.affine[:3, :3] @ np.argwhere(mask).mean(0) + volume.affine[:3, 3]
        return mask.sum() * volume.voxel_volume / 1000, centroid
    rs, images = pydicom.dcmread(path), read_series(folder / "CT")
    assert rs.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID == images[0].FrameOfReferenceUID
    referenced = (
        rs.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    )
    assert referenced.SeriesInstanceUID == images[0].SeriesInstanceUID
    uids = {image.SOPInstanceUID: k for k, image in enumerate(images)}
    assert {item.ReferencedSOPInstanceUID for item in referenced.ContourImageSequence} == set(uids)
    number = next(roi.ROINumber for roi in rs.StructureSetROISequence if roi.ROIName == name)
    roi = next(roi for roi in rs.ROIContourSequence if roi.ReferencedROINumber == number)
    mask, first = np.zeros(grids.ct.shape, bool), images[0]
    for contour in roi.ContourSequence:
        points = np.array(contour.ContourData, float).reshape(-1, 3)
        assert len(points) == contour.NumberOfContourPoints
        k = uids[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
        assert np.allclose(points[:, 2], images[k].ImagePositionPatient[2], atol=1e-3)
        pixels = (points[:, 1::-1] - np.array(first.ImagePositionPatient[1::-1], float)) / np.array(
            first.PixelSpacing, float
        )
        mask[k] |= polygon2mask(mask.shape[1:], pixels)
    offset = (np.argwhere(mask).mean(0) * grids.ct.spacing)[::-1]
    return mask.sum() * np.prod(grids.ct.spacing) / 1000, np.array(first.ImagePositionPatient, float) + offset


def test_all_forms_of_mask_say_the_same(tmp_path):
    patient = patient_truth(1, 3, "development", 1.0)  # 7.6 ml of lesions
    gland_ml, lesions_ml = body.true_volumes_ml(patient)
    centroids: dict[str, list[np.ndarray]] = {"Prostate": [], "Lesions": []}
    # The index turns the grid of the SEG: 3 -> CT, 4 -> PET.
    for form, index in [*((form, 3) for form in FORMS), ("seg", 4)]:
        truth = replace(patient, index=index, prostate_form=form, lesion_form=form)
        folder = tmp_path / f"{form}-{index}"
        sources, _ = write_patient(truth, folder)
        for name, expected in (("Prostate", gland_ml), ("Lesions", lesions_ml)):
            ml, centroid = read_mask(sources[name.lower()], form, name, folder, body.FULL)
            assert ml == pytest.approx(expected, rel=0.05), (form, name)
            centroids[name].append(centroid)
    for found in centroids.values():
        assert np.ptp(np.stack(found), axis=0).max() < 1.0


def test_highdicom_reads_the_seg(cohort):
    out, _ = cohort
    seg = highdicom.seg.segread(out / "dicom" / "dev007" / "SEG" / "seg.dcm")
    assert [segment.SegmentLabel for segment in seg.SegmentSequence] == ["Prostate", "Lesions", masks.DECOY]
    assert seg.FrameOfReferenceUID == read_series(out / "dicom" / "dev007" / "PT")[0].FrameOfReferenceUID


def test_all_forms_occur_and_a_third_is_left_to_the_watershed():
    truths = [patient_truth(1, index, "development", 1.0) for index in range(36)]
    assert {t.prostate_form for t in truths} == set(FORMS)
    assert 10 <= sum(t.lesion_form == "" for t in truths) <= 15


def test_every_dicom_file_carries_planted_identifiers_and_the_table_none(cohort):
    out, truths = cohort
    markers = series.planted_markers(8, 2, 1, seed=1)
    assert {series.MARKER, series.ID_MARKER, series.UID_ROOT} <= set(markers)
    dates = {marker for marker in markers if marker.isdigit()}
    seen = set()
    for path in (out / "dicom").rglob("*.dcm"):
        image = pydicom.dcmread(path, stop_before_pixels=True)
        assert series.MARKER in str(image.PatientName)
        assert image.PatientID.startswith(series.ID_MARKER)
        for element in image.iterall():
            if element.VR == "DA":
                assert element.value in dates, element.keyword
                seen.add(element.value)
            elif element.VR == "DT":
                assert element.value[:8] in dates, element.keyword
            elif element.VR == "UI" and isinstance(element.value, str):
                assert element.value.startswith((series.UID_ROOT, "1.2.840.10008.")), element.keyword
            elif element.VR == "PN":
                assert series.MARKER in str(element.value), element.keyword
    assert len(seen) > 8
    for name in ("cohort.tsv", "truth.tsv"):
        text = (out / name).read_text()
        assert not [marker for marker in markers if marker in text]
    assert len({t.number for t in truths}) == len(truths)


def test_other_files_are_not_overwritten(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="other files"):
        write_cohort(tmp_path, 1, 0, 0)
    with pytest.raises(UsageError, match="range"):
        write_cohort(tmp_path / "new", -1, 0, 0)


def test_the_command(tmp_path):
    arguments = "--development 2 --metachronous 0 --prospective 0 --seed 5 --effect 0 --small"
    result = CliRunner().invoke(app, [str(tmp_path / "demo"), *arguments.split()])
    assert result.exit_code == 0, result.output
    assert "2 patients" in result.output
    assert {row["effect"] for row in table(tmp_path / "demo" / "truth.tsv")} == {"0"}
    assert len(list((tmp_path / "demo" / "dicom" / "dev001" / "PT").iterdir())) == body.SMALL.pet.shape[0]


def test_two_phantoms_fit_into_one_table(tmp_path):
    for name, prefix in (("first", ""), ("more", "more-")):
        write_cohort(tmp_path / name, 1, 0, 0, small=True, prefix=prefix)
    first, more = (table(tmp_path / name / "cohort.tsv")[0] for name in ("first", "more"))
    assert (first["patient"], more["patient"]) == ("dev001", "more-dev001")
    assert first["psa"] == more["psa"] and (tmp_path / "more" / more["pet"]).is_dir()
    with pytest.raises(UsageError, match="prefix"):
        write_cohort(tmp_path / "bad", 1, 0, 0, prefix="../")


def test_the_command_line_is_light():
    code = "import sys, promet.phantom.cli; print(sorted({'numpy', 'pydicom', 'SimpleITK', 'highdicom'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
