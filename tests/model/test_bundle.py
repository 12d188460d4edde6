"""The bundle: its layout, that it names nobody, that it stays as it is, and what it refuses to lock."""

import json
import re
import shutil

import pandas as pd
import pytest

from promet.core import checksums
from promet.core.errors import IntegrityError, UsageError
from promet.core.files import digest_file, read_json
from promet.core.sidecar import Sidecar
from promet.model import contract
from promet.phantom.series import planted_markers

FILES = {
    *(f"configs/{name}.json" for name in ("metadata", "inference", "contract", "training")),
    *(f"models/{name}.json" for name in ("model", "naive_bayes", "thresholds", "distribution")),
    "models/model.safetensors",
    "docs/README.md",
    "docs/metrics.json",
    "LICENSE",
    *(f"reference/PT/{number:02d}.dcm" for number in range(1, 15)),
    *(f"reference/{name}" for name in ("prostate.nii", "lesions.nii", "expected.json")),
}


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "bundle.json"
    }


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != "bundle.json"}


def test_layout_and_checksums(model):
    assert set(content(model)) == {*FILES, "SHA256SUMS"}
    assert set(checksums.read(model)) == FILES
    assert checksums.compare(model, ("bundle.json",)) == []
    record = Sidecar.read(model / "bundle.json")
    assert record.ok and record.products == {"SHA256SUMS": digest_file(model / "SHA256SUMS")}


def test_no_patient_in_any_byte(model, study):
    markers = {text.encode() for text in (*study.patients, *planted_markers(14, 4, 2, 3, 2.0))}
    table = (study.folder / "cohort.tsv").read_bytes()
    assert sum(text in table for text in markers) == len(study.patients)  # the search can find them
    # A planted date counts only as a number of its own: eight digits occur by chance inside a long fraction.
    found = {
        (path.name, text)
        for path in model.rglob("*")
        if path.is_file()
        for text in markers
        if text in (inside := path.read_bytes())
        and (not text.isdigit() or re.search(rb"(?<![\d.])" + text + rb"(?!\d)", inside))
    }
    assert found == set()


def test_no_row_of_a_patient(model, study):
    """Of all scores and clinical values of single patients only a cut may be one."""
    table = pd.read_parquet(study.inputs.fuse.with_name("predictions.parquet"))
    values = table.select_dtypes("float64").drop(columns="label").to_numpy().ravel().tolist()
    single = {repr(value) for value in values if len(repr(value)) > 12}
    cuts = {repr(t) for cut in read_json(model / "models/thresholds.json")["cuts"] for t in cut["thresholds"]}
    assert len(single) > 100
    texts = [path.read_text() for path in model.rglob("*.json")] + [(model / "docs/README.md").read_text()]
    told = {number for text in texts for number in re.findall(r"-?\d+\.\d+(?:e-?\d+)?", text)}
    assert told & single <= cuts


def test_the_bundle_is_a_function_of_the_study(model, build, tmp_path, monkeypatch):
    """Not of the day, the folder, or the software that happens to be installed when it is made again."""
    monkeypatch.setattr("promet.core.stage.version", lambda name: "99")
    assert content(build(tmp_path / "again")) == content(model)


def test_what_is_the_same_stays(build, tmp_path):
    folder = build(tmp_path / "model")
    before = times(folder)
    assert build(folder) == folder and times(folder) == before


def test_new_patients_leave_it_as_it_is(model, build, study, tmp_path):
    """Their rows in predictions, in the metrics of those added later and in gather change; no file of the bundle does."""
    fuse, judged = (
        shutil.copytree(path.parent, tmp_path / path.stem)
        for path in (study.inputs.fuse, study.inputs.evaluate)
    )
    table = pd.read_parquet(fuse / "predictions.parquet")
    later = table[table["part"] == "prospective"].assign(patient="pro009", psa=99.0)
    pd.concat([table, later]).to_parquet(fuse / "predictions.parquet")
    metrics = read_json(judged / "metrics.json")
    metrics["sections"]["prospective"]["n"] += 1
    metrics["capra"]["incomplete"] += 1
    (judged / "metrics.json").write_text(json.dumps(metrics))
    record = Sidecar.read(judged / "evaluate.json")
    record.products["metrics.json"] = digest_file(judged / "metrics.json")
    record.write(judged / "evaluate.json")
    folder = shutil.copytree(model, tmp_path / "model")
    before = times(folder)
    build(folder, fuse=fuse / "fuse.json", evaluate=judged / "evaluate.json")
    assert times(folder) == before and content(folder) == content(model)


