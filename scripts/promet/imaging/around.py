"""What the tissue around the prostate tells of the scale of a PET, and the lesions of where the masks lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from promet.core.sidecar import Sidecar
from promet.imaging import geometry
from promet.imaging.measure import surroundings

SHELL_MM = (10.0, 30.0)  # from the prostate: beyond its spill, within what is kept of every PET
NEGATIVE = -0.1  # SUV that noise around 0 does not reach in filtered images
ORGANS = ("blood_suv_mean", "reference_suv_mean")


def measure(folder: Path) -> dict[str, float | None]:
    """What tells the scale of a patient's PET.

    Args:
        folder: holds the PET in SUV, prostate.nii.gz, lesions.nii.gz and segment.json of the stages.

    Returns:
        around_suv: median SUV between 10 and 30 mm from the prostate; lesion_contrast: mean SUV of the lesions over that of
        the rest of the prostate; negative_share: of the voxels within 30 mm, those below -0.1; mean SUV of blood pool and
        reference organ where a mask holds them. None = not known.
    """
    pet = geometry.read_pet(folder)
    organ, lesions = (geometry.read_image(folder / f"{name}.nii.gz") for name in ("prostate", "lesions"))
    index, size = surroundings(organ, SHELL_MM[1] + 5.0)
    suv, inside, hot = (
        sitk.GetArrayFromImage(sitk.RegionOfInterest(image, size, index)) for image in (pet, organ, lesions)
    )
    inside, hot = inside > 0, hot > 0
    steps = pet.GetSpacing()[::-1]
    wide = geometry.dilate_mm(inside, steps, SHELL_MM[1])
    shell = wide & ~geometry.dilate_mm(inside, steps, SHELL_MM[0])
    rest = inside & ~hot
    found: dict[str, float | None] = {
        "around_suv": float(np.median(suv[shell])) if shell.any() else None,
        "lesion_contrast": None,
        "negative_share": float((suv[wide] < NEGATIVE).mean()),
    }
    if hot.any() and rest.any() and suv[rest].mean() > 0:
        found["lesion_contrast"] = float(suv[hot].mean(dtype=np.float64) / suv[rest].mean(dtype=np.float64))
    known = Sidecar.read(folder / "segment.json").values
    return found | {name: known.get(name) for name in ORGANS}
