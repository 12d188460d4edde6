"""The evaluate stage and the stand-alone commands."""

import json

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from sklearn.metrics import roc_auc_score
from statsmodels.api import Logit, add_constant
from tests import tables
from typer.testing import CliRunner

from promet.core.errors import UsageError
from promet.core.files import read_json
from promet.core.sidecar import Sidecar
from promet.evaluation import evaluate
from promet.evaluation.cli import app
from promet.evaluation.settings import Evaluation
from promet.study import outcome
from promet.study.forms.tables import PATIENTS, PREDICTIONS

PARTS = {"training": 20, "validation": 10, "test": 14, "metachronous": 12, "prospective": 2}
FAST = Evaluation(bootstrap=100)


class Study:
    def __init__(self) -> None:
        random = np.random.default_rng(3)
        self.cohort, rows = {}, []
        for part, count in PARTS.items():
            for i in range(count):
                patient, y = f"P{len(rows):03d}", i % 2
                known = part not in ("metachronous", "prospective")
                self.cohort[patient] = {
                    "patient": patient,
                    "psa": f"{np.exp(random.normal(2 + y)):.3g}",
                    "grade_group": str(random.integers(1, 5) + y),
                    "positive_cores_percent": str(random.integers(5, 95)),
                    "clinical_t": "T2a",
                    "age": "66",
                    "synchronous_metastasis": str(y) if known else "0" if part == "metachronous" else "",
                    "progression": str(y) if part == "metachronous" else "",
                    "months": str(20 if y else 60) if part == "metachronous" else "",
                    "ucla_psma_risk": "",
                }
                x = random.normal(size=5) + y
                rows.append(
                    [patient, part, float(y) if known else 0.0, *x, float(self.cohort[patient]["psa"])]
                )
        columns = [
            "patient",
            "part",
            "label",
            "multimodal",
            "clinical",
            "cnn_score",
            "suv_peak",
            "suv_max",
            "psa",
        ]
        self.predictions = pd.DataFrame(rows, columns=columns)
        self.measures = self.predictions[["patient", "suv_max"]].iloc[::-1]
        self.predictions = self.predictions.drop(columns="suv_max")
        for name in ("multimodal", "clinical"):
            self.predictions[f"{name}_probability"] = 1 / (1 + np.exp(-self.predictions[name]))

    def metrics(self, settings: Evaluation = FAST) -> dict:
        found, self.capra = evaluate.study(self.cohort, self.predictions, self.measures, settings)
        json.dumps(found, allow_nan=False)
        return found


@pytest.fixture
def study() -> Study:
    return Study()


def test_sections_and_scores(study: Study) -> None:
    found = study.metrics()
    assert found["section_order"] == list(found["sections"])
    seen = {key: s["seen"] for key, s in found["sections"].items()}
    assert seen == {
        "synchronous": False,
        "synchronous_training": True,
        "synchronous_validation": True,
        "metachronous": False,
        "prospective": False,
    }
    test = found["sections"]["synchronous"]
    assert (test["n"], test["positives"], test["negatives"], test["status"]) == (14, 7, 7, "ok")
    assert list(test["scores"]) == found["order"][:-1]
    assert found["order"] == [
        "multimodal",
        "clinical",
        "cnn_score",
        "suv_max",
        "suv_peak",
        "psa",
        "capra",
        "ucla_psma_risk",
    ]
    assert set(test["paired"]) == set(test["scores"]) - {"multimodal"}
    table = study.predictions[study.predictions["part"] == "test"]
    y = [float(study.cohort[p]["synchronous_metastasis"]) for p in table["patient"]]
    for name in ("multimodal", "cnn_score", "psa", "clinical"):
        assert test["scores"][name]["auc"] == pytest.approx(roc_auc_score(y, table[name]))
    peak = study.measures.set_index("patient").loc[table["patient"], "suv_max"]
    assert test["scores"]["suv_max"]["auc"] == pytest.approx(roc_auc_score(y, peak))
    assert any("not performance" in note for note in found["sections"]["synchronous_training"]["notes"])
    prospective = found["sections"]["prospective"]
    assert prospective["status"] == "empty" and "Of 2 patients" in prospective["reason"]
    assert not found["scores"]["ucla_psma_risk"]["available"]
    assert "not public" in found["scores"]["ucla_psma_risk"]["reason"]


