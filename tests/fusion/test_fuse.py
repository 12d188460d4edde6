"""The fuse stage: who is fitted, who is predicted, which inputs."""

import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from sklearn.naive_bayes import GaussianNB
from typer.testing import CliRunner

from promet.core.errors import IntegrityError, UsageError
from promet.core.files import read_json
from promet.core.sidecar import Sidecar
from promet.fusion import fuse, predictors
from promet.fusion.cli import app
from promet.fusion.settings import Fusion
from promet.study import ledger, parts


def run(study, name="study", **settings):
    inputs, out = study.write(name)
    record = fuse.run(inputs, Fusion(**settings), out, "p")
    home = out.parent
    return record, pd.read_parquet(home / "predictions.parquet"), (home / "naive_bayes.json").read_bytes()


def test_predictions_hold_everybody_and_the_contract_columns(study) -> None:
    record, table, _ = run(study)
    assert (
        record.ok
        and record.stage == "fuse"
        and set(record.products) == {"naive_bayes.json", "predictions.parquet"}
    )
    assert table["patient"].tolist() == sorted(row["patient"] for row in study.cohort)
    assert table.columns.tolist() == [
        "patient",
        "part",
        "label",
        *predictors.INPUTS,
        "suv_peak_source",
        "multimodal",
        "multimodal_probability",
        "clinical",
        "clinical_probability",
    ]
    assert table["label"].isna().sum() == 2  # the prospective ones
    assert np.isfinite(table[["multimodal", "clinical"]]).all(axis=None)
    np.testing.assert_allclose(
        table["clinical_probability"], 1 / (1 + np.exp(-table["clinical"])), atol=1e-15
    )


def test_clinical_model_is_scikit_learns_on_training_and_validation(study) -> None:
    _, table, _ = run(study)
    fitted = table[table["part"].isin(["training", "validation"])]

    def x(t):
        return np.c_[np.log(t["psa"]), t["grade_group"], t["positive_cores_percent"]]

    joint = GaussianNB().fit(x(fitted), fitted["label"]).predict_joint_log_proba(x(table))
    np.testing.assert_allclose(table["clinical"], joint[:, 1] - joint[:, 0], rtol=1e-11, atol=1e-11)


def test_a_locked_model_stays_when_a_fitted_patient_is_gone(study, tmp_path) -> None:
    _, before, model = run(study)
    locked = tmp_path / "locked.json"
    locked.write_bytes(model)
    gone = study.of("training")[0]
    study.cohort[:] = [row for row in study.cohort if row["patient"] != gone]
    inputs, out = study.write("without")
    inputs = replace(inputs, locked=locked)
    record = fuse.run(inputs, Fusion(), out, "p")
    home = out.parent
    after = pd.read_parquet(home / "predictions.parquet")
    assert (home / "naive_bayes.json").read_bytes() == model
    kept = before[before["patient"] != gone].reset_index(drop=True)
    pd.testing.assert_frame_equal(after[["patient", "multimodal"]], kept[["patient", "multimodal"]])
    assert any(sentence.startswith("1 of the ") and "waiver" in sentence for sentence in record.warnings)
    assert run(study, "fitted anew")[2] != model  # what the waiver prevents
    with pytest.raises(UsageError, match="that a waiver keeps"):
        fuse.run(inputs, Fusion(log=[]), out, "p")


@pytest.mark.parametrize("part", ["test", "metachronous", "prospective"])
def test_other_parts_never_touch_the_fit(study, part: str) -> None:
    _, _, before = run(study)
    for patient in study.of(part):
        study.row(patient).update(psa="900", grade_group="5", synchronous_metastasis="1", primary_score="")
        study.measures.loc[study.measures["patient"] == patient, "suv_peak"] = 500.0
        study.scores.loc[study.scores["patient"] == patient, "cnn_score"] = -40.0
    _, _, after = run(study, "changed")
    assert after == before


