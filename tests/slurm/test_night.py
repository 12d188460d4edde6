"""One night on the cluster, two seeds in a submission: each meets another misfortune, and all weights come out as if nothing had been."""

from __future__ import annotations

import json
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread

import pytest
from tests.slurm.cluster import Cluster, Job, call, wait, works
from tests.slurm.conftest import (
    NIGHT,
    PRODUCTS,
    PROFILE,
    Study,
    catch,
    copied,
    digest,
    end,
    freeze,
    let_go,
    trainer,
)

from promet.core.files import read_json
from promet.network.settings import Variant
from promet.network.train import Inputs, run
from promet.workflow.scheduler import trainings

TOGETHER, FIFTY = 2, 50  # seeds of the night in one submission; seeds of the many
MISFORTUNES = ("preempted", "cancelled", "warned", "hung", "starved", "unplugged")


@dataclass
class Night:
    study: Study
    queue: Queue
    group_of: dict[str, tuple[int, ...]]
    lives: dict[tuple[int, ...], list[Job]] = field(default_factory=dict)


class Queue(Thread):
    """Which seeds a submission holds, read from its command as long as it is in the queue."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seeds: dict[str, tuple[int, ...]] = {}
        self.over = Event()  # or it would go on asking, and of the stand-ins of later tests

    def run(self) -> None:
        while not self.over.wait(0.3):
            with suppress(RuntimeError):  # gone between two questions
                for job in call("squeue", "-h", "-p", "gpu", "-o", "%i").split():
                    if job not in self.seeds:
                        words = call("scontrol", "write", "batch_script", job, "-").split()
                        each = trainings.unpacked(words[words.index("together") + 1])
                        self.seeds[job] = tuple(int(Path(log).stem.rpartition("-")[2]) for _, log in each)

    def jobs(self, state: str) -> dict[tuple[int, ...], str]:
        """Seeds -> number of their submission, of those in this state."""
        numbers = call("squeue", "-h", "-p", "gpu", "-t", state, "-o", "%i").split()
        return {self.seeds[number]: number for number in numbers if number in self.seeds}


def set_limit(job: str, minutes: int) -> None:
    """Move a running job's end to so many whole minutes from now."""
    elapsed = call("squeue", "-h", "-j", job, "-o", "%M").strip().split(":")
    ran = int(elapsed[-2]) + 60 * (int(elapsed[-3]) if len(elapsed) > 2 else 0)
    call("scontrol", "update", f"jobid={job}", f"TimeLimit={ran + minutes}")


@pytest.fixture(scope="module")
def night(cluster: Cluster, undisturbed: Study, tmp_path_factory) -> Night:
    lost = ("network", "select", "score", "fusion", "evaluation", "report")
    study = copied(undisturbed, tmp_path_factory.mktemp("night"), *lost)
    study.environment = {"PROMET_SLURM_SEEDS": str(TOGETHER)}
    queue = Queue()
    queue.start()
    head = study.snakemake("lock", "--workflow-profile", PROFILE)
    try:
        group_of = misfortunes(study, cluster, queue)
        while head.poll() is None:
            hurry()
            time.sleep(1)
        study.done(head)
    finally:
        end(head)
        queue.over.set()
        queue.join()
    night = Night(study, queue, group_of)
    for job in cluster.jobs("rule_seeds_train", study.folder):
        night.lives.setdefault(queue.seeds[job.id], []).append(job)
    return night


def misfortunes(study: Study, cluster: Cluster, queue: Queue) -> dict[str, tuple[int, ...]]:
    """Each meets a submission whose first seed is done and whose second is caught in the middle."""
    # With both GPUs taken, who waits goes on waiting.
    waiting = wait("a queue", lambda: len(queue.jobs("RUNNING")) == 2 and queue.jobs("PENDING"), 120)
    starved = max(waiting)
    call("scontrol", "update", f"jobid={waiting[starved]}", "MinMemoryNode=450")
    group_of = {"starved": starved}

    def caught(*known: tuple[int, ...]) -> tuple[int, ...]:
        number = catch(study, {max(pair) for pair in queue.seeds.values()} - {max(p) for p in known} - done)
        return next(pair for pair in queue.seeds.values() if number in pair)

    done = {max(starved)}
    first = caught()
    second = caught(first)
    ids = queue.jobs("RUNNING")
    command = ["sbatch", "--parsable", "-p", "urgent", "--gpus=1", "--mem=100", "-t", "1", "-o", "/dev/null"]
    urgent = call(*command, "--wrap", "true").strip()
    over = wait("a preemption", lambda: [p for p in (first, second) if p not in queue.jobs("RUNNING")], 60)
    group_of["preempted"] = over[0]
    group_of["cancelled"] = second if over[0] == first else first
    call("scancel", ids[group_of["cancelled"]])
    let_go(study, max(first))
    let_go(study, max(second))
    done |= {max(first), max(second)}
    wait("the urgent job's end", lambda: not call("squeue", "-h", "-j", urgent, "-t", "PD,R"), 60)

    group_of["warned"] = caught()
    set_limit(queue.jobs("RUNNING")[group_of["warned"]], 2)
    group_of["hung"] = caught(group_of["warned"])
    freeze(study, max(group_of["hung"]))
    done |= {max(group_of["warned"]), max(group_of["hung"])}
    hung = queue.jobs("RUNNING")[group_of["hung"]]
    set_limit(hung, 1)
    # SLURM looks at the limits every half minute; the first of the two is only held until the signal is there.
    wait("the warning", lambda: warned(study, max(group_of["warned"])), 120)
    let_go(study, max(group_of["warned"]))

    hurry()
    group_of["unplugged"] = caught()
    wait("the end of what hangs", lambda: not call("squeue", "-h", "-j", hung, "-t", "R,CG"), 180)
    cluster.kill_node("gpu1")
    cluster.start_node("gpu1")
    works("scontrol", "update", "nodename=gpu1", "state=resume")  # unless it has already come back by itself
    return group_of


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
    pair = night.group_of[misfortune]
    assert len(pair) == TOGETHER
    assert [night.study.trained(number) for number in pair] == [
        undisturbed.trained(number) for number in pair
    ]
    assert night.lives[pair][-1].state == "COMPLETED"
    assert len(night.lives[pair]) > 1, "nothing happened to it"
    assert not any((night.study.seed(number) / "resume.safetensors").exists() for number in pair)
    # The starved one ended before it had anything to save. Who else was on the node when it went out may just have been done.
    beside = misfortune != "unplugged" and "NODE_FAIL" in {job.state for job in night.lives[pair]}
    if misfortune != "starved" and not beside:
        assert read_json(night.study.seed(max(pair)) / "train.json")["notes"]["resumed"] >= 1
        first = night.study.folder / f"logs/network/train/paper/split-00/seed-{min(pair):02d}.log"
        assert first.read_text().count("epoch 1,") == 1, "what was done is not trained again"


