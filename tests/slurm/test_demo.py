"""The whole demo on the cluster, in a folder with spaces and a name of 200 characters: the bytes are those made here."""

from __future__ import annotations

from collections import Counter

import pytest
from tests.slurm.cluster import ACCOUNT, Cluster, Job
from tests.slurm.conftest import PATIENTS, PRODUCTS, PROFILE, SEEDS, Study, copied, digest, end

from promet.core.files import read_json

NAME = "a project with spaces " + "x" * 178
TOGETHER = 5  # patients in one submission
# Products that are the same bytes wherever they are made; the others hold times or versions.
EXACT = (*PRODUCTS, "metrics.json", "scores.parquet", "tensor.npy", "cuboid.npy", "fit.json", "model.json")


@pytest.fixture(scope="module")
def study(cluster: Cluster, raw: Study, tmp_path_factory) -> Study:
    assert len(NAME) == 200
    study = copied(raw, tmp_path_factory.mktemp("demo") / NAME)
    study.environment = {"PROMET_SLURM_PATIENTS": str(TOGETHER)}
    head = study.promet("run", "--workflow-profile", PROFILE, "--quiet", "rules", "host")
    try:
        study.done(head)
    finally:
        end(head)
    return study


@pytest.fixture(scope="module")
def jobs(study: Study, cluster: Cluster) -> list[Job]:
    return cluster.jobs("rule_", study.folder)


# Its products hold durations.
TIMED = ("report",)


def products(study: Study) -> dict[str, str]:
    results = study.folder / "results"
    return {str(path.relative_to(results)): digest(path) for name in EXACT for path in results.rglob(name)}


def records(study: Study) -> dict[str, tuple]:
    results = study.folder / "results"
    found = {}
    for path in results.rglob("*.json"):
        value = read_json(path)
        if isinstance(value, dict) and {"stage", "pin", "status"} <= set(value) and path.stem not in TIMED:
            found[str(path.relative_to(results))] = (value["pin"], value["status"], value["digest"])
    return found


def test_the_same_bytes_as_on_this_machine(study, local):
    assert products(study) == products(local)
    assert len(products(study)) > 3 * SEEDS + 2 * 9
    assert records(study) == records(local)
    assert (study.folder / "results/small/report/report.html").exists()


def test_number_of_submissions(jobs):
    patients = PATIENTS["development"] + PATIENTS["metachronous"]
    kinds = Counter(job.comment.removeprefix("rule_").partition("_")[0] for job in jobs)
    assert kinds["patient"] == -(-patients // TOGETHER)
    assert kinds["train"] == SEEDS
    assert kinds["collect"] == kinds["select"] == kinds["report"] == 1
    assert kinds["analysis"] == 2  # scores to survival, and hindsight beside them
    assert kinds.total() == 2 + SEEDS + 5
    assert {job.state for job in jobs} == {"COMPLETED"}


def test_each_training_held_one_gpu_and_never_more_than_two_ran(jobs):
    trained = [job for job in jobs if job.comment.startswith("rule_train")]
    assert [(job.gpus, job.node, job.partition) for job in trained] == [(1, "gpu1", "gpu")] * SEEDS
    assert all((job.gpus, job.partition) == (0, "cpu") for job in jobs if job not in trained)
    # a job that ends in the second in which another starts does not overlap it
    moments = sorted([(job.start, 1) for job in trained] + [(job.end, -1) for job in trained])
    running = [sum(step for _, step in moments[: number + 1]) for number in range(len(moments))]
    assert max(running) <= 2


def test_resources_are_those_of_the_rule(jobs):
    asked = {job.comment.removeprefix("rule_").partition("_")[0]: job for job in jobs}
    assert {job.account for job in jobs} == {ACCOUNT}
    assert (asked["train"].memory, asked["train"].minutes, asked["train"].cpus) == ("3500M", 90, 1)
    assert (asked["patient"].memory, asked["patient"].cpus) == ("2000M", 1)
    assert asked["patient"].minutes % 7 == 0  # 2 + 5 x 1 for each patient
    assert (asked["select"].memory, asked["select"].minutes) == ("2000M", 10)
    assert asked["collect"].memory == "2000M"


def test_the_efficiency_report_is_there(study):
    assert list((study.folder / "logs/slurm").glob("efficiency_report_*.csv"))
