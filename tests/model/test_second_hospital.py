"""A locked model at a second hospital: what is told of its patients, and the model updated on them."""

import copy
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from promet.centres import form, scored, update, validate
from promet.core import checksums
from promet.core.errors import IntegrityError, UsageError
from promet.core.files import read_json, write_json
from promet.core.sidecar import QUARANTINED, Sidecar
from promet.evaluation.evaluate import study as evaluation
from promet.evaluation.settings import Evaluation
from promet.model.clinic import verify
from promet.model.opened import load
from promet.model.predict import predict
from promet.model.update import FILE
from promet.study.table import by_patient

PATIENTS = 64
PLANTED = ("zebra", "19876.25", "27.123")  # a pseudonym, a PSA, an age


def hospital(folder, opened, answer, n=PATIENTS, seed=4, shift=0.0, slope=1.0, order=None):
    """Answers of n patients whose inputs add what they like, and a table with their outcome; some refused, some without one."""
    rng = np.random.default_rng(seed)
    names = list(answer["inputs"])
    prior = answer["log_odds"] - sum(entry["log_odds"] for entry in answer["inputs"].values())
    rows = []
    for i in range(n):
        made = copy.deepcopy(answer)
        for name in names:
            made["inputs"][name]["log_odds"] = float(rng.normal(0, 0.7))
        made["log_odds"] = prior + sum(entry["log_odds"] for entry in made["inputs"].values())
        made["probability"] = float(expit(made["log_odds"]))
        label = int(rng.random() < expit(shift + slope * (made["log_odds"] - prior)))
        for cut in made["groups"].values():
            cut["group"] = "high" if made["log_odds"] > prior else "low"
        patient = f"zebra{i:03d}"
        made["image"]["tracer"] = ("68Ga-PSMA-11", "18F-PSMA-1007")[i % 2]
        made["inputs_missing"] = [names[0]] if i % 4 == 0 else []
        record = Sidecar("predict", "p")
        if i % 16 == 15:
            record.status, record.code, record.reason = QUARANTINED, "E_PET_UNITS", "units"
        else:
            write_json(folder / "patients" / patient / "prediction.json", made)
        record.write(folder / "patients" / patient / "predict.json")
        rows.append(
            f"{patient}\tx\ty\t{'' if i % 16 == 14 else label}\t{27.123 + i % 60}\t{1 + i % 5}\t19876.25"
        )
    if order is not None:
        rows = [rows[k] for k in np.random.default_rng(order).permutation(n)]
    table = folder / "cohort.tsv"
    table.write_text(
        "\n".join(["patient\tpet\tprostate\tsynchronous_metastasis\tage\tgrade_group\tpsa", *rows]) + "\n"
    )
    return table


@pytest.fixture(scope="module")
def answer(model, study):
    return predict(load(model), study.files("met001"), study.clinical("pro001"))


@pytest.fixture(scope="module")
def judged(model, answer, tmp_path_factory):
    """A hospital validated: its folder."""
    folder = tmp_path_factory.mktemp("a place")
    table = hospital(folder, load(model), answer)
    validate.run(
        validate.Inputs(model, table, folder),
        validate.Validation(site="St Anna"),
        folder / "validation/validate.json",
        "",
    )
    return folder


def test_every_figure_is_that_of_a_study_with_the_same_patients(judged):
    told = form.read(judged / "validation/site.json")
    rows, found = by_patient(judged / "cohort.tsv"), []
    for name in rows:
        path = judged / "patients" / name / "prediction.json"
        if path.exists():
            odds = read_json(path)["log_odds"]
            found.append((name, "test", odds, float(expit(odds)), np.nan))
    columns = ["patient", "part", "multimodal", "multimodal_probability", "cnn_score"]
    measures = pd.DataFrame({"patient": [row[0] for row in found]})
    metrics, _ = evaluation(rows, pd.DataFrame(found, columns=columns), measures, Evaluation(bootstrap=100))
    section = metrics["sections"]["synchronous"]
    area, before = section["scores"]["multimodal"], section["calibration"]["multimodal"]["before"]
    assert (told.n, told.events) == (section["n"], section["positives"])
    assert told.auc.value == form.rounded(area["auc"])
    assert told.auc.se == form.rounded(area["delong"]["se"])
    assert told.brier.value == form.rounded(before["brier"])
    for name in ("intercept", "slope"):
        assert getattr(told, name).value == form.rounded(before[name]["value"])
        assert getattr(told, name).se == form.rounded(before[name]["se"])
    assert form.rounded(told.oe.E / told.oe.O) == pytest.approx(
        before["expected_observed"]["ratio"], rel=1e-3
    )
    everyone = section["decision"]
    for row in told.net_benefit:
        if row.model is not None:
            where = int(np.argmin(np.abs(np.array(everyone["thresholds"]) - row.threshold)))
            assert everyone["thresholds"][where] == pytest.approx(row.threshold)
            assert row.model == form.rounded(everyone["models"]["multimodal"]["net_benefit"][where])


