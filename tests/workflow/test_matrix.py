"""What an edit runs: the exact set of jobs, with plain Snakemake and with promet run.

Real Snakefile and rules, real intake; the jobs themselves are stand-ins (standin.py), so that the whole matrix takes
minutes.
"""

import shutil

import pytest
from promet_plan_changes import (
    AFTER_FUSION,
    AFTER_SCORE,
    DESCRIBED,
    GATHERED,
    JUDGED,
    TRAINED,
    freeze_and_run,
    images,
    lose_times,
    remove,
    second_freeze,
    waive,
)
from promet_plan_edits import EDITS, EVERY_TRIGGER, Edit
from promet_plan_study import Study
from promet_plan_table import PAGE, page

from promet.core.errors import UsageError
from promet.workflow.choices import Choices


def _prepared(study: Study, edit: Edit) -> Study:
    study.winner_before = study.winner()
    edit.change(study)
    if edit.intake:
        study.intake()
    study.ran()
    return study


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.name)
def test_promet_run(copy, edit):
    study = _prepared(copy("study"), edit)
    sure, perhaps = study.forecast()
    done = study.promet("run", *(edit.options or ("--cores", "4")))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    ran = study.ran()
    assert ran == edit.jobs(study)
    # -n said so before, and was right about all that does not depend on what comes out
    assert sure <= ran <= sure | perhaps


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.name)
def test_plain_snakemake(copy, edit):
    study = _prepared(copy("study"), edit)
    done = study.snakemake(*edit.options, *edit.plain_options)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert study.ran() == (edit.plain or edit.jobs)(study)


def test_there_are_enough_edits():
    assert len(EDITS) >= 45 and len({edit.name for edit in EDITS}) == len(EDITS)


def test_the_page_says_the_same():
    assert PAGE.read_text(encoding="utf-8") == page(), "run python tests/workflow/promet_plan_table.py"


def test_records_lost_then_an_edit(copy):
    """The guard: without Snakemake's own records promet run still finds exactly the mismatch."""
    study = copy("study")
    shutil.rmtree(study.folder / ".snakemake")
    study.set_cell("M0", months="60")
    study.intake()
    assert study.promet("run", "--cores", "4").returncode == 0
    assert study.ran() == JUDGED | {"survive"}


def test_a_copy_without_snakemakes_records_then_an_edit_with_snakemake_alone(copy):
    study = copy("study")
    shutil.rmtree(study.folder / ".snakemake")
    study.set_cell("M0", months="60")
    assert study.snakemake("--rerun-triggers", "mtime").returncode == 0
    assert study.ran() == JUDGED | {"survive"}


def test_edited_between_two_phases_and_put_back(copy):
    """The configuration that a run began with is that of all its phases; the table's edit is told at the end."""
    study = copy("study")
    study.set_cell("D0", psa="44")
    study.environment["PROMET_CONFIGURATION"] = "another"
    done = study.snakemake()
    assert done.returncode == 1 and "The configuration changed while the run was going on" in done.stderr
    assert study.ran() == set()


def test_records_and_times_lost_then_an_edit(copy):
    """A copy over the network without times: no history, no order; still exactly the mismatch, then nothing."""
    study = copy("study")
    lose_times(study)
    shutil.rmtree(study.folder / ".snakemake")
    study.set_cell("D0", psa="44")
    study.intake()
    assert study.promet("run", "--cores", "4").returncode == 0
    assert study.ran() == AFTER_FUSION | DESCRIBED
    assert study.promet("run", "--cores", "4").returncode == 0
    assert study.ran() == set()


def test_a_second_study_leaves_the_first_as_it_was(copy):
    study = copy("study")
    second_freeze(study)
    study.intake()
    assert study.promet("run", "--cores", "4").returncode == 0
    study.ran()
    study.configure(study="tiny")
    assert study.promet("run", "--cores", "4").returncode == 0
    assert study.ran() == set()
    study.add("P1", psa="3")  # and keeps scoring
    study.intake()
    assert study.promet("run", "--cores", "4").returncode == 0
    assert study.ran() == images("P1") | GATHERED | AFTER_SCORE | {"bundle"}


def test_a_waived_model_cannot_be_trained_again(copy):
    study = copy("study")
    waive(study)
    study.intake()
    assert study.promet("run", "--cores", "4").returncode == 0
    assert study.promet("prune", "--yes").stdout.count("deleted results/patients/") == 1
    study.ran()
    for rule in ("dataset", "train", "select"):
        done = study.snakemake(f"results/tiny/{rule}/split-00/{rule}.json", "--forceall")
        assert study.ran() == set(), done.stdout
    study.configure(network={"training": {"learning_rate": 0.01}})
    done = study.promet("run", "--cores", "4")
    assert done.returncode == 2 and "E_SEALED" in done.stderr
    assert study.ran() == set()


def test_a_locked_model_is_trained_by_no_route(copy):
    """Whatever is forced, deleted or asked for: no training starts, and the records of the networks stay."""
    study = copy("study")
    freeze_and_run(study)
    networks = sorted((study.folder / "results/tiny/network").rglob("train.json"))
    kept = [path.read_bytes() for path in networks]
    shutil.rmtree(study.folder / ".snakemake")
    (study.folder / "results/tiny/dataset/split-00/fit.json").unlink()
    done = study.snakemake("--forceall", *EVERY_TRIGGER)
    ran = study.ran()
    assert done.returncode == 0 and ran >= {"dataset", "select", "bundle"} and not ran & TRAINED - {"select"}
    for words in (("--forcerun", "train"), (str(networks[0].relative_to(study.folder)), "--force")):
        study.snakemake(*words)
        assert not study.ran() & TRAINED
    assert [path.read_bytes() for path in networks] == kept
    assert study.forecast() == (set(), set())
    sure, perhaps = study.forecast(Choices(everything=True))
    assert "dataset" in sure and not (sure | perhaps) & TRAINED - {"select"}
    with pytest.raises(UsageError, match="--forcerun train names no job of this study"):
        study.forecast(Choices(again=frozenset({"train"})))
    networks[0].unlink()
    for done in (study.promet("run"), study.snakemake(), study.snakemake("--forceall")):
        assert (
            done.returncode != 0 and "nothing is trained for the locked model v1" in done.stderr + done.stdout
        )
    assert study.ran() == set()


def test_withdrawn_after_the_freeze_is_refused(copy):
    study = copy("study")
    study.promet("freeze", "v1")
    remove("training")(study)
    study.intake()
    done = study.promet("run", "--cores", "4")
    assert done.returncode == 2 and "E_WITHDRAWN" in done.stderr
    assert study.ran() == set()


def test_a_table_without_intake_is_refused(copy):
    study = copy("study")
    study.add("P1")
    for done in (study.promet("run"), study.snakemake()):
        assert done.returncode != 0 and "promet intake" in done.stdout + done.stderr
    assert study.ran() == set()
