"""Scoring with the bundle alone: the pipeline's own numbers, and a sentence for every input outside the contract."""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from promet.core.errors import DataError, IntegrityError, PrometError, UsageError
from promet.core.files import read_json
from promet.imaging import convert, segment
from promet.imaging.convert import convert_source
from promet.imaging.settings import Imaging
from promet.model import clinic, clinical, scale
from promet.model import predict as predict_module
from promet.model.predict import load, predict


@pytest.mark.parametrize("patient", ["pro001", "pro002", "met001"])
def test_the_score_is_the_pipelines_own(model, study, patient):
    answer, scored = (
        predict(load(model), study.files(patient), study.clinical(patient)),
        study.scored(patient),
    )
    for name in ("multimodal", "clinical"):
        assert answer["models"][name]["log_odds"] == scored[name]
        assert answer["models"][name]["probability"] == scored[f"{name}_probability"]
    assert (answer["log_odds"], answer["probability"]) == (
        scored["multimodal"],
        scored["multimodal_probability"],
    )
    for name, entry in answer["inputs"].items():
        assert entry["value"] == scored[name] or (entry["value"] is None and math.isnan(scored[name]))
    prior = read_json(model / "models/naive_bayes.json")["models"]["multimodal"]["prior"]
    added = sum(entry["log_odds"] for entry in answer["inputs"].values())
    assert math.log(prior[1] / prior[0]) + added == pytest.approx(scored["multimodal"], rel=1e-12)


def test_the_answer_says_what_it_is(model, study):
    answer = predict(load(model), study.files("pro001"), study.clinical("pro001"))
    assert "Research use only" in answer["statement"] and "same PSMA PET scan" in answer["statement"]
    assert set(answer["groups"]) == {"youden", "tertiles", "median"}
    assert answer["distribution"]["inputs"]["psa"]["percentile"] == pytest.approx(
        50 * (1 + math.erf(answer["distribution"]["inputs"]["psa"]["z"] / math.sqrt(2)))
    )
    assert answer["model"]["digest"][:12] in clinic.sentences(answer)[0]
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer
    assert "pro001" not in json.dumps(answer)


def test_without_a_lesion_the_network_is_not_asked(model, study, tmp_path):
    files = study.files("pro001")
    organ = sitk.ReadImage(str(files["prostate"]))
    sitk.WriteImage(organ * 0, str(tmp_path / "none.nii.gz"))
    answer = predict(load(model), {**files, "lesions": tmp_path / "none.nii.gz"}, study.clinical("pro001"))
    assert answer["cnn_score"]["value"] is None and "No lesion" in answer["cnn_score"]["reason"]
    assert answer["inputs"]["cnn_score"] == {"value": None, "log_odds": 0.0, "source": "network"}
    assert any("cnn_score" in sentence for sentence in answer["warnings"])
    assert answer["models"]["clinical"]["log_odds"] == study.scored("pro001")["clinical"]


def test_a_missing_value_is_left_out(model, study):
    row = study.clinical("pro001")
    with_psa = predict(load(model), study.files("pro001"), row)
    without = predict(load(model), study.files("pro001"), {**row, "psa": None})
    assert without["inputs"]["psa"]["value"] is None
    expected = with_psa["log_odds"] - with_psa["inputs"]["psa"]["log_odds"]
    assert without["log_odds"] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("row", "code", "words"),
    [
        ({"PSA": 7.5}, "E_CLINICAL_KEY", "PSA"),
        ({"synchronous_metastasis": 0}, "E_CLINICAL_KEY", "synchronous_metastasis"),
        ({"age": 70}, "E_CLINICAL_KEY", "age"),
        ({"psa": 0}, "E_CLINICAL_VALUE", "above 0"),
        ({"psa": -3}, "E_CLINICAL_VALUE", "ng/ml"),
        ({"psa": "7,5"}, "E_CLINICAL_VALUE", "7,5"),
        ({"psa": "7.5 ng/ml"}, "E_CLINICAL_VALUE", "a text of 9 characters"),
        ({"psa": True}, "E_CLINICAL_VALUE", "of the kind bool"),
        ({"psa": [7.5]}, "E_CLINICAL_VALUE", "psa"),
        ({"psa": float("inf")}, "E_CLINICAL_VALUE", "psa"),
        ({"grade_group": 6}, "E_CLINICAL_VALUE", "1 to 5"),
        ({"grade_group": 2.5}, "E_CLINICAL_VALUE", "1 to 5"),
        ({"positive_cores_percent": 101}, "E_CLINICAL_VALUE", "0 to 100"),
        ({"primary_score": 0}, "E_CLINICAL_VALUE", "1 to 5"),
        ({"psma_expression": 4}, "E_CLINICAL_VALUE", "0 to 3"),
        ([7.5], "E_CLINICAL_FORMAT", "object"),
    ],
)
def test_clinical_values_outside_the_contract(model, study, row, code, words):
    with pytest.raises(UsageError) as error:
        predict(load(model), study.files("pro001"), row)
    assert error.value.code == code and words in str(error.value)


