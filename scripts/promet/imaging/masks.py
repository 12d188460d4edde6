"""A mask from NIfTI, DICOM SEG or RTSTRUCT to the grid of the PET."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from pydicom import dcmread
from pydicom.dataset import Dataset

from promet.core.errors import DataError, PrometError
from promet.imaging import dicom, geometry
from promet.imaging.roi import Chooser, Contoured, missing

log = logging.getLogger("promet")
IMAGES = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd")
# A lesion mask without any voxel, contour or frame is a reader's word that there is no lesion.
NOTHING_MARKED = ("E_MASK_EMPTY", "E_MASK_NO_CONTOUR", "E_MASK_NO_FRAME")
IDENTITY = ["SOPInstanceUID", "FrameOfReferenceUID", "Modality", "PatientID"]


def read_mask(
    source: Path,
    reference: sitk.Image,
    roi: str,
    ct: Path | None = None,
    pet: Path | None = None,
    warnings: list[str] | None = None,
    by_name: bool = False,
) -> sitk.Image:
    """Read a mask and bring it to the PET grid.

    Args:
        source: NIfTI/NRRD on any grid, DICOM SEG, RTSTRUCT, or a folder that holds one of them.
        reference: the PET volume.
        roi: regular expression (search) over ROI names or segment labels; several that match are united.
            ``label=N`` takes number N, also of a volume with several labels; ``label=any`` takes all.
        ct: the CT source, if any: gives the slice distance and is checked to be what was drawn on.
        pet: the PET source, if it is DICOM: its frame of reference must be the mask's.
        warnings: sentences are appended here (and always logged).
        by_name: a volume, whose labels have no names, does not fit a pattern (otherwise it is taken as it is).

    Returns:
        uint8 0/1 on the grid of ``reference``.

    Raises:
        DataError: E_SOURCE_MISSING, E_MASK_FORMAT, E_MASK_ROI_MISSING, E_MASK_LABELS, E_MASK_VALUES, E_MASK_NAN, those of
            ``NOTHING_MARKED``, E_MASK_OUTSIDE, E_MASK_FRAME, E_MASK_PATIENT, E_MASK_REFERENCE, E_MASK_AMBIGUOUS,
            E_MASK_TRUNCATED; those of seg.py and rtstruct.py.
    """
    dicom.quiet()
    told: list[str] = []
    source = Path(source)
    Chooser(roi)
    if not source.exists():
        raise DataError("E_SOURCE_MISSING", "The mask source is not there", "a file or folder")
    if is_volume(source):
        own = _from_volume(source, roi, by_name)
    else:
        contoured = _from_dicom(source, reference, roi, ct, told, by_name)
        _check_frame(contoured, ct, pet, told)
        own = contoured.image
    if not _any(own):
        raise DataError(
            "E_MASK_EMPTY", "The mask holds no voxel", "a mask that marks something", "Check the export"
        )
    mask = geometry.to_grid(own, reference)
    if not _any(mask):
        raise DataError(
            "E_MASK_OUTSIDE",
            "The mask does not overlap the PET",
            "a mask of the same patient and position",
            "Check the pairing",
        )
    before, after = _volume(own), _volume(mask)
    if after < 0.5 * before and before > 20 * float(np.prod(reference.GetSpacing())):
        told.append(f"Only {100 * after / before:.0f} % of the mask's volume lies inside the PET")
    for sentence in told:
        log.info("mask: %s", sentence)
    if warnings is not None:
        warnings.extend(told)
    return mask


def is_volume(source: Path) -> bool:
    """True for a NIfTI, NRRD or MetaImage file, by its name."""
    return source.is_file() and source.name.lower().endswith(IMAGES)


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
    dicom.quiet()
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


def _from_volume(source: Path, roi: str, by_name: bool) -> sitk.Image:
    image = _around(geometry.read_image(source))
    kinds = np.unique(sitk.GetArrayViewFromImage(image))
    if not np.isfinite(kinds).all() or not geometry.all_finite(source):
        raise DataError(
            "E_MASK_NAN", "The mask volume holds values that are not finite", "0 and 1", "Export it again"
        )
    kinds = kinds[kinds != 0]
    wanted = re.fullmatch(r"label=(\d+|any)", roi.strip())
    if by_name and not wanted:
        raise missing(len(kinds), "labels")
    if wanted and wanted[1] != "any" and len(kinds) and (kinds == np.round(kinds)).all():
        if float(wanted[1]) not in kinds:
            raise missing(len(kinds), "labels")
        return image == float(wanted[1])
    if len(kinds) and (kinds != np.round(kinds)).any():
        if kinds.min() < 0 or kinds.max() > 1:
            raise DataError(
                "E_MASK_VALUES",
                "The mask volume holds values that are no labels",
                "0 and 1, or shares up to 1",
            )
        return image >= 0.5
    if len(kinds) > 1 and not wanted:
        raise DataError(
            "E_MASK_LABELS",
            f"The mask volume holds {len(kinds)} labels",
            "one label",
            "Set the roi setting to label=N for one of them or to label=any for all",
        )
    return image != 0


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
    source: Path, reference: sitk.Image, roi: str, ct: Path | None, told: list[str], by_name: bool
) -> Contoured:
    from promet.imaging import rtstruct, seg

    readers = {"RTSTRUCT": rtstruct.read, "SEG": seg.read}
    data = fitting(source, roi)
    if isinstance(data, Path):
        return Contoured(_from_volume(data, roi, by_name), None)
    try:
        result = readers[str(data.Modality)](data, reference, Chooser(roi), ct, told)
    except (PrometError, MemoryError):
        raise
    except Exception as error:  # pydicom raises many kinds, whose text may show values
        if isinstance(error, OSError) and error.errno:
            raise
        raise DataError(
            "E_MASK_TRUNCATED",
            "The mask file ends before its end, or lacks elements that every mask has",
            "a whole DICOM SEG or RTSTRUCT",
            "Copy or export it again",
        ) from None
    result.patient = str(data.get("PatientID") or "")
    return result


def fitting(source: Path, roi: str, named: bool = False) -> Dataset | Path:
    """The one file of a source that holds the mask: header of a SEG or RTSTRUCT, or path of a volume.

    Args:
        named: also refuse a single file none of whose names fits ``roi``, which its reader would do later.

    Raises:
        DataError: E_MASK_FORMAT, E_MASK_ROI_MISSING, E_MASK_AMBIGUOUS.
    """
    found = [data for data in dicom.read_headers(source) if _kind(data) in ("RTSTRUCT", "SEG")]
    if not found:
        volumes = (
            [p for p in dicom.files_of(source) if p.name.lower().endswith(IMAGES)] if source.is_dir() else []
        )
        if len(volumes) == 1:
            return volumes[0]
        raise DataError(
            "E_MASK_FORMAT",
            "The mask source is no mask this program reads",
            "one NIfTI, DICOM SEG or RTSTRUCT",
            "Export it again",
        )
    choose, fits = Chooser(roi), found
    if len(found) > 1 or (named and _names(found[0])):
        fits = [data for data in found if any(choose(*name) for name in _names(data))]
    if not fits:
        raise missing(sum(len(_names(data)) for data in found), "ROIs")
    if len(fits) > 1:
        raise DataError(
            "E_MASK_AMBIGUOUS",
            f"{len(fits)} mask files have an ROI that fits",
            "one",
            "Name the file in the table",
        )
    return fits[0]


def names_in(source: Path) -> list[tuple[int, str]]:
    """Number and name of every ROI and segment of a DICOM source; a volume's labels have no names."""
    if is_volume(source):
        return []
    return [
        name
        for data in dicom.read_headers(source)
        if _kind(data) in ("RTSTRUCT", "SEG")
        for name in _names(data)
    ]


