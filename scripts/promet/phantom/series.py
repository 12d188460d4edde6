"""Writes a synthetic patient as DICOM: a PET series in Bq/ml and a CT series, with planted identifiers.

Every identifying field holds a value that can be searched for (``MARKER``, ``ID_MARKER``, ``UID_ROOT``, the planted
dates), so that a test can prove that none of them leaks. UIDs are hashes of seed, patient and purpose.
"""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    PositronEmissionTomographyImageStorage,
    generate_uid,
)

from promet.phantom.body import Grid
from promet.phantom.truth import HALF_LIFE_S, TRACER, Truth

MARKER = "ZZMARKER"
ID_MARKER = "ZZID"
UID_ROOT = "1.2.826.0.1.3680043.8.498.77350."
BIRTH_YEAR = 1931
FIRST_STUDY = datetime.date(2003, 1, 20)
BED_S = 180  # duration of one bed position
LATE_S = 1500  # how much later than the acquisition a post-processed series says it was made


def uid(truth: Truth, *purpose: object) -> UID:
    """A UID that depends on nothing but seed, patient and purpose."""
    return generate_uid(UID_ROOT, entropy_srcs=[str(part) for part in (truth.seed, truth.patient, *purpose)])


def birth_date(truth: Truth) -> datetime.date:
    """The planted birth date."""
    return datetime.date(BIRTH_YEAR, 1, 1) + datetime.timedelta(truth.number % 365)


def study_date(truth: Truth) -> datetime.date:
    """The planted date of injection; the scan of a midnight patient is one day later."""
    return FIRST_STUDY + datetime.timedelta(truth.acquisition.day)


def reference_time(truth: Truth) -> datetime.datetime:
    """The instant the PET is decay-corrected to: the start of its first bed."""
    night = truth.acquisition.timing.startswith("midnight")
    start = datetime.datetime.combine(study_date(truth), datetime.time()) + datetime.timedelta(
        days=int(night)
    )
    return start + datetime.timedelta(seconds=truth.acquisition.clock_s)


def suv_factor(truth: Truth) -> float:
    """SUVbw per Bq/ml: weight in g over the dose decayed to the reference time."""
    a = truth.acquisition
    return a.weight_kg * 1000 / (a.dose_bq * 2 ** (-a.uptake_s / HALF_LIFE_S))


