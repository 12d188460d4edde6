"""What a job reads of the table and the ledger is what its pin holds, however the files change while it runs."""

import json
from pathlib import Path

import pytest

from promet.core import reads
from promet.core.errors import IntegrityError, Interrupted
from promet.core.rows import read_table
from promet.core.sidecar import Sidecar
from promet.core.stage import Outcome, run_stage
from promet.study import ledger, news, registry, table
from promet.workflow import planned
from promet.workflow.stages import CLINICAL, COMPARATOR, DESCRIPTION, OUTCOME, STAGES

VALUES = {
    **dict.fromkeys(CLINICAL, "3"),
    **dict.fromkeys(DESCRIPTION, "elsewhere"),
    **dict.fromkeys(COMPARATOR, "4"),
    **dict.fromkeys(OUTCOME, "1"),
    "clinical_t": "T2",
    "ucla_psma_risk": "3",
    "role": "metachronous",
}
READ_THE_TABLE = sorted({*(name for name, stage in STAGES.items() if stage.columns), "gather"} - {"permute"})


@pytest.fixture(autouse=True)
def let_go():
    yield
    reads.release()


def job(paper, stage: str, told: str, meanwhile=lambda: None) -> dict:
    """Run a job that reads the table; its record."""
    with reads.planned(planned.begin(told)):
        meanwhile()
        seen = []

        def work() -> Outcome:
            seen.append(read_table("cohort.tsv"))
            return Outcome()

        record = run_stage(stage, paper.folder / "out.json", "p", work)
    return {"inputs": record.inputs, "rows": seen[0]}


@pytest.mark.parametrize("stage", READ_THE_TABLE)
def test_an_edit_between_plan_and_job(paper, stage):
    """Of what the stage uses: it fails and leaves no record. Of anything else: it goes on."""
    paper.intake()
    plan = paper.plan()
    split = "" if stage in ("table1", "report", "gather") else "00"
    told = planned.of_table(plan, stage, split)
    name = plan.fit_members("00")[0]
    before = paper.rows[name]
    for column in sorted(VALUES):
        paper.put(name, **{column: VALUES[column] if before[column] != VALUES[column] else "2"})
        used = column in STAGES[stage].columns
        pin_changed = paper.plan().table_uses(stage, split) != plan.table_uses(stage, split)
        assert pin_changed == used
        if used:
            with pytest.raises(IntegrityError, match="The cohort table changed while the run was going on"):
                job(paper, stage, told)
            assert not Path("out.json").exists()
        else:
            made = job(paper, stage, told)
            assert made["inputs"]["table"] == json.loads(told)["digest"]
            Path("out.json").unlink()
        reads.release()
        paper.rows[name] = before
        paper.save()


@pytest.mark.parametrize("stage", READ_THE_TABLE)
def test_who_comes_or_goes_meanwhile(paper, stage):
    paper.intake()
    plan = paper.plan()
    told = planned.of_table(plan, stage, "" if stage in ("table1", "report", "gather") else "00")
    paper.drop(plan.fit_members("00")[0])
    with pytest.raises(IntegrityError) as error:
        job(paper, stage, told)
    assert error.value.code == "E_PLAN_CHANGED"


def test_edited_while_the_job_runs_and_put_back(paper):
    """The table is read once: what was checked is what is used."""
    paper.intake()
    told = planned.of_table(paper.plan(), "fuse", "00")
    text = Path("cohort.tsv").read_text()

    def edit() -> None:
        paper.put("D0", psa="99")

    made = job(paper, "fuse", told, edit)
    assert next(row for row in made["rows"] if row["patient"] == "D0")["psa"] != "99"
    Path("cohort.tsv").write_text(text)
    reads.release()
    assert job(paper, "fuse", told)["inputs"] == made["inputs"]


def test_the_ledger_changes_meanwhile(paper):
    paper.intake()
    plan = paper.plan()
    told = planned.of_table(plan, "report")
    path = Path(plan.ledger)
    entries = ledger.read(path)
    for copy in path.parent.glob("*"):
        if copy != path:
            copy.unlink()
    other = {"training": "test", "test": "training"}
    moved = next(entry for entry in entries if entry.part in other)
    line = f"{moved.split}\t{moved.patient}\t{moved.part}"
    path.write_text(path.read_text().replace(line, f"{moved.split}\t{moved.patient}\t{other[moved.part]}"))
    with pytest.raises(IntegrityError, match="The split ledger changed"):
        job(paper, "report", told)


