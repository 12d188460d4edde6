"""The images around a mask: which were it drawn on, whose are they, in which frame of reference, how far apart are they?"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydicom import dcmread

from promet.core.errors import DataError
from promet.imaging.dicom import files as dicom
from promet.imaging.dicom.files import Header
from promet.imaging.masks.roi import Contoured

HEADERS = [
    "SOPInstanceUID",
    "FrameOfReferenceUID",
    "Modality",
    "PatientID",
    "SeriesInstanceUID",
    "ImagePositionPatient",
]


@dataclass
class Scan:
    """One series: its frame of reference, its images (SOPInstanceUID), and their places (n, 3) in mm."""

    frame: str = ""
    modality: str = ""
    instances: set[str] = field(default_factory=set)
    places: list[tuple[float, ...]] = field(default_factory=list)

    def gap(self, normal: np.ndarray) -> float | None:
        """Distance of neighbouring images along ``normal``, mm."""
        gaps = steps(np.array(self.places).reshape(-1, 3) @ normal)
        return float(np.median(gaps)) if len(gaps) else None

    def covers(self, normal: np.ndarray, depths: np.ndarray) -> bool:
        """Whether an image lies at each of the ``depths`` along ``normal``."""
        planes, slack = np.array(self.places) @ normal, 0.1 * (self.gap(normal) or 0)
        return all(np.abs(planes - depth).min() < slack for depth in depths)


def steps(depths: np.ndarray) -> np.ndarray:
    """Distances of neighbouring planes in mm; what lies closer than 0.3 mm is one plane."""
    found = np.diff(np.sort(depths))
    return found[found > 0.3]


class Images:
    """The DICOM images of a source; empty for anything else.

    Attributes:
        scans: its series.
        instances, frames, patients: SOPInstanceUIDs, FrameOfReferenceUIDs, PatientIDs.
    """

    def __init__(self, source: Path | None) -> None:
        series: dict[str, Scan] = defaultdict(Scan)
        self.patients: set[str] = set()
        for path in dicom.files_of(source) if source is not None and Path(source).exists() else ():
            if not dicom.is_dicom(path):
                continue
            try:
                data = dcmread(path, specific_tags=HEADERS, stop_before_pixels=True, force=True)
                modality = str(data.get("Modality", ""))
                place = (
                    Header(data).numbers("ImagePositionPatient", 3)
                    if modality in ("CT", "PT", "MR")
                    else None
                )
            except Exception as error:  # not this module's file to judge
                if isinstance(error, OSError) and error.errno:
                    raise
                continue
            if modality not in ("CT", "PT", "MR"):
                continue
            scan = series[str(data.get("SeriesInstanceUID", ""))]
            scan.modality, scan.frame = modality, str(data.get("FrameOfReferenceUID") or scan.frame)
            scan.instances.add(str(data.get("SOPInstanceUID", "")))
            if place:
                scan.places.append(place)
            if data.get("PatientID"):
                self.patients.add(str(data.PatientID))
        self.scans = list(series.values())
        if len(self.scans) > 2 and all(len(scan.instances) == 1 for scan in self.scans):
            self.scans = _merged(self.scans)
        self.instances = {uid for scan in self.scans for uid in scan.instances}
        self.frames = {scan.frame for scan in self.scans} - {""}


def _merged(scans: list[Scan]) -> list[Scan]:
    """One series for each modality and frame, where an anonymiser gave every image a series of its own."""
    merged: dict[tuple[str, str], Scan] = {}
    for scan in scans:
        into = merged.setdefault((scan.modality, scan.frame), Scan(scan.frame, scan.modality))
        into.instances |= scan.instances
        into.places += scan.places
    return list(merged.values())


class Around:
    """CT and PET of a mask, read when asked for.

    Args:
        ct, pet: sources, if any; only DICOM tells anything.
    """

    def __init__(self, ct: Path | None = None, pet: Path | None = None) -> None:
        self._sources, self._read = {"ct": ct, "pet": pet}, {}

    def __getitem__(self, name: str) -> Images:
        """``ct`` or ``pet``."""
        if name not in self._read:
            self._read[name] = Images(self._sources[name])
        return self._read[name]

    def gap(
        self, drawn: set[str], frame: str | None, normal: np.ndarray, depths: np.ndarray, ask: bool = True
    ) -> float | None:
        """Slice distance in mm of the images that a mask was drawn on; None when they are not known.

        Those it names; else those in its frame of reference that have an image at each of its planes; else, if to
        ``ask``, the CT in its frame.

        Args:
            drawn, frame: what the mask names.
            normal: of its planes; depths: of its planes along it.
            ask: refuse when it cannot be told which of several it is.

        Raises:
            DataError: E_MASK_THICKNESS.
        """
        scans = [scan for scan in (*self["ct"].scans, *self["pet"].scans) if scan.gap(normal)]
        fit = [scan for scan in scans if drawn & scan.instances]
        if not fit:
            here = [scan for scan in scans if not frame or scan.frame in ("", frame)]
            fit = [scan for scan in here if scan.covers(normal, depths)]
            if ask:  # contours are drawn on a CT unless they say otherwise
                there = [scan for scan in scans if scan.modality == "CT"]
                fit = (
                    [scan for scan in fit if scan in there] or fit or [s for s in there if s in here] or there
                )
        found = [scan.gap(normal) for scan in fit]
        if found and max(found) > 1.02 * min(found):
            if not ask:
                return None
            raise DataError(
                "E_MASK_THICKNESS",
                f"The mask was drawn on images {min(found):.3g} or {max(found):.3g} mm apart, and does not say on which",
                "one series",
                "Put the folder that holds only the right one into the column ct of the cohort table",
            )
        return found[0] if found else None


def check_frame(mask: Contoured, around: Around, told: list[str]) -> None:
    """The mask must lie in the frame of reference of the PET, or of the CT when that of the PET is not known.

    Raises:
        DataError: E_MASK_PATIENT, E_MASK_REFERENCE, E_MASK_FRAME.
    """
    ct, pet = around["ct"], around["pet"]
    patients, frames = pet.patients or ct.patients, pet.frames | ct.frames
    drawn = mask.instances & (ct.instances | pet.instances)
    if mask.patient and patients and mask.patient not in patients:
        if mask.frame not in frames and not drawn:
            raise DataError(
                "E_MASK_PATIENT",
                "The mask names another patient than the images, and nothing else ties it to them",
                "a mask of the same patient",
                "Check the pairing in the table",
            )
        told.append(
            "The mask names another PatientID than the images, but their frame of reference; that was believed"
        )
    whole = mask.instances <= ct.instances or mask.instances <= pet.instances or not ct.instances
    if drawn and not whole and not mask.listed and not mask.instances & pet.instances:
        raise DataError(
            "E_MASK_REFERENCE",
            f"{len(mask.instances - ct.instances)} of the {len(mask.instances)} images the mask was drawn on are not in the ct source",
            "the whole series it was drawn on",
            "Give the right CT, or none",
        )
    known = pet.frames or ct.frames
    if mask.frame is None or not known or mask.frame in known:
        return
    if mask.instances and mask.instances <= (pet.instances or ct.instances):
        told.append(
            "The mask names another frame of reference, but the very images it was drawn on; those were believed"
        )
        return
    raise DataError(
        "E_MASK_FRAME",
        f"The mask lies in another frame of reference than the {'PET' if pet.frames else 'CT'}",
        "a mask drawn in the same scan",
        "Register it first, or export it on the PET",
    )
