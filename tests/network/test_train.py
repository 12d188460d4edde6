import io
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pyarrow import parquet

from promet.core.errors import IntegrityError, UsageError
from promet.core.files import write_json
from promet.network import train
from promet.network.augment import loops
from promet.network.data import Member, fit_digest, read_members, write_members
from promet.network.objective import Label
from promet.network.settings import Variant
from promet.network.train import Trainer, prepare_torch

FILES = ("model.safetensors", "history.parquet", "predictions.parquet")


def variant(**training: object) -> Variant:
    return Variant.model_validate(
        {"training": {"epochs": 6, "learning_rate": 1e-3, **training}, "augmentation": {"count": 0}}
    )


def products(folder) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


def test_learns_what_can_be_learnt(make_fit, tmp_path) -> None:
    fit, patients = make_fit(signal=1.0, training=16)
    record = train.run(train.Inputs(fit, patients, 1), variant(epochs=15), tmp_path / "run/train.json", "pin")
    assert record.values["validation_auc"] == 1.0
    history = parquet.read_table(tmp_path / "run/history.parquet").to_pydict()
    assert history["training_loss"][-1] < 0.5 * history["training_loss"][0]
    assert history["epoch"] == list(range(1, 16))
    predictions = parquet.read_table(tmp_path / "run/predictions.parquet").to_pydict()
    assert set(predictions["part"]) == {"validation"}
    assert predictions["patient"] == [f"P{n:03d}" for n in range(16, 24)]
    labels, logits = np.array(predictions["label"]), np.array(predictions["logit"])
    assert logits[labels == 1].min() > logits[labels == 0].max()


def test_learns_nothing_from_noise(make_fit, tmp_path) -> None:
    areas = []
    for seed in range(3):
        fit, patients = make_fit(signal=0.0, training=12, validation=20, seed=seed, name=f"n{seed}")
        train.run(
            train.Inputs(fit, patients, seed), variant(epochs=5), tmp_path / f"run{seed}/train.json", "pin"
        )
        areas += parquet.read_table(tmp_path / f"run{seed}/history.parquet").to_pydict()["validation_auc"]
    assert 0.35 < np.mean(areas) < 0.65


def test_same_seed_same_bytes_other_seed_other_bytes(make_fit, tmp_path) -> None:
    fit, patients = make_fit()
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        torch.manual_seed(len(name) + seed)  # what went on before in the process does not matter
        train.run(
            train.Inputs(fit, patients, seed), variant(epochs=3), tmp_path / f"runs/{name}/train.json", "pin"
        )
    a, b, c = (products(tmp_path / "runs" / name) for name in "abc")
    assert a == b
    assert a["model.safetensors"] != c["model.safetensors"]
    assert a["history.parquet"] != c["history.parquet"]
    assert sorted(path.name for path in (tmp_path / "runs/a").iterdir()) == sorted(
        [*FILES, ".lock", "train.json"]
    )


def test_augmentation_takes_part(make_fit, tmp_path) -> None:
    fit, patients = make_fit()
    settings = variant(epochs=2)
    flips = settings.model_copy(
        update={
            "augmentation": settings.augmentation.model_copy(update={"count": 1, "transforms": ("flip",)})
        }
    )
    for name, chosen in (("plain", settings), ("flips", flips), ("again", flips)):
        train.run(train.Inputs(fit, patients, 1), chosen, tmp_path / f"{name}/train.json", "pin")
    plain, flipped, again = (products(tmp_path / name) for name in ("plain", "flips", "again"))
    assert flipped == again
    assert plain["model.safetensors"] != flipped["model.safetensors"]


def trainer(settings: Variant, training: int = 5, validation: int = 4) -> Trainer:
    rng = np.random.default_rng(0)
    sizes = {"training": training, "validation": validation}
    tensors = {part: rng.random((n, 2, 8, 16, 16), dtype=np.float32) for part, n in sizes.items()}
    labels = {part: np.r_[np.ones(1, int), np.zeros(n - 1, int)] for part, n in sizes.items()}
    device = torch.device("cpu")
    return Trainer(settings, 0, tensors, Label(labels, device), device)


def test_loss_weighs_the_rare_label() -> None:
    assert trainer(variant()).objective.criterion.pos_weight.item() == 4.0  # four without, one with


