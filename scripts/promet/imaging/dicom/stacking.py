"""Slices in order along their normal: one volume, or a refusal that says what is missing, doubled or mixed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import SimpleITK as sitk

from promet.core.errors import DataError
from promet.core.words import count
from promet.imaging.dicom.files import Header


@dataclass
class Stack:
    """Slices in order along their normal.

    Attributes:
        order: indices into the given headers.
        positions: mm along the normal, increasing.
        spacing: (x, y, z) mm of the regular grid.
        regular: False when the slices must be interpolated to the grid.
    """

    order: list[int]
    positions: np.ndarray
    origin: np.ndarray
    direction: np.ndarray
    spacing: tuple[float, float, float]
    regular: bool
    notes: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def refuse_frames(headers: list[Header], what: str = "PET") -> None:
    """Refuse several images at one place in a dynamic or gated series (E_<what>_FRAMES)."""
    kinds = {kind.upper() for header in headers for kind in header.texts("SeriesType")} & {"DYNAMIC", "GATED"}
    places = [header.numbers("ImagePositionPatient", 3) for header in headers] if kinds else []
    if None not in places and len({tuple(np.round(place, 3)) for place in places}) < len(places):
        raise DataError(
            f"E_{what}_FRAMES",
            f"The series is {min(kinds).lower()}: several images lie at each place",
            "one static image",
            "Give the static series, or sum its frames first",
        )


def stack(headers: Iterable[Header], what: str = "PET") -> Stack:
    """Order slices by place and check that they make one volume.

    Gaps that differ by rounding (2 % of a slice) make a regular grid with their mean; gaps up to one and a
    half of the usual one are interpolated; larger ones are missing slices.

    Raises:
        DataError: E_<what>_NO_PLACE, _ORIENTATION, _MIXED_GRIDS, _SHIFTED, _SINGLE_SLICE, _MISSING_SLICE,
            _DUPLICATE_SLICE.
    """
    headers = list(headers)
    places, axes, steps = [], [], []
    for header in headers:
        place, turn = header.numbers("ImagePositionPatient", 3), header.numbers("ImageOrientationPatient", 6)
        step = header.numbers("PixelSpacing", 2)
        if place is None or turn is None or step is None or min(step) <= 0:
            raise DataError(
                f"E_{what}_NO_PLACE",
                "A slice has no place in the body",
                "ImagePositionPatient, ImageOrientationPatient and PixelSpacing in every slice",
            )
        places.append(place), axes.append(turn), steps.append(step)
    places, axes, steps = np.array(places), np.array(axes), np.array(steps)
    if np.ptp(axes, 0).max() > 1e-3 or np.ptp(steps, 0).max() > 1e-3:
        raise DataError(
            f"E_{what}_MIXED_GRIDS",
            "The slices differ in ImageOrientationPatient or PixelSpacing",
            "slices of one volume",
        )
    row, column = _right_angled(axes[0], what)
    normal = np.cross(row, column)
    along = places @ normal
    order = np.argsort(along, kind="stable")
    positions, places = along[order], places[order]
    if len(order) < 2:
        raise DataError(
            f"E_{what}_SINGLE_SLICE",
            "There is only one slice",
            "a whole series",
            "Give the folder of the series",
        )
    drift = places - places[0] - np.outer(positions - positions[0], normal)
    if np.abs(drift).max() > 0.1 * steps[0].min():
        raise DataError(
            f"E_{what}_SHIFTED",
            "The slices are shifted against each other",
            "slices stacked along their normal",
        )
    gap, regular, notes, told = _gaps(positions, what)
    return Stack(
        order.tolist(),
        positions,
        places[0],
        np.column_stack([row, column, normal]),
        (float(steps[0][1]), float(steps[0][0]), gap),
        regular,
        notes,
        told,
    )


def _right_angled(turn: np.ndarray, what: str) -> tuple[np.ndarray, np.ndarray]:
    row, column = turn[:3], turn[3:]
    if (
        abs(np.linalg.norm(row) - 1) > 0.01
        or abs(np.linalg.norm(column) - 1) > 0.01
        or abs(row @ column) > 0.01
    ):
        raise DataError(
            f"E_{what}_ORIENTATION",
            "ImageOrientationPatient is no pair of right-angled unit vectors",
            "two directions",
        )
    row = row / np.linalg.norm(row)
    column = column - (column @ row) * row
    return row, column / np.linalg.norm(column)


def _gaps(positions: np.ndarray, what: str) -> tuple[float, bool, dict[str, Any], list[str]]:
    gaps = np.diff(positions)
    usual = float(np.sort(gaps)[(len(gaps) - 1) // 2])  # the lower median: of two gaps the smaller
    same = int((gaps < max(0.01 * usual, 1e-3)).sum())
    if same:
        raise DataError(
            f"E_{what}_DUPLICATE_SLICE",
            f"{same} of {len(positions)} slices lie where another one lies",
            "one slice per place: no time frames, gates or second reconstruction",
            "Give the static series only",
        )
    wide = gaps >= 1.5 * usual
    if wide.any():
        missing = int(np.round(gaps[wide] / usual - 1).sum())
        raise DataError(
            f"E_{what}_MISSING_SLICE",
            f"About {count(missing, 'slice')} missing between {len(positions)} slices, in {count(int(wide.sum()), 'place')}",
            "a whole series",
            "Export the series again",
        )
    mean = float((positions[-1] - positions[0]) / len(gaps))
    stray = float(np.abs(positions - positions[0] - mean * np.arange(len(positions))).max())
    uneven = float(np.abs(gaps - usual).max())
    notes = {
        "slice_gap_mm": round(mean, 5),
        "slice_gap_spread_mm": round(uneven, 5),
        "slice_stray_mm": round(stray, 5),
    }
    if stray <= 0.02 * usual:
        told = (
            []
            if uneven < 0.001 * usual
            else [
                f"The gaps between slices differ by up to {uneven:.3f} mm; with their mean no slice is displaced by more than {stray:.3f} mm"
            ]
        )
        return mean, True, notes, told
    told = [
        f"The gaps between slices differ by up to {uneven:.2f} mm; slices were interpolated to {usual:.3f} mm"
    ]
    return usual, False, notes, told


def grid(stack: Stack, header: Header) -> sitk.Image:
    """An empty uint8 image on the grid that ``assemble`` gives, from the header of one of its slices."""
    depth = len(stack.order)
    if not stack.regular:
        depth = int((stack.positions[-1] - stack.positions[0]) / stack.spacing[2] + 1e-6) + 1
    size = [int(header.number("Columns") or 1), int(header.number("Rows") or 1), depth]
    image = sitk.Image(size, sitk.sitkUInt8)
    image.SetOrigin(stack.origin.tolist())
    image.SetSpacing(stack.spacing)
    image.SetDirection(stack.direction.ravel().tolist())
    return image


def assemble(volume: np.ndarray, stack: Stack) -> sitk.Image:
    """The image of slices in order (z, y, x), interpolated (float32) where the stack is not regular."""
    if not stack.regular:
        volume = _interpolate(volume, stack)
    image = sitk.GetImageFromArray(volume)
    image.SetOrigin(stack.origin.tolist())
    image.SetSpacing(stack.spacing)
    image.SetDirection(stack.direction.ravel().tolist())
    return image


def _interpolate(volume: np.ndarray, stack: Stack) -> np.ndarray:
    """Linear between neighbouring slices, on the regular grid from the first to the last."""
    step, places = stack.spacing[2], stack.positions - stack.positions[0]
    wanted = np.arange(int(places[-1] / step + 1e-6) + 1) * step
    upper = np.clip(np.searchsorted(places, wanted), 1, len(places) - 1)
    share = ((wanted - places[upper - 1]) / (places[upper] - places[upper - 1])).astype(np.float32)[
        :, None, None
    ]
    return volume[upper - 1] * (1 - share) + volume[upper] * share
