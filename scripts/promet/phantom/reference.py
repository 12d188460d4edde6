"""A phantom patient as small files without any identifier, the same bytes on every machine: the case a locked model is tried with."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, PositronEmissionTomographyImageStorage

from promet.phantom import body
from promet.phantom.truth import Truth, patient_truth

SEED, STEP = 20, 0.01  # the stored integers are hundredths of an SUV: no rounding of a machine reaches them
WEIGHT_KG, DOSE_BQ, HALF_LIFE_S = 80.0, 3e8, 6586.2
DAY = "20000101"
FILES = {"pet": "PT", "prostate": "prostate.nii", "lesions": "lesions.nii"}


def patient() -> Truth:
    """The first development patient of the seed with a lesion."""
    candidates = (patient_truth(SEED, index, "development", 1.0) for index in range(50))
    return next(truth for truth in candidates if truth.lesions and truth.visible)


def write(folder: Path, tracer: str) -> dict[str, Path]:
    """Write the PET as DICOM (14 slices of 24 x 24) and two masks into ``folder``.

    Args:
        tracer: what the header calls it; '' leaves it out.

    Returns:
        Source -> path: pet, prostate, lesions.
    """
    truth, grid = patient(), body.grids(small=True).pet
    suv, _, gland, lesions = body.pet_suv(truth, small=True)
    paths = {name: folder / file for name, file in FILES.items()}
    paths["pet"].mkdir(parents=True, exist_ok=True)
    origin = np.round(grid.first[::-1], 3)
    for k, plane in enumerate(np.clip(np.rint(suv / STEP), 0, 32767).astype("<i2")):
        image = _slice(k, plane, origin, grid, tracer)
        dcmwrite(paths["pet"] / f"{k + 1:02d}.dcm", image, enforce_file_format=True)
    for name, mask in (("prostate", gland), ("lesions", lesions)):
        volume = sitk.GetImageFromArray(mask.astype(np.uint8))
        volume.SetSpacing([float(step) for step in grid.spacing[::-1]])
        volume.SetOrigin([float(place) for place in origin])
        sitk.WriteImage(volume, str(paths[name]))
    return paths


def _uid(*purpose: object) -> str:
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, ' '.join(map(str, purpose))).int}"


def _slice(k: int, plane: np.ndarray, origin: np.ndarray, grid: body.Grid, tracer: str) -> Dataset:
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = PositronEmissionTomographyImageStorage, _uid("reference", k)
    image.Modality, image.ImageType = "PT", ["ORIGINAL", "PRIMARY"]
    image.PatientName = image.PatientID = "REFERENCE"
    image.PatientSex, image.PatientWeight, image.PatientSize = "M", f"{WEIGHT_KG:g}", "1.8"
    image.StudyInstanceUID, image.SeriesInstanceUID = _uid("study"), _uid("series")
    image.FrameOfReferenceUID = _uid("frame")
    image.StudyDate = image.SeriesDate = image.AcquisitionDate = image.ContentDate = DAY
    image.StudyTime = image.SeriesTime = image.AcquisitionTime = image.ContentTime = "110000"
    image.SeriesNumber, image.InstanceNumber = 1, k + 1
    image.CorrectedImage = ["NORM", "DTIM", "ATTN", "SCAT", "DECY", "RAN"]
    image.Units, image.DecayCorrection, image.SeriesType = "BQML", "START", ["STATIC", "IMAGE"]
    image.FrameReferenceTime, image.ActualFrameDuration, image.NumberOfSlices = "0", 180000, grid.shape[0]
    drug, nuclide = Dataset(), Dataset()
    nuclide.CodeValue, nuclide.CodingSchemeDesignator, nuclide.CodeMeaning = "C-111A1", "SRT", "^18^Fluorine"
    if tracer:
        drug.Radiopharmaceutical = tracer
    drug.RadiopharmaceuticalStartDateTime = f"{DAY}100000"
    drug.RadiopharmaceuticalStartTime = "100000"
    drug.RadionuclideTotalDose, drug.RadionuclideHalfLife = f"{DOSE_BQ:g}", f"{HALF_LIFE_S:g}"
    drug.RadionuclideCodeSequence = [nuclide]
    image.RadiopharmaceuticalInformationSequence = [drug]
    z, y, x = grid.spacing
    image.ImagePositionPatient = [f"{value:g}" for value in origin + np.array([0, 0, k * z])]
    image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    image.PixelSpacing, image.SliceThickness = [f"{y:g}", f"{x:g}"], f"{z:g}"
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.Rows, image.Columns = plane.shape
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 1
    left = DOSE_BQ * 2 ** (-3600 / HALF_LIFE_S)  # one hour after the injection
    image.RescaleSlope, image.RescaleIntercept = f"{STEP * left / (WEIGHT_KG * 1000):.8g}", "0"
    image.PixelData = plane.tobytes()
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID, meta.ImplementationVersionName = _uid("implementation"), "PROMET"
    image.file_meta = meta
    return image
