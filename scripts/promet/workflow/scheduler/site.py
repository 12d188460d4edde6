"""Before a run: what SLURM would refuse is asked of it at once, not after hours of image work."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterable

from promet.core.environment import user_name
from promet.core.errors import UsageError
from promet.workflow.scheduler import profile, refusals
from promet.workflow.scheduler.profile import Asked

PARTITIONS = ("PROMET_SLURM_PARTITION", "PROMET_SLURM_GPU_PARTITION")
QOS = ("PROMET_SLURM_QOS", "PROMET_SLURM_GPU_QOS")
NUMBERS = ("JOBS", "PATIENTS", "SEEDS", "SEEDS_AT_ONCE", "POLL", "TRAIN_MINUTES", "MAX_MINUTES")
PATIENCE = 30.0  # seconds for one question
# Values of a time limit that mean none.
ENDLESS = {"infinite", "unlimited", "n/a", ""}


def require(options: list[str]) -> None:
    """Refuse what SLURM would refuse; what it does not answer is left to the run.

    Args:
        options: what Snakemake will be called with.

    Raises:
        UsageError: a variable holds no number, or SLURM does not know or not allow what jobs will ask for.
    """
    for name in NUMBERS:
        number(name, 1)
    _require_extra(os.environ.get("PROMET_SLURM_EXTRA", ""))
    _require_account(os.environ.get("PROMET_SLURM_ACCOUNT", ""))
    limits = _require_partitions()
    longest = _require_qos()
    jobs = profile.asked(options)
    _require_time(jobs, limits, longest)
    _require_accepted(jobs)


def number(name: str, default: int) -> int:
    """Value of ``PROMET_SLURM_<name>``, a positive whole number."""
    value = os.environ.get(f"PROMET_SLURM_{name}", "").strip()
    if value and not (value.isascii() and value.isdigit() and int(value) > 0):
        raise UsageError(
            "E_SLURM_NUMBER",
            f"PROMET_SLURM_{name} is {value!r}",
            "a positive whole number" + (", of minutes" if name.endswith("MINUTES") else ""),
            "Correct or unset it",
        )
    return int(value or default)


def _said(command: list[str]) -> tuple[int, str, str]:
    """Exit code, answer and words of one of SLURM's commands; 127 when it is not there or does not answer."""
    if not shutil.which(command[0]):
        return 127, "", ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return 127, "", "timed out"
    return done.returncode, done.stdout, done.stderr


def _require_extra(extra: str) -> None:
    """The executor sets some options itself; it refuses these without a word for grouped jobs, and then waits for ever."""
    if not extra:
        return
    try:
        shlex.split(extra)
    except ValueError:
        raise UsageError(
            "E_SLURM_EXTRA",
            "PROMET_SLURM_EXTRA has a quotation mark that is not closed",
            "options as a shell takes them",
            "See profiles/README.md",
        ) from None
    from snakemake_executor_plugin_slurm.validation import get_forbidden_slurm_options

    own = [name for pattern, name in get_forbidden_slurm_options().items() if re.search(pattern, extra)]
    if own:
        raise UsageError(
            "E_SLURM_EXTRA",
            f"PROMET_SLURM_EXTRA sets the {own[0]}, which has a variable or resource of its own",
            "options such as --exclude=node7 or --nice=100",
            "See profiles/README.md",
        )


def _require_account(account: str) -> None:
    """Refuse here what the executor refuses without a word for grouped jobs, and then waits for ever."""
    if not account or not shutil.which("sacctmgr"):
        return
    user, code = user_name(), 0
    known: set[str] = set()
    for command in (
        ["sacctmgr", "-n", "-s", "list", "user", user, "format=account%256"],
        ["sshare", "-U", "--format", "Account%256", "--noheader"],
    ):
        code, answer, words = _said(command)
        if refusals.kind(words) == refusals.SILENT:
            return
        known |= set(answer.lower().split())
        if known:
            break
    if account.lower() in known or (not known and code == 0):
        return
    raise UsageError(
        "E_SLURM_ACCOUNT",
        f"PROMET_SLURM_ACCOUNT is {account}, which SLURM does not know as yours",
        f"one of {', '.join(sorted(known))}" if known else "no account, since this site keeps none",
        "Correct or unset it",
    )


def _require_partitions() -> dict[str, int]:
    """Longest minutes of each partition; 0 where there is no end."""
    code, answer, _ = _said(["sinfo", "--all", "--noheader", "--format", "%R|%l"])
    pairs = [line.strip().partition("|") for line in answer.splitlines() if line.strip()]
    limits = {name: minutes(limit) for name, _, limit in pairs} if code == 0 else {}
    for name in PARTITIONS:
        value = os.environ.get(name, "")
        strange = sorted(set(filter(None, value.split(","))) - set(limits))
        if limits and strange:
            raise UsageError(
                "E_SLURM_PARTITION",
                f"{name} is {value}, and SLURM has no partition {strange[0]}",
                f"one of {', '.join(sorted(limits))}",
                "Correct it; nothing was started",
            )
    return limits