def test_no_patient_is_in_the_file_nor_in_the_page(judged):
    for name in ("site.json", "report.html", "validate.json"):
        text = (judged / "validation" / name).read_text()
        assert not any(planted in text for planted in PLANTED), name
        assert str(judged) not in text
    assert not re.search(r"\d{4}-\d\d-\d\d", (judged / "validation/site.json").read_text())


def test_shuffled_rows_give_the_same_bytes(model, answer, judged, tmp_path):
    table = hospital(tmp_path, load(model), answer, order=3)
    assert table.read_text() != (judged / "cohort.tsv").read_text()
    settings = validate.Validation(site="St Anna")
    validate.run(validate.Inputs(model, table, tmp_path), settings, tmp_path / "validation/validate.json", "")
    assert (tmp_path / "validation/site.json").read_bytes() == (judged / "validation/site.json").read_bytes()


def test_the_page_shows_the_sections_of_the_report(judged):
    page = (judged / "validation/report.html").read_text()
    for words in (
        "A locked model at St Anna",
        "Where does it work?",
        "By tracer",
        "ROC curves",
        "What leaves this hospital",
    ):
        assert words in page
    assert page.count("<figure") >= 4 and "test part" not in page


def test_a_model_of_an_outcome_over_time(model, answer, tmp_path):
    """Months and a competing death by columns of the contract's own names: figures at its horizon, an update weighted."""
    from dataclasses import replace

    from promet.evaluation.horizon import record as at_horizon

    told = {
        "kind": "by_horizon",
        "columns": ["relapse", "gone", "followed"],
        "called": "relapse",
        "horizon_months": 36.0,
        "competing": "gone",
    }
    opened = load(model)
    opened = replace(opened, contract=opened.contract | {"outcome": told})
    table = hospital(tmp_path, opened, answer, n=160, shift=2.0)
    rng, lines = np.random.default_rng(5), table.read_text().splitlines()
    months, gone = rng.integers(6, 70, 160), rng.random(160) < 0.1
    lines = [f"{lines[0]}\trelapse\tgone\tfollowed"] + [
        f"{line}\t{line.split(chr(9))[3]}\t{int(g)}\t{m}"
        for line, g, m in zip(lines[1:], gone, months, strict=True)
    ]
    table.write_text("\n".join(lines) + "\n")
    patients = scored.read(opened, tmp_path, scored.rows(table, scored.aim(opened.contract)))
    frame = patients.table
    assert set(frame["event"]) == {0.0, 1.0, 2.0}
    found = validate.record(patients, validate.Validation(site="There"), opened)
    right = at_horizon(
        *(frame[k].to_numpy() for k in ("time", "event")),
        36.0,
        frame["probability"].to_numpy(),
        log_odds=frame["log_odds"].to_numpy(),
    )
    assert found["auc"]["value"] == form.rounded(right["auc"]["auc"])
    assert found["slope"]["se"] == form.rounded(right["ipcw_slope"]["se"])
    assert found["oe"]["O"] == form.rounded(right["observed_risk"])
    assert (found["horizon"], found["outcome"]["competing"]) == (36.0, "gone")
    assert [row["time"] for row in found["survival"]] == [9.0, 18.0, 27.0, 36.0]
    assert form.Site.model_validate(json.loads(form.text(found)))
    assert update.record(opened, patients, "There")["test_kind"] == "Wald, sandwich"


def test_a_hospital_where_the_model_was_updated_is_no_judge_of_it(model, answer, tmp_path):
    child, table = made(model, answer, tmp_path, shift=2.0)
    with pytest.raises(UsageError) as caught:
        validate.run(
            validate.Inputs(child, table, tmp_path),
            validate.Validation(site="st anna"),
            tmp_path / "v.json",
            "",
        )
    assert caught.value.code == "E_SITE_SEEN"


def made(model, answer, folder, site="St Anna", method="auto", n=240, **planted):
    """A child of the model, and the table it was made on."""
    opened = load(model)
    table = hospital(folder, opened, answer, n=n, **planted)
    found = update.record(
        opened, scored.read(opened, folder, scored.rows(table, scored.aim(opened.contract))), site, method
    )
    assert found["choice"] != "keep"
    update.write(opened, found, folder / "child")
    return folder / "child", table


