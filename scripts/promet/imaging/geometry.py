"""Grids: reading and writing volumes, one orientation for all, masks from one grid to another.

Every volume that leaves this room is in the orientation "LPS" of DICOM with axes along the body, so that its
array is (z to superior, y to posterior, x to left) and its spacing is in mm.
"""

from __future__ import annotations

import errno
import gzip
import math
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from promet.core import volumes
from promet.core.errors import DataError
from promet.core.files import atomic
from promet.core.sidecar import product

WHOLE, REGION = "pet.nii.gz", "region.nii.gz"  # of convert, if it keeps the whole body, else of segment
FINE = 1.5  # on a reference coarser by this factor a voxel is averaged, else sampled once
TIE = 1e-5  # shares closer than this are equal; they come from float32 samples
_PERMISSIVE = "ITK_NIFTI_SFORM_PERMISSIVE"


@dataclass
class Volume:
    """A volume as read from a file; ``finite`` is False when voxels were NaN or infinite, ``warnings`` are sentences."""

    image: sitk.Image
    finite: bool
    warnings: list[str]


def read_volume(path: str | os.PathLike[str]) -> Volume:
    """Read a whole volume (NIfTI, NRRD, MetaImage); tiny errors of its axes are made perpendicular.

    Returns:
        A 3D scalar image without any text of the file's header.

    Raises:
        DataError: E_IMAGE_FORMAT (no image), E_IMAGE_TRUNCATED, E_IMAGE_VOLUMES (no single 3D scalar volume),
            E_IMAGE_ORIENTATION (no place given), E_IMAGE_PLACES (two), E_IMAGE_SHEARED, E_IMAGE_GEOMETRY (NaN, zero
            spacing).
        OSError: the disk's fault.
    """
    path = Path(path)
    stated = volumes.look(path)
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    before = os.environ.get(_PERMISSIVE)
    os.environ[_PERMISSIVE] = "1"  # else ITK refuses axes that are off by rounding; the check is ours
    try:
        with tempfile.TemporaryDirectory() as folder:  # ITK goes by names, and not all spellings of them
            named = Path(folder, stated.name)
            named.symlink_to(path.resolve())
            if stated.beside is not None:
                named.with_name(stated.beside.name).symlink_to(stated.beside.resolve())
            image = sitk.ReadImage(str(named))
    except RuntimeError:
        raise DataError(
            "E_IMAGE_FORMAT",
            "An image file cannot be read",
            "a whole NIfTI, NRRD or MetaImage file",
            "Copy or export it again",
        ) from None
    finally:
        if before is None:
            del os.environ[_PERMISSIVE]
        else:
            os.environ[_PERMISSIVE] = before
    image = _squeeze(image)
    _check_geometry(image)
    if (
        stated.places
        and volumes.shift(stated.places[0], place(image), image.GetSize())[1] > volumes.APART + 0.01
    ):
        raise volumes.geometry_error("has a spacing (pixdim) that its matrix (sform) contradicts")
    values = sitk.GetArrayViewFromImage(image)
    finite = stated.finite and (values.dtype.kind != "f" or bool(np.isfinite(values).all()))
    return Volume(without_text(image), finite, stated.warnings)


def read_image(path: str | os.PathLike[str]) -> sitk.Image:
    """The image of ``read_volume`` alone."""
    return read_volume(path).image