def test_more_models_are_scored(study: Study) -> None:
    study.predictions["other"] = study.predictions["other_probability"] = study.predictions["psa"]
    found = study.metrics()
    assert found["order"][:3] == ["multimodal", "clinical", "other"]
    section = found["sections"]["synchronous"]["scores"]
    assert section["other"]["auc"] == section["psa"]["auc"]


def test_patients_without_lesion_are_missing_only_for_their_scores(study: Study) -> None:
    patient = study.predictions.loc[study.predictions["part"] == "test", "patient"].iloc[0]
    study.predictions.loc[study.predictions["patient"] == patient, "cnn_score"] = np.nan
    test = study.metrics()["sections"]["synchronous"]
    assert test["no_lesion"] == 1
    assert (test["scores"]["cnn_score"]["n"], test["scores"]["cnn_score"]["missing"]) == (13, 1)
    assert test["scores"]["multimodal"]["n"] == 14
    assert test["paired"]["cnn_score"]["n"] == 13 and test["paired"]["psa"]["n"] == 14


def test_recalibration_is_learnt_on_validation_and_judged_elsewhere(study: Study) -> None:
    # Probabilities three times too extreme everywhere.
    for name in ("multimodal", "clinical"):
        study.predictions[name] *= 3
    found = study.metrics()
    assert set(found["recalibration"]) == {"multimodal", "clinical"}
    validation = study.predictions[study.predictions["part"] == "validation"]
    by = found["recalibration"]["multimodal"]
    fitted = Logit(validation["label"], add_constant(validation["multimodal"])).fit(disp=0)
    assert (by["intercept"], by["slope"]) == pytest.approx(tuple(fitted.params), rel=1e-5)
    assert by["n"] == 10 and by["usable"]
    test = found["sections"]["synchronous"]["calibration"]["multimodal"]
    mine = study.predictions[study.predictions["part"] == "test"]
    after = 1 / (1 + np.exp(-(by["intercept"] + by["slope"] * mine["multimodal"])))
    assert test["after"]["brier"] == pytest.approx(np.mean((after - mine["label"]) ** 2))
    assert test["after"]["brier"] < test["before"]["brier"]
    assert test["after"]["slope"]["value"] == pytest.approx(test["before"]["slope"]["value"] / by["slope"])
    assert set(found["sections"]["synchronous"]["decision"]["models"]) == {"multimodal", "clinical"}
    assert found["sections"]["synchronous_training"]["calibration"] == {}
    later = found["sections"]["metachronous"]
    assert later["calibration"]["clinical"]["before"]["n"] == 12
    assert any("difference between the two rates" in note for note in later["notes"])
    # Test labels never reach the recalibration.
    for patient in mine["patient"]:
        study.cohort[patient]["synchronous_metastasis"] = "1"
    assert study.metrics()["recalibration"] == found["recalibration"]


def test_unusable_recalibration_leaves_after_empty(study: Study) -> None:
    validation = study.predictions["part"] == "validation"
    study.predictions.loc[validation, "multimodal"] = study.predictions.loc[validation, "label"] * 2 - 1
    found = study.metrics()
    assert "infinite" in found["recalibration"]["multimodal"]["reason"]
    assert found["sections"]["synchronous"]["calibration"]["multimodal"]["after"] is None


@pytest.mark.parametrize(
    ("progression", "months", "label"),
    [
        ("1", "47", 1),
        ("1", "48", 1),
        ("1", "49", 0),
        ("1", "", None),
        ("0", "48", 0),
        ("0", "47", None),
        ("0", "", None),
        ("", "60", None),
    ],
)
def test_progression_within_the_horizon(progression: str, months: str, label: int | None) -> None:
    value = outcome.label({"progression": progression, "months": months}, outcome.METACHRONOUS, 48)
    assert (None if np.isnan(value) else value) == label


