"""A table of new patients through workflow/predict.smk: who is scored, who is refused, and what runs again."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from promet.core.errors import UsageError
from promet.model import clinic
from promet.model.plan import Predictions

COLUMNS = ("patient", "pet", "prostate", "lesions", "psa", "grade_group", "positive_cores_percent")


@pytest.fixture
def place(model, study, tmp_path, monkeypatch):
    """A clinic's folder: the model, the images of three men, and a table without the columns it does not have."""
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


@pytest.mark.parametrize(
    ("cells", "column"),
    [({"psa": "7,5"}, "psa"), ({"grade_group": "9"}, "grade_group"), ({"patient": ""}, "patient")],
)
def test_a_table_with_faults_scores_nobody(place, study, cells, column):
    write_table([{**study.row("pro001"), **cells}])
    with pytest.raises(UsageError) as error:
        predict(place)
    assert error.value.code == "E_COHORT_FAULTS" and column in str(error.value)
    assert not (place / "out").exists()


def test_two_patients_with_one_pet(place, study):
    write_table([study.row("pro001"), {**study.row("pro002"), "pet": study.row("pro001")["pet"]}])
    with pytest.raises(UsageError) as error:
        predict(place)
    assert error.value.code == "E_SAME_IMAGES"


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
