"""Which regions of a mask file are meant, and what a reader of DICOM masks gives."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import SimpleITK as sitk

from promet.core.errors import DataError, UsageError


@dataclass
class Contoured:
    """What a DICOM mask file gives before it meets the PET grid.

    Attributes:
        image: 0/1 on its own grid.
        frame: its FrameOfReferenceUID, or None.
        instances: SOPInstanceUIDs it was drawn on.
        patient: its PatientID, compared and never shown.
    """

    image: sitk.Image
    frame: str | None
    instances: set[str] = field(default_factory=set)
    patient: str = ""


class Chooser:
    """A test of (number, name) made from ``roi``, and the choice among all names of a file."""

    def __init__(self, roi: str) -> None:
        self.name = roi.strip()
        match = re.fullmatch(r"label=(\d+|any)", self.name)
        self.label = match[1] if match else ""
        try:
            self.pattern = re.compile(roi)
        except re.error:
            raise UsageError(
                "E_CONFIG_VALUE", "An roi setting is no valid regular expression", "e.g. (?i)prostate"
            ) from None

    def __call__(self, number: int, name: str) -> bool:
        if self.label:
            return self.label == "any" or number == int(self.label)
        return name.strip() == self.name or self.pattern.search(name) is not None

    def pick(self, names: dict[int, str]) -> set[int]:
        """Numbers of what fits; a name that is exactly ``roi`` wins over longer ones that contain it."""
        exact = {number for number, name in names.items() if not self.label and name.strip() == self.name}
        return exact or {number for number, name in names.items() if self(number, name)}


def missing(count: int, kind: str) -> DataError:
    """No ROI fits; the names of the others stay in the file."""
    return DataError(
        "E_MASK_ROI_MISSING",
        f"None of the {count} {kind} of the mask file has a name that fits the roi setting",
        "one that fits",
        "Set imaging.segment.prostate_roi or lesions_roi to fit your names",
    )
