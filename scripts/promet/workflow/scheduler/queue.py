"""Before jobs go to SLURM: what a dead Snakemake left in the queue is waited for, so that no seed is trained twice.

Snakemake takes up no job of an earlier process. Started again while those jobs run, it would submit each of them once
more, and on the quarrel of two for one seed delete the results of the first.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from promet.core.environment import user_number
from promet.core.errors import UsageError
from promet.core.words import count
from promet.workflow.scheduler import refusals, site
from promet.workflow.scheduler.profile import goes_to_slurm
from promet.workflow.scheduler.site import PARTITIONS

__all__ = ["PARTITIONS", "be_patient", "goes_to_slurm", "in_queue", "pending", "wait"]
PREFIX = "promet_"  # slurm-jobname-prefix of profiles/slurm
ATTEMPTS = 5


def wait(options: list[str], folder: Path = Path(".")) -> None:
    """Wait for the jobs of an earlier run in this folder; asks nothing when jobs do not go to SLURM.

    Args:
        options: what Snakemake will be called with.
        folder: where it will work.

    Raises:
        UsageError: there is no squeue, or it does not answer, or SLURM would refuse what jobs will ask for.
    """
    if not goes_to_slurm(options):
        return
    site.require(options)
    seconds = site.number("POLL", 20)
    told = 0
    while jobs := in_queue(folder):
        if len(jobs) != told:
            told = len(jobs)
            running = sum(state == "RUNNING" for state in jobs.values())
            print(
                f"{count(told, 'SLURM job')} of an earlier run in this folder, {running} running: waiting, what they "
                f"make counts. To end them instead: scancel {' '.join(jobs)}",
                flush=True,
            )
        time.sleep(seconds)


def be_patient() -> None:
    """Let ``executor: slurm`` mean that of workflow/scheduler/submit.py, where SLURM's executor is installed."""
    if find_spec("snakemake_executor_plugin_slurm"):
        from promet.workflow.scheduler.submit import Executor

        Executor.stand_in()


def in_queue(folder: Path, attempts: int = ATTEMPTS) -> dict[str, str]:
    """Job number -> state of the own jobs that this folder's runs have in the queue."""
    if not shutil.which("squeue"):
        raise UsageError(
            "E_NO_SQUEUE",
            "There is no squeue here",
            "a node from which jobs are submitted to SLURM",
            "Go there, or leave out the profile",
        )
    for attempt in range(attempts):
        time.sleep(2 * attempt)
        done = subprocess.run(
            ["squeue", "--noheader", "--user", user_number(), "--format", "%i|%T|%j|%Z"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            return dict(_own(done.stdout, folder))
    raise UsageError(
        "E_QUEUE_SILENT",
        f"squeue does not answer: {done.stderr.strip()[:200]}",
        "the jobs in the queue, so that none is started twice",
        "Try again when the scheduler answers; nothing was started",
    )


def _own(lines: str, folder: Path) -> Iterator[tuple[str, str]]:
    for line in lines.splitlines():
        number, state, name, where = line.split("|", 3)
        if _mine(name, where, folder):
            yield number, state


def _mine(name: str, where: str, folder: Path) -> bool:
    return name.startswith(PREFIX) and os.path.realpath(where) == os.path.realpath(folder)


def pending(folder: Path = Path(".")) -> Iterator[str]:
    """Why this folder's jobs pend: a line for each reason, the commonest first; none when nobody answers."""
    command = ["squeue", "--noheader", "--user", user_number(), "--states=PD", "--format", "%i|%T|%r|%j|%Z"]
    if not shutil.which(command[0]):
        return
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    reasons: Counter = Counter()
    for line in done.stdout.splitlines():
        parts = line.split("|", 4)
        if len(parts) == 5 and _mine(parts[3], parts[4], folder):
            reasons[parts[2]] += 1
    for reason, number in reasons.most_common():
        verb = "pends" if number == 1 else "pend"
        yield f"{count(number, 'job')} {verb}: {refusals.pending(reason)} ({reason.strip('()')})"
