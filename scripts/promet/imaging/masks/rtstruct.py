"""RTSTRUCT contours to a volume.

Contours are filled on their own planes with pixels much finer than the PET's; the share
each PET voxel gets then decides (geometry.to_grid). No image of the series they were drawn on is needed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset

from promet.core.errors import DataError
from promet.core.words import count
from promet.imaging.masks import contours
from promet.imaging.masks.roi import Chooser, Contoured, Part, missing, numbered, unite, unusable
from promet.imaging.masks.scans import Around, steps

PLAIN, XOR = "CLOSED_PLANAR", "CLOSEDPLANAR_XOR"
MOST_VOXELS = 2e8
FLAT = 0.02  # share of the plane distance within which a contour must be flat and planes coincide
FEW = 4  # planes; what a structure passes over by less is a gap in it, by more it may be two


@dataclass
class Drawn:
    """One closed contour: points (n, 3) in mm, and whether it is of the type CLOSEDPLANAR_XOR."""

    points: np.ndarray
    xor: bool


def read(
    data: Dataset, reference: sitk.Image, choose: Chooser, around: Around | None, told: list[str]
) -> Contoured:
    """The united chosen ROIs as 0/1 volume on a fine grid along the contour planes.

    Raises:
        DataError: E_MASK_ROI_MISSING, E_MASK_NO_CONTOUR (nothing is drawn), E_MASK_UNUSABLE (something is, but no closed
            contour, or of no ROI), E_MASK_POINTS (unreadable), E_MASK_BENT,
            E_MASK_UNEVEN (planes), E_MASK_FRAMES, E_MASK_AMBIGUOUS, E_MASK_THICKNESS.
    """
    chosen, frame = _chosen(data, choose, told)
    known = {int(item.ROINumber) for item in data.StructureSetROISequence}
    if "ROIContourSequence" not in data:
        raise KeyError("ROIContourSequence")  # as of any other element that every structure set has
    groups: dict[int, list[Drawn]] = defaultdict(list)
    instances, drawn, specks, others, planes = set(), 0, 0, 0, []
    for item in data.ROIContourSequence or ():
        number = int(item.ReferencedROINumber)
        if number not in known and item.get("ContourSequence"):
            raise unusable("it has contours that belong to none of its ROIs (ReferencedROINumber)")
        for contour in item.get("ContourSequence") or ():
            if number not in chosen:
                if contour.get("ContourGeometricType") in (PLAIN, XOR):
                    planes.append(_points(contour)[0])
                continue
            drawn += 1
            instances.update(
                str(i.ReferencedSOPInstanceUID) for i in contour.get("ContourImageSequence") or ()
            )
            kind, points = (
                str(contour.get("ContourGeometricType") or "").strip().upper(),
                contours.once(_points(contour)),
            )
            if len(points) < 3:
                specks += 1
            elif kind not in (PLAIN, XOR):
                others += 1
            else:
                groups[number].append(Drawn(points, kind == XOR))
    if not drawn:
        raise DataError(
            "E_MASK_NO_CONTOUR",
            "The fitting ROI holds no closed contour",
            "closed planar contours",
            "Draw or export it again",
        )
    if others or not groups:
        raise unusable(
            f"{others or specks} of the {count(drawn, 'contour')} of the fitting ROI "
            f"{'are' if (others or specks) > 1 else 'is'} no closed line (ContourGeometricType)"
        )
    if specks:
        told.append(f"{count(specks, 'contour')} left out: less than three points enclose nothing")
    images, listed = around or Around(), not instances
    instances = instances or _listed(data)

    def image_gap(normal: np.ndarray, depths: np.ndarray, ask: bool) -> float | None:
        return images.gap(instances, frame, normal, depths, ask)

    parts = _fill(list(groups.values()), np.array(planes).reshape(-1, 3), reference, image_gap, told)
    return Contoured(parts.united(told, choose.label != "any"), frame, instances, listed=listed)


def _chosen(data: Dataset, choose: Chooser, told: list[str]) -> tuple[set[int], str | None]:
    """Numbers of the fitting ROIs and their frame of reference."""
    items = {int(item.ROINumber): item for item in data.get("StructureSetROISequence") or ()}
    names = [
        (int(item.ROINumber), str(item.get("ROIName", "")))
        for item in data.get("StructureSetROISequence") or ()
    ]
    chosen = choose.pick(numbered(names), told)
    if not chosen:
        raise missing(choose, len(items), "ROIs")
    if len(chosen) > 1:
        told.append(f"{len(chosen)} ROIs fit and were united")
    frames = {str(items[number].get("ReferencedFrameOfReferenceUID") or "") for number in chosen} - {""}
    if len(frames) > 1:
        raise DataError(
            "E_MASK_FRAMES",
            "The fitting ROIs lie in different frames of reference",
            "one",
            "Export them separately",
        )
    return chosen, frames.pop() if frames else _only_frame(data)


def _only_frame(data: Dataset) -> str | None:
    """The frame of reference of the whole file, where its ROIs name none."""
    frames = {
        str(item.get("FrameOfReferenceUID") or "")
        for item in data.get("ReferencedFrameOfReferenceSequence") or ()
    }
    frames = frames - {""} or {str(data.get("FrameOfReferenceUID") or "")} - {""}
    return frames.pop() if len(frames) == 1 else None


def _listed(data: Dataset) -> set[str]:
    """SOPInstanceUIDs of all images that the file names."""
    return {
        str(image.get("ReferencedSOPInstanceUID", ""))
        for frame in data.get("ReferencedFrameOfReferenceSequence") or ()
        for study in frame.get("RTReferencedStudySequence") or ()
        for series in study.get("RTReferencedSeriesSequence") or ()
        for image in series.get("ContourImageSequence") or ()
    } - {""}


def _points(contour: Dataset) -> np.ndarray:
    """Points (n, 3) in mm."""
    try:
        element = contour.get_item("ContourData")
        value = element.value if element is not None else None
        # raw text, if pydicom has not parsed it yet: its own parser takes most of the time of a large file
        numbers = value.split(b"\\") if isinstance(value, bytes) else contour.ContourData
        points = np.array([float(v) for v in numbers]).reshape(-1, 3)
    except (TypeError, ValueError, AttributeError):
        points = np.full((1, 3), np.nan)
    if (
        not np.isfinite(points).all() or _announced(contour) > len(points) + 1
    ):  # some count the first one twice
        raise DataError(
            "E_MASK_POINTS", "A contour holds no valid points", "triples of numbers", "Export it again"
        )
    return points


def _announced(contour: Dataset) -> int:
    """Number of points that a contour says it has: a text of more than 64 kB is cut by some programs."""
    try:
        return int(contour.get("NumberOfContourPoints") or 0)
    except (TypeError, ValueError):
        return 0


def _newell(points: np.ndarray) -> np.ndarray:
    """Normal times twice the area of a polygon (Newell)."""
    middle = points - points.mean(0)
    return np.cross(middle, np.roll(middle, -1, 0)).sum(0)


def _fill(
    groups: list[list[Drawn]],
    others: np.ndarray,
    reference: sitk.Image,
    image_gap: Callable[[np.ndarray, np.ndarray, bool], float | None],
    told: list[str],
) -> Filled:
    axes = _axes([c.points for group in groups for c in group], reference)
    groups = [
        [Drawn(c.points @ axes, c.xor) for c in group] for group in groups
    ]  # columns of axes: u, v, normal
    every = [c.points for group in groups for c in group]
    depths = np.array([c[:, 2].mean() for c in every])
    gap = _gap(
        depths, others @ axes[:, 2] if len(others) else np.empty(0), axes[:, 2], reference, image_gap, told
    )
    if max(np.ptp(c[:, 2]) for c in every) > max(FLAT * gap, 0.05):
        raise DataError(
            "E_MASK_BENT",
            "A contour is not flat, or contours lie in crossing planes",
            "parallel flat contours",
        )
    first = depths.min()
    rows, gap = _rows(depths, gap)
    start = 0
    for group in groups:
        _check_planes([c.points for c in group], rows[start : start + len(group)])
        start += len(group)
    used = np.unique(rows)
    if (np.diff(used) > 1).any():
        told.append(f"{int((np.diff(used) > 1).sum())} gaps between contour planes were left empty")
    low = np.min([c.min(0) for c in every], 0)[:2]
    extent = np.max([c.max(0) for c in every], 0)[:2] - low
    step = float(np.clip(min(reference.GetSpacing()) / 5, 0.25, 1.0))
    step = max(step, float(np.sqrt(np.prod(extent + 1) * (rows.max() + 1) / MOST_VOXELS)))
    origin = low - 1.37 * step  # off the lattice on which contour points tend to lie
    shape = (int(rows.max()) + 1, *np.ceil((extent / step)[::-1]).astype(int) + 4)
    filled = Filled(shape, step, gap, axes, axes @ np.array([*origin, first]))
    start = 0
    for group in groups:
        own = rows[start : start + len(group)]
        flat = [((c.points[:, 1::-1] - origin[::-1]) / step, c.xor) for c in group]
        filled.add([[flat[i] for i in np.flatnonzero(own == row)] for row in range(shape[0])], told)
        start += len(group)
    return filled


class Filled:
    """Structures on a fine grid along their planes.

    Args:
        shape: planes, rows, columns; step, gap: mm of a pixel and of a plane.
        axes: columns u, v, normal; origin: of the first pixel, mm.
    """

    def __init__(
        self, shape: tuple[int, ...], step: float, gap: float, axes: np.ndarray, origin: np.ndarray
    ) -> None:
        self.shape, self.step, self.gap, self.axes, self.origin = shape, step, gap, axes, origin
        self.parts: list[Part] = []

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel."""
        return self.step**2 * self.gap / 1000

    def add(self, planes: list[list[tuple[np.ndarray, bool]]], told: list[str]) -> None:
        """Fill one structure: per plane its contours in pixels, and whether they are CLOSEDPLANAR_XOR."""
        volume = np.zeros(self.shape, bool)
        areas = []
        for row, drawn in enumerate(planes):
            if drawn:
                areas.append(
                    contours.fill([c for c, _ in drawn], [x for _, x in drawn], self.shape[1:], self.step)
                )
                volume[row] = areas[-1].inside
        ml = {
            name: sum(np.sum(getattr(area, name)) for area in areas) * self.voxel_ml
            for name in ("inside", "filled", "xor")
        }
        copies, holes = sum(area.copies for area in areas), sum(area.holes for area in areas)
        partial = sum(area.partial for area in areas)
        if copies:
            told.append(f"{count(copies, 'contour')} left out: the same as others")
        if holes:
            told.append(
                f"{count(holes, 'contour')} inside others taken as {'a hole' if holes == 1 else 'holes'}: "
                f"{ml['inside']:.1f} ml, filled it would be {ml['filled']:.1f} ml"
            )
        if partial:
            told.append(
                f"Contours overlap in part on {count(partial, 'plane')} and were united: {ml['inside']:.1f} ml, "
                f"by exclusive or it would be {ml['xor']:.1f} ml"
            )
        if not volume.any():
            raise unusable("its contours enclose nothing")
        self.parts.append(Part.of(volume))

    def united(self, told: list[str], ask: bool) -> sitk.Image:
        """All structures as 0/1 image."""
        volume = unite(self.parts, self.shape, self.voxel_ml, told, ask)
        image = sitk.GetImageFromArray(volume.astype(np.uint8))
        image.SetSpacing([self.step, self.step, self.gap])
        image.SetDirection(self.axes.ravel().tolist())
        image.SetOrigin(self.origin.tolist())
        return image


