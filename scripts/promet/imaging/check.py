"""A look into the sources of a cohort table before anything is made.

Of DICOM images the headers are read, which takes a moment per patient: what lies in their pixels is found when the stages
run. Masks and volumes are read whole and brought to the grid of the PET: nearly all that is wrong with them is inside.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk

from promet.core.defaults import TOTALSEGMENTATOR
from promet.core.errors import DataError
from promet.imaging import convert
from promet.imaging.ct import choose, convert_ct
from promet.imaging.dicom import files as dicom
from promet.imaging.masks import read as masks
from promet.imaging.segment import how, limit
from promet.imaging.settings import Imaging
from promet.study.sources import source
from promet.study.table import read
from promet.workflow.buckets import ImagePins


@dataclass(frozen=True)
class ImageFault:
    """One source that its stage will refuse: pseudonym, column of the table, code and sentence of the refusal."""

    patient: str
    column: str
    code: str
    sentence: str


def check_images(table: Path, settings: Imaging) -> Iterator[ImageFault]:
    """Every patient of a cohort table, one after the other; sources that are not there are for ``promet check``.

    Raises:
        UsageError: the table cannot be read.
    """
    dicom.quiet()
    for row in read(table):
        paths = {
            name: source(Path(table).parent, row[name])
            for name in ("pet", "ct", "prostate", "lesions")
            if row[name]
        }
        paths = {name: path for name, path in paths.items() if path.exists()}
        grid: sitk.Image | None = None
        found: dict[str, sitk.Image] = {}
        for name, path in paths.items():
            try:
                if name == "pet":
                    grid = convert.check_source(path, row["tracer"])
                elif name == "ct":
                    _look_at_ct(path, paths, settings)
                else:
                    found[name] = _look_at_mask(name, path, paths, grid, settings)
                if grid is not None and name == "lesions" and len(found) == 2:
                    limit(found["lesions"], found["prostate"], settings.segment.lesions.organ_margin_mm)
            except DataError as error:
                if not (name == "lesions" and error.code in masks.NOTHING_MARKED):  # a finding, no fault
                    yield ImageFault(row["patient"], name, error.code, error.sentence())


def _look_at_ct(path: Path, paths: dict[str, Path], settings: Imaging) -> None:
    if settings.convert.keep_ct or wants_ct(settings, paths):
        if masks.is_volume(path):
            convert_ct(path)
        else:
            choose(path, paths.get("pet"))


def wants_ct(settings: Imaging, paths: dict[str, Path]) -> bool:
    """Does a program make a mask of this patient from the CT?"""
    named = ImagePins(settings.model_dump(mode="json")).sources(paths)
    return any(name == TOTALSEGMENTATOR or "ct" in source["inputs"] for name, source in named.items())


def _look_at_mask(
    name: str, path: Path, paths: dict[str, Path], grid: sitk.Image | None, settings: Imaging
) -> sitk.Image:
    """As segment would read it; without a PET that can be read, only the mask itself."""
    if not masks.is_volume(path):
        masks.fitting(path, getattr(settings.segment, f"{name}_roi"), named=True)
    asked = (getattr(settings.segment, f"{name}_roi"), paths.get("ct"), paths.get("pet"))
    if grid is not None:
        return masks.read_mask(path, grid, *asked, **how(name))
    alone = sitk.Image([1, 1, 1], sitk.sitkUInt8)
    alone.SetSpacing([5.0, 5.0, 5.0])
    return masks.read_own(path, alone, *asked, several=name == "lesions")
