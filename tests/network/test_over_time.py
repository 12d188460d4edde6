"""Training on a time to an event: it learns, is judged by C, survives kills with its intercepts, and the paper's training stays as it is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pyarrow import parquet
from safetensors import safe_open

from promet.core.files import read_json
from promet.core.sidecar import Sidecar
from promet.network import select, train
from promet.network.data import read_members
from promet.network.hazard import risk
from promet.network.objective import Cox, Hazard
from promet.network.score import probabilities
from promet.network.settings import Select, Variant
from promet.network.train import Inputs, Trainer
from promet.study.concordance import harrell
from promet.study.outcome import TimeToEvent

EDGES = (12.0, 24.0, 36.0, 48.0)
FILES = ("model.safetensors", "history.parquet", "predictions.parquet")


def aim(loss: str = "hazard") -> TimeToEvent:
    return TimeToEvent(edges=EDGES, loss=loss)


def settings(**training: object) -> Variant:
    return Variant.model_validate(
        {"training": {"epochs": 4, "learning_rate": 1e-3, **training}, "augmentation": {"count": 0}}
    )


def trained(fit, patients, out: Path, loss: str = "hazard", save_every: int = 5, **training) -> Sidecar:
    inputs = Inputs(fit, patients, 1, save_every, aim(loss))
    return train.run(inputs, settings(**training), out / "train.json", "pin")


@pytest.mark.parametrize("loss", ["hazard", "cox"])
def test_learns_what_can_be_learnt(make_fit, tmp_path, loss) -> None:
    fit, patients = make_fit(signal=1.0, training=16, followed=True)
    out = tmp_path / "variant/split-00/seed-01"
    record = trained(fit, patients, out, loss, epochs=12)
    # earlier and later events look alike: C is not 1
    assert record.values["validation_concordance"] > 0.8 and "validation_auc" not in record.values
    history = parquet.read_table(out / "history.parquet").to_pydict()
    assert min(history["training_loss"][1:]) < history["training_loss"][0]
    said = dict(
        zip(*(parquet.read_table(out / FILES[2]).to_pydict()[k] for k in ("patient", "logit")), strict=True)
    )
    _, members = read_members(fit)
    those = [m for m in members if m.part == "validation"]
    time, event, eta = (
        np.array([f(m) for m in those])
        for f in (lambda m: m.time, lambda m: m.event, lambda m: said[m.patient])
    )
    best = record.values["best_epoch"] - 1
    assert history["validation_concordance"][best] == record.values["validation_concordance"]
    assert harrell(time, event, eta, 48.0)[0] == record.values["validation_concordance"]

    # to the selection and the scores
    select.run(
        [out], Select.model_validate({"metric": "concordance"}), tmp_path / "select/select.json", "pin"
    )
    chosen = read_json(tmp_path / "select/model.json")
    values = Sidecar.read(tmp_path / "select/select.json").values
    assert values["metric"] == "concordance" and values["median_validation_concordance"] > 0.8
    given = np.array(probabilities(chosen, eta.tolist()))
    if loss == "cox":
        assert chosen["alpha"] is None and np.isnan(given).all()
    else:
        assert len(chosen["alpha"]) == 4 and given == pytest.approx(risk(eta, chosen["alpha"]))
        with safe_open(out / FILES[0], framework="pt") as handle:
            assert json.loads(handle.metadata()["promet"])["alpha"] == chosen["alpha"]


class Killed(BaseException):
    """Stands for a kill: nothing in the code may handle it."""


@pytest.mark.parametrize("loss", ["hazard", "cox"])
def test_killed_after_any_epoch_the_same_bytes_and_intercepts(make_fit, tmp_path, monkeypatch, loss) -> None:
    fit, patients = make_fit(signal=0.0, training=9, validation=8, followed=True)
    whole = trained(fit, patients, tmp_path / "whole", loss)
    original = Trainer.run_epoch
    for epoch in (1, 3):
        out = tmp_path / f"killed-{epoch}"

        def once(self, epoch=epoch) -> None:
            if self.epoch == epoch:
                raise Killed
            original(self)

        monkeypatch.setattr(Trainer, "run_epoch", once)
        with pytest.raises(Killed):
            trained(fit, patients, out, loss, save_every=1)
        monkeypatch.setattr(Trainer, "run_epoch", original)
        record = trained(fit, patients, out, loss)
        assert record.notes["resumed"] == 1
        assert record.values == whole.values and record.products == whole.products
    if loss == "hazard":
        assert whole.values["alpha"] != trained_start(fit)


def trained_start(fit) -> list[float]:
    """The intercepts before the first step."""
    _, members = read_members(fit)
    return Hazard(pairs(members), EDGES, torch.device("cpu")).alpha.tolist()


def pairs(members):
    return {
        part: tuple(
            np.array([getattr(m, name) for m in members if m.part == part]) for name in ("time", "event")
        )
        for part in ("training", "validation")
    }


def test_batches_under_cox_weigh_the_same_however_many_events() -> None:
    time = np.array([5.0, 6.0, 7.0, 50.0, 60.0, 70.0, 49.0, 80.0])
    event = np.array([1, 1, 0, 0, 0, 0, 1, 0])  # the event after the horizon is none
    cox = Cox(dict.fromkeys(("training", "validation"), (time, event)), 48.0, torch.device("cpu"))
    assert cox.share == 2 / 8
    eta = torch.zeros(8, requires_grad=True)
    whole = cox.loss(eta, "training")
    assert whole.item() == pytest.approx((np.log(8) + np.log(7)) / 2)
    without = cox.loss(eta[:4], "training", torch.tensor([3, 4, 5, 6]))
    without.backward()
    assert without.item() == 0 and eta.grad.tolist() == [0.0] * 8
