"""Finding one series in a messy folder, ordering its slices, refusing what is not whole."""

import shutil

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_series import CT_CLASS, SHARED_DATA, frames, make, pixels, save, stored, write
from pydicom.uid import RLELossless

from promet.core.errors import DataError
from promet.imaging.convert import check_source, convert_source
from promet.imaging.ct import choose
from promet.imaging.dicom import clock
from promet.imaging.dicom import files as dicom
from promet.imaging.inspect import inspect

SMALL = SHARED_DATA / "small_dicom"


def volume(folder):
    return sitk.GetArrayFromImage(convert_source(folder).image)


def refused(folder):
    with pytest.raises(DataError) as caught:
        convert_source(folder)
    return caught.value.code


GML = {"Units": "GML", "RescaleSlope": 0.001}


def test_geometry_by_hand(tmp_path):
    image = convert_source(write(tmp_path, GML)).image
    assert image.GetSpacing() == (3.0, 4.0, 5.0) and image.GetOrigin() == (-20.0, -30.0, 100.0)
    expected = np.stack([stored(i) for i in range(4)]) * 0.001
    np.testing.assert_allclose(sitk.GetArrayFromImage(image), expected, rtol=1e-6)


@pytest.mark.parametrize(
    "turn",
    [[1, 0, 0, 0, 1, 0], [-1, 0, 0, 0, -1, 0], [0, 1, 0, 1, 0, 0], [1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1]],
)
def test_a_voxel_keeps_its_place_in_every_orientation(tmp_path, turn):
    turn = np.array(turn, float)
    row, column, normal = turn[:3], turn[3:], np.cross(turn[:3], turn[3:])
    place = {"ImagePositionPatient": lambda i: (np.array([7.0, 8.0, 9.0]) + 5 * i * normal).tolist()}
    image = convert_source(write(tmp_path, {**GML, **place, "ImageOrientationPatient": turn.tolist()})).image
    np.testing.assert_allclose(image.GetDirection(), np.eye(3).ravel())
    for r, c, i in [(0, 0, 0), (3, 11, 2), (15, 2, 3)]:
        point = np.array([7.0, 8.0, 9.0]) + 3 * c * row + 4 * r * column + 5 * i * normal
        value = image[image.TransformPhysicalPointToIndex(point.tolist())]
        assert value == pytest.approx(stored(i)[r, c] * 0.001)


def test_messy_folder(tmp_path):
    write(tmp_path / "a b" / "series", GML)
    write(tmp_path / "ct", {"Modality": "CT", "SOPClassUID": CT_CLASS, "Units": None}, series="9.1")
    write(tmp_path / "nac", {"CorrectedImage": ["NORM", "DECY"]}, series="9.2")
    write(tmp_path / "mip", {"ImageType": ["DERIVED", "SECONDARY", "MIP"]}, series="9.3")
    write(tmp_path / "capture", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, series="9.4")
    write(tmp_path / "scout", {}, series="9.5", slices=1)
    write(tmp_path / "derived", {"ImageType": ["DERIVED", "PRIMARY"]}, series="9.6")
    (tmp_path / "notes.txt").write_text("x" * 500)
    (tmp_path / "empty").write_bytes(b"")
    assert volume(tmp_path).shape == (4, 16, 16)
    write(tmp_path / "second", GML, series="9.7")
    assert refused(tmp_path) == "E_PET_AMBIGUOUS"


def test_nothing_usable(tmp_path):
    assert refused(tmp_path) == "E_PET_EMPTY"
    assert refused(tmp_path / "absent") == "E_SOURCE_MISSING"
    (tmp_path / "notes.txt").write_text("x" * 200)
    assert refused(tmp_path) == "E_PET_NO_DICOM"
    write(tmp_path, {"Modality": "CT", "SOPClassUID": CT_CLASS})
    assert refused(tmp_path) == "E_PET_MODALITY"
    write(tmp_path / "mip", {"SeriesType": ["STATIC", "REPROJECTION"]})
    with pytest.raises(DataError, match="4 CT, 4 PT that are projections"):
        convert_source(tmp_path)


