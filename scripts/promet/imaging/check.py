"""A look into the sources of a cohort table before anything is made: headers only, no pixel is read.

What convert and segment would refuse from the headers alone is found in a moment per patient. What lies in the pixels
(NaN, a mask outside of the PET) is found when the stages run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from promet.cohort.sources import source
from promet.cohort.table import read
from promet.core.errors import DataError
from promet.imaging import convert, dicom, masks
from promet.imaging.ct import choose
from promet.imaging.settings import Imaging


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
        for name, path in paths.items():
            try:
                _look(name, path, paths, settings)
            except DataError as error:
                yield ImageFault(row["patient"], name, error.code, error.sentence())


def _look(name: str, path: Path, paths: dict[str, Path], settings: Imaging) -> None:
    if name == "pet":
        convert.check_source(path)
    elif name == "ct" and (
        (settings.totalsegmentator.use and "prostate" not in paths) or settings.convert.keep_ct
    ):
        if not masks.is_volume(path):
            choose(path, paths.get("pet"))
    elif name in ("prostate", "lesions") and not masks.is_volume(path):
        masks.fitting(path, getattr(settings.segment, f"{name}_roi"), named=True)