def scripted(monkeypatch, settings: Variant, areas: list[float], losses: list[float]) -> Trainer:
    """A trainer whose validation results are given: what it keeps, when it stops."""
    run = trainer(settings)
    script = iter(zip(areas, losses, strict=True))
    current: list[tuple[float, float]] = []

    def epoch(number: int) -> torch.Tensor:
        current[:] = [next(script)]
        run.model.features.norm.bias.data.fill_(number)
        return torch.tensor([1.0, current[0][1], 0, 0, 0, 0], dtype=torch.float64)

    monkeypatch.setattr(run, "_epoch", epoch)
    monkeypatch.setattr(run.objective, "judged", lambda _: current[0][0])
    while not run.finished:
        run.run_epoch()
    return run


def test_best_epoch_by_auc_then_loss_and_its_weights(monkeypatch) -> None:
    run = scripted(
        monkeypatch, variant(epochs=6), [0.5, 0.8, 0.7, 0.8, 0.8, 0.6], [1, 0.9, 0.1, 0.5, 0.7, 0.2]
    )
    assert run.best_row["epoch"] == 4  # the best AUC thrice, there with the smallest loss
    assert set(run.best["features.norm.bias"].tolist()) == {4.0}


def test_no_network_from_before_the_earliest_epoch_is_kept(monkeypatch) -> None:
    options = variant(epochs=20, earliest_epoch=3, patience=4)
    run = scripted(monkeypatch, options, [1.0, 0.9, 0.3, 0.2, 0.6, 0.6, 0.5, 0.6, 0.1], [0.1] * 5 + [0.2] * 4)
    assert run.best_row["epoch"] == 5
    assert set(run.best["features.norm.bias"].tolist()) == {5.0}
    assert run.epoch == 9  # patience counts from epoch 5
    run = scripted(monkeypatch, options, [1.0, 0.9, 0.3, 0.3, 0.3, 0.3, 0.3], [0.1] * 7)
    assert (run.best_row["epoch"], run.epoch) == (3, 7)


def test_early_stopping_counts_from_the_last_better_auc(monkeypatch) -> None:
    # epoch 4 has the same AUC and a smaller loss: it becomes the best, the patience goes on counting from epoch 2
    run = scripted(
        monkeypatch,
        variant(epochs=50, patience=3),
        [0.5, 0.8, 0.7, 0.8, 0.8] + [0.9] * 45,
        [1, 0.9, 0.8, 0.5, 0.7] + [0.1] * 45,
    )
    assert run.epoch == 5
    assert run.best_row["epoch"] == 4


def test_learning_rate_falls_on_a_plateau(monkeypatch) -> None:
    run = scripted(
        monkeypatch, variant(epochs=8, plateau_patience=2, learning_rate=1e-3), [0.5] * 8, [1.0] * 8
    )
    rates = [row["learning_rate"] for row in run.history]
    assert rates == [1e-3] * 4 + [5e-4] * 3 + [2.5e-4]  # the first epoch is the best, three bad ones follow


def test_restored_state_is_the_saved_one() -> None:
    first, second = trainer(variant()), trainer(variant())
    first.run_epoch()
    first.run_epoch()
    first.best = {name: tensor * 2 for name, tensor in first.best.items()}  # other than the weights of now
    second.restore(first.tensors(), first.progress())
    assert {**first.progress(), "resumed": 1} == second.progress()
    before, after = first.tensors(), second.tensors()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not torch.equal(before["best.features.stem.weight"], before["model.features.stem.weight"])


def test_batches_never_leave_one_sample_alone(monkeypatch) -> None:
    run = trainer(variant(batch_size=8), training=17)
    sizes = []
    forward = run.model.forward
    monkeypatch.setattr(run.model, "forward", lambda x: sizes.append(len(x)) or forward(x))
    run._fit(1)
    assert sizes == [6, 6, 5]


def test_diverged_training_says_so(make_fit, tmp_path) -> None:
    fit, patients = make_fit()
    with pytest.raises(IntegrityError, match="no longer a number"):
        train.run(
            train.Inputs(fit, patients, 1), variant(learning_rate=1e30), tmp_path / "run/train.json", "pin"
        )