@pytest.mark.parametrize("text", ['{"psa": 7.5, "psa": 75}', "{psa: 7.5}", ""])
def test_a_row_that_is_no_json(tmp_path, text):
    (tmp_path / "row.json").write_text(text)
    with pytest.raises(UsageError) as error:
        clinical.read(tmp_path / "row.json")
    assert error.value.code == "E_CLINICAL_FORMAT"


def volume(study, factor=1.0, spacing=None):
    """The PET of a patient as a volume: converted, multiplied, with another spacing."""
    from promet.imaging.convert import convert_source

    image = convert_source(study.files("pro001")["pet"]).image * factor
    if spacing is not None:
        image = sitk.Resample(
            image,
            [
                max(2, int(n * old / spacing))
                for n, old in zip(image.GetSize(), image.GetSpacing(), strict=True)
            ],
            sitk.Transform(),
            sitk.sitkLinear,
            image.GetOrigin(),
            [spacing] * 3,
            image.GetDirection(),
        )
    return image


def images(study, tmp_path, case):
    files = study.files("pro001")
    path = tmp_path / "image.nii.gz"
    if case == "unit":
        sitk.WriteImage(volume(study, 5000.0), str(path))
        return {**files, "pet": path}
    if case == "spacing":
        sitk.WriteImage(volume(study, spacing=13.0), str(path))
        return {**files, "pet": path}
    if case == "modality":
        return {**files, "pet": files["ct"]}
    if case == "empty mask":
        sitk.WriteImage(sitk.ReadImage(str(files["prostate"])) * 0, str(path))
        return {**files, "prostate": path}
    if case == "broken mask":
        path.write_bytes(b"no image")
        return {**files, "prostate": path}
    if case == "no such file":
        return {**files, "pet": tmp_path / "nowhere"}
    return {name: file for name, file in files.items() if name != case}


@pytest.mark.parametrize(
    ("case", "code", "words"),
    [
        ("unit", "E_PET_NOT_SUV", "SUV by body weight"),
        ("spacing", "E_PET_SPACING", "13 x 13 x 13 mm"),
        ("modality", "E_PET_MODALITY", "PT"),
        ("empty mask", "E_MASK_EMPTY", "prostate"),
        ("broken mask", "E_IMAGE_FORMAT", "prostate"),
        ("no such file", "E_SOURCE_MISSING", "pet"),
        ("prostate", "E_SOURCE_NOT_GIVEN", "--prostate"),
        ("pet", "E_SOURCE_NOT_GIVEN", "--pet"),
    ],
)
def test_images_outside_the_contract(model, study, tmp_path, case, code, words):
    with pytest.raises((UsageError, DataError)) as error:
        predict(load(model), images(study, tmp_path, case), {})
    assert error.value.code == code and words in str(error.value)
    assert "pro001" not in str(error.value)


def test_another_voxel_size_is_told(model, study, tmp_path):
    sitk.WriteImage(volume(study, spacing=4.0), str(tmp_path / "pet.nii.gz"))
    answer = predict(load(model), {**study.files("pro001"), "pet": tmp_path / "pet.nii.gz"}, {})
    assert any("4 x 4 x 4 mm; in training they had 6 x 6 x 6" in s for s in answer["warnings"])


@pytest.mark.parametrize("rule", ["given", "watershed"])
def test_lesion_maps_of_another_kind_than_in_training(edited, study, rule):
    folder = edited("configs/contract.json", lambda agreed: agreed["lesions"].update(rule=rule))
    files = study.files("pro001")
    if rule == "watershed":
        answer = predict(load(folder), files, {})
        assert any("watershed" in sentence for sentence in answer["warnings"])
        return
    with pytest.raises(UsageError) as error:
        predict(load(folder), {name: path for name, path in files.items() if name != "lesions"}, {})
    assert error.value.code == "E_LESIONS_NOT_GIVEN"


