"""Which regions of a mask file are meant, what a reader of DICOM masks gives, and several regions in one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import SimpleITK as sitk

from promet.core.errors import DataError, UsageError

# A label that a program made up because nobody gave one.
UNNAMED = re.compile(
    r"(?i)(segment(ation)?|seg|label|roi|region|structure|object|mask|unnamed|new)?[\W_]*\d*"
)
APART, ALIKE = (
    0.1,
    0.05,
)  # share of the smaller structure that two may overlap by; of the volume that they may differ by


@dataclass
class Contoured:
    """What a DICOM mask file gives before it meets the PET grid.

    Attributes:
        image: 0/1 on its own grid.
        frame: its FrameOfReferenceUID, or None.
        instances: SOPInstanceUIDs it was drawn on.
        listed: those are all of the series that the file names, since it does not say on which it was drawn.
        patient: its PatientID, compared and never shown.
    """

    image: sitk.Image
    frame: str | None
    instances: set[str] = field(default_factory=set)
    patient: str = ""
    listed: bool = False


class Chooser:
    """A test of (number, name) made from ``roi``, and the choice among all names of a file.

    Args:
        roi: regular expression; ``label=N``; ``label=any``.
        several: a name that only contains what is asked for is as good as one that is it (lesions are many).
    """

    def __init__(self, roi: str, several: bool = False) -> None:
        self.name, self.several = roi.strip(), several
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

    def pick(self, names: dict[int, str], told: list[str] | None = None) -> set[int]:
        """Numbers of what fits: names that are exactly ``roi``; else those that fit it from end to end; else in part."""
        fits = {number for number, name in names.items() if self(number, name)}
        best = fits
        if not self.label:
            same = {number for number in fits if names[number].strip() == self.name}
            full = {number for number in fits if self.pattern.fullmatch(names[number].strip())}
            best = same or (fits if self.several else full) or fits
        if told is not None and fits - best:
            told.append(
                f"{len(fits - best)} more fit in part and were not taken, since {len(best)} fit exactly"
            )
        return best


def says_nothing(label: str) -> bool:
    """A label like "Segment 1": what it is may stand elsewhere."""
    return UNNAMED.fullmatch(label.strip()) is not None


@dataclass
class Part:
    """One structure on the grid of its file: the box that holds it, and what of the box is it (z, y, x)."""

    box: tuple[slice, ...]
    inside: np.ndarray

    @classmethod
    def of(cls, volume: np.ndarray) -> Part:
        """Cut out of a whole volume."""
        box = []
        for axis in range(3):
            places = np.flatnonzero(volume.any(axis=tuple({0, 1, 2} - {axis})))
            box.append(slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 0))
        return cls(tuple(box), volume[tuple(box)].copy())

    def shared(self, other: Part) -> int:
        """Voxels that both hold."""
        pairs = list(zip(self.box, other.box, strict=True))
        low, high = [max(a.start, b.start) for a, b in pairs], [min(a.stop, b.stop) for a, b in pairs]
        if any(a >= b for a, b in zip(low, high, strict=True)):
            return 0
        mine, theirs = (
            part.inside[
                tuple(slice(a - s.start, b - s.start) for a, b, s in zip(low, high, part.box, strict=True))
            ]
            for part in (self, other)
        )
        return int(np.count_nonzero(mine & theirs))


def unite(
    parts: Iterable[Part], shape: tuple[int, ...], voxel_ml: float, told: list[str], ask: bool = True
) -> np.ndarray:
    """All structures that fit in one volume, bool (z, y, x).

    Raises:
        DataError: E_MASK_AMBIGUOUS when two overlap and differ in volume (unless not to ``ask``): a prostate and what was
            planned around it are two answers, not one.
    """
    parts = list(parts)
    volume = np.zeros(shape, bool)
    for j, part in enumerate(parts):
        for other in parts[:j]:
            both, sizes = part.shared(other), [np.count_nonzero(p.inside) for p in (other, part)]
            if not ask or both <= APART * min(sizes):
                continue
            said = f"overlap, of {sizes[0] * voxel_ml:.1f} and {sizes[1] * voxel_ml:.1f} ml"
            if abs(sizes[0] - sizes[1]) > ALIKE * max(sizes):
                raise DataError(
                    "E_MASK_AMBIGUOUS",
                    f"Two structures fit and {said}",
                    "one structure, or several beside each other",
                    "Set imaging.segment.prostate_roi or lesions_roi to the whole name of the right one, or to label=N",
                )
            told.append(f"Two structures that fit {said}")
        volume[part.box] |= part.inside
    return volume


def numbered(names: Iterable[tuple[int, str]]) -> dict[int, str]:
    """Names by number.

    Raises:
        DataError: E_MASK_AMBIGUOUS when two have the same number.
    """
    pairs = list(names)
    if len(dict(pairs)) < len(pairs):
        raise DataError(
            "E_MASK_AMBIGUOUS",
            "Two structures of the mask file have the same number",
            "a number for each",
            "Export it again",
        )
    return dict(pairs)


def missing(choose: Chooser, count: int, kind: str) -> DataError:
    """No ROI fits; the names of the others stay in the file."""
    return DataError(
        "E_MASK_ROI_MISSING",
        f"None of the {count} {kind} of the mask file has a name that fits {choose.name}",
        "one that fits",
        "Set imaging.segment.prostate_roi or lesions_roi to fit your names",
    )


def unusable(found: str) -> DataError:
    """A mask that marks something which cannot be used; an empty one is another matter."""
    return DataError(
        "E_MASK_UNUSABLE",
        f"The mask marks something, but {found}",
        "closed contours, voxels of 1, or shares of at least one half",
        "Draw or export it again; no lesion is an empty mask",
    )