def test_one_label_only_is_refused(make_fit, tmp_path) -> None:
    fit, patients = make_fit()
    members = [Member(m.patient, m.part, 1, m.tensor_digest) for m in read_members(fit)[1]]
    write_members(fit.with_name("members.parquet"), members)
    write_json(fit, {"digest": fit_digest(members)})
    with pytest.raises(UsageError, match="0 without the outcome"):
        train.run(train.Inputs(fit, patients, 1), variant(), tmp_path / "run/train.json", "pin")
    assert not (tmp_path / "run/train.json").exists()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_in_a_file_and_on_a_terminal(make_fit, tmp_path, monkeypatch, caplog) -> None:
    fit, patients = make_fit(training=4, validation=4)
    with caplog.at_level("INFO"):
        train.run(train.Inputs(fit, patients, 1), variant(epochs=12), tmp_path / "a/train.json", "pin")
    lines = [one.message for one in caplog.records if one.message.startswith("train: epoch")]
    assert [one.split(",")[0] for one in lines] == ["train: epoch 1", "train: epoch 10", "train: epoch 12"]
    assert lines[-1].endswith("at most 0 min 00 s left")
    caplog.clear()
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    train.run(train.Inputs(fit, patients, 1), variant(epochs=12), tmp_path / "b/train.json", "pin")
    assert "12/12" in terminal.getvalue()
    assert not [one for one in caplog.records if one.message.startswith("train: epoch")]
    assert products(tmp_path / "a") == products(tmp_path / "b")


def test_tensorboard_is_a_choice_of_who_watches(make_fit, tmp_path, monkeypatch, caplog) -> None:
    fit, patients = make_fit(training=4, validation=4)
    noted = []

    class SummaryWriter:
        def __init__(self, folder) -> None:
            self.folder = folder

        def __enter__(self):
            return self

        def __exit__(self, *_) -> None:
            pass

        def add_scalar(self, name: str, value: float, step: int) -> None:
            noted.append((self.folder, name, value, step))

    monkeypatch.setenv("PROMET_TENSORBOARD", str(tmp_path / "board"))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # as if not installed
    train.run(
        train.Inputs(fit, patients, 1), variant(epochs=2), tmp_path / "v/split-00/seed-00/train.json", "pin"
    )
    assert "the package tensorboard is not installed" in caplog.text
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=SummaryWriter))
    train.run(
        train.Inputs(fit, patients, 1), variant(epochs=2), tmp_path / "v/split-00/seed-01/train.json", "pin"
    )
    assert {row[0] for row in noted} == {tmp_path / "board/v/split-00/seed-01"}
    history = parquet.read_table(tmp_path / "v/split-00/seed-01/history.parquet").to_pydict()
    for name in set(history) - {"epoch"}:
        assert [(row[3], row[2]) for row in noted if row[1] == name] == list(
            zip([1, 2], history[name], strict=True)
        )
    assert products(tmp_path / "v/split-00/seed-00") == products(tmp_path / "v/split-00/seed-01")


def test_numbers_too_small_for_a_float_are_zero() -> None:
    """A filter's tails over the empty background would otherwise be computed in microcode."""
    if not torch.set_flush_denormal(False):
        pytest.skip("this processor cannot flush them")
    tiny = torch.full((64,), 1e-30)
    assert (tiny * 1e-10).any()
    prepare_torch()
    assert not (tiny * 1e-10).any()
    volume = np.zeros((1, 5, 9, 9), np.float32)
    volume[0, 2, 4, 4] = 1e-30
    loops.convolve(volume, np.full((1, 3), 0.5), 4.0)  # compiled loops, too
    assert volume[volume > 0].min() > np.finfo(np.float32).tiny


def test_both_engines_train_and_differ(make_fit, tmp_path) -> None:
    """Same distributions, other numbers: both learn what is plain, with most seeds, and the option is not forgotten."""
    fit, patients = make_fit(signal=1.0, training=16)
    for engine in ("batched", "monai"):
        settings = Variant.model_validate(
            {
                "training": {"epochs": 12, "learning_rate": 1e-3},
                "augmentation": {
                    "engine": engine,
                    "count": 2,
                    "transforms": ["flip", "gaussian_noise", "rotation"],
                },
            }
        )
        records = [
            train.run(
                train.Inputs(fit, patients, seed), settings, tmp_path / f"{engine}/{seed}/train.json", "pin"
            )
            for seed in range(3)
        ]
        assert sum(record.values["validation_auc"] == 1.0 for record in records) >= 2
    assert products(tmp_path / "batched/0") != products(tmp_path / "monai/0")