def test_another_nuclide_is_told(edited, study):
    folder = edited("configs/contract.json", lambda agreed: agreed["pet"].update(half_lives_s=[4057.7]))
    answer = predict(load(folder), study.files("pro001"), {})
    assert any("nuclide" in sentence for sentence in answer["warnings"])


@pytest.mark.parametrize(
    "name",
    ["models/model.safetensors", "models/naive_bayes.json", "models/thresholds.json", "docs/README.md"],
)
def test_one_changed_byte_is_refused(model, tmp_path, name, capsys):
    folder = shutil.copytree(model, tmp_path / "model")
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(bytes(content))
    assert clinic.verify(folder) == 2
    assert f"{name}: changed" in capsys.readouterr().out
    with pytest.raises(IntegrityError) as error:
        load(folder)
    assert error.value.code == "E_MODEL_CHANGED" and name in str(error.value)


def test_an_added_file_is_refused(model, tmp_path):
    folder = shutil.copytree(model, tmp_path / "model")
    (folder / "models/other.safetensors").write_text("")
    with pytest.raises(IntegrityError, match="not listed"):
        load(folder)


def test_a_promet_that_computes_otherwise_is_refused(edited):
    folder = edited("configs/contract.json", lambda agreed: agreed["stages"].update(segment=99))
    with pytest.raises(IntegrityError) as error:
        load(folder)
    assert error.value.code == "E_MODEL_VERSION" and "segment" in str(error.value)


def test_a_model_fitted_before_the_floor_scores_as_it_did(edited, study):
    def older(fitted):
        for told in fitted["models"].values():
            for entry in told["features"].values():
                entry.pop("floored", None)
        # two PSAs nearly equal
        fitted["models"]["multimodal"]["features"]["psa"]["variance"] = [0.5, 1e-6]

    folder = edited(
        "configs/contract.json", lambda agreed: (agreed["stages"].update(fuse=1), agreed.pop("floored"))
    )
    edited("models/naive_bayes.json", older, folder)
    fitted = read_json(folder / "models/naive_bayes.json")
    row = study.clinical("pro001") | {"psa": 7.5}
    mean = fitted["models"]["multimodal"]["features"]["psa"]["mean"]
    z2 = [(math.log(7.5) - m) ** 2 / v for m, v in zip(mean, (0.5, 1e-6), strict=True)]
    added = 0.5 * (z2[0] - z2[1] + math.log(0.5 / 1e-6))
    answer = predict(load(folder), study.files("pro001"), row)
    assert answer["inputs"]["psa"]["log_odds"] == pytest.approx(added, rel=1e-12)
    assert not any("the density of" in sentence.lower() for sentence in answer["warnings"])


def test_a_model_whose_suv_was_computed_by_the_version_before_is_asked_and_that_is_said(edited, study):
    folder = edited("configs/contract.json", lambda agreed: agreed["stages"].update(convert=1))
    answer = predict(load(folder), study.files("pro001"), study.clinical("pro001"))
    assert any(sentence.startswith("Since this model was locked the SUV") for sentence in answer["warnings"])
    assert answer["log_odds"] == study.scored("pro001")["multimodal"]


def test_a_density_of_few_patients_is_told(model, study):
    answer = predict(load(model), study.files("pro001"), study.clinical("pro001"))
    assert any(
        sentence.startswith(
            "The density of cnn_score was fitted on few or nearly equal values (2 with, 2 without"
        )
        for sentence in answer["warnings"]
    )


def test_a_folder_that_is_no_model(tmp_path):
    with pytest.raises(PrometError) as error:
        load(tmp_path)
    assert error.value.code == "E_MODEL_MISSING" and str(tmp_path) in str(error.value)
    with pytest.raises(UsageError, match="There is no folder nowhere"):
        load(Path("nowhere"))


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--pet", "a", "--cohort", "b", "-o", "c"],
        ["--cohort", "b"],
        ["--pet", "a", "--lesion", "b"],
    ],
)
def test_unclear_calls_are_refused(model, words):
    done = promet("predict", str(model), *words)
    assert done.returncode == 2 and "promet predict --help" in done.stderr