def test_the_table_is_gone_meanwhile(paper):
    paper.intake()
    told = planned.of_table(paper.plan(), "fuse", "00")
    Path("cohort.tsv").rename("aside")
    with pytest.raises(Exception, match=r"cohort\.tsv"):
        job(paper, "fuse", told)
    assert not Path("out.json").exists()


def test_a_job_finds_its_files_where_the_table_says(paper):
    """A registry of an earlier promet, or of before the project was moved, names other places."""
    paper.intake()
    plan = paper.plan()
    rows = {name: row | {"path": "nowhere"} for name, row in plan.registered("D1").items()}
    told = planned.sources(plan.config["imaging"], "convert", rows, plan.rows["D1"], plan.cohort)
    assert set(told) == {"pet"} and Path(told["pet"]["path"]).samefile(paper.folder / "D1/pet")


def test_every_rule_whose_job_reads_what_people_change_tells_it_the_plan():
    """By the inputs and options of the rules: cohort, ledger or registry."""
    import re

    root = Path(__file__).parents[2]
    text = "".join(path.read_text() for path in (root / "workflow/rules").glob("*.smk"))
    rules = dict(re.findall(r"^ *rule (\w+):\n((?:.*\n)*?)(?=^ *rule |\Z)", text, re.MULTILINE))
    outside = {name for name, body in rules.items() if re.search(r"--(cohort|ledger|registry) ", body)}
    told = {name for name, body in rules.items() if "PROMET_PLANNED=" in body}
    assert outside - told == {"bucket"}  # which compares its whole pin and tells each patient's stages
    for name in told:
        assert re.search(rf'of_(table|sources)\(plan, "{name}"', rules[name])


def test_a_run_whose_table_changed_between_its_phases_says_so(paper, monkeypatch, capsys):
    """Records of the last phase fit the edited table; put back or not, the end of the run tells it."""
    from promet.commands.run import run
    from promet.commands.status import status
    from promet.workflow.run import Snakemake

    paper.finish()

    def last_phase(self, name, *words, **more) -> int:
        if name == "all" and "--touch" not in words:
            before = paper.rows["D0"]
            paper.put("D0", psa="99")
            plan = paper.plan()
            for stage, at in plan.jobs():
                path = plan.sidecar(stage, **at)
                record = Sidecar.read(path)
                record.pin = plan.pin(stage, **at)
                record.write(path)
            paper.rows["D0"] = before
            paper.save()
        return 0

    monkeypatch.setattr(Snakemake, "__call__", last_phase)
    with pytest.raises(Interrupted) as error:
        run(paper.configfiles, [])
    assert error.value.code == "E_PLAN_CHANGED"
    assert "changed while the run was going on: 4 jobs fit no longer" in str(error.value)
    capsys.readouterr()
    status(paper.configfiles, "", False)
    assert "everything is fresh" not in capsys.readouterr().out


NEW = {
    "as planned": (lambda: None, ""),
    "another value": (
        lambda: Path("new.tsv").write_text("patient\tpet\tpsa\nA\tscan\t8\n"),
        "E_PLAN_CHANGED",
    ),
    "the row is gone": (
        lambda: Path("new.tsv").write_text("patient\tpet\tpsa\nB\tscan\t7\n"),
        "E_PLAN_CHANGED",
    ),
    "another patient's value": (
        lambda: Path("new.tsv").write_text("patient\tpet\tpsa\nA\tscan\t7\nB\tscan\t1\n"),
        "",
    ),
    "the images are away": (lambda: Path("scan").unlink(), "E_SOURCE_GONE"),
    "the images are others": (lambda: Path("scan").write_text("othe"), "E_SOURCE_CHANGED"),
}


@pytest.mark.parametrize("how", NEW)
def test_the_answer_for_a_new_patient_is_made_from_what_was_planned_or_there_is_none(
    tmp_path, monkeypatch, how
):
    """Jobs of promet predict: an edit in the middle of a run, a disk that is away."""
    monkeypatch.chdir(tmp_path)
    Path("scan").write_text("scan")
    Path("new.tsv").write_text("patient\tpet\tpsa\nA\tscan\t7\n")
    rows = [{**dict.fromkeys(table.COLUMNS, ""), "patient": "A", "pet": "scan"}]
    news.intake(rows, tmp_path, "registry")
    known = {"pet": registry.read("registry/images.tsv")["A"]["pet"]}
    told = {"sources": known, "table": "new.tsv", "patient": "A", "cells": {"psa": "7"}}
    change, code = NEW[how]
    change()
    try:
        with reads.planned(planned.begin(json.dumps(told))):
            assert run_stage("predict", Path("out.json"), "p", Outcome).ok
        assert not code
    except IntegrityError as error:
        assert error.code == code and not Path("out.json").exists()
