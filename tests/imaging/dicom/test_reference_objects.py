"""The seventeen digital reference objects for SUV, built anew from their description, and a whole-body series of nine beds.

Vácha et al., Comprehensive Manual for SUV Computation (github.com/oncoray/suv_computation, CC BY 4.0): every object shows
SUVbw 0.20 in a cold sphere, 1.00 around it and 4.00 in a hot one; each holds one trap.
"""

import math

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_series import write

from promet.imaging.convert import convert_source

SLICES, WEIGHT, HEIGHT, DOSE = 20, 70.0, 1.75, 368.08e6
F18, GA68 = 6586.2, 4057.7
FRAME = 300.0  # s
HOUR = 3600.0
PLAIN = {
    "PatientWeight": WEIGHT, "PatientSize": HEIGHT, "PatientSex": "O", "SeriesDate": "20250101",
    "AcquisitionDate": "20250101", "SeriesTime": "110000.000000", "AcquisitionTime": "110000.000000",
    "ActualFrameDuration": 300000, "FrameReferenceTime": 150000.0, "PixelSpacing": [4.0, 4.0], "DecayFactor": 1.0,
}  # fmt: skip
INJECTED = {
    "RadiopharmaceuticalStartTime": "100000.000000",
    "RadiopharmaceuticalStartDateTime": "20250101100000.000000",
    "RadionuclideTotalDose": DOSE,
    "RadionuclideHalfLife": F18,
}


def phantom(index):
    """SUV of a slice: 0 outside, 1 in the body, spheres of 0.2 and 4."""
    y, x = np.mgrid[:32, :32]

    def ball(cx, cy, radius):
        return (x - cx) ** 2 + (y - cy) ** 2 + (index - 9.5) ** 2 <= radius**2

    suv = np.where((x - 15.5) ** 2 + (y - 15.5) ** 2 <= 14**2, 1.0, 0.0)
    return np.where(ball(9, 15, 4), 0.2, np.where(ball(22, 15, 4), 4.0, suv))


def decayed(seconds, life=F18):
    """SUV per Bq/ml when the values are corrected to a moment ``seconds`` after the injection."""
    return WEIGHT * 1000 / (DOSE * 2 ** (-seconds / life))


def mean_time(life=F18):
    """When, within a frame, the activity is its mean."""
    k = math.log(2) / life
    return math.log(k * FRAME / (1 - math.exp(-k * FRAME))) / k