def test_another_model_does_not_take_its_name(model, build, study, tmp_path):
    fuse = shutil.copytree(study.inputs.fuse.parent, tmp_path / "fuse")
    fitted = read_json(fuse / "naive_bayes.json")
    fitted["models"]["multimodal"]["prior"] = [0.4, 0.6]
    (fuse / "naive_bayes.json").write_text(json.dumps(fitted))
    record = Sidecar.read(fuse / "fuse.json")
    record.products["naive_bayes.json"] = digest_file(fuse / "naive_bayes.json")
    record.write(fuse / "fuse.json")
    folder = shutil.copytree(model, tmp_path / "model")
    with pytest.raises(UsageError, match="fusion of this run would replace the locked model v1") as caught:
        build(folder, fuse=fuse / "fuse.json")
    assert caught.value.code == "E_MODEL_LOCKED" and content(folder) == content(model)
    build(tmp_path / "free", fuse=fuse / "fuse.json")


def test_what_the_card_says(model, study):
    card = (model / "docs/README.md").read_text()
    assert "Research use only" in card and "The authors" in card and "v1" in card
    assert Sidecar.read(study.inputs.dataset).values["fit"] in card
    assert "with metastases" in card and "promet predict" in card
    assert "None" not in card
    training = read_json(model / "configs/training.json")
    assert (training["freeze"], training["date"], training["split"]) == ("v1", "2026-01-01", 0)
    assert training["patients"] == 12 and training["prevalence"] == 0.5


def test_floored_densities_are_told(model, study):
    """The network's score is known in two validation patients of each class: too few to know how much it varies."""
    fitted = read_json(model / "models/naive_bayes.json")["models"]["multimodal"]["features"]
    assert fitted["cnn_score"]["seen"] == [2, 2] and any(fitted["cnn_score"]["floored"])
    agreed = read_json(model / "configs/contract.json")
    words = [w for w, floor in zip(("without", "with"), fitted["cnn_score"]["floored"], strict=True) if floor]
    assert agreed["floored"]["multimodal"]["cnn_score"] == words
    assert contract.floored({"models": {"a": {"features": {"psa": {"seen": [9, 9]}}}}}) == {}
    assert (
        "`cnn_score` (multimodal): too few or nearly equal values" in (model / "docs/README.md").read_text()
    )


def test_metrics_are_those_of_the_evaluation(model, study):
    told, found = (
        read_json(model / "docs/metrics.json"),
        read_json(study.inputs.evaluate.with_name("metrics.json")),
    )
    for key in ("synchronous", "metachronous"):
        for name, score in told["sections"][key]["scores"].items():
            source = found["sections"][key]["scores"][name]
            assert score["auc"] == source["auc"] and score["delong"]["low"] == source["delong"]["low"]
            assert "roc" not in score
    assert set(told["sections"]) == {"synchronous", "metachronous"}
    assert "curve" not in json.dumps(told)


def test_licence(build, tmp_path):
    assert "No licence has been given" in (build(tmp_path / "none") / "LICENSE").read_text()
    (tmp_path / "text").write_text("Do as you like.\n")
    assert (
        build(tmp_path / "given", licence=str(tmp_path / "text")) / "LICENSE"
    ).read_text() == "Do as you like.\n"


def test_the_first_of_several_splits_is_locked(build, tmp_path):
    assert "the first of 5" in (build(tmp_path / "model", splits=5) / "docs/README.md").read_text()


def test_changed_weights_or_parameters_are_not_locked(build, study, tmp_path):
    fuse = shutil.copytree(study.inputs.fuse.parent, tmp_path / "fusion")
    (fuse / "naive_bayes.json").write_text("{}")
    with pytest.raises(IntegrityError) as error:
        build(tmp_path / "one", fuse=fuse / "fuse.json")
    assert error.value.code == "E_PRODUCT_DIGEST"
    home = shutil.copytree(study.folder / "results/study", tmp_path / "study")
    weights = home / "network/paper/split-00/seed-00/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(IntegrityError) as error:
        build(tmp_path / "two", select=home / "select/split-00/select.json")
    assert error.value.code == "E_WEIGHTS_DIGEST"