def _require_qos() -> dict[str, int]:
    """Longest minutes of each QOS; empty when none is asked for or the site keeps none."""
    asked = {name: os.environ.get(name, "") for name in QOS}
    if not any(asked.values()):
        return {}
    code, answer, _ = _said(["sacctmgr", "-n", "-P", "show", "qos", "format=name,maxwall"])
    pairs = [line.strip().partition("|") for line in answer.splitlines() if line.strip()]
    longest = {name.lower(): minutes(limit) for name, _, limit in pairs} if code == 0 else {}
    for name, value in asked.items():
        if value and longest and value.lower() not in longest:
            raise UsageError(
                "E_SLURM_QOS",
                f"{name} is {value}, and SLURM has no such QOS",
                f"one of {', '.join(sorted(longest))}",
                "Correct or unset it; nothing was started",
            )
    return longest


def _require_time(jobs: Iterable[Asked], limits: dict[str, int], longest: dict[str, int]) -> None:
    """Many sites let a job that asks for too much time pend for ever."""
    for job in jobs:
        partitions = [limits.get(name, 0) for name in job.partition.split(",") if job.partition]
        qos = [word.partition("=")[2].lower() for word in job.options if word.startswith("--qos=")]
        bounds = {
            f"partition {job.partition}": 0 if 0 in partitions else max(partitions, default=0),
            **{f"QOS {name}": longest.get(name, 0) for name in qos},
        }
        for what, bound in bounds.items():
            if bound and job.minutes > bound:
                train = job.rule == "train" and number("SEEDS", 1) == 1
                raise UsageError(
                    "E_SLURM_TIME",
                    f"{_of(job)} ask for {job.minutes} minutes, and the {what} allows {bound}",
                    "no more than that",
                    f"Set PROMET_SLURM_{'TRAIN' if train else 'MAX'}_MINUTES={bound}"
                    + (" (a training goes on where its time ended)" if train else "")
                    + ", or name a partition or QOS for longer jobs; nothing was started",
                )


def _require_accepted(jobs: Iterable[Asked]) -> None:
    """Ask sbatch itself, without submitting anything; only refusals that stay ones count."""
    tried = set()
    for job in jobs:
        words = [*job.options]
        words += [f"--partition={job.partition}"] if job.partition else []
        words += [f"--time={job.minutes}"] if job.minutes else []
        words += [f"--mem={job.megabytes}"] if job.megabytes else []
        if tuple(words) in tried:
            continue
        tried.add(tuple(words))
        command = ["sbatch", "--test-only", "--output=/dev/null", "--cpus-per-task=1", *words, "--wrap=true"]
        code, _, said = _said(command)
        if code == 127 or (code and refusals.kind(said) == refusals.SILENT):
            return
        if code and refusals.known(said) and not _when_nodes_are_back(job, said):
            raise UsageError(
                "E_SLURM_REFUSED",
                f"{_of(job)} would be refused by SLURM: {refusals.sentence(said)}",
                remedy=f"{refusals.remedy(said)}; nothing was started",
            )


def _when_nodes_are_back(job: Asked, said: str) -> bool:
    """Is this about nodes that are drained or down? sbatch tests without these, and takes jobs for them all the same."""
    if "node configuration" not in said and "nodes are busy" not in said.lower():
        return False
    which = ["--partition", job.partition] if job.partition else ["--all"]  # sinfo refuses both together
    code, answer, _ = _said(["sinfo", *which, "--noheader", "--format", "%P|%m|%G"])
    lines = [line.strip().split("|", 2) for line in answer.splitlines() if line.count("|") > 1]
    if not job.partition:  # the default one is marked
        lines = [line for line in lines if line[0].endswith("*")] or lines
    gpus = next(
        (word.partition("=")[2] for word in job.options if word.startswith(("--gpus=", "--gres="))), ""
    )
    return code == 0 and any(
        int(re.sub(r"\D", "", memory) or 0) >= job.megabytes and _has(gres, gpus) for _, memory, gres in lines
    )


def _has(gres: str, wanted: str) -> bool:
    """Does a node with ``gpu:a100:4(S:0-1),shard:8`` hold what was wanted: ``1``, ``gpu:2`` or ``gpu:a100:1``?"""
    if not wanted:
        return True
    parts = ["gpu", wanted] if wanted.isdigit() else wanted.split(":")
    number = int(parts.pop()) if parts[-1].isdigit() else 1
    name, *kind = parts
    for held in re.sub(r"\([^)]*\)", "", gres).split(","):
        first, *middle, last = held.split(":") if held.count(":") else (held, "1")
        if first == name and (not kind or middle == kind) and last.isdigit() and int(last) >= number:
            return True
    return False


def _of(job: Asked) -> str:
    return "Trainings" if job.rule == "train" else f"Jobs of {job.rule}" if job.rule else "Jobs"


def minutes(limit: str) -> int:
    """Whole minutes of one of SLURM's time limits, ``days-hours:minutes:seconds`` cut on the left; 0 for no limit."""
    limit = limit.strip().lower()
    if limit in ENDLESS:
        return 0
    days, dash, rest = limit.partition("-") if "-" in limit else ("0", "", limit)
    parts = [int(part) for part in rest.split(":") if part.isdigit()]
    if not days.isdigit() or len(parts) != rest.count(":") + 1:
        return 0
    if dash:  # hours first
        hours, mins = (*parts, 0, 0)[:2]
    elif len(parts) == 1:
        hours, mins = 0, parts[0]
    else:
        hours, mins = (0, *parts)[-3:-1]
    return int(days) * 1440 + hours * 60 + mins
