"""One run per results folder: who holds it, and what a killed run left behind."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from promet.core.errors import UsageError

MARK = "PROMET_RUN"  # environment variable that every process of a run carries
GRACE = 20.0  # seconds that processes of a killed run have to save their state


@dataclass
class Holder:
    """Who holds the folder; all empty after a run that ended by itself."""

    run: str = ""
    pid: int = 0
    host: str = ""
    since: str = ""


class Lock:
    """The lock of a results folder, open in this process and handed on to Snakemake.

    The operating system frees it when the last of the two ends, however that comes about.
    """

    def __init__(self, descriptor: int, killed: Holder) -> None:
        self.descriptor = descriptor
        self.killed = killed  # the run before, if it was killed
        self.holder = Holder(
            f"{socket.gethostname()}-{os.getpid()}-{time.time_ns()}",
            os.getpid(),
            socket.gethostname(),
            datetime.now().isoformat(" ", "minutes"),
        )
        self.hold()

    def hold(self, pid: int | None = None) -> None:
        """Note who is to be stopped by somebody who wants the folder."""
        self.holder.pid = pid or os.getpid()
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, json.dumps(asdict(self.holder)).encode(), 0)


def _holder(descriptor: int) -> Holder:
    try:
        return Holder(**json.loads(os.pread(descriptor, 4096, 0)))
    except (ValueError, TypeError):
        return Holder()


@contextmanager
def held(results: str | Path) -> Iterator[Lock]:
    """Hold a results folder for one run.

    Raises:
        UsageError: another run holds it.
    """
    path = Path(results) / "run.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    os.set_inheritable(descriptor, True)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        other = _holder(descriptor)
        os.close(descriptor)
        raise running(other.pid, other.host, other.since) from None
    except OSError:
        pass  # a file system without locks: Snakemake's own lock remains
    lock = Lock(descriptor, _holder(descriptor))
    try:
        yield lock
    finally:
        os.ftruncate(descriptor, 0)
        os.close(descriptor)


def at_work(results: str | Path) -> Holder | None:
    """Who holds a results folder now, or None."""
    try:
        with open(Path(results) / "run.lock", "rb") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _holder(handle.fileno())
    except OSError:
        pass
    return None


def running(pid: int, host: str, since: str = "") -> UsageError:
    """The refusal of a second run."""
    there = "" if host == socket.gethostname() else f" on {host}"
    began = f" since {since}" if since else ""
    return UsageError(
        "E_RUNNING",
        f"Another run works in this folder{began} (process {pid}{there})",
        "one run at a time",
        f"Wait for it, promet status shows how far it is; or stop it{there}: kill -INT {pid}",
    )


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
