"""Role or label emptied, a withdrawn patient's row again, labels that cannot train: each is said before any image is worked on."""

import json
import random
from pathlib import Path

import pytest

from promet.commands.check import check
from promet.commands.freeze import freeze
from promet.commands.intake import intake
from promet.commands.run import run
from promet.commands.status import status
from promet.core.errors import UsageError
from promet.core.sidecar import Sidecar
from promet.study import freezing, ledger, parts, table


@pytest.fixture
def study(paper):
    for i in range(6, 16):
        paper.put(f"D{i}", role="development", synchronous_metastasis=str(i % 2))
    paper.finish()
    return paper


def one_of(part):
    return next(entry.patient for entry in ledger.read("registry/s/ledger.tsv") if entry.part == part)


def test_who_keeps_a_part():
    full = {"role": "development", "synchronous_metastasis": "0"}
    assert parts.holds("training", full)
    for column in full:
        row = {**full, column: ""}
        assert not parts.holds("validation", row) and parts.holds("prospective", row)
        assert parts.holds("metachronous", row)


@pytest.mark.parametrize("column", ["role", "synchronous_metastasis"])
@pytest.mark.parametrize("part", ["training", "validation"])
def test_emptied_before_a_freeze_the_patient_is_only_scored(study, column, part, capsys):
    name = one_of(part)
    was = study.rows[name][column]
    study.put(name, **{column: ""})
    assert check(study.configfiles, False) == 0
    study.intake()
    plan = study.plan()
    assert plan.part("00", name) == "prospective" and name not in plan.fit_members("00")
    why = study.why()
    assert "dataset" in why and "fuse" in why and not [stage for stage in why if stage.startswith("convert")]
    capsys.readouterr()
    status(study.configfiles, "", False)
    assert "dataset" in capsys.readouterr().out
    study.put(name, **{column: was})
    study.intake()
    assert study.plan().part("00", name) == part and study.why() == {}  # the ledger kept the place


@pytest.mark.parametrize("column", ["role", "synchronous_metastasis"])
@pytest.mark.parametrize("part", ["training", "validation"])
def test_emptied_after_a_freeze_is_another_model(study, column, part, capsys):
    freeze(study.configfiles, "v1", "")
    name = one_of(part)
    study.put(name, **{column: ""})
    capsys.readouterr()
    assert check(study.configfiles, False) == 2
    assert f"E_MODEL_LOCKED: The column {column} of {name} is empty" in capsys.readouterr().out
    with pytest.raises(UsageError) as error:
        run(study.configfiles, ["-n"])
    assert error.value.code == "E_MODEL_LOCKED"
    status(study.configfiles, "", False)
    assert "E_MODEL_LOCKED" in capsys.readouterr().out


@pytest.mark.parametrize("gone", ["row", "role", "synchronous_metastasis"])
@pytest.mark.parametrize("part", ["training", "validation"])
def test_who_left_the_fit_parts_before_a_freeze_stays_out_of_its_model(study, gone, part, capsys):
    """Neither blocks the frozen study nor comes into it later, and a withdrawal then needs no waiver."""
    name, row = (found := one_of(part)), study.rows[found]
    study.drop(name) if gone == "row" else study.put(name, **{gone: ""})
    study.intake()
    freeze(study.configfiles, "v1", "")
    said = capsys.readouterr().out
    assert f"without row, role or label now, so only scored even if these come back: {name}\n" in said
    assert freezing.excluded(ledger.ledger_path("registry", "s")) == {name} and study.plan().problems == []
    study.rows[name] = row
    study.save()
    study.intake()
    assert study.plan().problems == [] and freezing.excluded(ledger.ledger_path("registry", "s")) == {name}
    study.drop(name)
    assert study.plan().problems == []
    with pytest.raises(UsageError) as error:
        freezing.waive("registry", "s", name, "why", list(study.rows.values()))
    assert error.value.code == "E_NO_WAIVER"


@pytest.mark.parametrize("column", ["role", "synchronous_metastasis"])
def test_the_new_study_that_the_refusal_offers_trains_without_the_emptied(study, column, capsys):
    freeze(study.configfiles, "v1", "")
    name = one_of("training")
    study.put(name, **{column: ""})
    freeze(study.configfiles, "v2", "next")
    study.config["study"] = "next"
    study.save()
    plan = study.plan()
    assert name not in plan.fit_members("00") and freezing.excluded(
        ledger.ledger_path("registry", "next")
    ) == {name}