def test_what_was_planted_is_put_right(model, answer, tmp_path):
    opened = load(model)
    prior = answer["log_odds"] - sum(entry["log_odds"] for entry in answer["inputs"].values())
    for shift, slope, choice in (
        (prior, 1.0, "keep"),
        (prior + 1.5, 1.0, "intercept"),
        (prior, 0.25, "slope"),
    ):
        chosen = []
        for seed in range(5):
            table = hospital(tmp_path, opened, answer, n=240, seed=seed, shift=shift, slope=slope)
            patients = scored.read(opened, tmp_path, scored.rows(table, scored.aim(opened.contract)))
            chosen.append(update.record(opened, patients, "Here")["choice"])
        assert chosen.count(choice) >= 4, (choice, chosen)


def test_a_child_scores_with_its_parents_network(model, answer, study, tmp_path):
    child, _ = made(model, answer, tmp_path, shift=2.0)
    opened = load(child)
    told = opened.update
    now = predict(opened, study.files("met001"), study.clinical("pro001"))
    adds = {name: entry["log_odds"] for name, entry in now["inputs"].items()}
    assert adds == {name: entry["log_odds"] for name, entry in answer["inputs"].items()}
    assert now["update"]["log_odds"] == answer["log_odds"]
    assert now["log_odds"] == pytest.approx(
        told["constant"] + sum(told["factors"][name] * value for name, value in adds.items()), abs=1e-12
    )
    assert now["probability"] == pytest.approx(expit(now["log_odds"]))
    assert {n: c["group"] for n, c in now["groups"].items()} == {
        n: c["group"] for n, c in answer["groups"].items()
    }
    assert "St Anna" in now["probability_note"]
    # Fitted on its patients, the mean probability is the observed share.
    assert told["parent"] == checksums.identity(model) and now["model"]["digest"] != told["parent"]


def test_verify_knows_a_child(model, answer, tmp_path, capsys):
    child, _ = made(model, answer, tmp_path, shift=2.0)
    assert verify(child) == 0
    assert verify(child, reference_case=True) == 0
    sums, before = checksums.read(child), checksums.read(model)
    assert {name for name in sums if sums[name] != before.get(name)} == {FILE, "docs/README.md"}
    assert "Updated at St Anna" in (child / "docs/README.md").read_text()


@pytest.mark.parametrize("name", ["models/naive_bayes.json", "models/model.safetensors", "new.txt"])
def test_a_child_that_is_not_its_parents_is_refused_even_when_summed_again(name, model, answer, tmp_path):
    child, _ = made(model, answer, tmp_path, shift=2.0)
    path = child / name
    path.write_bytes((path.read_bytes() if path.exists() else b"") + b" ")
    checksums.write(child, [*checksums.read(child), *([name] if name == "new.txt" else [])])
    with pytest.raises(IntegrityError):
        load(child)


def test_a_parents_name_cannot_be_claimed(model, answer, tmp_path):
    child, _ = made(model, answer, tmp_path, shift=2.0)
    told = read_json(child / FILE)
    told["parent_files"]["models/naive_bayes.json"] = "0" * 64
    write_json(child / FILE, told)
    checksums.write(child, list(checksums.read(child)))
    assert verify(child) == 2


def test_a_child_of_a_child_is_refused(model, answer, tmp_path):
    child, table = made(model, answer, tmp_path, shift=2.0)
    with pytest.raises(UsageError) as caught:
        update.update(child, table, tmp_path / "grandchild", "Elsewhere")
    assert caught.value.code == "E_UPDATE_CHILD"


def test_few_patients_change_nothing(model, answer, tmp_path, monkeypatch, capsys):
    opened = load(model)
    table = hospital(tmp_path / "out.answers", opened, answer, n=14, shift=3.0)
    monkeypatch.setattr(update, "predict_table", lambda *args: (0, 14, 0))
    update.update(model, table, tmp_path / "out", "Here", as_text=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["choice"], found["cap"]) == ("keep", "few") and not (tmp_path / "out").exists()
    with pytest.raises(UsageError) as caught:
        update.update(model, table, tmp_path / "out", "Here", "slope")
    assert caught.value.code == "E_UPDATE_METHOD"


def test_the_command_writes_a_child_and_replaces_only_a_child(model, answer, tmp_path, monkeypatch, capsys):
    opened = load(model)
    table = hospital(tmp_path / "out.answers", opened, answer, n=240, shift=2.5)
    monkeypatch.setattr(update, "predict_table", lambda *args: (0, 240, 15))
    assert update.update(model, table, tmp_path / "out", "Here") == 2  # somebody was refused
    assert checksums.identity(tmp_path / "out") in capsys.readouterr().out
    first = checksums.identity(tmp_path / "out")
    update.update(model, table, tmp_path / "out", "Here")
    assert checksums.identity(tmp_path / "out") == first
    for taken in (tmp_path / "out.answers", model, Path(model) / "child"):
        with pytest.raises(UsageError) as caught:
            update.update(model, table, taken, "Here")
        assert caught.value.code == "E_OUT_TAKEN"
