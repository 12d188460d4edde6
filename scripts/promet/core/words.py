"""Words for people: a number and its noun, and commands in hints as they have to be typed."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

MARK = "PROMET_CONFIGFILES"  # tells the processes of a run what its head was called with
TYPED = re.compile(
    r"(promet (?:check|intake|status|freeze|waive|run|retry|prune)\b(?: --[a-z]+\b| -n\b| [A-Z]{2,}\b(?!_))*+)(?! -c\b)"
)


def count(number: int, noun: str, many: str = "") -> str:
    """A number and its noun: 1 job, 2 jobs; ``many`` where an s does not make the plural."""
    return f"{number} {noun if number == 1 else many or noun + 's'}"


def given(configfiles: Iterable[Path | str]) -> None:
    """Remember the configuration files of this call, for ``typed`` here and in the processes it starts."""
    os.environ[MARK] = " ".join(f"-c {shlex.quote(str(path))}" for path in configfiles)


def typed(text: str) -> str:
    """``text`` with the configuration files of this call behind every command that needs them."""
    options = os.environ.get(MARK, "")
    return TYPED.sub(lambda found: f"{found[1]} {options}", text) if options else text


def say(text: str) -> None:
    """Print a line of words, its commands as they have to be typed."""
    print(typed(text), flush=True)
