import pytest
import torch
from torch import nn

from promet.core.errors import UsageError
from promet.network.architecture import build, describe, parameters
from promet.network.settings import Architecture
from promet.network.squeezenet import Fire, Pointwise, SqueezeNet


@pytest.mark.parametrize(("groups", "count"), [(1, 1_836_545), (2, 1_007_105), (4, 592_385), (8, 385_025)])
def test_parameters(groups: int, count: int) -> None:
    assert parameters(SqueezeNet(groups=groups)) == count


def test_shapes_of_the_protocol() -> None:
    shapes = {
        layer["layer"]: tuple(layer["shape"]) for layer in describe(Architecture(), (2, 14, 54, 54))["layers"]
    }
    assert shapes["stem"] == (64, 14, 27, 27)
    assert shapes["pool1"] == (64, 7, 14, 14)
    assert shapes["pool3"] == (128, 4, 7, 7)
    assert shapes["pool5"] == (256, 2, 4, 4)
    assert shapes["pool7"] == (384, 1, 2, 2)
    assert shapes["fire9"] == (512, 1, 2, 2)
    assert shapes["linear"] == (1,)


def test_unknown_network_names_those_that_exist() -> None:
    with pytest.raises(UsageError, match="squeezenet") as caught:
        build(Architecture(name="resnet900"))
    assert caught.value.code == "E_ARCHITECTURE"


def test_pointwise_is_a_convolution() -> None:
    torch.manual_seed(1)
    ours, torchs = Pointwise(6, 5).double(), nn.Conv3d(6, 5, 1).double()
    torchs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 6, 3, 4, 5, dtype=torch.float64)
    torch.testing.assert_close(ours(x), torchs(x), rtol=0, atol=1e-14)


def test_bypass_on_the_odd_fires_only() -> None:
    model = SqueezeNet()
    assert {
        name for name, layer in model.features.named_children() if isinstance(layer, Fire) and layer.bypass
    } == {
        "fire3",
        "fire5",
        "fire7",
        "fire9",
    }
    fire = model.features.fire3.eval()
    for parameter in fire.parameters():  # with all weights 0 the branch is 0 and only the bypass is left
        nn.init.zeros_(parameter)
    x = torch.randn(1, 128, 2, 3, 3)
    torch.testing.assert_close(fire(x), x.relu())


def test_batch_norm_after_every_convolution() -> None:
    layers = [m for m in SqueezeNet().features.modules() if isinstance(m, (nn.Conv3d, nn.BatchNorm3d))]
    pairs = list(zip(layers[::2], layers[1::2], strict=True))
    assert len(pairs) == 1 + 8 * 3
    assert all(isinstance(a, nn.Conv3d) and isinstance(b, nn.BatchNorm3d) for a, b in pairs)
    assert all(a.out_channels == b.num_features for a, b in pairs)


def test_dropout_and_logits() -> None:
    model = build(Architecture(dropout=0.8))
    assert model.classifier.dropout.p == 0.8
    assert model(torch.rand(3, 2, 8, 16, 16)).shape == (3,)


def test_every_parameter_learns() -> None:
    torch.manual_seed(0)
    model = build(Architecture())
    model(torch.rand(2, 2, 14, 54, 54)).square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
    assert all(p.grad.abs().sum() > 0 for name, p in model.named_parameters() if name.endswith("weight"))
