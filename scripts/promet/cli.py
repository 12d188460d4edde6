"""The command ``promet``: its environment, its errors as one sentence and an exit code."""

from __future__ import annotations

import atexit
import gc
import io
import logging
import os
import sys
import traceback
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module

from promet.core import errors, system
from promet.core.job import parse
from promet.core.words import typed

JOBS = ("imaging",)  # rooms whose stages are too short to load a command line for each


def app() -> None:
    """Do what was typed. The libraries of a command line are loaded for a person, and not for a job of these rooms."""
    if sys.argv[1:2] == ["together"]:  # typed by no one: the executor of a cluster writes it
        from promet.together import run

        sys.exit(run(sys.argv[2], int(sys.argv[3]), main))
    if not _job(sys.argv[1:]):
        from promet.app import app as commands

        commands()


def _job(words: list[str]) -> bool:
    """Run a stage as its rule calls it; False for everything else."""
    if len(words) < 2 or words[0] not in JOBS:
        return False
    job = import_module(f"promet.{words[0]}.jobs").JOBS.get(words[1])
    given = job and parse(job, words[2:])
    if given is None:
        return False
    gc.set_threshold(100_000)  # what is imported is many objects and no garbage
    job(**given)
    return True


def _as_planned() -> AbstractContextManager[None]:
    """A job of a run reads what the plan holds, which its rule hands over, or it fails."""
    told = os.environ.pop("PROMET_PLANNED", "")
    if not told:
        return nullcontext()
    from promet.core.reads import planned
    from promet.study import registry

    if images := registry.planned(told):  # without what tables and outcomes are checked by
        return planned(images)
    from promet.workflow.planned import begin

    return planned(begin(told))


def main() -> None:
    """Entry point: errors become one sentence and an exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("promet").setLevel(logging.INFO)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(
            stream, io.TextIOWrapper
        ):  # no answer is lost for a letter that the terminal does not have
            stream.reconfigure(errors="replace")
    for library in ("pydicom", "highdicom"):  # their messages quote UIDs and element values
        logging.getLogger(library).setLevel(logging.CRITICAL)
    try:
        with _as_planned():
            app()
    except errors.PrometError as error:
        sys.exit(_told(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(errors.EXIT_PIPE)
    except Exception as error:
        if known := system.explained(error):
            sys.exit(_told(known))
        if os.environ.get("PROMET_DEBUG"):
            raise
        print(_unforeseen(error), file=sys.stderr)
        sys.exit(errors.EXIT_BUG)


def _told(error: errors.PrometError) -> int:
    """Print the sentence; the exit code."""
    print(typed(f"promet: {error.code}: {error}"), file=sys.stderr)
    return errors.EXIT_RESUMABLE if isinstance(error, errors.Interrupted) else errors.EXIT_REFUSED


def _unforeseen(error: Exception) -> str:
    """Where it happened, without the message: an exception's text may quote a header or a path."""
    frames = [
        f"  {frame.filename.rpartition('promet/')[2]}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
    ]
    what = (
        f"{type(error).__name__} ({error.strerror})" if isinstance(error, OSError) else type(error).__name__
    )
    return "\n".join(
        [
            *frames,
            f"promet: E_UNFORESEEN: {what}. PROMET_DEBUG=1 shows the whole message; it may hold identifiers.",
        ]
    )


def _end() -> None:
    """End the process without taking apart one by one what it has loaded, a twentieth of a short job."""
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
    _end()
