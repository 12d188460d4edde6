"""Networks by name."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from promet.core.errors import UsageError
from promet.network import mobile
from promet.network.settings import Architecture
from promet.network.squeezenet import SqueezeNet

CHANNELS = 2  # PET, lesion map


def _shufflenet(settings: Architecture, in_channels: int) -> nn.Module:
    return mobile.shufflenet(
        in_channels, settings.dropout, SHUFFLE_GROUPS.get(settings.groups, settings.groups)
    )


def _resnet18(settings: Architecture, in_channels: int) -> nn.Module:
    from monai.networks.nets import resnet18

    return OneLogit(resnet18(spatial_dims=3, n_input_channels=in_channels, num_classes=1))


SHUFFLE_GROUPS = {2: 3}  # the default of groups is SqueezeNet's; ShuffleNet's is 3
NETWORKS: dict[str, Callable[[Architecture, int], nn.Module]] = {
    "squeezenet": lambda settings, channels: SqueezeNet(channels, settings.groups, settings.dropout),
    "resnet18": _resnet18,
    "mobilenet": lambda settings, channels: mobile.mobilenet(channels, settings.dropout, settings.width),
    "shufflenet": _shufflenet,
}


class OneLogit(nn.Module):
    """A network with (n, 1) made to give (n,)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, z, y, x) to logits (n,)."""
        return self.network(x).flatten(0)


def _of_monai(name: str, in_channels: int) -> nn.Module | None:
    """The network of monai with that name (as written there), or None."""
    from monai.networks import nets

    maker = getattr(nets, name, None)
    if not callable(maker):
        return None
    why = TypeError()
    for inputs, outputs in product(("in_channels", "n_input_channels"), ("out_channels", "num_classes")):
        try:
            return OneLogit(maker(spatial_dims=3, **{inputs: in_channels, outputs: 1}))
        except TypeError as error:
            why = error
    raise why


def build(settings: Architecture, in_channels: int = CHANNELS) -> nn.Module:
    """The network that ``settings`` names: (n, channels, z, y, x) to logits (n,), initialised by torch's global generator.

    One of ours, or any other of monai.networks.nets by its name there. Weights lie in channels-last order, which is faster on CPU; the
    state_dict is the usual one.

    Raises:
        UsageError: no network has that name, or monai's needs more arguments than channels and outputs.
    """
    maker, why = NETWORKS.get(settings.name), f"There is no network '{settings.name}'"
    if maker is None:
        try:
            model = _of_monai(settings.name, in_channels)
        except (TypeError, ValueError) as error:
            model, why = (
                None,
                f"monai's {settings.name} cannot be made from channels and outputs alone ({error})",
            )
    else:
        model = maker(settings, in_channels)
    if model is None:
        raise UsageError(
            "E_ARCHITECTURE",
            why,
            f"one of {', '.join(NETWORKS)}, or a network of monai that gives one logit",
            "Correct network.architecture.name",
        )
    return model.to(memory_format=torch.channels_last_3d)


def require_shape(settings: Architecture, shape: tuple[int, ...]) -> nn.Module:
    """The network, after a trial run on one empty input.

    Args:
        settings: the network.
        shape: (channels, z, y, x).

    Raises:
        UsageError: the network cannot take that shape, or gives something else than one logit.
    """
    model = build(settings, shape[0]).eval()
    size = " x ".join(map(str, shape))
    try:
        with torch.no_grad():
            out = model(torch.zeros(2, *shape).contiguous(memory_format=torch.channels_last_3d))
    except (RuntimeError, ValueError, IndexError, AssertionError, TypeError) as error:
        raise UsageError(
            "E_ARCHITECTURE_SHAPE",
            f"{settings.name} cannot take inputs of {size} ({str(error).splitlines()[0]})",
            "a shape that all its layers can take",
            "Enlarge imaging.crop.shape or choose another network",
        ) from error
    if not isinstance(out, Tensor) or out.shape != (2,):
        found = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise UsageError(
            "E_ARCHITECTURE_OUTPUT",
            f"{settings.name} gives {found} for two inputs of {size}",
            "one logit each",
            "Choose a classification network",
        )
    return model


def parameters(model: nn.Module) -> int:
    """Number of trained parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def forward_flops(model: nn.Module, shape: tuple[int, ...]) -> int:
    """Floating point operations of convolutions and matrix products for one input, forward; a multiply-add is two.

    Only the forward pass is counted: torch's counter is wrong for the backward pass of grouped convolutions.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.eval()(torch.zeros(1, *shape))
    return counter.get_total_flops()


def describe(settings: Architecture, shape: tuple[int, ...]) -> dict[str, Any]:
    """Parameters and output shape of each layer for one input.

    Args:
        settings: the network.
        shape: (channels, z, y, x) of the input.
    """
    model = require_shape(settings, shape)
    operations, layers = forward_flops(model, shape), []

    def note(name: str) -> Any:
        def hook(module: nn.Module, _: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                layers.append(
                    {"layer": name, "shape": list(output.shape[1:]), "parameters": parameters(module)}
                )

        return hook

    model = model.network if isinstance(model, OneLogit) else model
    for part in model.children():
        for name, module in part.named_children() or [("", part)]:
            module.register_forward_hook(note(name))
    with torch.no_grad():  # not inference_mode: there layers are fused, and hooks on them see nothing
        model(torch.zeros(1, *shape))
    return {
        "name": settings.name,
        "groups": settings.groups,
        "parameters": parameters(model),
        "forward_flops": operations,
        "layers": layers,
    }