def test_fit_does_change_with_a_training_patient(study) -> None:
    _, _, before = run(study)
    study.row(study.of("training")[0]).update(psa="900")
    assert run(study, "changed")[2] != before


def test_training_cnn_scores_matter_only_in_sample(study) -> None:
    before, sampled = run(study)[2], run(study, "sampled", cnn_score="in_sample")
    assert any("exaggerated" in s for s in sampled[0].warnings)
    for patient in study.of("training"):
        study.scores.loc[study.scores["patient"] == patient, "cnn_score"] *= 7
    assert run(study, "changed")[2] == before
    assert run(study, "changed sampled", cnn_score="in_sample")[2] != sampled[2]
    record = read_json(study.folder / "study/fusion dir/naive_bayes.json")
    assert sum(record["models"]["multimodal"]["features"]["cnn_score"]["seen"]) == 16
    assert sum(record["models"]["multimodal"]["features"]["psa"]["seen"]) == 56
    assert record["cnn_score_fitted_on"] == ["validation"]


def test_saved_model_predicts_the_same(study) -> None:
    _, table, raw = run(study)
    models, log = fuse.from_record(read_json(study.folder / "study/fusion dir/naive_bayes.json"))
    again = fuse.predict(table[["patient", *predictors.INPUTS]], models, log)
    assert np.array_equal(again["multimodal"], table["multimodal"])
    assert run(study, "again")[2] == raw


def test_no_lesion_is_kept_without_cnn_score(study) -> None:
    patient = study.of("test")[0]
    study.without_lesion(patient)
    record, table, _ = run(study)
    row = table.set_index("patient").loc[patient]
    assert np.isnan(row["cnn_score"]) and np.isnan(row["suv_peak"]) and np.isfinite(row["multimodal"])
    assert record.values["missing"]["cnn_score"] == 1


def test_quarantined_and_unknown_patients_get_no_prediction(study) -> None:
    bad, unknown = study.of("training")[:2]
    study.measures.loc[study.measures["patient"] == bad, "status"] = "quarantined"
    study.measures = study.measures[study.measures["patient"] != unknown]
    record, table, _ = run(study)
    assert not {bad, unknown} & set(table["patient"])
    assert len(record.warnings) == 2
    assert record.values["fitted_on"] == {"training": 38, "validation": 16}


def test_readers_suv_peak_goes_first_and_is_recorded(study) -> None:
    patient = study.of("test")[0]
    study.row(patient)["suv_peak_reader"] = "77.5"
    record, table, _ = run(study)
    row = table.set_index("patient").loc[patient]
    assert (row["suv_peak"], row["suv_peak_source"]) == (77.5, "reader")
    assert record.values["suv_peak_source"] == {"reader": 1, "measured": 89}
    assert any("two sources" in s for s in record.warnings)
    measured = study.measures.set_index("patient")["suv_peak"]
    rest = table[table["patient"] != patient].set_index("patient")["suv_peak"]
    assert (rest == measured[rest.index]).all()


def test_biopsy_missing_only_in_the_metastatic_does_not_separate_them(study) -> None:
    """A clinical model of two inputs that exist in no patient with metastases is the prior for everyone."""
    for row in study.cohort:
        if row["synchronous_metastasis"] == "1":
            row.update(grade_group="", positive_cores_percent=" ")
    models = {"multimodal": list(predictors.INPUTS), "biopsy": ["grade_group", "positive_cores_percent"]}
    record, table, _ = run(study, models=models)
    assert len(set(table["biopsy"])) == 1
    assert record.values["dropped"]["biopsy"] == ["grade_group", "positive_cores_percent"]
    assert any("grade_group is known in 0 patients with" in s for s in record.warnings)


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("psa", "0", "psa of patient P000"),
        ("psa", "-1", "psa of patient P000"),
        ("grade_group", "3+4", "grade_group"),
    ],
)
def test_bad_cells_are_refused(study, column: str, cell: str, message: str) -> None:
    study.row("P000")[column] = cell
    with pytest.raises(UsageError, match=message):
        run(study)


