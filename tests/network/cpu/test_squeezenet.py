import pytest
import torch
from torch import nn

from promet.core.errors import UsageError
from promet.network.architecture import build, describe, parameters
from promet.network.settings import Architecture
from promet.network.squeezenet import Fire, Pointwise, SqueezeNet

BIASES = (
    "stem.bias",
    "squeeze.0.bias",
    "expand1.0.bias",
    "expand3.0.bias",
)  # of convolutions before a batch norm


@pytest.mark.parametrize(("groups", "count"), [(1, 1_836_545), (2, 1_007_105), (4, 592_385), (8, 385_025)])
def test_parameters(groups: int, count: int) -> None:
    assert parameters(SqueezeNet(groups=groups)) == count


def test_shapes_of_the_protocol() -> None:
    layers = describe(Architecture(), (2, 14, 54, 54))["layers"]
    shapes = {layer["layer"]: tuple(layer["shape"]) for layer in layers}
    model = SqueezeNet()
    every = [name for part in model.children() for name, _ in part.named_children()]
    assert [layer["layer"] for layer in layers] == every, "each layer once, in order"
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
    torch.testing.assert_close(fire(x), x)  # its ReLU comes after the pooling


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
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad != name.endswith(BIASES)
        assert not parameter.requires_grad or torch.isfinite(parameter.grad).all()
    assert all(p.grad.abs().sum() > 0 for name, p in model.named_parameters() if name.endswith("weight"))


class Plain(Fire):
    """The fire module as it is written down: each convolution with its own batch norm, a ReLU at the end."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.squeeze(x)
        y = torch.cat([self.expand1(y), self.expand3(y)], dim=1)
        return (x + y if self.bypass else y).relu()


def test_the_fast_graph_is_the_plain_one() -> None:
    """The fused stem, ReLU after pooling and batch norms side by side change no number but by rounding: outputs, gradients, running statistics."""
    torch.manual_seed(0)
    fast, plain = SqueezeNet().double(), SqueezeNet().double()
    plain.load_state_dict(fast.state_dict())
    for module in plain.modules():
        if isinstance(module, Fire):
            module.__class__ = Plain
    plain.requires_grad_(True)
    with torch.no_grad():  # scales of both signs, shifts and a bias that are not 0
        for layer in (fast.features, plain.features):
            layer.norm.weight.copy_(torch.linspace(-1, 2, 64))
            layer.norm.bias.copy_(torch.linspace(-0.3, 0.2, 64))
            layer.stem.bias.copy_(torch.linspace(0.4, -1, 64))
            torch.manual_seed(2)
            for module in layer[4:].modules():
                if isinstance(module, nn.BatchNorm3d):
                    nn.init.normal_(module.weight)
                    nn.init.normal_(module.bias)
                elif isinstance(module, nn.Conv3d):
                    nn.init.normal_(module.bias)
    plain.features.norm.register_forward_hook(lambda _, __, y: y.relu())
    x = torch.randn(5, 2, 14, 54, 54, dtype=torch.float64)
    for model in (fast, plain):
        torch.manual_seed(1)
        given = x.clone().requires_grad_(
            model is plain
        )  # who asks for the input's gradient gets the plain route
        model(given).sigmoid().sum().backward()
    for (name, a), b in zip(fast.named_parameters(), plain.parameters(), strict=True):
        if name.endswith(BIASES):  # the norm takes the bias away: nothing to learn
            assert b.grad.abs().max() < 1e-9
            continue
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-7, atol=1e-9, msg=name)
    ours, theirs = fast.state_dict(), plain.state_dict()
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-10, atol=1e-12, msg=name)
    expected = plain.eval()(x)
    torch.testing.assert_close(fast.eval()(x), expected, rtol=1e-9, atol=1e-12)
    with torch.inference_mode():
        torch.testing.assert_close(fast(x), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shape", [(14, 54, 54), (5, 23, 30), (1, 9, 8)])
def test_scores_of_one_volume_at_a_time_are_those_of_the_plain_layers(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    model = SqueezeNet().to(memory_format=torch.channels_last_3d)
    model(torch.rand(4, 2, 14, 54, 54))  # running statistics
    model.eval()
    x = torch.rand(3, 2, *shape)
    expected = model(x).detach()  # outside of inference mode the layers work one by one
    for one, score in zip(x.split(1), expected, strict=True):
        for given in (one, one.contiguous(memory_format=torch.channels_last_3d)):
            with torch.inference_mode():
                torch.testing.assert_close(model(given)[0], score, rtol=1e-5, atol=1e-6)
