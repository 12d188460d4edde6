"""Settings of the augmentation."""

from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, Field, model_validator

from promet.core.settings import Settings

Transform = Literal[
    "rotation",
    "flip",
    "gaussian_noise",
    "std_shift",
    "contrast",
    "gaussian_smooth",
    "gaussian_sharpen",
    "histogram_shift",
    "coarse_shuffle",
    "elastic",
    "affine",
    "gibbs_noise",
    "bias_field",
    "kspace_spike",
    "rician_noise",
]
TRANSFORMS: tuple[str, ...] = get_args(Transform)


def _ordered(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] > pair[1]:
        raise ValueError("the lower end comes first")
    return pair


Range = Annotated[tuple[float, float], AfterValidator(_ordered)]
NotNegative = Annotated[float, Field(ge=0)]
Spread = Annotated[tuple[NotNegative, NotNegative], AfterValidator(_ordered)]
Count = Annotated[int, Field(ge=1)]


# The paper names the fifteen transforms and the +-20 degrees of the rotation, no other range: the ranges are ours, chosen for an
# image in [0, 1] that is 0 outside the organ, with voxels of 5 x 1.37 x 1.37 mm.


class Rotation(Settings):
    """Spatial."""

    degrees: float = Field(
        20.0,
        ge=0,
        le=180,
        description="paper: +-20 degrees in each axis (of the voxel grid, as monai's RandRotate)",
    )


class Flip(Settings):
    """Spatial."""

    axis: Literal[0, 1, 2] = Field(2, description="paper: left-right, which is x, the last axis of (z, y, x)")


class GaussianNoise(Settings):
    """Intensity."""

    std: float = Field(
        0.1,
        ge=0,
        description="upper end of the standard deviation drawn from 0; monai's default, a tenth of the [0, 1] range",
    )


class StdShift(Settings):
    """Intensity."""

    factor: float = Field(
        0.25, ge=0, description="offset in standard deviations of the image, drawn from -factor to factor"
    )


class Contrast(Settings):
    """Intensity."""

    gamma: Spread = Field(
        (0.7, 1.5), description="exponent; monai's default (0.5, 4.5) darkens all but the hottest voxels"
    )


class GaussianSmooth(Settings):
    """Intensity."""

    sigma: Spread = Field((0.25, 1.5), description="y and x, voxels (monai's default); 0.3 to 2 mm")
    sigma_z: Spread = Field((0.07, 0.41), description="z, voxels: the same millimetres on slices of 5 mm")


class GaussianSharpen(Settings):
    """Intensity: blurred + alpha (blurred - twice blurred)."""

    sigma: Spread = Field((0.5, 1.0), description="first blur in y and x, voxels (monai's default)")
    sigma_z: Spread = Field((0.14, 0.27), description="first blur in z, voxels: the same millimetres")
    second_sigma: float = Field(0.5, gt=0, description="second blur in y and x, voxels (monai's default)")
    second_sigma_z: float = Field(0.14, gt=0, description="second blur in z, voxels: the same millimetres")
    alpha: Spread = Field(
        (2.0, 10.0),
        description="strength; monai's default (10, 30) reaches tens of times the range of the image",
    )


class HistogramShift(Settings):
    """Intensity."""

    control_points: tuple[Annotated[int, Field(ge=3)], Annotated[int, Field(ge=3)]] = Field(
        (8, 12), description="points of the monotone random curve; monai's default is 10, fewer bend more"
    )


class CoarseShuffle(Settings):
    """Intensity: voxels of small patches change places (PatchShuffle)."""

    holes: tuple[Count, Count] = Field(
        (6, 12), description="number of patches; with fewer, all of them often lie outside the organ"
    )
    size: tuple[Count, Count, Count] = Field(
        (1, 4, 4),
        description="smallest patch (z, y, x), voxels: 5 x 5.5 x 5.5 mm, about the PET's resolution",
    )
    max_size: tuple[Count, Count, Count] = Field(
        (3, 8, 8), description="largest patch (z, y, x), voxels: 15 x 11 x 11 mm, a small lesion"
    )


