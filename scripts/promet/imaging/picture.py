"""The picture for quality control: three planes through the hottest lesion voxel with outlines and the box."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from promet.core.files import atomic
from promet.core.sidecar import QUARANTINED, Sidecar
from promet.core.stage import Outcome, run_stage
from promet.imaging.crop import box_grid, centroid_mm
from promet.imaging.geometry import read_image
from promet.imaging.settings import Crop, Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PRODUCT = "picture.png"
AROUND_MM = 30.0  # shown around the organ and the box
STEP_MM = 0.5  # pixel of the drawn planes
DPI = 110
ORGAN, LESION, BOX = (
    "#0072b2",
    "#d55e00",
    "#009e73",
)  # blue, vermilion, green of Okabe and Ito: safe for colour-blind
# name, axis across, axis upwards (indices into x, y, z of LPS), letters at left, right, bottom, top
PLANES = (("transverse", 0, 1, "RLPA"), ("coronal", 0, 2, "RLIS"), ("sagittal", 1, 2, "APIS"))


@dataclass(frozen=True)
class View:
    """What one picture shows: the point all planes go through and the field around it, mm, (x, y, z) of LPS."""

    point: np.ndarray
    low: np.ndarray
    high: np.ndarray


def hottest(pet: sitk.Image, mask: sitk.Image) -> np.ndarray:
    """Position (x, y, z) in mm of the highest voxel of ``pet`` in a mask that is not empty."""
    inside = sitk.GetArrayViewFromImage(mask) > 0
    places = np.argwhere(inside)
    index = places[np.argmax(sitk.GetArrayViewFromImage(pet)[inside])][::-1]
    return np.array(mask.TransformIndexToPhysicalPoint(index.tolist()))


def extent(mask: sitk.Image) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest position (x, y, z) in mm of the voxel centres of a mask that is not empty."""
    places = np.argwhere(sitk.GetArrayViewFromImage(mask))[:, ::-1] * mask.GetSpacing()
    points = places @ np.array(mask.GetDirection()).reshape(3, 3).T + mask.GetOrigin()
    return points.min(axis=0), points.max(axis=0)


def view_of(pet: sitk.Image, organ: sitk.Image, lesions: sitk.Image) -> View:
    """Through the hottest lesion voxel, or the organ's centroid without lesions; the organ and 30 mm around it."""
    found = sitk.GetArrayViewFromImage(lesions).any()
    low, high = extent(organ)
    return View(hottest(pet, lesions) if found else centroid_mm(organ), low - AROUND_MM, high + AROUND_MM)


def plane(image: sitk.Image, view: View, across: int, up: int, outside: float = 0.0) -> np.ndarray:
    """Linear cut of ``image`` along two axes of the patient (0 x, 1 y, 2 z) through the view's point.

    Returns:
        float32 (up, across) with pixels of ``STEP_MM``.
    """
    size, origin = [1, 1, 1], view.point.copy()
    for axis in (across, up):
        size[axis] = int(np.ceil((view.high[axis] - view.low[axis]) / STEP_MM))
        origin[axis] = view.low[axis] + STEP_MM / 2
    grid = sitk.Image(size, sitk.sitkUInt8)
    grid.SetSpacing([STEP_MM] * 3)
    grid.SetOrigin(origin.tolist())
    cut = sitk.Resample(image, grid, sitk.Transform(), sitk.sitkLinear, outside, sitk.sitkFloat32)
    return np.squeeze(sitk.GetArrayFromImage(cut), axis=2 - ({0, 1, 2} - {across, up}).pop())


def neighbourhood(image: sitk.Image, view: View) -> sitk.Image:
    """The voxels of ``image`` that the view can touch: a whole-body volume need not be handled three times."""
    corners = [
        image.TransformPhysicalPointToContinuousIndex(np.where(corner, view.high, view.low).tolist())
        for corner in np.ndindex(2, 2, 2)
    ]
    low = np.clip(np.floor(np.min(corners, axis=0)).astype(int) - 1, 0, np.array(image.GetSize()) - 1)
    high = np.clip(np.ceil(np.max(corners, axis=0)).astype(int) + 2, low + 1, image.GetSize())
    return sitk.RegionOfInterest(image, (high - low).tolist(), low.tolist())


