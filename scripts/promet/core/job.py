"""A job's words without the libraries of a command line, which cost each of a cohort's many short jobs a tenth of a second.

The parameters of a function are the options of its command. A rule writes them plainly, and what it writes is read here;
help, mistakes and whatever else a person types is for the command line that is made from the same function.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

READ: dict[Any, Callable[[str], Any]] = {str: str, Path: Path, Path | None: Path, int: int}


CHECKED = "PROMET_CHECKED"


def checked() -> bool:
    """Whether this is the job of a run, whose rule hands over settings out of the configuration that its Snakefile has checked."""
    return CHECKED in os.environ


def as_checked(given: str) -> SimpleNamespace:
    """Checked settings with the attributes of their model, whose library costs as much as many a stage."""

    def section(values: dict[str, Any]) -> SimpleNamespace:
        return SimpleNamespace(
            **{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
        )

    return json.loads(given, object_hook=section)


@contextmanager
def without(*names: str) -> Iterator[None]:
    """What is imported inside finds these modules as if they were not installed: a library may load them for what no job does."""
    absent = [name for name in names if name not in sys.modules]
    sys.modules |= dict.fromkeys(absent)  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


def option(name: str) -> str:
    """As it is typed."""
    return "--" + name.replace("_", "-")


def parse(job: Callable[..., None], words: list[str]) -> dict[str, Any] | None:
    """What ``job`` is called with; None if a word is not one of its options or one that it needs is not there.

    ``--name value``, ``--name=value``, and ``--name`` alone of a parameter that is a bool.
    """
    parameters = inspect.signature(job, eval_str=True).parameters
    known = {option(name): (name, parameter.annotation) for name, parameter in parameters.items()}
    found: dict[str, Any] = {}
    left = iter(words)
    for word in left:
        typed, given, value = word.partition("=")
        name, kind = known.get(typed, ("", None))
        if not name or name in found:
            return None
        if kind is bool:
            if given:
                return None
            found[name] = True
            continue
        if not given:
            value = next(left, "--")
            if value.startswith("-"):  # an option whose value was forgotten, most likely
                return None
        try:
            found[name] = READ[kind](value)
        except ValueError:
            return None
    missing = [name for name, p in parameters.items() if p.default is p.empty and name not in found]
    return None if missing else found
