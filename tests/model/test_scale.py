"""Inputs on another scale: what the surroundings of the prostate tell, how sure, and how often a right PET is called wrong."""

import json
import math

import numpy as np
import pytest
import SimpleITK as sitk
from bench import inputs
from scipy.stats import t

from promet.core.errors import DataError, UsageError
from promet.imaging.convert import convert_source
from promet.model import clinical, scale
from promet.model.opened import load
from promet.model.predict import predict

# A distribution as wide as in patients of one scanner, not as narrow as in phantoms.
WIDE = {"n": 34, "mean": math.log(0.3), "sd": 0.3, "log": True}


def test_false_alarms_are_as_rare_as_the_intervals_say():
    """Fitted and new patients of one lognormal distribution: at most one in a hundred is told, nobody is refused."""
    rng = np.random.default_rng(1)
    told = refused = 0
    for _ in range(300):
        values = rng.normal(math.log(0.3), 0.3, 12 + 10)
        fit = values[:12]
        entry = {"n": 12, "mean": fit.mean(), "sd": fit.std(ddof=1), "log": True}
        for value in np.exp(values[12:]):
            outside, factor, least = scale.beyond(value, entry, scale.TOLD)
            told += outside
            refused += scale.beyond(value, entry, scale.REFUSED)[0] and not 1 / 3 < factor < 3
            assert outside == (max(factor, 1 / factor) > least)
    assert 0.003 < told / 3000 < 0.02 and refused <= 1


def test_the_interval_is_that_of_a_new_patient():
    """Against the textbook: mean +- t(0.995, n - 1) s sqrt(1 + 1/n)."""
    reach = t.ppf(0.995, 33) * 0.3 * math.sqrt(1 + 1 / 34)
    for sign in (-1, 1):
        for inside, apart in ((True, 0.999), (False, 1.001)):
            value = math.exp(WIDE["mean"] + sign * apart * reach)
            assert scale.beyond(value, WIDE, 0.01)[0] != inside
    assert scale.beyond(None, WIDE, 0.01)[0] is False and scale.beyond(1.0, None, 0.01)[0] is False


@pytest.mark.parametrize(
    ("factor", "refused"), [(10, True), (0.1, True), (100, True), (1e-3, True), (1, False), (0.75, False)]
)
def test_what_a_wide_distribution_can_tell(factor, refused):
    found = {
        "around_suv": 0.3 * factor,
        "lesion_contrast": 3.0,
        "negative_share": 0.0,
        "blood_suv_mean": None,
    }
    found["reference_suv_mean"] = None
    training = {"around_suv": WIDE}
    if refused:
        with pytest.raises(DataError) as error:
            scale.judge(found, training, True)
        assert error.value.code == "E_PET_SCALE" and "times the mean" in str(error.value)
    else:
        (sentence,) = scale.judge(found, training, True)
        assert "usual" in sentence and "lean body mass (about 0.75) would not" in sentence


def volume(study, tmp_path, change):
    """pro001's PET as a volume, its values changed."""
    image = convert_source(study.files("pro001")["pet"]).image
    changed = sitk.GetImageFromArray(change(sitk.GetArrayFromImage(image)).astype(np.float32))
    changed.CopyInformation(image)
    sitk.WriteImage(changed, str(tmp_path / "pet.nii.gz"))
    return study.files("pro001") | {"pet": tmp_path / "pet.nii.gz"}


@pytest.mark.parametrize("factor", [10.0, 0.1])
def test_ten_times_too_high_or_too_low_is_refused(model, study, tmp_path, factor):
    with pytest.raises(DataError) as error:
        predict(load(model), volume(study, tmp_path, lambda suv: suv * factor), {})
    assert error.value.code == "E_PET_SCALE" and "a factor of ten?" in str(error.value)


def test_a_right_volume_says_what_would_have_shown(model, study, tmp_path):
    answer = predict(load(model), volume(study, tmp_path, lambda suv: suv), {})
    assert any("would show there" in sentence for sentence in answer["warnings"])
    assert answer["image"]["scale"]["around_suv"] > 0
    files = predict(load(model), study.files("pro001"), {})
    assert not any("would show there" in sentence for sentence in files["warnings"])


