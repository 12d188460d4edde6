"""No lesion is a finding about a patient: only a mask that marks nothing says so, and a look beforehand sees the others."""

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_series import circle, save, write_rtstruct
from pydicom import dcmread
from shapes import grid, segmentation

from promet.core.sidecar import NO_LESION, OK, QUARANTINED, Sidecar
from promet.imaging.check import check_images
from promet.imaging.segment import Inputs, run
from promet.imaging.settings import Imaging, Segment

PET = grid((3.0, 3.0, 3.0), (30, 30, 30))
INDEX = np.stack(np.meshgrid(*[3.0 * np.arange(30) - 43.5] * 3, indexing="ij"), -1)  # z, y, x in mm
ORGAN = (np.linalg.norm(INDEX, axis=-1) < 25).astype(np.uint8)
LESION = (np.linalg.norm(INDEX - [0, 0, 8], axis=-1) < 9).astype(np.uint8)


def volume(path, array):
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(PET)
    sitk.WriteImage(image, str(path))
    return path


def contours(kind="CLOSED_PLANAR", times=1, points=None):
    def build(folder):
        drawn = [circle(8.0, 0.0, z, 8.0, 40)[:points] for z in (-3.0, 0.0, 3.0)] * times
        path = write_rtstruct(folder / "rt.dcm", {"Lesion": drawn})
        data = dcmread(path)
        for contour in data.ROIContourSequence[0].ContourSequence:
            contour.ContourGeometricType = kind
        data.save_as(path)
        return path

    return build


def segments(kind, value, most=255, bits=8, number=1):
    def build(folder):
        frames = [LESION[z] * np.uint8(value) for z in range(12, 18)]
        data = segmentation(
            kind,
            frames,
            {1: "Lesion", 2: "Prostate"},
            [(number, 3.0 * z - 43.5) for z in range(12, 18)],
            bits,
        )
        data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [3.0, 3.0]
        for item in data.PerFrameFunctionalGroupsSequence:
            item.PlanePositionSequence[0].ImagePositionPatient[:2] = [-43.5, -43.5]
        data.MaximumFractionalValue = most
        return save(data, folder / "seg.dcm")

    return build


def beside(folder):
    return volume(folder / "l.nii.gz", np.roll(LESION, 11, axis=2))


CASES = {
    "drawn twice": (contours(times=2), OK, ""),
    "closed": (contours(), OK, ""),
    "nothing drawn": (lambda f: write_rtstruct(f / "rt.dcm", {"Lesion": []}), NO_LESION, ""),
    "all zero": (lambda f: volume(f / "l.nii.gz", LESION * 0), NO_LESION, ""),
    "frames of zero": (segments("FRACTIONAL", 0), NO_LESION, ""),
    "bits of zero": (segments("BINARY", 0, bits=1), NO_LESION, ""),
    "no frame": (segments("BINARY", 1, bits=1, number=2), NO_LESION, ""),
    "interpolated": (contours("INTERPOLATED_PLANAR"), QUARANTINED, "E_MASK_UNUSABLE"),
    "open": (contours("OPEN_PLANAR"), QUARANTINED, "E_MASK_UNUSABLE"),
    "points": (contours("POINT", points=1), QUARANTINED, "E_MASK_UNUSABLE"),
    "no type": (contours(""), QUARANTINED, "E_MASK_UNUSABLE"),
    "pairs": (contours(points=2), QUARANTINED, "E_MASK_UNUSABLE"),
    "1 of 255": (segments("FRACTIONAL", 1), QUARANTINED, "E_MASK_UNUSABLE"),
    "low shares": (
        lambda f: volume(f / "l.nii.gz", LESION * np.float32(0.4)),
        QUARANTINED,
        "E_MASK_UNUSABLE",
    ),
    "beside the prostate": (beside, QUARANTINED, "E_MASK_OUTSIDE"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_lesion_mask(tmp_path, name):
    build, status, expected = CASES[name]
    folder = tmp_path / "patients/P1"
    folder.mkdir(parents=True)
    paths = {"pet": volume(folder / "pet.nii.gz", (1 + 9.0 * LESION).astype(np.float32)), "prostate": volume(tmp_path / "p.nii.gz", ORGAN), "lesions": build(tmp_path)}  # fmt: skip
    Sidecar("convert", "c", digest="1").write(folder / "convert.json")
    registry = tmp_path / "images.tsv"
    registry.write_text(
        "patient\tsource\tpath\tdigest\tfiles\tbytes\n"
        + "".join(f"P1\t{n}\t{p}\tx\t1\t1\n" for n, p in paths.items())
    )
    record = run(Inputs(folder, "P1", registry), Segment(), folder / "segment.json", "x")
    assert (record.status, record.code) == (status, expected), record.reason
    assert ("lesions: The given mask is empty: no lesion." in record.warnings) == (status == NO_LESION)
    if status == OK:
        assert record.values["lesion_ml"] == pytest.approx(np.pi * 0.64 * 0.9, rel=0.1)
    table = tmp_path / "cohort.tsv"
    table.write_text(
        "patient\tpet\tprostate\tlesions\nP1\t"
        + "\t".join(str(paths[n]) for n in ("pet", "prostate", "lesions"))
        + "\n"
    )
    faults = [fault.code for fault in check_images(table, Imaging())]
    assert faults == ([expected] if expected else [])
