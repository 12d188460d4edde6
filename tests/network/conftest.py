"""A small fit set on disk, as the stages before the network leave it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from promet.core.files import digest_file, write_json
from promet.core.sidecar import Sidecar
from promet.network.data import Followed, Member, fit_digest, write_members

SHAPE = (2, 8, 16, 16)


def volumes(labels: np.ndarray, signal: float, seed: int = 0) -> np.ndarray:
    """Noise in [0, 1] and a lesion map; ``signal`` is how much brighter label 1 is."""
    rng = np.random.default_rng(seed)
    made = rng.random((len(labels), *SHAPE), dtype=np.float32)
    made[:, 1] = 0
    made[:, 1, 3:6, 5:10, 5:10] = 1
    made[:, 0] *= 0.3
    made[:, 0] += (signal * labels).astype(np.float32)[:, None, None, None]
    return made


def write_patient(folder: Path, name: str, volume: np.ndarray | None, status: str = "ok") -> str:
    """One patient's tensor.npy and normalise.json; returns the tensor's digest."""
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    record = Sidecar(stage="normalise", pin="p", status=status)
    if volume is not None:
        np.save(place / "tensor.npy", volume)
        record.products = {"tensor.npy": digest_file(place / "tensor.npy")}
    record.write(place / "normalise.json")
    return record.products.get("tensor.npy", "")


@pytest.fixture(name="write_patient")
def _write_patient() -> Callable[..., str]:
    return write_patient


@pytest.fixture(scope="session")
def write_fit() -> Callable[..., tuple[Path, Path]]:
    """Writes patients and a fit set into a folder; gives (fit.json, patients folder)."""

    def write(
        folder: Path,
        signal: float = 1.0,
        training: int = 12,
        validation: int = 8,
        seed: int = 0,
        followed: bool = False,
    ) -> tuple[Path, Path]:
        labels = np.arange(training + validation) % 2
        tensors = volumes(labels, signal, seed)
        patients, fit = folder / "patients", folder / "dataset/split-00/fit.json"
        members = []
        for number, (label, tensor) in enumerate(zip(labels, tensors, strict=True)):
            part = "training" if number < training else "validation"
            digest = write_patient(patients, f"P{number:03d}", tensor)
            member = (f"P{number:03d}", part, int(label), digest)
            # with the label an event within four years; without, one leaves early of four, the others later than that
            months = 3.0 + 5 * (number % 8) if label or number % 8 == 0 else 50.0 + number
            status = int(label) if label or months > 48 else -1
            followed_ = Followed(*member[:2], status, digest, "", months, int(label))
            members.append(followed_ if followed else Member(*member))
        write_members(fit.with_name("members.parquet"), members)
        write_json(fit, {"digest": fit_digest(members), "training": training, "validation": validation})
        return fit, patients

    return write


@pytest.fixture
def make_fit(tmp_path: Path, write_fit: Callable[..., tuple[Path, Path]]) -> Callable[..., tuple[Path, Path]]:
    """The same in a folder of the test's own."""
    return lambda name="study", **options: write_fit(tmp_path / name, **options)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """As the commands set it; more threads on shared cores only wait for each other."""
    import torch

    torch.set_num_threads(1)