def test_what_phantoms_on_another_scale_or_turned_under_their_masks_show():
    """A few of those of make bench TARGET=inputs, whose figures docs/model.md quotes."""
    found = inputs.scale_and_place(inputs.phantoms(20), draws=3, fitted=13)
    told, refused, doubted = (found[name] for name in ("scale_told", "scale_refused", "masks_doubted"))
    assert refused["SUV x 10"] == refused["SUV x 0.1"] == 1 and refused["SUV x 1"] == 0
    assert told["SUV x 3"] + refused["SUV x 3"] == 1 and told["SUV x 1"] < 0.1
    assert doubted["SUV x 1"] == 0 and doubted["flipped along z"] > 0.8


def test_finer_and_coarser_voxels_move_what_is_measured_little(model):
    """SUVpeak is that of a sphere, whatever the voxels; SUVmax is not."""
    found = inputs.voxel_sizes(model, 2, (2.0, 5.0))["sizes"]
    assert all(math.isfinite(value) for moved in found.values() for value in moved.values())
    assert all(abs(moved["suv_peak"]) < 0.12 for moved in found.values())
    assert found["2"]["suv_max"] > 0.1 > abs(found["another draw of the noise"]["suv_max"])


def test_negative_values_are_told(model, study, tmp_path):
    answer = predict(
        load(model), volume(study, tmp_path, lambda suv: np.where(suv < 0.22, suv - 0.6, suv)), {}
    )
    assert any("SUV is not negative" in sentence for sentence in answer["warnings"])


@pytest.mark.parametrize("value", [0.3, "0.3", 1, 0.01, "1.0"])
def test_a_fraction_is_no_percentage(model, value):
    agreed = load(model).contract
    with pytest.raises(UsageError) as error:
        clinical.values(agreed, {"positive_cores_percent": value})
    assert error.value.code == "E_CLINICAL_VALUE" and "a fraction" in str(error.value)
    assert clinical.values(agreed, {"positive_cores_percent": 30})["positive_cores_percent"] == "30"
    assert clinical.values(agreed, {"positive_cores_percent": 0})["positive_cores_percent"] == "0"


@pytest.mark.parametrize("value", ["1_0", "١٠", "1e400", "0x10", "10,5", "inf", "<0.1", "1 0"])
def test_what_is_no_number_of_a_person_is_none(model, value):
    with pytest.raises(UsageError) as error:
        clinical.values(load(model).contract, {"psa": value})
    assert error.value.code == "E_CLINICAL_VALUE"


@pytest.mark.parametrize(
    ("value", "group"),
    [("4+3", "3"), ("3 + 4", "2"), ("4+3=7", "3"), (7, "2 (3+4) or 3 (4+3)"), ("Gleason 9", "5"), (8, "4")],
)
def test_a_gleason_score_is_no_grade_group(model, value, group):
    with pytest.raises(UsageError) as error:
        clinical.values(load(model).contract, {"grade_group": value})
    assert "looks like a Gleason score" in str(error.value) and group in str(error.value)


@pytest.mark.parametrize("value", ["Doe, John 1.2.1940", "John", "see letter to Dr X", "12.03.1945 J"])
def test_free_text_of_a_cell_or_a_key_is_not_repeated(model, value):
    for row in ({"psa": value}, {value: 7}):
        with pytest.raises(UsageError) as error:
            clinical.values(load(model).contract, row)
        assert value not in str(error.value) and "John" not in str(error.value)


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("utf-8-sig", "byte order mark"),
        ("utf-16", "UTF-16"),
        ("utf-16-be", "UTF-16"),
        ("utf-32", "UTF-32"),
        ("latin-1", "another encoding"),
    ],
)
def test_the_encoding_of_a_row_is_named(tmp_path, encoding, name):
    text = json.dumps({"psa": 7.5}) if encoding != "latin-1" else '{"psa": "ü"}'
    (tmp_path / "row.json").write_bytes(text.encode(encoding))
    with pytest.raises(UsageError) as error:
        clinical.read(tmp_path / "row.json")
    assert error.value.code == "E_CLINICAL_FORMAT" and name in str(error.value)
