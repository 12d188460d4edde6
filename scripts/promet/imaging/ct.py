"""The CT as a volume in Hounsfield units: to be kept, or to find organs on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset

from promet.core.errors import DataError
from promet.core.volumes import is_volume
from promet.core.words import count
from promet.imaging import geometry
from promet.imaging.dicom import files as dicom
from promet.imaging.dicom import series, stacking
from promet.imaging.dicom.files import Header
from promet.imaging.dicom.whole import is_whole
from promet.imaging.masks.scans import Images

RANGE = (-32768, 32767)


def convert_ct(source: Path, pet: Path | None = None) -> sitk.Image:
    """Convert the CT of a folder, a multi-frame file or a volume.

    Args:
        source: the ct source; may hold other series.
        pet: the PET source; of several CT series the one in its frame of reference is taken.

    Returns:
        int16 HU, array (z to superior, y to posterior, x to left).

    Raises:
        DataError: E_CT_NONE, E_CT_AMBIGUOUS, E_CT_SPLIT_SERIES, E_CT_FRAME, E_CT_RESCALE, E_CT_TRUNCATED, E_CT_NAN, those
            of stacking.py with
            ``CT`` in place of ``PET``; E_IMAGE_* of a volume.
    """
    dicom.quiet()
    if is_volume(source):
        volume = geometry.read_volume(source)
        if not volume.finite:
            raise DataError(
                "E_CT_NAN", "The CT holds values that are not finite", "finite numbers", "Export it again"
            )
        image = geometry.canonical(volume.image)
        return sitk.Cast(
            sitk.Clamp(sitk.Round(sitk.Cast(image, sitk.sitkFloat32)), sitk.sitkFloat32, *RANGE),
            sitk.sitkInt16,
        )
    try:
        return _from_dicom(source, pet)
    except DataError as error:
        raise DataError(error.code, dicom.tagged(error.found), error.expected, error.remedy) from error


def _from_dicom(source: Path, pet: Path | None) -> sitk.Image:
    frames = [frame for data in choose(source, pet) for frame in dicom.frames_of(data, "CT")]
    stack = stacking.stack([frame.header for frame in frames], "CT")
    first = frames[0].header
    volume = np.empty((len(frames), int(first.number("Rows")), int(first.number("Columns"))), np.int16)
    for place, index in enumerate(stack.order):
        values, header = dicom.pixels(frames[index], "CT"), frames[index].header
        slope, intercept = header.number("RescaleSlope"), header.number("RescaleIntercept")
        if not slope or intercept is None:
            raise DataError(
                "E_CT_RESCALE",
                "RescaleSlope or RescaleIntercept is missing in a slice of the CT",
                "Hounsfield units",
                "Export the CT again",
            )
        if values.shape != volume.shape[1:]:
            raise DataError(
                "E_CT_MIXED_GRIDS", "The slices of the CT differ in Rows or Columns", "slices of one volume"
            )
        volume[place] = np.clip(np.rint(values * slope + intercept), *RANGE)
    image = stacking.assemble(volume, stack)
    return geometry.without_text(geometry.canonical(sitk.Cast(image, sitk.sitkInt16)))


def choose(source: Path, pet: Path | None) -> list[Dataset]:
    """The files of the one CT series, copies dropped."""
    found = []
    for each in series.grouped(_headers(source)):
        kinds = {kind.upper() for kind in Header(each[0]).texts("ImageType")}
        if str(each[0].Modality) == "CT" and not kinds & series.PROJECTIONS and series.images_in(each) > 2:
            found.append(each)
    if not found:
        raise DataError(
            "E_CT_NONE",
            "The ct source holds no CT series",
            "one CT series of more than two images",
            "Check the column ct",
        )
    frames = Images(pet).frames
    same = [each for each in found if not frames or Header(each[0]).text("FrameOfReferenceUID") in frames]
    if not same:
        raise DataError(
            "E_CT_FRAME",
            "The CT lies in another frame of reference than the PET",
            "the CT of the same examination",
            "Check the column ct",
        )
    if len(same) > 1:
        same = [each for each in same if "DERIVED" not in Header(each[0]).texts("ImageType")] or same
    if len(same) > 1:
        listed = "; ".join(series.describe(each) for each in same)
        raise DataError(
            "E_CT_AMBIGUOUS",
            f"The ct source holds {len(same)} CT series that could be meant ({listed})",
            "one series",
            "Put the folder that holds only the right one into the column ct of the cohort table; promet imaging inspect "
            "lists them",
        )
    if series.is_split(same[0]):
        raise DataError(
            "E_CT_SPLIT_SERIES",
            f"Each of the {series.images_in(same[0])} CT images has a SeriesInstanceUID of its own, as an anonymiser leaves it that makes a new "
            "one for every file: nothing says that they are one series",
            "one SeriesInstanceUID for the images of a series",
            "De-identify again so that what was equal stays equal",
        )
    return list({str(data.get("SOPInstanceUID", place)): data for place, data in enumerate(same[0])}.values())


def _headers(source: Path) -> list[Dataset]:
    """The DICOM files of the source; refused when one is cut: a slice that is not read would not be missed at the end."""
    found, broken = [], 0
    for path in dicom.files_of(source):
        data = dicom.read_header(path)
        if data is None:
            broken += dicom.is_dicom(path) or series.is_hollow(path)
        else:
            broken += not is_whole(path) or ("Modality" not in data and series.is_cut(data))
            found += [data] if "Modality" in data else []
    if broken:
        raise DataError(
            "E_CT_TRUNCATED",
            f"{count(broken, 'file')} of the ct source {'is' if broken == 1 else 'are'} cut",
            "whole DICOM files",
            "Copy again",
        )
    return found
