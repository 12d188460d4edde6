"""How far a training is: a bar on a terminal, otherwise lines in the log; TensorBoard for who wants it."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from promet.study.chosen import KEYS, WORDS, metric_of

log = logging.getLogger("promet")
LOG_EVERY = 10  # epochs
BOARD = "PROMET_TENSORBOARD"  # a variable and no setting: watching is no reason to train again


def line(row: dict[str, Any], best: dict[str, Any], seconds_left: float) -> str:
    """One epoch in words; the time left is to the last epoch, early stopping only shortens it."""
    minutes, seconds = divmod(round(seconds_left), 60)
    metric = metric_of(row)
    key = KEYS[metric]
    return (
        f"epoch {row['epoch']}, loss {row['training_loss']:.4f}, validation loss {row['validation_loss']:.4f},"
        f" {WORDS[metric]} {row[key]:.3f} (best {best[key]:.3f} in epoch {best['epoch']}),"
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


@contextmanager
def boarded(folder: Path) -> Iterator[Callable[[Any], None]]:
    """Gives what to call after each epoch, with the trainer: it notes the epoch for TensorBoard if PROMET_TENSORBOARD names a folder.

    Args:
        folder: the seed's folder; its last three names (variant, split, seed) are the run's name.
    """
    board = os.environ.get(BOARD)
    if not board:
        yield lambda trainer: None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        log.warning("train: %s is set, but the package tensorboard is not installed", BOARD)
        yield lambda trainer: None
        return
    with SummaryWriter(Path(board, *folder.absolute().parts[-3:])) as writer:

        def note(trainer: Any) -> None:
            row = dict(trainer.history[-1])
            epoch = row.pop("epoch")
            for name, value in row.items():
                writer.add_scalar(name, value, epoch)

        yield note