@pytest.mark.parametrize("column", ["role", "synchronous_metastasis"])
def test_emptied_of_a_test_patient_the_model_stays(study, column):
    freeze(study.configfiles, "v1", "")
    study.put(one_of("test"), **{column: ""})
    study.intake()
    assert study.plan().part("00", one_of("test")) == "prospective"
    assert not {"dataset", "train", "select"} & set(study.why())


def as_the_stages_count(split, names, tmp_path):
    """Patient -> part, as fuse, report and table 1 have it; and who is in the fit set, as buckets and dataset have it."""
    import pandas as pd

    from promet.evaluation import table1
    from promet.fusion import predictors
    from promet.imaging.bucket import Inputs, members
    from promet.network import dataset
    from promet.network.data import read_members
    from promet.network.settings import Dataset
    from promet.report import read as report

    book, cohort = Path("registry/s/ledger.tsv"), Path("cohort.tsv")
    rows = table.by_patient(cohort)
    measures = pd.DataFrame({"patient": names, "status": "ok", "tensor_digest": "", "suv_peak": 1.0})
    scores = pd.DataFrame(columns=["patient", "tensor_digest", "cnn_score"])
    fused, _ = predictors.gather(rows.values(), parts.of_study(book, rows).get(split, {}), scores, measures)
    told = report.study(Path("results/s"), cohort, book, {"study": "s", "split": {"repeats": 2}}).splits[
        split
    ]
    counted = [
        dict(zip(fused["patient"], fused["part"], strict=True)),
        {name: told.part(name) for name in names},
    ]
    first = parts.of_study(book, rows, set())[0]
    groups = table1.frame(rows, measures, None, 48.0, first)
    late = set(groups.loc[groups["group"] == table1.groups()[6], "patient"])
    shared = [
        Inputs(f"fit-{k}", 4, Path("results/patients"), cohort, Path("images.tsv"), book, 2) for k in range(4)
    ]
    fits = [{name for one in shared for name in members(one, rows)}]
    try:
        dataset.run(
            dataset.Inputs(Path("results/patients"), book, cohort, split),
            Dataset(),
            tmp_path / "d/dataset.json",
            "",
        )
        fits.append({member.patient for member in read_members(tmp_path / "d/fit.json")[1]})
    except UsageError as error:
        fits.append(error.code)
    return counted, late, fits


@pytest.mark.parametrize("seed", range(9))
def test_the_stages_count_as_the_plan_does(study, tmp_path, monkeypatch, seed):
    """Roles and labels emptied, rows gone, a freeze, exclusions at it, waivers: one rule for plan and stages."""
    monkeypatch.setattr("promet.network.dataset.require_both_labels", lambda members, outcome: None)
    draw = random.Random(seed)
    study.config["split"] = {"repeats": 2}
    study.save()
    study.intake()
    everyone = sorted(study.rows)
    for name in everyone:
        folder = Path("results/patients", name)
        Sidecar("normalise", "", digest=name, products={"tensor.npy": name}).write(folder / "normalise.json")
        if name.startswith("D") and draw.random() < 0.3:
            study.put(name, **{draw.choice(["role", "synchronous_metastasis"]): ""})
        elif draw.random() < 0.15:
            study.drop(name)
    if frozen := seed % 3 > 0:
        out = [name for name in everyone if draw.random() < 0.3]
        gone = {name: {"reason": "", "date": ""} for name in everyone if name not in study.rows and seed % 2}
        freeze = {"name": "v1", "date": "", "excluded": out, **({"waivers": gone} if gone else {})}
        Path("registry/s/freeze.json").write_text(json.dumps(freeze))
    plan = study.plan(lenient=True)
    assert set(plan.rows) == set(study.rows)
    fitted = {name for split in plan.splits for name in plan.fit_members(split)}
    for split in (0, 1):
        counted, late, fits = as_the_stages_count(split, list(plan.rows), tmp_path)
        wanted = {name: plan.part(f"{split:02d}", name) for name in plan.rows}
        assert counted == [wanted, wanted]
        assert split or late == {name for name, part in wanted.items() if part == "prospective"}
        assert fits[0] == fitted
        blocked = any(problem.code == "E_MODEL_LOCKED" for problem in plan.problems)
        refused = blocked and fits[1] == "E_MODEL_LOCKED"
        assert refused or fits[1] == set(plan.fit_members(f"{split:02d}"))
    if frozen:
        assert not fitted & set(out)


