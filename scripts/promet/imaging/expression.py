"""Uptake against reference organs and against the gland's own shape: two scores, the second a surrogate.

The stage ``measure`` computes both where it can, ``promet imaging expression`` by hand from masks. A reader's value
always wins.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from promet.core.defaults import RAISED_SUV
from promet.core.errors import DataError
from promet.imaging import geometry

FIVE_ABOVE = (
    12.0  # SUVmax; Emmett 2022, table 2 (the abstract says 12 or more, which differs at exactly 12 only)
)
SHELL = 1 / 3  # outer share of the gland's depth that stands for the peripheral zone
FOCAL = 0.5  # a lesion of a larger share of the gland is not focal


def psma_expression(
    suv_max: float, blood: float, reference: float, parotid: float | None
) -> tuple[int, bool]:
    """PSMA expression score of PROMISE V2 (Seifert 2023, Eur Urol 83:405).

    0: not above blood pool; 1: above blood pool; 2: above liver (spleen for a ligand excreted by the liver); 3: above
    parotid.

    Args:
        suv_max: of the lesions. blood, reference, parotid: mean SUV of aorta, liver or spleen, parotids.

    Returns:
        The score, and whether it is only a lower bound: above the reference organ, and no parotid is known.

    Raises:
        DataError: E_EXPRESSION_ORDER when the organs are not in the order the score is built on.
    """
    levels = [blood, reference, *([] if parotid is None else [parotid])]
    if (
        not np.isfinite([suv_max, *levels]).all()
        or sorted(levels) != levels
        or len(set(levels)) < len(levels)
    ):
        listed = ", ".join(f"{level:.2f}" for level in levels)
        raise DataError(
            "E_EXPRESSION_ORDER",
            f"The mean SUV of blood pool, reference organ and parotid is {listed}",
            "each above the one before",
            "Check the masks, or take the other reference organ of the tracer",
        )
    score = sum(suv_max > level for level in levels)
    return score, parotid is None and score == 2


def primary_surrogate(
    suv: np.ndarray, organ: np.ndarray, lesions: np.ndarray, spacing: tuple[float, float, float]
) -> int:
    """A geometric stand-in for the PRIMARY score (Emmett 2022, J Nucl Med 63:1644), which needs a reader.

    5: SUVmax above 12. 4: a focal lesion whose centroid lies in the outer third of the gland's depth, behind or beside
    its centre. 3: a focal lesion elsewhere of at least twice the median of the rest of the gland. 2: raised but not
    focal. 1: otherwise. No zones are known on PET/CT, so 3 and 4 are guesses: never report it as the PRIMARY score.

    Args:
        suv: (z, y, x) with y towards the back and x towards the left; organ, lesions: bool, the organ not empty;
            spacing: (z, y, x) in mm.
    """
    hot = lesions & (suv >= RAISED_SUV)
    if suv[organ | lesions].max() > FIVE_ABOVE:
        return 5
    image = sitk.GetImageFromArray(np.pad(organ, 1).astype(np.uint8))
    image.SetSpacing([float(step) for step in reversed(spacing)])
    depth = sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(image, True, False, True))[1:-1, 1:-1, 1:-1]
    places = np.argwhere(organ) * spacing
    middle, half = places.mean(axis=0), np.ptp(places, axis=0) / 2
    rest = organ & ~lesions
    best = 2 if (suv[organ] >= RAISED_SUV).any() else 1
    parts = sitk.GetArrayFromImage(
        sitk.ConnectedComponent(sitk.GetImageFromArray(hot.astype(np.uint8)), True)
    )
    for number in range(1, int(parts.max()) + 1):
        mine = parts == number
        if np.count_nonzero(mine) > FOCAL * np.count_nonzero(organ):
            continue
        centre = np.argwhere(mine).mean(axis=0)
        index = tuple(np.clip(np.round(centre).astype(int), 0, np.array(organ.shape) - 1))
        _, back, side = centre * spacing - middle
        if depth[index] <= SHELL * depth.max() and (back > 0 or abs(side) > half[2] / 2):
            return 4
        if rest.any() and suv[mine].max() >= 2 * np.median(suv[rest]):
            best = 3
    return best


def by_hand(
    pet: Path, prostate: Path, lesions: Path, blood: Path | None, reference: Path | None, parotid: Path | None
) -> dict[str, Any]:
    """Both scores of one patient from files; a score whose masks are not given is None.

    Raises:
        DataError: as ``read_mask`` and ``psma_expression``.
    """
    from promet.imaging.masks.read import read_mask

    image = geometry.canonical(geometry.read_image(pet))
    suv = sitk.GetArrayFromImage(image)
    masks = {}
    for name, path in (
        ("prostate", prostate), ("lesions", lesions), ("blood", blood), ("reference", reference), ("parotid", parotid),
    ):  # fmt: skip
        if path is not None:
            masks[name] = sitk.GetArrayFromImage(read_mask(path, image, "label=any")) > 0
    means = {
        name: float(suv[masks[name]].mean()) for name in ("blood", "reference", "parotid") if name in masks
    }
    found: dict[str, Any] = {
        "lesion_suv_max": float(suv[masks["lesions"]].max()),
        "mean_suv": means,
        "psma_expression": None,
        "psma_expression_is_lower_bound": False,
        "primary_surrogate": primary_surrogate(
            suv, masks["prostate"], masks["lesions"], image.GetSpacing()[::-1]
        ),
    }
    if {"blood", "reference"} <= set(means):
        score, bound = psma_expression(
            found["lesion_suv_max"], means["blood"], means["reference"], means.get("parotid")
        )
        found["psma_expression"], found["psma_expression_is_lower_bound"] = score, bound
    return found
