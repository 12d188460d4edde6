"""One night on the cluster: each seed meets another misfortune, and all weights come out as if nothing had been."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest
from tests.slurm.cluster import Cluster, Job, call, wait, works
from tests.slurm.conftest import (
    NIGHT,
    PROFILE,
    Study,
    catch,
    copied,
    end,
    freeze,
    let_go,
    trainer,
    with_seeds,
)

from promet.core.files import read_json

MISFORTUNES = ("preempted", "cancelled", "warned", "hung", "starved", "unplugged")


@dataclass
class Night:
    study: Study
    seed_of: dict[str, int]
    lives: dict[int, list[Job]] = field(default_factory=dict)


def number_of(job: Job) -> int:
    """Seed of a training job, from the comment that the executor gives it."""
    return int(job.comment.rpartition("_")[2])


def jobs_in(state: str) -> dict[int, str]:
    """Seed -> number of its job, of the training jobs in this state."""
    lines = call("squeue", "-h", "-p", "gpu", "-t", state, "-o", "%i %k").split("\n")
    return {int(line.rpartition("_")[2]): line.split()[0] for line in lines if "rule_train" in line}


def set_limit(job: str, minutes: int) -> None:
    """Move a running job's end to so many whole minutes from now."""
    elapsed = call("squeue", "-h", "-j", job, "-o", "%M").strip().split(":")
    ran = int(elapsed[-2]) + 60 * (int(elapsed[-3]) if len(elapsed) > 2 else 0)
    call("scontrol", "update", f"jobid={job}", f"TimeLimit={ran + minutes}")


@pytest.fixture(scope="module")
def night(cluster: Cluster, undisturbed: Study, tmp_path_factory) -> Night:
    lost = ("network", "select", "score", "fusion", "evaluation", "report")
    study = copied(undisturbed, tmp_path_factory.mktemp("night"), *lost)
    with_seeds(study, NIGHT)
    head = study.snakemake("lock", "--workflow-profile", PROFILE)
    try:
        seed_of = misfortunes(study, cluster)
        while head.poll() is None:
            hurry()
            time.sleep(1)
        study.done(head)
    finally:
        end(head)
    night = Night(study, seed_of)
    for job in cluster.jobs("rule_train", study.folder):
        night.lives.setdefault(number_of(job), []).append(job)
    return night


def misfortunes(study: Study, cluster: Cluster) -> dict[str, int]:
    left = set(range(NIGHT))
    # With both GPUs taken, who waits goes on waiting.
    waiting = wait("a queue", lambda: len(jobs_in("RUNNING")) == 2 and jobs_in("PENDING"), 120)
    starved = max(waiting)
    call("scontrol", "update", f"jobid={waiting[starved]}", "MinMemoryNode=450")
    seed_of = {"starved": starved}
    left.remove(starved)

    first = catch(study, left)
    second = catch(study, left - {first})
    ids = jobs_in("RUNNING")
    command = ["sbatch", "--parsable", "-p", "urgent", "--gpus=1", "--mem=100", "-t", "1", "-o", "/dev/null"]
    urgent = call(*command, "--wrap", "true").strip()
    over = wait("a preemption", lambda: [n for n in (first, second) if n not in jobs_in("RUNNING")], 60)
    seed_of["preempted"] = over[0]
    seed_of["cancelled"] = first + second - over[0]
    call("scancel", ids[seed_of["cancelled"]])
    let_go(study, first)
    let_go(study, second)
    left -= {first, second}
    wait("the urgent job's end", lambda: not call("squeue", "-h", "-j", urgent, "-t", "PD,R"), 60)

    seed_of["warned"] = catch(study, left)
    left.remove(seed_of["warned"])
    set_limit(jobs_in("RUNNING")[seed_of["warned"]], 2)
    seed_of["hung"] = catch(study, left)
    freeze(study, seed_of["hung"])
    left.remove(seed_of["hung"])
    hung = jobs_in("RUNNING")[seed_of["hung"]]
    set_limit(hung, 1)
    # SLURM looks at the limits every half minute; the first of the two is only held until the signal is there.
    wait("the warning", lambda: warned(study, seed_of["warned"]), 120)
    let_go(study, seed_of["warned"])

    hurry()
    seed_of["unplugged"] = catch(study, left)
    wait("the end of what hangs", lambda: not call("squeue", "-h", "-j", hung, "-t", "R,CG"), 180)
    cluster.kill_node("gpu1")
    cluster.start_node("gpu1")
    works("scontrol", "update", "nodename=gpu1", "state=resume")  # unless it has already come back by itself
    return seed_of