def draw(
    pet: sitk.Image, organ: sitk.Image, lesions: sitk.Image, title: str, settings: Picture, box: Crop
) -> Figure:
    """The picture as a matplotlib figure.

    Args:
        pet: SUVbw; organ, lesions: uint8 0/1 on its grid, the lesions may be empty; the planes follow the patient's
            axes whatever the grid's direction.
        title: the pseudonym.
        box: settings of the cuboid whose box is drawn.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    view = view_of(pet, organ, lesions)
    grid = box_grid(centroid_mm(organ), box)
    half = np.array(grid.GetSpacing()) / 2
    corner = np.array(grid.GetOrigin()) - half
    sides = np.array(grid.GetSize()) * grid.GetSpacing()
    view = View(view.point, np.minimum(view.low, corner - 3), np.maximum(view.high, corner + sides + 3))
    near_pet, near_organ, near_lesions = (neighbourhood(image, view) for image in (pet, organ, lesions))

    widths = [view.high[across] - view.low[across] for _, across, _, _ in PLANES]
    heights = [view.high[up] - view.low[up] for _, _, up, _ in PLANES]
    figure = Figure(figsize=(13, 13 / 1.09 * max(heights) / sum(widths) + 1.2), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 3, width_ratios=widths)
    for ax, (name, across, up, ends) in zip(axes, PLANES, strict=True):
        area = (view.low[across], view.high[across], view.low[up], view.high[up])
        drawn = ax.imshow(
            plane(near_pet, view, across, up),
            cmap="gray_r",
            vmin=0,
            vmax=settings.suv_max,
            extent=area,
            origin="lower",
        )
        for mask, colour in ((near_organ, ORGAN), (near_lesions, LESION)):
            cut = plane(mask, view, across, up)
            if (cut > 0.5).any():
                ax.contour(cut, [0.5], colors=colour, linewidths=1.4, extent=area, origin="lower")
        _box(ax, corner[[across, up]], sides[[across, up]])
        _furnish(ax, name, view, across, up, ends)
    bar = figure.colorbar(drawn, ax=axes, shrink=0.8, aspect=30, pad=0.01, extend="max")
    bar.set_label("SUV (body weight)")
    figure.suptitle(title, fontsize=13, fontweight="bold")
    figure.supxlabel(_caption(pet, organ, lesions), fontsize=9, color="0.25")
    _legend(figure, lesions)
    return figure


def _box(ax: Axes, corner: np.ndarray, sides: np.ndarray) -> None:
    from matplotlib.patches import Rectangle

    ax.add_patch(Rectangle(tuple(corner), *sides, fill=False, edgecolor=BOX, linewidth=1.2, linestyle="--"))


def _furnish(ax: Axes, name: str, view: View, across: int, up: int, ends: str) -> None:
    """Cross hair, scale bar of 20 mm, letters of the directions."""
    for line, value in ((ax.axvline, view.point[across]), (ax.axhline, view.point[up])):
        line(value, color="0.45", linewidth=0.5, linestyle=":")
    if up == 1:  # y of LPS grows towards the back
        ax.invert_yaxis()
    width = view.high[across] - view.low[across]
    ax.set_title(name, fontsize=10)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.plot([0.05, 0.05 + 20 / width], [0.045, 0.045], color="black", linewidth=3, transform=ax.transAxes)
    ax.text(0.05, 0.06, "20 mm", fontsize=8, transform=ax.transAxes, va="bottom")
    white = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.7}
    for x, y, letter in ((0.025, 0.5, 0), (0.975, 0.5, 1), (0.5, 0.025, 2), (0.5, 0.975, 3)):
        ax.text(x, y, ends[letter], fontsize=9, ha="center", va="center", transform=ax.transAxes, bbox=white)


def _legend(figure: Figure, lesions: sitk.Image) -> None:
    from matplotlib.lines import Line2D

    found = bool(sitk.GetArrayViewFromImage(lesions).any())
    entries = [Line2D([], [], color=ORGAN, label="prostate")]
    if found:
        entries.append(Line2D([], [], color=LESION, label="lesion"))
    entries.append(Line2D([], [], color=BOX, linestyle="--", label="box of the network"))
    figure.legend(handles=entries, loc="upper right", ncols=3, fontsize=9, frameon=False)


def _caption(pet: sitk.Image, organ: sitk.Image, lesions: sitk.Image) -> str:
    suv, hot, inside = (sitk.GetArrayViewFromImage(image) for image in (pet, lesions, organ))
    voxel_ml = np.prod(pet.GetSpacing()) / 1000
    text = f"prostate {np.count_nonzero(inside) * voxel_ml:.0f} ml"
    if not hot.any():
        return f"{text}, no lesion; planes through the centroid of the prostate"
    peak = suv[np.asarray(hot) > 0].max()
    return f"{text}, lesions {np.count_nonzero(hot) * voxel_ml:.1f} ml, SUVmax {peak:.1f}; planes through the hottest lesion voxel"


def run(out: Path, pin: str, settings: Picture, box: Crop) -> Sidecar:
    """The stage ``picture``: picture.png beside ``out``; also for patients without lesions.

    The title is the name of the folder, which is the pseudonym. The file holds no text besides the pixels.
    """
    folder = Path(out).resolve().parent
    lost = Sidecar.read(folder / "segment.json").status == QUARANTINED

    def work() -> Outcome:
        pet, organ, lesions = (
            read_image(folder / f"{name}.nii.gz") for name in ("pet", "prostate", "lesions")
        )
        figure = draw(pet, organ, lesions, folder.name, settings, box)
        with atomic(folder / PRODUCT) as temporary:
            figure.savefig(temporary, metadata={"Software": None})
        return Outcome(products={"picture": folder / PRODUCT})

    return run_stage(
        "picture",
        out,
        pin,
        work,
        upstream={"segment": folder / "segment.json"},
        needs=("segment",) if lost else (),
        makes=(PRODUCT,),
        packages=("SimpleITK", "matplotlib"),
    )