def test_short_follow_up_is_counted(study: Study) -> None:
    first = next(p for p, row in study.cohort.items() if row["progression"] == "0")
    for row in study.cohort.values():
        row["months"] = "20" if row["progression"] == "1" else row["months"]
    study.cohort[first]["months"] = "30"
    section = study.metrics()["sections"]["metachronous"]
    assert (section["patients"], section["n"], section["positives"]) == (12, 11, 6)
    assert (section["unknown"], section["excluded"], section["horizon"]) == (1, [], 48)
    # who left at 30 was still there when all six progressed at 20: 6 of 12, not 6 of 11
    assert section["calibration"]["multimodal"]["before"]["observed"] == pytest.approx(0.5)
    assert any(note.startswith("1 patient left before 48 months") for note in section["notes"])


def test_capra_table(study: Study) -> None:
    study.cohort["P000"].update(grade_group="")
    found = study.metrics()
    assert found["capra"] == {"complete": 57, "incomplete": 1}
    row = study.capra.set_index("patient").loc["P000"]
    assert np.isnan(row["capra"]) and row["group"] == "" and "gleason missing" in row["notes"]
    assert study.capra.set_index("patient").loc["P001", "points_age"] == 1


def test_ucla_from_column_or_coefficients(study: Study) -> None:
    study.cohort["P001"].update(clinical_t="T3b", psa="")  # PSA has weight 0 below: not needed
    study.cohort["P000"]["grade_group"] = ""
    weights = {
        "intercept": -3,
        "grade_group": 0.7,
        "positive_cores_percent": 0.03,
        "psa": 0.0,
        "clinical_t": 0.5,
    }
    settings = Evaluation(bootstrap=100, ucla_psma=weights)
    risk, sentence = evaluate.ucla(study.cohort, ["P000", "P001"], settings.ucla_psma)
    row = study.cohort["P001"]
    eta = -3 + 0.7 * float(row["grade_group"]) + 0.03 * float(row["positive_cores_percent"]) + 0.5
    assert np.isnan(risk[0]) and risk[1] == pytest.approx(1 / (1 + np.exp(-eta)))
    assert "configuration" in sentence
    row["positive_cores_percent"] = "0.5"  # a share, not percent
    assert np.isnan(evaluate.ucla(study.cohort, ["P001"], settings.ucla_psma)[0][0])
    row["positive_cores_percent"] = "40"
    assert study.metrics(settings)["scores"]["ucla_psma_risk"]["available"]
    study.cohort["P001"]["ucla_psma_risk"] = "0.25"
    risk, sentence = evaluate.ucla(study.cohort, ["P000", "P001"], settings.ucla_psma)
    assert risk[1] == 0.25 and np.isnan(risk[0]) and "column" in sentence
    with pytest.raises(ValidationError, match="all five"):
        Evaluation(ucla_psma={"intercept": 1})


def test_bad_cell_is_refused(study: Study) -> None:
    study.cohort["P001"]["age"] = "old"
    with pytest.raises(UsageError, match="Column age of patient P001"):
        study.metrics()


def test_stage_is_repeatable(study: Study, tmp_path) -> None:
    pd.DataFrame(list(study.cohort.values())).to_csv(tmp_path / "cohort.tsv", sep="\t", index=False)
    tables.write(PREDICTIONS, tmp_path / "predictions.parquet", study.predictions)
    tables.write(PATIENTS, tmp_path / "patients.parquet", study.measures)
    digests = []
    for name in ("one", "two dirs"):
        out = tmp_path / name / "evaluate.json"
        result = CliRunner().invoke(
            app,
            [
                "evaluate",
                "--cohort",
                str(tmp_path / "cohort.tsv"),
                "--predictions",
                str(tmp_path / "predictions.parquet"),
                "--measures",
                str(tmp_path / "patients.parquet"),
                "--out",
                str(out),
                "--settings",
                '{"bootstrap": 100}',
            ],
        )
        assert result.exit_code == 0, result.output
        record = Sidecar.read(out)
        digests.append(record.digest)
        assert set(record.products) == {"metrics.json", "capra.parquet"}
        assert any("UCLA" in sentence for sentence in record.warnings)
    assert digests[0] == digests[1]
    written = read_json(tmp_path / "one" / "metrics.json")
    assert written["bootstrap"] == {"resamples": 100, "seed": 0}
    assert written == json.loads(json.dumps(study.metrics()))