def hurry() -> None:
    """Requeued jobs go on at once; SLURM would have them wait two minutes."""
    for line in call("squeue", "-h", "-t", "PD", "-o", "%i %r").splitlines():
        if line.endswith("BeginTime"):
            works("scontrol", "update", f"jobid={line.split()[0]}", "StartTime=now")


def warned(study: Study, number: int) -> bool:
    """Has SIGURG reached the held training? It waits there for it, or has woken it already."""
    try:
        status = Path(f"/proc/{trainer(study, number) or '-'}/status").read_text(encoding="utf-8")
    except FileNotFoundError:
        return True
    shared = int(status.partition("ShdPnd:\t")[2].split()[0], 16)
    return bool(shared >> (signal.SIGURG - 1) & 1)


@pytest.mark.parametrize("misfortune", MISFORTUNES)
def test_the_weights_are_those_of_an_undisturbed_training(night, undisturbed, misfortune):
    number = night.seed_of[misfortune]
    assert night.study.trained(number) == undisturbed.trained(number)
    assert night.lives[number][-1].state == "COMPLETED"
    assert len(night.lives[number]) > 1, "nothing happened to it"
    # The starved one ended before it had anything to save. Who else was on the node when it went out may just have been done, and a
    # finished training keeps no state: it began once more.
    beside = misfortune != "unplugged" and "NODE_FAIL" in {job.state for job in night.lives[number]}
    if misfortune != "starved" and not beside:
        assert read_json(night.study.seed(number) / "train.json")["notes"]["resumed"] >= 1


def test_a_preempted_job_goes_on_under_its_own_number(night):
    lives = night.lives[night.seed_of["preempted"]]
    assert lives[0].state == "PREEMPTED"
    assert lives[1].id == lives[0].id


def test_a_cancelled_job_is_submitted_again(night):
    lives = night.lives[night.seed_of["cancelled"]]
    assert lives[0].state == "CANCELLED"
    assert "SIGTERM came, the training stopped" in (night.study.folder / "head.log").read_text()
    assert lives[-1].id != lives[0].id


def test_the_warning_before_the_limit_ends_a_training_in_time(night):
    lives = night.lives[night.seed_of["warned"]]
    assert lives[0].state == "FAILED"  # by itself, not by SLURM at the limit
    log = (
        night.study.folder / f"logs/slurm/rule_train/paper_00_{night.seed_of['warned']:02d}/{lives[0].id}.log"
    )
    assert "returned non-zero exit status 75" in log.read_text()  # state saved, start again
    assert "SIGURG came, the training stopped" in (night.study.folder / "head.log").read_text()


def test_a_training_that_hangs_is_ended_at_the_limit_and_gets_more_time(night):
    lives = night.lives[night.seed_of["hung"]]
    assert lives[0].state == "TIMEOUT"
    assert lives[-1].minutes == 180


def test_out_of_memory_asks_for_more(night):
    lives = night.lives[night.seed_of["starved"]]
    assert lives[0].state in ("FAILED", "OUT_OF_MEMORY")  # by the step, or by the job
    assert (lives[0].memory, lives[-1].memory) == ("450M", "7000M")


def test_a_dead_node_is_no_loss(night):
    # SLURM requeues the job under its own number or, when it takes the end of the job's watcher for the job's own, calls it
    # failed and Snakemake submits it again: both are the same to the training.
    assert "NODE_FAIL" in {job.state for job in night.lives[night.seed_of["unplugged"]]}


@pytest.mark.parametrize("misfortune", MISFORTUNES)
def test_a_seed_is_never_trained_twice_at_a_time(night, misfortune):
    lives = sorted(night.lives[night.seed_of[misfortune]], key=lambda job: job.start)
    ran = [job for job in lives if job.start[:2] == "20"]
    assert len(ran) > 1
    assert [(a, b) for a, b in pairwise(ran) if b.start < a.end] == []
