"""Small DICOM series for tests: four 16 x 16 PET slices whose header can be bent in every way."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

PET_CLASS = "1.2.840.10008.5.1.4.1.1.128"
CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"
SHARED_DATA = Path(__file__).parents[2].parent / "shared/data"

DEFAULTS: dict[str, Any] = {
    "SOPClassUID": PET_CLASS,
    "Modality": "PT",
    "ImageType": ["ORIGINAL", "PRIMARY"],
    "PatientName": "PHANTOM^ONE",
    "PatientID": "PHANTOM1",
    "PatientSex": "M",
    "PatientSize": 1.8,
    "PatientWeight": 80.0,
    "SeriesDate": "20250102",
    "SeriesTime": "110000",
    "AcquisitionDate": "20250102",
    "AcquisitionTime": "110000",
    "CorrectedImage": ["NORM", "DTIM", "ATTN", "SCAT", "DECY", "RAN"],
    "DecayCorrection": "START",
    "Units": "BQML",
    "SeriesType": ["STATIC", "IMAGE"],
    "ActualFrameDuration": 300000,
    "FrameReferenceTime": 150000.0,
    "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
    "PixelSpacing": [4.0, 3.0],
    "SliceThickness": 5.0,
    "RescaleSlope": 2.0,
    "RescaleIntercept": 0.0,
    "FrameOfReferenceUID": "1.2.3.4",
}
DOSE: dict[str, Any] = {
    "RadiopharmaceuticalStartDateTime": "20250102100000",
    "RadiopharmaceuticalStartTime": "100000",
    "RadionuclideTotalDose": 3e8,
    "RadionuclideHalfLife": 6586.2,
}
F18 = ("C-111A1", "SRT", "^18^Fluorine")


def stored(index: int, rows: int = 16, columns: int = 16) -> np.ndarray:
    """Stored values of slice ``index``: all different, so that flips and shifts show."""
    return (np.arange(rows * columns).reshape(rows, columns) + 1000 * (index + 1)).astype(np.int16)


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """A code sequence item."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def make(
    index: int,
    changes: dict[str, Any] | None = None,
    dose: dict[str, Any] | None = None,
    nuclide: tuple[str, str, str] | None = F18,
    private: Iterable[tuple[int, str | None, int, str, Any]] = (),
    series: str = "1.2.3.5",
    place: tuple[float, float, float] | None = None,
) -> Dataset:
    """One slice. A value of ``None`` removes the element; a callable is called with the slice's index."""
    data = Dataset()
    for keyword, value in {**DEFAULTS, **(changes or {})}.items():
        chosen = value(index) if callable(value) else value
        if chosen is not None:
            setattr(data, keyword, chosen)
    data.SeriesInstanceUID = data.get("SeriesInstanceUID", series)
    data.SOPInstanceUID = data.get("SOPInstanceUID", f"{data.SeriesInstanceUID}.{index + 1}")
    if "ImagePositionPatient" not in data:
        data.ImagePositionPatient = list(place or (-20.0, -30.0, 100.0 + 5.0 * index))
    if dose is not None or data.Modality == "PT":
        item = Dataset()
        for keyword, value in {**DOSE, **(dose or {})}.items():
            if value is not None:
                setattr(item, keyword, value)
        if nuclide:
            item.RadionuclideCodeSequence = Sequence([code(*nuclide)])
        data.RadiopharmaceuticalInformationSequence = Sequence([item])
    for group, creator, element, kind, value in private:
        if creator:
            data.private_block(group, creator, create=True).add_new(element, kind, value)
        else:
            data.add_new((group, 0x1000 | element), kind, value)
    data.InstanceNumber = 100 - index
    return data


def pixels(data: Dataset, values: np.ndarray) -> Dataset:
    """Put int16 or uint8 pixels into a slice (or frames into a multi-frame one)."""
    data.Rows, data.Columns = values.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    bits = values.dtype.itemsize * 8
    data.BitsAllocated, data.BitsStored, data.HighBit = bits, bits, bits - 1
    data.PixelRepresentation = int(values.dtype.kind == "i")
    data.PixelData = values.tobytes()
    return data


