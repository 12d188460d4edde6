"""Words for people: a number and its noun, and commands in hints as they have to be typed."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

# Tell the processes of a run what its head was called with.
MARK, RUN_MARK = "PROMET_CONFIGFILES", "PROMET_RUN_OPTIONS"
SLURM = ("PROMET_SLURM_PARTITION", "PROMET_SLURM_ACCOUNT")  # who has set one of them computes there
TYPED = re.compile(
    r"(promet (?:check|intake|status|freeze|waive|run|retry|prune)\b(?: --renamed [\w-]+=[\w-]+| --shorter [\w-]+| --[a-z]+\b| -n\b| [A-Z]{2,}\b(?!_))*+)(?! -c\b)"
)


def count(number: int, noun: str, many: str = "") -> str:
    """A number and its noun: 1 job, 2 jobs; ``many`` where an s does not make the plural."""
    return f"{number} {noun if number == 1 else many or noun + 's'}"


def listed(words: list[str], last: str = "and") -> str:
    """a; a and b; a, b and c."""
    return f" {last} ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def given(configfiles: Iterable[Path | str]) -> None:
    """Remember the configuration files of this call, for ``typed`` here and in the processes it starts."""
    os.environ[MARK] = " ".join(f"-c {shlex.quote(str(path))}" for path in configfiles)


def run_with(options: Iterable[str]) -> None:
    """Remember the options of this ``promet run``, likewise."""
    os.environ[RUN_MARK] = shlex.join(options)


def typed(text: str) -> str:
    """``text`` with the configuration files of this call behind every command that needs them, and with a run's options."""
    on_slurm = "--workflow-profile slurm" if any(os.environ.get(name) for name in SLURM) else ""
    run, files = os.environ.get(RUN_MARK, on_slurm), os.environ.get(MARK, "")

    def whole(found: re.Match[str]) -> str:
        options = run if found[1].startswith("promet run") and run not in found[1] else ""
        return " ".join(filter(None, (found[1], options, files)))

    return TYPED.sub(whole, text)


def say(text: str) -> None:
    """Print a line of words, its commands as they have to be typed."""
    print(typed(text), flush=True)
