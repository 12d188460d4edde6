"""Random transforms of the training part, batched on tensors: the whole epoch at once, on the device, without monai.

On a GPU samples that have the same transform next go through it together, the largest such group first; on CPU one sample
goes through all of its transforms after the other, since it stays in the cache. What is drawn is what monai would
draw (same distributions, not the same numbers); what is done with it is in transforms.py. Consecutive spatial transforms
are not merged into one: interpolating once instead of twice, and nearest twice instead of once, differ visibly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from promet.network.augment import noise
from promet.network.augment import transforms as t
from promet.network.augment.settings import Augmentation
from promet.network.randomness import AUGMENTATION, NOISE, derive

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
    most, terms = shuffle.holes[1], len(t.bias_orders(s.bias_field.degree))
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
        for patch in u[:, 1:].view(len(u), most, 2, 3).unbind(1):
            size = _whole(patch[:, 0], size, largest)  # never smaller than the patch before: so does monai
            sizes.append(torch.minimum(size, dims))
            corners.append(_whole(patch[:, 1], 0, dims - sizes[-1]))
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
        "coarse_shuffle": (1 + most * 6, patches),
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


def _random(seeds: np.ndarray | Tensor, size: Sequence[int], normal: bool) -> Tensor:
    """(n, *size), standard normal, or uniform from -1 to 1; a row for each seed: uint64 on CPU, on a device its bits as int64."""
    if isinstance(seeds, np.ndarray):  # a sixth of the time of torch's
        from promet.network.augment import loops

        loop = loops.normal if normal else loops.uniform
        return torch.from_numpy(loop(seeds, math.prod(size))).view(-1, *size)
    return (noise.normal if normal else noise.uniform)(seeds, math.prod(size)).view(-1, *size)


def _turns(order: list[list[int]]) -> Iterator[tuple[int, list[int]]]:
    """Which transform comes next, and for which samples: that which most of them wait for."""
    queues = [steps[::-1] for steps in order]
    while any(queues):
        heads = [queue[-1] for queue in queues if queue]
        number = max(sorted(set(heads)), key=heads.count)
        rows = [row for row, queue in enumerate(queues) if queue and queue[-1] == number]
        for row in rows:
            queues[row].pop()
        yield number, rows


class Batched:
    """Applies ``settings.count`` random transforms to each sample.

    Every sample has random numbers of its own, from (seed, epoch, sample): its order and parameters from the CPU's generator,
    its noise from the words of SplitMix64, on every device the same. What the other samples are changes nothing
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
        order, parameters = self.draw(epoch, samples)
        for name in MATRICES.keys() & parameters.keys():  # those of all samples at once
            parameters[name] = {"matrix": MATRICES[name](**parameters[name])[:, :3]}
        # each transform has its own stretch of the generator's 2^64 words
        seeds = np.array([derive(self.seed, NOISE, epoch, sample) for sample in samples], np.uint64)[:, None]
        seeds = seeds + (np.arange(len(parameters), dtype=np.uint64) << np.uint64(32))
        work = self._one_by_one if volumes.device.type == "cpu" else self._together
        return work(volumes, order.tolist(), parameters, seeds)

    def _one_by_one(
        self, volumes: Tensor, order: list[list[int]], parameters: dict[str, Parameters], seeds: np.ndarray
    ) -> Tensor:
        """Each sample through all of its transforms, in new volumes."""
        out = volumes.clone(memory_format=torch.contiguous_format)
        arrays = {
            name: {key: value.contiguous().numpy() for key, value in table.items()}
            for name, table in parameters.items()
        }
        names = self.settings.transforms
        for row, steps in enumerate(order):
            pair, mine = out[row : row + 1], seeds[row]
            pet = pair[:, 0]
            for number in steps:
                name = names[number]
                given = {key: array[row : row + 1] for key, array in arrays[name].items()}
                given |= self._extra(name, mine[number : number + 1])
                target = pair if name in SPATIAL else pet
                made = SPATIAL[name](pair, **given) if name in SPATIAL else getattr(t, name)(pet, **given)
                if made is not target:  # most have written there already
                    target.copy_(made)
            pet.clamp_(*self.settings.clip)
        return out

    def _together(
        self, volumes: Tensor, order: list[list[int]], parameters: dict[str, Parameters], seeds: np.ndarray
    ) -> Tensor:
        """Samples that have the same transform next go through it together, in new volumes."""
        device = volumes.device
        # One tensor per sample and channel: what a transform returns takes the place of what it was given, without a copy.
        channels = [list(pair.unbind()) for pair in volumes]
        turns = list(_turns(order))
        tables = self._uploaded(turns, parameters, torch.from_numpy(seeds.view(np.int64)), device)
        for number, rows in turns:
            name = self.settings.transforms[number]
            given = {key: parts.pop(0) for key, parts in tables[number].items()}
            given |= self._extra(name, given.pop("seeds"))
            if name in SPATIAL:
                pairs = torch.stack([channel for row in rows for channel in channels[row]])
                moved = SPATIAL[name](pairs.unflatten(0, (-1, 2)), **given)
                for row, pair in zip(rows, moved, strict=True):
                    channels[row] = list(pair.unbind())
            else:
                changed = getattr(t, name)(torch.stack([channels[row][0] for row in rows]), **given)
                for row, pet in zip(rows, changed, strict=True):
                    channels[row][0] = pet
        out = torch.stack([channel for pair in channels for channel in pair]).view(volumes.shape)
        out[:, 0].clamp_(*self.settings.clip)
        return out

    def _uploaded(
        self,
        turns: list[tuple[int, list[int]]],
        parameters: dict[str, Parameters],
        seeds: Tensor,
        device: torch.device,
    ) -> dict[int, dict[str, list[Tensor]]]:
        """Of each transform what it is given, on the device, a part for each of its turns: few copies instead of some for every turn."""
        found: dict[int, dict[str, list[Tensor]]] = {}
        for number, name in enumerate(self.settings.transforms):
            mine = [rows for one, rows in turns if one == number]
            table, sizes = {**parameters[name], "seeds": seeds[:, number]}, [len(rows) for rows in mine]
            everyone = [row for rows in mine for row in rows]
            found[number] = {
                key: list(value[everyone].to(device).split(sizes)) for key, value in table.items() if mine
            }
        return found

    def _extra(self, name: str, seeds: np.ndarray | Tensor) -> dict[str, Tensor | int]:
        """What a transform is given besides its parameters: noise, a row for each seed, and plain settings."""
        shape, shuffle = self.shape, self.settings.coarse_shuffle
        if name == "flip":
            return {"axis": self.settings.flip.axis}
        if name == "elastic":
            return {"offsets": _random(seeds, (3, *shape), False)}
        if name == "gaussian_noise":
            return {"noise": _random(seeds, shape, True)}
        if name == "rician_noise":
            return {"noise": _random(seeds, (2, *shape), True)}
        if name == "coarse_shuffle":
            largest = math.prod(min(pair) for pair in zip(shuffle.max_size, shape, strict=True))
            return {"keys": _random(seeds, (shuffle.holes[1], largest), False)}
        return {"degree": self.settings.bias_field.degree} if name == "bias_field" else {}


SPATIAL: dict[str, Callable[..., Tensor]] = {
    "rotation": t.linear_map,
    "elastic": t.elastic,
    "affine": t.linear_map,
    "flip": t.flip,
}
MATRICES: dict[str, Callable[..., Tensor]] = {"rotation": t.rotation_matrix, "affine": t.affine_matrix}
