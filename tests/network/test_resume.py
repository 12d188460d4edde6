"""A training that was killed ends with the same bytes as one that was not."""

import fcntl
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from promet.core.errors import EXIT_RESUMABLE, Interrupted, UsageError
from promet.core.files import read_json
from promet.network.settings import Variant
from promet.network.train import Inputs, Trainer, run

SETTINGS = Variant.model_validate(
    {
        "training": {"epochs": 8, "learning_rate": 1e-2, "plateau_patience": 1},
        "augmentation": {"count": 0},
    }
)


def products(folder: Path) -> dict[str, bytes]:
    names = ("model.safetensors", "history.parquet", "predictions.parquet")
    return {name: (folder / name).read_bytes() for name in names}


class Killed(BaseException):
    """Stands for a kill: nothing in the code may handle it."""


@pytest.fixture(scope="module")
def unbroken(write_fit, tmp_path_factory):
    """Fit set, patients, and the folder of a training that nobody disturbed."""
    folder = tmp_path_factory.mktemp("unbroken")
    fit, patients = write_fit(folder, signal=0.0)
    train(fit, patients, 3, folder / "run/train.json", "pin", SETTINGS)
    return fit, patients, folder / "run"


def train(fit, patients, seed, out, pin, settings, save_every=2):
    return run(Inputs(fit, patients, seed, save_every), settings, out, pin)


def at_epoch(monkeypatch, epoch: int, what) -> None:
    """Do ``what`` once, when that many epochs are done."""
    original, armed = Trainer.run_epoch, [True]

    def run_epoch(self) -> None:
        original(self)
        if armed and self.epoch == epoch:
            armed.clear()
            what()

    monkeypatch.setattr(Trainer, "run_epoch", run_epoch)


def kill() -> None:
    raise Killed


def test_killed_after_any_epoch(unbroken, tmp_path, monkeypatch) -> None:
    fit, patients, expected = unbroken
    for epoch in (1, 4, 5):
        out = tmp_path / f"killed-{epoch}/train.json"
        at_epoch(monkeypatch, epoch, kill)
        with pytest.raises(Killed):
            train(fit, patients, 3, out, "pin", SETTINGS)
        assert not out.exists()
        record = train(fit, patients, 3, out, "pin", SETTINGS)
        assert products(out.parent) == products(expected), f"killed after epoch {epoch}"
        assert record.notes["resumed"] == (1 if epoch > 2 else 0)  # the first state is saved after epoch 2
        assert not (out.parent / "resume.safetensors").exists()


def test_the_plateau_was_crossed(unbroken) -> None:
    """Otherwise the test above would not see a forgotten scheduler."""
    from pyarrow import parquet

    rates = parquet.read_table(unbroken[2] / "history.parquet")["learning_rate"].to_pylist()
    assert len(set(rates)) > 1


def test_with_augmentation(make_fit, tmp_path, monkeypatch) -> None:
    fit, patients = make_fit()
    settings = Variant.model_validate(
        {
            "training": {"epochs": 4},
            "augmentation": {"count": 3, "transforms": ["flip", "gaussian_noise", "contrast", "affine"]},
        }
    )
    train(fit, patients, 3, tmp_path / "a/train.json", "pin", settings, save_every=1)
    at_epoch(monkeypatch, 3, kill)
    with pytest.raises(Killed):
        train(fit, patients, 3, tmp_path / "b/train.json", "pin", settings, save_every=1)
    train(fit, patients, 3, tmp_path / "b/train.json", "pin", settings, save_every=1)
    assert products(tmp_path / "a") == products(tmp_path / "b")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGURG])
def test_signal_saves_and_asks_to_be_called_again(unbroken, tmp_path, monkeypatch, number) -> None:
    fit, patients, expected = unbroken
    out = tmp_path / "run/train.json"
    before = signal.getsignal(number)
    at_epoch(monkeypatch, 3, lambda: os.kill(os.getpid(), number))
    with pytest.raises(Interrupted, match=f"{number.name} came, the training stopped after epoch 3"):
        train(fit, patients, 3, out, "pin", SETTINGS)
    assert signal.getsignal(number) is before
    record = train(fit, patients, 3, out, "pin", SETTINGS)
    assert record.notes["resumed"] == 1
    assert products(out.parent) == products(expected)


def killed_training(fit, patients, out, pin, settings, monkeypatch) -> None:
    at_epoch(monkeypatch, 3, kill)
    with pytest.raises(Killed):
        train(fit, patients, 3, out, pin, settings)
    assert (out.parent / "resume.safetensors").exists()