def promet(*words, cwd=None):
    command = [sys.executable, "-m", "promet.cli", *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_where_the_training_was_never_seen(model, study, tmp_path, row_file):
    """Only the bundle and the patient are there; the answer is that of the pipeline, and leaves nothing behind."""
    folder, files = shutil.copytree(model, tmp_path / "clinic/model"), study.files("pro002")
    words = []
    for name in ("pet", "ct"):
        words += [f"--{name}", str(shutil.copytree(files[name], tmp_path / "clinic" / name))]
    for name in ("prostate", "lesions"):
        target = tmp_path / "clinic" / f"{name}{''.join(files[name].suffixes)}"
        words += [f"--{name}", str(shutil.copy(files[name], target))]
    row = row_file(**study.clinical("pro002"))
    before = sorted((tmp_path / "clinic").rglob("*"))
    done = promet("predict", str(folder), *words, "--clinical", str(row), "--json", cwd=tmp_path / "clinic")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["log_odds"] == study.scored("pro002")["multimodal"]
    assert sorted((tmp_path / "clinic").rglob("*")) == before
    bad = promet("predict", str(folder), *words, "--clinical", str(row_file(psa=-1)))
    assert bad.returncode == 2 and bad.stdout == ""
    assert bad.stderr.startswith("promet: E_CLINICAL_VALUE: psa is -1.")


def test_verify_and_a_refusal_load_no_torch(model):
    code = (
        "import sys\nfrom pathlib import Path\nfrom promet.model import clinic\nfrom promet.model.predict import load, predict\n"
        f"model = Path({str(model)!r})\nclinic.verify(model)\n"
        "try:\n    predict(load(model), {}, {'x': 1})\nexcept Exception as error:\n    print(error.code)\n"
        "print(sorted({'torch', 'monai', 'SimpleITK', 'pydicom', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == ["E_CLINICAL_KEY", "[]"]


def test_the_tensor_is_read_as_it_was_written(model, study):
    """score_tensor on the pipeline's own tensor is the pipeline's score: no rounding between the two ways."""
    from promet.network.score import score_tensor

    tensor = np.load(study.inputs.patients / "pro001/tensor.npy", allow_pickle=False)
    assert score_tensor(model / "models/model.json", tensor) == study.scored("pro001")["cnn_score"]


def test_a_mask_of_another_patient_on_a_grid_like_this_one(model, study):
    """dev001's PET has the voxels of pro001's, at another place: its masks cannot be pro001's."""
    for name in ("prostate", "lesions"):
        files = study.files("pro001") | {name: study.files("dev001")[name]}
        with pytest.raises(DataError) as error:
            predict(load(model), files, {})
        assert error.value.code == "E_MASK_GRID" and str(error.value).startswith(f"{name}: ")


def test_flipped_axes_are_the_same_grid(model, study, tmp_path):
    files = study.files("pro001")
    for name in ("prostate", "lesions"):
        flipped = sitk.Flip(sitk.ReadImage(str(files[name])), [True, True, False], flipAboutOrigin=False)
        sitk.WriteImage(flipped, str(tmp_path / f"{name}.nii.gz"))
        files[name] = tmp_path / f"{name}.nii.gz"
    assert predict(load(model), files, study.clinical("pro001"))["log_odds"] == pytest.approx(
        study.scored("pro001")["multimodal"]
    )


def moved(source, target, shift_mm, pad=0):
    """The mask elsewhere, with ``pad`` voxels more on each side, so that its grid is its own."""
    image = sitk.ConstantPad(sitk.ReadImage(str(source)), [pad] * 3, [pad] * 3, 0)
    image.SetOrigin([a + b for a, b in zip(image.GetOrigin(), shift_mm, strict=True)])
    sitk.WriteImage(image, str(target))
    return target


def test_a_prostate_that_lies_mostly_beside_the_pet(model, study, tmp_path):
    files = study.files("pro001")
    del files["lesions"]  # which would lie beside it
    grid = sitk.ReadImage(str(files["prostate"]))
    marked = np.argwhere(sitk.GetArrayFromImage(grid))
    # The middle of the mask lands one voxel beyond the last slice.
    shift = (grid.GetSize()[2] + 0.6 - marked[:, 0].mean()) * grid.GetSpacing()[2]
    files["prostate"] = moved(files["prostate"], tmp_path / "prostate.nii.gz", (0, 0, shift), pad=3)
    with pytest.raises(DataError) as error:
        predict(load(model), files, {})
    assert error.value.code == "E_MASK_OUTSIDE" and "of the mask's volume lies inside the PET" in str(
        error.value
    )


def test_lesions_that_lie_all_beside_the_prostate(model, study, tmp_path):
    files = study.files("pro001")
    files["lesions"] = moved(files["lesions"], tmp_path / "lesions.nii.gz", (60, 0, 0), pad=3)
    with pytest.raises(DataError) as error:
        predict(load(model), files, {})
    assert error.value.code == "E_MASK_OUTSIDE" and "No voxel of the lesion mask lies in the prostate" in str(
        error.value
    )


@pytest.mark.parametrize("patient", ["dev003", "dev004"])
def test_a_dicom_mask_of_another_patient(model, study, patient):
    """A SEG and an RTSTRUCT: their headers name another patient and another frame of reference."""
    kind = {"dev003": "SEG", "dev004": "RTSTRUCT"}[patient]
    files = study.files("pro001") | {"prostate": study.folder / "dicom" / patient / kind}
    assert files["prostate"].is_dir()
    with pytest.raises(DataError) as error:
        predict(load(model), files, {})
    assert error.value.code == "E_MASK_PATIENT"


def test_a_probability_that_nobody_compared_with_outcomes(edited, study):
    told = {}
    for slope in (None, 0.9):
        folder = edited(
            "docs/metrics.json",
            lambda judged, slope=slope: judged["sections"]["synchronous"]["calibration"]["multimodal"].update(
                slope=dict.fromkeys(("low", "high", "se", "intercept")) | {"value": slope},
                expected_observed={"ratio": 1.0, "low": 0.5, "high": 2.0},
            ),
        )
        told[slope] = predict(load(folder), study.files("pro001"), {})
    (lost,) = set(told[None]["warnings"]) - set(told[0.9]["warnings"])
    assert lost.startswith("The probability is not calibrated")
    assert told[None]["probability_note"] and not told[0.9]["probability_note"]


def test_a_wrong_path_is_no_model(tmp_path):
    for words in (["predict", "nowhere", "--pet", "x"], ["verify", "nowhere"]):
        done = promet(*words, cwd=tmp_path)
        assert done.returncode == 2 and done.stderr.startswith(
            "promet: E_MODEL_MISSING: There is no folder nowhere."
        )
        assert done.stdout == "" and len(done.stderr.splitlines()) == 1


def test_warnings_are_said_once(model, study):
    files = study.files("pro001") | {name: study.files("pro002")[name] for name in ("prostate", "lesions")}
    done = promet("predict", str(model), *(f"--{name}={path}" for name, path in files.items()))
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.count("of the given lesion voxels lie outside the prostate") == 1


def test_the_prostate_given_as_lesions(model, study):
    files = study.files("pro001")
    with pytest.raises(DataError) as error:
        predict(load(model), files | {"lesions": files["prostate"]}, {})
    assert error.value.code == "E_MASKS_ALIKE"


def test_forgotten_lesions_are_told(model, study):
    files = {name: path for name, path in study.files("pro001").items() if name != "lesions"}
    answer = predict(load(model), files, {})
    assert answer["image"]["lesion_source"] == "watershed"
    assert any(sentence.startswith("No lesion mask was given") for sentence in answer["warnings"])
    assert any("lesions: watershed" in line for line in clinic.sentences(answer))


def test_no_message_names_what_the_hospital_cannot_set(model, study, tmp_path):
    """Labels, names of regions: what the house of the training sets in its configuration."""
    files = study.files("pro001")
    organ = sitk.ReadImage(str(files["prostate"]))
    sitk.WriteImage(organ + sitk.Cast(organ * 0, organ.GetPixelID()), str(tmp_path / "one.nii.gz"))
    array = sitk.GetArrayFromImage(organ)
    array[array > 0] = 1 + np.arange(np.count_nonzero(array)) % 2
    two = sitk.GetImageFromArray(array)
    two.CopyInformation(organ)
    sitk.WriteImage(two, str(tmp_path / "two.nii.gz"))
    series = study.folder / "dicom/dev003/SEG"
    cases = [
        files | {"prostate": tmp_path / "two.nii.gz"},
        files | {"lesions": series},
        files | {"prostate": series},
    ]
    for given in cases:
        with pytest.raises(DataError) as error:
            predict(load(model), given, {})
        for word in ("setting", "imaging.", "promet intake", "promet run", "cohort table"):
            assert word not in str(error.value), error.value


def test_a_finer_voxel_is_scored_and_flagged(edited, study, tmp_path):
    """2 mm against the 6 mm of training: within what the contract allows, and told; the input of the PET hardly moves."""
    sitk.WriteImage(volume(study, spacing=2.0), str(tmp_path / "pet.nii.gz"))
    folder = edited("configs/contract.json", lambda agreed: None)
    files = study.files("pro001") | {"pet": tmp_path / "pet.nii.gz"}
    answer = predict(load(folder), files, study.clinical("pro001"))
    assert answer["image"]["voxel_mm"] == [2.0, 2.0, 2.0]
    assert any(
        "2 x 2 x 2 mm; in training they had 6 x 6 x 6" in s and "docs/model.md" in s
        for s in answer["warnings"]
    )
    native = study.scored("pro001")["suv_peak"]
    assert answer["inputs"]["suv_peak"]["value"] == pytest.approx(native, rel=0.05)
    refused = edited(
        "configs/contract.json", lambda agreed: agreed["pet"]["voxel_mm"].update(finer=2.0), folder
    )
    with pytest.raises(DataError) as error:
        predict(load(refused), files, {})
    assert error.value.code == "E_PET_SPACING" and "2 times shorter" in str(error.value)


def test_the_range_of_the_contract_counts(edited):
    """Not only what this promet would take today."""
    agreed = load(
        edited("configs/contract.json", lambda c: c["clinical"]["psa"].update(range=[1, 50]))
    ).contract
    assert clinical.values(agreed, {"psa": 50})["psa"] == "50"
    for value in (0.5, 51):
        with pytest.raises(UsageError) as error:
            clinical.values(agreed, {"psa": value})
        assert error.value.code == "E_CLINICAL_VALUE"


@pytest.mark.parametrize("case", ["exchanged", "everything"])
def test_a_prostate_of_a_size_that_none_has(edited, study, tmp_path, case):
    """The lesions given as the prostate and the other way round; a mask of ones."""
    size = {"n": 34, "mean": math.log(35), "sd": 0.3, "log": True}
    model = load(edited("models/distribution.json", lambda c: c["image"].update(organ_ml=size)))
    files = dict(study.files("pro001"))
    image = convert_source(files["pet"]).image
    mask = sitk.Image(image.GetSize(), sitk.sitkUInt8) + (case == "everything")
    mask.CopyInformation(image)
    if case == "exchanged":
        place = tmp_path / "stages"
        images = tmp_path / "images.tsv"
        predict_module._register(images, files)
        convert.run(convert.Inputs("patient", images), Imaging().convert, place / "convert.json", "")
        segment.run(segment.Inputs(place, "patient", images), Imaging().segment, place / "segment.json", "")
        gland, mask = (sitk.ReadImage(str(place / f"{name}.nii.gz")) for name in ("prostate", "lesions"))
        sitk.WriteImage(gland, str(tmp_path / "gland.nii.gz"))
        files["lesions"] = tmp_path / "gland.nii.gz"
    sitk.WriteImage(mask, str(tmp_path / "mask.nii.gz"))
    files["prostate"] = tmp_path / "mask.nii.gz"
    if case == "everything":
        files.pop("lesions")
    with pytest.raises(DataError) as error:
        predict(model, files, {})
    assert error.value.code == "E_PROSTATE_SIZE" and "exchanged" in str(error.value)


def test_a_large_prostate_is_one():
    """Of 35 ml in the mean, times or divided by 1.6 in patients: 250 ml is told by its z and not refused."""
    entry = {"n": 34, "mean": math.log(40), "sd": 0.45, "log": True}
    for ml in (12, 40, 120, 250):
        scale.prostate(ml, {"organ_ml": entry})
    scale.prostate(5000, {"organ_ml": None})
    for ml in (2.0, 900):
        with pytest.raises(DataError):
            scale.prostate(ml, {"organ_ml": entry})
