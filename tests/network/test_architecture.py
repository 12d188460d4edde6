import json

import pytest
import torch
from typer.testing import CliRunner

from promet.core.errors import UsageError
from promet.network.architecture import build, describe, parameters
from promet.network.cli import app
from promet.network.settings import Architecture

SHAPE = (2, 14, 54, 54)


@pytest.mark.parametrize(
    ("options", "millions"),
    [
        ({"name": "mobilenet", "width": 0.25}, 0.24),
        ({"name": "mobilenet"}, 0.86),
        ({"name": "mobilenet", "width": 1.0}, 3.3),
        ({"name": "shufflenet"}, 0.95),
        ({"name": "resnet18"}, 33),
    ],
)
def test_the_others_considered(options: dict, millions: float) -> None:
    found = describe(Architecture(**options), SHAPE)
    assert found["parameters"] / 1e6 == pytest.approx(millions, rel=0.03)
    model = build(Architecture(**options))
    model(torch.rand(2, 2, 8, 16, 16)).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert model.eval()(torch.rand(3, 2, 5, 9, 11)).shape == (3,)


def test_operations_by_hand() -> None:
    found = describe(Architecture(), SHAPE)
    stem = 2 * 64 * 2 * 27 * 14 * 27 * 27  # multiply-adds count two
    assert stem < found["forward_flops"] < 3e8
    by_groups = [describe(Architecture(groups=groups), SHAPE)["forward_flops"] for groups in (1, 2)]
    expand = [(27, 16, 64, 7 * 14**2), (27, 32, 128, 4 * 7**2), (27, 48, 192, 2 * 4**2), (9, 64, 256, 4)]
    # two of each; half of the two operations of each multiply-add
    assert by_groups[0] - by_groups[1] == sum(2 * taps * a * b * voxels for taps, a, b, voxels in expand)


def test_another_of_monai() -> None:
    model = build(Architecture(name="resnet10"))
    assert model(torch.rand(2, 2, 8, 16, 16)).shape == (2,)
    assert parameters(model) > 1e7


@pytest.mark.parametrize(
    ("name", "shape", "code"),
    [
        ("DenseNet121", SHAPE, "E_ARCHITECTURE_SHAPE"),
        ("UNet", SHAPE, "E_ARCHITECTURE"),
        ("BasicUNet", (2, 16, 32, 32), "E_ARCHITECTURE_OUTPUT"),
        ("Resnet18", SHAPE, "E_ARCHITECTURE"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason(name: str, shape: tuple[int, ...], code: str) -> None:
    with pytest.raises(UsageError) as caught:
        describe(Architecture(name=name), shape)
    assert caught.value.code == code


def test_command() -> None:
    call = ["describe", "--architecture", "shufflenet", "--shape", "2", "8", "16", "16", "--json"]
    found = json.loads(CliRunner().invoke(app, call, catch_exceptions=False).output)
    assert {"name", "groups", "parameters", "forward_flops", "layers"} == set(found)
    assert found["layers"][0]["shape"] == [24, 8, 8, 8]


def test_a_variant_that_cannot_be_is_refused_with_the_configuration() -> None:
    from promet.network.settings import Network

    assert Network(variants={"wide": {"architecture.groups": 4, "training.weight_decay": 0}})
    for override in (
        {"architecture.groups": 3},
        {"training.epoch": 5},
        {"augmentation.transforms": ["flip"]},  # seven of one
        {"augmentation.elastic": {"strength": 1}},
    ):
        with pytest.raises(ValueError, match="the variant odd cannot be"):
            Network(variants={"odd": override})
