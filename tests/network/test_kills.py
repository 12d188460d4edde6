"""Killed, or without room on the disk, at many random moments, or run beside others in another order: the same bytes."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from promet.core.errors import EXIT_RESUMABLE, Interrupted
from promet.core.files import read_json
from promet.network import train
from promet.network.settings import Variant

SETTINGS = Variant.model_validate(
    {"training": {"epochs": 15, "learning_rate": 1e-3, "plateau_patience": 2}, "augmentation": {"count": 2}}
)
FILES = ("model.safetensors", "history.parquet", "predictions.parquet")
KILLS, NO_ROOM = 24, 28


def products(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


def in_a_child(work: Callable[[], object]) -> int:
    """Start ``work`` in a process of its own (a fork: torch is loaded already); its number."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    except Interrupted:
        code = EXIT_RESUMABLE
    except OSError:
        code = NO_ROOM
    finally:
        os._exit(code)


@pytest.fixture(scope="module")
def study(write_fit, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kills")
    fit, patients = write_fit(folder, signal=0.0, training=6, validation=4)
    start = time.perf_counter()
    train.run(train.Inputs(fit, patients, 5), SETTINGS, folder / "run/train.json", "pin")
    return fit, patients, folder / "run", time.perf_counter() - start


def test_killed_at_many_random_moments(study, tmp_path) -> None:
    fit, patients, expected, seconds = study
    moment = random.Random()
    kills = finished = resumed_most = 0
    while kills < KILLS or not finished:
        out = tmp_path / f"run-{finished}/train.json"
        child = in_a_child(lambda out=out: train.run(train.Inputs(fit, patients, 5, 1), SETTINGS, out, "pin"))
        if kills < KILLS:
            time.sleep(moment.uniform(0, seconds / 4))
            if kills % 4 == 1:  # from now on no file has room for more than a header
                resource.prlimit(child, resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
            else:
                os.kill(child, signal.SIGTERM if kills % 4 == 3 else signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in (0, -signal.SIGKILL, EXIT_RESUMABLE, -signal.SIGTERM, NO_ROOM)
        kills += status != 0
        if status == 0:
            resumed_most = max(resumed_most, read_json(out)["notes"]["resumed"])
            assert products(out.parent) == products(expected)
            assert not (out.parent / "resume.safetensors").exists()
            finished += 1
    assert resumed_most > 0, "no kill hit a training that had saved anything"


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 12 MB: the weights have room, the saved state has not."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", folder], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_costs_nothing_but_the_saved_state(study, small_disk, caplog) -> None:
    fit, patients, expected, _ = study
    full = small_disk / "something"
    full.write_bytes(bytes(10_000_000))
    with pytest.raises(OSError, match="No space left"):
        train.run(train.Inputs(fit, patients, 5), SETTINGS, small_disk / "run/train.json", "pin")
    assert "could not be saved (No space left on device); going on" in caplog.text
    assert sorted(path.name for path in (small_disk / "run").iterdir()) == [".lock"]
    full.unlink()
    train.run(train.Inputs(fit, patients, 5), SETTINGS, small_disk / "run/train.json", "pin")
    assert products(small_disk / "run") == products(expected)


def test_order_and_number_of_jobs_do_not_matter(study, tmp_path) -> None:
    fit, patients, expected, _ = study
    for seed in (6, 7):
        train.run(train.Inputs(fit, patients, seed), SETTINGS, tmp_path / f"alone/{seed}/train.json", "pin")
    children = [
        in_a_child(
            lambda seed=seed: train.run(
                train.Inputs(fit, patients, seed), SETTINGS, tmp_path / f"two/{seed}/train.json", "pin"
            )
        )
        for seed in (7, 6)
    ]
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
    train.run(train.Inputs(fit, patients, 5), SETTINGS, tmp_path / "two/5/train.json", "pin")
    for seed in (6, 7):
        assert products(tmp_path / f"alone/{seed}") == products(tmp_path / f"two/{seed}")
    assert products(tmp_path / "two/5") == products(expected)
