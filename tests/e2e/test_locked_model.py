"""Freeze, run, ship: the locked model of the real pipeline scores the prospective patient as the pipeline did."""

import json
import re
import shutil

import pandas as pd
import pytest

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def frozen(study, tmp_path_factory):
    """A copy of the finished study, frozen and run again; the study, and the records that the run wrote."""
    folder = tmp_path_factory.mktemp("frozen") / "study"
    shutil.copytree(study.folder, folder)
    copy = type(study)(folder, folder / "config.yaml", study.size)
    before = {path: path.stat().st_mtime_ns for path in folder.glob("results/**/*.json")}
    assert not (copy.results / "model").exists()
    for words in (("freeze", "v1"), ("run", "--cores", "2")):
        done = copy.promet(*words)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    after = folder.glob("results/**/*.json")
    return copy, {path.name for path in after if before.get(path) != path.stat().st_mtime_ns}


def test_the_freeze_makes_the_model_and_trains_nothing(frozen):
    study, written = frozen
    assert "bundle.json" in written
    assert not written & {
        "convert.json",
        "train.json",
        "select.json",
        "score.json",
        "fuse.json",
        "evaluate.json",
    }
    done = study.snakemake("--cores", "1")
    assert "Nothing to be done" in done.stdout + done.stderr


def test_both_ways_of_verifying(frozen):
    study, _ = frozen
    assert study.promet("verify").returncode == 0
    done = study._call("promet.cli", "verify", str(study.results / "model"))
    assert done.returncode == 0 and "v1" in done.stdout


def test_the_prospective_patient(frozen, tmp_path):
    study, _ = frozen
    table = pd.read_parquet(study.results / "fusion/split-00/predictions.parquet").set_index("patient")
    patient = table.index[table["part"] == "prospective"][0]
    cohort = pd.read_csv(study.folder / "cohort.tsv", sep="\t", dtype=str).set_index("patient").loc[patient]
    names = ("psa", "grade_group", "positive_cores_percent", "primary_score", "psma_expression")
    row = {name: None if pd.isna(cohort[name]) else float(cohort[name]) for name in names}
    if not pd.isna(cohort["suv_peak_reader"]):
        row["suv_peak_reader"] = float(cohort["suv_peak_reader"])
    (tmp_path / "row.json").write_text(json.dumps(row))
    sources = [
        word
        for name in ("pet", "ct", "prostate", "lesions")
        if not pd.isna(cohort[name])
        for word in (f"--{name}", str(study.folder / cohort[name]))
    ]
    model = shutil.copytree(study.results / "model", tmp_path / "model")
    done = study._call(
        "promet.cli", "predict", str(model), *sources, "--clinical", str(tmp_path / "row.json"), "--json"
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["log_odds"] == table.loc[patient, "multimodal"]
    assert answer["probability"] == table.loc[patient, "multimodal_probability"]


def test_nobody_is_named(frozen):
    study, _ = frozen
    names = [line.split("\t")[0] for line in (study.folder / "cohort.tsv").read_text().splitlines()[1:]]
    pattern = re.compile("|".join(map(re.escape, names)).encode())
    files = [path for path in (study.results / "model").rglob("*") if path.is_file()]
    assert len(files) > 12 and pattern.search((study.folder / "cohort.tsv").read_bytes())
    assert [path.name for path in files if pattern.search(path.read_bytes())] == []