def write_pet(truth: Truth, suv: np.ndarray, grid: Grid, folder: Path) -> list[Dataset]:
    """Write SUV (z, y, x) as a PET series; return its headers from feet to head.

    The file names are in random order, so that nobody can rely on them; each slice has its own rescale slope.
    """
    series = _pet_header(truth, grid)
    decay = np.log(2) / HALF_LIFE_S
    mean_s = np.log(decay * BED_S / (1 - np.exp(-decay * BED_S))) / decay  # when a bed has its mean activity
    reference = reference_time(truth)
    activity = suv / suv_factor(truth)
    slices = []
    for k, plane in enumerate(activity):
        slope = float(f"{max(float(plane.max()), 1e-3) / 32767:.8g}")
        bed_s = BED_S * (k >= grid.shape[0] // 2)
        acquired = reference + datetime.timedelta(seconds=bed_s)
        image = _slice(truth, series, grid, k, "PT")
        _when(image, "Acquisition", acquired)
        image.FrameReferenceTime = _ds(1000 * (bed_s + mean_s))
        image.ActualFrameDuration = 1000 * BED_S
        image.DecayFactor = _ds(float(np.exp(decay * (bed_s + mean_s))))
        image.ImageIndex = k + 1
        image.RescaleSlope, image.RescaleIntercept = _ds(slope), "0"
        _pixels(image, np.clip(np.rint(plane / slope), 0, 32767))
        slices.append(image)
    return _save(truth, slices, folder)


def write_ct(truth: Truth, hu: np.ndarray, grid: Grid, folder: Path) -> list[Dataset]:
    """Write HU (z, y, x) as a CT series; return its headers from feet to head."""
    series = _header(truth, "CT", CTImageStorage, 2)
    scan = reference_time(truth) - datetime.timedelta(minutes=4)
    _when(series, "Series", scan)
    series.SeriesDescription = f"{MARKER} CT"
    series.KVP, series.ConvolutionKernel = "120", "STANDARD"
    slices = []
    for k, plane in enumerate(hu):
        image = _slice(truth, series, grid, k, "CT")
        _when(image, "Acquisition", scan)
        image.AcquisitionNumber = 1
        image.RescaleSlope, image.RescaleIntercept, image.RescaleType = "1", "-1024", "HU"
        _pixels(image, np.rint(plane) + 1024)
        slices.append(image)
    return _save(truth, slices, folder)


def origin(truth: Truth, grid: Grid) -> np.ndarray:
    """Scanner coordinates (x, y, z) in mm of the first voxel of a grid."""
    return np.round(np.add(truth.anatomy.origin, grid.first)[::-1], 3)


def file_meta(storage: str, instance: str) -> FileMetaDataset:
    """File meta information that does not name the library's version."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(storage), UID(instance)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID, meta.ImplementationVersionName = UID(UID_ROOT + "1"), "PROMET_PHANTOM"
    return meta


def identify(image: Dataset, truth: Truth) -> None:
    """Plant the identifiers of patient and study."""
    image.PatientName = f"PHANTOM^{MARKER}{truth.number}"
    image.PatientID = f"{ID_MARKER}{truth.number}"
    image.OtherPatientIDs = f"{MARKER}OTHER{truth.number}"
    image.PatientBirthDate = f"{birth_date(truth):%Y%m%d}"
    image.PatientSex, image.PatientAge = "M", f"{truth.clinic['age']:03d}Y"
    image.PatientAddress = f"{MARKER} Street 1"
    image.PatientComments = f"{MARKER} comment"
    image.StudyInstanceUID = uid(truth, "study")
    image.StudyID, image.AccessionNumber = f"{MARKER}STU", f"{MARKER}ACC"
    image.StudyDescription = f"{MARKER} study"
    image.StudyDate, image.StudyTime = f"{study_date(truth):%Y%m%d}", "080000"
    image.ReferringPhysicianName = f"{MARKER}^REFERRING"


def planted_markers(
    development: int, metachronous: int, prospective: int, seed: int, effect: float = 1.0
) -> list[str]:
    """Every string that must not appear in a product: markers, UID root, birth and study dates in two spellings."""
    from promet.phantom.truth import patient_truth

    found = {MARKER, ID_MARKER, UID_ROOT}
    for role, count in (("development", development), ("metachronous", metachronous), ("", prospective)):
        for truth in (patient_truth(seed, index, role, effect) for index in range(count)):
            for date in (birth_date(truth), study_date(truth), reference_time(truth)):
                found |= {f"{date:%Y%m%d}", f"{date:%Y-%m-%d}"}
    return sorted(found)


def _header(truth: Truth, modality: str, storage: str, number: int) -> Dataset:
    image = Dataset()
    image.SpecificCharacterSet = "ISO_IR 100"
    image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    image.SOPClassUID = storage
    identify(image, truth)
    image.InstitutionName, image.InstitutionAddress = f"{MARKER} Hospital", f"{MARKER} City"
    image.PerformingPhysicianName = image.OperatorsName = f"{MARKER}^PERFORMING"
    image.StationName, image.DeviceSerialNumber = f"{MARKER}STA", f"{MARKER}{truth.site[-1]}"
    image.ProtocolName = f"{MARKER} protocol"
    image.ImageComments = f"{MARKER} image"
    image.Manufacturer, image.ManufacturerModelName = "Phantom", f"Scanner of {truth.site}"
    image.SoftwareVersions = "1"
    image.Modality = modality
    image.SeriesInstanceUID, image.SeriesNumber = uid(truth, modality), number
    image.FrameOfReferenceUID, image.PositionReferenceIndicator = uid(truth, "frame of reference"), ""
    image.PatientPosition = "HFS"
    image.PatientWeight, image.PatientSize = _ds(truth.acquisition.weight_kg), _ds(truth.acquisition.height_m)
    image.BurnedInAnnotation = "NO"
    return image


def _pet_header(truth: Truth, grid: Grid) -> Dataset:
    a, reference = truth.acquisition, reference_time(truth)
    series = _header(truth, "PT", PositronEmissionTomographyImageStorage, 1)
    late = datetime.timedelta(seconds=LATE_S) if a.timing == "late-series" else datetime.timedelta()
    _when(series, "Series", reference + late)
    series.SeriesDescription = f"{MARKER} PET"
    series.SeriesType = ["WHOLE BODY", "IMAGE"]
    series.Units, series.CountsSource = "BQML", "EMISSION"
    series.CorrectedImage = ["NORM", "DTIM", "ATTN", "SCAT", "DECY", "RAN"]
    series.DecayCorrection = "START"
    series.AttenuationCorrectionMethod, series.ScatterCorrectionMethod = "measured, CT", "model"
    series.ReconstructionMethod, series.RandomsCorrectionMethod = "PHANTOM", "DLYD"
    series.CollimatorType, series.NumberOfSlices = "NONE", grid.shape[0]
    start = reference - datetime.timedelta(seconds=a.uptake_s)
    drug, nuclide = Dataset(), Dataset()
    nuclide.CodeValue, nuclide.CodingSchemeDesignator, nuclide.CodeMeaning = "C-111A1", "SRT", "^18^Fluorine"
    drug.Radiopharmaceutical = TRACER
    drug.RadiopharmaceuticalStartTime = f"{start:%H%M%S}.00"
    if not a.timing.endswith("time-only"):
        drug.RadiopharmaceuticalStartDateTime = f"{start:%Y%m%d%H%M%S}.00"
    drug.RadionuclideTotalDose, drug.RadionuclideHalfLife = _ds(a.dose_bq), _ds(HALF_LIFE_S)
    drug.RadionuclidePositronFraction = "0.97"
    drug.RadionuclideCodeSequence = [nuclide]
    series.RadiopharmaceuticalInformationSequence = [drug]
    return series


def _slice(truth: Truth, series: Dataset, grid: Grid, k: int, purpose: str) -> Dataset:
    image = Dataset()
    image.update(series)
    image.SOPInstanceUID, image.InstanceNumber = uid(truth, purpose, k), k + 1
    x, y, z = origin(truth, grid) + np.array([0, 0, k * grid.spacing[0]])
    image.ImagePositionPatient = [_ds(x), _ds(y), _ds(z)]
    image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    image.SliceLocation = _ds(z)
    image.SliceThickness = _ds(grid.spacing[0])
    image.PixelSpacing = [_ds(grid.spacing[1]), _ds(grid.spacing[2])]
    image.ContentDate, image.ContentTime = series.SeriesDate, series.SeriesTime
    return image


def _when(image: Dataset, what: str, moment: datetime.datetime) -> None:
    setattr(image, f"{what}Date", f"{moment:%Y%m%d}")
    setattr(image, f"{what}Time", f"{moment:%H%M%S}.00")


def _pixels(image: Dataset, stored: np.ndarray) -> None:
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.Rows, image.Columns = stored.shape
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 1
    image.PixelData = stored.astype("<i2").tobytes()


def _save(truth: Truth, slices: list[Dataset], folder: Path) -> list[Dataset]:
    folder.mkdir(parents=True)
    names = truth.stream("files").permutation(len(slices))
    for image, name in zip(slices, names, strict=True):
        image.file_meta = file_meta(image.SOPClassUID, image.SOPInstanceUID)
        dcmwrite(folder / f"IM{name + 1:04d}.dcm", image, enforce_file_format=True)
    return slices


def _ds(value: float) -> str:
    """A decimal string of at most 16 characters."""
    return f"{value:.10g}"
