"""Commands that write work alone in a study's folders."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from promet.config import load
from promet.workflow.lock import held


def alone(command: Callable[..., int]) -> Callable[..., int]:
    """A command that writes: refused while a run or another such command works in the study's folders."""

    @wraps(command)
    def start(configfiles: list[Path], *words: Any, **named: Any) -> int:
        config = load(configfiles)
        with held(config.results, config.registry, command.__name__):
            return command(configfiles, *words, **named)

    return start