def test_without_preamble(tmp_path):
    write(tmp_path, GML)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[132:])
    assert volume(tmp_path).shape == (4, 16, 16)


def test_missing_slice(tmp_path):
    assert refused(write(tmp_path, GML, slices=6, skip=(3,))) == "E_PET_MISSING_SLICE"
    assert refused(write(tmp_path / "one", GML, slices=1)) == "E_PET_SINGLE_SLICE"


def test_duplicates(tmp_path):
    write(tmp_path, GML)
    shutil.copy(tmp_path / "900.dcm", tmp_path / "copy.dcm")
    result = convert_source(tmp_path)  # the same file twice is harmless
    assert result.image.GetSize()[2] == 4 and any("left out as" in w for w in result.warnings)
    changed = pixels(make(0, GML), stored(0) + 1)
    save(changed, tmp_path / "copy.dcm")
    assert refused(tmp_path) == "E_PET_DUPLICATE_IDENTITY"
    changed.SOPInstanceUID = "1.2.3.99"  # a second time frame
    save(changed, tmp_path / "copy.dcm")
    assert refused(tmp_path) == "E_PET_DUPLICATE_SLICE"


def test_truncated(tmp_path):
    write(tmp_path, GML)
    whole = (tmp_path / "899.dcm").read_bytes()
    for cut, code in (
        (len(whole) - 40, "E_PET_TRUNCATED"),
        (len(whole) - 600, "E_PET_NO_PIXELS"),
        (300, "E_PET_BROKEN_FILE"),
        (0, "E_PET_ZERO_BYTES"),
    ):
        (tmp_path / "899.dcm").write_bytes(whole[:cut])
        with pytest.raises(DataError) as caught:
            convert_source(tmp_path)
        assert caught.value.code == code, cut
        # the third of 897, 898, 899, 900
        assert "file 3 of 4 in the order of their paths (…/899.dcm)" in str(caught.value)


@pytest.mark.parametrize("name", ["MEIER^ANNA_1957.dcm", "1.2.840.5.dcm", "19571224", "4711223.dcm"])
def test_a_file_name_that_may_name_somebody_is_not_shown(tmp_path, name):
    write(tmp_path, GML)
    path = (tmp_path / "899.dcm").rename(tmp_path / name)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match=r"the first is file \d of 4 in the order of their paths\.") as caught:
        convert_source(tmp_path)
    assert name not in str(caught.value)


def test_an_empty_slice_without_extension_is_not_overlooked(tmp_path):
    """At the end of the volume nothing else would tell that a slice is lost."""
    write(tmp_path / "in", GML)
    for path in list((tmp_path / "in").iterdir()):
        path.rename(path.with_suffix(""))
    (tmp_path / "readme.txt").write_bytes(b"")
    (tmp_path / "in" / ".keep").write_bytes(b"")
    assert volume(tmp_path).shape == (4, 16, 16)
    (tmp_path / "in" / "897").write_bytes(b"")
    assert refused(tmp_path) == "E_PET_ZERO_BYTES"


