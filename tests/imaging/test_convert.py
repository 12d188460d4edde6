"""The convert stage: products, audit, real series, and nothing of a person in any of it."""

import gzip
import json
import re

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_series import SHARED_DATA, make, pixels, save, stored, write
from pydicom import dcmread
from pydicom.datadict import DicomDictionary

from promet.core.errors import DataError
from promet.core.sidecar import Sidecar
from promet.imaging import convert, geometry
from promet.imaging.convert import convert_by_hand, convert_source
from promet.imaging.settings import Convert

GE = SHARED_DATA / "ge_wholebody_pelvis"
SARCOMA = SHARED_DATA / "sarcoma_fdg_cohort/nifti"
needs_ge = pytest.mark.skipif(not GE.is_dir(), reason="the GE series is not here")


def registry(folder, source):
    path = folder / "images.tsv"
    path.write_text(f"patient\tsource\tpath\tdigest\tfiles\tbytes\nP 1\tpet\t{source}\tx\t1\t1\n")
    return path


def test_stage(tmp_path):
    source = write(tmp_path / "in put", {"RescaleSlope": 0.5})
    out = tmp_path / "P 1" / "convert.json"
    record = convert.run(convert.Inputs("P 1", registry(tmp_path, source)), Convert(), out, "abc")
    assert record.ok and record.pin == "abc" and list(record.products) == ["pet.nii.gz"]
    image = sitk.ReadImage(str(out.with_name("pet.nii.gz")))
    assert image.GetPixelID() == sitk.sitkFloat32 and image.GetSpacing() == (3.0, 4.0, 5.0)
    assert record.values["uptake_s"] == 3600
    first = (out.with_name("pet.nii.gz")).read_bytes()
    convert.run(convert.Inputs("P 1", registry(tmp_path, source)), Convert(), out, "abc")
    assert out.with_name("pet.nii.gz").read_bytes() == first  # the same bytes at another time


def test_stage_quarantines_and_removes_the_old_product(tmp_path):
    out = tmp_path / "P1" / "convert.json"
    convert.run(convert.Inputs("P 1", registry(tmp_path, write(tmp_path / "good"))), Convert(), out, "a")
    record = convert.run(
        convert.Inputs("P 1", registry(tmp_path, write(tmp_path / "bad", {"Units": "CPS"}))),
        Convert(),
        out,
        "b",
    )
    assert (record.status, record.code, record.origin) == ("quarantined", "E_PET_UNITS", "convert")
    assert not out.with_name("pet.nii.gz").exists() and Sidecar.read(out).code == "E_PET_UNITS"


def test_by_hand(tmp_path):
    convert_by_hand(write(tmp_path / "in"), tmp_path / "pet.nii.gz", tmp_path / "audit.json")
    audit = json.loads((tmp_path / "audit.json").read_text())
    assert audit["rule"] == "BQML START" and audit["slices"] == 4


def test_suv_volume(tmp_path):
    image = sitk.GetImageFromArray(np.linspace(0, 9, 60, dtype=np.float32).reshape(3, 4, 5))
    image.SetDirection([-1, 0, 0, 0, -1, 0, 0, 0, 1])
    sitk.WriteImage(image, str(tmp_path / "suv.nii.gz"))
    result = convert_source(tmp_path / "suv.nii.gz")
    np.testing.assert_allclose(result.image.GetDirection(), np.eye(3).ravel())
    assert sitk.GetArrayFromImage(result.image)[0, 0, 0] == pytest.approx(
        sitk.GetArrayFromImage(image)[0, -1, -1]
    )
    sitk.WriteImage(image * 1000.0, str(tmp_path / "activity.nii.gz"))
    with pytest.raises(DataError, match="not in SUV"):
        convert_source(tmp_path / "activity.nii.gz")


MARK = "ZQXMARK"


