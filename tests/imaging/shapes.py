"""Grids, volumes and DICOM SEG for tests of masks."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from dicom_series import code
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence


def grid(
    spacing=(4.07, 4.07, 3.0),
    size=(40, 40, 40),
    centre=(0.0, 0.0, 0.0),
    direction=(1, 0, 0, 0, 1, 0, 0, 0, 1),
):
    """An empty image with ``centre`` (mm) in its middle."""
    made = sitk.Image(size, sitk.sitkFloat32)
    made.SetSpacing(spacing)
    made.SetDirection(direction)
    half = [(n - 1) * s / 2 for n, s in zip(size, spacing, strict=True)]
    made.SetOrigin((np.array(centre) - np.reshape(direction, (3, 3)) @ half).tolist())
    return made


def millilitres(mask):
    """Volume of a 0/1 mask."""
    return np.count_nonzero(sitk.GetArrayFromImage(mask)) * np.prod(mask.GetSpacing()) / 1000


def segmentation(kind, arrays, labels, positions, bits=8):
    """A SEG: one frame per array, each (segment, position)."""
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID, data.Modality = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.9", "SEG"
    data.SegmentationType, data.FrameOfReferenceUID, data.NumberOfFrames = kind, "1.2.3.4", len(arrays)
    data.Rows, data.Columns = arrays[0].shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = bits
    data.HighBit, data.PixelRepresentation = bits - 1, 0
    flat = np.stack(arrays).astype(np.uint8).ravel()
    raw = np.packbits(flat, bitorder="little").tobytes() if bits == 1 else flat.tobytes()
    data.PixelData = raw + b"\0" * (len(raw) % 2)
    if kind == "FRACTIONAL":
        data.MaximumFractionalValue = 200
    data.SegmentSequence = Sequence()
    for number, label in labels.items():
        item = code("x", "y", "z")
        item.SegmentNumber, item.SegmentLabel = number, label
        data.SegmentSequence.append(item)
    shared, measures, turn = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness, measures.SpacingBetweenSlices = [2.0, 1.5], 4.0, 3.0
    turn.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Sequence([measures]), Sequence([turn])
    data.SharedFunctionalGroupsSequence = Sequence([shared])
    data.PerFrameFunctionalGroupsSequence = Sequence()
    for segment, depth in positions:
        each, place, which = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient, which.ReferencedSegmentNumber = [-7.0, -9.0, depth], segment
        each.PlanePositionSequence, each.SegmentIdentificationSequence = Sequence([place]), Sequence([which])
        data.PerFrameFunctionalGroupsSequence.append(each)
    return data
