"""The one PET series of a messy folder."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from promet.core.errors import DataError
from promet.core.words import count
from promet.imaging.dicom import maps, suv
from promet.imaging.dicom.files import (
    Frame,
    Header,
    files_of,
    frames_of,
    is_dicom,
    is_stump,
    place,
    read_header,
)
from promet.imaging.dicom.whole import is_whole

CAPTURE = "1.2.840.10008.5.1.4.1.1.7"  # secondary capture classes begin like this
PET_CLASSES = {f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("128", "128.1", "130")}
DIRECTORY = "1.2.840.10008.1.3.10"
PROJECTIONS = {
    "MIP",
    "PROJECTION IMAGE",
    "PROJECTION",
    "REPROJECTION",
    "MPR",
    "LOCALIZER",
    "SCREEN SAVE",
    "SCREEN_SAVE",
}
MODALITIES = {
    "CT",
    "MR",
    "NM",
    "RTSTRUCT",
    "SEG",
    "SR",
    "SC",
    "OT",
    "RTDOSE",
    "RTPLAN",
    "REG",
    "PR",
    "KO",
    "CR",
    "DX",
    "US",
    "RWV",
}


BEARING = (
    *suv.UNIFORM_TEXT, *suv.UNIFORM_NUMBER, "CorrectedImage", "RadiopharmaceuticalInformationSequence", "RescaleSlope",
    "RescaleIntercept", "AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime", "FrameReferenceTime", "ActualFrameDuration",
    "DecayFactor", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "NumberOfFrames",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
)  # fmt: skip
SCATTERED = ("PT", "CT", "MR")
CLOSE = 30.0  # mm; neighbours of one volume are not further apart


@dataclass
class Found:
    """The PET slices and what was left aside."""

    frames: list[Frame]
    audit: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def find_pet(source: Path) -> Found:
    """The single attenuation-corrected PET series of a folder (nested, with other things in it) or file.

    Raises:
        DataError: E_SOURCE_MISSING, E_PET_EMPTY (no file), E_PET_NO_DICOM, E_PET_MODALITY (no PET in it), E_PET_PROJECTION
            (only such), E_PET_AMBIGUOUS (several series left), E_PET_DEAD_LINK, E_PET_ZERO_BYTES, E_PET_BROKEN_FILE,
            E_PET_NO_PIXELS, E_PET_DUPLICATE_IDENTITY, E_PET_MIXED_PATIENTS, E_PET_SPLIT_SERIES; those of maps.py.
    """
    if not source.exists():
        raise DataError(
            "E_SOURCE_MISSING", "The pet source is not there", "a DICOM folder, a DICOM file or a NIfTI file"
        )
    datasets, files = _read(source)
    numbered = grouped(datasets)
    series = [(number, each) for number, all_of in enumerate(numbered, 1) if (each := pet_of(all_of))]
    if not series:
        kinds = Counter(_kind(str(d.Modality)) for d in datasets)
        listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        raise DataError(
            "E_PET_PROJECTION" if _kind("PT") in kinds else "E_PET_MODALITY",
            f"The pet source holds no PET image (files by Modality: {listed})",
            "Modality PT",
        )
    whose = {str(dataset.get("PatientID", "")) for _, each in series for dataset in each} - {""}
    if len(whose) > 1:
        raise DataError(
            "E_PET_MIXED_PATIENTS",
            f"The pet source holds PET images of {len(whose)} patients, by PatientID",
            "the images of one",
            "Take out what does not belong here, then run promet intake",
        )
    chosen = _one(narrow(series))
    if is_split(chosen):
        raise DataError(
            "E_PET_SPLIT_SERIES",
            f"Each of the {count(images_in(chosen), 'PET image')} has a SeriesInstanceUID of its own, as an anonymiser leaves it that makes a "
            "new one for every file: nothing says that they are one series",
            "one SeriesInstanceUID for the images of a series",
            "De-identify again so that what was equal stays equal",
        )
    found = Found([], {"files": files, "dicom_files": len(datasets), "pet_series": len(series)})
    if len(series) > 1:
        found.warnings.append(
            f"The pet source holds {len(series)} PET series; one was taken, promet imaging inspect says why."
        )
    for dataset in _without_copies(chosen, found, source):
        found.frames.extend(_enhanced(frame) for frame in frames_of(dataset))
    found.frames.sort(key=_where)  # whatever the names and numbers of the files
    _count(found)
    return found


def _read(source: Path) -> tuple[list[Dataset], int]:
    """The DICOM files of a source and the number of all; refused when one of them is not whole."""
    datasets, broken, files = [], [], 0
    kinds: set[tuple[Path, str]] = set()  # folder and suffix of the DICOM files
    empty: list[Path] = []
    for path in files_of(source):
        files += 1
        dataset = read_header(path)
        if dataset is not None and "Modality" in dataset and not _is_half(dataset):
            datasets.append(dataset)
            kinds.add((path.parent, path.suffix.lower()))
        elif dataset is None and is_hollow(path):
            empty.append(path)
        elif (
            (dataset is None and is_dicom(path))
            or _is_half(dataset)
            or is_cut(dataset)
            or (dataset is not None and not is_whole(path))
        ):
            broken.append(path)
    hollow = [
        path
        for path in empty
        if path.suffix.lower() in (".dcm", ".ima") or (path.parent, path.suffix.lower()) in kinds
    ]
    dead = [path for path in hollow if not path.exists()]
    for code, bad, what in (
        ("E_PET_DEAD_LINK", dead, "are links that lead nowhere"),
        ("E_PET_ZERO_BYTES", hollow, "are empty or end before they say what they are"),
        ("E_PET_BROKEN_FILE", broken, "are broken DICOM"),
    ):
        if bad:
            raise DataError(
                code,
                f"{len(bad)} of {files} files of the pet source {what}; the first is {place(min(bad), source)}",
                "whole files",
                "Copy again",
            )
    if not files:
        raise DataError("E_PET_EMPTY", "The pet source holds no file", "a PET series")
    if not datasets:
        raise DataError(
            "E_PET_NO_DICOM", f"None of the {files} files of the pet source is a DICOM image", "a PET series"
        )
    return datasets, files


def _kind(modality: str) -> str:
    if modality == "PT":
        return "PT that are projections, captures or burned in"
    return modality if modality in MODALITIES else "other"


def is_hollow(path: Path) -> bool:
    """A file that is empty, or cut so early that it says nothing, or a dead link; hidden ones, as archives leave them, aside."""
    return not path.name.startswith(".") and (not path.exists() or is_stump(path))


def is_cut(dataset: Dataset | None) -> bool:
    """A DICOM file that ends before it says what it is, and is no directory of a disc."""
    if dataset is None or getattr(dataset, "preamble", None) is None:
        return False
    return dataset.file_meta.get("MediaStorageSOPClassUID") != DIRECTORY


def _is_half(dataset: Dataset | None) -> bool:
    """A PET image that ends before it says how large it is: left out, nobody would miss it at the end of a series."""
    return (
        dataset is not None and str(dataset.get("SOPClassUID", "")) in PET_CLASSES and "Rows" not in dataset
    )


def _is_pet(head: Header) -> bool:
    if head.text("Modality") != "PT" or (head.text("SOPClassUID") or "").startswith(CAPTURE):
        return False
    kinds = {kind.upper() for kind in (*head.texts("ImageType"), *head.texts("SeriesType"))}
    if (head.number("SamplesPerPixel") or 1) != 1:
        return False  # a colour picture of a PET
    return "Rows" in head.layers[0] and not kinds & PROJECTIONS and head.text("BurnedInAnnotation") != "YES"


def grouped(datasets: list[Dataset]) -> list[list[Dataset]]:
    """The files of each series, series in an order that depends on nothing but their content.

    Images of which each has a SeriesInstanceUID of its own, but that lie side by side, are one (see ``is_split``).
    """
    series: dict[str, list[Dataset]] = defaultdict(list)
    for dataset in datasets:
        series[str(dataset.get("SeriesInstanceUID", ""))].append(dataset)
    alike: dict[tuple, list[str]] = defaultdict(list)
    for uid, files in series.items():
        if images_in(files) == 1 and (kind := _kind_of_slice(files[0])) is not None:
            alike[kind].append(uid)
    for uids in alike.values():
        if _side_by_side([series[uid][0] for uid in uids]):
            first = min(uids)
            series[first] = [file for uid in sorted(uids) for file in series.pop(uid)]
    return [
        series[uid]
        for uid in sorted(series, key=lambda uid: (min(str(d.Modality) for d in series[uid]), uid))
    ]


def is_split(series: list[Dataset]) -> bool:
    """Whether each image has a SeriesInstanceUID of its own, as an anonymiser that makes a new one for every file leaves it."""
    return len({str(dataset.get("SeriesInstanceUID", "")) for dataset in series}) > 1


def _kind_of_slice(dataset: Dataset) -> tuple | None:
    """What slices of one volume have in common; ``None`` for what is no slice."""
    if str(dataset.Modality) not in SCATTERED or int(dataset.get("NumberOfFrames") or 1) > 1:
        return None
    head = Header(dataset)
    try:
        turn, step = head.numbers("ImageOrientationPatient", 6), head.numbers("PixelSpacing", 2)
        size = head.numbers("Rows"), head.numbers("Columns")
        if turn is None or step is None or head.numbers("ImagePositionPatient", 3) is None:
            return None
    except DataError:
        return None
    looks = [head.texts(keyword) for keyword in ("ImageType", "SeriesType", "CorrectedImage", "Units")]
    return (
        str(dataset.Modality),
        size,
        tuple(np.round(turn, 3).tolist()),
        tuple(np.round(step, 3).tolist()),
        *looks,
    )


def _side_by_side(slices: list[Dataset]) -> bool:
    """At least three slices along one line, none far from the next."""
    places = np.array([Header(dataset).numbers("ImagePositionPatient", 3) for dataset in slices])
    if len(places) < 3:
        return False
    turn = np.array(Header(slices[0]).numbers("ImageOrientationPatient", 6))
    along = np.sort(places @ np.cross(turn[:3], turn[3:]))
    return bool((np.diff(along) < CLOSE).all())


def pet_of(series: list[Dataset]) -> list[Dataset]:
    """The files of a series that are PET images, not projections or captures."""
    return [dataset for dataset in series if _is_pet(Header(dataset))]


def is_corrected(dataset: Dataset) -> bool:
    """True when the header says that attenuation was corrected."""
    head = Header(dataset)
    return "ATTN" in head.texts("CorrectedImage") or head.text("AttenuationCorrected") == "YES"


def images_in(series: list[Dataset]) -> int:
    """Number of slices, frames of multi-frame files counted, copies not."""
    each = {
        str(dataset.get("SOPInstanceUID", place)): int(Header(dataset).number("NumberOfFrames") or 1)
        for place, dataset in enumerate(series)
    }
    return sum(each.values())


PREFERENCES = (
    ("not attenuation corrected", lambda each: any(map(is_corrected, each))),
    ("not more than two images", lambda each: images_in(each) > 2),
    (
        "derived from another series",
        lambda each: not any("DERIVED" in Header(one).texts("ImageType") for one in each),
    ),
)


def narrow(
    series: list[tuple[int, list[Dataset]]], dropped: dict[int, str] | None = None
) -> list[tuple[int, list[Dataset]]]:
    """Keep, one after the other, what is corrected, more than a scout, and original; stop at one.

    Args:
        series: (number, files) of PET series.
        dropped: number -> why, filled here.
    """
    for why, preferred in PREFERENCES:
        if len(series) > 1:
            kept = [pair for pair in series if preferred(pair[1])] or series
            for number, _ in series:
                if dropped is not None and number not in {n for n, _ in kept}:
                    dropped[number] = why
            series = kept
    return series


def _one(series: list[tuple[int, list[Dataset]]]) -> list[Dataset]:
    if len(series) > 1:
        listed = "; ".join(f"series {number}: {describe(each)}" for number, each in series)
        raise DataError(
            "E_PET_AMBIGUOUS",
            f"The pet source holds {len(series)} PET series that could be meant ({listed})",
            "one series",
            "Put the folder that holds only the right one (or its file, if it is one) into the column pet of the cohort "
            "table; promet imaging inspect lists them",
        )
    return pet_of(series[0][1])


def describe(series: list[Dataset]) -> str:
    """Images, matrix and pixel size of a series: nothing that names a person, a place or a day."""
    head = Header(series[0])
    text = count(images_in(series), "image")
    try:
        rows, columns, step = head.number("Rows"), head.number("Columns"), head.numbers("PixelSpacing", 2)
    except DataError:
        return text
    if rows and columns:
        text += f" of {columns:.0f} x {rows:.0f}"
    return text + (f", {step[1]:g} x {step[0]:g} mm" if step else "")


def _without_copies(datasets: list[Dataset], found: Found, source: Path) -> list[Dataset]:
    """Drop files that are copies of another; two different files with one identity are refused."""
    kept: dict[str, Dataset] = {}
    copies = 0
    for dataset in datasets:
        if "PixelData" not in dataset:
            raise DataError(
                "E_PET_NO_PIXELS",
                f"A file of the PET series has no pixels: {place(Path(dataset.filename), source)}",
                "whole DICOM files",
                "Copy again",
            )
        identity = str(dataset.get("SOPInstanceUID", "")) or f"file {len(kept)}"
        if identity not in kept:
            kept[identity] = dataset
            continue
        other = kept[identity]
        if _bearing(other) != _bearing(dataset) or other.PixelData != dataset.PixelData:
            raise DataError(
                "E_PET_DUPLICATE_IDENTITY",
                "Two different files claim to be the same slice",
                "one file per slice",
            )
        copies += 1
    if copies:
        found.audit["copies"] = copies
        found.warnings.append(
            f"{count(copies, 'file')} left out as {'a copy' if copies == 1 else 'copies'} of others"
        )
    return list(kept.values())


def _bearing(dataset: Dataset) -> list[Any]:
    """What of a file bears on the volume, but for its pixels."""
    head = Header(dataset)
    factors = [head.private(0x7053, "Philips PET Private Group", element) for element in (0x00, 0x09)]
    return [*(dataset.get(keyword) for keyword in BEARING), *factors]


def _enhanced(frame: Frame) -> Frame:
    """Give an enhanced PET frame the elements of a classic one."""
    head = frame.header
    layer = Dataset()
    mapped = maps.read(head) if head.raw("Units") is None else None
    if mapped:
        unit, pieces = mapped
        layer.Units, layer.RescaleSlope, layer.RescaleIntercept = unit.units, pieces[0].slope, 0.0
        if unit.suv_type:
            layer.SUVType = unit.suv_type
        frame.pieces = tuple(pieces)
    if head.raw("DecayCorrection") is None and head.text("DecayCorrected") in ("YES", "NO"):
        layer.DecayCorrection = "START" if head.text("DecayCorrected") == "YES" else "NONE"
    if head.raw("CorrectedImage") is None and head.text("AttenuationCorrected") == "YES":
        layer.CorrectedImage = ["ATTN", "DECY"] if head.text("DecayCorrected") == "YES" else ["ATTN", "NORM"]
    if head.raw("ActualFrameDuration") is None and head.raw("FrameAcquisitionDuration") is not None:
        layer.ActualFrameDuration = round(head.number("FrameAcquisitionDuration"))
    if len(layer):
        frame.header = Header(layer, *head.layers)
    return frame


def _where(frame: Frame) -> tuple[float, ...]:
    """The place of a frame; one that cannot be read is refused when the slices are stacked."""
    try:
        return frame.header.numbers("ImagePositionPatient", 3) or ()
    except DataError:
        return ()


def _count(found: Found) -> None:
    expected = max((frame.header.number("NumberOfSlices") or 0 for frame in found.frames), default=0)
    if expected and len(found.frames) < expected:
        found.audit["slices_announced"] = int(expected)
        found.warnings.append(
            f"The series announces {count(round(expected), 'slice')}, there: {len(found.frames)}. The volume may be cut"
        )
