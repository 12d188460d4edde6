"""Every rule from header to SUV, against formulas written out here."""

import math

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_series import F18, SHARED_DATA, stored, write

from promet.core.errors import DataError
from promet.imaging.convert import convert_source

LAMBDA = math.log(2) / 6586.2
FRAME = 300.0
PLAIN = 80e3 / (3e8 * math.exp(-LAMBDA * 3600))  # weight in g over the dose after one hour
GROWTH = LAMBDA * FRAME / (1 - math.exp(-LAMBDA * FRAME))
MIDDLE = math.log(GROWTH) / LAMBDA  # moment of mean activity of a frame


def factors(folder, changes=None, **rest):
    """SUV per stored value of every slice."""
    result = convert_source(write(folder, changes, **rest))
    volume = sitk.GetArrayFromImage(result.image)
    raw = np.stack([stored(i) for i in range(len(volume))]).astype(float)
    ratio = volume / raw
    np.testing.assert_allclose(ratio, ratio[:, :1, :1] * np.ones_like(ratio), rtol=1e-5)
    return ratio[:, 0, 0], result


def check(folder, expected, changes=None, **rest):
    found, result = factors(folder, changes, **rest)
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), rtol=1e-5)
    return result


GML, CM2 = {"Units": "GML"}, {"Units": "CM2ML", "SUVType": "BSA"}
COUNTS = {"Units": "CNTS", "DecayCorrection": "START"}
LATE = {"SeriesTime": "130000"}
GA68 = ("C-131A3", "SRT", "^68^Gallium")
PHILIPS = "Philips PET Private Group"


