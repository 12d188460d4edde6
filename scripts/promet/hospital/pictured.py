"""The PET that a patient's results belong to: its slices in order, on the very grid of the masks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset

from promet.core.errors import UsageError
from promet.core.volumes import is_volume
from promet.imaging import geometry
from promet.imaging.dicom import series, stacking

# What highdicom asks for and de-identified files lack; an empty value is valid.
EMPTY = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
)
DATES = ("SeriesDate", "AcquisitionDate", "ContentDate", "StudyDate")
TIMES = ("SeriesTime", "AcquisitionTime", "ContentTime", "StudyTime")
CHARACTERS = "ISO_IR 192"


@dataclass
class Pictured:
    """Headers of the PET and where its frames lie.

    Attributes:
        datasets: copies of the headers, from one end to the other along the normal, or the one of a multi-frame file.
        order: frame of the source -> place in the stack.
        places: linear index into the mask (z, y, x) of every voxel of the stack (slice, row, column).
    """

    datasets: list[Dataset]
    order: np.ndarray
    places: np.ndarray

    @property
    def first(self) -> Dataset:
        """The header that tells whose it is."""
        return self.datasets[0]

    @property
    def moment(self) -> tuple[str, str]:
        """Date and time of the scan, for whatever else would come from the clock."""
        date = next((str(self.first.get(name)) for name in DATES if self.first.get(name)), "19000101")
        time = next((str(self.first.get(name)) for name in TIMES if self.first.get(name)), "000000")
        return date, time.partition(".")[0]

    def frames(self, mask: sitk.Image) -> np.ndarray:
        """A mask on the PET's canonical grid as bool (frame, row, column) of the source."""
        flat = sitk.GetArrayViewFromImage(mask).ravel() > 0
        return flat[self.places][self.order]


def pictured(source: Path, mask: sitk.Image) -> Pictured:
    """The PET of a source, if ``mask`` lies on its very voxels.

    Raises:
        UsageError: E_SEND_VOLUME (no DICOM), E_SEND_FRAME (no frame of reference), E_SEND_GRID (other voxels).
        DataError: as the stage convert.
    """
    if is_volume(source):
        raise UsageError(
            "E_SEND_VOLUME",
            "The PET of this patient was given as a volume, which belongs to no study of a PACS",
            "a DICOM series in the column pet",
        )
    frames = series.find_pet(source).frames
    headers = [frame.header for frame in frames]
    stack = stacking.stack(headers)
    grid = stacking.grid(stack, headers[0])
    voxels = sitk.GetImageFromArray(np.arange(grid.GetNumberOfPixels()).reshape(grid.GetSize()[::-1]))
    voxels.CopyInformation(grid)
    turned = geometry.canonical(voxels)
    if not stack.regular or not geometry.same_grid(turned, mask):
        raise UsageError(
            "E_SEND_GRID",
            "The masks do not lie on the voxels of the PET"
            + ("" if stack.regular else ", whose slices are not evenly spaced"),
            "masks on the grid of the series as it is now",
            "promet intake and promet run, if the series was exchanged",
        )
    places = np.empty(voxels.GetNumberOfPixels(), np.int64)
    places[sitk.GetArrayViewFromImage(turned).ravel()] = np.arange(len(places))
    several = frames[0].frames > 1
    order = np.argsort([frames[k].index for k in stack.order]) if several else np.arange(len(frames))
    sources = [frames[0].dataset] if several else [frames[k].dataset for k in stack.order]
    datasets = [_copy(dataset, stack.spacing[2], several) for dataset in sources]
    if not datasets[0].get("FrameOfReferenceUID"):
        raise UsageError(
            "E_SEND_FRAME",
            "The PET has no FrameOfReferenceUID, so nothing can be placed on it",
            "a series with a frame of reference",
            "Export it again without removing that element",
        )
    return Pictured(datasets, order, places.reshape(grid.GetSize()[::-1]))


def _copy(dataset: Dataset, gap: float, several: bool) -> Dataset:
    """A header without pixels, its texts decoded, with what is missing but needed."""
    copy = Dataset()
    for element in dataset:
        if element.keyword != "PixelData":
            copy.add(element)
    copy.decode()
    for keyword in EMPTY:
        if keyword not in copy or copy[keyword].value is None:
            setattr(copy, keyword, "")
    copy.PatientName = str(copy.PatientName)
    copy.SpecificCharacterSet = CHARACTERS
    if not several and not copy.get("SliceThickness"):
        copy.SliceThickness = f"{gap:.10g}"
    copy.file_meta = dataset.file_meta
    return copy
