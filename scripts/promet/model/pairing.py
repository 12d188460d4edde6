"""Is a mask that was given of this PET? Refused only when it is certain that it is not; DICOM masks are judged by their headers."""

from __future__ import annotations

from pathlib import Path

from promet.core.errors import DataError
from promet.core.sidecar import Sidecar

LEAST_INSIDE = 0.5  # of the volume of a mask; masks of the prostate lie in the middle of a PET
HALF_A_VOXEL = 0.5


def require(sources: dict[str, Path], folder: Path, record: Sidecar, roi: str) -> None:
    """Refuse a mask of another examination.

    Args:
        sources: prostate, lesions -> file or folder.
        folder: where segment wrote prostate.nii.gz, on the grid of the PET or of a part of it.
        record: of segment.
        roi: how the prostate is chosen; with a label a volume may hold other organs.

    Raises:
        DataError: E_MASK_OUTSIDE, E_MASK_GRID.
    """
    from promet.imaging import geometry, masks, segment

    grid = geometry.read_image(folder / "prostate.nii.gz")
    whole = (folder / geometry.WHOLE).exists()
    for name in ("prostate", "lesions"):
        if name not in sources or not masks.is_volume(sources[name]):
            continue
        own = geometry.read_image(sources[name])
        if whole and _elsewhere(own, grid):
            raise DataError(
                "E_MASK_GRID",
                f"{name}: The mask has the voxels of the PET, but lies at another place",
                "the grid of the PET it was drawn on",
                "Check that PET and mask are of the same man",
            )
        before = segment.millilitres(own)
        if name == "prostate" and not roi.startswith("label=") and before:
            inside = float(record.values["organ_ml"]) / before
            if inside < LEAST_INSIDE:
                raise DataError(
                    "E_MASK_OUTSIDE",
                    f"{name}: Only {inside:.0%} of the mask's volume lies inside the PET",
                    f"at least {LEAST_INSIDE:.0%}",
                    "Check that PET and mask are of the same man",
                )
    if record.values.get("lesion_outside_fraction") == 1.0:
        raise DataError(
            "E_MASK_OUTSIDE",
            "lesions: No voxel of the lesion mask lies in the prostate",
            "lesions in the prostate, or an empty mask",
            "Check that PET and mask are of the same man",
        )


def _elsewhere(own, grid) -> bool:
    """Equal size and spacing, and a first voxel that is no corner of the other: flipped axes are the same grid."""
    size, spacing = grid.GetSize(), grid.GetSpacing()
    alike = own.GetSize() == size and all(
        abs(a - b) < 1e-3 * b for a, b in zip(own.GetSpacing(), spacing, strict=True)
    )
    first = own.TransformPhysicalPointToContinuousIndex(grid.GetOrigin())
    return alike and any(
        min(abs(at), abs(at - (n - 1))) > HALF_A_VOXEL for at, n in zip(first, size, strict=True)
    )
