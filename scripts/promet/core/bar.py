"""A bar on a terminal; elsewhere one calm line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from promet.core.words import count

if TYPE_CHECKING:
    from rich.progress import Progress


def terminal() -> bool:
    """Is standard output a terminal on which a line can be written over?"""
    return bool(sys.stdout and sys.stdout.isatty()) and os.environ.get("TERM") != "dumb"


def bar() -> Progress:
    """A bar with words behind it, the field ``words`` of its task."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[words]}"))
    return Progress(*columns, console=Console(file=sys.stdout), transient=True, refresh_per_second=2)


@contextmanager
def counting(what: str, total: int, noun: str) -> Iterator[Callable[[int], None]]:
    """Shows how many of ``total`` are done; what it gives is called with that number."""
    if not terminal():
        print(f"{what}: {count(total, noun)}", flush=True)
        yield lambda done: None
        return
    with bar() as live:
        task = live.add_task(what, total=total, words=f"0 of {count(total, noun)}")
        yield lambda done: live.update(
            task, completed=done, words=f"{done} of {count(total, noun)}", refresh=True
        )
