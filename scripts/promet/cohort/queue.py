"""Before jobs go to SLURM: what a dead Snakemake left in the queue is waited for, so that no seed is trained twice.

Snakemake takes up no job of an earlier process. Started again while those jobs run, it would submit each of them once
more, and on the quarrel of two for one seed delete the results of the first.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from promet.core.errors import UsageError
from promet.core.words import count

SOURCE = Path(__file__).parents[3]
PREFIX = "promet_"  # slurm-jobname-prefix of profiles/slurm
ATTEMPTS = 5
PARTITIONS = ("PROMET_SLURM_PARTITION", "PROMET_SLURM_GPU_PARTITION")


def wait(options: list[str], folder: Path = Path(".")) -> None:
    """Wait for the jobs of an earlier run in this folder; asks nothing when jobs do not go to SLURM.

    Args:
        options: what Snakemake will be called with.
        folder: where it will work.

    Raises:
        UsageError: there is no squeue, or it does not answer, the account is not one's own, or there is no such partition.
    """
    if not goes_to_slurm(options):
        return
    _require_account(os.environ.get("PROMET_SLURM_ACCOUNT", ""))
    _require_partitions()
    seconds = int(os.environ.get("PROMET_SLURM_POLL") or 20)
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


def in_queue(folder: Path, attempts: int = ATTEMPTS) -> dict[str, str]:
    """Job number -> state of the own jobs that this folder's runs have in the queue."""
    if not shutil.which("squeue"):
        raise UsageError(
            "E_NO_SQUEUE",
            "There is no squeue here",
            "a node from which jobs are submitted to SLURM",
            "Go there, or leave out the profile",
        )
    user = pwd.getpwuid(os.getuid()).pw_name
    for attempt in range(attempts):
        time.sleep(2 * attempt)
        done = subprocess.run(
            ["squeue", "--noheader", "--user", user, "--format", "%i|%T|%j|%Z"],
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
        if name.startswith(PREFIX) and os.path.realpath(where) == os.path.realpath(folder):
            yield number, state


def _require_account(account: str) -> None:
    """Refuse here what the executor refuses without a word for grouped jobs, and then waits for ever."""
    if not account or not shutil.which("sacctmgr"):
        return
    user = pwd.getpwuid(os.getuid()).pw_name
    known: set[str] = set()
    for command in (
        ["sacctmgr", "-n", "-s", "list", "user", user, "format=account%256"],
        ["sshare", "-U", "--format", "Account%256", "--noheader"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        known |= set(done.stdout.lower().split())
        if known:
            break
    if account.lower() in known or (not known and done.returncode == 0):
        return
    raise UsageError(
        "E_SLURM_ACCOUNT",
        f"PROMET_SLURM_ACCOUNT is {account}, which SLURM does not know as yours",
        f"one of {', '.join(sorted(known))}" if known else "no account, since this site keeps none",
        "Correct or unset it",
    )


def _require_partitions() -> None:
    """Refuse here what sbatch would refuse for each job, the trainings' partition after hours of image work."""
    asked = {name: os.environ.get(name, "") for name in PARTITIONS}
    if not any(asked.values()) or not shutil.which("sinfo"):
        return
    done = subprocess.run(
        ["sinfo", "--all", "--noheader", "--format", "%R"], capture_output=True, text=True, check=False
    )
    known = sorted(set(done.stdout.split()))
    for name, value in asked.items():
        strange = sorted(set(filter(None, value.split(","))) - set(known))
        if known and strange:
            raise UsageError(
                "E_SLURM_PARTITION",
                f"{name} is {value}, and SLURM has no partition {strange[0]}",
                f"one of {', '.join(known)}",
                "Correct it; nothing was started",
            )


def goes_to_slurm(options: list[str]) -> bool:
    """Will Snakemake, called with these options, submit to SLURM?"""
    executor = _value(options, "--executor", "-e")
    if executor:
        return executor == "slurm"
    name = _value(options, "--workflow-profile") or "default"
    site = _value(options, "--profile") or os.environ.get("SNAKEMAKE_PROFILE") or "none"
    folders = [Path(name), Path("profiles", name), SOURCE / "profiles" / name]
    sites = [Path(site), Path.home() / ".config/snakemake" / site]
    return any(
        re.search(r"^executor:\s*slurm\s*$", path.read_text(encoding="utf-8"), re.MULTILINE)
        for found in (folders, sites)
        for folder in [folder for folder in found if folder.is_dir()][:1]
        for path in sorted(folder.glob("*.y*ml"))
    )


def _value(options: list[str], *names: str) -> str:
    """The value of the last option of these names, as ``--name value`` or ``--name=value``."""
    value = ""
    for place, word in enumerate(options):
        name, equals, rest = word.partition("=")
        if name in names:
            value = rest if equals else "".join(options[place + 1 : place + 2])
    return value
