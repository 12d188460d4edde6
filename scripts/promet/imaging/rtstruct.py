"""RTSTRUCT contours to a volume.

Contours are filled on their own planes with pixels much finer than the PET's, holes by exclusive or; the share
each PET voxel gets then decides (geometry.to_grid). No image of the series they were drawn on is needed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset

from promet.core.errors import DataError
from promet.core.words import count
from promet.imaging.dicom import Header, files_of, read_header
from promet.imaging.roi import Chooser, Contoured, missing

CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
MOST_VOXELS = 2e8
FLAT = 0.02  # share of the plane distance within which a contour must be flat and planes coincide


def read(
    data: Dataset, reference: sitk.Image, choose: Chooser, ct: Path | None, told: list[str]
) -> Contoured:
    """The united chosen ROIs as 0/1 volume on a fine grid along the contour planes.

    Raises:
        DataError: E_MASK_ROI_MISSING, E_MASK_NO_CONTOUR, E_MASK_POINTS (unreadable), E_MASK_BENT, E_MASK_UNEVEN (planes),
            E_MASK_FRAMES.
    """
    chosen, frame = _chosen(data, choose, told)
    groups, instances, odd, planes = [], set(), 0, []
    for item in data.get("ROIContourSequence") or ():
        mine = int(item.ReferencedROINumber) in chosen
        contours = []
        for contour in item.get("ContourSequence") or ():
            points = _points(contour)
            if points is None:
                odd += mine
                continue
            if mine:
                contours.append(points)
                instances.update(
                    str(i.ReferencedSOPInstanceUID) for i in contour.get("ContourImageSequence") or ()
                )
            else:
                planes.append(points[0])
        if contours:
            groups.append(contours)
    if odd:
        told.append(f"{count(odd, 'contour')} left out: no closed line")
    if not groups:
        raise DataError(
            "E_MASK_NO_CONTOUR",
            "The fitting ROI holds no closed contour",
            "closed planar contours",
            "Draw or export it again",
        )
    image = _fill(groups, np.array(planes).reshape(-1, 3), reference, ct, told)
    return Contoured(image, frame, instances)


def _chosen(data: Dataset, choose: Chooser, told: list[str]) -> tuple[set[int], str | None]:
    """Numbers of the fitting ROIs and their frame of reference."""
    items = {int(item.ROINumber): item for item in data.get("StructureSetROISequence") or ()}
    chosen = choose.pick({number: str(item.get("ROIName", "")) for number, item in items.items()})
    if not chosen:
        raise missing(len(items), "ROIs")
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
    return chosen, frames.pop() if frames else None


def _points(contour: Dataset) -> np.ndarray | None:
    """Points (n, 3) in mm of a closed contour of some area, else None."""
    if str(contour.get("ContourGeometricType", "")) not in CLOSED:
        return None
    try:
        element = contour.get_item("ContourData")
        value = element.value if element is not None else None
        # raw text, if pydicom has not parsed it yet: its own parser takes most of the time of a large file
        numbers = value.split(b"\\") if isinstance(value, bytes) else contour.ContourData
        points = np.array([float(v) for v in numbers]).reshape(-1, 3)
    except (TypeError, ValueError, AttributeError):
        points = np.full((1, 3), np.nan)
    if not np.isfinite(points).all():
        raise DataError(
            "E_MASK_POINTS", "A contour holds no valid points", "triples of numbers", "Export it again"
        )
    return points if len(points) > 2 else None


def _newell(points: np.ndarray) -> np.ndarray:
    """Normal times twice the area of a polygon (Newell)."""
    middle = points - points.mean(0)
    return np.cross(middle, np.roll(middle, -1, 0)).sum(0)


def _fill(
    groups: list[list[np.ndarray]],
    others: np.ndarray,
    reference: sitk.Image,
    ct: Path | None,
    told: list[str],
) -> sitk.Image:
    axes = _axes([c for group in groups for c in group], reference)
    groups = [[c @ axes for c in group] for group in groups]  # columns of axes: u, v, normal
    every = [c for group in groups for c in group]
    depths = np.array([c[:, 2].mean() for c in every])
    gap = _gap(depths, others @ axes[:, 2] if len(others) else np.empty(0), axes[:, 2], reference, ct, told)
    if max(np.ptp(c[:, 2]) for c in every) > max(FLAT * gap, 0.05):
        raise DataError(
            "E_MASK_BENT",
            "A contour is not flat, or contours lie in crossing planes",
            "parallel flat contours",
        )
    first = depths.min()
    rows, gap = _rows(depths, gap)
    used = np.unique(rows)
    if (np.diff(used) > 1).any():
        told.append(f"{int((np.diff(used) > 1).sum())} gaps between contour planes were left empty")
    low = np.min([c.min(0) for c in every], 0)[:2]
    extent = np.max([c.max(0) for c in every], 0)[:2] - low
    step = float(np.clip(min(reference.GetSpacing()) / 5, 0.25, 1.0))
    step = max(step, float(np.sqrt(np.prod(extent + 1) * (rows.max() + 1) / MOST_VOXELS)))
    origin = low - 1.37 * step  # off the lattice on which contour points tend to lie
    shape = tuple(np.ceil((extent / step)[::-1]).astype(int) + 4)
    volume = np.zeros((rows.max() + 1, *shape), bool)
    start = 0
    for group in groups:
        own = np.zeros_like(volume) if len(groups) > 1 else volume
        for contour, row in zip(group, rows[start : start + len(group)], strict=True):
            _toggle(own[row], (contour[:, 1::-1] - origin[::-1]) / step)
        if own is not volume:
            volume |= own
        start += len(group)
    image = sitk.GetImageFromArray(volume.astype(np.uint8))
    image.SetSpacing([step, step, gap])
    image.SetDirection(axes.ravel().tolist())
    image.SetOrigin((axes @ np.array([*origin, first])).tolist())
    return image


def _toggle(plane: np.ndarray, points: np.ndarray) -> None:
    """Exclusive or of one filled polygon, given in (row, column) with pixel centres at whole numbers."""
    low = np.maximum(np.floor(points.min(0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(points.max(0)).astype(int) + 2, plane.shape)
    plane[low[0] : high[0], low[1] : high[1]] ^= inside(points - low, tuple(high - low))


def inside(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Pixels of ``shape`` whose centre a polygon encloses by the even-odd rule.

    The same as skimage.draw.polygon2mask but for centres that lie exactly on an edge, in time of the
    outline's length instead of pixels times points.

    Args:
        points: (n, 2) row and column, pixel centres at whole numbers; all rows within 0 .. shape[0] - 1.
    """
    ahead = np.roll(points, -1, 0)
    upper, lower = np.minimum(points[:, 0], ahead[:, 0]), np.maximum(points[:, 0], ahead[:, 0])
    first = np.ceil(upper).astype(int)
    count = np.maximum(np.ceil(lower).astype(int) - first, 0)  # rows r with upper <= r < lower
    edge = np.repeat(np.arange(len(points)), count)
    row = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    (r0, c0), (r1, c1) = points[edge].T, ahead[edge].T
    column = np.ceil(c0 + (row - r0) * (c1 - c0) / (r1 - r0)).astype(int)
    crossings = np.zeros((shape[0], shape[1] + 1), np.int32)
    np.add.at(crossings, (row, np.clip(column, 0, shape[1])), 1)
    return np.cumsum(crossings[:, :-1], axis=1) % 2 == 1


