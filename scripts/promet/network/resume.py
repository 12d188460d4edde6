"""What makes a training survive: one file of state, one lock, signals that ask instead of kill."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from promet.core.errors import UsageError
from promet.core.files import atomic

log = logging.getLogger("promet")
# SIGTERM: preemption, scancel, time limit. SIGUSR1 and SIGURG: a scheduler's warning before it (sbatch --signal).
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGURG, signal.SIGINT)
NAME = "resume.safetensors"
PRODUCTS = (NAME, "model.safetensors", "history.parquet", "predictions.parquet", "train.json")


@contextmanager
def requests_to_stop() -> Iterator[list[str]]:
    """Catch the signals; the list given holds the names of those that came."""
    came: list[str] = []
    before = {
        number: signal.signal(number, lambda n, _: came.append(signal.Signals(n).name)) for number in SIGNALS
    }
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold the lock of a seed's folder: an orphan of a crashed workflow may still be training there.

    Raises:
        UsageError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                "E_TRAIN_LOCKED",
                "This seed is being trained by another process",
                "one at a time",
                "Wait for it or end it (squeue --me shows jobs that a crashed workflow left behind)",
            ) from error
        except OSError as error:  # some network file systems know no locks
            log.warning(
                "train: no lock on this file system (%s); two trainings of one seed would not notice",
                error.strerror,
            )
        for product in PRODUCTS:
            for leftover in folder.glob(f".*.{product}"):  # of a killed write; the lock keeps others out
                leftover.unlink()
        yield


def _digest(tensors: dict[str, Tensor], progress: dict[str, Any]) -> str:
    total = hashlib.sha256(json.dumps(progress, sort_keys=True).encode())
    for name in sorted(tensors):
        total.update(name.encode())
        total.update(tensors[name].numpy().tobytes())
    return total.hexdigest()


def pack(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as safetensors wants them: on the CPU, contiguous, detached."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def save(
    folder: Path, identity: dict[str, Any], tensors: dict[str, Tensor], progress: dict[str, Any]
) -> None:
    """Save the state atomically as resume.safetensors; everything but the tensors is JSON in its header.

    Args:
        folder: the seed's folder.
        identity: what the state belongs to; only a run with an equal one may use it.
        tensors: name -> tensor.
        progress: JSON values.
    """
    from safetensors.torch import save as to_bytes

    tensors = pack(tensors)
    header = {"identity": identity, "progress": progress, "digest": _digest(tensors, progress)}
    with atomic(folder / NAME) as temporary:
        temporary.write_bytes(to_bytes(tensors, metadata={"promet": json.dumps(header, sort_keys=True)}))


def load(folder: Path, identity: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The saved state, or None when there is none that this run may use (the log says why)."""
    from safetensors import SafetensorError, safe_open

    path = folder / NAME
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as handle:
            header = json.loads(handle.metadata()["promet"])
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 (not a dict)
        differs = [name for name in identity if header["identity"].get(name) != identity[name]]
        whole = header["digest"] == _digest(tensors, header["progress"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        log.warning("train: the saved state is damaged (%s); starting afresh", type(error).__name__)
        return None
    if differs:
        log.warning("train: the saved state is of another run (%s); starting afresh", ", ".join(differs))
        return None
    if not whole:
        log.warning("train: the saved state is damaged (digest); starting afresh")
        return None
    return tensors, header["progress"]


def discard(folder: Path) -> None:
    """Remove the state of a finished training."""
    (folder / NAME).unlink(missing_ok=True)
