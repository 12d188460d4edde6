"""Enhanced PET: maps of stored values to units by their range, and which of several injections an image shows."""

import copy
from itertools import pairwise

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_series import DOSE, code, enhanced, make, save, sequence, stored, value_map, write
from pydicom.sequence import Sequence
from pydicom.uid import ImplicitVRLittleEndian

from promet.core.errors import DataError
from promet.imaging.convert import check_source, convert_source
from promet.imaging.dicom import maps, suv
from promet.imaging.dicom.files import Header

PER_BQ = 80e3 / (3e8 * 2 ** (-3600 / 6586.2))
VALUES = np.stack([stored(i) for i in (3, 2, 1, 0)]).astype(float)  # 1000 to 4255


def volume(data, path):
    path = save(data, path / "enhanced.dcm")
    check_source(path)
    return sitk.GetArrayFromImage(convert_source(path).image)


def refused(data, path):
    with pytest.raises(DataError) as caught:
        volume(data, path)
    return caught.value.code


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("Bq/ml", PER_BQ), ("Bq/mL", PER_BQ), ("BQML", PER_BQ), ("Bq/cm3", PER_BQ), ("Bq/cc", PER_BQ), ("[Bq]/mL", PER_BQ), ("Bq.ml-1", PER_BQ),
        ("kBq/ml", 1e3 * PER_BQ), ("kBq/mL", 1e3 * PER_BQ), ("kBq / ml", 1e3 * PER_BQ), ("KBQML", 1e3 * PER_BQ),
        ("MBq/ml", 1e6 * PER_BQ), ("MBq/mL", 1e6 * PER_BQ), ("kilobecquerel/milliliter", 1e3 * PER_BQ),
        ("Becquerels per milliliter", PER_BQ),
        ("{SUVbw}g/ml", 1.0), ("g/ml{SUVbw}", 1.0), ("{SUVbw}g/mL", 1.0), ("g/mL", 1.0), ("GML", 1.0), ("{SUV}g/ml", 1.0),
        ("{SUVlbm(James128)}g/ml", 80 / (88 - 128 * (80 / 180) ** 2)),  # the formulas of the manual, 80 kg and 180 cm
        ("{SUVlbm}g/ml", 80 / (88 - 120 * (80 / 180) ** 2)),
        ("{SUVibw}g/ml", 80 / (48 + 1.06 * 28)),
        ("{SUVbsa}cm2/ml", 80e3 / (0.007184 * 180**0.725 * 80**0.425 * 1e4)),
    ],
)  # fmt: skip
def test_unit(tmp_path, unit, factor):
    slope = 0.0005 / factor
    np.testing.assert_allclose(
        volume(enhanced([value_map(unit, slope)]), tmp_path), VALUES * 0.0005, rtol=1e-5
    )


@pytest.mark.parametrize(
    "unit", ["1", "{counts}/s", "mBq/ml", "uCi/ml", "Bq", "g", "ml", "{SUVother}g/ml", "Bq/l", "PROPCPS"]
)
def test_no_unit_of_which_suv_is_made(tmp_path, unit):
    data = enhanced([value_map(unit, 1.0)])
    assert refused(data, tmp_path) == "E_PET_MAP_UNITS"
    assert refused(enhanced([value_map("Bq/ml", None)]), tmp_path) == "E_PET_MAP_TABLE"
    assert refused(enhanced([]), tmp_path) == "E_PET_UNITS_MISSING"


def test_maps_by_their_range(tmp_path):
    """The second slope begins at 2000; the standard: value = slope * stored + intercept of the map that holds the stored value."""
    two = [value_map("Bq/ml", 2.0, 0, 1999), value_map("Bq/ml", 4.0, 2000, 9999, -1000.0)]
    expected = np.where(VALUES < 2000, 2 * VALUES, 4 * VALUES - 1000) * PER_BQ
    for order in (two, two[::-1], [*two, copy.deepcopy(two[0])], [value_map("g/ml", 7.0), *two]):
        np.testing.assert_allclose(volume(enhanced(order), tmp_path), expected, rtol=1e-5)
    mixed = [value_map("kBq/ml", 0.002, 0, 1999), two[0], two[1]]  # the first two are one
    np.testing.assert_allclose(volume(enhanced(mixed), tmp_path), expected, rtol=1e-5)