@pytest.fixture(scope="session")
def ensemble(study, tmp_path_factory):
    """A copy of the study that chose the mean of both networks."""
    from promet.network import select
    from promet.network.settings import Select

    home = shutil.copytree(study.folder / "results/study", tmp_path_factory.mktemp("ensemble") / "study")
    seeds = sorted((home / "network/paper/split-00").iterdir())
    select.run(seeds, Select(rule="ensemble_mean"), home / "select/split-00/select.json", "p")
    return home


def test_an_ensemble_keeps_all_its_members(build, study, ensemble, tmp_path):
    from promet.model.predict import load, predict
    from promet.network import score

    folder = build(tmp_path / "model", select=ensemble / "select/split-00/select.json")
    assert {path.name for path in folder.glob("models/*.safetensors")} == {
        "model-00.safetensors",
        "model-01.safetensors",
    }
    score.run(
        score.Inputs(ensemble / "select/split-00/model.json", ensemble / "gather", study.inputs.patients),
        None,
        tmp_path / "score.json",
        "p",
    )
    scores = pd.read_parquet(tmp_path / "scores.parquet").set_index("patient")["cnn_score"]
    answer = predict(load(folder), study.files("pro001"), study.clinical("pro001"))
    assert answer["cnn_score"]["value"] == scores["pro001"] != study.scored("pro001")["cnn_score"]
    (folder / "SHA256SUMS").unlink()  # no longer a locked model
    build(folder)  # and back to one
    assert [path.name for path in folder.glob("models/*.safetensors")] == ["model.safetensors"]


def test_monai_reads_it(model):
    """The keys of the specification, and the network in the words of metadata.json and inference.json."""
    from monai.bundle import verify_net_in_out
    from monai.bundle.utils import DEFAULT_METADATA

    metadata = read_json(model / "configs/metadata.json")
    assert set(DEFAULT_METADATA) <= set(metadata)
    for ends in ("inputs", "outputs"):
        for tensor in metadata["network_data_format"][ends].values():
            assert set(tensor) == {
                *("type", "format", "modality", "num_channels", "spatial_shape", "dtype", "value_range"),
                *("is_patch_data", "channel_def"),
            }
    verify_net_in_out(
        "network",
        meta_file=str(model / "configs/metadata.json"),
        config_file=str(model / "configs/inference.json"),
        device="cpu",
        bundle_root=str(model),
    )


def test_a_freeze_with_waivers_tells_no_name(model, study):
    assert "dev001" in study.inputs.freeze.read_text()
    assert b"waiver" not in b"".join(content(model).values())


def test_verifying_the_study_reads_the_whole_bundle(model, tmp_path):
    """promet verify without a folder: the record names SHA256SUMS, and that every file."""
    from promet.commands.verify import damaged

    class Plan:
        def jobs(self):
            yield "bundle", {}

        def sidecar(self, stage, **at):
            return str(folder / "bundle.json")

    folder = shutil.copytree(model, tmp_path / "model")
    assert damaged(Plan()) == (1 + len(FILES), [])
    (folder / "models/thresholds.json").write_text("{}")
    damages = damaged(Plan())[1]
    assert [(damage.product, damage.what) for damage in damages] == [("models/thresholds.json", "changed")]


@pytest.mark.parametrize("name", ["models/naive_bayes.json", "models/model.json", "docs/README.md"])
def test_a_damaged_file_is_written_again(build, model, tmp_path, name):
    folder = build(tmp_path / "model")
    (folder / name).write_bytes(b"\xff\x00 damaged")
    build(folder)
    assert content(folder) == content(model)


def test_damage_is_no_way_round_the_lock(model, build, study, tmp_path):
    folder = build(tmp_path / "model")
    (folder / "models/naive_bayes.json").write_bytes(b"damaged")
    sums = (folder / checksums.NAME).read_text()
    (folder / checksums.NAME).write_text(
        "".join(line if "naive_bayes" not in line else "0" * 64 + line[64:] for line in sums.splitlines(True))
    )
    with pytest.raises(UsageError) as caught:
        build(folder)
    assert caught.value.code == "E_MODEL_LOCKED" and "The fusion of this run" in str(caught.value)