def place(image: sitk.Image) -> np.ndarray:
    """4 x 4: index (x, y, z, 1) to mm."""
    made = np.eye(4)
    made[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    made[:3, 3] = image.GetOrigin()
    return made


def read_pet(folder: Path) -> sitk.Image:
    """A patient's PET in SUV on the grid of the masks: the whole body, or what is kept of it around the organ."""
    whole = (folder / WHOLE).exists()
    return read_image(product(folder, WHOLE, "convert") if whole else product(folder, REGION, "segment"))


def read_masks(folder: Path) -> tuple[sitk.Image, sitk.Image]:
    """Prostate and lesions that segment wrote."""
    organ, lesions = (
        read_image(product(folder, name, "segment")) for name in ("prostate.nii.gz", "lesions.nii.gz")
    )
    return organ, lesions


def unset(image: sitk.Image) -> tuple[bool, bool]:
    """Whether the voxels are of 1 mm, and whether a corner lies at 0: as programs leave what nobody set."""
    first, length = np.abs(image.GetOrigin()), (np.array(image.GetSize()) - 1) * image.GetSpacing()
    at_zero = ((first < 1e-6) | (np.abs(first - length) < 1e-6)).all()
    return bool(np.allclose(image.GetSpacing(), 1, atol=1e-6)), bool(at_zero)


def without_text(image: sitk.Image) -> sitk.Image:
    """The image with an empty header dictionary: ITK would copy its strings into the next file."""
    image = sitk.Image(image)
    try:
        for key in image.GetMetaDataKeys():
            image.EraseMetaData(key)
    except TypeError:  # a key that is no text
        made = sitk.GetImageFromArray(sitk.GetArrayViewFromImage(image))
        made.CopyInformation(image)
        return made
    return image


def canonical(image: sitk.Image) -> sitk.Image:
    """Axes flipped and swapped (never resampled) to "LPS": array (z superior, y posterior, x left)."""
    straight = tuple(np.eye(3).ravel())
    return image if image.GetDirection() == straight else sitk.DICOMOrient(image, "LPS")


def same_grid(a: sitk.Image, b: sitk.Image) -> bool:
    """True when both grids put every voxel on the same place within 1 % of a voxel."""
    if a.GetSize() != b.GetSize():
        return False
    slack = 0.01 * min(a.GetSpacing())
    corners = [(0, 0, 0), *(tuple((n - 1) * (i == j) for j, n in enumerate(a.GetSize())) for i in range(3))]
    return all(
        math.dist(a.TransformIndexToPhysicalPoint(c), b.TransformIndexToPhysicalPoint(c)) < slack
        for c in corners
    )


def to_grid(mask: sitk.Image, reference: sitk.Image) -> sitk.Image:
    """Bring a 0/1 mask to the grid of ``reference``, coarser, finer or turned, without loss of volume.

    The fullest voxels belong to it, as many as its volume needs: a fixed threshold of one half would shave a small
    or ragged lesion by a tenth of its volume, and the nearest voxel misses it by up to 8 %. What a voxel holds comes
    from samples of the linearly interpolated mask, several along the axes on which the reference is coarser.

    Returns:
        uint8 image 0/1 on the grid of ``reference``.
    """
    mask = sitk.Cast(mask != 0, sitk.sitkUInt8)
    if same_grid(mask, reference):
        mask.CopyInformation(reference)
        return mask
    empty = sitk.Image(reference.GetSize(), sitk.sitkUInt8)
    empty.CopyInformation(reference)
    box = _box_on(mask, reference)
    if box is None:
        return empty
    start, size = box
    parts = _parts(mask, reference)
    fraction = _fraction(mask, sitk.RegionOfInterest(empty, size, start), parts)
    voxels = float(fraction.sum())
    if _within(mask, reference):  # then its volume is known better than from samples
        voxels = np.count_nonzero(sitk.GetArrayViewFromImage(mask)) * math.prod(mask.GetSpacing())
        voxels /= math.prod(reference.GetSpacing())
    inside = _fullest(fraction, voxels) if fraction.any() else fraction > 0
    whole = sitk.GetArrayFromImage(empty)
    region = tuple(slice(s, s + n) for s, n in zip(reversed(start), reversed(size), strict=True))
    whole[region] = inside
    result = sitk.GetImageFromArray(whole)
    result.CopyInformation(reference)
    return result


def write_nifti(image: sitk.Image, path: str | os.PathLike[str]) -> None:
    """Write ``.nii`` or ``.nii.gz`` atomically, with no text and no time in any header.

    gzip level 1: ITK ignores its own level for NIfTI and is several times slower.
    """
    path = Path(path)
    image = without_text(image)
    if not path.name.endswith(".gz"):
        with atomic(path) as temporary:
            write_plain(image, temporary)
        return
    with atomic(path) as temporary:
        plain = temporary.with_name(temporary.name.removesuffix(".gz"))
        try:
            write_plain(image, plain)
            with (
                open(plain, "rb") as source,
                open(temporary, "wb") as handle,
                gzip.GzipFile("", "wb", compresslevel=1, fileobj=handle, mtime=0) as target,
            ):
                shutil.copyfileobj(source, target, 1 << 20)
        finally:
            plain.unlink(missing_ok=True)


def write_plain(image: sitk.Image, path: Path) -> None:
    """Write ``.nii``, or fail: ITK says nothing when the disk takes only a part.

    Raises:
        OSError: there is no room, or the file cannot be written.
    """
    try:
        sitk.WriteImage(image, str(path))
    except RuntimeError:
        path.write_bytes(b"")  # says why
        raise
    size = image.GetNumberOfPixels() * image.GetSizeOfPixelComponent() * image.GetNumberOfComponentsPerPixel()
    if path.stat().st_size < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def dilate_mm(mask: np.ndarray, spacing_zyx: tuple[float, float, float], margin_mm: float) -> np.ndarray:
    """Every voxel whose centre lies within ``margin_mm`` of a mask voxel's centre.

    Args:
        mask: bool (z, y, x).
        spacing_zyx: mm.
        margin_mm: 0 gives the mask back.
    """
    mask = np.asarray(mask, bool)
    if margin_mm <= 0 or not mask.any():
        return mask.copy()
    reach = [math.ceil(margin_mm / step) for step in spacing_zyx]
    places = np.argwhere(mask)
    low = np.maximum(places.min(0) - reach, 0)
    high = np.minimum(places.max(0) + reach + 1, mask.shape)
    region = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    part = sitk.GetImageFromArray(mask[region].astype(np.uint8))
    part.SetSpacing([float(step) for step in reversed(spacing_zyx)])
    distance = sitk.SignedMaurerDistanceMap(part, squaredDistance=False, useImageSpacing=True)
    grown = mask.copy()
    grown[region] |= sitk.GetArrayViewFromImage(distance) <= margin_mm + 1e-4
    return grown


def _corners(mask: sitk.Image, reference: sitk.Image) -> np.ndarray | None:
    """Corners (8, 3) of the mask's bounding box in the reference's continuous index (x, y, z), or None."""
    stats = sitk.LabelShapeStatisticsImageFilter()
    stats.ComputePerimeterOff()
    stats.ComputeFeretDiameterOff()
    stats.Execute(mask)
    if not stats.HasLabel(1):
        return None
    box = stats.GetBoundingBox(1)
    points = []
    for corner in np.ndindex(2, 2, 2):
        place = [box[i] - 0.5 + corner[i] * box[i + 3] for i in range(3)]
        point = mask.TransformContinuousIndexToPhysicalPoint(place)
        points.append(reference.TransformPhysicalPointToContinuousIndex(point))
    return np.array(points)


def _within(mask: sitk.Image, reference: sitk.Image) -> bool:
    points = _corners(mask, reference)
    return points is not None and bool(
        (points >= -0.5).all() and (points <= np.array(reference.GetSize()) - 0.5).all()
    )


def _box_on(mask: sitk.Image, reference: sitk.Image) -> tuple[list[int], list[int]] | None:
    """Start and size (x, y, z) of the reference voxels that the mask can touch, or None."""
    points = _corners(mask, reference)
    if points is None:
        return None
    low = np.maximum(np.floor(points.min(0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(points.max(0)).astype(int) + 2, reference.GetSize())
    if (high <= low).any():
        return None
    return low.tolist(), (high - low).tolist()


def _parts(mask: sitk.Image, reference: sitk.Image) -> list[int]:
    """Odd number of samples per reference voxel along each of its axes."""
    turn = np.reshape(reference.GetDirection(), (3, 3)).T @ np.reshape(mask.GetDirection(), (3, 3))
    parts = []
    for axis, step in enumerate(reference.GetSpacing()):
        fine = 1 / max(abs(turn[axis, i]) / mask.GetSpacing()[i] for i in range(3))
        ratio = step / fine
        parts.append(1 if ratio < FINE else min(2 * math.ceil((ratio - 1.01) / 2) + 1, 15))
    return parts


def _fraction(mask: sitk.Image, region: sitk.Image, parts: list[int]) -> np.ndarray:
    """Share of each voxel of ``region`` that the mask fills, from ``parts`` samples along each axis."""
    fine = sitk.Image([n * p for n, p in zip(region.GetSize(), parts, strict=True)], sitk.sitkUInt8)
    fine.SetDirection(region.GetDirection())
    fine.SetSpacing([s / p for s, p in zip(region.GetSpacing(), parts, strict=True)])
    fine.SetOrigin(region.TransformContinuousIndexToPhysicalPoint([0.5 / p - 0.5 for p in parts]))
    # linear, or the samples would lag behind the mask by up to half a step
    part = sitk.Cast(mask, sitk.sitkFloat32)
    samples = sitk.Resample(part, fine, sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    x, y, z = region.GetSize()
    blocks = sitk.GetArrayViewFromImage(samples).reshape(z, parts[2], y, parts[1], x, parts[0])
    return blocks.mean((1, 3, 5), dtype=np.float32)


def _fullest(fraction: np.ndarray, voxels: float) -> np.ndarray:
    """The ``voxels`` fullest; of equally full ones those in fuller company, then those nearest to the middle."""
    count = min(max(1, round(voxels)), int(np.count_nonzero(fraction)))
    level = np.partition(fraction, fraction.size - count, axis=None)[fraction.size - count]
    inside = fraction > level + TIE
    ties = np.argwhere((np.abs(fraction - level) <= TIE) & (fraction > 0))
    if len(ties) > count - np.count_nonzero(inside):
        image = sitk.GetImageFromArray(np.pad(fraction, 1))
        company = sitk.GetArrayFromImage(sitk.DiscreteGaussian(image, 1.0, 9))[1:-1, 1:-1, 1:-1]
        share = fraction.astype(np.float64) / fraction.sum(dtype=np.float64)
        middle = [(share.sum(tuple({0, 1, 2} - {i})) * np.arange(n)).sum() for i, n in enumerate(share.shape)]
        away = np.linalg.norm(ties - middle, axis=1)
        order = np.lexsort([np.round(away, 6), -np.round(company[tuple(ties.T)], 5)])
        ties = ties[order]
    inside[tuple(ties[: count - np.count_nonzero(inside)].T)] = True
    return inside


def _squeeze(image: sitk.Image) -> sitk.Image:
    size = image.GetSize()
    while image.GetDimension() > 3 and size[-1] == 1:
        image = image[(slice(None),) * (image.GetDimension() - 1) + (0,)]
        size = image.GetSize()
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise volumes.not_one()
    return image


def _check_geometry(image: sitk.Image) -> None:
    numbers = [*image.GetSpacing(), *image.GetOrigin(), *image.GetDirection()]
    if not np.isfinite(numbers).all() or min(image.GetSpacing()) <= 0:
        raise volumes.geometry_error("has no finite orientation and spacing")
    axes = np.reshape(image.GetDirection(), (3, 3))
    apart = np.abs(axes.T @ axes - np.eye(3)).max()
    if apart > volumes.SHEAR:
        raise volumes.geometry_error("has axes that are not perpendicular", "E_IMAGE_SHEARED")
    if apart > 1e-4:
        left, _, right = np.linalg.svd(axes)
        axes = left @ right
        image.SetDirection(axes.ravel().tolist())
