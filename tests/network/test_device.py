"""The same code on any device. Without a GPU the meta device stands in: it computes no number, but refuses tensors of another device."""

import copy
from collections import Counter

import numpy as np
import pytest
import torch
from torch.optim import optimizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from promet.network import device
from promet.network import train as training
from promet.network.architecture import build
from promet.network.augment import transforms
from promet.network.augment.batched import Batched
from promet.network.augment.by_monai import Monai
from promet.network.augment.settings import TRANSFORMS, Augmentation
from promet.network.objective import Label
from promet.network.settings import Architecture, Variant
from promet.network.squeezenet import GlobalMax, SqueezeNet
from promet.network.train import Trainer

SHAPE = (14, 54, 54)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_augmentation_stays_on_the_device(name: str) -> None:
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


def trainer(where: str, autocast: bool = False, architecture: str = "squeezenet") -> Trainer:
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
    there = torch.device(where)
    return Trainer(settings, 0, volumes, Label(labels, there), there)


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


NOWHERE = torch.device("meta")
# How far the losses of a GPU and a CPU may be apart in five epochs, relative (docs/hpc.md): rounding alone moves a training loss under a
# dropout of 0.8 so far, since Adam's first steps follow the sign of gradients that are nearly nothing.
FIRST, TRAINING, VALIDATION = 0.01, 0.25, 0.005
VIEWS = {"empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided", "_unsafe_view"}


class Calls(TorchDispatchMode):
    """Counts the calls of operators that a GPU would have to launch: no views, no allocations, no number on its own."""

    def __init__(self, only: str = "") -> None:
        super().__init__()
        self.names: Counter[str] = Counter()
        self.only = only

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        found = [one for one in tree_leaves((args, kwargs, out)) if isinstance(one, torch.Tensor)]
        view = any(one.alias_info and not one.alias_info.is_write for one in func._schema.returns)
        plain = func._schema.name.partition("::")[2]
        here = any(
            one.device.type == self.only if self.only else one.ndim or one.is_floating_point()
            for one in found
        )
        assert not (plain == "_local_scalar_dense" and found[0].device.type == "meta"), "waits for the device"
        if here and not view and plain not in VIEWS:
            self.names[plain] += 1
        return out


def full(device: str, count: int, training: int, monkeypatch) -> Trainer:
    """A trainer of the default network on volumes of the default size, with the layers that a GPU runs."""
    monkeypatch.setattr(SqueezeNet, "_features", lambda self, x: self.features(x))
    fused = optimizer._get_fused_kernels_supported_devices
    monkeypatch.setattr(optimizer, "_get_fused_kernels_supported_devices", lambda: [*fused(), "meta"])
    labels = {"training": np.arange(training) % 2, "validation": np.arange(19) % 2}
    volumes = {part: np.zeros((len(these), 2, *SHAPE), np.float32) for part, these in labels.items()}
    settings = Variant.model_validate({"augmentation": {"count": count}})
    there = torch.device(device)
    return Trainer(settings, 0, volumes, Label(labels, there), there)


def test_a_step_is_few_launches(monkeypatch) -> None:
    """Counted where memory has the order that it has on a GPU; the difference of two and one batches of two."""
    monkeypatch.setattr("promet.network.train.VALIDATION_BATCH", 19)
    calls = []
    for batches in (1, 2):
        run = full("cpu", 0, 2 * batches, monkeypatch)
        run.settings = run.settings.model_copy(
            update={"training": run.settings.training.model_copy(update={"batch_size": 2})}
        )
        run._fit(1)  # Adam makes what it remembers
        with Calls() as counted:
            run._fit(2)
        calls.append(counted.names.total())
    assert calls[1] - calls[0] <= 215


def test_a_whole_epoch_on_another_device_is_one_copy_back(monkeypatch) -> None:
    """Default size, default augmentation. The meta device has no numbers: whoever asked for one would fail."""
    run = full("meta", 7, 47, monkeypatch)
    with Calls() as counted:
        told = run._epoch(1)
    assert (told.device.type, told.dtype, told.shape) == ("meta", torch.float64, (2 + 19,))
    kept = [*run.model.state_dict().values(), *run.tensors().values()]
    assert {tensor.device.type for tensor in kept if tensor.ndim} == {"meta"}
    assert "_fused_adam_" in counted.names


def test_an_epoch_of_augmentation_is_few_launches() -> None:
    """47 volumes: 2,077 calls. monai's transforms, called for one volume at a time, make 10,100, and what they do in numpy besides."""
    with Calls(only="meta") as ours:
        Batched(Augmentation(), 0, SHAPE)(torch.empty(47, 2, *SHAPE, device="meta"), 1, range(47))
    plain, volume = Monai(Augmentation(engine="monai"), 0, SHAPE), torch.rand(1, 2, *SHAPE)
    with Calls() as theirs:
        for sample in range(40):
            plain(volume, 1, [sample])
    assert ours.names.total() <= 2100
    assert theirs.names.total() * 47 / 40 > 4 * ours.names.total()


