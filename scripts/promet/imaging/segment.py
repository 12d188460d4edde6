"""Masks of the prostate and of its lesions on the PET grid.

The prostate comes from the user, or from TotalSegmentator where the table gives none and the configuration asks for it.
The lesions come from the user if given; otherwise they are found by a watershed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk

from promet.core.defaults import PROSTATE_ML
from promet.core.errors import DataError
from promet.core.sidecar import NO_LESION, OK, Sidecar, product
from promet.core.stage import Outcome, run_stage
from promet.imaging.geometry import REGION, WHOLE, dilate_mm, read_image, read_pet, to_grid, write_nifti
from promet.imaging.masks.read import NOTHING_MARKED, names_in, read_mask
from promet.imaging.masks.roi import Chooser
from promet.imaging.measure import count, surroundings
from promet.imaging.organs import NAMES, made_file
from promet.imaging.organs import PRODUCT as ORGANS
from promet.study.registry import sources

if TYPE_CHECKING:
    from promet.imaging.settings import Lesions, Segment

PRODUCTS = ("prostate.nii.gz", "lesions.nii.gz")
LEAST_INSIDE = 0.5  # of the volume of a prostate mask; the prostate lies in the middle of a PET
SAME_DICE = 0.95  # lesions and prostate that overlap like this are one contour
NEARLY_FILLED = 0.8


def millilitres(mask: sitk.Image) -> float:
    """Volume of a 0/1 mask by whole voxels, ml."""
    return float(np.count_nonzero(sitk.GetArrayViewFromImage(mask)) * np.prod(mask.GetSpacing()) / 1000)


def watershed(
    pet: sitk.Image, organ: sitk.Image, settings: Lesions, bladder: sitk.Image | None = None
) -> tuple[sitk.Image, list[str]]:
    """Lesions in the organ by a marker watershed.

    Every maximum of the smoothed PET around the organ is a marker and owns the voxels that drain to it. Basins
    whose maximum lies in the organ (dilated by ``organ_margin_mm``) are kept, so that spill of bladder or rectum
    into the organ goes to the basin of the bladder or rectum. In each the lesion is what reaches ``floor_suv`` and
    ``fraction_of_max`` of the basin's highest voxel in the organ. After Alipour et al.: watershed with a region
    filter at SUV 4.

    Args:
        pet: SUVbw, any orientation; organ: uint8 0/1 on its grid, not empty; bladder: the same, or None when it is
            not known: no lesion voxel and no maximum of a lesion lies in it.

    Returns:
        uint8 0/1 mask on the PET grid, and warnings.
    """
    index, size = surroundings(organ, settings.organ_margin_mm + 3 * settings.smooth_mm + 20.0)
    suv = sitk.Cast(sitk.RegionOfInterest(pet, size, index), sitk.sitkFloat32)
    inside = sitk.GetArrayFromImage(sitk.RegionOfInterest(organ, size, index)) > 0
    region = dilate_mm(inside, pet.GetSpacing()[::-1], settings.organ_margin_mm)
    if bladder is not None:
        region &= sitk.GetArrayFromImage(sitk.RegionOfInterest(bladder, size, index)) == 0

    smooth = sitk.DiscreteGaussian(suv, settings.smooth_mm**2, 64, 0.01) if settings.smooth_mm else suv
    maxima = sitk.RegionalMaxima(smooth, fullyConnected=True, flatIsMaxima=False)
    markers = sitk.ConnectedComponent(sitk.Cast(maxima, sitk.sitkUInt8), True)
    basins = sitk.MorphologicalWatershedFromMarkers(
        sitk.Multiply(smooth, -1.0), markers, markWatershedLine=False, fullyConnected=True
    )
    values, labels, seeds = (sitk.GetArrayFromImage(image) for image in (suv, basins, markers))
    kept = np.setdiff1d(np.unique(seeds[region]), [0])

    found = np.zeros(region.shape, dtype=bool)
    for label in kept:
        basin = region & (labels == label)
        top = values[basin].max()
        found |= basin & (values >= max(settings.floor_suv, settings.fraction_of_max * top))
    foreign = inside & (values >= settings.floor_suv) & ~np.isin(labels, kept)
    warnings = []
    if foreign.any():
        volume = np.count_nonzero(foreign) * np.prod(pet.GetSpacing()) / 1000
        warnings.append(
            f"{volume:.1f} ml of the prostate lie above the floor of SUV {settings.floor_suv:g} but belong to uptake whose "
            "maximum is outside of it (bladder, rectum?); they were not taken as lesion."
        )
    found = drop_small(found, settings.min_volume_ml, pet.GetSpacing())
    whole = np.zeros(pet.GetSize()[::-1], dtype=np.uint8)
    whole[tuple(slice(i, i + n) for i, n in zip(index[::-1], size[::-1], strict=True))] = found
    return like(whole, pet), warnings


def drop_small(mask: np.ndarray, volume_ml: float, spacing: tuple[float, float, float]) -> np.ndarray:
    """Without the 26-connected components smaller than ``volume_ml``; bool (z, y, x), spacing in mm."""
    parts = sitk.GetArrayFromImage(
        sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), True)
    )
    enough = np.bincount(parts.ravel()) * np.prod(spacing) / 1000 >= volume_ml * (1 - 1e-9)
    enough[0] = False
    return enough[parts]


def like(array: np.ndarray, grid: sitk.Image) -> sitk.Image:
    """A uint8 image of ``array`` (z, y, x) with the geometry of ``grid``."""
    image = sitk.GetImageFromArray(array.astype(np.uint8))
    image.CopyInformation(grid)
    return image


def limit(given: sitk.Image, organ: sitk.Image, margin_mm: float) -> tuple[sitk.Image, float, list[str]]:
    """Lesion voxels inside the organ dilated by ``margin_mm``; the share dropped; warnings.

    Raises:
        DataError: E_MASK_OUTSIDE when lesions are marked and none of them lies in it.
    """
    lesions = sitk.GetArrayViewFromImage(given) > 0
    near = dilate_mm(sitk.GetArrayViewFromImage(organ) > 0, organ.GetSpacing()[::-1], margin_mm)
    total, kept = np.count_nonzero(lesions), lesions & near
    if total and not kept.any():
        raise DataError(
            "E_MASK_OUTSIDE",
            "lesions: No voxel of the lesion mask lies in the prostate",
            "lesions in the prostate, or an empty mask",
            "Check that PET and masks are of the same patient",
        )
    outside = 1 - np.count_nonzero(kept) / total if total else 0.0
    warnings = []
    if outside > 0:
        warnings.append(
            f"{outside:.1%} of the given lesion voxels lie outside the prostate (dilated by {margin_mm:g} mm) and were dropped."
        )
    return like(kept, organ), outside, warnings


def distinct(given: sitk.Image, organ: sitk.Image) -> list[str]:
    """Refuse lesions that are the prostate; a warning where they nearly fill it.

    Two readers' contours of one prostate on CT overlap with a Dice coefficient of 0.8 to 0.9, one contour in two formats or
    on two grids with 0.95 and more; so from there on the masks are one contour. A large lesion in a prostate of its own
    contour stays below: at 0.95 it would have to fill nine tenths of it and end where it ends.

    Args:
        given: lesions, organ: prostate; uint8 0/1 on one grid.

    Raises:
        DataError: E_MASKS_ALIKE.
    """
    lesions, prostate = (sitk.GetArrayViewFromImage(image) > 0 for image in (given, organ))
    both = np.count_nonzero(lesions & prostate)
    dice = 2 * both / (np.count_nonzero(lesions) + np.count_nonzero(prostate))
    if dice >= SAME_DICE:
        raise DataError(
            "E_MASKS_ALIKE",
            f"lesions: The mask of the lesions is that of the prostate (Dice {dice:.2f})",
            f"lesions in the prostate, with a Dice below {SAME_DICE:g}",
            "Give the mask of the lesions; an empty one says that there is no lesion, and without any they are searched for",
        )
    filled = both / np.count_nonzero(prostate)
    if filled >= NEARLY_FILLED:
        return [
            f"The lesions fill {filled:.0%} of the prostate, which is unusual; check that they are lesions."
        ]
    return []


def segment(
    pet: sitk.Image,
    organ: sitk.Image,
    given: sitk.Image | None,
    settings: Segment,
    bladder: sitk.Image | None = None,
) -> tuple[sitk.Image, dict[str, float | int | str], list[str]]:
    """Lesion mask, values and warnings of one patient.

    Args:
        pet: SUVbw; organ: uint8 0/1 on the PET grid; given: the same for lesions, or None; bladder: the same.

    Raises:
        DataError: E_MASK_EMPTY when the organ has no voxel on the PET grid; E_MASK_OUTSIDE when lesions are marked and
            none of them lies in it; E_MASKS_ALIKE when they are the prostate.
    """
    organ_ml = millilitres(organ)
    if not organ_ml:
        raise DataError(
            "E_MASK_EMPTY",
            "The prostate mask has no voxel on the PET grid",
            "a mask that overlaps the PET",
            "Check that mask and PET are of the same examination and that the right structure is named",
        )
    warnings = []
    if not PROSTATE_ML[0] <= organ_ml <= PROSTATE_ML[1]:
        warnings.append(f"The prostate mask has {organ_ml:.1f} ml, which is unusual; check the picture.")
    values: dict[str, float | int | str] = {"organ_ml": organ_ml}
    if given is None:
        lesions, more = watershed(pet, organ, settings.lesions, bladder)
        values["lesion_source"] = "watershed" if bladder is None else "watershed without the bladder"
    else:
        lesions, values["lesion_outside_fraction"], more = limit(
            given, organ, settings.lesions.organ_margin_mm
        )
        meant = getattr(settings, "organ_is_lesion", False)  # where it is off no configuration tells it
        warnings += [] if meant else distinct(given, organ)
        values["lesion_source"] = "given"
    values["lesion_ml"] = millilitres(lesions)
    values["lesion_count"] = count(sitk.GetArrayFromImage(lesions) > 0)
    return lesions, values, warnings + more


def read_source(
    name: str, given: dict[str, Path], pet: sitk.Image, roi: str, warnings: list[str]
) -> sitk.Image:
    """The mask ``name`` on the PET grid; sentences say which mask they mean.

    A lesion mask without any voxel is a reader's word that there is none, not a fault.
    """
    told: list[str] = []
    try:
        mask = read_mask(given[name], pet, roi, given.get("ct"), given.get("pet"), told, **how(name))
    except DataError as error:
        if name == "lesions" and error.code in NOTHING_MARKED:
            warnings.append("lesions: The given mask is empty: no lesion.")
            return like(np.zeros(pet.GetSize()[::-1]), pet)
        raise DataError(error.code, f"{name}: {error.found}", error.expected, error.remedy) from error
    warnings.extend(f"{name}: {sentence}" for sentence in told)
    return mask


def how(name: str) -> dict[str, Any]:
    """What ``read_mask`` is told of a prostate or of lesions: lesions are many, a prostate lies in the PET."""
    return {"several": True} if name == "lesions" else {"least": LEAST_INSIDE}


class Surroundings:
    """Other organs of a patient, on the PET grid: from TotalSegmentator's labels, or from the file of the prostate mask.

    Args:
        labels: organs.nii.gz, or None.
        prostate: the prostate source, which may name other organs as well, or None.
    """

    def __init__(self, pet: sitk.Image, labels: sitk.Image | None, prostate: Path | None) -> None:
        self.pet, self.labels, self.prostate = pet, labels, prostate
        self.names = [] if prostate is None else names_in(prostate)

    def find(self, roi: str) -> sitk.Image | None:
        """The organ whose name fits ``roi``; None when nothing does."""
        if self.labels is not None:
            numbers = Chooser(roi).pick(NAMES)
            mask = to_grid(self.labels == min(numbers), self.pet) if numbers else None
            return mask if mask is not None and millilitres(mask) else None
        choose = Chooser(roi)
        if self.prostate is None or not (choose.label or any(choose(*name) for name in self.names)):
            return None  # a volume's labels have no names
        try:
            return read_mask(self.prostate, self.pet, roi, by_name=True)
        except DataError:
            return None

    def mean_suv(self, settings: Segment) -> dict[str, float]:
        """Mean SUV of blood pool, reference organ and parotids, as far as they are known."""
        suv, known = sitk.GetArrayViewFromImage(self.pet), {}
        for name in ("blood", "reference", "parotid"):
            mask = self.find(getattr(settings, f"{name}_roi"))
            if mask is not None:
                inside = suv[sitk.GetArrayViewFromImage(mask) > 0].astype(np.float64)
                known[f"{name}_suv_mean"] = float(inside.mean())
        return known


@dataclass(frozen=True)
class Inputs:
    """The patient's folder with the record and the PET of convert, and whose masks: those that the image registry names.

    With ``organs`` the masks that the table does not give are those of the stage ``organs``, in the same folder.
    """

    folder: Path
    patient: str
    registry: Path
    organs: bool = False


def run(inputs: Inputs, settings: Segment, out: Path, pin: str) -> Sidecar:
    """The stage ``segment``: prostate.nii.gz and lesions.nii.gz (uint8, PET grid) beside ``out``.

    Where convert kept no whole-body PET, region.nii.gz holds its part around the organ and is the grid of both masks.
    An empty lesion map gives the status ``no-lesion``; no prostate mask gives ``E_MASK_MISSING``.
    """
    folder, organs = inputs.folder, inputs.organs
    upstream = {name: folder / f"{name}.json" for name in ("convert", *(["organs"] if organs else []))}

    def work() -> Outcome:
        given = sources(inputs.registry, inputs.patient)
        by = Sidecar.read(upstream["organs"]) if organs else None
        # What the table gives counts; of the rest, who made it.
        makers = {
            name: str(by.values[f"{name}_by"])
            for name in ("prostate", "lesions")
            if by is not None and name not in given and f"{name}_by" in by.values
        }
        given |= {name: product(folder, made_file(name), "organs") for name in makers}
        labelled = by is not None and ORGANS in by.products
        if "prostate" not in given and not labelled:
            raise DataError(
                "E_MASK_MISSING",
                "This patient has no prostate mask",
                "a NIfTI, DICOM SEG or RTSTRUCT in the column prostate of the cohort table",
                "Draw it, or let a program make it (imaging.segment.sources, for instance totalsegmentator on the CT), then run promet intake",
            )
        whole = folder / WHOLE
        pet = read_pet(folder) if whole.exists() else _convert_again(given)
        told: list[str] = []
        labels = read_image(product(folder, ORGANS, "organs")) if labelled else None
        roi = {
            name: "label=any" if name in makers else getattr(settings, f"{name}_roi")
            for name in ("prostate", "lesions")
        }
        if labels is None:
            organ = read_source("prostate", given, pet, roi["prostate"], told)
        else:
            organ = to_grid(labels == 1, pet)
        around = Surroundings(pet, labels, None if "prostate" in makers else given.get("prostate"))
        marked = read_source("lesions", given, pet, roi["lesions"], told) if "lesions" in given else None
        bladder = around.find(settings.bladder_roi) if marked is None else None
        lesions, values, warnings = segment(pet, organ, marked, settings, bladder)
        made = "TotalSegmentator" if labelled else makers.get("prostate") or "given"
        values |= {"organ_source": made, **around.mean_suv(settings)}
        if "lesions" in makers:
            values["lesion_source"] = f"given by {makers['lesions']}"
        images = {"prostate.nii.gz": organ, "lesions.nii.gz": lesions}
        if not whole.exists():
            index, size = surroundings(organ, settings.region_mm)
            images = {
                name: sitk.RegionOfInterest(image, size, index)
                for name, image in {**images, REGION: pet}.items()
            }
        for name, image in images.items():
            write_nifti(image, out.with_name(name))
        if REGION not in images:
            out.with_name(REGION).unlink(missing_ok=True)
        return Outcome(
            products={name: out.with_name(name) for name in images},
            values=values,
            warnings=told + warnings,
            status=OK if values["lesion_count"] else NO_LESION,
        )

    return run_stage(
        "segment",
        out,
        pin,
        work,
        upstream=upstream,
        needs=tuple(upstream),
        makes=(*PRODUCTS, REGION),
        packages=("SimpleITK", "numpy"),
    )


def _convert_again(given: dict[str, Path]) -> sitk.Image:
    from promet.imaging.convert import convert_source

    return convert_source(given["pet"]).image
