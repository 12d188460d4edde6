"""The checklist says what the records say, and nothing else."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.forms import whole
from typer.testing import CliRunner

from promet.core.files import read_json, write_json
from promet.core.sidecar import Sidecar
from promet.evaluation import evaluate, pool, tripod
from promet.evaluation.cli import app
from promet.evaluation.settings import Evaluation
from promet.study.forms.metrics import Metrics


def study_folder(folder, splits: int = 1):
    """Records of a small study as the stages write them."""
    random = np.random.default_rng(0)
    rows, cohort = [], {}
    for part, count in {"training": 20, "validation": 12, "test": 14, "metachronous": 10}.items():
        for i in range(count):
            patient, y = f"P{len(rows):03d}", i % 2
            cohort[patient] = {
                "patient": patient,
                "synchronous_metastasis": "" if part == "metachronous" else str(y),
                "progression": str(y) if part == "metachronous" else "",
                "months": ("20" if y else "60") if part == "metachronous" else "",
            }
            x = 0.8 * random.normal(size=3) + y
            rows.append([patient, part, float(y), *x, *(1 / (1 + np.exp(-x[:2])))])
    columns = ["patient", "part", "label", "multimodal", "clinical", "cnn_score"]
    columns += ["multimodal_probability", "clinical_probability"]
    table = pd.DataFrame(rows, columns=columns).assign(suv_peak=1.0, psa=5.0)
    metrics, _ = evaluate.study(
        cohort, table, table[["patient"]].assign(suv_max=3.0), Evaluation(bootstrap=100)
    )
    Sidecar(
        stage="gather", pin="", values={"patients": 60, "ok": 56, "no-lesion": 3, "quarantined": 1}
    ).write(folder / "gather/gather.json")
    for k in range(splits):
        split = f"split-{k:02d}"
        values = {
            "parts": {"training": 20, "validation": 12, "test": 14, "metachronous": 10},
            "fitted_on": {"training": 20, "validation": 12},
            "missing": {"psa": 4, "cnn_score": 0},
            "suv_peak_source": {"reader": 7, "measured": 49},
            "cnn_score_fitted_on": "validation",
        }
        Sidecar(stage="fuse", pin="", values=values, versions={"numpy": "2"}).write(
            folder / f"fusion/{split}/fuse.json"
        )
        bayes = {"log": ["psa"], "models": {"multimodal": {"order": ["cnn_score", "psa"]}}}
        write_json(folder / f"fusion/{split}/naive_bayes.json", bayes)
        write_json(folder / f"evaluation/{split}/metrics.json", whole(Metrics, metrics))
        Sidecar(stage="evaluate", pin="", digest="abc").write(folder / f"evaluation/{split}/evaluate.json")
        chosen = {"metric": "auc", "variant": "paper", "seed": 3, "candidates": 2}
        Sidecar(stage="select", pin="", values=chosen).write(folder / f"select/{split}/select.json")
        for seed in (0, 3):
            Sidecar(stage="train", pin="", values={"parameters": 1007105}, versions={"torch": "2"}).write(
                folder / f"network/paper/{split}/seed-{seed:02d}/train.json"
            )
    return metrics


def test_all_27_items_in_their_order(tmp_path) -> None:
    study_folder(tmp_path)
    items = tripod.checklist(tripod.facts(tmp_path, {}))
    numbers = [int(row["item"].rstrip("abcdefg")) for row in items]
    assert numbers == sorted(numbers) and set(numbers) == set(range(1, 28)) and len(items) == 52
    assert len({row["item"] for row in items}) == 52
    for row in items:
        assert row["text"] and row["asks"]
        assert (tripod.UNKNOWN in row["text"]) == (row["status"] != "answered")
        assert row["text"].startswith(tripod.UNKNOWN) == (row["status"] == "authors")


def test_sentences_come_from_the_records(tmp_path) -> None:
    metrics = study_folder(tmp_path, splits=2)
    config = {"split": {"ratios": [0.5, 0.2, 0.3]}}
    text = {row["item"]: row["text"] for row in tripod.checklist(tripod.facts(tmp_path, config))}
    assert "Of 60 patients in the table 1 were quarantined" in text["6b"] and "3 had no lesion" in text["6b"]
    assert "psa 4" in text["11"] and "cnn_score" not in text["11"].split(".")[0]
    assert "first of 2 splits: training 20" in text["12a"] and "0.5 / 0.2 / 0.3" in text["12a"]
    assert "2 networks" in text["12c"] and "seed 3" in text["12c"]
    assert "reader's in 7 patients and measured in 49" in text["9b"]
    assert "torch 2" in text["18f"]
    test = metrics["sections"]["synchronous"]
    record, prefer = test["scores"]["multimodal"], test["interval_advice"]["prefer"]
    assert f"AUC {record['auc']:.2f} ({record[prefer]['low']:.2f} to" in text["23a"]
    assert f"slope {metrics['recalibration']['multimodal']['slope']:.2f}" in text["12f"]
    assert f"{test['calibration']['multimodal']['after']['brier']:.3f}" in text["24"]
    assert "14 patients, 7 with metastases" in text["26"] and "one split" not in text["26"]
    assert "training 20 patients (10 with" in text["21"]


def test_an_ensemble_is_said_to_be_one(tmp_path) -> None:
    study_folder(tmp_path)
    path = tmp_path / "select/split-00/select.json"
    record = Sidecar.read(path)
    record.values |= {"rule": "ensemble_top_k", "members": 5, "candidates": 50}
    record.write(path)
    write_json(
        path.with_name("model.json"),
        {"members": [{"architecture": {"name": "resnet18"}}], "digest": "f" * 64},
    )
    known = tripod.facts(tmp_path, {})
    text = {row["item"]: row["text"] for row in tripod.checklist(known)}
    card = {part["title"]: " ".join(part["sentences"]) for part in tripod.model_card(known)}
    for said in (text["12c"], card["Model"]):
        assert "50" in said and "mean logit of the 5 best" in said
    assert "resnet18" in card["Model"] and "1,007,105 parameters" in card["Model"]


def test_several_splits_are_told_together(tmp_path) -> None:
    metrics = study_folder(tmp_path, splits=3)
    others = [json.loads(json.dumps(metrics)) for _ in range(3)]
    for k, other in enumerate(others):
        other["sections"]["synchronous"]["scores"]["cnn_score"]["auc"] = 0.6 + 0.1 * k
    found = pool.pool(others)
    write_json(tmp_path / "evaluation/pooled.json", found)
    text = {row["item"]: row["text"] for row in tripod.checklist(tripod.facts(tmp_path, {}))}["23a"]
    record = found["sections"]["synchronous"]["scores"]["cnn_score"]
    assert f"3 splits together, cnn_score: mean AUC 0.70 ({record['low']:.2f} to {record['high']:.2f}" in text
    assert "together, multimodal" not in text  # it does not differ between these splits: no interval


def test_places_are_headings_of_the_report(tmp_path) -> None:
    study_folder(tmp_path)
    report = Path(__file__).parents[2] / "scripts/promet/report"
    text = "".join(
        path.read_text(encoding="utf-8") for path in (report / "page.py", report / "web/page.html")
    )
    where = {row["where"] for row in tripod.checklist(tripod.facts(tmp_path, {}))}
    named = {place.removeprefix("report: ") for place in where if place.startswith("report: ")}
    assert len(named) >= 6
    for heading in named:
        assert f'"{heading}"' in text or f">{heading}<" in text, f"the report has no part {heading}"


def test_without_records_nothing_is_claimed(tmp_path) -> None:
    Sidecar(stage="gather", pin="", values={"patients": 5, "ok": 5}).write(tmp_path / "gather/gather.json")
    rows = {row["item"]: row for row in tripod.checklist(tripod.facts(tmp_path, {}))}
    for item in ("12a", "12b", "12c", "12e", "15", "20b", "21", "22", "23a", "24", "27a"):
        assert rows[item]["status"] == "authors", item
        assert rows[item]["where"] == ""
    assert "not finished" in rows["12a"]["text"]
    card = {part["title"]: part["sentences"] for part in tripod.model_card(tripod.facts(tmp_path, {}))}
    assert card["Performance"] == [] and card["What promet does not know"]


def test_scores_without_interval_or_auc_are_said_as_such(tmp_path) -> None:
    metrics = study_folder(tmp_path)
    section = metrics["sections"]["synchronous"]
    section["scores"]["clinical"]["auc"] = None
    for kind in ("delong", "logit", "bootstrap"):
        section["scores"]["multimodal"][kind] |= {"low": None, "high": None}
    section["interval_advice"] |= {"prefer": None}
    metrics["recalibration"]["multimodal"] |= {"usable": False, "reason": "Too few."}
    section["calibration"]["multimodal"]["after"] = None
    write_json(tmp_path / "evaluation/split-00/metrics.json", whole(Metrics, metrics))
    text = {row["item"]: row["text"] for row in tripod.checklist(tripod.facts(tmp_path, {}))}
    assert "(no interval)" in text["23a"] and "test part, clinical" not in text["23a"]
    assert "Too few." in text["12f"] and "not usable" in text["24"]


def test_command(tmp_path) -> None:
    study_folder(tmp_path / "a study")
    out = tmp_path / "a study/evaluation/tripod.json"
    arguments = ["tripod", "--study", str(tmp_path / "a study"), "--out", str(out), "--config", "{}"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    found = read_json(out.with_name("checklist.json"))
    assert sum(found["counts"].values()) == len(found["items"]) == 52
    assert Sidecar.read(out).inputs["evaluate"] == "abc"
    assert str(tmp_path) not in json.dumps(found)
    before = Sidecar.read(out).digest
    CliRunner().invoke(app, arguments)
    assert Sidecar.read(out).digest == before


@pytest.mark.parametrize(
    ("make", "config", "code"),
    [(False, "{}", "E_STUDY_MISSING"), (True, "{}", "E_STUDY_EMPTY"), (True, "no", "E_CONFIG_JSON")],
)
def test_refusals(tmp_path, make: bool, config: str, code: str) -> None:
    study = tmp_path / "study"
    if make:
        study.mkdir()
    result = CliRunner().invoke(
        app, ["tripod", "--study", str(study), "--config", config, "--out", str(tmp_path / "out.json")]
    )
    assert result.exception.code == code