def test_scores_of_other_tensors_are_refused(study) -> None:
    study.scores.loc[3, "tensor_digest"] = "old"
    with pytest.raises(IntegrityError, match="another tensor"):
        run(study)
    study.scores = study.scores.drop(index=3)
    with pytest.raises(IntegrityError, match="no CNN score"):
        run(study)


def test_a_renamed_patient_leaves_the_model_as_it_is_to_the_bit(study) -> None:
    _, before, model = run(study)
    old = study.of("training")[1]
    study.row(old)["patient"] = "zzz"
    for row in study.ledger:
        row["patient"] = row["patient"].replace(old, "zzz")
    for table in (study.measures, study.scores):
        table["patient"] = table["patient"].replace(old, "zzz")
    home = study.write("renamed")[0].ledger.parent
    (home / "renamed.json").write_text(f'{{"zzz": "{old}"}}')
    _, after, again = run(study, "renamed")
    assert again == model and after["patient"].tolist() == [
        name.replace(old, "zzz") for name in before["patient"]
    ]
    assert after["multimodal"].tolist() == before["multimodal"].tolist()


def test_label_in_words_is_refused(study) -> None:
    """An empty cell only takes the patient out of training; a word is no label, here as in promet check."""
    study.row(study.of("training")[0])["synchronous_metastasis"] = "na"
    with pytest.raises(UsageError, match="synchronous_metastasis of patient"):
        run(study)


def test_ledger_is_read_by_split(study) -> None:
    patient = study.of("training")[0]
    study.ledger.append({"split": "1", "patient": patient, "part": "test", "freeze": "one"})
    inputs, _ = study.write()
    found = ledger.assigned(ledger.read(inputs.ledger))
    assert found[0][patient] == "training" and found[1] == {patient: "test"}
    study.ledger.append({"split": "0", "patient": patient, "part": "test", "freeze": "two"})
    with pytest.raises(IntegrityError, match="two parts"):
        run(study)


@pytest.mark.parametrize(
    "models",
    [
        {"clinical": ["psa"]},
        {"multimodal": []},
        {"multimodal": ["psa", "psa"]},
        {"multimodal": ["psa"], "psa": ["psa"]},
        {"multimodal": ["psa"], "a b": ["psa"]},
        {"multimodal": ["weight"]},
    ],
)
def test_unusable_models_are_refused(models: dict) -> None:
    with pytest.raises(ValidationError):
        Fusion(models=models)


def test_command(study) -> None:
    inputs, out = study.write("with space")
    told = {
        name: value for name, value in asdict(inputs).items() if value is not None and name != "outcome"
    } | {"out": out}
    arguments = [f"--{name}={value}" for name, value in told.items()]
    result = CliRunner().invoke(app, ["fuse", *arguments, "--pin", "abc", "--settings", '{"log": ["psa"]}'])
    assert result.exit_code == 0, result.output
    assert Sidecar.read(out).pin == "abc"
    assert read_json(out.with_name("naive_bayes.json"))["log"] == ["psa"]


def test_command_line_is_light() -> None:
    code = "import sys, promet.fusion.cli; print({'pandas', 'numpy', 'shap', 'scipy'} & set(sys.modules))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "set()\n"
    )


def test_who_was_quarantined_at_the_freeze_is_prospective(tmp_path) -> None:
    book = tmp_path / "ledger.tsv"
    ledger.append(book, [ledger.Entry("00", name, "training", "", "", "") for name in ("P1", "P2")])
    table = {name: {"role": "development", "synchronous_metastasis": "0"} for name in ("P1", "P2")}
    assert parts.of_study(book, table)[0] == {"P1": "training", "P2": "training"}
    (tmp_path / "freeze.json").write_text('{"name": "v1", "excluded": ["P2"]}')
    assert parts.of_study(book, table)[0] == {"P1": "training", "P2": "prospective"}
    assert parts.of_study(book, table, {"P2"})[0]["P2"] == "training"