def _axes(contours: list[np.ndarray], reference: sitk.Image) -> np.ndarray:
    """Columns u, v, normal; those of the reference where the planes are its slices."""
    normals = np.array([_newell(c) for c in contours])
    main = normals[np.argmax(np.linalg.norm(normals, axis=1))]
    if np.linalg.norm(main) < 1e-6:
        raise unusable("its contours enclose nothing")
    main = np.round(main / np.linalg.norm(main), 9)
    main *= np.sign(main[np.argmax(np.abs(main))])  # whichever way around it was drawn
    grid = np.reshape(reference.GetDirection(), (3, 3))
    along = grid.T @ main
    axis = int(np.argmax(np.abs(along)))
    if abs(along[axis]) > 1 - 1e-6:
        order = [(axis + 1) % 3, (axis + 2) % 3, axis]
        axes = grid[:, order]
        return axes if np.linalg.det(axes) > 0 else axes * [1, 1, -1]
    u = np.cross(main, np.eye(3)[int(np.argmin(np.abs(main)))])
    u /= np.linalg.norm(u)
    return np.column_stack([u, np.cross(main, u), main])


def _rows(depths: np.ndarray, gap: float) -> tuple[np.ndarray, float]:
    """Plane number of each contour, and the distance of planes that fits all of them best."""
    planes, which = np.unique(np.round(depths, 2), return_inverse=True)
    rows = np.concatenate([[0], np.cumsum(np.round(np.diff(planes) / gap))]).astype(int)
    if rows[-1]:
        gap = float((planes[-1] - planes[0]) / rows[-1])
    if np.abs(planes - planes[0] - rows * gap).max() > 0.1 * gap:
        raise _uneven()
    return rows[which], gap