def test_nothing_of_a_person_comes_out(tmp_path, caplog, recwarn, capfd):
    """Every text element of the dictionary that a slice can bear carries a mark; no output may show it."""
    kinds = {"PN", "LO", "SH", "ST", "LT", "UT", "UC", "AE"}
    planted = {}
    for tag, (vr, _, _, retired, keyword) in DicomDictionary.items():
        if vr in kinds and keyword and not retired and 0x0008 <= tag >> 16 <= 0x0054:
            planted[keyword] = MARK
    assert len(planted) > 200
    changes = {**planted, "PatientBirthDate": "19331224", "StudyDate": "19771231", "PatientAge": "091Y"}
    changes |= {"SeriesDate": "19771231", "AcquisitionDate": "19771231", "StudyInstanceUID": "1.2.777.888"}
    folder = tmp_path / MARK
    private = [(0x0011, MARK, 0x01, "LO", MARK)]
    write(
        folder,
        changes,
        dose={"RadiopharmaceuticalStartDateTime": "19771231100000"},
        series="1.2.777.889",
        private=private,
    )
    out = tmp_path / "out" / "convert.json"
    record = convert.run(convert.Inputs("P 1", registry(tmp_path, folder)), Convert(), out, "x")
    assert record.ok, record.reason
    refusals = []
    for change in (
        {"Units": MARK},
        {"DecayCorrection": MARK},
        {"PatientWeight": None},
        {"SUVType": MARK, "Units": "GML"},
    ):
        with pytest.raises(DataError) as caught:
            convert_source(write(tmp_path / f"{MARK}{len(refusals)}", {**changes, **change}))
        refusals.append(str(caught.value))
    data = pixels(make(0, changes), stored(0))
    data.PatientWeight = "80"
    path = save(data, tmp_path / "odd" / "1.dcm")
    path.write_bytes(path.read_bytes().replace(b"80", b"Z8"))
    with pytest.raises(DataError) as caught:
        convert_source(path)
    refusals.append(str(caught.value))
    shown = capfd.readouterr()
    outputs = [
        out.read_bytes(), gzip.decompress(out.with_name("pet.nii.gz").read_bytes()), out.with_name("pet.nii.gz").read_bytes(),
        *(text.encode() for text in (*refusals, caplog.text, shown.out, shown.err, *(str(w.message) for w in recwarn))),
    ]  # fmt: skip
    for output in outputs:
        assert not re.search(rb"ZQX|1977|1933|091Y|1\.2\.777|PHANTOM", output)


@needs_ge
def test_real_series_by_an_independent_formula():
    image = convert_source(GE / "PT").image
    found = sitk.GetArrayFromImage(image)
    slices = sorted(
        (dcmread(p) for p in (GE / "PT").glob("*.dcm")), key=lambda d: float(d.ImagePositionPatient[2])
    )
    assert len({float(d.RescaleSlope) for d in slices}) == 80
    for index in (0, 20, 40, 62, 79):
        data = slices[index]
        dose = data.RadiopharmaceuticalInformationSequence[0]
        minutes = 11 * 60 + 20 + 11 / 60 - (10 * 60 + 35)  # scan 11:20:11, injection 10:35:00
        decayed = float(dose.RadionuclideTotalDose) * 2 ** (
            -minutes / (float(dose.RadionuclideHalfLife) / 60)
        )
        becquerel = data.pixel_array.astype(float) * float(data.RescaleSlope)
        np.testing.assert_allclose(
            found[index], becquerel * float(data.PatientWeight) * 1000 / decayed, rtol=1e-5
        )
        place = image.TransformIndexToPhysicalPoint((0, 0, index))
        np.testing.assert_allclose(place, [float(v) for v in data.ImagePositionPatient], atol=0.02)
    assert 50 < found.max() < 80  # the bladder
    assert 0.5 < np.median(found[found > 0.3]) < 1.5


@needs_ge
@pytest.mark.skipif(not SARCOMA.is_dir(), reason="the sarcoma cohort is not here")
def test_real_series_against_the_ibsi_conversion():
    """The same patient's SUV volume as made by the IBSI group."""
    found = convert_source(GE).image
    theirs = geometry.canonical(geometry.read_image(SARCOMA / "STS_001/PET_image.nii.gz"))
    theirs = sitk.GetArrayFromImage(
        sitk.Resample(theirs, found, sitk.Transform(), sitk.sitkNearestNeighbor, -1.0)
    )
    ours = sitk.GetArrayFromImage(found)
    both = theirs > 0.3
    assert both.sum() > 20000
    np.testing.assert_allclose(
        ours[both], theirs[both], rtol=1e-3, atol=1e-3
    )  # they differ by one stored step