class Elastic(Settings):
    """Spatial."""

    sigma: Spread = Field((5.0, 7.0), description="smoothness of the displacement, voxels")
    magnitude: Spread = Field(
        (50.0, 150.0),
        description="its scale before smoothing: with sigma 6 a displacement of 0.3 to 0.9 voxels (1 SD)",
    )


class Affine(Settings):
    """Spatial; the rotation is a transform of its own."""

    scale: float = Field(0.1, ge=0, lt=1, description="relative change of size per axis")
    shear: float = Field(0.05, ge=0, description="shear factor, each of the six")
    translate: tuple[NotNegative, NotNegative, NotNegative] = Field(
        (1.0, 3.0, 3.0), description="shift (z, y, x), voxels: up to 5, 4 and 4 mm, the error of a centroid"
    )


class GibbsNoise(Settings):
    """Intensity."""

    alpha: Annotated[tuple[float, float], AfterValidator(_ordered)] = Field(
        (0.0, 0.5),
        description="share of k-space cut off; monai's default reaches 1, which leaves nothing of the image",
    )


class BiasField(Settings):
    """Intensity."""

    degree: Count = Field(3, description="of the polynomial (monai's default)")
    coefficient: Range = Field(
        (0.0, 0.1), description="of its exponent (monai's default): up to a factor of 2 to 3 in the corners"
    )


class KspaceSpike(Settings):
    """Intensity."""

    amplitude: Annotated[tuple[Annotated[float, Field(gt=0)], float], AfterValidator(_ordered)] = Field(
        (0.02, 0.15),
        description="of the wave laid over the [0, 1] image; monai's default hides in the image's own spectrum",
    )


class RicianNoise(Settings):
    """Intensity."""

    std: float = Field(
        0.05,
        ge=0,
        description="upper end of the standard deviation drawn from 0; monai's default of 1 destroys a [0, 1] image",
    )


class Augmentation(Settings):
    """Random transforms of the training part: spatial ones move PET and lesion map, intensity ones touch the PET only."""

    engine: Literal["batched", "monai"] = Field(
        "batched",
        description="batched: the whole epoch at once, on tensors or in compiled loops, about twenty times as fast; monai: the reference, one sample at a time",
    )
    count: int = Field(
        7,
        ge=0,
        description="transforms per sample and epoch (paper: 7 of 15, random order); 0 = no augmentation",
    )
    transforms: tuple[Transform, ...] = Field(
        TRANSFORMS, description="those to draw from (paper: these fifteen)"
    )
    clip: Range = Field(
        (-1.0, 2.0),
        description="the PET channel is cut to this at the end: sharpening and spikes on top of each other reach tens",
    )
    rotation: Rotation = Rotation()
    flip: Flip = Flip()
    gaussian_noise: GaussianNoise = GaussianNoise()
    std_shift: StdShift = StdShift()
    contrast: Contrast = Contrast()
    gaussian_smooth: GaussianSmooth = GaussianSmooth()
    gaussian_sharpen: GaussianSharpen = GaussianSharpen()
    histogram_shift: HistogramShift = HistogramShift()
    coarse_shuffle: CoarseShuffle = CoarseShuffle()
    elastic: Elastic = Elastic()
    affine: Affine = Affine()
    gibbs_noise: GibbsNoise = GibbsNoise()
    bias_field: BiasField = BiasField()
    kspace_spike: KspaceSpike = KspaceSpike()
    rician_noise: RicianNoise = RicianNoise()

    @model_validator(mode="after")
    def _drawable(self) -> Self:
        if len(set(self.transforms)) != len(self.transforms):
            raise ValueError("a transform is listed twice in transforms")
        if self.count > len(self.transforms):
            raise ValueError(f"count is {self.count}, but only {len(self.transforms)} transforms are listed")
        return self