def test_gaps_by_rounding_and_real_ones(tmp_path):
    places = [100.0, 105.0, 110.02, 115.02]
    result = convert_source(
        write(tmp_path / "a", {**GML, "ImagePositionPatient": lambda i: [0.0, 0.0, places[i]]})
    )
    assert result.image.GetSpacing()[2] == pytest.approx(15.02 / 3)
    assert any("0.020 mm" in w for w in result.warnings)
    uneven = [100.0, 105.0, 111.0, 116.0]  # interpolated: 110 lies 5/6 of the way from 105 to 111
    result = convert_source(
        write(tmp_path / "b", {**GML, "ImagePositionPatient": lambda i: [0.0, 0.0, uneven[i]]})
    )
    found = sitk.GetArrayFromImage(result.image)
    np.testing.assert_allclose(found[2], (stored(1) / 6 + stored(2) * 5 / 6) * 0.001, rtol=1e-5)
    assert any("interpolated" in w for w in result.warnings)


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("E_PET_MIXED_GRIDS", {"PixelSpacing": lambda i: [4.0, 3.0 + i]}),
        (
            "E_PET_MIXED_GRIDS",
            {"ImageOrientationPatient": lambda i: [1, 0, 0, 0, 1, 0] if i else [1, 0, 0, 0, 0, 1]},
        ),
        ("E_PET_SHIFTED", {"ImagePositionPatient": lambda i: [2.0 * i, 0.0, 5.0 * i]}),
        ("E_PET_NO_PLACE", {"PixelSpacing": None}),
        ("E_PET_ORIENTATION", {"ImageOrientationPatient": [1, 0, 0, 0.7, 0.7, 0]}),
    ],
)
def test_bad_geometry(tmp_path, code, change):
    assert refused(write(tmp_path, {**GML, **change})) == code


def test_compressed(tmp_path):
    plain = volume(write(tmp_path / "plain", GML))
    for index in range(4):
        data = pixels(make(index, GML), stored(index).astype(np.uint16))
        path = save(data, tmp_path / "packed" / f"{index}.dcm")
        data.compress(RLELossless, generate_instance_uid=False)
        data.save_as(path)
    np.testing.assert_array_equal(volume(tmp_path / "packed"), plain)


@pytest.mark.skipif(not SMALL.is_dir(), reason="the small DICOM files are not here")
@pytest.mark.parametrize("name", ["ge_propcps_jpeg_lossless.dcm", "totalsegmentator_ct_j2k"])
def test_compressed_real_files_as_gdcm_reads_them(name):
    path = next(dicom.files_of(SMALL / name / "example_ct_dicom"), SMALL / name)
    data = dicom.read_header(path)
    theirs = sitk.GetArrayFromImage(sitk.ReadImage(str(path), sitk.sitkFloat64))[0]
    ours = dicom.pixels(dicom.frames_of(data)[0]) * float(data.RescaleSlope) + float(data.RescaleIntercept)
    np.testing.assert_allclose(ours, theirs)


def test_fewer_bits_stored_than_allocated(tmp_path):
    for index in range(4):
        data = pixels(make(index, GML), stored(index))
        data.BitsStored, data.HighBit = 13, 12
        data.PixelData = (stored(index) | np.int16(-32768)).tobytes()  # an overlay bit above the value
        save(data, tmp_path / f"{index}.dcm")
    np.testing.assert_allclose(volume(tmp_path)[3], stored(3) * 0.001 - (stored(3) > 4095) * 8.192, rtol=1e-6)


def test_multi_frame(tmp_path):
    path = save(frames({"Units": "GML"}), tmp_path / "all.dcm")
    image = convert_source(path).image
    expected = np.stack([stored(i) * 0.001 * (i + 1) for i in (3, 2, 1, 0)])
    np.testing.assert_allclose(sitk.GetArrayFromImage(image), expected, rtol=1e-6)
    assert image.GetOrigin() == (-20.0, -30.0, 100.0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("235959.5", 86399.5),
        ("1020", 37200),
        ("10", 36000),
        ("10:20:30", 37230),
        ("2460", None),
        ("", None),
        ("now", None),
    ],
)
def test_time_of_day(text, seconds):
    assert clock.second_of(text) == seconds


def test_moment():
    late = clock.moment_of("20250102000001.25+0100")
    assert late.second - clock.moment_of("20250101235959").second == pytest.approx(2.25) and late.zone == 3600
    assert clock.moment_of("20251302000000") is None and clock.moment_of("20250102") is None


@pytest.mark.skipif(not SMALL.is_dir(), reason="the small DICOM files are not here")
@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("pynemaiqpet_pt_without_rpis", "E_PET_UNITS_MISSING"),
        ("ge_propcps_jpeg_lossless.dcm", "E_PET_UNITS"),
        ("rt_utils_ct_rtstruct", "E_PET_MODALITY"),
        ("dcmqi_ct_seg", "E_PET_MODALITY"),
    ],
)
def test_real_refusals(name, code):
    assert refused(SMALL / name) == code


