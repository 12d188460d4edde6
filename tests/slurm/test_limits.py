"""A real SLURM that refuses, limits and falls silent: what a user is told, and that no training is lost by it."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.slurm.cluster import ACCOUNT, Cluster, call, wait, works
from tests.slurm.conftest import PROFILE, Study, copied, end, with_seeds

LOST = ("network", "select", "score", "fusion", "evaluation", "report")
SEEDS = 6
SILENCE = 75  # seconds; the executor alone gives up asking after five questions
RUN = ("run", "--workflow-profile", PROFILE)


@pytest.fixture(scope="module")
def qos(cluster: Cluster) -> str:
    """A QOS whose jobs may last ten minutes."""
    call("sacctmgr", "-i", "add", "qos", "short", "set", "MaxWall=10")
    call("sacctmgr", "-i", "modify", "user", "root", "where", f"account={ACCOUNT}", "set", "qos+=short")
    return "short"


@contextmanager
def at_most(jobs: int) -> Iterator[None]:
    """So many jobs may be in the queue."""
    user = ("sacctmgr", "-i", "modify", "user", "root", "where", f"account={ACCOUNT}", "set")
    call(*user, f"MaxSubmitJobs={jobs}")
    shown = ("scontrol", "-o", "show", "assoc_mgr", "users=root", "flags=assoc")
    wait("the limit", lambda: f"MaxSubmitJobs={jobs}" in call(*shown), 20)
    try:
        yield
    finally:
        call(*user, "MaxSubmitJobs=-1")


@pytest.mark.parametrize(
    ("variables", "code", "said"),
    [
        ({"QOS": "nosuch"}, "E_SLURM_QOS", "one of normal, short"),
        ({"GPU_QOS": "nosuch"}, "E_SLURM_QOS", "PROMET_SLURM_GPU_QOS is nosuch"),
        ({"GPU_QOS": "short"}, "E_SLURM_TIME", "PROMET_SLURM_TRAIN_MINUTES=10"),
        ({"TRAIN_MINUTES": "2000"}, "E_SLURM_TIME", "partition gpu allows 1440"),
        ({"GRES": "gpux:1"}, "E_SLURM_REFUSED", "Invalid generic resource (gres) specification"),
        ({"GRES": "gpu:a100:1"}, "E_SLURM_REFUSED", "Requested node configuration is not available"),
        ({"GPU_PARTITION": "cpu"}, "E_SLURM_REFUSED", "Trainings would be refused"),
        ({"CONSTRAINT": "nosuch"}, "E_SLURM_REFUSED", "Invalid feature specification"),
        ({"RESERVATION": "nosuch"}, "E_SLURM_REFUSED", "Requested reservation is invalid"),
        ({"EXTRA": "--bogus"}, "E_SLURM_REFUSED", "unrecognized option '--bogus'"),
        ({"EXTRA": "--mem=5"}, "E_SLURM_EXTRA", "sets the"),
        ({"PARTITION": "urgent"}, "E_SLURM_REFUSED", "account/partition combination"),
        ({"ACCOUNT": "nosuch"}, "E_SLURM_ACCOUNT", f"one of {ACCOUNT}"),
    ],
    ids=str,
)
def test_what_slurm_refuses_is_refused_before_anything_starts(
    cluster, raw, qos, tmp_path, variables, code, said
):
    study = copied(raw, tmp_path)
    study.environment = {f"PROMET_SLURM_{name}": value for name, value in variables.items()}
    call("scontrol", "update", "partitionname=urgent", "DenyAccounts=" + ACCOUNT)
    try:
        head = study.promet(*RUN)
        assert head.wait(120) == 2
    finally:
        call("scontrol", "update", "partitionname=urgent", "DenyAccounts=")
    words = (tmp_path / "head.log").read_text()
    assert code in words and said in words, words
    assert "jobs (" not in words


def test_a_limit_of_submissions_is_waited_for(cluster: Cluster, undisturbed: Study, tmp_path):
    study = copied(undisturbed, tmp_path, *LOST)
    with_seeds(study, SEEDS)
    with at_most(3):
        head = study.snakemake("lock", "--workflow-profile", PROFILE)
        try:
            said = study.done(head)
        finally:
            end(head)
    assert "AssocMaxSubmitJobLimit" in said and "no attempt is lost" in said
    trained = cluster.jobs("rule_train", study.folder)
    assert len(trained) == SEEDS and {job.state for job in trained} == {"COMPLETED"}
    assert {job.minutes for job in trained} == {90}, "an attempt was burnt"
    assert [study.trained(number) for number in range(SEEDS)] == [
        undisturbed.trained(number) for number in range(SEEDS)
    ]


def test_nothing_may_be_submitted_at_all(cluster: Cluster, raw: Study, tmp_path):
    """Then no end of another job makes room, and waiting would be for ever."""
    study = copied(raw, tmp_path)
    with at_most(0):
        head = study.promet(*RUN)
        assert head.wait(180) == 2
    words = (tmp_path / "head.log").read_text()
    assert (
        words.count("E_SLURM_REFUSED") == 2 and "AssocMaxSubmitJobLimit" in words
    )  # as it comes, and at the end
    assert "no reason given" not in words


def test_status_says_why_jobs_pend_and_an_absent_controller_loses_nothing(
    cluster: Cluster, local: Study, tmp_path
):
    study = copied(local, tmp_path, "select", "seed-00")
    call("scontrol", "update", "nodename=gpu1", "state=drain", "reason=test")
    head = study.snakemake("lock", "--workflow-profile", PROFILE)
    try:
        wait("a pending training", lambda: call("squeue", "-h", "-p", "gpu", "-t", "PD"), 300)
        time.sleep(3)  # until the scheduler has looked at it
        study.done(study.promet("status", log="status.log"), log="status.log")
        said = (tmp_path / "status.log").read_text()
        assert "1 job pends: nodes they need are down, drained or reserved" in said, said
        cluster.stop_controller()
        time.sleep(SILENCE)
        cluster.start_controller()
        works(
            "scontrol", "update", "nodename=gpu1", "state=resume"
        )  # unless a new controller has forgotten it
        study.done(head, 400)
    finally:
        end(head, signal.SIGKILL)
    assert study.trained(0) == local.trained(0)
    assert [job.state for job in cluster.jobs("rule_train", study.folder)] == ["COMPLETED"]
