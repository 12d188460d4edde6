"""What the data manager's commands say and do."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from promet.app import ROOMS, app
from promet.commands.check import check
from promet.commands.freeze import freeze
from promet.commands.intake import intake
from promet.commands.prune import prune
from promet.commands.run import run
from promet.commands.verify import verify
from promet.commands.waive import waive
from promet.config import parse
from promet.core.errors import UsageError
from promet.core.files import digest_file
from promet.core.sidecar import Sidecar
from promet.study import freezing, ledger


def said(capsys):
    return capsys.readouterr().out


def test_check_names_line_and_patient_and_what_stops_and_what_does_not(paper, capsys):
    paper.put("D0", psa="-1")
    paper.rows["D1"]["pet"] = "nowhere"
    paper.rows["D2"]["synchronous_metastasis"] = ""
    paper.save()
    assert check(paper.configfiles, False) == 2
    lines = said(capsys).splitlines()
    assert re.search(r"^error +line 2 +D0 +psa +found '-1'; expected above 0", lines[0])
    assert re.search(r"^quarantine +line 3 +D1 +pet +found a path that does not exist", lines[1])
    assert re.search(r"^warning +line 4 +D2 +synchronous_metastasis", lines[2])
    assert lines[3] == "cohort.tsv: 1 error, 1 patient to be quarantined, 1 warning"
    paper.put("D0", psa="1")
    assert check(paper.configfiles, False) == 0
    wanted = "Next: put right what is called quarantine, or promet intake -c config.yaml registers these patients as they are"
    assert said(capsys).splitlines()[-1] == wanted


def test_check_can_look_into_the_images(paper, capsys):
    from promet.imaging.check import check_images

    assert check(paper.configfiles, False, check_images) == 0
    lines = said(capsys).splitlines()
    assert re.search(r"^quarantine +D0 +pet +E_\w+: .*\.", lines[0])
    assert "7 patients to be quarantined" in lines[-2]
    check(paper.configfiles, True, check_images)
    assert {row["severity"] for row in json.loads(said(capsys))} == {"quarantine"}


def test_run_refuses_a_table_that_check_would(paper):
    intake(paper.configfiles, False, False)
    paper.put("D0", psa="820000")
    with pytest.raises(UsageError, match="1 error, the first on line 2, column psa"):
        run(paper.configfiles, ["-n"])


def test_freeze_names_who_stays_out(paper, capsys):
    intake(paper.configfiles, False, False)
    ledger_file = next((paper.folder / "registry").rglob("ledger.tsv"))
    patient = next(line.split("\t")[1] for line in ledger_file.read_text().splitlines() if "training" in line)
    record = Sidecar("normalise", "p", "quarantined", code="E_PET_NAN", reason="x.", origin="convert")
    record.write(paper.folder / f"results/patients/{patient}/normalise.json")
    said(capsys)
    freeze(paper.configfiles, "v1", "")
    lines = said(capsys).splitlines()
    assert lines[1] == f"quarantined now, so only scored even if mended later: {patient}"
    assert lines[-1] == "Next: promet run -c config.yaml"
    frozen = next((paper.folder / "registry").rglob("freeze.json"))
    assert json.loads(frozen.read_text())["excluded"] == [patient]
    freeze(paper.configfiles, "v2", "next")
    assert json.loads((paper.folder / "registry/next/freeze.json").read_text())["excluded"] == [patient]


def test_intake_counts_each_part_and_says_what_comes_next(paper, capsys):
    assert intake(paper.configfiles, False, False) == 0
    lines = said(capsys).splitlines()
    assert lines[0] == "7 new: D0, D1, D2, D3, D4, D5, P0"
    assert lines[1] == "assigned: 3 training, 1 validation, 2 test, 1 prospective"
    assert lines[2] == "14 files known, 14 read" and lines[4] == "Next: promet run -c config.yaml"
    assert lines[3].startswith(
        "warning: With these labels no network can be trained (split 00, validation: 1 with and 0"
    )
    (paper.folder / "D1/pet/1").write_text("another image")
    (paper.folder / "D2/pet/1").unlink()
    paper.drop("P0")
    intake(paper.configfiles, False, False)
    lines = said(capsys).splitlines()
    assert lines[:2] == ["1 changed: D1", "1 no longer in the table: P0"]
    assert lines[2].startswith("away: pet of D2 is registered and cannot be read now")
    paper.put("D2", pet="D2/elsewhere")
    intake(paper.configfiles, False, False)
    assert said(capsys).splitlines()[0].startswith("missing: pet of D2")
    intake(paper.configfiles, False, False)
    assert "1 no longer" not in said(capsys)


def test_a_development_patient_after_the_freeze_is_told_that_they_does_not_train(paper, capsys):
    paper.intake()
    freeze(paper.configfiles, "v1", "")
    paper.put("D8", role="development", synchronous_metastasis="1")
    paper.put("P8")
    capsys.readouterr()
    intake(paper.configfiles, False, False)
    lines = said(capsys).splitlines()
    assert lines[1] == "assigned: 2 prospective"
    assert lines[2] == (
        "1 development patient after the freeze: scored, not trained on "
        "(promet freeze NAME --into NEWSTUDY -c config.yaml makes a new study with this patient)"
    )
    intake(paper.configfiles, False, False)
    assert "after the freeze" not in said(capsys)


def test_a_faulty_table_is_refused_with_line_column_value_and_what_to_write(paper):
    paper.put("D3", psa="8,2")
    with pytest.raises(UsageError) as error:
        intake(paper.configfiles, False, False)
    assert "the first on line 5, column psa: found '8,2'. Expected: 8.2, with a decimal point." in str(
        error.value
    )


def test_same_bytes_under_two_names_register_nothing(paper):
    (paper.folder / "D1/pet/1").write_text("D0 pet")
    with pytest.raises(UsageError, match="D0=D1"):
        intake(paper.configfiles, False, False)
    assert not (paper.folder / "registry/images.tsv").exists()
    assert not (paper.folder / "registry/s/ledger.tsv").exists()


def test_an_unknown_key_is_told_its_nearest_neighbour():
    with pytest.raises(UsageError) as caught:
        parse({"network": {"sead": 3, "training": {"epoch": 1}}, "zzz": 1})
    text = str(caught.value)
    assert "network.sead: no such key, did you mean network.seeds?" in text
    assert "did you mean network.training.epochs?" in text and "zzz: no such key (" in text


def test_a_missing_table_is_named(paper):
    Path("cohort.tsv").unlink()
    with pytest.raises(UsageError, match=r"cohort\.tsv cannot be read"):
        check(paper.configfiles, False)


def test_prune_lists_first_and_only_deletes_who_has_no_row(paper, capsys):
    paper.finish()
    Path("logs/imaging/crop").mkdir(parents=True)
    for name in ("P0", "D0"):
        Path(f"logs/imaging/crop/{name}.log").write_text("x")
    paper.drop("P0")
    capsys.readouterr()
    assert prune(paper.configfiles, yes=False) == 0
    lines = said(capsys).splitlines()
    assert lines[0] == "would delete results/patients/P0" and "promet prune --yes -c config.yaml" in lines[1]
    assert Path("results/patients/P0").exists()
    prune(paper.configfiles, yes=True)
    assert not Path("results/patients/P0").exists() and not Path("logs/imaging/crop/P0.log").exists()
    assert Path("results/patients/D0").exists() and Path("logs/imaging/crop/D0.log").exists()


def test_prune_spares_everyone_when_registry_or_table_are_lost(paper, capsys):
    paper.finish()
    Path("registry/images.tsv").unlink()
    prune(paper.configfiles, yes=True)
    assert len(list(Path("results/patients").iterdir())) == 7
    paper.rows = {}
    paper.save()
    with pytest.raises(UsageError, match="holds no patients"):
        prune(paper.configfiles, yes=True)


def test_verify_says_what_to_type(paper, capsys):
    paper.finish()
    product = Path("results/patients/D0/cuboid.npy")
    product.write_text("a")
    record = Sidecar.read("results/patients/D0/crop.json")
    record.products = {product.name: digest_file(product)}
    record.write("results/patients/D0/crop.json")
    capsys.readouterr()
    assert verify(paper.configfiles) == 0
    assert said(capsys) == "1 product read, 0 damaged\n"
    product.write_text("b")
    assert verify(paper.configfiles) == 2
    lines = said(capsys).splitlines()
    assert lines[0] == "results/patients/D0/crop.json: cuboid.npy changed"
    assert lines[2] == "Next: rm results/patients/D0/crop.json && promet run -c config.yaml"


def test_a_second_freeze_makes_a_study_of_its_own(paper, capsys):
    paper.finish()
    with pytest.raises(UsageError, match="still open"):
        freeze(paper.configfiles, "v2", "second")
    freeze(paper.configfiles, "v1", "")
    before = Path("registry/s/ledger.tsv").read_bytes()
    freeze(paper.configfiles, "v2", "second")
    assert Path("registry/s/ledger.tsv").read_bytes() == before
    assert (
        freezing.freeze_name("registry", "second") == "v2" and freezing.freeze_name("registry", "s") == "v1"
    )
    assert "study: second" in said(capsys)
    with pytest.raises(UsageError, match="already"):
        freeze(paper.configfiles, "v3", "second")


def test_a_waiver_needs_a_finished_model(paper):
    paper.finish()
    freeze(paper.configfiles, "v1", "")
    gone = next(e.patient for e in ledger.read("registry/s/ledger.tsv") if e.part == "training")
    paper.drop(gone)
    with pytest.raises(UsageError, match="no finished model"):
        waive(paper.configfiles, gone, "why")
    for path in ("select/split-00/model.json", "fusion/split-00/naive_bayes.json"):
        Path("results/s", path).write_text(json.dumps({"of": path}))
    waive(paper.configfiles, gone, "why")
    plan = paper.plan()
    assert plan.sealed and not {stage for stage, _ in plan.jobs()} & {"dataset", "train", "select"}
    (_, kept) = plan.locked("00")
    assert json.loads(Path(kept).read_text()) == {"of": "fusion/split-00/naive_bayes.json"}


@pytest.mark.parametrize(
    "command", [None, *(command.name or command.callback.__name__ for command in app.registered_commands)]
)
def test_every_command_has_a_purpose_in_one_line_and_an_example(command):
    shown = CliRunner().invoke(app, [command, "--help"] if command else ["--help"])
    assert shown.exit_code == 0
    text = " ".join(shown.output.replace("│", " ").split())
    if command is None:
        assert "Exit codes: 0 done; 1 a job of a run failed" in text
        for code in ("2 refused", "70 an error promet did not foresee", "75 interrupted"):
            assert code in text
        assert all(room in text for room in ROOMS)
    else:
        assert f"Example: promet {command}" in text
        callback = next(
            c.callback for c in app.registered_commands if command in (c.name, c.callback.__name__)
        )
        first = callback.__doc__.splitlines()[0]
        assert first.endswith(".") and len(first) <= 110