@pytest.mark.parametrize(
    ("expected", "changes", "rest"),
    [
        pytest.param(2 * PLAIN, {}, {}, id="plain"),
        pytest.param(
            np.array([1, 2, 3, 4]) * PLAIN, {"RescaleSlope": lambda i: i + 1.0}, {}, id="slope-per-slice"
        ),
        pytest.param(2 * PLAIN, {}, {"dose": {"RadionuclideTotalDose": 300.0}}, id="dose-in-MBq"),
        pytest.param(2 * PLAIN, {"PatientWeight": 80000.0}, {}, id="weight-in-g"),
        pytest.param(2 * PLAIN, {}, {"dose": {"RadiopharmaceuticalStartTime": None}}, id="only-datetime"),
        pytest.param(2 * PLAIN, {}, {"dose": {"RadiopharmaceuticalStartDateTime": None}}, id="only-time"),
        pytest.param(
            2 * PLAIN,
            {"SeriesTime": "001500", "AcquisitionTime": "001500"},
            {"dose": {"RadiopharmaceuticalStartDateTime": None, "RadiopharmaceuticalStartTime": "231500"}},
            id="over-midnight",
        ),
        pytest.param(
            2 * PLAIN,
            {"SeriesTime": "235900", "AcquisitionTime": "000500", "AcquisitionDate": None},
            {"dose": {"RadiopharmaceuticalStartDateTime": None, "RadiopharmaceuticalStartTime": "225900"}},
            id="acquired-over-midnight-without-date",
        ),
        pytest.param(
            2 * PLAIN,
            {},
            {"dose": {"RadiopharmaceuticalStartDateTime": "20190102100000"}},
            id="shifted-injection-date",
        ),
        pytest.param(
            2 * 80e3 / (3e8 * math.exp(-math.log(2) / 4057.7 * 3600)),
            {},
            {"dose": {"RadionuclideHalfLife": 4057.7}, "nuclide": GA68},
            id="gallium",
        ),
        pytest.param(2 * PLAIN, {}, {"dose": {"RadionuclideHalfLife": None}}, id="half-life-from-nuclide"),
        pytest.param(2 * PLAIN, {}, {"nuclide": None}, id="nuclide-not-named"),
        pytest.param(
            2 * PLAIN,
            {"AcquisitionTime": lambda i: f"11{4 * i:02d}00"},
            {},
            id="beds-do-not-move-the-reference",
        ),
        pytest.param(
            2 * 80e3 / 3e8,
            {"DecayCorrection": "ADMIN"},
            {"dose": {"RadiopharmaceuticalStartTime": None}},
            id="admin",
        ),
        pytest.param(
            [2 * 80e3 / 3e8 * GROWTH * math.exp(LAMBDA * (3600 + 240 * i)) for i in range(4)],
            {
                "DecayCorrection": "NONE",
                "CorrectedImage": ["ATTN"],
                "AcquisitionTime": lambda i: f"11{4 * i:02d}00",
            },
            {},
            id="not-decay-corrected",
        ),
        pytest.param(  # reference = 11:00 + middle - 150 s
            2 * 80e3 / (3e8 * math.exp(-LAMBDA * (3600 + MIDDLE - 150))),
            LATE,
            {},
            id="series-later-computed-back",
        ),
        pytest.param(  # beds: each one's own offset leads to the same start
            2 * 80e3 / (3e8 * math.exp(-LAMBDA * (3600 + MIDDLE - 150))),
            {
                **LATE,
                "AcquisitionTime": lambda i: f"11{4 * i:02d}00",
                "FrameReferenceTime": lambda i: 150000.0 + 240000 * i,
            },
            {},
            id="beds-computed-back",
        ),
        pytest.param(
            2 * 80e3 / (3e8 * math.exp(-LAMBDA * 1800)),
            LATE,
            {"private": [(0x0009, "GEMS_PETD_01", 0x0D, "DT", "20250102103000.00")]},
            id="series-later-GE",
        ),
        pytest.param(
            2 * 80e3 / (3e8 * math.exp(-LAMBDA * 1800)),
            LATE,
            {"private": [(0x0009, "GEMS_PETD_01", 0x0D, "DT", "20170305103000.00")]},
            id="GE-with-unshifted-date",
        ),
        pytest.param(2.0, GML, {}, id="gml"),
        pytest.param(
            2.0,
            {**GML, "PatientWeight": None},
            {"dose": {"RadionuclideTotalDose": None}},
            id="gml-needs-no-dose",
        ),
        # 80 kg, 180 cm, the formulas of the manual written out
        pytest.param(
            2 * 80 / (88 - 128 * (80 / 180) ** 2), {**GML, "SUVType": "LBMJAMES128"}, {}, id="james"
        ),
        pytest.param(2 * 80 / (88 - 120 * (80 / 180) ** 2), {**GML, "SUVType": "LBM"}, {}, id="morgan"),
        pytest.param(
            2 * 80 / (9270 * 80 / (8780 + 244 * 80 / 1.8**2)),
            {**GML, "SUVType": "LBMJANMA", "PatientSex": "F"},
            {},
            id="janmahasatian",
        ),
        pytest.param(
            2 * 80 / ((77.68 + 70.98) / 2), {**GML, "SUVType": "IBW", "PatientSex": "O"}, {}, id="ideal-other"
        ),
        pytest.param(
            2 * 80e3 / (1.99642 * 1e4), CM2, {}, id="body-surface"
        ),  # Du Bois 80 kg, 180 cm: 1.99642 m2
        pytest.param(
            2 * 0.0125, COUNTS, {"private": [(0x7053, PHILIPS, 0x00, "DS", "0.0125")]}, id="philips-suv"
        ),
        pytest.param(
            2 * 0.0125,
            COUNTS,
            {"private": [(0x7053, None, 0x00, "DS", "0.0125")]},
            id="philips-without-creator",
        ),
        pytest.param(
            2 * 7.5 * PLAIN,
            COUNTS,
            {"private": [(0x7053, PHILIPS, 0x00, "DS", "0.0"), (0x7053, PHILIPS, 0x09, "DS", "7.5")]},
            id="philips-activity",
        ),
    ],
)
def test_rule(tmp_path, expected, changes, rest):
    check(tmp_path, expected, changes, **rest)


