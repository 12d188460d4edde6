"""Grids: reading and writing volumes, one orientation for all, masks from one grid to another.

Every volume that leaves this room is in the orientation "LPS" of DICOM with axes along the body, so that its
array is (z to superior, y to posterior, x to left) and its spacing is in mm.
"""

from __future__ import annotations

import gzip
import math
import os
import shutil
import struct
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from promet.core.errors import DataError
from promet.core.files import atomic

WHOLE, REGION = "pet.nii.gz", "region.nii.gz"  # of convert, if it keeps the whole body, else of segment
SHEAR = 2e-3  # axes further from perpendicular than this (rad) are refused: 0.6 mm over 300 mm
FINE = 1.5  # on a reference coarser by this factor a voxel is averaged, else sampled once
TIE = 1e-5  # shares closer than this are equal; they come from float32 samples
_PERMISSIVE = "ITK_NIFTI_SFORM_PERMISSIVE"


def read_image(path: str | os.PathLike[str]) -> sitk.Image:
    """Read a volume (NIfTI, NRRD, MetaImage); tiny errors of its axes are made perpendicular.

    Returns:
        A 3D scalar image without any text of the file's header.

    Raises:
        DataError: E_IMAGE_FORMAT (no image), E_IMAGE_VOLUMES (no single 3D scalar volume), E_IMAGE_ORIENTATION (none
            given), E_IMAGE_SHEARED, E_IMAGE_GEOMETRY (NaN, zero spacing).
    """
    path = Path(path)
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    header = _nifti_header(path)
    if header is not None:
        _check_nifti(header)
    before = os.environ.get(_PERMISSIVE)
    os.environ[_PERMISSIVE] = "1"  # else ITK refuses axes that are off by rounding; the check above is ours
    try:
        image = sitk.ReadImage(str(path))
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
    return without_text(image)


def read_pet(folder: Path) -> sitk.Image:
    """A patient's PET in SUV on the grid of his masks: the whole body, or what is kept of it around the organ."""
    return read_image(folder / WHOLE if (folder / WHOLE).exists() else folder / REGION)


def all_finite(path: str | os.PathLike[str]) -> bool:
    """False when a NIfTI file of floats holds NaN or infinity, which ITK's reader turns into 0 without a word.

    Other files are as they are: ask the array.
    """
    path = Path(path)
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        return True
    with open(path, "rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
    with gzip.open(path, "rb") if zipped else open(path, "rb") as handle:
        header = handle.read(544)
        order = next((o for o in "<>" if struct.unpack_from(f"{o}i", header)[0] in (348, 540)), None)
        if order is None:
            return True
        second = struct.unpack_from(f"{order}i", header)[0] == 540
        kind = {16: "f4", 64: "f8"}.get(struct.unpack_from(f"{order}h", header, 12 if second else 70)[0])
        if kind is None:
            return True
        start = int(struct.unpack_from(f"{order}{'q' if second else 'f'}", header, 168 if second else 108)[0])
        handle.seek(start)
        while block := handle.read(1 << 22):
            size = np.dtype(kind).itemsize
            block += handle.read(-len(block) % size)
            if not np.isfinite(np.frombuffer(block[: len(block) // size * size], order + kind)).all():
                return False
    return True


def without_text(image: sitk.Image) -> sitk.Image:
    """The image with an empty header dictionary: ITK would copy its strings into the next file."""
    image = sitk.Image(image)
    for key in image.GetMetaDataKeys():
        image.EraseMetaData(key)
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
            sitk.WriteImage(image, str(temporary))
        return
    with atomic(path) as temporary:
        plain = temporary.with_name(temporary.name.removesuffix(".gz"))
        try:
            sitk.WriteImage(image, str(plain))
            with (
                open(plain, "rb") as source,
                open(temporary, "wb") as handle,
                gzip.GzipFile("", "wb", compresslevel=1, fileobj=handle, mtime=0) as target,
            ):
                shutil.copyfileobj(source, target, 1 << 20)
        finally:
            plain.unlink(missing_ok=True)


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
        raise DataError(
            "E_IMAGE_VOLUMES", "An image file is no single volume", "one 3D volume with one value per voxel"
        )
    return image


def _check_geometry(image: sitk.Image) -> None:
    numbers = [*image.GetSpacing(), *image.GetOrigin(), *image.GetDirection()]
    if not np.isfinite(numbers).all() or min(image.GetSpacing()) <= 0:
        raise _geometry("has no finite orientation and spacing")
    axes = np.reshape(image.GetDirection(), (3, 3))
    if np.abs(axes.T @ axes - np.eye(3)).max() > 1e-4:
        left, _, right = np.linalg.svd(axes)
        axes = left @ right
        image.SetDirection(axes.ravel().tolist())


def _geometry(found: str, code: str = "E_IMAGE_GEOMETRY") -> DataError:
    return DataError(
        code,
        f"An image file {found}",
        "a volume with right-angled axes placed in the body",
        "Export it again",
    )


def _nifti_header(path: Path) -> bytes | None:
    """The 348 bytes of a NIfTI-1 header, little-endian or as found; None for other files."""
    if not path.name.endswith((".nii", ".nii.gz")):
        return None
    opener = gzip.open if path.name.endswith(".gz") else open
    try:
        with opener(path, "rb") as handle:
            header = handle.read(348)
    except (OSError, EOFError):
        return None  # the reader says what is wrong
    return header if len(header) == 348 else None


def _check_nifti(header: bytes) -> None:
    order = next((o for o in "<>" if struct.unpack_from(f"{o}i", header)[0] == 348), None)
    if order is None:
        return  # NIfTI-2: ITK checks it
    spacing = struct.unpack_from(f"{order}3f", header, 80)
    qform, sform = struct.unpack_from(f"{order}2h", header, 252)
    quaternion = struct.unpack_from(f"{order}6f", header, 256)
    rows = struct.unpack_from(f"{order}12f", header, 280)
    numbers = [*spacing, *(quaternion if qform else ()), *(rows if sform else ())]
    if not np.isfinite(numbers).all() or (min(map(abs, spacing)) == 0 and not sform):
        raise _geometry("holds NaN or zero in its orientation or spacing")
    if not qform and not sform:
        raise _geometry(
            "does not say how it lies in the body (qform and sform code are 0)", "E_IMAGE_ORIENTATION"
        )
    if sform:
        axes = np.reshape(rows, (3, 4))[:, :3]
        lengths = np.linalg.norm(axes, axis=0)
        if lengths.min() == 0:
            raise _geometry("has an axis of length zero")
        axes = axes / lengths
        if not qform and np.abs(axes.T @ axes - np.eye(3)).max() > SHEAR:
            raise _geometry("has axes that are not perpendicular", "E_IMAGE_SHEARED")