def test_ranges_survive_implicit_representation(tmp_path):
    data = enhanced([value_map("Bq/ml", 2.0, 0, 1999), value_map("Bq/ml", 4.0, 2000, 9999)])
    path = save(data, tmp_path / "enhanced.dcm")
    data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    data.save_as(path, implicit_vr=True, little_endian=True)
    expected = np.where(VALUES < 2000, 2 * VALUES, 4 * VALUES) * PER_BQ
    np.testing.assert_allclose(sitk.GetArrayFromImage(convert_source(path).image), expected, rtol=1e-5)


def test_a_map_per_frame(tmp_path):
    data = enhanced([])
    del data.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence
    for index, each in enumerate(data.PerFrameFunctionalGroupsSequence):
        each.RealWorldValueMappingSequence = Sequence([value_map("Bq/ml", 1.0 + index, 0, 9999)])
    slopes = np.array([4.0, 3.0, 2.0, 1.0])[:, None, None]
    np.testing.assert_allclose(volume(data, tmp_path), VALUES * slopes * PER_BQ, rtol=1e-5)


@pytest.mark.parametrize(
    ("code", "ranges"),
    [
        ("E_PET_MAP_RANGES", [(0, 2000), (2000, 9999)]),
        ("E_PET_MAP_RANGES", [(0, 1999), (2001, 9999)]),
        ("E_PET_MAP_RANGES", [(0, 9999), (0, 9999)]),
        ("E_PET_MAP_RANGES", [(None, None), (0, 1999)]),
        ("E_PET_MAP_RANGES", [(0, None), (2000, 9999)]),
        ("E_PET_MAP_GAP", [(0, 1999), (2000, 4000)]),
        ("E_PET_MAP_GAP", [(1001, 9999)]),
        ("E_PET_MAP_GAP", [(0, 4254)]),
    ],
)
def test_ranges_that_leave_or_double_a_value(tmp_path, code, ranges):
    each = [value_map("Bq/ml", 1.0 + place, *ends) for place, ends in enumerate(ranges)]
    path = save(enhanced(each), tmp_path / "enhanced.dcm")
    with pytest.raises(DataError) as caught:
        convert_source(path)
    assert caught.value.code == code
    with pytest.raises(DataError, match=str(caught.value.found)[:40]):
        check_source(path)


def test_random_maps_against_one_value_at_a_time():
    random = np.random.default_rng(1)
    for _ in range(30):
        cuts = np.sort(random.choice(np.arange(-200, 200), 5, replace=False))
        pieces = [maps.Piece(first, last - 1, *random.uniform(0.1, 3, 2)) for first, last in pairwise(cuts)]
        values = random.integers(cuts[0], cuts[-1], (4, 6)).astype(np.int16)
        told = np.array([
            next(p.slope * v + p.intercept for p in pieces if p.first <= v <= p.last) for v in values.ravel().tolist()
        ]).reshape(values.shape)  # fmt: skip
        np.testing.assert_allclose(maps.apply(values, tuple(pieces)) * pieces[0].slope, told, rtol=1e-12)


def agents(data, *doses, used=None):
    """Several radiopharmaceuticals, numbered from 1."""
    items = []
    for number, changes in enumerate(doses, 1):
        item = copy.deepcopy(data.RadiopharmaceuticalInformationSequence[0])
        item.RadiopharmaceuticalAgentNumber = number
        for keyword, value in changes.items():
            setattr(item, keyword, value)
        items.append(item)
    data.RadiopharmaceuticalInformationSequence = Sequence(items)
    if used is not None:
        several = Sequence([sequence(RadiopharmaceuticalAgentNumber=number)[0] for number in used])
        data.SharedFunctionalGroupsSequence[0].RadiopharmaceuticalUsageSequence = several
    return data


OTHER = {
    "RadionuclideTotalDose": 1e8, "RadionuclideHalfLife": 4062.6, "RadiopharmaceuticalStartDateTime": "20250102093000",
    "RadiopharmaceuticalStartTime": "093000", "RadionuclideCodeSequence": Sequence([code("C-131A3", "SRT", "^68^Gallium")]),
}  # fmt: skip
PER_OTHER = 80e3 / (1e8 * 2 ** (-5400 / 4062.6))