def test_a_strange_patients_slice_among_the_files_is_refused(tmp_path):
    """One file of another patient, from another series: not to be passed over in silence."""
    write(tmp_path / "pet", {"PatientID": "ONE"})
    write(tmp_path / "pet/copied", {"PatientID": "TWO", "SeriesInstanceUID": "1.2.9"}, slices=1)
    with pytest.raises(DataError, match="2 patients, by PatientID") as caught:
        convert_source(tmp_path / "pet")
    assert caught.value.code == "E_PET_MIXED_PATIENTS"


@pytest.mark.parametrize("element", ["PatientWeight", "AcquisitionTime", "DecayFactor", "RescaleIntercept"])
def test_two_copies_that_tell_two_things(tmp_path, element):
    """Which of the two were read would hang on the names of the files."""
    write(tmp_path)
    save(pixels(make(0, {element: "105900"}), stored(0)), tmp_path / "000.dcm")
    assert refused(tmp_path) == "E_PET_DUPLICATE_IDENTITY"


def test_a_series_uid_for_every_slice(tmp_path):
    """An anonymiser made a new one for each file: said in one sentence, in convert and in inspect, PET and CT."""
    each = {"SeriesInstanceUID": lambda i: f"1.2.{900 - i}.5"}
    write(tmp_path / "pet", each, slices=40)
    found = inspect(tmp_path)
    shutil.copy(tmp_path / "pet/899.dcm", tmp_path / "pet/copy.dcm")
    assert len(found["series"]) == 1 and found["series"][0]["images"] == 40
    assert "SeriesInstanceUID of its own" in found["series"][0]["why"]
    with pytest.raises(DataError, match="Each of the 40 PET images has a SeriesInstanceUID") as caught:
        convert_source(tmp_path)
    assert caught.value.code == "E_PET_SPLIT_SERIES" and len(str(caught.value)) < 500
    assert found["refusal"].startswith("E_PET_SPLIT_SERIES: ")
    with pytest.raises(DataError):
        check_source(tmp_path)
    ct = {"Modality": "CT", "SOPClassUID": CT_CLASS, "Units": None, "SeriesInstanceUID": lambda i: f"1.3.{i}"}
    write(tmp_path / "ct", ct, slices=5)
    with pytest.raises(DataError) as caught:
        choose(tmp_path / "ct", tmp_path / "pet")
    assert caught.value.code == "E_CT_SPLIT_SERIES"
    assert [row["images"] for row in inspect(tmp_path)["series"]] == [5, 40]


def test_single_images_that_are_no_volume_stay_single(tmp_path):
    """A series and three of its slices far apart, each captured as a series: the series is taken."""
    write(tmp_path / "pet", GML)
    far = {
        **GML,
        "ImagePositionPatient": lambda i: [0.0, 0.0, 200.0 * i],
        "SeriesInstanceUID": lambda i: f"1.3.{i}",
    }
    write(tmp_path / "scouts", far, slices=3)
    assert volume(tmp_path).shape == (4, 16, 16) and len(inspect(tmp_path)["series"]) == 4


def test_the_first_file_decides_nothing(tmp_path):
    """One slice of two that is marked as derived, or not as corrected, wherever its name puts it."""
    for number, names in enumerate(([0, 1, 2, 3], [3, 2, 1, 0])):
        folder = tmp_path / str(number)
        write(folder / "original", GML)
        for index, name in enumerate(names):
            kind = ["DERIVED" if index == 3 else "ORIGINAL", "PRIMARY"]
            data = make(index, {**GML, "ImageType": kind}, series="9.9")
            save(pixels(data, stored(index)), folder / "mixed" / f"{name}.dcm")
        assert volume(folder).shape == (4, 16, 16)
        assert [row["verdict"] for row in inspect(folder)["series"]] == ["taken", "left out"]
