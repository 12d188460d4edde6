"""predictions.tsv as the collect job writes it goes into every command of promet evaluation that docs/model.md names."""

import copy
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from scipy.stats import rankdata
from typer.testing import CliRunner

from promet.core.files import write_json
from promet.core.sidecar import QUARANTINED, Sidecar
from promet.evaluation.cli import app
from promet.model.collect import collect
from promet.model.opened import load
from promet.model.predict import predict

ROOT = Path(__file__).parents[2]
PATIENTS = 60


@pytest.fixture(scope="module")
def answers(model, study, tmp_path_factory):
    """The answers of a table of 60: one patient's, moved, with log-odds as far out as naive Bayes goes; some refused."""
    folder = tmp_path_factory.mktemp("a second centre")
    opened = load(model)
    whole = predict(opened, study.files("met001"), study.clinical("pro001"))
    gaps = predict(opened, study.files("met001"), {})
    random = np.random.default_rng(18)
    lines = ["patient\trole\tpet\tprostate\tsite\tsynchronous_metastasis\tprogression\tmonths"]
    names = [f"new{i:02d}" for i in range(PATIENTS)]
    for i, name in enumerate(names):
        label = int(random.random() < 0.4)
        months = random.integers(3, 72)
        outcome = (label, "", "") if i % 2 else ("", int(random.random() < 0.5), months)
        site = ('Clinic "North" | A', "Münster 'B'", "NA", "")[i % 4]
        lines.append(
            "\t".join(
                map(
                    str,
                    (name, "test" if i == 3 else "", "x", "y", '"' + site.replace('"', '""') + '"', *outcome),
                )
            )
        )
        record = Sidecar("predict", "p")
        if i % 10 == 9:
            record.status, record.code = QUARANTINED, "E_CLINICAL_VALUE"
            record.reason = 'psa is "high"\nand\tno number'
        else:
            answer = copy.deepcopy(gaps if i % 10 == 4 else whole)
            log_odds = float(random.normal(30 * label - 15, 25))
            answer["log_odds"], answer["probability"] = log_odds, float(expit(log_odds))
            for cut in answer["groups"].values():
                cut["group"] = None if i % 10 == 4 else "high" if log_odds > 0 else "low"
            write_json(folder / "patients" / name / "prediction.json", answer)
        record.write(folder / "patients" / name / "predict.json")
    (folder / "new.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    collect(names, folder / "patients", folder / "new.tsv", folder / "predictions.parquet")
    return folder


def call(*words):
    done = CliRunner().invoke(app, [*map(str, words), "--json"])
    assert done.exit_code == 0, done.output + str(done.exception)
    return json.loads(done.output)


@pytest.mark.parametrize("suffix", ["tsv", "parquet"])
def test_every_command_of_the_page_computes(answers, suffix):
    """Not only without an error: no figure that the table allows is withheld."""
    page = (ROOT / "docs/model.md").read_text()
    lines = re.findall(r"^promet evaluation (.*answers/predictions\.tsv.*?)(?:  #.*)?$", page, re.MULTILINE)
    kinds = {line.split()[0]: line for line in lines}
    assert {"auc", "survival", "calibration", "decision-curve"} == set(kinds)
    table = pd.read_parquet(answers / "predictions.parquet")
    known = table[table["synchronous_metastasis"].notna() & table["log_odds"].notna()]
    for line in lines:
        words = line.replace("answers/predictions.tsv", "FILE").split()
        found = call(*(answers / f"predictions.{suffix}" if word == "FILE" else word for word in words))
        match words[0]:
            case "auc":
                assert found["n"] == len(known) and found["auc"] == pytest.approx(by_ranks(known), abs=1e-12)
            case "calibration":
                assert (
                    found["n"] == len(known) and found["observed"] == known["synchronous_metastasis"].mean()
                )
                assert found["slope"]["value"] is not None and found["intercept"]["value"] is not None
                assert found["expected_observed"]["ratio"] == pytest.approx(
                    known["probability"].mean() / found["observed"], rel=1e-12
                )
            case "decision-curve":
                for name, curve in found["models"].items():
                    assert not np.isnan(table[name].to_numpy(float)).all()
                    assert len(curve["net_benefit"]) == len(found["thresholds"]) > 0
            case "survival":
                there = table[table["progression"].notna() & table["log_odds"].notna()]
                if "--score" in words:
                    assert found["n"] == len(there) and found["cox"]["hazard_ratio"] is not None
                else:
                    assert 0 < found["n"] < len(there) and {g["name"] for g in found["groups"]} == {
                        "low",
                        "high",
                    }
                assert found["events"] > 0


def by_ranks(known):
    y, ranks = known["synchronous_metastasis"].to_numpy() == 1, rankdata(known["log_odds"])
    return (ranks[y].sum() - y.sum() * (y.sum() + 1) / 2) / (y.sum() * (~y).sum())


def test_both_tables_hold_the_same_to_the_last_bit(answers):
    one = pd.read_parquet(answers / "predictions.parquet")
    other = pd.read_csv(
        answers / "predictions.tsv",
        sep="\t",
        float_precision="round_trip",
        keep_default_na=False,
        na_values=[""],
    )
    for name in one.select_dtypes("number"):
        np.testing.assert_array_equal(other[name].to_numpy(float), one[name].to_numpy(float, na_value=np.nan))
    assert other["site"].fillna("").tolist() == one["site"].fillna("").tolist()
    assert (one["probability"] == 1).any() and (
        (one["probability"] > 1 - 1e-10) & (one["probability"] < 1)
    ).any()
    for line in (answers / "predictions.tsv").read_text(encoding="utf-8").splitlines():
        assert line.count("\t") == len(one.columns) - 1


def test_rounded_probabilities_say_what_to_give_instead(answers):
    words = ("calibration", answers / "predictions.tsv", "--label", "synchronous_metastasis")
    found = call(*words, "--probability", "probability")
    assert found["slope"]["value"] is None and any("--log-odds" in note for note in found["notes"])
    for more in ((), ("--probability", "probability", "--log-odds", "log_odds")):
        done = CliRunner().invoke(app, [*map(str, words), *more])
        assert "E_OPTIONS" in str(getattr(done.exception, "code", "")), done.output


def test_what_is_no_role_is_left_out_and_said(answers):
    table = pd.read_parquet(answers / "predictions.parquet").set_index("patient")
    assert table["role"].eq("").all() and "role of the table is left out" in table.loc["new03", "warnings"]
