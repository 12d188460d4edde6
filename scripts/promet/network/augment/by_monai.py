"""Random transforms of the training part, by monai: the reference for batched.py, and an engine of its own.

Seven of fifteen per sample and epoch in random order (paper). Ranges are settings; see settings.py for their reasons.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from promet.network.augment.settings import Augmentation
from promet.network.randomness import AUGMENTATION, derive

PET, BOTH = ["pet"], ["pet", "lesions"]
SPATIAL = ("rotation", "flip", "elastic", "affine")
# Outside the organ the image is 0, so that is what moves in from outside; the lesion map has to stay 0 or 1.
RESAMPLE = {"mode": ["bilinear", "nearest"], "padding_mode": "zeros"}


def monai_transforms(settings: Augmentation, shape: tuple[int, int, int]) -> dict[str, Callable[[], Any]]:
    """Name -> maker of monai's dictionary transform; prob=1, since the drawing of 7 is SomeOf's."""
    from monai import transforms as m

    s = settings
    angle = math.radians(s.rotation.degrees)
    smooth, sharpen, shuffle = s.gaussian_smooth, s.gaussian_sharpen, s.coarse_shuffle
    # monai wants the logarithm of the unnormalised spectrum; a wave of amplitude a has a * voxels there.
    spike = [math.log(amplitude * math.prod(shape)) for amplitude in s.kspace_spike.amplitude]
    # monai calls the first axis of an array x: its sigma_x and range_x are z here.
    return {
        "rotation": lambda: m.RandRotated(
            BOTH, range_x=angle, range_y=angle, range_z=angle, prob=1, **RESAMPLE
        ),
        "flip": lambda: m.RandFlipd(BOTH, prob=1, spatial_axis=s.flip.axis),
        "gaussian_noise": lambda: m.RandGaussianNoised(PET, prob=1, std=s.gaussian_noise.std),
        "std_shift": lambda: m.RandStdShiftIntensityd(PET, factors=s.std_shift.factor, prob=1),
        "contrast": lambda: m.RandAdjustContrastd(PET, prob=1, gamma=s.contrast.gamma),
        "gaussian_smooth": lambda: m.RandGaussianSmoothd(
            PET, sigma_x=smooth.sigma_z, sigma_y=smooth.sigma, sigma_z=smooth.sigma, prob=1
        ),
        "gaussian_sharpen": lambda: m.RandGaussianSharpend(
            PET,
            sigma1_x=sharpen.sigma_z,
            sigma1_y=sharpen.sigma,
            sigma1_z=sharpen.sigma,
            # pairs of equal ends: a bare number would mean "from this to the first sigma"
            sigma2_x=(sharpen.second_sigma_z,) * 2,
            sigma2_y=(sharpen.second_sigma,) * 2,
            sigma2_z=(sharpen.second_sigma,) * 2,
            alpha=sharpen.alpha,
            prob=1,
        ),
        "histogram_shift": lambda: m.RandHistogramShiftd(PET, s.histogram_shift.control_points, prob=1),
        "coarse_shuffle": lambda: m.RandCoarseShuffled(
            PET,
            holes=shuffle.holes[0],
            max_holes=shuffle.holes[1],
            spatial_size=shuffle.size,
            max_spatial_size=shuffle.max_size,
            prob=1,
        ),
        "elastic": lambda: m.Rand3DElasticd(
            BOTH, sigma_range=s.elastic.sigma, magnitude_range=s.elastic.magnitude, prob=1, **RESAMPLE
        ),
        "affine": lambda: m.RandAffined(
            BOTH,
            prob=1,
            scale_range=(s.affine.scale,) * 3,  # a bare number would act on the first axis only
            shear_range=(s.affine.shear,) * 6,
            translate_range=s.affine.translate,
            **RESAMPLE,
        ),
        "gibbs_noise": lambda: m.RandGibbsNoised(PET, prob=1, alpha=s.gibbs_noise.alpha),
        "bias_field": lambda: m.RandBiasFieldd(
            PET, degree=s.bias_field.degree, coeff_range=s.bias_field.coefficient, prob=1
        ),
        "kspace_spike": lambda: m.RandKSpaceSpikeNoised(PET, prob=1, intensity_range=spike),
        "rician_noise": lambda: m.RandRicianNoised(PET, prob=1, std=s.rician_noise.std),
    }


class Monai:
    """Applies ``settings.count`` random transforms to each sample.

    Args:
        settings: which transforms, how many, how strong; with count 0 nothing is done and monai is not imported.
        seed: the training run's seed.
        shape: (z, y, x).
    """

    def __init__(self, settings: Augmentation, seed: int, shape: tuple[int, int, int]) -> None:
        self.settings, self.seed = settings, seed
        self.pipeline: Any = None
        if settings.count:
            from monai.data import set_track_meta
            from monai.transforms import SomeOf

            warnings.filterwarnings(
                "ignore", message="torch.searchsorted"
            )  # of monai's histogram shift: speed only
            set_track_meta(False)  # plain tensors: nothing is ever inverted here
            makers = monai_transforms(settings, shape)
            self.pipeline = SomeOf(
                [makers[name]() for name in settings.transforms], num_transforms=settings.count
            )

    def __call__(self, volumes: Tensor, epoch: int, samples: Sequence[int]) -> Tensor:
        """Augment volumes; the input is left as it is.

        Args:
            volumes: (n, 2, z, y, x) float32: PET in [0, 1], lesion map of 0 and 1.
            epoch: number of the epoch.
            samples: each volume's number in the training part; with seed and epoch it fixes the random numbers, so
                that neither the order nor the batch matters.
        """
        if self.pipeline is None:
            return volumes
        moved = [
            self._one(volume, epoch, sample) for volume, sample in zip(volumes.cpu(), samples, strict=True)
        ]
        return torch.stack(moved).to(volumes.device)

    def _one(self, volume: Tensor, epoch: int, sample: int) -> Tensor:
        self.pipeline.set_random_state(seed=derive(self.seed, AUGMENTATION, epoch, sample))
        # a copy, since monai's std shift and coarse shuffle write into what they are given
        moved = self.pipeline({"pet": volume[:1].clone(), "lesions": volume[1:]})
        return torch.cat([moved["pet"].clamp(*self.settings.clip), moved["lesions"]]).float()
