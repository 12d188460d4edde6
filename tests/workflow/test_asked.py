"""Jobs that exist only when the configuration asks for them: attention maps, and what other networks would have given."""

import json

from promet.config import parse
from promet.workflow.plan import Plan


def plan(study) -> Plan:
    import contextlib

    with contextlib.chdir(study.folder):
        return Plan(parse(json.loads(study.configfile.read_text())))


def test_asked_for_they_run_once_and_nothing_else(copy) -> None:
    study = copy("asked")
    study.configure(network={"hindsight": True, "attention": {"patients": "test", "limit": 1}})
    done = study.promet("run", "--cores", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert study.ran() == {"hindsight", "attention", "report"}
    study.promet("run", "--cores", "2")
    assert study.ran() == set()
    study.configure(network={"attention": {"patients": "metachronous"}})
    study.promet("run", "--cores", "2")
    assert study.ran() == {"attention", "report"}


def test_whom_the_maps_are_made_of(copy) -> None:
    study = copy("whom")
    assert plan(study).attended("00") == []
    study.configure(network={"attention": {"patients": "metachronous"}})
    assert plan(study).attended("00") == ["M0", "M1"]
    study.configure(network={"attention": {"limit": 1}})
    assert plan(study).attended("00") == ["M0"]
    study.configure(network={"attention": {"patients": ["P0", "D3"]}})  # a list is taken whole
    assert plan(study).attended("00") == ["D3", "P0"]
    assert ("attention", {"split": "00"}) in list(plan(study).jobs())


def test_one_job_for_each_variant_split_and_seed(copy) -> None:
    study = copy("grid")
    grid = {
        "wide": {"architecture.groups": 1, "training.learning_rate": 1e-3},
        "calm": {"augmentation.transforms": ["flip", "affine"], "augmentation.count": 1},
        "elastic": {"augmentation.elastic": {"magnitude": [10, 20]}, "training.weight_decay": 0.0},
    }
    study.configure(network={"variants": {"paper": {}, **grid}})
    made = plan(study)
    trained = [at for stage, at in made.jobs() if stage == "train"]
    assert {(at["variant"], at["seed"]) for at in trained} == {
        (name, seed) for name in ("paper", *grid) for seed in ("00", "01")
    }
    assert len({made.pin("train", **at) for at in trained}) == 8
    settings = json.loads(made.settings("train", "elastic"))
    assert settings["augmentation"]["elastic"]["magnitude"] == [10, 20]
    assert json.loads(made.settings("train", "calm"))["augmentation"]["transforms"] == ["flip", "affine"]
