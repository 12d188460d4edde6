"""Several seeds in one process, as a place of a cluster trains them: the same bytes as one process each."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from promet.core.errors import EXIT_REFUSED, EXIT_RESUMABLE
from promet.core.files import read_json
from promet.network.settings import Variant
from promet.network.train import Inputs, run
from promet.workflow.scheduler.trainings import packed, told, unpacked

PRODUCTS = ("model.safetensors", "history.parquet", "predictions.parquet")
SETTINGS = {"training": {"epochs": 6}, "augmentation": {"count": 2}}


def training(place: Path, fit: Path, patients: Path, seed: int, **settings) -> tuple[list[str], str]:
    """As the rule words it."""
    words = [
        "--fit",
        fit,
        "--patients",
        patients,
        "--seed",
        seed,
        "--out",
        place / f"seed-{seed:02d}/train.json",
    ]
    words += ["--pin", f"pin{seed}", "--settings", json.dumps(settings or SETTINGS)]
    return list(map(str, words)), str(place / f"logs/seed-{seed:02d}.log")


def start(trainings, at_once: int = 1) -> subprocess.Popen:
    command = [sys.executable, "-m", "promet.cli", "together", packed(trainings), str(at_once)]
    return subprocess.Popen(command, start_new_session=True)


def products(folder: Path, seed: int) -> dict[str, bytes]:
    return {name: (folder / f"seed-{seed:02d}" / name).read_bytes() for name in PRODUCTS}


@pytest.fixture(scope="module")
def alone(write_fit, tmp_path_factory):
    """Fit set, patients, and the seeds each trained in this process, one at a time."""
    folder = tmp_path_factory.mktemp("alone")
    fit, patients = write_fit(folder, training=8, validation=6)
    for seed in range(3):
        out = folder / f"seed-{seed:02d}/train.json"
        run(Inputs(fit, patients, seed), Variant.model_validate(SETTINGS), out, f"pin{seed}")
    return fit, patients, folder


def test_the_bytes_are_those_of_a_process_each_and_one_that_fails_takes_no_other_with_it(alone, tmp_path):
    fit, patients, expected = alone
    bad = training(tmp_path, fit, patients, 3, training={"epochs": 6, "learning_rate": 1e30})
    good = [training(tmp_path, fit, patients, seed) for seed in range(3)]
    assert start([good[0], bad, *good[1:]], at_once=2).wait(300) == EXIT_REFUSED
    assert "E_TRAIN_DIVERGED" in Path(bad[1]).read_text()
    assert not (tmp_path / "seed-03/train.json").exists()
    for seed in range(3):
        assert products(tmp_path, seed) == products(expected, seed)
        record = read_json(tmp_path / f"seed-{seed:02d}/train.json")
        assert (record["pin"], record["values"]["seed"]) == (f"pin{seed}", seed)
        assert "epoch 6" in (tmp_path / f"logs/seed-{seed:02d}.log").read_text()


def test_a_signal_costs_the_running_one_nothing_and_the_finished_one_is_not_trained_again(alone, tmp_path):
    fit, patients, expected = alone
    # its record is of no interrupted submission, having no state beside it: who asks for it again gets it again
    shutil.copytree(expected / "seed-02", tmp_path / "seed-02")
    asked = (tmp_path / "seed-02/train.json").stat().st_mtime_ns
    trainings = [training(tmp_path, fit, patients, seed) for seed in range(3)]
    going = start(trainings)
    second = tmp_path / "seed-01/resume.safetensors"
    while not second.exists():
        assert going.poll() is None
        time.sleep(0.02)
    going.send_signal(signal.SIGTERM)
    assert going.wait(60) == EXIT_RESUMABLE
    record = tmp_path / "seed-00/train.json"
    before = record.stat().st_mtime_ns
    assert (tmp_path / "seed-02/train.json").stat().st_mtime_ns == asked
    assert start(trainings).wait(300) == 0
    assert record.stat().st_mtime_ns == before
    assert (tmp_path / "seed-02/train.json").stat().st_mtime_ns > asked
    assert [products(tmp_path, seed) for seed in range(3)] == [products(expected, seed) for seed in range(3)]
    assert not list(tmp_path.rglob("resume.safetensors"))


def test_the_words_of_the_rule_survive_the_way():
    command = "exec promet network train --fit 'a b/fit.json' --settings '{\"x\": 1}' >> 'logs/a b.log' 2>&1"
    one = told(command)
    assert one == (["--fit", "a b/fit.json", "--settings", '{"x": 1}'], "logs/a b.log")
    long = [(["--settings", "x" * 3000], str(number)) for number in range(50)]
    assert unpacked(packed([*long, one])) == [*long, one]
    assert len(packed(long)) < 4000  # what a shell takes as one word is 128 KiB
