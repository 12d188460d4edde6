"""Grids and volumes for tests of masks."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk


def grid(
    spacing=(4.07, 4.07, 3.0),
    size=(40, 40, 40),
    centre=(0.0, 0.0, 0.0),
    direction=(1, 0, 0, 0, 1, 0, 0, 0, 1),
):
    """An empty image with ``centre`` (mm) in its middle."""
    made = sitk.Image(size, sitk.sitkFloat32)
    made.SetSpacing(spacing)
    made.SetDirection(direction)
    half = [(n - 1) * s / 2 for n, s in zip(size, spacing, strict=True)]
    made.SetOrigin((np.array(centre) - np.reshape(direction, (3, 3)) @ half).tolist())
    return made


def millilitres(mask):
    """Volume of a 0/1 mask."""
    return np.count_nonzero(sitk.GetArrayFromImage(mask)) * np.prod(mask.GetSpacing()) / 1000
