"""One command at a time of those that write: who holds a study's folders, and what a killed run left behind."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from promet.core.errors import UsageError

MARK = "PROMET_RUN"  # environment variable that every process of a run carries
NAME = "run.lock"
READERS = ("run", "prune")  # of the registry
RUNS = ("run", "predict")  # start Snakemake and jobs, which outlive a killed head
GRACE = 20.0  # seconds that processes of a killed run have to save their state


@dataclass
class Holder:
    """Who holds the folder; all empty after a run that ended by itself."""

    run: str = ""
    pid: int = 0
    host: str = ""
    since: str = ""
    command: str = "run"
    snakemake: int = 0  # its process, while one works for a run


class Lock:
    """The lock of a study's folders, open in this process and handed on to Snakemake.

    The operating system frees it when the last of the two ends, however that comes about.
    """

    def __init__(self, descriptors: tuple[int, ...], killed: Holder, command: str) -> None:
        self.descriptors = descriptors  # of the results folder first
        self.killed = killed  # the run before, if it was killed
        self.holder = Holder(
            f"{socket.gethostname()}-{os.getpid()}-{time.time_ns()}",
            os.getpid(),
            socket.gethostname(),
            datetime.now().isoformat(" ", "minutes"),
            command,
        )
        self.hold()

    def hold(self, snakemake: int = 0) -> None:
        """Note who is to be stopped by somebody who wants the folder, and the Snakemake that outlives a killed head."""
        self.holder.snakemake = snakemake
        for descriptor in self.descriptors:
            _write(descriptor, self.holder)

    def leave(self) -> None:
        """Nobody holds it any more; what a killed run left is still to be put away by the next run."""
        for descriptor in self.descriptors:
            _write(descriptor, self.killed if self.holder.command not in RUNS else Holder())
            os.close(descriptor)


def _write(descriptor: int, holder: Holder) -> None:
    with suppress(OSError):  # a full disk: the lock holds all the same
        os.ftruncate(descriptor, 0)
        if holder.run:
            os.pwrite(descriptor, json.dumps(asdict(holder)).encode(), 0)


def _holder(descriptor: int) -> Holder:
    try:
        return Holder(**json.loads(os.pread(descriptor, 4096, 0)))
    except (ValueError, TypeError):
        return Holder()


@contextmanager
def held(results: str | Path, registry: str | Path = "", command: str = "run") -> Iterator[Lock]:
    """Hold a study's folders for one command that writes.

    Args:
        results: folder of the products; nobody else writes there meanwhile.
        registry: folder of digests and ledgers, which studies may share: any number of runs read it, and one command
            at a time writes it while none runs.
        command: word after ``promet``.

    Raises:
        UsageError: another command holds one of them.
    """
    reads = command in READERS
    descriptors: list[int] = []
    try:
        for folder, kind in ((results, fcntl.LOCK_EX), (registry, fcntl.LOCK_SH if reads else fcntl.LOCK_EX)):
            if folder:
                descriptors.append(_locked(Path(folder, NAME), kind))
    except BaseException:
        for descriptor in descriptors:
            os.close(descriptor)
        raise
    lock = Lock(tuple(descriptors), _holder(descriptors[0]), command)
    try:
        yield lock
    finally:
        lock.leave()


def _locked(path: Path, kind: int) -> int:
    """Descriptor of a file that is locked now, or as good as locked where the file system has no locks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    os.set_inheritable(descriptor, True)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        other = _holder(descriptor)
        os.close(descriptor)
        raise running(other) from None
    except OSError:
        pass  # a file system without locks: Snakemake's own lock remains
    return descriptor


def at_work(results: str | Path) -> Holder | None:
    """Who holds a results folder now, or None."""
    try:
        with open(Path(results, NAME), "rb") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _holder(handle.fileno())
    except OSError:
        pass
    return None


def running(other: Holder) -> UsageError:
    """The refusal of a second command that writes, with what ends the first in good time."""
    there = "" if other.host == socket.gethostname() else f" on {other.host}"
    began = f" since {other.since}" if other.since else ""
    who = "Another run" if other.command == "run" else f"The command {other.command}"
    if not other.pid:  # it was noted by somebody who has ended since
        return UsageError(
            "E_RUNNING", f"{who} works in this folder", "one command that writes at a time", "Wait for it"
        )
    if other.command in RUNS and not there and not _alive(other.pid):
        return UsageError(
            "E_RUNNING",
            f"{who} works in this folder{began}; its head was killed, its Snakemake (process {other.snakemake}) goes on",
            "one command that writes at a time",
            f"Wait for it; or stop it: kill -KILL {other.snakemake}, then promet {other.command} ends, or waits for, the jobs that are left",
        )
    # A run passes it on to Snakemake and to the jobs; SIGINT it leaves to the terminal, which sends it to all of them.
    kind = "-TERM" if other.command in RUNS else "-INT"
    watch = "" if other.command == "predict" else ", promet status shows how far it is"
    return UsageError(
        "E_RUNNING",
        f"{who} works in this folder{began} (process {other.pid}{there})",
        "one command that writes at a time",
        f"Wait for it{watch}; or stop it{there}: kill {kind} {other.pid}",
    )


def snakemake_works(pid: int) -> UsageError:
    """The refusal while a Snakemake that nobody noted works here."""
    return UsageError(
        "E_RUNNING",
        f"A plain snakemake works in this folder (process {pid})",
        "one command that writes at a time",
        "Wait for it, or end it with Ctrl-C where it was started",
    )


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's
    return True


def _processes() -> Iterator[tuple[int, Path]]:
    for folder in Path("/proc").glob("[0-9]*"):
        if int(folder.name) != os.getpid():
            yield int(folder.name), folder


def marked(run: str) -> list[int]:
    """Processes of a run on this host, found by the mark in their environment; without those of SLURM's jobs."""
    mark = f"{MARK}={run}".encode()
    allocation = f"SLURM_JOB_ID={os.environ.get('SLURM_JOB_ID', '')}".encode()
    found = []
    for pid, folder in _processes():
        try:
            words = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if mark in words and all(w == allocation for w in words if w.startswith(b"SLURM_JOB_ID=")):
            found.append(pid)
    return found


def end(run: str) -> int:
    """End what is left of a killed run on this host: products are written whole or not at all, so nothing is lost.

    Trainers get time to save their state. Returns the number of processes that were still there.
    """
    found = marked(run)
    for kind, patience in ((signal.SIGTERM, GRACE), (signal.SIGKILL, 5.0)):
        for pid in marked(run):
            try:
                os.kill(pid, kind)
            except ProcessLookupError:
                continue
        limit = time.monotonic() + patience
        while marked(run) and time.monotonic() < limit:
            time.sleep(0.1)
    return len(found)


def snakemake_here() -> int:
    """Process of a Snakemake that works in this folder on this host, or 0."""
    here = os.path.realpath(".")
    for pid, folder in _processes():
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if os.readlink(folder / "cwd") == here and any(word.endswith(b"snakemake") for word in words[:3]):
                return pid
        except OSError:
            continue
    return 0
