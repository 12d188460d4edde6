"""Random transforms of the training part, batched on tensors: the whole epoch at once, on the device, without monai.

Samples that have the same transform next go through it together, the largest such group first. What is drawn is what monai would
draw (same distributions, not the same numbers); what is done with it is in transforms.py. Consecutive spatial transforms
are not merged into one: interpolating once instead of twice, and nearest twice instead of once, differ visibly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from promet.network import transforms as t
from promet.network import transforms_cpu
from promet.network.randomness import AUGMENTATION, NOISE, derive
from promet.network.settings import Augmentation

Shape = tuple[int, int, int]
Parameters = dict[str, Tensor]
# (uniform numbers needed per sample, those numbers (n, k) -> parameters)
Drawing = tuple[int, Callable[[Tensor], Parameters]]


def _between(u: Tensor, low: float | Tensor, high: float | Tensor) -> Tensor:
    return low + u * (high - low)


def _whole(u: Tensor, low: float | Tensor, high: float | Tensor) -> Tensor:
    """Whole numbers from low to high, both included."""
    return (low + (u * (high - low + 1)).floor()).long()


def _sigmas(u: Tensor, z: tuple[float, float], yx: tuple[float, float]) -> Tensor:
    return torch.stack([_between(u[:, 0], *z), _between(u[:, 1], *yx), _between(u[:, 2], *yx)], dim=1)


def drawings(settings: Augmentation, shape: Shape) -> dict[str, Drawing]:
    """What is drawn for each transform, as monai draws it.

    Args:
        settings: the ranges.
        shape: (z, y, x).
    """
    s = settings
    angle = math.radians(s.rotation.degrees)
    sharpen, shuffle, least, most = s.gaussian_sharpen, s.coarse_shuffle, *s.histogram_shift.control_points
    second = torch.tensor(
        [[sharpen.second_sigma_z, sharpen.second_sigma, sharpen.second_sigma]], dtype=torch.float64
    )
    spike = [math.log(amplitude * math.prod(shape)) for amplitude in s.kspace_spike.amplitude]
    boxes, terms = shuffle.holes[1], len(t.bias_orders(s.bias_field.degree))
    dims, reach = torch.tensor(shape), torch.tensor(s.affine.translate, dtype=torch.float64)

    def curve(u: Tensor) -> Parameters:
        points = _whole(u[:, 0], least, most)
        last = (points - 1).double()
        floating = [torch.zeros_like(last)]
        for i in range(1, most):  # each between the one before, where that went, and the next, where that was
            drawn = _between(u[:, i], floating[-1], (i + 1) / last)
            floating.append(torch.where(i < last, drawn, 1.0))
        return {"floating": torch.stack(floating, dim=1), "points": points}

    def patches(u: Tensor) -> Parameters:
        size, largest = torch.tensor(shuffle.size).expand(len(u), 3), torch.tensor(shuffle.max_size)
        sizes, corners = [], []
        for box in u[:, 1:].view(len(u), boxes, 2, 3).unbind(1):
            size = _whole(box[:, 0], size, largest)  # never smaller than the box before: so does monai
            sizes.append(torch.minimum(size, dims))
            corners.append(_whole(box[:, 1], 0, dims - sizes[-1]))
        return {
            "corner": torch.stack(corners, dim=1),
            "size": torch.stack(sizes, dim=1),
            "count": _whole(u[:, 0], *shuffle.holes),
        }

    return {
        "rotation": (3, lambda u: {"angles": _between(u, -angle, angle)}),
        "flip": (0, lambda u: {}),
        "gaussian_noise": (1, lambda u: {"std": u[:, 0] * s.gaussian_noise.std}),
        "std_shift": (1, lambda u: {"factor": _between(u[:, 0], -s.std_shift.factor, s.std_shift.factor)}),
        "contrast": (1, lambda u: {"gamma": _between(u[:, 0], *s.contrast.gamma)}),
        "gaussian_smooth": (
            3,
            lambda u: {"sigma": _sigmas(u, s.gaussian_smooth.sigma_z, s.gaussian_smooth.sigma)},
        ),
        "gaussian_sharpen": (
            4,
            lambda u: {
                "first": _sigmas(u, sharpen.sigma_z, sharpen.sigma),
                "second": second.repeat(len(u), 1),
                "alpha": _between(u[:, 3], *sharpen.alpha),
            },
        ),
        "histogram_shift": (most, curve),
        "coarse_shuffle": (1 + boxes * 6, patches),
        "elastic": (
            2,
            lambda u: {
                "sigma": _between(u[:, 0], *s.elastic.sigma),
                "magnitude": _between(u[:, 1], *s.elastic.magnitude),
            },
        ),
        "affine": (
            12,
            lambda u: {
                "scale": _between(u[:, :3], 1 - s.affine.scale, 1 + s.affine.scale),
                "shear": _between(u[:, 3:9], -s.affine.shear, s.affine.shear),
                "shift": _between(u[:, 9:], -reach, reach),
            },
        ),
        "gibbs_noise": (1, lambda u: {"alpha": _between(u[:, 0], *s.gibbs_noise.alpha)}),
        "bias_field": (terms, lambda u: {"coefficients": _between(u, *s.bias_field.coefficient)}),
        "kspace_spike": (
            4,
            lambda u: {"place": _whole(u[:, :3], 0, dims - 1), "intensity": _between(u[:, 3], *spike)},
        ),
        "rician_noise": (1, lambda u: {"std": u[:, 0] * s.rician_noise.std}),
    }


def _offsets(generators: list[torch.Generator], size: Sequence[int], device: torch.device) -> Tensor:
    """(n, *size) uniform from -1 to 1, a row for each generator."""
    if device.type == "cpu":  # a sixth of the time of torch's
        seeds = np.array([generator.initial_seed() for generator in generators])
        return torch.from_numpy(transforms_cpu.uniform(seeds, math.prod(size))).view(-1, *size)
    made = torch.empty(len(generators), *size, device=device)
    for part, generator in zip(made, generators, strict=True):
        part.uniform_(-1, 1, generator=generator)
    return made


class Batched:
    """Applies ``settings.count`` random transforms to each sample.

    Every sample has random numbers of its own, from (seed, epoch, sample): its order and parameters from the CPU's generator,
    its noise from the device's (elastic's on CPU from a faster one with the same seed). What the other samples are changes nothing
    but the last bits of sums.

    Args:
        settings: which transforms, how many, how strong.
        seed: the training run's seed.
        shape: (z, y, x).
    """

    def __init__(self, settings: Augmentation, seed: int, shape: Shape) -> None:
        self.settings, self.seed, self.shape = settings, seed, tuple(shape)
        self.drawings = drawings(settings, self.shape)

    def draw(self, epoch: int, samples: Sequence[int]) -> tuple[Tensor, dict[str, Parameters]]:
        """Order of the transforms (n, count), as numbers in ``settings.transforms``, and the parameters of all."""
        sizes = [self.drawings[name][0] for name in self.settings.transforms]
        orders, numbers = [], []
        for sample in samples:
            generator = torch.Generator().manual_seed(derive(self.seed, AUGMENTATION, epoch, sample))
            orders.append(torch.randperm(len(sizes), generator=generator)[: self.settings.count])
            numbers.append(torch.rand(sum(sizes), generator=generator, dtype=torch.float64))
        parts = torch.stack(numbers).split(sizes, dim=1)
        names = self.settings.transforms
        return torch.stack(orders), {
            name: self.drawings[name][1](part) for name, part in zip(names, parts, strict=True)
        }

    def __call__(self, volumes: Tensor, epoch: int, samples: Sequence[int]) -> Tensor:
        """Augment volumes; the input is left as it is.

        Args:
            volumes: (n, 2, z, y, x) float32: PET in [0, 1], lesion map of 0 and 1.
            epoch: number of the epoch.
            samples: each volume's number in the training part.
        """
        if not self.settings.count:
            return volumes
        device = volumes.device
        # One tensor per sample and channel: what a transform returns takes the place of what it was given, without a copy.
        channels = [list(pair.unbind()) for pair in volumes]
        order, parameters = self.draw(epoch, samples)
        noise = [
            torch.Generator(device).manual_seed(derive(self.seed, NOISE, epoch, sample)) for sample in samples
        ]
        queues = [steps[::-1] for steps in order.tolist()]
        while any(queues):
            heads = [queue[-1] for queue in queues if queue]
            number = max(sorted(set(heads)), key=heads.count)  # the transform that most samples wait for
            rows = [row for row, queue in enumerate(queues) if queue and queue[-1] == number][:99]
            for row in rows:
                queues[row].pop()
            name = self.settings.transforms[number]
            given = {key: value[rows].to(device) for key, value in parameters[name].items()}
            self._apply(channels, name, rows, given, [noise[row] for row in rows])
        out = torch.stack([channel for pair in channels for channel in pair]).view(volumes.shape)
        out[:, 0].clamp_(*self.settings.clip)
        return out

    def _apply(
        self,
        channels: list[list[Tensor]],
        name: str,
        rows: list[int],
        given: Parameters,
        generators: list[torch.Generator],
    ) -> None:
        """One transform of some of the samples.

        Args:
            channels: PET and lesion map of every sample, of which those in ``rows`` are replaced.
            name: of the transform.
            rows: which samples.
            given: parameters, one row per sample in ``rows``.
            generators: one per sample in ``rows``.
        """
        shape, device = self.shape, channels[0][0].device

        def random(size: Sequence[int], normal: bool) -> Tensor:
            made = torch.empty(len(generators), *size, device=device)
            for part, generator in zip(made, generators, strict=True):
                part.normal_(generator=generator) if normal else part.uniform_(generator=generator)
            return made

        if name == "flip":
            for row in rows:
                channels[row] = [t.flip(channel, self.settings.flip.axis) for channel in channels[row]]
            return
        if name in SPATIAL:
            volumes = torch.stack([channel for row in rows for channel in channels[row]])
            if name == "elastic":
                given["offsets"] = _offsets(generators, (3, *shape), device)
            moved = SPATIAL[name](volumes.unflatten(0, (-1, 2)), **given)
            for row, pair in zip(rows, moved, strict=True):
                channels[row] = list(pair.unbind())
            return
        extra: dict[str, Tensor | int] = {}
        if name == "gaussian_noise":
            extra["noise"] = random(shape, True)
        elif name == "rician_noise":
            extra["noise"] = random((2, *shape), True)
        elif name == "coarse_shuffle":
            shuffle = self.settings.coarse_shuffle
            largest = math.prod(min(pair) for pair in zip(shuffle.max_size, shape, strict=True))
            extra["keys"] = random((shuffle.holes[1], largest), False)
        elif name == "bias_field":
            extra["degree"] = self.settings.bias_field.degree
        changed = getattr(t, name)(torch.stack([channels[row][0] for row in rows]), **given, **extra)
        for row, pet in zip(rows, changed, strict=True):
            channels[row][0] = pet


SPATIAL: dict[str, Callable[..., Tensor]] = {
    "rotation": t.rotate,
    "elastic": t.elastic,
    "affine": t.affine,
}