def save(data: Dataset, path: Path) -> Path:
    """Write with a proper file header."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = data.SOPClassUID, data.SOPInstanceUID
    meta.ImplementationClassUID = "1.2.3"
    data.file_meta = meta
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def write(
    folder: Path,
    changes: dict[str, Any] | None = None,
    *,
    slices: int = 4,
    values: Callable[[int], np.ndarray] = stored,
    skip: tuple[int, ...] = (),
    **rest: Any,
) -> Path:
    """A series in ``folder``, its files named against the order of the slices."""
    for index in range(slices):
        if index not in skip:
            save(pixels(make(index, changes, **rest), values(index)), folder / f"{900 - index}.dcm")
    return folder


def frames(changes: dict[str, Any] | None = None, dose: dict[str, Any] | None = None) -> Dataset:
    """One multi-frame file with a place and a slope per frame."""
    data = pixels(
        make(0, {**changes, "ImagePositionPatient": None, "PixelSpacing": None}, dose),
        np.stack([stored(i) for i in range(4)]),
    )
    del data.ImagePositionPatient, data.ImageOrientationPatient
    for keyword in ("RescaleSlope", "RescaleIntercept"):
        del data[keyword]
    data.NumberOfFrames = 4

    shared = Dataset()
    shared.PixelMeasuresSequence = sequence(PixelSpacing=[4.0, 3.0])
    shared.PlaneOrientationSequence = sequence(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    data.SharedFunctionalGroupsSequence = Sequence([shared])
    data.PerFrameFunctionalGroupsSequence = Sequence()
    for index in range(4):
        each = Dataset()
        each.PlanePositionSequence = sequence(ImagePositionPatient=[-20.0, -30.0, 115.0 - 5 * index])
        each.PixelValueTransformationSequence = sequence(
            RescaleSlope=0.001 * (index + 1), RescaleIntercept=0.0
        )
        data.PerFrameFunctionalGroupsSequence.append(each)
    return data


def sequence(**elements: Any) -> Sequence:
    """A sequence of one item."""
    inner = Dataset()
    for keyword, value in elements.items():
        setattr(inner, keyword, value)
    return Sequence([inner])


def value_map(
    unit: str, slope: float | None, first: int | None = None, last: int | None = None, intercept: float = 0.0
) -> Dataset:
    """One item of RealWorldValueMappingSequence."""
    item = Dataset()
    item.MeasurementUnitsCodeSequence = Sequence([code(unit, "UCUM", unit)])
    for keyword, value in (
        ("Slope", slope),
        ("Intercept", intercept),
        ("FirstValueMapped", first),
        ("LastValueMapped", last),
    ):
        if value is not None:
            setattr(item, f"RealWorldValue{keyword}", value)
    return item


def enhanced(
    maps: Iterable[Dataset], changes: dict[str, Any] | None = None, dose: dict[str, Any] | None = None
) -> Dataset:
    """An enhanced PET of four frames, decay corrected to 11:00, whose values are told by maps."""
    without = dict.fromkeys(("Units", "DecayCorrection", "CorrectedImage"))
    said = {
        "AttenuationCorrected": "YES",
        "DecayCorrected": "YES",
        "DecayCorrectionDateTime": "20250102110000",
    }
    data = frames({**without, "SOPClassUID": "1.2.840.10008.5.1.4.1.1.130", **said, **(changes or {})}, dose)
    data.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence = Sequence(maps)
    return data


def write_rtstruct(
    path: Path, rois: dict[str, list[np.ndarray]], frame: str = "1.2.3.4", images: Iterable[str] = ()
) -> Path:
    """An RTSTRUCT with closed contours (n, 3) in mm per ROI name."""
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.481.3", generate_uid()
    data.Modality, data.PatientName = "RTSTRUCT", "PHANTOM^ONE"
    names, contours = [], []
    for number, (name, polygons) in enumerate(rois.items(), 1):
        item = Dataset()
        item.ROINumber, item.ROIName, item.ReferencedFrameOfReferenceUID = number, name, frame
        names.append(item)
        drawn = Dataset()
        drawn.ReferencedROINumber = number
        drawn.ContourSequence = Sequence()
        for polygon in polygons:
            contour = Dataset()
            contour.ContourGeometricType = "CLOSED_PLANAR"
            contour.NumberOfContourPoints = len(polygon)
            contour.ContourData = [f"{v:.3f}" for v in np.ravel(polygon)]
            if images:
                contour.ContourImageSequence = Sequence()
                for image in images:
                    reference = Dataset()
                    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = CT_CLASS, image
                    contour.ContourImageSequence.append(reference)
            drawn.ContourSequence.append(contour)
        contours.append(drawn)
    data.StructureSetROISequence, data.ROIContourSequence = Sequence(names), Sequence(contours)
    return save(data, path)


def circle(x: float, y: float, z: float, radius: float, points: int = 360) -> np.ndarray:
    """A circle as contour (n, 3) in mm."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.column_stack([x + radius * np.cos(angle), y + radius * np.sin(angle), np.full(points, z)])