@pytest.mark.parametrize("changed", ["pin", "settings", "fit", "seed"])
def test_state_of_another_run_is_not_used(unbroken, make_fit, tmp_path, monkeypatch, caplog, changed) -> None:
    fit, patients, expected = unbroken
    out = tmp_path / "run/train.json"
    other = SETTINGS.model_copy(
        update={"training": SETTINGS.training.model_copy(update={"weight_decay": 0.5})}
    )
    other_fit, other_patients = make_fit(signal=0.3, name="other") if changed == "fit" else (fit, patients)
    at_epoch(monkeypatch, 3, kill)
    with pytest.raises(Killed):
        train(
            other_fit,
            other_patients,
            4 if changed == "seed" else 3,
            out,
            "other" if changed == "pin" else "pin",
            other if changed == "settings" else SETTINGS,
        )
    assert (out.parent / "resume.safetensors").exists()
    record = train(fit, patients, 3, out, "pin", SETTINGS)
    assert f"of another run ({changed}); starting afresh" in caplog.text
    assert record.notes["resumed"] == 0
    assert products(out.parent) == products(expected)


def test_how_often_it_is_saved_is_no_other_run(unbroken, tmp_path, monkeypatch) -> None:
    fit, patients, expected = unbroken
    out = tmp_path / "run/train.json"
    at_epoch(monkeypatch, 3, kill)
    with pytest.raises(Killed):
        train(fit, patients, 3, out, "pin", SETTINGS, save_every=1)
    assert train(fit, patients, 3, out, "pin", SETTINGS).notes["resumed"] == 1
    assert products(out.parent) == products(expected)


@pytest.mark.parametrize("where", [0.5, 0.999, "cut"])
def test_damaged_state_is_not_used(unbroken, tmp_path, monkeypatch, caplog, where) -> None:
    fit, patients, expected = unbroken
    out = tmp_path / "run/train.json"
    killed_training(fit, patients, out, "pin", SETTINGS, monkeypatch)
    state = out.parent / "resume.safetensors"
    content = bytearray(state.read_bytes())
    if where == "cut":
        content = content[: len(content) // 2]
    else:
        content[int(len(content) * where)] ^= 1
    state.write_bytes(content)
    train(fit, patients, 3, out, "pin", SETTINGS)
    assert "the saved state is damaged" in caplog.text
    assert products(out.parent) == products(expected)


def test_one_seed_is_never_trained_twice_at_once(unbroken, tmp_path) -> None:
    fit, patients, _ = unbroken
    (tmp_path / "run").mkdir()
    with open(tmp_path / "run/.lock", "w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="another process"):
            train(fit, patients, 3, tmp_path / "run/train.json", "pin", SETTINGS)
    (tmp_path / "run/.123.model.safetensors").write_text("left by a kill")
    train(fit, patients, 3, tmp_path / "run/train.json", "pin", SETTINGS)
    assert not list((tmp_path / "run").glob(".123.*"))


def test_real_kills_at_random_moments(make_fit, tmp_path) -> None:
    fit, patients = make_fit(training=6, validation=4)
    text = '{"training": {"epochs": 30}, "augmentation": {"count": 0}}'
    train(fit, patients, 5, tmp_path / "unbroken/train.json", "pin", Variant.model_validate_json(text))
    out = tmp_path / "killed/train.json"
    state = out.parent / "resume.safetensors"
    command = [
        sys.executable,
        "-m",
        "promet.cli",
        "network",
        "train",
        f"--fit={fit}",
        f"--patients={patients}",
    ]
    command += ["--save-every=3", "--seed=5", f"--out={out}", "--pin=pin", f"--settings={text}"]

    def run_and_signal(number: int) -> tuple[int, float]:
        seen = state.stat().st_mtime_ns if state.exists() else 0
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            while not state.exists() or state.stat().st_mtime_ns == seen:
                assert process.poll() is None, "ended before it saved anything"
                time.sleep(0.005)
            delay = random.uniform(0, 0.2)
            time.sleep(delay)
            process.send_signal(number)
            return process.wait(60), delay

    code, delay = run_and_signal(signal.SIGKILL)
    assert code == -signal.SIGKILL, f"after {delay} s"
    code, delay = run_and_signal(signal.SIGTERM)
    assert code == EXIT_RESUMABLE, f"after {delay} s"
    assert not out.exists()
    record = train(fit, patients, 5, out, "pin", Variant.model_validate_json(text))
    assert record.notes["resumed"] == 2
    assert products(out.parent) == products(tmp_path / "unbroken")
    assert read_json(out)["status"] == "ok"
    assert not [
        path for path in Path(out.parent).iterdir() if path.name.startswith(".") and path.name != ".lock"
    ]
