"""What Snakemake would find newer: only other bytes under a newer time, and nothing where it remembers nothing."""

import contextlib
import json

from promet_plan_changes import made_anew, touch_all

from promet.workflow import times
from promet.workflow.edges import Graph


def outdated(study) -> dict[str, str]:
    with contextlib.chdir(study.folder):
        return {key[0]: before for key, before in times.outdated(Graph(study.plan())).items()}


def test_other_bytes_that_are_newer_are_seen_and_a_touch_is_not(copy):
    study = copy("study")
    assert outdated(study) == {}
    touch_all(study.folder)
    assert outdated(study) == {}
    made_anew("normalise", "training")(study)
    assert outdated(study) == {"gather": "normalise", "dataset": "normalise"}
    fit = study.folder / "results/tiny/dataset/split-00/fit.json"
    fit.write_text(fit.read_text())
    assert "train" not in outdated(study)
    fit.write_text(json.dumps({"digest": "other"}))
    assert outdated(study)["train"] == "dataset"


def test_results_under_a_name_that_snakemake_does_not_know(copy):
    """Absolute instead of relative, or without .snakemake: the records decide, and times are put in order by the run."""
    study = copy("study")
    made_anew("normalise", "training")(study)
    study.configure(results=str(study.folder / "results"))
    assert outdated(study) == {} and study.forecast() == (set(), set())
    study.configure(results="results")
    assert "gather" in outdated(study)
    (study.folder / ".snakemake").rename(study.folder / "aside")
    assert outdated(study) == {}
