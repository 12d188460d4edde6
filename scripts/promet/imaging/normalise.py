"""Intensity of the PET channel: per volume to [0, 1]."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from promet.core.errors import DataError, IntegrityError
from promet.core.files import atomic, digest_file
from promet.core.sidecar import Sidecar
from promet.core.stage import Outcome, run_stage

if TYPE_CHECKING:
    from promet.imaging.settings import Normalise

PRODUCT = "tensor.npy"


def normalise(cuboid: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Min-max of the PET channel over the whole cuboid; the lesion channel stays as it is.

    Args:
        cuboid: (2, z, y, x): [0] SUVbw, [1] lesions 0/1.

    Returns:
        float32 (2, z, y, x) with channel 0 in [0, 1], and the lowest and highest SUV before.

    Raises:
        DataError: ``E_PET_NAN`` (NaN or infinite values), ``E_PET_CONSTANT`` (nothing to scale).
        IntegrityError: ``E_CUBOID_BROKEN`` when it is not such an array.
    """
    if cuboid.ndim != 4 or cuboid.shape[0] != 2 or not np.isin(cuboid[1], (0, 1)).all():
        raise IntegrityError(
            "E_CUBOID_BROKEN",
            "The cuboid is not what crop writes",
            "two channels, the second of 0 and 1",
            "Delete crop.json of this patient and run again",
        )
    suv = cuboid[0].astype(np.float64)
    if not np.isfinite(suv).all():
        raise DataError(
            "E_PET_NAN",
            "The PET holds values that are no numbers, in the cuboid around the prostate",
            "finite SUV",
            "Export the PET series again",
        )
    low, high = float(suv.min()), float(suv.max())
    if low == high:
        raise DataError(
            "E_PET_CONSTANT",
            f"The PET has the same value ({low:g}) everywhere in the cuboid around the prostate",
            "uptake in the prostate",
            "Check that mask and PET are of the same examination",
        )
    scaled = np.stack([(suv - low) / (high - low), cuboid[1]]).astype(np.float32)
    return scaled, low, high


def run(inputs: Path, settings: Normalise, out: Path, pin: str) -> Sidecar:
    """The stage ``normalise``: cuboid.npy of the folder ``inputs`` -> tensor.npy, float32 (2, z, y, x), beside ``out``."""
    assert settings.method == "min-max"  # the only one the settings allow
    product = out.with_name(PRODUCT)

    def work() -> Outcome:
        source = inputs / "cuboid.npy"
        if digest_file(source) != Sidecar.read(inputs / "crop.json").products.get(source.name):
            raise IntegrityError(
                "E_CUBOID_BROKEN",
                "The cuboid does not match its record crop.json",
                "the file that crop wrote",
                "Delete crop.json of this patient and run again",
            )
        tensor, low, high = normalise(np.load(source, allow_pickle=False))
        with atomic(product) as temporary:
            np.save(temporary, tensor, allow_pickle=False)
        return Outcome(products={"tensor": product}, values={"suv_low": low, "suv_high": high})

    return run_stage(
        "normalise",
        out,
        pin,
        work,
        upstream={"crop": inputs / "crop.json"},
        needs=("crop",),
        makes=(PRODUCT,),
        packages=("numpy",),
    )
