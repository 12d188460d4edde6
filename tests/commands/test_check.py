"""promet check says before anything is made what intake and run would refuse, and what is next."""

import json
import re
from pathlib import Path

import pytest

from promet.commands.check import check
from promet.commands.freeze import freeze
from promet.commands.intake import intake
from promet.commands.run import run
from promet.commands.status import status
from promet.core.errors import UsageError
from promet.core.sidecar import Sidecar
from promet.study import ledger
from promet.workflow import locked


def told(paper, capsys, **how):
    capsys.readouterr()
    code = check(paper.configfiles, False, **how)
    return code, capsys.readouterr().out


def trained_on(part="training"):
    return next(entry.patient for entry in ledger.read("registry/s/ledger.tsv") if entry.part == part)


def lock(paper):
    """A finished, frozen study, whose model lies locked."""
    paper.finish()
    freeze(paper.configfiles, "v1", "")
    paper.finish()
    plan = paper.plan()
    record = Path(plan.sidecar("bundle"))
    values = {"freeze": "v1", "made_from": locked.made_from(plan)}
    Sidecar("bundle", plan.pin("bundle"), values=values).write(record)
    record.with_name("SHA256SUMS").write_text("")


def test_an_empty_table_wants_patients(paper, capsys):
    paper.rows = {}
    paper.save()
    code, said = told(paper, capsys)
    assert code == 0 and said.splitlines()[-1].startswith("Next: add patients to cohort.tsv, one row each")
    assert "then promet check -c config.yaml" in said
    intake(paper.configfiles, False, False)
    said = capsys.readouterr().out
    assert "Next: add patients to cohort.tsv" in said and "promet run" not in said
    status(paper.configfiles, "", False)
    assert "Next: add patients to cohort.tsv" in capsys.readouterr().out


def test_two_patients_with_the_same_images(paper, capsys):
    (paper.folder / "D1/pet/1").write_text("D0 pet")
    assert told(paper, capsys)[0] == 0
    code, said = told(paper, capsys, look=lambda table, settings: [])
    assert code == 2 and re.search(r"^error +E_SAME_IMAGES: 1 group of patients .*: D0=D1\.", said, re.M)
    assert not Path("registry").exists()
    capsys.readouterr()
    assert check(paper.configfiles, True, lambda table, settings: []) == 2
    assert [row["code"] for row in json.loads(capsys.readouterr().out)] == ["E_SAME_IMAGES"]


def test_images_of_one_size_are_not_the_same(paper, capsys):
    assert len({path.stat().st_size for path in paper.folder.glob("D*/pet/1")}) == 1
    assert told(paper, capsys, look=lambda table, settings: [])[0] == 0


def test_a_fitted_patient_who_left_the_frozen_study(paper, capsys):
    paper.intake()
    freeze(paper.configfiles, "v1", "")
    gone = trained_on()
    paper.drop(gone)
    code, said = told(paper, capsys)
    assert code == 2 and "error      E_WITHDRAWN: No longer in the table: 1 patient whom" in said
    assert f"promet waive -c config.yaml {gone} --reason TEXT" in said


def test_a_fitted_patient_of_a_frozen_study_whose_images_are_gone(paper, capsys):
    paper.intake()
    name = trained_on("validation")
    paper.rows[name]["pet"] = "nowhere"
    paper.save()
    assert told(paper, capsys)[0] == 0
    freeze(paper.configfiles, "v1", "")
    code, said = told(paper, capsys)
    assert code == 2 and f"E_FROZEN_MEMBER: The images of {name} cannot be used" in said
    paper.rows[name]["pet"] = f"{name}/pet"
    paper.rows[trained_on("test")]["pet"] = "nowhere"
    paper.save()
    assert told(paper, capsys)[0] == 0


def test_a_role_that_changed(paper, capsys):
    paper.intake()
    name = trained_on()
    paper.put(name, role="metachronous", synchronous_metastasis="0")
    code, said = told(paper, capsys)
    assert code == 2 and f"E_ROLE_CHANGED: Patient {name} is in the ledger as training" in said
    with pytest.raises(UsageError, match="is in the ledger as training"):
        run(paper.configfiles, ["-n"])


@pytest.mark.parametrize("column", ["psa", "synchronous_metastasis"])
def test_another_model_than_the_locked_one_is_refused_before_any_job(paper, capsys, column):
    lock(paper)
    assert told(paper, capsys)[0] == 0
    name = trained_on()
    was = paper.rows[name][column]
    paper.put(name, **{column: "0" if was == "1" else "1"})
    code, said = told(paper, capsys)
    assert (
        code == 2
        and f"E_MODEL_LOCKED: This would train or fit another model than the locked model v1: the column {column} ({name}) changed"
        in said
    )
    assert "promet freeze NAME --into NEWSTUDY -c config.yaml for a new model" in said
    with pytest.raises(UsageError) as error:
        run(paper.configfiles, ["-n"])
    assert error.value.code == "E_MODEL_LOCKED"
    status(paper.configfiles, "", False)
    assert "E_MODEL_LOCKED" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("section", "name"),
    [
        ({"network": {"seeds": 3}}, "network.seeds"),
        ({"network": {"seeds": 2, "training": {"epochs": 7}}}, "network.training.epochs"),
        ({"fusion": {"var_smoothing": 0.5}, "network": {"seeds": 2}}, "fusion.var_smoothing"),
    ],
)
def test_settings_of_the_locked_model(paper, capsys, section, name):
    lock(paper)
    paper.config |= section
    paper.save()
    code, said = told(paper, capsys)
    assert code == 2 and "E_MODEL_LOCKED" in said and f"the setting {name}" in said


def test_what_leaves_the_locked_model_as_it_is_goes_on(paper, capsys):
    lock(paper)
    paper.put(trained_on("test"), psa="77")
    paper.put("P0", psa="78")
    paper.put("P1", psa="79")
    fitted = trained_on()
    paper.put(fitted, age="70", suv_peak_reader="", psma_expression="")
    paper.config["report"] = {"patient_level": True}
    paper.save()
    assert told(paper, capsys)[0] == 0
    paper.intake()
    assert told(paper, capsys)[0] == 0 and locked.problem(paper.plan()) is None


def test_a_patient_whom_the_freeze_left_out_does_not_count(paper):
    paper.intake()
    name = trained_on()
    record = Sidecar("normalise", "p", "quarantined", code="E_PET_NAN", reason="x.", origin="convert")
    record.write(paper.folder / f"results/patients/{name}/normalise.json")
    freeze(paper.configfiles, "v1", "")
    before = locked.made_from(paper.plan())
    paper.put(name, psa="99")
    assert locked.made_from(paper.plan()) == before


def test_a_model_under_another_freeze_is_another_study(paper):
    lock(paper)
    paper.put(trained_on(), psa="99")
    path = Path("registry/s/freeze.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"name": "v2"}))
    assert locked.problem(paper.plan()) is None


def test_a_registered_source_that_is_away_is_no_patients_fault(paper, capsys):
    paper.intake()
    assert told(paper, capsys)[0] == 0
    (paper.folder / "D1").rename("aside")
    paper.put("D2", pet="D2/elsewhere")
    code, said = told(paper, capsys)
    lines = {line.split()[3]: line for line in said.splitlines() if " line " in line}
    assert code == 0 and "1 patient to be quarantined" in said
    assert lines["D1"].startswith("warning") and "it is registered, so is the disk mounted?" in lines["D1"]
    assert lines["D2"].startswith("quarantine")
