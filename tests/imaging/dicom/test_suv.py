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
        pytest.param(  # only the dates disagree
            2 * PLAIN, {"SeriesDate": "20240930"}, {}, id="shifted-series-date"
        ),
        pytest.param(  # both wrong in time of day: what the frame says counts
            2 * 80e3 / (3e8 * math.exp(-LAMBDA * (3600 + MIDDLE - 150))),
            {"SeriesDate": "20240930", "SeriesTime": "080000"},
            {},
            id="series-moved-and-late",
        ),
        pytest.param(
            2 * PLAIN,
            {
                "SeriesTime": "235900",
                "AcquisitionTime": lambda i: ("235900", "000400", "000900", "001400")[i],
            },
            {"dose": {"RadiopharmaceuticalStartDateTime": None, "RadiopharmaceuticalStartTime": "225900"}},
            id="beds-over-midnight-with-one-date",
        ),
        pytest.param(
            2 * 80e3 / (3e8 * math.exp(-LAMBDA * 1800)),
            {"SeriesTime": "103000"},
            {"private": [(0x0009, "GEMS_PETD_01", 0x0D, "DT", "20250102103000.00")]},
            id="series-confirmed-by-GE",
        ),
        pytest.param(
            2 * 80e3 / (3e8 * math.exp(-LAMBDA * 1800)),
            {"SeriesTime": "103000", "DecayFactor": GROWTH * math.exp(LAMBDA * 1800)},
            {},
            id="series-confirmed-by-decay-factor",
        ),
        pytest.param(
            2 * 80e3 / (3e8 * math.exp(-math.log(2) / 45721 * 3600)),
            {},
            {"dose": {"RadionuclideHalfLife": 45721.0}, "nuclide": ("C-127A2", "SRT", "^64^Copper")},
            id="copper",
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
            0.2 * 80e3 / (1.99642 * 1e4), {**CM2, "RescaleSlope": 0.2}, {}, id="body-surface"
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
        ("E_PET_UNITS_MISSING", {"Units": None}, {}),
        ("E_PET_UNITS", {"Units": "PROPCPS"}, {}),
        ("E_PET_UNITS", {"Units": "CPS"}, {}),
        ("E_PET_COUNTS", {"Units": "CNTS"}, {}),
        ("E_PET_COUNTS", {"Units": "CNTS"}, {"private": [(0x7053, PHILIPS, 0x00, "DS", "0.0")]}),
        ("E_PET_SUV_TYPE", {**GML, "SUVType": "XYZ"}, {}),
        ("E_PET_SEX", {**GML, "SUVType": "IBW", "PatientSex": None}, {}),
        ("E_PET_HEIGHT", {**GML, "SUVType": "IBW", "PatientSize": None}, {}),
        ("E_PET_ATTENUATION", {"CorrectedImage": ["NORM", "DECY"]}, {}),
        ("E_PET_CORRECTIONS_MISSING", {"CorrectedImage": None}, {}),
        ("E_PET_DECAY", {"DecayCorrection": None}, {}),
        ("E_PET_DECAY", {"DecayCorrection": "LATER"}, {}),
        ("E_PET_DECAY_CONFLICT", {"CorrectedImage": ["ATTN"]}, {}),
        ("E_PET_SLOPE", {"RescaleSlope": None}, {}),
        ("E_PET_SLOPE", {"RescaleSlope": 0.0}, {}),
        ("E_PET_INTERCEPT", {"RescaleIntercept": -10.0}, {}),
        ("E_PET_WEIGHT", {"PatientWeight": None}, {}),
        ("E_PET_WEIGHT", {"PatientWeight": 0.0}, {}),
        ("E_PET_WEIGHT_RANGE", {"PatientWeight": 1.8}, {}),
        ("E_PET_DOSE", {}, {"dose": {"RadionuclideTotalDose": None}}),
        ("E_PET_DOSE", {}, {"dose": {"RadionuclideTotalDose": 0.0}}),
        ("E_PET_DOSE_UNIT", {}, {"dose": {"RadionuclideTotalDose": 9.9}}),
        ("E_PET_DOSE_UNIT", {}, {"dose": {"RadionuclideTotalDose": 25.0}}),  # mCi
        ("E_PET_DOSE_UNIT", {}, {"dose": {"RadionuclideTotalDose": 4000.0}}),  # uCi
        ("E_PET_DOSE_RANGE", {}, {"dose": {"RadionuclideTotalDose": 9.25e9}}),
        ("E_PET_DOSE_RANGE", {}, {"dose": {"RadionuclideTotalDose": 3e5}}),
        ("E_PET_HALF_LIFE", {}, {"dose": {"RadionuclideHalfLife": 4057.7}}),
        ("E_PET_HALF_LIFE_UNKNOWN", {}, {"dose": {"RadionuclideHalfLife": 109.77}, "nuclide": None}),
        ("E_PET_NUCLIDE", {}, {"dose": {"RadionuclideHalfLife": None}, "nuclide": None}),
        (
            "E_PET_INJECTION_TIME",
            {},
            {"dose": {"RadiopharmaceuticalStartDateTime": None, "RadiopharmaceuticalStartTime": None}},
        ),
        ("E_PET_INJECTION_CONFLICT", {}, {"dose": {"RadiopharmaceuticalStartTime": "093000"}}),
        (
            "E_PET_UPTAKE_TIME",
            {},
            {"dose": {"RadiopharmaceuticalStartTime": "113000", "RadiopharmaceuticalStartDateTime": None}},
        ),
        ("E_PET_ACQUISITION_TIME", {"AcquisitionTime": None}, {}),
        ("E_PET_SERIES_TIME", {**LATE, "FrameReferenceTime": None}, {}),
        ("E_PET_SLICES_DISAGREE", {**LATE, "AcquisitionTime": lambda i: f"11{4 * i:02d}00"}, {}),
        ("E_PET_FRAME_DURATION", {"DecayCorrection": "NONE", "ActualFrameDuration": None}, {}),
        (
            "E_PET_SCAN_START",
            {"SeriesTime": "103000"},
            {},
        ),  # half an hour before the scan, and nothing confirms it
        ("E_PET_TIME_SPAN", {"AcquisitionDate": lambda i: ("20250102", "20250104")[i % 2]}, {}),
        (
            "E_PET_UPTAKE_TIME",
            {"AcquisitionTime": lambda i: ("010000", "110000")[i % 2], "SeriesTime": "005900"},
            {},
        ),
        (
            "E_PET_INJECTION_DATE",
            {},
            {
                "dose": {"RadionuclideHalfLife": 282276.0, "RadiopharmaceuticalStartDateTime": None},
                "nuclide": ("C-168A4", "SRT", "^89^Zirconium"),
            },
        ),
        ("E_PET_MIXED_CORRECTIONS", {"CorrectedImage": lambda i: ["ATTN", "DECY"] if i else ["DECY"]}, {}),
        ("E_PET_MIXED_HEADERS", {"Units": lambda i: "GML" if i == 2 else "BQML"}, {}),
        ("E_PET_MIXED_HEADERS", {"PatientWeight": lambda i: 80.0 + i}, {}),
        ("E_PET_MIXED_PATIENTS", {"PatientID": lambda i: f"PHANTOM{i}"}, {}),
    ],
)
def test_refused(tmp_path, code, changes, rest):
    with pytest.raises(DataError) as caught:
        convert_source(write(tmp_path, changes, **rest))
    assert caught.value.code == code


