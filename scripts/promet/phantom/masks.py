"""Writes the masks of a synthetic patient in the forms users have: NIfTI on the PET or CT grid, SEG, RTSTRUCT."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom import dcmwrite
from pydicom.dataset import Dataset
from pydicom.uid import RTStructureSetStorage

from promet.core.errors import UsageError
from promet.phantom import body, series
from promet.phantom.truth import Truth

Headers = list[Dataset]
DECOY = "Bladder"  # a structure nobody asks for
COLOURS = {"Prostate": (60, 120, 240), "Lesions": (240, 60, 60), DECOY: (240, 220, 60)}


def write_masks(truth: Truth, grids: body.Grids, pet: Headers, ct: Headers, folder: Path) -> dict[str, Path]:
    """Write the prostate, and the lesions if the patient has a reader's map of them.

    Args:
        truth: the patient; ``prostate_form`` and ``lesion_form`` say how.
        grids: PET and CT grid.
        pet, ct: headers of the written series from feet to head.
        folder: the patient's DICOM folder.

    Returns:
        ``prostate`` and, if there is one, ``lesions`` -> file. SEG and RTSTRUCT hold both (and a decoy) in one file.
    """
    names = ["Prostate", *(["Lesions"] if truth.lesion_form else [])]
    if truth.prostate_form.startswith("nifti"):
        grid = grids.pet if truth.prostate_form == "nifti-pet" else grids.ct
        paths = [folder / "NIFTI" / f"{name.lower()}.nii.gz" for name in names]
        for name, path in zip(names, paths, strict=True):
            _write_nifti(truth, _field(truth, grid, name) >= 0.5, grid, path)
    elif truth.prostate_form in ("seg", "seg-pet", "seg-ct"):
        on_pet = truth.prostate_form == "seg-pet" or (
            truth.prostate_form == "seg" and truth.index // 4 % 2 == 1
        )
        path = folder / "SEG" / "seg.dcm"
        _write_seg(truth, [*names, DECOY], grids.pet if on_pet else grids.ct, pet if on_pet else ct, path)
        paths = [path] * len(names)
    elif truth.prostate_form == "rtstruct":
        path = folder / "RTSTRUCT" / "rs.dcm"
        _write_rtstruct(truth, [DECOY, *names], grids.ct, ct, path)
        paths = [path] * len(names)
    else:
        raise UsageError("E_PHANTOM_FORM", f"Unknown form of mask {truth.prostate_form}")
    return {name.lower(): path for name, path in zip(names, paths, strict=True)}


def _field(truth: Truth, grid: body.Grid, name: str) -> np.ndarray:
    """Occupancy (z, y, x) of a structure, 0 to 1; 0.5 is its surface."""
    if name == DECOY:
        return body.bladder_occupancy(truth, grid)
    gland = body.gland_occupancy(truth, grid)
    return gland if name == "Prostate" else body.union(gland, body.lesion_occupancies(truth, grid))


def _write_nifti(truth: Truth, mask: np.ndarray, grid: body.Grid, path: Path) -> None:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing([float(s) for s in grid.spacing[::-1]])
    image.SetOrigin([float(c) for c in series.origin(truth, grid)])
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path), useCompression=True)


def _write_seg(truth: Truth, names: list[str], grid: body.Grid, source: Headers, path: Path) -> None:
    from highdicom.seg import (
        SegmentAlgorithmTypeValues,
        Segmentation,
        SegmentationTypeValues,
        SegmentDescription,
    )
    from pydicom.sr.codedict import codes

    kinds = {
        "Prostate": (codes.SCT.Organ, codes.SCT.Prostate),
        "Lesions": (codes.SCT.MorphologicallyAbnormalStructure, codes.SCT.Lesion),
        DECOY: (codes.SCT.Organ, codes.SCT.Bladder),
    }
    used = [name for name in names if (_field(truth, grid, name) >= 0.5).any()]
    segments = [
        SegmentDescription(i + 1, name, *kinds[name], algorithm_type=SegmentAlgorithmTypeValues.MANUAL)
        for i, name in enumerate(used)
    ]
    masks = np.stack([_field(truth, grid, name) >= 0.5 for name in used], axis=-1)
    seg = Segmentation(
        source_images=source,
        pixel_array=masks.astype(np.uint8),
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=segments,
        series_instance_uid=series.uid(truth, "SEG"),
        series_number=3,
        sop_instance_uid=series.uid(truth, "SEG", 0),
        instance_number=1,
        manufacturer="Phantom",
        manufacturer_model_name="Phantom",
        software_versions="1",
        device_serial_number=series.MARKER,
        content_creator_name=f"{series.MARKER}^CONTENT",
    )
    _freeze(seg, truth, "SEG")
    _save(seg, path)


def _freeze(dataset: Dataset, truth: Truth, purpose: str) -> None:
    """Replace the clock and the random UIDs that the library put in, so that the bytes repeat."""
    series.identify(dataset, truth)
    moment = series.reference_time(truth)
    for element in dataset.iterall():
        if element.VR == "DA" and element.keyword not in ("PatientBirthDate", "StudyDate"):
            element.value = f"{moment:%Y%m%d}"
        elif element.VR == "TM" and element.keyword != "StudyTime":
            element.value = f"{moment:%H%M%S}"
        elif element.VR == "DT":
            element.value = f"{moment:%Y%m%d%H%M%S}"
        elif element.keyword == "DimensionOrganizationUID":
            element.value = series.uid(truth, purpose, "dimension")


def _save(dataset: Dataset, path: Path) -> None:
    dataset.file_meta = series.file_meta(dataset.SOPClassUID, dataset.SOPInstanceUID)
    path.parent.mkdir(parents=True, exist_ok=True)
    dcmwrite(path, dataset, enforce_file_format=True)


def _write_rtstruct(truth: Truth, names: list[str], grid: body.Grid, source: Headers, path: Path) -> None:
    moment = series.reference_time(truth)
    rs = Dataset()
    rs.SpecificCharacterSet = "ISO_IR 100"
    rs.SOPClassUID, rs.SOPInstanceUID = RTStructureSetStorage, series.uid(truth, "RTSTRUCT", 0)
    series.identify(rs, truth)
    rs.Modality, rs.SeriesInstanceUID, rs.SeriesNumber = "RTSTRUCT", series.uid(truth, "RTSTRUCT"), 4
    rs.SeriesDate = rs.StructureSetDate = rs.InstanceCreationDate = f"{moment:%Y%m%d}"
    rs.SeriesTime = rs.StructureSetTime = rs.InstanceCreationTime = f"{moment:%H%M%S}"
    rs.Manufacturer, rs.InstitutionName = "Phantom", f"{series.MARKER} Hospital"
    rs.OperatorsName, rs.ReviewerName = f"{series.MARKER}^OPERATOR", f"{series.MARKER}^REVIEWER"
    rs.InstanceNumber, rs.StructureSetLabel, rs.ApprovalStatus = 1, f"{series.MARKER}SET", "UNAPPROVED"
    frame = source[0].FrameOfReferenceUID
    rs.ReferencedFrameOfReferenceSequence = [_frame_of_reference(source)]
    rs.StructureSetROISequence = [
        _dataset(
            ROINumber=i, ReferencedFrameOfReferenceUID=frame, ROIName=name, ROIGenerationAlgorithm="MANUAL"
        )
        for i, name in enumerate(names, 1)
    ]
    rs.ROIContourSequence = [
        _dataset(
            ROIDisplayColor=list(COLOURS[name]),
            ContourSequence=_contours(_field(truth, grid, name), grid, source),
            ReferencedROINumber=i,
        )
        for i, name in enumerate(names, 1)
    ]
    rs.RTROIObservationsSequence = [
        _dataset(
            ObservationNumber=i,
            ReferencedROINumber=i,
            RTROIInterpretedType="ORGAN",
            ROIInterpreter=rs.ReviewerName,
        )
        for i in range(1, len(names) + 1)
    ]
    _save(rs, path)


def _frame_of_reference(source: Headers) -> Dataset:
    first = source[0]
    images = _dataset(
        SeriesInstanceUID=first.SeriesInstanceUID, ContourImageSequence=[_reference(i) for i in source]
    )
    study = _dataset(
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",  # detached study management, as the standard's RTSTRUCTs say
        ReferencedSOPInstanceUID=first.StudyInstanceUID,
        RTReferencedSeriesSequence=[images],
    )
    return _dataset(FrameOfReferenceUID=first.FrameOfReferenceUID, RTReferencedStudySequence=[study])


def _contours(field: np.ndarray, grid: body.Grid, source: Headers) -> list[Dataset]:
    """Closed planar contours, in mm of the scanner, where the occupancy is 0.5 on each slice; holes are filled."""
    from scipy.ndimage import binary_fill_holes
    from skimage.measure import find_contours

    contours = []
    for k, plane in enumerate(field):
        if plane.max() < 0.5:
            continue
        filled = np.where(binary_fill_holes(plane >= 0.5) & (plane < 0.5), 1, plane)
        x0, y0, z0 = (float(v) for v in source[k].ImagePositionPatient)
        for line in find_contours(np.pad(filled, 1), 0.5):
            points = line[:-1] - 1  # the last repeats the first; the padding moved all by one
            if len(points) < 3:
                continue
            mm = [(x0 + c * grid.spacing[2], y0 + r * grid.spacing[1], z0) for r, c in points]
            contours.append(
                _dataset(
                    ContourImageSequence=[_reference(source[k])],
                    ContourGeometricType="CLOSED_PLANAR",
                    NumberOfContourPoints=len(mm),
                    ContourData=[f"{value:.3f}" for point in mm for value in point],
                )
            )
    return contours


def _reference(image: Dataset) -> Dataset:
    return _dataset(ReferencedSOPClassUID=image.SOPClassUID, ReferencedSOPInstanceUID=image.SOPInstanceUID)


def _dataset(**elements: object) -> Dataset:
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset
