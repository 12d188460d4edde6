"""A mask from NIfTI, DICOM SEG or RTSTRUCT to the grid of the PET."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom import dcmread
from pydicom.dataset import Dataset

from promet.core.errors import DataError, UsageError
from promet.imaging import dicom, geometry

log = logging.getLogger("promet")
IMAGES = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd")
IDENTITY = ["SOPInstanceUID", "FrameOfReferenceUID", "Modality"]


@dataclass
class Contoured:
    """What a DICOM mask file gives before it meets the PET grid.

    Attributes:
        image: 0/1 on its own grid.
        frame: its FrameOfReferenceUID, or None.
        instances: SOPInstanceUIDs it was drawn on.
    """

    image: sitk.Image
    frame: str | None
    instances: set[str] = field(default_factory=set)


def read_mask(
    source: Path,
    reference: sitk.Image,
    roi: str,
    ct: Path | None = None,
    pet: Path | None = None,
    warnings: list[str] | None = None,
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

    Returns:
        uint8 0/1 on the grid of ``reference``.

    Raises:
        DataError: E_MASK_FORMAT, E_MASK_ROI_MISSING, E_MASK_LABELS, E_MASK_EMPTY, E_MASK_OUTSIDE, E_MASK_FRAME,
            E_MASK_REFERENCE, E_MASK_AMBIGUOUS.
    """
    dicom.quiet()
    told: list[str] = []
    source = Path(source)
    chooser(roi)
    if not source.exists():
        raise DataError("E_MASK_FORMAT", "The mask source is not there", "a file or folder")
    if source.is_file() and source.name.lower().endswith(IMAGES):
        own = _from_volume(source, roi)
    else:
        contoured = _from_dicom(source, reference, roi, ct, told)
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


def chooser(roi: str) -> Callable[[int, str], bool]:
    """A test of (number, name) made from ``roi``."""
    match = re.fullmatch(r"label=(\d+|any)", roi.strip())
    if match:
        return lambda number, name: match[1] == "any" or number == int(match[1])
    try:
        pattern = re.compile(roi)
    except re.error:
        raise UsageError(
            "E_CONFIG_VALUE", "An roi setting is no valid regular expression", "e.g. (?i)prostate"
        ) from None
    return lambda number, name: pattern.search(name) is not None


def missing(count: int, kind: str) -> DataError:
    """No ROI fits; the names of the others stay in the file."""
    return DataError(
        "E_MASK_ROI_MISSING",
        f"None of the {count} {kind} of the mask file has a name that fits the roi setting",
        "one that fits",
        "Set imaging.segment.prostate_roi or lesions_roi to fit your names",
    )


def _from_volume(source: Path, roi: str) -> sitk.Image:
    image = geometry.read_image(source)
    values = sitk.GetArrayViewFromImage(image)
    kinds = np.unique(values)
    if not np.isfinite(kinds).all():
        raise DataError("E_MASK_FORMAT", "The mask volume holds values that are not finite", "0 and 1")
    kinds = kinds[kinds != 0]
    wanted = re.fullmatch(r"label=(\d+|any)", roi.strip())
    if wanted and wanted[1] != "any" and len(kinds) > 1:
        return image == float(wanted[1])
    if len(kinds) and (kinds != np.round(kinds)).any():
        if kinds.min() < 0 or kinds.max() > 1:
            raise DataError(
                "E_MASK_FORMAT",
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


def _from_dicom(source: Path, reference: sitk.Image, roi: str, ct: Path | None, told: list[str]) -> Contoured:
    from promet.imaging import rtstruct, seg

    readers = {"RTSTRUCT": rtstruct.read, "SEG": seg.read}
    found = [data for data in dicom.read_headers(source) if str(data.get("Modality", "")) in readers]
    if not found:
        volumes = (
            [p for p in dicom.files_of(source) if p.name.lower().endswith(IMAGES)] if source.is_dir() else []
        )
        if len(volumes) == 1:
            return Contoured(_from_volume(volumes[0], roi), None)
        raise DataError(
            "E_MASK_FORMAT",
            "The mask source is no mask this program reads",
            "one NIfTI, DICOM SEG or RTSTRUCT",
            "Export it again",
        )
    choose = chooser(roi)
    fitting = (
        [data for data in found if any(choose(*name) for name in _names(data))] if len(found) > 1 else found
    )
    if not fitting:
        raise missing(sum(len(_names(data)) for data in found), "ROIs")
    if len(fitting) > 1:
        raise DataError(
            "E_MASK_AMBIGUOUS",
            f"{len(fitting)} mask files have an ROI that fits",
            "one",
            "Name the file in the table",
        )
    data = fitting[0]
    return readers[str(data.Modality)](data, reference, choose, ct, told)


def _names(data: Dataset) -> list[tuple[int, str]]:
    rois = [(int(r.ROINumber), str(r.get("ROIName", ""))) for r in data.get("StructureSetROISequence") or ()]
    return rois + [
        (int(s.SegmentNumber), str(s.get("SegmentLabel", ""))) for s in data.get("SegmentSequence") or ()
    ]


def _identities(source: Path | None) -> tuple[set[str], set[str]]:
    """SOP instances and frames of reference of a DICOM image source; empty for anything else."""
    instances, frames = set(), set()
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
    return instances, frames


def _check_frame(mask: Contoured, ct: Path | None, pet: Path | None, told: list[str]) -> None:
    """The mask must lie in the frame of reference of the PET, or of the CT when that of the PET is not known."""
    on_ct, ct_frames = _identities(ct)
    on_pet, pet_frames = _identities(pet)
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