def test_who_was_excluded_at_the_freeze_and_comes_back_is_in_no_part(study):
    name, row = (found := one_of("training")), study.rows[found]
    study.drop(name)
    study.intake()
    freeze(study.configfiles, "v1", "")
    study.rows[name] = row
    study.save()
    study.intake()
    plan = study.plan()
    assert plan.part("00", name) == "prospective" and name not in plan.fit_members("00")


def test_a_withdrawn_patients_row_that_returns_is_refused(study, capsys):
    freeze(study.configfiles, "v1", "")
    name = one_of("training")
    row = study.rows[name]
    study.drop(name)
    freezing.waive("registry", "s", name, "why", list(study.rows.values()))
    study.intake()
    study.rows[name] = row
    study.save()
    before = Path("registry/images.tsv").read_text()
    for refused in (
        lambda: intake(study.configfiles, False, False),
        lambda: run(study.configfiles, ["-n"]),
    ):
        with pytest.raises(UsageError) as error:
            refused()
        assert error.value.code == "E_WITHDRAWN_RETURNS" and name in str(error.value)
    assert Path("registry/images.tsv").read_text() == before
    capsys.readouterr()
    assert check(study.configfiles, False) == 2 and "E_WITHDRAWN_RETURNS" in capsys.readouterr().out
    study.drop(name)
    study.intake()


def test_nor_does_the_row_return_for_another_study_of_the_registry(study):
    freeze(study.configfiles, "v1", "")
    name = one_of("training")
    row = study.rows[name]
    study.drop(name)
    freezing.waive("registry", "s", name, "why", list(study.rows.values()))
    freeze(study.configfiles, "v2", "next")
    study.config["study"] = "next"
    for again in (row | {"patient": "new-name"}, row):
        study.rows = {patient: r for patient, r in study.rows.items() if r["pet"] != row["pet"]}
        study.rows[again["patient"]] = again
        study.save()
        with pytest.raises(UsageError) as error:
            intake(study.configfiles, False, False)
        assert error.value.code == "E_WITHDRAWN_RETURNS"
    with pytest.raises(UsageError) as error:
        study.plan()
    assert error.value.code == "E_WITHDRAWN_RETURNS"


@pytest.mark.parametrize("labels", ["0" * 12, "1" * 12, "0" * 11 + "1"])
def test_labels_that_cannot_train_are_said_by_check_and_intake(paper, capsys, labels):
    paper.rows = {}
    for i, label in enumerate(labels):
        paper.put(f"E{i}", role="development", synchronous_metastasis=label)
    assert check(paper.configfiles, False) == 0
    said = capsys.readouterr().out
    assert "warning    E_FIT_LABELS: With these labels no network can be trained (split 00, " in said
    assert not Path("registry").exists()
    intake(paper.configfiles, False, False)
    assert "warning: With these labels no network can be trained (split 00, " in capsys.readouterr().out
    check(paper.configfiles, False)
    assert "E_FIT_LABELS" in capsys.readouterr().out  # also when all is assigned


def test_labels_that_can_train_and_nobody_to_train_on_are_not_warned_of(paper, capsys):
    for i in range(6, 16):
        paper.put(f"D{i}", role="development", synchronous_metastasis=str(i % 2))
    check(paper.configfiles, False)
    paper.rows = {"P0": paper.rows["P0"]}
    paper.save()
    check(paper.configfiles, False)
    assert "E_FIT_LABELS" not in capsys.readouterr().out


def test_patients_to_be_quarantined_do_not_count(paper, capsys):
    for i in range(6, 16):
        paper.put(f"D{i}", role="development", synchronous_metastasis=str(i % 2))
    paper.intake()
    fit = {e.patient for e in ledger.read("registry/s/ledger.tsv") if e.part == "validation"}
    for name in fit:
        if paper.rows[name]["synchronous_metastasis"] == "1":
            paper.put(name, pet="nowhere")
    capsys.readouterr()
    check(paper.configfiles, False)
    assert "validation: 0 with and" in capsys.readouterr().out
