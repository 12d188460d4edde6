"""Several trainings in one place of a cluster: the libraries are loaded once, and each has its own log, record and state.

A few processes share one list; each trains one seed after the other, so that a further seed costs neither a start nor a
new context on the GPU. What is trained is what ``promet network train`` trains, word for word.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import struct
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import FrameType

from promet.core.errors import EXIT_BUG, EXIT_OK, EXIT_RESUMABLE
from promet.core.files import read_json
from promet.workflow.scheduler.trainings import Training, unpacked

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGURG, signal.SIGINT)
PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>
STATE = "resume.safetensors"  # beside the record, until all are done: a record with it is one of this submission's
ENTRY = struct.Struct("ii")  # of the list: which one, and of what is done also its exit code


def run(told: str, at_once: int, promet: Callable[[], None]) -> int:
    """Train them all; after a signal begin no further one, and let those that run save their state.

    Args:
        told: the trainings, ``trainings.packed``: each with the words of its command and its log, which is added to.
        at_once: how many at a time.
        promet: does what stands in sys.argv, and ends by SystemExit where that goes wrong.

    Returns:
        0; EXIT_RESUMABLE after a signal, when the same call goes on from there; else the first failure's code.
    """
    import_module("promet.network.train")  # once, for all that follow; nothing of it touches a GPU yet
    trainings = unpacked(told)
    (waiting, fill), (answers, answer) = os.pipe(), os.pipe()
    for number in range(len(trainings)):
        os.write(fill, ENTRY.pack(number, 0))
    os.close(fill)
    workers: list[int] = []
    came: list[int] = []

    def end(sent: int, _: FrameType | None) -> None:
        came.append(sent)
        while _next(waiting) is not None:
            pass
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, sent)

    for number in SIGNALS:
        signal.signal(number, end)
    for _ in range(min(at_once, len(trainings))):
        if not (worker := os.fork()):
            _work(trainings, waiting, answer, promet)
        workers.append(worker)
    os.close(answer)
    codes = dict.fromkeys(range(len(trainings)), EXIT_BUG)
    while told := os.read(answers, ENTRY.size):  # until the last worker is gone
        number, code = ENTRY.unpack(told)
        codes[number] = code
    for worker in workers:
        os.waitpid(worker, 0)
    failed = [code for code in codes.values() if code]
    if not failed:
        for words, _ in trainings:
            _record(words).with_name(STATE).unlink(missing_ok=True)
    return EXIT_OK if not failed else EXIT_RESUMABLE if came else failed[0]


def _next(waiting: int) -> int | None:
    """The next one of the list that all processes take from; None when there is no more."""
    entry = os.read(waiting, ENTRY.size)  # an empty pipe that nobody fills has ended
    return ENTRY.unpack(entry)[0] if entry else None


def _work(trainings: list[Training], waiting: int, answer: int, promet: Callable[[], None]) -> None:
    """What a worker does until the list is empty; it never returns."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)  # should the first process be killed alone
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    while (number := _next(waiting)) is not None:
        code = _train(*trainings[number], promet)
        os.write(answer, ENTRY.pack(number, code))
    sys.stdout.flush()
    os._exit(EXIT_OK)


def _train(words: list[str], log: str, promet: Callable[[], None]) -> int:
    """One training; its exit code."""
    record, state = _record(words), _record(words).with_name(STATE)
    with contextlib.suppress(OSError, ValueError):
        if state.exists() and read_json(record)["pin"] == words[words.index("--pin") + 1]:
            return EXIT_OK  # done before this submission was interrupted
    record.unlink(missing_ok=True)  # as before any job
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as written:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(written.fileno(), stream.fileno())
    sys.argv = ["promet", "network", "train", *words, "--keep-state"]
    try:
        promet()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else EXIT_BUG if ended.code else EXIT_OK
    return EXIT_OK


def _record(words: list[str]) -> Path:
    return Path(words[words.index("--out") + 1])