def late(index):
    """Acquisition of the bed of a slice, s after 11:00; the first bed of the scan is not in the series."""
    return 130.0 + 300.0 * (index // 5)


def clock(seconds):
    return f"{11 + int(seconds) // 3600:02d}{int(seconds) // 60 % 60:02d}{seconds % 60:09.6f}"


PHILIPS = "Philips PET Private Group"
JAMES = (1.10 * 70 - 128 * (70 / 175) ** 2, 1.07 * 70 - 148 * (70 / 175) ** 2)
IDEAL = (48.0 + 1.06 * 23, 45.5 + 0.91 * 23)
SURFACE = 0.007184 * 175**0.725 * 70**0.425
# name -> (SUV per unit of the image: number or function of the slice, changes, the rest, slope)
OBJECTS = {
    "0_0": (decayed(HOUR), {}, {}, 1.0),
    "1_0": (decayed(HOUR), {}, {}, lambda i: 1.0 + 0.37 * i),
    "2_0": (1.0, {"Units": "GML"}, {}, 0.0005),
    "2_1_1": (70 / JAMES[0], {"Units": "GML", "SUVType": "LBMJAMES128", "PatientSex": "M"}, {}, 0.0005),
    "2_1_2": (70 / (sum(IDEAL) / 2), {"Units": "GML", "SUVType": "IBW"}, {}, 0.0005),
    "2_2": (70e3 / (SURFACE * 1e4), {"Units": "CM2ML", "SUVType": "BSA"}, {}, 0.0002),
    "2_3": (0.000247, {"Units": "CNTS"}, {"private": [(0x7053, PHILIPS, 0x00, "DS", "0.000247")]}, 1.0),
    "2_4": (
        1.61 * decayed(HOUR),
        {"Units": "CNTS"},
        {"private": [(0x7053, PHILIPS, 0x09, "DS", "1.61")]},
        1.0,
    ),
    "3_0": (decayed(HOUR), {}, {"dose": {"RadionuclideTotalDose": 368.08}}, 1.0),
    "3_1": (WEIGHT * 1000 / DOSE, {"DecayCorrection": "ADMIN"}, {}, 1.0),
    "3_2": (
        decayed(HOUR),
        {
            "SeriesTime": "120000.000000",
            "AcquisitionTime": lambda i: clock(late(i)),
            "FrameReferenceTime": lambda i: 1000 * (late(i) + mean_time()),
        },
        {},
        1.0,
    ),
    "3_3": (
        decayed(HOUR / 2),
        {"SeriesTime": "120000.000000"},
        {"private": [(0x0009, "GEMS_PETD_01", 0x0D, "DT", "20250101103000.000000")]},
        1.0,
    ),
    "3_3 with its SeriesTime": (
        decayed(HOUR / 2),
        {"SeriesTime": "103000.000000"},
        {"private": [(0x0009, "GEMS_PETD_01", 0x0D, "DT", "20250101103000.000000")]},
        1.0,
    ),
    "3_4": (
        lambda i: 70e3 / DOSE * 2 ** ((HOUR + late(i) + mean_time()) / F18),
        {
            "DecayCorrection": "NONE",
            "CorrectedImage": ["NORM", "DTIM", "ATTN", "SCAT", "RAN"],
            "AcquisitionTime": lambda i: clock(late(i)),
        },
        {},
        1.0,
    ),
    "4_0": (decayed(HOUR), {}, {"dose": {"RadiopharmaceuticalStartTime": None}}, 1.0),
    "4_1": (decayed(HOUR), {}, {"dose": {"RadiopharmaceuticalStartDateTime": None}}, 1.0),
    "4_2": (
        decayed(HOUR),
        {"SeriesTime": "003000.000000", "AcquisitionTime": "003000.000000"},
        {
            "dose": {
                "RadiopharmaceuticalStartTime": "233000.000000",
                "RadiopharmaceuticalStartDateTime": None,
            }
        },
        1.0,
    ),
    "5_0": (
        decayed(HOUR, GA68),
        {},
        {"dose": {"RadionuclideHalfLife": GA68}, "nuclide": ("C-131A1", "SRT", "^68^Gallium")},
        1.0,
    ),
}


def of(value, index):
    return value(index) if callable(value) else value


@pytest.mark.parametrize("name", OBJECTS)
def test_object(tmp_path, name):
    factor, changes, rest, slope = OBJECTS[name]
    slopes = [of(slope, i) for i in range(SLICES)]

    def values(index):
        return np.rint(phantom(index) / (of(factor, index) * slopes[index])).astype(np.int16)

    rest = {**rest, "dose": {**INJECTED, **rest.get("dose", {})}}
    changes = {**PLAIN, **changes, "RescaleSlope": lambda i: f"{slopes[i]:.10g}"}
    found = sitk.GetArrayFromImage(
        convert_source(write(tmp_path, changes, slices=SLICES, values=values, **rest)).image
    )
    expected = np.stack([phantom(i) for i in range(SLICES)])
    np.testing.assert_allclose(found, expected, atol=0.003)
    inside = found[expected > 0]
    assert (round(float(inside.min()), 2), round(float(np.median(inside)), 2), round(float(inside.max()), 2)) == (
        0.20, 1.00, 4.00,
    )  # fmt: skip


BEDS, PER_BED, STEP = 9, 5, 3.0
BED = 150.0  # s from bed to bed, of which it measures 120


@pytest.mark.parametrize("upwards", [True, False])
@pytest.mark.parametrize("shifted", [False, True])
def test_whole_body_of_nine_beds(tmp_path, upwards, shifted):
    """Each bed has its own time, decay factor and frame reference time; all values are of one moment, SeriesTime.

    ``shifted``: the maker's own date-time kept its date when the others were moved by a day.
    """
    k = math.log(2) / F18

    def bed(index):
        return index // PER_BED if upwards else BEDS - 1 - index // PER_BED

    mean = math.log(k * 120 / (1 - math.exp(-k * 120))) / k
    changes = {
        **PLAIN,
        "AcquisitionTime": lambda i: clock(BED * bed(i)),
        "ActualFrameDuration": 120000,
        "FrameReferenceTime": lambda i: 1000 * (BED * bed(i) + mean),
        "DecayFactor": lambda i: math.exp(k * (BED * bed(i) + mean)),
        "RescaleSlope": lambda i: f"{0.5 + 0.01 * i:.6f}",
        "ImagePositionPatient": lambda i: [-64.0, -64.0, 100 + STEP * i],
    }
    own = "20241231110000.000000" if shifted else "20250101110000.000000"
    result = convert_source(
        write(
            tmp_path,
            changes,
            slices=BEDS * PER_BED,
            values=lambda i: np.rint(
                np.full((8, 8), 1.0 + np.eye(8)) / (decayed(HOUR) * (0.5 + 0.01 * i))
            ).astype(np.int16),
            dose=INJECTED,
            private=[(0x0071, "SIEMENS MED PT", 0x22, "DT", own)],
        )
    )
    found = sitk.GetArrayFromImage(result.image)
    assert found.shape == (BEDS * PER_BED, 8, 8) and found.dtype == np.float32
    np.testing.assert_allclose(found, np.broadcast_to(1 + np.eye(8), found.shape), rtol=2e-3)
    assert result.audit["rescale_slopes"] == BEDS * PER_BED and result.audit["uptake_s"] == 3600
    assert not result.warnings
