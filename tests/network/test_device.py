"""The same code on any device. Without a GPU the meta device stands in: it computes no number, but refuses tensors of another device."""

import copy

import numpy as np
import pytest
import torch

from promet.network import train as training
from promet.network.architecture import build
from promet.network.augment.batched import Batched
from promet.network.augment.settings import TRANSFORMS, Augmentation
from promet.network.objective import Label
from promet.network.settings import Architecture, Variant
from promet.network.train import Trainer

SHAPE = (14, 54, 54)


class AnyGenerator:
    """The meta device has no generator of its own; its random fills take the CPU's."""

    def __new__(cls, device: str = "cpu") -> torch.Generator:
        return GENERATOR("cpu")


GENERATOR = torch.Generator


@pytest.mark.parametrize("name", TRANSFORMS)
def test_augmentation_stays_on_the_device(name: str, monkeypatch) -> None:
    monkeypatch.setattr("promet.network.augment.batched.torch.Generator", AnyGenerator)
    augment = Batched(Augmentation(count=1, transforms=(name,)), 0, SHAPE)
    out = augment(torch.empty(3, 2, *SHAPE, device="meta"), 1, range(3))
    assert (out.device.type, out.shape, out.dtype) == ("meta", (3, 2, *SHAPE), torch.float32)


def test_a_tensor_left_behind_would_be_seen() -> None:
    with pytest.raises(RuntimeError):
        torch.empty(3, device="meta") * torch.ones(3)


@pytest.mark.parametrize("name", ["squeezenet", "mobilenet", "shufflenet", "resnet18"])
def test_networks_run_and_learn_on_another_device(name: str) -> None:
    model = build(Architecture(name=name)).to("meta")
    logit = model(torch.empty(4, 2, *SHAPE, device="meta"))
    logit.sum().backward()
    assert logit.shape == (4,)
    assert all(p.grad.device.type == "meta" for p in model.parameters() if p.requires_grad)


def trainer(device: str, autocast: bool = False, architecture: str = "squeezenet") -> Trainer:
    rng = np.random.default_rng(0)
    labels = {part: np.array([1, 0, 0, 1]) for part in ("training", "validation")}
    volumes = {part: rng.random((4, 2, 8, 16, 16), dtype=np.float32) for part in labels}
    settings = Variant.model_validate(
        {
            "architecture": {"name": architecture},
            "training": {"autocast": autocast},
            "augmentation": {"count": 2},
        }
    )
    return Trainer(settings, 0, volumes, Label(labels, torch.device(device)), torch.device(device))


def test_autocast_is_for_a_gpu_alone() -> None:
    plain, wished = trainer("cpu"), trainer("cpu", autocast=True)
    for run in (plain, wished):
        run.run_epoch()
    assert plain.history == wished.history
    after = zip(plain.model.parameters(), wished.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in after)


@pytest.mark.parametrize("name", ["squeezenet", "mobilenet", "shufflenet", "resnet18"])
def test_a_step_is_adams_whatever_the_memory_order(name: str) -> None:
    """torch's fused step takes a gradient in another order than its weight for one in the same: each weight would get another's gradient."""
    run = trainer("cpu", architecture=name)
    plain = copy.deepcopy(run.model)
    learnt = [[p for p in model.parameters() if p.requires_grad] for model in (run.model, plain)]
    for ours, theirs in zip(*learnt, strict=True):
        ours.register_hook(lambda grad, to=theirs: setattr(to, "grad", grad.clone().contiguous()))
    run._fit(1)  # four volumes are one batch
    options = run.settings.training
    torch.optim.Adam(
        learnt[1], lr=options.learning_rate, weight_decay=options.weight_decay, foreach=False, fused=False
    ).step()
    for ours, theirs in zip(*learnt, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")


@needs_cuda
def test_on_a_gpu() -> None:
    device = training.prepare_torch().type
    first, second, cpu = trainer(device), trainer(device), trainer("cpu")
    for run in (first, second, cpu):
        run.run_epoch()
    assert next(first.model.parameters()).device.type == device
    assert first.history[0]["training_loss"] == pytest.approx(second.history[0]["training_loss"], rel=1e-4)
    assert first.history[0]["training_loss"] == pytest.approx(cpu.history[0]["training_loss"], rel=0.2)


@needs_cuda
def test_autocast_on_a_gpu() -> None:
    run = trainer(training.prepare_torch().type, autocast=True)
    assert run.autocast
    run.run_epoch()
    assert np.isfinite(run.history[0]["training_loss"])
