"""How far a training is: a bar on a terminal, otherwise lines in the log."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

log = logging.getLogger("promet")
LOG_EVERY = 10  # epochs


def line(row: dict[str, Any], best: dict[str, Any], seconds_left: float) -> str:
    """One epoch in words; the time left is to the last epoch, early stopping only shortens it."""
    minutes, seconds = divmod(round(seconds_left), 60)
    return (
        f"epoch {row['epoch']}, loss {row['training_loss']:.4f}, validation loss {row['validation_loss']:.4f},"
        f" AUC {row['validation_auc']:.3f} (best {best['validation_auc']:.3f} in epoch {best['epoch']}),"
        f" at most {minutes} min {seconds:02d} s left"
    )


@contextmanager
def shown(epochs: int) -> Iterator[Callable[[Any], None]]:
    """Gives what to call after each epoch, with the trainer.

    Args:
        epochs: the most there can be.
    """

    def words(trainer: Any) -> str:
        left = trainer.seconds / trainer.epoch * (epochs - trainer.epoch)
        return line(trainer.history[-1], trainer.best_row, 0 if trainer.finished else left)

    if not sys.stderr.isatty():

        def write(trainer: Any) -> None:
            if trainer.epoch % LOG_EVERY == 0 or trainer.epoch == 1 or trainer.finished:
                log.info("train: %s", words(trainer))

        yield write
        return

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (BarColumn(), TextColumn("{task.completed}/{task.total} {task.description}"))
    with Progress(*columns, console=Console(stderr=True), auto_refresh=False) as bar:
        task = bar.add_task("", total=epochs)
        yield lambda trainer: bar.update(
            task, completed=trainer.epoch, description=words(trainer), refresh=True
        )