def test_refusals_name_the_tag_and_the_reason(tmp_path):
    with pytest.raises(DataError) as caught:
        convert_source(write(tmp_path, {"Units": "PROPCPS"}))
    assert "Units (0054,1001) is PROPCPS" in str(caught.value)


def test_audit_names_every_element_used(tmp_path):
    """Rule, each element with its value, factor: enough to compute one voxel by hand."""
    result = convert_source(write(tmp_path, {"RescaleSlope": lambda i: i + 0.5}))
    tags = result.audit["tags"]
    assert tags["Units"] == "BQML" and tags["DecayCorrection"] == "START" and "ATTN" in tags["CorrectedImage"]
    assert tags["RescaleSlope"] == [0.5, 3.5] and tags["SUVType"] is None
    by_hand = tags["PatientWeight"] * 1000 / tags["RadionuclideTotalDose"]
    by_hand *= 2 ** (result.audit["uptake_s"] / tags["RadionuclideHalfLife"])
    assert result.audit["factor_max"] == pytest.approx(by_hand * 3.5)


def test_fractions_survive_a_first_slope_of_one(tmp_path):
    """Readers that take the type of the volume from the first slice drop the fraction of the others."""
    result = convert_source(write(tmp_path, {**GML, "RescaleSlope": lambda i: (1.0, 0.37, 0.25, 0.5)[i]}))
    values = sitk.GetArrayFromImage(result.image)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values[1], stored(1) * np.float32(0.37), rtol=1e-6)


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
