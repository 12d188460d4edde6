"""A table of new patients through workflow/predict.smk: who is scored, who is refused, and what runs again."""

import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
import typer

from promet.core.checksums import identity
from promet.core.errors import IntegrityError, UsageError
from promet.evaluation.cli import app
from promet.model import answers, clinic
from promet.model.plan import Predictions
from promet.model.predict import Inputs, run
from promet.workflow.lock import held

evaluation = typer.main.get_command(app)

COLUMNS = (
    *(
        "patient",
        "role",
        "site",
        "pet",
        "prostate",
        "lesions",
        "psa",
        "grade_group",
        "positive_cores_percent",
    ),
    *("synchronous_metastasis", "progression", "months"),
)


@pytest.fixture
def place(model, study, tmp_path, monkeypatch):
    """A clinic's folder: the model, the images of three patients, and a table without the columns it does not have."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(model, "the model")
    for name in ("pro001", "pro002", "met001"):
        shutil.copytree(study.folder / "dicom" / name, f"dicom/{name}")
    write_table([study.row(name) for name in ("pro001", "pro002", "met001")])
    return tmp_path


def write_table(rows):
    lines = ["\t".join(COLUMNS), *("\t".join(row[name] for name in COLUMNS) for row in rows)]
    Path("new.tsv").write_text("\n".join(lines) + "\n")


def predict(place):
    return clinic.predict_table(place / "the model", place / "new.tsv", place / "out", ["--cores", "2"])


def test_a_table_of_patients(place, study):
    (place / "broken.nii.gz").write_bytes(b"no image")
    rows = [study.row(name) for name in ("pro001", "pro002", "met001")]
    write_table([rows[0], {**rows[1], "prostate": "broken.nii.gz"}, rows[2]])
    assert predict(place) == (0, 3, 1)
    table = pd.read_parquet("out/predictions.parquet").set_index("patient")
    assert table["status"].to_dict() == {"met001": "ok", "pro001": "ok", "pro002": "quarantined"}
    assert table.loc["pro002", "code"] == "E_IMAGE_FORMAT" and "prostate" in table.loc["pro002", "reason"]
    for name in ("pro001", "met001"):
        assert table.loc[name, "clinical_probability"] == study.scored(name)["clinical_probability"]
        assert table.loc[name, "cnn_score"] == study.scored(name)["cnn_score"]
    assert "met001" not in (place / "out/patients/met001/prediction.json").read_text()

    times = {path: path.stat().st_mtime_ns for path in place.glob("out/patients/*/*.json")}
    assert predict(place) == (0, 3, 1)
    assert {path: path.stat().st_mtime_ns for path in times} == times  # nothing runs twice

    write_table([{**rows[0], "psa": "99"}, rows[1], rows[2]])
    assert predict(place) == (0, 3, 0)
    again = {path.parent.name for path in times if path.exists() and path.stat().st_mtime_ns != times[path]}
    assert again == {"pro001", "pro002"}  # another value, another mask


@pytest.mark.parametrize("cells", [{"patient": ""}, {"patient": "pro002"}, {"patient": "../x"}])
def test_a_table_whose_rows_cannot_be_told_apart_scores_nobody(place, study, cells):
    write_table([{**study.row("pro001"), **cells}, study.row("pro002")])
    with pytest.raises(UsageError) as error:
        predict(place)
    assert error.value.code == "E_COHORT_FAULTS" and "patient" in str(error.value)
    assert not (place / "out").exists()


def test_two_patients_with_one_pet(place, study):
    write_table([study.row("pro001"), {**study.row("pro002"), "pet": study.row("pro001")["pet"]}])
    with pytest.raises(UsageError) as error:
        predict(place)
    assert error.value.code == "E_SAME_IMAGES" and "pro001=pro002" in str(error.value)


def test_two_pseudonyms_of_one_person_are_told(place, study, capsys):
    pydicom = pytest.importorskip("pydicom")
    first = pydicom.dcmread(next(Path("dicom/pro001/PT").iterdir()), stop_before_pixels=True)
    for path in Path("dicom/pro002/PT").iterdir():
        image = pydicom.dcmread(path)
        image.PatientID = first.PatientID
        image.save_as(path)
    assert clinic.predict_cohort(place / "the model", place / "new.tsv", place / "out", ["-n"]) == 0
    said = capsys.readouterr().out
    assert (
        "pro001 and pro002: their DICOM headers have one PatientID" in said
        and str(first.PatientID) not in said
    )


def test_one_call_at_a_time_and_a_killed_one_is_no_obstacle(place, capsys):
    out = place / "out"
    with held(out, command="predict"), pytest.raises(UsageError) as error:
        predict(place)
    assert error.value.code == "E_RUNNING" and f"kill -TERM {os.getpid()}" in str(error.value)
    assert "promet status" not in str(error.value)
    # As kill -9 leaves it: who held the folder, Snakemake's own lock and its marks of unfinished records.
    (out / "run.lock").write_text(
        json.dumps({"run": "gone-1-2", "pid": 1, "host": "gone", "command": "predict"})
    )
    for name in ("0.input.lock", "0.output.lock"):
        Path(".snakemake/locks").mkdir(parents=True, exist_ok=True)
        (Path(".snakemake/locks") / name).write_text(
            f"{out}/patients/pro001/predict.json\n{out}/predictions.parquet\n"
        )
    assert clinic.predict_cohort(place / "the model", place / "new.tsv", out, ["--cores", "1", "-n"]) == 0
    assert "not scored by this call: 3 patients of 3" in capsys.readouterr().out
    assert (out / "run.lock").read_text() == ""


def test_a_table_of_nobody(place):
    write_table([])
    for call in (
        lambda: predict(place),
        lambda: Predictions({"model": "the model", "cohort": "new.tsv", "out": "out"}),
    ):
        with pytest.raises(UsageError) as error:
            call()
        assert error.value.code == "E_COHORT_EMPTY" and not (place / "out").exists()


def everything(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    "what", ["study", "opened study", "results", "the model", "in the model", "documents", "file"]
)
def test_a_folder_of_something_else_stays_as_it_is(place, what):
    """Above all a study: its images.tsv has the name of ours."""
    out = place / {"the model": "the model", "in the model": "the model/answers"}.get(what, "out")
    ours = {
        "study": ("registry/images.tsv", "registry/study/ledger.tsv"),
        "opened study": ("registry/images.tsv", "registry/study/ledger.tsv", "patients/pro002/predict.json"),
        "results": ("patients/pro001/convert.json", "run.lock"),
        "documents": ("letter.txt",),
    }
    for name in ours.get(what, ()):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("mine")
    if what == "file":
        out.write_text("mine")
    before = everything(place)
    for call in (
        lambda: clinic.predict_table(place / "the model", place / "new.tsv", out, ["--cores", "1"]),
        lambda: Predictions({"model": place / "the model", "cohort": "new.tsv", "out": out}),
    ):
        with pytest.raises(UsageError) as error:
            call()
        assert error.value.code == "E_OUT_TAKEN"
    assert everything(place) == before


def test_what_a_reader_puts_beside_answers_does_no_harm(place):
    answer(place, "pro002", identity(place / "the model"))
    for name in ("notes.txt", "plots/roc.png", ".DS_Store"):
        (place / "out" / name).parent.mkdir(exist_ok=True)
        (place / "out" / name).write_text("")
    answers.require_own(place / "out", identity(place / "the model"), ["pro002"])
    (place / "begun/registry").mkdir(parents=True)  # stopped before anybody was scored
    (place / "begun/registry/images.tsv").write_text("")
    answers.require_own(place / "begun", "", ["pro002"])


@pytest.mark.parametrize("name", ["answer.json", "docs/answer.json", "new/answer.json"])
def test_no_answer_is_written_into_a_model(place, study, name):
    with pytest.raises(UsageError) as error:
        clinic.predict_one(place / "the model", {}, None, place / "the model" / name, False)
    assert error.value.code == "E_OUT_TAKEN" and "locked model" in str(error.value)
    clinic.verify(place / "the model")


def test_images_that_nobody_registered(place):
    config = {"model": "the model", "cohort": "new.tsv", "out": "out"}
    with pytest.raises(UsageError) as error:
        Predictions(config)
    assert error.value.code == "E_INTAKE_NEEDED" and "promet predict" in str(error.value)
    for name in config:
        with pytest.raises(UsageError, match=name):
            Predictions({**config, name: ""})


def test_what_is_seen_of_it(place, study, capfd):
    (place / "broken.nii.gz").write_bytes(b"no image")
    write_table([study.row("pro001"), {**study.row("pro002"), "prostate": "broken.nii.gz"}])
    code = clinic.predict_cohort(place / "the model", place / "new.tsv", place / "out", ["--cores", "2"])
    seen = capfd.readouterr()
    assert code == 2 and seen.err == ""
    lines = seen.out.splitlines()
    assert lines[0] == "predict: 3 jobs (predict 2, collect)"
    assert sum("pro002" in line for line in lines) == 1
    assert any(
        line.startswith("quarantined: pro002 by predict, E_IMAGE_FORMAT: prostate: ") for line in lines
    )
    assert lines[-2] == "1 of 2 patients was refused; column reason says why"
    assert lines[-1] == f"1 patient scored: {place / 'out/predictions.tsv'}"
    assert not [line for line in lines if "DAG" in line or "Job stats" in line or "steps" in line]


def test_one_bad_cell_is_one_patients_fault(place, study):
    rows = [study.row(name) for name in ("pro001", "pro002", "met001")]
    bad = {"psa": "1_0", "months": "soon", "synchronous_metastasis": "0"}
    write_table([{**rows[0], **bad, "progression": ""}, rows[1], {**rows[2], "site": "A"}])
    assert predict(place) == (0, 3, 1)
    table = pd.read_csv("out/predictions.tsv", sep="\t").set_index("patient")
    assert table["status"].to_dict() == {"pro001": "quarantined", "pro002": "ok", "met001": "ok"}
    assert table.loc["pro001", "code"] == "E_CLINICAL_VALUE" and "psa" in table.loc["pro001", "reason"]
    assert (
        pd.isna(table.loc["pro001", "months"])
        and "months of the table is left out" in table.loc["pro001", "warnings"]
    )
    assert table.loc["met001", "months"] == float(rows[2]["months"]) and table.loc["met001", "site"] == "A"


def answer(place, name, digest, warnings=()):
    """An answer as an earlier call left it."""
    folder = place / "out/patients" / name
    folder.mkdir(parents=True)
    content = {"model": {"digest": digest}, "warnings": list(warnings)}
    (folder / "prediction.json").write_text(json.dumps(content))


def test_answers_of_another_model_stay(place, study):
    answer(place, "pro002", "0" * 64)
    before = (place / "out/patients/pro002/prediction.json").read_bytes()
    for call in (
        lambda: predict(place),
        lambda: Predictions({"model": "the model", "cohort": "new.tsv", "out": "out"}),
    ):
        with pytest.raises(UsageError) as error:
            call()
        assert error.value.code == "E_OUT_OTHER_MODEL"
    with pytest.raises(UsageError) as error:
        inputs = Inputs(Path("the model"), Path("new.tsv"), Path("x"), "pro002")
        run(inputs, None, Path("out/patients/pro002/predict.json"), "")
    assert error.value.code == "E_OUT_OTHER_MODEL"
    assert (place / "out/patients/pro002/prediction.json").read_bytes() == before


def test_a_folder_of_another_table_stays(place):
    answer(place, "somebody", identity(place / "the model"))
    with pytest.raises(UsageError) as error:
        predict(place)
    assert error.value.code == "E_OUT_OTHER_TABLE" and "somebody" not in str(error.value)
    (place / "file").write_text("")
    with pytest.raises(UsageError) as error:
        answers.require_own(place / "file", "", [])
    assert error.value.code == "E_OUT_TAKEN"


def test_one_answer_is_not_written_over_another_models(model, study, place):
    for content, code in (({"model": {"digest": "0"}}, "E_OUT_OTHER_MODEL"), ({"psa": 7}, "E_OUT_TAKEN")):
        Path("answer.json").write_text(json.dumps(content))
        with pytest.raises(UsageError) as error:
            clinic.predict_one(model, {}, None, Path("answer.json"), False)
        assert error.value.code == code and json.loads(Path("answer.json").read_text()) == content


def test_another_digest_scores_nobody(place):
    with pytest.raises(IntegrityError) as error:
        clinic.predict_table(place / "the model", place / "new.tsv", place / "out", [], "0" * 64)
    assert error.value.code == "E_MODEL_DIGEST" and not (place / "out").exists()
    config = {"model": "the model", "cohort": "new.tsv", "out": "out"}
    with pytest.raises(IntegrityError):
        Predictions({**config, "digest": "f" * 64})
    with pytest.raises(UsageError):
        Predictions({**config, "digest": ""})


def test_a_dry_run_says_that_nothing_was_scored_and_a_deleted_patient_leaves_nothing(place, study, capfd):
    digest = identity(place / "the model")
    words = (place / "the model", place / "new.tsv", place / "out")
    assert clinic.predict_cohort(*words, ["-n"], digest) == 0
    said = capfd.readouterr().out
    assert "not scored by this call: 3 patients of 3" in said and "predictions.tsv" not in said
    assert not (place / "out/predictions.tsv").exists()

    assert clinic.predict_cohort(*words, ["--cores", "2"], digest) == 0
    assert f"3 patients scored: {place / 'out/predictions.tsv'}" in capfd.readouterr().out
    told = json.loads((place / "out/patients/met001/prediction.json").read_text())
    assert told["model"] == {**told["model"], "digest": digest, "compared": True}
    evaluations_work_on_it_as_it_is(capfd)

    write_table([{**study.row("pro001"), "psa": "3"}, study.row("pro002")])
    assert clinic.predict_cohort(*words, ["--dry-run"], digest) == 0
    assert "not scored by this call: 1 patient of 2" in capfd.readouterr().out
    assert Path("out/patients/met001").is_dir()
    assert clinic.predict_cohort(*words, ["--cores", "2"], digest) == 0
    said = capfd.readouterr().out
    assert "deleted: the answers of 1 patient no longer in the table" in said and "2 patients scored" in said
    assert [path.name for path in Path("out").rglob("*met001*")] == []


def evaluations_work_on_it_as_it_is(capfd):
    """predictions.tsv and .parquet go into promet evaluation without a hand on them; test_validation.py has more patients."""
    frame = pd.read_csv("out/predictions.tsv", sep="\t").set_index("patient")
    assert {"role", "site", "synchronous_metastasis", "progression", "months"} <= set(frame)
    assert (
        frame.loc["met001", "lesion_source"] in ("given", "watershed")
        and frame.loc["met001", "inputs_used"] <= 7
    )
    assert frame.loc["met001", "voxel_mm"] == "6 x 6 x 6" and isinstance(frame.loc["met001", "suv_rule"], str)
    assert " | " in frame.loc["met001", "warnings"]
    missing = frame.loc["met001", "inputs_missing"].split(", ")
    assert len(missing) + frame.loc["met001", "inputs_used"] == 7 and "primary_score" in missing
    for words in (
        ["auc", "out/predictions.tsv", "--label", "synchronous_metastasis", "--score", "log_odds"],
        ["auc", "out/predictions.parquet", "--label", "synchronous_metastasis", "--score", "log_odds"],
    ):
        evaluation(words, standalone_mode=False)
    capfd.readouterr()
