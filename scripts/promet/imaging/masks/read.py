"""A mask from NIfTI, DICOM SEG or RTSTRUCT to the grid of the PET."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk

from promet.core import volumes
from promet.core.errors import DataError, PrometError
from promet.core.volumes import is_volume
from promet.imaging import geometry
from promet.imaging.masks.roi import Chooser, Contoured, missing, unusable

if TYPE_CHECKING:  # a mask that is a volume needs nothing of DICOM, a third of this job's time
    from pydicom.dataset import Dataset

    from promet.imaging.masks.scans import Around

log = logging.getLogger("promet")
# A lesion mask without any voxel, contour or frame is a reader's word that there is no lesion.
NOTHING_MARKED = ("E_MASK_EMPTY", "E_MASK_NO_CONTOUR", "E_MASK_NO_FRAME")
WHOLE_NUMBER = 1e-4  # of its size (of 1 at least): what a label may be off by scaling and float32


def read_mask(
    source: Path,
    reference: sitk.Image,
    roi: str,
    ct: Path | None = None,
    pet: Path | None = None,
    warnings: list[str] | None = None,
    by_name: bool = False,
    several: bool = False,
    least: float = 0.0,
) -> sitk.Image:
    """Read a mask and bring it to the PET grid.

    Args:
        source: NIfTI/NRRD/MetaImage on any grid, DICOM SEG, RTSTRUCT, or a folder that holds one of them.
        reference: the PET volume.
        roi: regular expression (search) over ROI names or segment labels; a name that fits from end to end wins over
            those that fit in part; several that match are united.
            ``label=N`` takes number N, also of a volume with several labels; ``label=any`` takes all.
        ct: the CT source, if any: gives the slice distance and is checked to be what was drawn on.
        pet: the PET source, if it is DICOM: its frame of reference must be the mask's.
        warnings: sentences are appended here (and always logged).
        by_name: a volume, whose labels have no names, does not fit a pattern (otherwise it is taken as it is).
        several: names that fit in part are as good as those that fit from end to end.
        least: share of its volume that must lie inside the PET.

    Returns:
        uint8 0/1 on the grid of ``reference``.

    Raises:
        DataError: as ``read_own``; E_MASK_EMPTY, E_MASK_OUTSIDE, E_MASK_GRID.
    """
    told: list[str] = []
    own = read_own(source, reference, roi, ct, pet, told, by_name, several)
    if not _any(own):
        raise DataError(
            "E_MASK_EMPTY", "The mask holds no voxel", "a mask that marks something", "Check the export"
        )
    mask = geometry.to_grid(own, reference)
    if not _any(mask):
        raise _outside()
    before, after = _volume(own), _volume(mask)
    if after < least * before:
        raise DataError(
            "E_MASK_OUTSIDE",
            f"Only {after / before:.0%} of the mask's volume lies inside the PET",
            f"at least {least:.0%}",
            "Check that PET and mask are of the same patient",
        )
    if after < 0.5 * before and before > 20 * float(np.prod(reference.GetSpacing())):
        told.append(f"Only {100 * after / before:.0f} % of the mask's volume lies inside the PET")
    for sentence in told:
        log.info("mask: %s", sentence)
    if warnings is not None:
        warnings.extend(told)
    return mask


def read_own(
    source: Path,
    reference: sitk.Image,
    roi: str,
    ct: Path | None = None,
    pet: Path | None = None,
    told: list[str] | None = None,
    by_name: bool = False,
    several: bool = False,
) -> sitk.Image:
    """A mask on its own grid, which may hold nothing; arguments as of ``read_mask``.

    Raises:
        DataError: E_SOURCE_MISSING, E_IMAGE_*, E_MASK_FORMAT, E_MASK_ROI_MISSING, E_MASK_LABELS, E_MASK_VALUES,
            E_MASK_NAN, E_MASK_UNUSABLE, E_MASK_NO_CONTOUR, E_MASK_NO_FRAME, E_MASK_FRAME, E_MASK_PATIENT,
            E_MASK_REFERENCE, E_MASK_AMBIGUOUS, E_MASK_TRUNCATED, E_MASK_GRID; those of seg.py and rtstruct.py.
    """
    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # its warnings would name the file
    told = [] if told is None else told
    source = Path(source)
    choose = Chooser(roi, several)
    if not source.exists():
        raise DataError("E_SOURCE_MISSING", "The mask source is not there", "a file or folder")
    found = source if is_volume(source) else fitting(source, roi, several=several)
    if isinstance(found, Path):
        return _from_volume(found, choose, by_name, reference, told)
    from promet.imaging.masks.scans import Around, check_frame

    around = Around(ct, pet)
    contoured = _from_dicom(found, reference, choose, around, told)
    check_frame(contoured, around, told)
    return contoured.image


def mask_by_hand(
    source: Path, reference: Path, roi: str, out: Path, ct: Path | None = None, pet: Path | None = None
) -> dict[str, Any]:
    """Write one mask on the grid of ``reference`` and measure it.

    Returns:
        ``voxels``; ``ml``; ``centroid_mm``: mean (x, y, z) of the voxel centres in mm, DICOM's LPS; ``warnings``.

    Raises:
        DataError: as ``read_mask``; E_IMAGE_* of the reference.
    """
    told: list[str] = []
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    grid = geometry.read_image(reference)
    mask = read_mask(source, grid, roi, ct, pet, told)
    geometry.write_nifti(mask, out)
    places = np.argwhere(sitk.GetArrayViewFromImage(mask))
    centre = mask.TransformContinuousIndexToPhysicalPoint(places.mean(axis=0)[::-1].tolist())
    return {
        "voxels": len(places),
        "ml": _volume(mask) / 1000,
        "centroid_mm": [round(value, 4) for value in centre],
        "warnings": told,
    }


def _from_volume(
    source: Path, choose: Chooser, by_name: bool, reference: sitk.Image, told: list[str]
) -> sitk.Image:
    volume = geometry.read_volume(source)
    told.extend(volume.warnings)
    if not volume.finite:
        raise DataError(
            "E_MASK_NAN", "The mask volume holds values that are not finite", "0 and 1", "Export it again"
        )
    _check_grid(volume.image, reference, told)
    image = _around(volume.image)
    kinds = np.unique(sitk.GetArrayViewFromImage(image)).astype(np.float64)
    nearest = np.round(kinds)
    if (np.abs(kinds - nearest) <= WHOLE_NUMBER * np.maximum(1, np.abs(kinds))).all():
        if kinds.any() and not nearest.any():
            raise unusable(f"its values reach no more than {np.abs(kinds).max():.2g}")
        return _labelled(image, np.unique(nearest[nearest != 0]), choose, by_name)
    if by_name and not choose.label:
        raise missing(choose, len(kinds), "labels")
    if kinds.min() < -WHOLE_NUMBER or kinds.max() > 1 + WHOLE_NUMBER:
        raise DataError(
            "E_MASK_VALUES",
            "The mask volume holds values that are no labels",
            "0 and 1, or shares up to 1",
        )
    if kinds.max() < 0.5:
        raise unusable(f"its highest share is {kinds.max():.3g}")
    return image >= 0.5


def _labelled(image: sitk.Image, kinds: np.ndarray, choose: Chooser, by_name: bool) -> sitk.Image:
    """The wanted one of the labels ``kinds``."""
    if by_name and not choose.label:
        raise missing(choose, len(kinds), "labels")
    if choose.label and choose.label != "any" and len(kinds):
        wanted = float(choose.label)
        if wanted not in kinds:
            raise missing(choose, len(kinds), "labels")
        return _near(image, wanted)
    if len(kinds) > 1 and not choose.label:
        raise DataError(
            "E_MASK_LABELS",
            f"The mask volume holds {len(kinds)} labels",
            "one label",
            "Set the roi setting to label=N for one of them or to label=any for all",
        )
    return 1 - _near(image, 0.0)


def _near(image: sitk.Image, label: float) -> sitk.Image:
    marked = sitk.GetImageFromArray(
        (np.abs(sitk.GetArrayViewFromImage(image) - np.float64(label)) < 0.5).astype(np.uint8)
    )
    marked.CopyInformation(image)
    return marked


def _check_grid(own: sitk.Image, pet: sitk.Image, told: list[str]) -> None:
    """Refuse a volume that was never placed, or that has the very voxels of the PET at another place.

    With as many voxels as the PET along each axis, half of the place (voxels of 1 mm, or a corner at 0) is enough for
    never. Flipped axes are the same grid.
    """
    own, pet = geometry.canonical(own), geometry.canonical(pet)
    alike = own.GetSize() == pet.GetSize()
    same_voxels = alike and np.allclose(own.GetSpacing(), pet.GetSpacing(), rtol=1e-3)
    unset = geometry.unset(own)
    mm, off = volumes.shift(geometry.place(pet), geometry.place(own), pet.GetSize()) if alike else (0.0, 0.0)
    if (off > volumes.APART and (same_voxels or any(unset))) or (all(unset) and not alike):
        if not any(unset) and not _touch(own, pet):
            raise _outside()
        raise DataError(
            "E_MASK_GRID",
            "The mask has the voxels of the PET, but lies at another place"
            if same_voxels
            else "The mask was never placed: voxels of 1 mm, or the first of them at 0",
            "the grid of the PET or CT it was drawn on",
            "Check that PET and mask are of the same patient, or export it with its place",
        )
    if alike and off > volumes.ROUNDING:
        told.append(
            f"The mask has the voxels of the PET, {mm:.2g} mm or {off:.2g} voxels beside them"
            if same_voxels
            else "The mask has as many voxels as the PET along each axis, but of another size"
        )


def _touch(a: sitk.Image, b: sitk.Image) -> bool:
    """Whether the boxes of two canonical grids overlap."""
    middles, halves = [], []
    for image in (a, b):
        size = np.array(image.GetSize())
        middles.append(np.array(image.TransformContinuousIndexToPhysicalPoint(((size - 1) / 2).tolist())))
        halves.append(size * image.GetSpacing() / 2)
    return bool((np.abs(middles[0] - middles[1]) < sum(halves)).all())


def _outside() -> DataError:
    return DataError(
        "E_MASK_OUTSIDE",
        "The mask does not overlap the PET",
        "a mask of the same patient and position",
        "Check the pairing",
    )


def _around(image: sitk.Image) -> sitk.Image:
    """The box that holds everything but 0, two voxels wider: a mask on a CT is nearly all 0."""
    marked = sitk.GetArrayViewFromImage(image) != 0
    low, size = [], []
    for axis in (2, 1, 0):  # x, y, z
        places = np.flatnonzero(marked.any(axis=tuple({0, 1, 2} - {axis})))
        if not len(places):
            return image
        low.append(max(int(places[0]) - 2, 0))
        size.append(min(int(places[-1]) + 3, marked.shape[axis]) - low[-1])
    return sitk.RegionOfInterest(image, size, low)


def _from_dicom(
    data: Dataset, reference: sitk.Image, choose: Chooser, around: Around, told: list[str]
) -> Contoured:
    from promet.imaging.masks import rtstruct, seg

    readers = {"RTSTRUCT": rtstruct.read, "SEG": seg.read}
    try:
        result = readers[str(data.Modality)](data, reference, choose, around, told)
    except (PrometError, MemoryError):
        raise
    except Exception as error:  # pydicom raises many kinds, whose text may show values
        if isinstance(error, OSError) and error.errno:
            raise
        raise _incomplete() from None
    result.patient = str(data.get("PatientID") or "")
    return result


def _incomplete() -> DataError:
    return DataError(
        "E_MASK_TRUNCATED",
        "The mask file ends before its end, or lacks elements that every mask has",
        "a whole DICOM SEG or RTSTRUCT",
        "Copy or export it again",
    )


def fitting(source: Path, roi: str, named: bool = False, several: bool = False) -> Dataset | Path:
    """The one file of a source that holds the mask: header of a SEG or RTSTRUCT, or path of a volume.

    Args:
        named: also refuse a single file none of whose names fits ``roi``, which its reader would do later.
        several: as of ``Chooser``.

    Raises:
        DataError: E_MASK_FORMAT, E_MASK_TRUNCATED, E_MASK_ROI_MISSING, E_MASK_AMBIGUOUS.
    """
    from promet.imaging.dicom import files as dicom

    found = _masks_in(source)
    if not found:
        inside = [p for p in dicom.files_of(source) if is_volume(p)] if source.is_dir() else []
        if len(inside) == 1:
            return inside[0]
        raise DataError(
            "E_MASK_FORMAT",
            f"The mask source holds {len(inside)} volumes"
            if inside
            else "The mask source is no mask this program reads",
            "one NIfTI, DICOM SEG or RTSTRUCT",
            "Name the file in the table" if inside else "Export it again",
        )
    choose, fits = Chooser(roi, several), found
    if len(found) > 1 or (named and names_of(found[0])):
        fits = [data for data in found if any(choose(*name) for name in names_of(data))]
    if not fits:
        raise missing(choose, sum(len(names_of(data)) for data in found), "ROIs")
    if len(fits) > 1:
        raise DataError(
            "E_MASK_AMBIGUOUS",
            f"{len(fits)} mask files have an ROI that fits",
            "one",
            "Name the file in the table",
        )
    return fits[0]


def _masks_in(source: Path) -> list[Dataset]:
    """Headers of the SEG and RTSTRUCT files of a source; refused when one of its files is cut."""
    from promet.imaging.dicom import files as dicom
    from promet.imaging.dicom.whole import is_whole

    dicom.quiet()
    found = []
    for path in dicom.files_of(source):
        if not dicom.is_dicom(path):
            continue
        data = dicom.read_header(path)
        kind = "" if data is None else _kind(data)
        if kind in ("RTSTRUCT", "SEG"):
            found.append(data)
        if kind in ("", "RTSTRUCT", "SEG") and not is_whole(path):
            raise _incomplete()
    return found


def names_in(source: Path) -> list[tuple[int, str]]:
    """Number and name of every ROI and segment of a DICOM source; a volume's labels have no names."""
    if is_volume(source):
        return []
    return [name for data in _masks_in(source) for name in names_of(data)]


def _kind(data: Dataset) -> str:
    try:
        return str(data.get("Modality", ""))
    except Exception:  # a broken element
        return ""


def names_of(data: Dataset) -> list[tuple[int, str]]:
    """Number and name of every ROI and segment of one file."""
    try:
        return _all_names(data)
    except Exception:  # cut in the middle
        return []


def _all_names(data: Dataset) -> list[tuple[int, str]]:
    from promet.imaging.masks import seg

    rois = [(int(r.ROINumber), str(r.get("ROIName", ""))) for r in data.get("StructureSetROISequence") or ()]
    found = seg.segments(data)
    return rois + [(n, label) for n, label, _ in found] + [(n, kind) for n, _, kind in found if kind]


def _any(mask: sitk.Image) -> bool:
    return bool(sitk.GetArrayViewFromImage(mask).any())


def _volume(mask: sitk.Image) -> float:
    return float(np.count_nonzero(sitk.GetArrayViewFromImage(mask)) * np.prod(mask.GetSpacing()))