def _axes(contours: list[np.ndarray], reference: sitk.Image) -> np.ndarray:
    """Columns u, v, normal; those of the reference where the planes are its slices."""
    normals = np.array([_newell(c) for c in contours])
    main = normals[np.argmax(np.linalg.norm(normals, axis=1))]
    if np.linalg.norm(main) == 0:
        raise DataError("E_MASK_NO_CONTOUR", "The contours enclose nothing", "contours with an area")
    main = main / np.linalg.norm(main)
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
        raise DataError(
            "E_MASK_UNEVEN",
            "The contour planes are not evenly spaced",
            "one plane per slice",
            "Export it again",
        )
    return rows[which], gap


def _gap(
    depths: np.ndarray,
    others: np.ndarray,
    normal: np.ndarray,
    reference: sitk.Image,
    ct: Path | None,
    told: list[str],
) -> float:
    """Distance of the planes in mm: of the contours, else of the CT, else of the other ROIs, else of the PET."""
    own = _steps(depths)
    if len(own):
        return float(np.median(own[own < 1.5 * own.min()]))
    series = _ct_gap(ct, normal)
    if series:
        return series
    rest = _steps(others)
    if len(rest):
        return float(rest.min())
    told.append(
        "The ROI lies on one plane and nothing says how thick it is; the slice distance of the PET was used"
    )
    along = np.abs(np.reshape(reference.GetDirection(), (3, 3)).T @ normal)
    return float(np.array(reference.GetSpacing())[int(np.argmax(along))])


def _steps(depths: np.ndarray) -> np.ndarray:
    steps = np.diff(np.sort(depths))
    return steps[steps > 0.1]


def _ct_gap(ct: Path | None, normal: np.ndarray) -> float | None:
    places = []
    for path in files_of(Path(ct)) if ct is not None and Path(ct).exists() else ():
        data = read_header(path)
        place = (
            Header(data).numbers("ImagePositionPatient", 3)
            if data is not None and data.get("Modality") == "CT"
            else None
        )
        if place:
            places.append(float(np.dot(place, normal)))
    steps = _steps(np.array(places))
    return float(np.median(steps)) if len(steps) else None