def _kind(data: Dataset) -> str:
    try:
        return str(data.get("Modality", ""))
    except Exception:  # a broken element
        return ""


def _names(data: Dataset) -> list[tuple[int, str]]:
    try:
        return _all_names(data)
    except Exception:  # cut in the middle
        return []


def _all_names(data: Dataset) -> list[tuple[int, str]]:
    rois = [(int(r.ROINumber), str(r.get("ROIName", ""))) for r in data.get("StructureSetROISequence") or ()]
    return rois + [
        (int(s.SegmentNumber), str(s.get("SegmentLabel", ""))) for s in data.get("SegmentSequence") or ()
    ]


def identities(source: Path | None) -> tuple[set[str], set[str], set[str]]:
    """SOP instances, frames of reference and patients of a DICOM image source; empty for anything else."""
    instances, frames, patients = set(), set(), set()
    for path in dicom.files_of(source) if source is not None and Path(source).exists() else ():
        if not dicom.is_dicom(path):
            continue
        try:
            data = dcmread(path, specific_tags=IDENTITY, stop_before_pixels=True, force=True)
        except Exception:  # not this module's file to judge
            continue
        if str(data.get("Modality", "")) in ("CT", "PT", "MR"):
            instances.add(str(data.get("SOPInstanceUID", "")))
            if data.get("FrameOfReferenceUID"):
                frames.add(str(data.FrameOfReferenceUID))
            if data.get("PatientID"):
                patients.add(str(data.PatientID))
    return instances, frames, patients


def _check_frame(mask: Contoured, ct: Path | None, pet: Path | None, told: list[str]) -> None:
    """The mask must lie in the frame of reference of the PET, or of the CT when that of the PET is not known."""
    on_ct, ct_frames, ct_patients = identities(ct)
    on_pet, pet_frames, pet_patients = identities(pet)
    patients, frames = pet_patients or ct_patients, pet_frames | ct_frames
    if mask.patient and patients and mask.patient not in patients:
        if mask.frame not in frames and not mask.instances & (on_ct | on_pet):
            raise DataError(
                "E_MASK_PATIENT",
                "The mask names another patient than the images, and nothing else ties it to them",
                "a mask of the same patient",
                "Check the pairing in the table",
            )
        told.append(
            "The mask names another PatientID than the images, but their frame of reference; that was believed"
        )
    drawn = mask.instances & (on_ct | on_pet)
    whole = mask.instances <= on_ct or mask.instances <= on_pet or not on_ct
    if drawn and not whole and not mask.instances & on_pet:
        raise DataError(
            "E_MASK_REFERENCE",
            f"{len(mask.instances - on_ct)} of the {len(mask.instances)} images the mask was drawn on are not in the ct source",
            "the whole series it was drawn on",
            "Give the right CT, or none",
        )
    known = pet_frames or ct_frames
    if mask.frame is None or not known or mask.frame in known:
        return
    if mask.instances and mask.instances <= (on_pet or on_ct):
        told.append(
            "The mask names another frame of reference, but the very images it was drawn on; those were believed"
        )
        return
    raise DataError(
        "E_MASK_FRAME",
        f"The mask lies in another frame of reference than the {'PET' if pet_frames else 'CT'}",
        "a mask drawn in the same scan",
        "Register it first, or export it on the PET",
    )


def _any(mask: sitk.Image) -> bool:
    return bool(sitk.GetArrayViewFromImage(mask).any())


def _volume(mask: sitk.Image) -> float:
    return float(np.count_nonzero(sitk.GetArrayViewFromImage(mask)) * np.prod(mask.GetSpacing()))
