"""The head process is killed while its jobs run, on a login node without sacct, and started again."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from tests.slurm.cluster import Cluster, call, wait
from tests.slurm.conftest import PROFILE, Study, catch, copied, end, let_go

LOST = {0, 1}  # seeds to be trained again
MISSING = ("sacct", "sacctmgr", "sshare")
RUN = ("run", "--workflow-profile", PROFILE, "--quiet", "rules", "host")


@pytest.fixture
def login_node(tmp_path) -> str:
    """A PATH on which every command is, but for those of the accounting."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for place in reversed(os.environ["PATH"].split(os.pathsep)):
        for program in Path(place).glob("*"):
            if program.name not in MISSING:
                (folder / program.name).unlink(missing_ok=True)
                (folder / program.name).symlink_to(program)
    return str(folder)


@pytest.fixture
def study(local: Study, tmp_path) -> Study:
    return copied(local, tmp_path / "study", "select", *(f"seed-{number:02d}" for number in LOST))


def test_a_killed_head_trains_nothing_twice_and_loses_nothing(
    cluster: Cluster, local: Study, study: Study, login_node: str
):
    study.environment = {"PATH": login_node, "PROMET_SLURM_ACCOUNT": ""}
    first = study.promet(*RUN)
    try:
        held = catch(study, LOST)
        catch(study, LOST - {held})
    finally:
        end(first, signal.SIGKILL)
    orphans = call("squeue", "-h", "-p", "gpu", "-o", "%i").split()
    assert len(orphans) == len(LOST)

    second = study.promet(*RUN, log="second.log")
    try:
        log = study.folder / "second.log"
        wait("a word about the queue", lambda: "SLURM jobs of an earlier run" in log.read_text(), 120)
        assert set(orphans) <= set(log.read_text().partition("scancel")[2].split())
        for number in LOST:
            let_go(study, number)
        study.done(second, log="second.log")
    finally:
        end(second)
    trained = cluster.jobs("rule_train", study.folder)
    assert sorted(job.id for job in trained) == sorted(orphans)
    assert {job.state for job in trained} == {"COMPLETED"}
    for number in LOST:
        assert study.trained(number) == local.trained(number)
