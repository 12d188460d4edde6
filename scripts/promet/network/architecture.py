"""Networks by name."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from promet.core.errors import UsageError
from promet.network.settings import Architecture
from promet.network.squeezenet import SqueezeNet

CHANNELS = 2  # PET, lesion map


def _squeezenet(settings: Architecture, in_channels: int) -> nn.Module:
    return SqueezeNet(in_channels, settings.groups, settings.dropout)


NETWORKS = {"squeezenet": _squeezenet}


def build(settings: Architecture, in_channels: int = CHANNELS) -> nn.Module:
    """The network that ``settings`` names: (n, channels, z, y, x) to logits (n,), initialised by torch's global generator.

    Weights lie in channels-last order, which is faster on CPU; the state_dict is the usual one.

    Raises:
        UsageError: no network has that name.
    """
    if settings.name not in NETWORKS:
        raise UsageError(
            "E_ARCHITECTURE",
            f"There is no network '{settings.name}'",
            f"one of {', '.join(NETWORKS)}",
            "Correct network.architecture.name",
        )
    return NETWORKS[settings.name](settings, in_channels).to(memory_format=torch.channels_last_3d)


def parameters(model: nn.Module) -> int:
    """Number of trained parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def describe(settings: Architecture, shape: tuple[int, ...]) -> dict[str, Any]:
    """Parameters and output shape of each layer for one input.

    Args:
        settings: the network.
        shape: (channels, z, y, x) of the input.
    """
    model = build(settings, shape[0]).eval()
    layers: list[dict[str, Any]] = []

    def note(name: str) -> Any:
        return lambda module, _, output: layers.append(
            {"layer": name, "shape": list(output.shape[1:]), "parameters": parameters(module)}
        )

    for part in model.children():
        for name, module in part.named_children():
            module.register_forward_hook(note(name))
    with torch.inference_mode():
        model(torch.zeros(1, *shape))
    return {
        "name": settings.name,
        "groups": settings.groups,
        "parameters": parameters(model),
        "layers": layers,
    }