def losses(run: Trainer) -> np.ndarray:
    return np.array([[row["training_loss"], row["validation_loss"]] for row in run.history])


def agree(ours: np.ndarray, theirs: np.ndarray) -> None:
    np.testing.assert_allclose(ours[0, 0], theirs[0, 0], rtol=FIRST)
    np.testing.assert_allclose(ours[:, 0], theirs[:, 0], rtol=TRAINING)
    np.testing.assert_allclose(ours[:, 1], theirs[:, 1], rtol=VALIDATION)


def test_what_a_gpu_computes_agrees_with_a_cpu(monkeypatch) -> None:
    """Its layers, formulas and noise, run here: five epochs of the same draws."""
    settings = Variant.model_validate({"training": {"batch_size": 4}, "augmentation": {"count": 4}})
    rng = np.random.default_rng(0)
    labels = {"training": np.arange(12) % 2, "validation": np.arange(6) % 2}
    volumes = {
        part: rng.random((len(these), 2, 8, 24, 24), dtype=np.float32) for part, these in labels.items()
    }
    for part in volumes.values():
        part[:, 1] = part[:, 1] > 0.9

    def trained() -> np.ndarray:
        run = Trainer(settings, 0, volumes, Label(labels, torch.device("cpu")), torch.device("cpu"))
        for _ in range(5):
            run.run_epoch()
        return losses(run)

    expected = trained()
    monkeypatch.setattr(SqueezeNet, "_features", lambda self, x: self.features(x))
    monkeypatch.setattr(transforms, "_loops", lambda _: None)
    monkeypatch.setattr(Batched, "_one_by_one", Batched._together)
    monkeypatch.setattr(GlobalMax, "forward", lambda self, x: x.amax((2, 3, 4), keepdim=True))
    agree(trained(), expected)


def test_strict_and_without_tf32() -> None:
    training.prepare_torch(True)
    assert torch.backends.cudnn.allow_tf32 and torch.backends.cuda.matmul.allow_tf32
    training.prepare_torch()
    assert not (torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32)
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled()


def test_tf32_is_no_reason_to_train_again_where_it_is_off() -> None:
    assert "tf32" not in Variant().model_dump()["training"]
    assert Variant.model_validate({"training": {"tf32": True}}).model_dump()["training"]["tf32"] is True


class Unordered(torch.autograd.Function):
    """As torch refuses an operation on CUDA."""

    @staticmethod
    def forward(ctx, x):
        return x

    @staticmethod
    def backward(ctx, grad):
        raise RuntimeError(
            "some_pool_backward_cuda does not have a deterministic implementation, but you set"
        )


def test_what_cannot_be_repeated_is_named() -> None:
    class Network(torch.nn.Module):
        def forward(self, x):
            return Unordered.apply(x.requires_grad_())

    try:
        assert device.unrepeatable(Network(), (2, 4, 4, 4), torch.device("cpu")) == []
        [sentence] = device.unrepeatable(Network(), (2, 4, 4, 4), NOWHERE)
        assert "some_pool_backward_cuda" in sentence
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        training.prepare_torch()


def test_the_record_names_the_gpu(monkeypatch, tmp_path) -> None:
    assert device.about(torch.device("cpu"), False) == {"device": "cpu"}
    (tmp_path / "version").write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build\n"
    )
    monkeypatch.setattr(device, "DRIVER", tmp_path / "version")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Card 9000")
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda _: 512 << 20)
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91002)
    told = device.about(torch.device("cuda"), True)
    assert told | {"cuda": ""} == {
        **{"device": "cuda", "gpu": "Card 9000", "driver": "570.86.15", "cuda": "", "cudnn": 91002},
        **{"tf32": True, "gpu_memory_mb": 512},
    }


needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")


@needs_cuda
@pytest.mark.parametrize("name", ["squeezenet", "mobilenet", "shufflenet", "resnet18"])
def test_on_a_gpu_the_same_bytes_twice_and_a_cpus_losses(name: str) -> None:
    here = training.prepare_torch().type
    first, second, cpu = (trainer(where, architecture=name) for where in (here, here, "cpu"))
    assert device.unrepeatable(first.model, (2, 8, 16, 16), torch.device(here)) == []
    for run in (first, second, cpu):
        for _ in range(5):
            run.run_epoch()
    assert next(first.model.parameters()).device.type == here
    assert first.history == second.history
    weights = zip(first.model.state_dict().values(), second.model.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)
    agree(losses(first), losses(cpu))


@needs_cuda
def test_autocast_on_a_gpu() -> None:
    run = trainer(training.prepare_torch().type, autocast=True)
    assert run.autocast
    run.run_epoch()
    assert np.isfinite(run.history[0]["training_loss"])