def test_each_submission_held_one_gpu(night):
    assert len(night.lives) == NIGHT // TOGETHER
    assert {job.gpus for lives in night.lives.values() for job in lives if job.gpus} == {1}


def test_a_preempted_job_goes_on_under_its_own_number(night):
    lives = night.lives[night.group_of["preempted"]]
    assert lives[0].state == "PREEMPTED"
    assert lives[1].id == lives[0].id


def test_a_cancelled_job_is_submitted_again(night):
    lives = night.lives[night.group_of["cancelled"]]
    assert lives[0].state == "CANCELLED"
    assert "SIGTERM came, the training stopped" in (night.study.folder / "head.log").read_text()
    assert lives[-1].id != lives[0].id


def test_the_warning_before_the_limit_ends_a_training_in_time(night):
    lives = night.lives[night.group_of["warned"]]
    assert lives[0].state == "FAILED"  # by itself, not by SLURM at the limit
    log = night.study.folder / f"logs/slurm/group_seeds_train/{lives[0].id}.log"
    assert "Exited with exit code 75" in log.read_text()  # state saved, start again
    assert "SIGURG came, the training stopped" in (night.study.folder / "head.log").read_text()


def test_a_training_that_hangs_is_ended_at_the_limit_and_gets_more_time(night):
    lives = night.lives[night.group_of["hung"]]
    assert lives[0].state == "TIMEOUT"
    assert lives[-1].minutes == 2 * TOGETHER * 90


def test_out_of_memory_asks_for_more(night):
    lives = night.lives[night.group_of["starved"]]
    assert lives[0].state in ("FAILED", "OUT_OF_MEMORY")  # by the step, or by the job
    assert (lives[0].memory, lives[-1].memory) == ("450M", "7000M")


def test_a_dead_node_is_no_loss(night):
    # SLURM requeues the job under its own number or, when it takes the end of the job's watcher for the job's own, calls it
    # failed and Snakemake submits it again: both are the same to the training.
    assert "NODE_FAIL" in {job.state for job in night.lives[night.group_of["unplugged"]]}


@pytest.mark.parametrize("misfortune", MISFORTUNES)
def test_a_seed_is_never_trained_twice_at_a_time(night, misfortune):
    lives = sorted(night.lives[night.group_of[misfortune]], key=lambda job: job.start)
    ran = [job for job in lives if job.start[:2] == "20"]
    assert len(ran) > 1
    assert [(a, b) for a, b in pairwise(ran) if b.start < a.end] == []


def test_fifty_seeds_are_five_submissions_and_the_bytes_of_one_each(cluster: Cluster, local: Study, tmp_path):
    """Few epochs; the other side is trained here, one seed at a time."""
    study = copied(local, tmp_path / "study", "network", "select", "score", "fusion", "evaluation", "report")
    config = json.loads((study.folder / "config.yaml").read_text())
    config["network"] |= {"seeds": FIFTY, "training": {"epochs": 2}, "augmentation": {"count": 1}}
    (study.folder / "config.yaml").write_text(json.dumps(config))
    study.environment = {"PROMET_SLURM_SEEDS": "10", "PROMET_SLURM_SEEDS_AT_ONCE": "2"}
    head = study.snakemake("lock", "--workflow-profile", PROFILE)
    try:
        study.done(head)
    finally:
        end(head)
    jobs = cluster.jobs("rule_seeds_train", study.folder)
    assert [(job.state, job.gpus, job.cpus) for job in jobs] == [("COMPLETED", 1, 2)] * 5
    settings = Variant.model_validate(
        {name: config["network"][name] for name in ("training", "augmentation")}
    )
    here, there = tmp_path / "here", study.folder / "results"
    for number in range(FIFTY):
        pin = read_json(study.seed(number) / "train.json")["pin"]
        inputs = Inputs(there / "small/dataset/split-00/fit.json", there / "patients", number)
        run(inputs, settings, here / f"{number}/train.json", pin)
        assert study.trained(number) == {name: digest(here / f"{number}" / name) for name in PRODUCTS}