@pytest.mark.parametrize(
    ("code", "changes", "rest"),
    [
        ("E_PET_UNITS", {"Units": None}, {}),
        ("E_PET_UNITS", {"Units": "PROPCPS"}, {}),
        ("E_PET_UNITS", {"Units": "CPS"}, {}),
        ("E_PET_UNITS", {"Units": "CNTS"}, {}),
        ("E_PET_UNITS", {"Units": "CNTS"}, {"private": [(0x7053, PHILIPS, 0x00, "DS", "0.0")]}),
        ("E_PET_UNITS", {**GML, "SUVType": "XYZ"}, {}),
        ("E_PET_UNITS", {**GML, "SUVType": "IBW", "PatientSex": None}, {}),
        ("E_PET_HEIGHT", {**GML, "SUVType": "IBW", "PatientSize": None}, {}),
        ("E_PET_ATTENUATION", {"CorrectedImage": ["NORM", "DECY"]}, {}),
        ("E_PET_ATTENUATION", {"CorrectedImage": None}, {}),
        ("E_PET_DECAY", {"DecayCorrection": None}, {}),
        ("E_PET_DECAY", {"DecayCorrection": "LATER"}, {}),
        ("E_PET_DECAY", {"CorrectedImage": ["ATTN"]}, {}),
        ("E_PET_RESCALE", {"RescaleSlope": None}, {}),
        ("E_PET_RESCALE", {"RescaleSlope": 0.0}, {}),
        ("E_PET_RESCALE", {"RescaleIntercept": -10.0}, {}),
        ("E_PET_WEIGHT", {"PatientWeight": None}, {}),
        ("E_PET_WEIGHT", {"PatientWeight": 0.0}, {}),
        ("E_PET_WEIGHT", {"PatientWeight": 1.8}, {}),
        ("E_PET_DOSE", {}, {"dose": {"RadionuclideTotalDose": None}}),
        ("E_PET_DOSE", {}, {"dose": {"RadionuclideTotalDose": 0.0}}),
        ("E_PET_DOSE", {}, {"dose": {"RadionuclideTotalDose": 9.9}}),
        ("E_PET_DOSE", {}, {"dose": {"RadionuclideTotalDose": 3e5}}),
        ("E_PET_NUCLIDE", {}, {"dose": {"RadionuclideHalfLife": 4057.7}}),
        ("E_PET_NUCLIDE", {}, {"dose": {"RadionuclideHalfLife": 109.77}, "nuclide": None}),
        ("E_PET_NUCLIDE", {}, {"dose": {"RadionuclideHalfLife": None}, "nuclide": None}),
        (
            "E_PET_TIME",
            {},
            {"dose": {"RadiopharmaceuticalStartDateTime": None, "RadiopharmaceuticalStartTime": None}},
        ),
        ("E_PET_TIME", {}, {"dose": {"RadiopharmaceuticalStartTime": "093000"}}),
        (
            "E_PET_TIME",
            {},
            {"dose": {"RadiopharmaceuticalStartTime": "113000", "RadiopharmaceuticalStartDateTime": None}},
        ),
        ("E_PET_TIME", {"AcquisitionTime": None}, {}),
        ("E_PET_TIME", {**LATE, "FrameReferenceTime": None}, {}),
        ("E_PET_TIME", {**LATE, "FrameReferenceTime": lambda i: 150000.0 + 240000 * i}, {}),
        ("E_PET_TIME", {"DecayCorrection": "NONE", "ActualFrameDuration": None}, {}),
        ("E_PET_MIXED", {"Units": lambda i: "GML" if i == 2 else "BQML"}, {}),
        ("E_PET_MIXED", {"PatientWeight": lambda i: 80.0 + i}, {}),
        ("E_PET_MIXED", {"PatientID": lambda i: f"PHANTOM{i}"}, {}),
    ],
)
def test_refused(tmp_path, code, changes, rest):
    with pytest.raises(DataError) as caught:
        convert_source(write(tmp_path, changes, **rest))
    assert caught.value.code == code


def test_warnings_say_what_was_assumed(tmp_path):
    result = check(
        tmp_path, 2 * PLAIN, {"PatientWeight": 80000.0}, dose={"RadionuclideTotalDose": 300.0}, nuclide=F18
    )
    assert any("grams" in w for w in result.warnings) and any("MBq" in w for w in result.warnings)
    assert result.audit["uptake_s"] == 3600 and result.audit["weight_kg"] == 80


@pytest.mark.parametrize("name", ["DRO_0_0", "DRO_5_0"])
def test_reference_object(name):
    folder = SHARED_DATA / "suv_reference_objects" / name
    if not folder.is_dir():
        pytest.skip("the SUV reference objects are not here")
    values = sitk.GetArrayFromImage(convert_source(folder).image)
    inside = values[values > 0.05]
    assert (round(inside.min(), 2), round(float(np.median(inside)), 2), round(inside.max(), 2)) == (
        0.20,
        1.00,
        4.00,
    )
