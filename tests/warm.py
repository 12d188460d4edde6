"""Runs ``python -m promet.cli`` and ``python -m snakemake`` in forks of a process that has imported both.

Two of three CPU seconds of a run in which all jobs are stand-ins are imports. Each call is a process of its own all the same,
with its own folder, environment and signals; so is the Snakemake that promet run starts. Tests in which the start of a process or
its end by a signal is the point start a real one.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import BinaryIO


def call(command: list[str], cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess:
    """As ``subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)`` of ``[python, "-m", module, ...]``."""
    server = _server()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        names = [f"/proc/{os.getpid()}/fd/{file.fileno()}" for file in (out, err)]
        request = {"words": command, "cwd": str(cwd), "env": env, "out": names}
        server.stdin.write(json.dumps(request).encode() + b"\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        for file in (out, err):
            file.seek(0)
        return subprocess.CompletedProcess(command, code, out.read().decode(), err.read().decode())


@cache
def _server() -> subprocess.Popen:
    """Ends with this process, whose end closes its input."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, __file__], env=environment, stdin=pipe, stdout=pipe)


class Forked:
    """A Snakemake that promet run starts: what it asks of a ``Popen``, without a new interpreter."""

    def __init__(
        self,
        command: Sequence[str],
        env: dict[str, str],
        pass_fds: Sequence[int] = (),
        stderr: int | None = None,
    ) -> None:
        self.stderr: BinaryIO | None = None
        ends = os.pipe() if stderr == subprocess.PIPE else ()
        sys.stdout.flush()
        self.pid = os.fork()
        if not self.pid:
            if ends:
                os.dup2(ends[1], 2)
            for name in [name for name in sys.modules if name.partition(".")[0] == "promet"]:
                del sys.modules[name]  # Snakemake takes the one beside its Snakefile
            _become(command, env)
        if ends:
            os.close(ends[1])
            self.stderr = os.fdopen(ends[0], "rb")

    def wait(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)


def _become(command: Sequence[str], env: dict[str, str]) -> None:
    """Go on as ``command`` in this process, whose output is where it should be, and end with it."""
    _, _, module, *words = command
    code = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        logging.root.handlers.clear()
        logging.root.setLevel(logging.WARNING)
        os.environ.clear()
        os.environ.update(env)
        sys.argv = [module, *words]
        sys.path[0] = os.getcwd()
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def _serve() -> None:
    for name in ("snakemake.cli", "promet.config"):
        importlib.import_module(name)
    run = importlib.import_module("promet.workflow.run")
    run.subprocess = _Subprocess
    for line in sys.stdin.buffer:
        request = json.loads(line)
        pid = os.fork()
        if not pid:
            os.chdir(request["cwd"])
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            for number, name in enumerate(request["out"], 1):
                os.dup2(os.open(name, os.O_WRONLY | os.O_APPEND), number)
            _become(request["words"], request["env"])
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(code, flush=True)


class _Subprocess:
    PIPE = subprocess.PIPE
    Popen = Forked


if __name__ == "__main__":
    _serve()
