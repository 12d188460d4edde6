"""Uptake and volume on the PET's own grid: SUVmax, SUVmean, SUVpeak, volumes.

The measures use the native voxels, never the cuboid: interpolation lowers peaks.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk

from promet.core.errors import DataError
from promet.core.sidecar import QUARANTINED, Sidecar
from promet.core.stage import Outcome, run_stage
from promet.imaging.expression import primary_surrogate, psma_expression
from promet.imaging.geometry import read_masks, read_pet

if TYPE_CHECKING:
    from promet.imaging.settings import Measure

POINT_MM = (
    0.2  # distance of the points that decide which part of a voxel lies in the sphere: volume right to 0.2 %
)


def radius_mm(volume_ml: float) -> float:
    """Radius in mm of a sphere of ``volume_ml``."""
    return float((3 * volume_ml / (4 * np.pi)) ** (1 / 3) * 10)


def sphere_weights(
    spacing: tuple[float, float, float], volume_ml: float = 1.0, weights: str = "partial"
) -> np.ndarray:
    """Weight of each voxel around a centre voxel for a sphere of ``volume_ml``.

    Args:
        spacing: voxel size (z, y, x) in mm.
        volume_ml: volume of the sphere; 1 ml has the radius (3 / 4 pi)^(1/3) cm = 6.2035 mm.
        weights: ``partial`` = share of the voxel inside the sphere, from points 0.2 mm apart;
            ``centre`` = 1 where the voxel's centre lies inside (IBSI, features VJGA and 0F91).

    Returns:
        float64 (z, y, x), odd lengths, its middle is the centre voxel.
    """
    radius = radius_mm(volume_ml)
    parts = [int(np.ceil(max(step / POINT_MM, 5))) if weights == "partial" else 1 for step in spacing]
    axes = []
    for step, n in zip(spacing, parts, strict=True):
        half = int(np.ceil(radius / step + 0.5))
        points = (np.arange(-half, half + 1)[:, None] + (np.arange(n) + 0.5) / n - 0.5) * step
        axes.append(points.ravel() ** 2)
    z, y, x = np.ix_(*axes)
    # The rounding allowance lets a voxel whose centre lies on the sphere count on any machine.
    inside = z + y + x <= radius**2 * (1 + 1e-9)
    sizes = [length for axis, n in zip(inside.shape, parts, strict=True) for length in (axis // n, n)]
    return inside.reshape(sizes).mean(axis=(1, 3, 5), dtype=np.float64)


def local_means(suv: np.ndarray, roi: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean of ``suv`` around every voxel of ``roi``.

    Args:
        suv: (z, y, x).
        roi: bool (z, y, x); only centres, the neighbourhood may leave it.
        weights: ``sphere_weights``; voxels outside the image do not count.

    Returns:
        float64, one value per True voxel of ``roi`` in C order.
    """
    pad = [length // 2 for length in weights.shape]
    corners = np.argwhere(roi)
    low, high = corners.min(axis=0), corners.max(axis=0) + 1
    reach = [slice(max(a - p, 0), b + p) for a, b, p in zip(low, high, pad, strict=True)]
    box = np.pad(suv[tuple(reach)].astype(np.float64), [(p, p) for p in pad])
    present = np.pad(np.ones(suv[tuple(reach)].shape), [(p, p) for p in pad])
    steps = np.array([box.shape[1] * box.shape[2], box.shape[2], 1])
    starts = np.array([r.start for r in reach])
    # Flat places of the centres in the padded box; adding a flat offset reaches a neighbour.
    centres = (corners - starts + pad) @ steps
    total, weight = np.zeros(len(centres)), np.zeros(len(centres))
    flat, seen = box.ravel(), present.ravel()
    for place in np.argwhere(weights > 0):
        share = weights[tuple(place)]
        neighbours = centres + (place - pad) @ steps
        total += share * flat[neighbours]
        weight += share * seen[neighbours]
    return total / weight


def suv_peaks(
    suv: np.ndarray, roi: np.ndarray, spacing: tuple[float, float, float], settings: Measure
) -> tuple[float, float]:
    """SUVpeak (local, global) of a region.

    Local (IBSI VJGA): the sphere is centred on the hottest voxel of the region; of several equal ones the
    highest mean counts. Global (IBSI 0F91): the highest mean over spheres centred on any of its voxels.
    The sphere itself may leave the region (Lodge 2012, J Nucl Med 53:1415).

    Args:
        suv: (z, y, x); roi: bool (z, y, x), not empty; spacing: (z, y, x) in mm.

    Raises:
        DataError: ``E_PET_NAN`` when a voxel in reach is not finite.
    """
    means = local_means(suv, roi, sphere_weights(spacing, settings.suv_peak_ml, settings.suv_peak_weights))
    inside = suv[roi]
    if not (np.isfinite(inside).all() and np.isfinite(means).all()):
        raise DataError(
            "E_PET_NAN",
            "The PET holds values that are no numbers, in or near the prostate",
            "finite SUV",
            "Export the PET series again",
        )
    return float(means[inside == inside.max()].max()), float(means.max())


def measures(
    suv: np.ndarray,
    organ: np.ndarray,
    lesions: np.ndarray,
    spacing: tuple[float, float, float],
    settings: Measure,
) -> dict[str, float | int | None]:
    """All measures of one patient.

    Args:
        suv: SUVbw (z, y, x).
        organ, lesions: bool (z, y, x); the organ is not empty, the lesions may be.
        spacing: voxel size (z, y, x) in mm.

    Returns:
        ``suv_max``, ``suv_mean`` of the lesions (None without lesions); ``suv_peak`` (global) and
        ``suv_peak_local`` with centres in the lesions, or in the organ without lesions;
        ``total_lesion_uptake`` = SUVmean x ml (0 without lesions); ``organ_suv_max``, ``organ_suv_mean``;
        ``organ_ml``, ``lesion_ml`` (whole voxels); ``lesion_count`` (26-connected components).

    Raises:
        DataError: ``E_MASK_EMPTY``, or ``E_PET_NAN`` when a needed voxel is not finite.
    """
    if not organ.any():
        raise DataError(
            "E_MASK_EMPTY", "The prostate mask is empty", "some voxels", "Check the mask against the PET"
        )
    voxel_ml = float(np.prod(spacing)) / 1000
    inside, hot = suv[organ].astype(np.float64), suv[lesions].astype(np.float64)
    found = hot.size > 0
    local, highest = suv_peaks(suv, lesions if found else organ, spacing, settings)
    values: dict[str, float | int | None] = {
        "suv_max": float(hot.max()) if found else None,
        "suv_mean": float(hot.mean()) if found else None,
        "suv_peak": highest,
        "suv_peak_local": local,
        "total_lesion_uptake": float(hot.sum()) * voxel_ml,
        "organ_suv_max": float(inside.max()),
        "organ_suv_mean": float(inside.mean()),
        "organ_ml": int(organ.sum()) * voxel_ml,
        "lesion_ml": int(lesions.sum()) * voxel_ml,
        "lesion_count": count(lesions),
    }
    return values


def surrogates(
    suv: np.ndarray,
    organ: np.ndarray,
    lesions: np.ndarray,
    spacing: tuple[float, float, float],
    known: dict[str, Any],
) -> tuple[dict[str, int | None], list[str]]:
    """Stand-ins for two scores that a reader gives; the reader's own columns always win.

    Args:
        known: mean SUV of the organs that segment found: ``blood_suv_mean``, ``reference_suv_mean``,
            ``parotid_suv_mean``.

    Returns:
        ``primary_surrogate``; ``psma_expression_surrogate``, None where blood pool or reference organ are not known
        or there is no lesion. Warnings.
    """
    found: dict[str, int | None] = {
        "primary_surrogate": primary_surrogate(suv, organ, lesions, spacing),
        "psma_expression_surrogate": None,
    }
    blood, reference, parotid = (known.get(f"{name}_suv_mean") for name in ("blood", "reference", "parotid"))
    if blood is None or reference is None or not lesions.any():
        return found, []
    try:
        score, least = psma_expression(float(suv[lesions].max()), blood, reference, parotid)
    except DataError as error:
        return found, [f"No PSMA expression score: {error.sentence()}"]
    found["psma_expression_surrogate"] = score
    return found, ["The PSMA expression score is 2 or 3: the parotid glands are not known"] if least else []


def surroundings(mask: sitk.Image, margin_mm: float) -> tuple[list[int], list[int]]:
    """Index and size (x, y, z) of the box around a mask that is not empty, ``margin_mm`` wider on each side."""
    places = np.argwhere(sitk.GetArrayViewFromImage(mask))[:, ::-1]
    margin = np.ceil(margin_mm / np.array(mask.GetSpacing())).astype(int)
    low = np.maximum(places.min(axis=0) - margin, 0)
    high = np.minimum(places.max(axis=0) + 1 + margin, mask.GetSize())
    return low.tolist(), (high - low).tolist()


def count(mask: np.ndarray) -> int:
    """Number of 26-connected components of a bool array (z, y, x)."""
    label = sitk.ConnectedComponentImageFilter()
    label.FullyConnectedOn()
    label.Execute(sitk.GetImageFromArray(mask.astype(np.uint8)))
    return label.GetObjectCount()


def run(inputs: Path, settings: Measure, out: Path, pin: str) -> Sidecar:
    """The stage ``measure``: reads pet, prostate and lesions in the patient's folder ``inputs``; no product.

    A patient without lesions is measured too (status ok); a quarantined one is passed on.
    """
    upstream = {name: inputs / f"{name}.json" for name in ("convert", "segment")}
    lost = Sidecar.read(upstream["segment"]).status == QUARANTINED

    def work() -> Outcome:
        pet = read_pet(inputs)
        organ, lesions = read_masks(inputs)
        # Only the voxels a sphere can reach: the whole body costs memory and time.
        index, size = surroundings(sitk.Or(organ, lesions), 2 * radius_mm(settings.suv_peak_ml))
        suv, inside, hot = (
            sitk.GetArrayFromImage(sitk.RegionOfInterest(image, size, index))
            for image in (pet, organ, lesions)
        )
        steps = pet.GetSpacing()[::-1]
        values = measures(suv, inside > 0, hot > 0, steps, settings)
        known = Sidecar.read(upstream["segment"]).values
        scores, warnings = surrogates(suv, inside > 0, hot > 0, steps, known)
        return Outcome(values=values | scores, warnings=warnings)

    needs = ("convert", "segment") if lost else ("convert",)
    return run_stage(
        "measure", out, pin, work, upstream=upstream, needs=needs, packages=("SimpleITK", "numpy")
    )