def test_the_agent_that_is_named(tmp_path):
    plain = [value_map("Bq/ml", 1.0)]
    for used, factor in ((1, PER_BQ), (2, PER_OTHER)):
        for doses in (({}, OTHER), ({}, OTHER, {"RadionuclideTotalDose": 2e8})):
            data = agents(enhanced(plain), *doses, used=[used])
            np.testing.assert_allclose(volume(data, tmp_path), VALUES * factor, rtol=1e-5)
    assert refused(agents(enhanced(plain), {}, OTHER, used=[3]), tmp_path) == "E_PET_AGENT"
    assert refused(agents(enhanced(plain), {}, OTHER, used=[1, 2]), tmp_path) == "E_PET_TWO_INJECTIONS"
    assert refused(agents(enhanced(plain), {}, OTHER), tmp_path) == "E_PET_TWO_INJECTIONS"
    np.testing.assert_allclose(
        volume(agents(enhanced(plain), {}, {}, used=[1, 2]), tmp_path), VALUES * PER_BQ, rtol=1e-5
    )


def test_agents_named_per_frame_that_differ(tmp_path):
    data = agents(enhanced([value_map("Bq/ml", 1.0)]), {}, OTHER)
    for index, each in enumerate(data.PerFrameFunctionalGroupsSequence):
        each.RadiopharmaceuticalUsageSequence = sequence(RadiopharmaceuticalAgentNumber=1 + index % 2)
    assert refused(data, tmp_path) == "E_PET_MIXED_HEADERS"


DIFFERENT = [
    {"RadionuclideTotalDose": 1e8}, {"RadionuclideHalfLife": 6588.0}, {"RadiopharmaceuticalStartTime": "093000"},
    {"RadiopharmaceuticalStartDateTime": "20250102093000"}, {"Radiopharmaceutical": "Other"},
    {"RadionuclideCodeSequence": Sequence([code("C-131A3", "SRT", "^68^Gallium")])},
]  # fmt: skip


def slices(*items):
    made = []
    for index in range(3):
        data = make(index, {"Rows": 16, "Columns": 16, "RescaleSlope": 1.0})
        first = data.RadiopharmaceuticalInformationSequence[0]
        more = []
        for changes in items:
            more.append(copy.deepcopy(first))
            for keyword, value in changes.items():
                setattr(more[-1], keyword, value)
        data.RadiopharmaceuticalInformationSequence = Sequence([first, *more])
        made.append(Header(data))
    return made


@pytest.mark.parametrize("changes", DIFFERENT)
def test_two_injections_that_differ(changes):
    with pytest.raises(DataError) as caught:
        suv.factors(slices(changes))
    assert caught.value.code == "E_PET_TWO_INJECTIONS"


def test_one_injection_written_twice():
    same = {
        "RadiopharmaceuticalStartTime": "100000.000000",
        "RadiopharmaceuticalStartDateTime": "20250102100000.00",
    }
    empty = dict.fromkeys([*DOSE, "RadionuclideCodeSequence"])
    for items in ((), ({},), (same, {}), (empty,)):
        np.testing.assert_allclose(suv.factors(slices(*items)).slopes, PER_BQ)


def test_values_in_suv_need_no_injection(tmp_path):
    """Two injections do not matter where the values are SUV already."""
    folder = write(tmp_path, {"Units": "GML", "RescaleSlope": 0.001})
    assert convert_source(folder).audit["rule"]
    made = slices(DIFFERENT[0])
    for header in made:
        header.layers[0].Units = "GML"
    np.testing.assert_allclose(suv.factors(made).slopes, 1.0)


def test_frames_with_times_of_their_own_in_any_order(tmp_path):
    """A converted multi-frame file: one acquisition time, FrameReferenceTime grows by bed, the groups lie in any order."""
    found = []
    for seed in range(4):
        data = enhanced([value_map("Bq/ml", 1.0)], {"DecayCorrectionDateTime": None, "SeriesTime": "110000"})
        data.DecayCorrection = "START"
        order = np.random.default_rng(seed).permutation(4)
        for place, index in enumerate(order.tolist()):
            group = data.PerFrameFunctionalGroupsSequence[place]
            group.PlanePositionSequence = sequence(ImagePositionPatient=[-20.0, -30.0, 100.0 + 5 * index])
            group.FrameContentSequence = sequence(
                FrameAcquisitionDateTime="20250102110000", FrameAcquisitionDuration=240000.0
            )
            group.UnassignedPerFrameConvertedAttributesSequence = sequence(
                FrameReferenceTime=1000.0 * 900 * index
            )
        data.PixelData = np.stack([stored(index) for index in order]).tobytes()
        found.append(volume(data, tmp_path))
    np.testing.assert_allclose(found[0], np.stack([stored(i) for i in range(4)]) * PER_BQ, rtol=1e-5)
    for each in found[1:]:
        np.testing.assert_array_equal(each, found[0])
