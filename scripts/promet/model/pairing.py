"""Is a mask that was given of this PET? Refused only when it is certain that it is not; DICOM masks are judged by their headers."""

from __future__ import annotations

from pathlib import Path

from promet.core.errors import DataError
from promet.core.sidecar import Sidecar

LEAST_INSIDE = 0.5  # of the volume of a mask; masks of the prostate lie in the middle of a PET


def require(sources: dict[str, Path], record: Sidecar, roi: str) -> None:
    """Refuse a mask of another examination.

    Args:
        sources: prostate, lesions -> file or folder.
        record: of segment.
        roi: how the prostate is chosen; with a label a volume may hold other organs.

    Raises:
        DataError: E_MASK_OUTSIDE.
    """
    from promet.imaging import geometry, masks, segment

    if "prostate" not in sources or not masks.is_volume(sources["prostate"]) or roi.startswith("label="):
        return
    before = segment.millilitres(geometry.read_image(sources["prostate"]))
    inside = float(record.values["organ_ml"]) / before if before else 1.0
    if inside < LEAST_INSIDE:
        raise DataError(
            "E_MASK_OUTSIDE",
            f"prostate: Only {inside:.0%} of the mask's volume lies inside the PET",
            f"at least {LEAST_INSIDE:.0%}",
            "Check that PET and mask are of the same patient",
        )