def _check_planes(contours: list[np.ndarray], rows: np.ndarray) -> None:
    """Refuse a structure that goes on across more gaps of few planes than neighbouring planes.

    One contour drawn between two slices makes the planes half as thick as all the others mean, and gaps of what is whole.
    """
    boxes = {
        row: [(c.min(0)[:2], c.max(0)[:2]) for c, r in zip(contours, rows, strict=True) if r == row]
        for row in np.unique(rows)
    }
    beside = gaps = 0
    for (row, here), (following, there) in pairwise(boxes.items()):
        beside += following - row == 1
        gaps += 1 < following - row <= FEW and any(
            (low < far).all() and (near < high).all() for low, high in here for near, far in there
        )
    if gaps > max(beside, 1):
        raise _uneven()


def _uneven() -> DataError:
    return DataError(
        "E_MASK_UNEVEN", "The contour planes are not evenly spaced", "one plane per slice", "Export it again"
    )


def _gap(
    depths: np.ndarray,
    others: np.ndarray,
    normal: np.ndarray,
    reference: sitk.Image,
    image_gap: Callable[[np.ndarray, np.ndarray, bool], float | None],
    told: list[str],
) -> float:
    """Distance of the planes in mm: of the contours, else of the images they were drawn on, else of the other ROIs, else of the PET."""
    own = steps(depths)
    if len(own):
        gap, images = float(np.median(own[own < 1.5 * own.min()])), image_gap(normal, depths, False)
        if images and gap > 1.5 * images:
            told.append(
                f"The contour planes lie {gap:.3g} mm apart, the images {images:.3g} mm: each contour was taken as {gap:.3g} mm thick"
            )
        return gap
    images = image_gap(normal, depths, True)
    if images:
        return images
    rest = steps(others)
    if len(rest):
        return float(rest.min())
    told.append(
        "The ROI lies on one plane and nothing says how thick it is; the slice distance of the PET was used"
    )
    along = np.abs(np.reshape(reference.GetDirection(), (3, 3)).T @ normal)
    return float(np.array(reference.GetSpacing())[int(np.argmax(along))])
