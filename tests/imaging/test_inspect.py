"""A PACS export: every file form is read, the right series is taken, and the listing shows nobody."""

import json
import os
import re
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_series import CT_CLASS, circle, make, pixels, save, stored, write, write_rtstruct
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless
from typer.testing import CliRunner

from promet.core.errors import DataError
from promet.imaging.cli import app
from promet.imaging.convert import convert_source
from promet.imaging.inspect import inspect, text

GML = {"Units": "GML", "RescaleSlope": 0.001}
CT = {"Modality": "CT", "SOPClassUID": CT_CLASS, "Units": None, "CorrectedImage": None}


def export(folder, **more):
    """Two PET, two CT, a scout, a capture, a dose report, a DICOMDIR, copies; names without extension."""
    write(folder / "a" / "ac", {**GML, **more}, series="1.2.840.77.1")
    write(folder / "a" / "nac", {"CorrectedImage": ["NORM", "DECY"]}, series="1.2.840.77.2")
    write(folder / "mip", {"ImageType": ["DERIVED", "SECONDARY", "MIP"]}, series="1.2.840.77.3")
    write(folder / "colour", {"SamplesPerPixel": 3}, series="1.2.840.77.4")
    for path in (folder / "colour").iterdir():
        data = dcmread(path)
        data.SamplesPerPixel = 3
        data.save_as(path)
    write(folder / "ct" / "wide", CT, series="1.2.840.77.5")
    write(
        folder / "ct" / "scout",
        {**CT, "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
        series="1.2.840.77.6",
    )
    write(folder / "ct" / "other", {**CT, "FrameOfReferenceUID": "9.9"}, series="1.2.840.77.7")
    report = make(
        0, {"Modality": "SR", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.67"}, series="1.2.840.77.8"
    )
    save(report, folder / "report" / "dose")
    write_rtstruct(folder / "rt" / "1", {"Prostate": [circle(0, 0, 105, 10.0)]})
    directory, meta = Dataset(), FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, "1.2.840.10008.1.3.10"
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    directory.file_meta, directory.FileSetID = meta, "ZQXSET"
    directory.save_as(folder / "DICOMDIR", enforce_file_format=True)
    (folder / "readme.txt").write_text("ZQX")
    for number, path in enumerate(sorted(folder.rglob("*.dcm"))):
        path.rename(path.with_name(f"IM{number:05d}"))
    shutil.copy(next((folder / "a" / "ac").iterdir()), folder / "copy of one")
    return folder


def test_a_pacs_export(tmp_path):
    folder = export(tmp_path / "ZQXNAME" / "x y")
    os.mkfifo(folder / "pipe")  # reading it would wait for ever
    (folder / "loop").symlink_to(folder)
    found = inspect(folder)
    rows = {row["number"]: row for row in found["series"]}
    pet, ct = rows[found["pet"]], rows[found["ct"]]
    assert (pet["modality"], pet["images"], pet["attenuation_corrected"], pet["verdict"]) == (
        "PT",
        4,
        True,
        "taken",
    )
    assert pet["matrix"] == [16, 16] and pet["pixel_mm"] == [3.0, 4.0]
    assert ct["why"] == "the CT in the frame of reference of the PET"
    assert (found["directories"], found["copies"], found["broken"], found["no_dicom"]) == (1, 1, 0, 1)
    why = [row["why"] for row in found["series"]]
    for reason in ("not attenuation corrected", "a scout or a single image", "not in the frame of reference of the PET",
                   "a projection, a screen capture, a colour picture or with burned-in text"):  # fmt: skip
        assert reason in why
    assert "a mask with 1 structures, for the columns prostate and lesions" in why
    assert found["advice"] == "" and found["refusal"] == ""
    result = convert_source(folder)
    np.testing.assert_allclose(
        sitk.GetArrayFromImage(result.image), np.stack([stored(i) for i in range(4)]) * 0.001, rtol=1e-6
    )
    shown = json.dumps(found) + text(found)
    assert not re.search(r"ZQX|PHANTOM|1\.2\.840|2025|9\.9", shown)


def test_two_that_could_be_meant(tmp_path):
    """The refusal lists the candidates by the numbers of inspect and says how to name one; doing so works."""
    folder = export(tmp_path / "in")
    write(folder / "second", GML, series="1.2.840.77.99")
    found = inspect(folder)
    candidates = [row["number"] for row in found["series"] if row["verdict"] == "candidate"]
    assert found["pet"] is None and len(candidates) == 2 and "column pet" in found["advice"]
    with pytest.raises(DataError) as caught:
        convert_source(folder)
    assert caught.value.code == "E_PET_AMBIGUOUS"
    assert all(
        f"series {number}: 4 images of 16 x 16, 3 x 4 mm" in str(caught.value) for number in candidates
    )
    assert "column pet" in str(caught.value) and "1.2.840" not in str(caught.value)
    assert convert_source(folder / "second").image.GetSize() == (16, 16, 4)
    assert found["refusal"].startswith("E_PET_AMBIGUOUS: ")


def test_inspect_says_what_convert_would_refuse(tmp_path):
    write(tmp_path, {"PatientWeight": None})
    found = inspect(tmp_path)
    assert found["pet"] == 1 and found["refusal"].startswith(
        "E_PET_WEIGHT: PatientWeight (0010,1030) is missing"
    )
    assert "convert would refuse it, E_PET_WEIGHT" in text(found)


def test_commands(tmp_path):
    folder = export(tmp_path / "in")
    done = CliRunner().invoke(app, ["inspect", str(folder), "--json"], catch_exceptions=False)
    assert done.exit_code == 0 and json.loads(done.output)["pet"] is not None
    done = CliRunner().invoke(app, ["inspect", str(folder)], catch_exceptions=False)
    assert "taken: the attenuation-corrected PET" in done.output
    with pytest.raises(DataError):
        CliRunner().invoke(app, ["inspect", str(tmp_path / "none")], catch_exceptions=False)


def test_mask_by_hand(tmp_path):
    """A cylinder of known place and size."""
    planes = [circle(1.5, -2.5, z, 20.0) for z in np.arange(-15, 15.1, 3.0)]
    more = [circle(1.5, -2.5, z, 28.0) for z in np.arange(-15, 15.1, 3.0)]
    path = write_rtstruct(tmp_path / "rt", {"Prostate": planes, "Prostate + 8 mm": more})
    grid = sitk.Image((60, 60, 40), sitk.sitkFloat32)
    grid.SetSpacing((1.5, 1.5, 3.0))
    grid.SetOrigin((-44.0, -46.0, -60.0))
    sitk.WriteImage(grid, str(tmp_path / "pet.nii.gz"))
    out = tmp_path / "out" / "mask.nii.gz"
    words = ["mask", str(path), "--reference", str(tmp_path / "pet.nii.gz"), "--out", str(out)]
    done = CliRunner().invoke(app, [*words, "--roi", "Prostate", "--json"], catch_exceptions=False)
    found = json.loads(done.output)
    assert found["ml"] == pytest.approx(np.pi * 2**2 * 3.3, rel=0.02)
    assert found["voxels"] == pytest.approx(found["ml"] * 1000 / 6.75)
    np.testing.assert_allclose(found["centroid_mm"], (1.5, -2.5, 0), atol=0.3)
    written = sitk.ReadImage(str(out))
    assert sitk.GetArrayFromImage(written).sum() == found["voxels"] and written.GetPixelID() == sitk.sitkUInt8
    both = CliRunner().invoke(app, [*words, "--roi", "(?i)prostate"], catch_exceptions=False)
    assert "1 more fit in part and were not taken" in both.output
    assert f"{found['voxels']} voxels" in both.output


def by_gdcm(path, syntax):
    """JPEG Lossless is written by GDCM, which pydicom has no encoder for."""
    data = dcmread(path)
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.SetUseCompression(True)
    writer.SetCompressor("JPEG")
    writer.SetFileName(str(path.with_suffix(".tmp.dcm")))
    writer.Execute(sitk.GetImageFromArray(data.pixel_array[None]))
    made = dcmread(path.with_suffix(".tmp.dcm"))
    path.with_suffix(".tmp.dcm").unlink()
    assert made.file_meta.TransferSyntaxUID == syntax
    data.PixelData = made.PixelData
    data["PixelData"].VR, data["PixelData"].is_undefined_length = "OB", True
    data.file_meta.TransferSyntaxUID = syntax
    data.save_as(path)


def by_pydicom(path, syntax):
    data = dcmread(path)
    if syntax == DeflatedExplicitVRLittleEndian:
        data.file_meta.TransferSyntaxUID = syntax
    else:
        data.compress(syntax)
    data.save_as(path)


@pytest.mark.parametrize(
    ("syntax", "encode"),
    [
        ("1.2.840.10008.1.2.4.70", by_gdcm),
        (JPEG2000Lossless, by_pydicom),
        (RLELossless, by_pydicom),
        (DeflatedExplicitVRLittleEndian, by_pydicom),
    ],
    ids=["jpeg-lossless", "jpeg-2000", "rle", "deflated"],
)
def test_transfer_syntaxes(tmp_path, syntax, encode):
    def large(index):
        return stored(index, 64, 48)

    write(tmp_path, GML, values=large)
    for path in list(tmp_path.iterdir()):
        encode(path, syntax)
        assert dcmread(path).file_meta.TransferSyntaxUID == syntax
    found = sitk.GetArrayFromImage(convert_source(tmp_path).image)
    np.testing.assert_allclose(found, np.stack([large(i) for i in range(4)]) * 0.001, rtol=1e-6)
    cut = next(tmp_path.iterdir())
    cut.write_bytes(cut.read_bytes()[:-300])
    with pytest.raises(DataError) as caught:
        convert_source(tmp_path)
    assert caught.value.code in ("E_PET_TRUNCATED", "E_PET_NO_PIXELS", "E_PET_BROKEN_FILE")


def test_dynamic_series(tmp_path):
    write(tmp_path, {"SeriesType": ["DYNAMIC", "IMAGE"], **GML})
    for index in range(4):
        data = pixels(make(index, {"SeriesType": ["DYNAMIC", "IMAGE"], **GML}), stored(index))
        data.SOPInstanceUID = f"1.2.3.77.{index}"
        save(data, tmp_path / f"second frame {index}")
    with pytest.raises(DataError) as caught:
        convert_source(tmp_path)
    assert caught.value.code == "E_PET_FRAMES"
