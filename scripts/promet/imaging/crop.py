"""The cuboid around the prostate: the network's field of view, the same in mm for every scanner."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from promet.core.errors import DataError
from promet.core.files import atomic
from promet.core.sidecar import Sidecar
from promet.core.stage import Outcome, run_stage
from promet.imaging.geometry import dilate_mm, read_masks, read_pet, to_grid

if TYPE_CHECKING:
    from promet.imaging.settings import Crop

PRODUCT = "cuboid.npy"


def centroid_mm(mask: sitk.Image) -> np.ndarray:
    """Mean position (x, y, z) in mm of the voxel centres of a 0/1 mask that is not empty."""
    place = np.argwhere(sitk.GetArrayViewFromImage(mask)).mean(axis=0)[::-1]
    return np.array(mask.TransformContinuousIndexToPhysicalPoint(place.tolist()))


def cuboid_grid(centre_mm: np.ndarray, settings: Crop) -> sitk.Image:
    """An empty image whose voxels are those of the cuboid, its axes along those of the patient (LPS).

    The middle of the cuboid, not a voxel, lies on the centre: with an even number of voxels the centre falls on the
    face between the two middle ones.

    Args:
        centre_mm: (x, y, z).
    """
    size, spacing = np.array(settings.shape[::-1]), np.array(settings.spacing_mm[::-1])
    grid = sitk.Image(size.tolist(), sitk.sitkUInt8)
    grid.SetSpacing(spacing.tolist())
    grid.SetOrigin((centre_mm - (size - 1) / 2 * spacing).tolist())
    return grid


def inside_fraction(mask: sitk.Image, grid: sitk.Image) -> float:
    """Share of the mask's voxel centres that lie in the cuboid of ``grid`` (axes along the patient's)."""
    places = np.argwhere(sitk.GetArrayViewFromImage(mask))[:, ::-1] * mask.GetSpacing()
    points = places @ np.array(mask.GetDirection()).reshape(3, 3).T + mask.GetOrigin()
    steps = (points - grid.GetOrigin()) / grid.GetSpacing()
    inside = (steps >= -0.5) & (steps <= np.array(grid.GetSize()) - 0.5)
    return float(inside.all(axis=1).mean())


def outside_image_fraction(image: sitk.Image, grid: sitk.Image) -> float:
    """Share of the voxel centres of ``grid`` (axes along the patient's) that lie outside of ``image``."""
    points = np.argwhere(np.ones(grid.GetSize(), dtype=bool)) * grid.GetSpacing() + grid.GetOrigin()
    steps = (points - image.GetOrigin()) @ np.array(image.GetDirection()).reshape(3, 3) / image.GetSpacing()
    inside = (steps >= -0.5) & (steps <= np.array(image.GetSize()) - 0.5)
    return float(1 - inside.all(axis=1).mean())


def widen(mask: sitk.Image, margin_mm: float) -> sitk.Image:
    """The mask with every voxel whose centre lies within ``margin_mm`` of it, on its own grid."""
    if not margin_mm:
        return mask
    wide = dilate_mm(sitk.GetArrayFromImage(mask) > 0, mask.GetSpacing()[::-1], margin_mm)
    image = sitk.GetImageFromArray(wide.astype(np.uint8))
    image.CopyInformation(mask)
    return image


def crop(
    pet: sitk.Image, organ: sitk.Image, lesions: sitk.Image, settings: Crop
) -> tuple[np.ndarray, dict[str, float | list[float]], list[str]]:
    """Resample PET and lesions onto the cuboid centred on the centroid of the organ.

    PET linear, 0 outside of the image. No low-pass filter before: a PET's resolution (5 to 7 mm) is near or above the
    coarsest step (5 mm). Organ and lesions keep their volume (``geometry.to_grid``) unless ``masks`` is ``nearest``,
    with which a lesion of 1 ml changes by 2 % on average and 8 % at most.

    Args:
        pet: SUVbw; organ, lesions: uint8 0/1 on its grid. Any direction: the cuboid follows the patient's axes.

    Returns:
        float32 (2, z, y, x): [0] SUVbw, [1] lesions 0/1; z towards the head, y to the back, x to the patient's left.
        Values: ``inside_fraction`` of the organ's volume in the cuboid, ``outside_image_fraction`` of the cuboid,
        ``box_mm`` (z, y, x), ``lesion_voxels``, ``lesion_masked_fraction`` (lesion voxels whose PET was set to 0
        since they lie outside the organ). Warnings.

    Raises:
        DataError: ``E_MASK_EMPTY``.
    """
    if not sitk.GetArrayViewFromImage(organ).any():
        raise DataError(
            "E_MASK_EMPTY", "The prostate mask is empty", "some voxels", "Check the mask against the PET"
        )
    grid = cuboid_grid(centroid_mm(organ), settings)

    def onto(image: sitk.Image, interpolator: int) -> np.ndarray:
        return sitk.GetArrayFromImage(
            sitk.Resample(image, grid, sitk.Transform(), interpolator, 0.0, sitk.sitkFloat32)
        )

    def outline(mask: sitk.Image) -> np.ndarray:
        if settings.masks == "nearest":
            return onto(mask, sitk.sitkNearestNeighbor) > 0.5
        return sitk.GetArrayFromImage(to_grid(mask, grid)) > 0

    suv, marked = onto(pet, sitk.sitkLinear), outline(lesions)
    masked = 0.0
    if settings.mask_outside:
        near = outline(widen(organ, settings.margin_mm))
        suv[~near] = 0.0
        masked = float((marked & ~near).sum() / marked.sum()) if marked.any() else 0.0
    values: dict[str, float | list[float]] = {
        "inside_fraction": inside_fraction(organ, grid),
        "outside_image_fraction": outside_image_fraction(pet, grid),
        "box_mm": [n * step for n, step in zip(settings.shape, settings.spacing_mm, strict=True)],
        "lesion_voxels": int(marked.sum()),
        "lesion_masked_fraction": masked,
    }
    warnings = []
    if values["inside_fraction"] < 1:
        warnings.append(f"Only {values['inside_fraction']:.1%} of the prostate lie inside the cuboid.")
    if values["outside_image_fraction"] > 0:
        warnings.append(
            f"{values['outside_image_fraction']:.1%} of the cuboid lie outside the PET and were set to 0."
        )
    if not marked.any():
        warnings.append("No lesion voxel lies inside the cuboid; the network sees an empty lesion map.")
    return np.stack([suv, marked]).astype(np.float32), values, warnings


def run(inputs: Path, settings: Crop, out: Path, pin: str) -> Sidecar:
    """The stage ``crop``: cuboid.npy beside ``out``, from pet, prostate and lesions in the patient's folder ``inputs``."""
    product = out.with_name(PRODUCT)

    def work() -> Outcome:
        pet = read_pet(inputs)
        organ, lesions = read_masks(inputs)
        cuboid, values, warnings = crop(pet, organ, lesions, settings)
        with atomic(product) as temporary:
            np.save(temporary, cuboid, allow_pickle=False)
        return Outcome(products={"cuboid": product}, values=values, warnings=warnings)

    return run_stage(
        "crop",
        out,
        pin,
        work,
        upstream={name: inputs / f"{name}.json" for name in ("convert", "segment")},
        needs=("segment",),
        makes=(PRODUCT,),
        packages=("SimpleITK", "numpy"),
    )
