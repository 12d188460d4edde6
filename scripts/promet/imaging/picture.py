"""The picture for quality control: three planes through the hottest lesion voxel and the whole scan, with outlines.

Beside it, if asked for, the excerpt: the neighbourhood of the prostate as two small volumes, for a viewer.
"""

from __future__ import annotations

import gzip
import struct
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from promet.core.files import atomic
from promet.core.job import without
from promet.core.sidecar import QUARANTINED, Sidecar
from promet.core.stage import Outcome, run_stage
from promet.imaging.crop import centroid_mm, cuboid_grid
from promet.imaging.geometry import read_masks, read_pet, write_plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from promet.imaging.settings import Crop, Picture

PRODUCT = "picture.png"
EXCERPT = ("excerpt_pet.nii.gz", "excerpt_masks.nii.gz")
EXCERPT_MM = 10.0  # kept around the organ and the cuboid
SLOPE = 112  # offset of scl_slope, scl_inter in a NIfTI-1 header: two float32
AROUND_MM = 30.0  # shown around the organ and the cuboid
STEP_MM = 0.5  # pixel of the drawn planes
DPI = 110
ORGAN, LESION, CUBOID = (
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


def projection(image: sitk.Image) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """Highest value from front to back, (z, x), and the edges left, right, bottom, top in mm.

    Along the grid's own axis nearest to that direction: an oblique grid is shown as if it were straight.
    """
    straight = sitk.DICOMOrient(image, "LPS")
    flat = sitk.GetArrayViewFromImage(straight).max(axis=1)
    middle = straight.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in straight.GetSize()])
    half = np.array(straight.GetSize()) * straight.GetSpacing() / 2
    low, high = middle - half, middle + half
    return flat, (low[0], high[0], low[2], high[2])


def neighbourhood(image: sitk.Image, view: View) -> sitk.Image:
    """The voxels of ``image`` that the view can touch: a whole-body volume need not be handled three times."""
    corners = [
        image.TransformPhysicalPointToContinuousIndex(np.where(corner, view.high, view.low).tolist())
        for corner in np.ndindex(2, 2, 2)
    ]
    low = np.clip(np.floor(np.min(corners, axis=0)).astype(int) - 1, 0, np.array(image.GetSize()) - 1)
    high = np.clip(np.ceil(np.max(corners, axis=0)).astype(int) + 2, low + 1, image.GetSize())
    return sitk.RegionOfInterest(image, (high - low).tolist(), low.tolist())


def _load() -> None:
    """matplotlib without lists of each artist's properties in its documentation and without 3D: two thirds of the time."""
    from matplotlib import artist

    properties, artist.kwdoc = artist.kwdoc, lambda of: ""
    try:
        with (
            without("mpl_toolkits.mplot3d"),
            warnings.catch_warnings(action="ignore"),
        ):  # which it says is missing
            import matplotlib.figure  # noqa: F401
    finally:
        artist.kwdoc = properties


def draw(
    pet: sitk.Image, organ: sitk.Image, lesions: sitk.Image, title: str, settings: Picture, cuboid: Crop
) -> Figure:
    """The picture as a matplotlib figure: three planes and the maximum intensity projection of the whole scan.

    Args:
        pet: SUVbw; organ, lesions: uint8 0/1 on its grid, the lesions may be empty; the planes follow the patient's
            axes whatever the grid's direction.
        title: the pseudonym.
        cuboid: settings of the cuboid that is drawn.
    """
    _load()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    view = view_of(pet, organ, lesions)
    grid = cuboid_grid(centroid_mm(organ), cuboid)
    half = np.array(grid.GetSpacing()) / 2
    corner = np.array(grid.GetOrigin()) - half
    sides = np.array(grid.GetSize()) * grid.GetSpacing()
    view = View(view.point, np.minimum(view.low, corner - 3), np.maximum(view.high, corner + sides + 3))
    near_pet, near_organ, near_lesions = (neighbourhood(image, view) for image in (pet, organ, lesions))

    widths = [view.high[across] - view.low[across] for _, across, _, _ in PLANES]
    tall = max(view.high[up] - view.low[up] for _, _, up, _ in PLANES)
    whole, area = projection(pet)
    widths.append(tall * np.clip((area[1] - area[0]) / (area[3] - area[2]), 0.3, 1.2))
    figure = Figure(figsize=(13, 13 / 1.09 * tall / sum(widths) + 1.2), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    *axes, last = figure.subplots(1, 4, width_ratios=widths)
    scale = {"cmap": "gray_r", "vmin": 0, "vmax": settings.suv_max, "origin": "lower"}
    outlined = ((organ, ORGAN, 0.8), (lesions, LESION, 0.8))
    last.imshow(whole, extent=area, **scale)
    for mask, colour, width in outlined:
        flat = projection(mask)[0]
        if flat.any():
            last.contour(flat, [0.5], colors=colour, linewidths=width, extent=area, origin="lower")
    _box(last, corner[[0, 2]], sides[[0, 2]])
    _furnish(last, "maximum projection of the PET", "RLIS", 100, area[1] - area[0])
    for ax, (name, across, up, ends) in zip(axes, PLANES, strict=True):
        area = (view.low[across], view.high[across], view.low[up], view.high[up])
        drawn = ax.imshow(plane(near_pet, view, across, up), extent=area, **scale)
        for mask, colour in ((near_organ, ORGAN), (near_lesions, LESION)):
            cut = plane(mask, view, across, up)
            if (cut > 0.5).any():
                ax.contour(cut, [0.5], colors=colour, linewidths=1.4, extent=area, origin="lower")
        _box(ax, corner[[across, up]], sides[[across, up]])
        for line, value in ((ax.axvline, view.point[across]), (ax.axhline, view.point[up])):
            line(value, color="0.45", linewidth=0.5, linestyle=":")
        if up == 1:  # y of LPS grows towards the back
            ax.invert_yaxis()
        _furnish(ax, name, ends, 20, view.high[across] - view.low[across])
    bar = figure.colorbar(drawn, ax=[*axes, last], shrink=0.8, aspect=30, pad=0.01, extend="max")
    bar.set_label("SUV (body weight)")
    figure.suptitle(title, fontsize=13, fontweight="bold")
    figure.supxlabel(_caption(pet, organ, lesions), fontsize=9, color="0.25")
    _legend(figure, lesions)
    return figure


def excerpt(
    pet: sitk.Image, organ: sitk.Image, lesions: sitk.Image, cuboid: Crop, top: float
) -> tuple[sitk.Image, sitk.Image, float]:
    """What a viewer needs: PET and labels (1 organ, 2 lesion) around the organ and the cuboid, uint8, on the PET's grid.

    Returns:
        PET, labels, and the SUV per step of the PET: from 0 to the highest SUV in organ and lesions, at least ``top``; above it is cut.
    """
    low, high = extent(organ)
    grid = cuboid_grid(centroid_mm(organ), cuboid)
    corner = np.array(grid.GetOrigin())
    far = corner + np.array(grid.GetSize()) * grid.GetSpacing()
    view = View(low, np.minimum(low, corner) - EXCERPT_MM, np.maximum(high, far) + EXCERPT_MM)
    suv, inside, hot = (neighbourhood(image, view) for image in (pet, organ, lesions))
    values, labels = sitk.GetArrayFromImage(suv), np.minimum(sitk.GetArrayFromImage(inside), 1)
    labels[sitk.GetArrayViewFromImage(hot) > 0] = 2
    step = max(top, float(values[labels > 0].max(initial=0))) / 255
    made = [sitk.GetImageFromArray(a.astype(np.uint8)) for a in (np.rint(values / step).clip(0, 255), labels)]
    for image in made:
        image.CopyInformation(suv)
    return made[0], made[1], step


def write_excerpt(image: sitk.Image, path: Path, step: float = 1.0) -> Path:
    """As NIfTI whose values are multiples of ``step``, without a time in it."""
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "excerpt.nii"
        write_plain(image, plain)
        data = bytearray(plain.read_bytes())
    struct.pack_into("<ff", data, SLOPE, step, 0.0)
    with atomic(path) as temporary:
        temporary.write_bytes(gzip.compress(bytes(data), 9, mtime=0))
    return path


def _box(ax: Axes, corner: np.ndarray, sides: np.ndarray) -> None:
    from matplotlib.patches import Rectangle

    ax.add_patch(
        Rectangle(tuple(corner), *sides, fill=False, edgecolor=CUBOID, linewidth=1.2, linestyle="--")
    )


def _furnish(ax: Axes, name: str, ends: str, bar: float, width: float) -> None:
    """Title, scale bar of ``bar`` mm in a panel ``width`` mm wide, letters of the directions."""
    ax.set_title(name, fontsize=10)
    for axis in (ax.xaxis, ax.yaxis):  # no ticks, and none looked for
        axis.set_visible(False)
    ax.plot([0.05, 0.05 + bar / width], [0.045, 0.045], color="black", linewidth=3, transform=ax.transAxes)
    ax.text(0.05, 0.06, f"{bar:g} mm", fontsize=8, transform=ax.transAxes, va="bottom")
    white = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.7}
    for x, y, letter in ((0.025, 0.5, 0), (0.975, 0.5, 1), (0.5, 0.025, 2), (0.5, 0.975, 3)):
        ax.text(x, y, ends[letter], fontsize=9, ha="center", va="center", transform=ax.transAxes, bbox=white)


def _legend(figure: Figure, lesions: sitk.Image) -> None:
    from matplotlib.lines import Line2D

    found = bool(sitk.GetArrayViewFromImage(lesions).any())
    entries = [Line2D([], [], color=ORGAN, label="prostate")]
    if found:
        entries.append(Line2D([], [], color=LESION, label="lesion"))
    entries.append(Line2D([], [], color=CUBOID, linestyle="--", label="box of the network"))
    figure.legend(handles=entries, loc="upper right", ncols=3, fontsize=9, frameon=False)


def _caption(pet: sitk.Image, organ: sitk.Image, lesions: sitk.Image) -> str:
    suv, hot, inside = (sitk.GetArrayViewFromImage(image) for image in (pet, lesions, organ))
    voxel_ml = np.prod(pet.GetSpacing()) / 1000
    text = f"prostate {np.count_nonzero(inside) * voxel_ml:.0f} ml"
    if not hot.any():
        return f"{text}, no lesion; planes through the centroid of the prostate"
    peak = suv[np.asarray(hot) > 0].max()
    return f"{text}, lesions {np.count_nonzero(hot) * voxel_ml:.1f} ml, SUVmax {peak:.1f}; planes through the hottest lesion voxel"


@dataclass(frozen=True)
class Inputs:
    """The patient's folder, and the cuboid that is drawn."""

    folder: Path
    cuboid: Crop


def run(inputs: Inputs, settings: Picture, out: Path, pin: str) -> Sidecar:
    """The stage ``picture``: picture.png and, if asked for, the excerpt beside ``out``; also for patients without lesions.

    The title is the name of the folder, which is the pseudonym. The files hold no text besides.
    """
    folder, product = inputs.folder.resolve(), out.with_name(PRODUCT)
    lost = Sidecar.read(folder / "segment.json").status == QUARANTINED

    def work() -> Outcome:
        pet = read_pet(folder)
        organ, lesions = read_masks(folder)
        figure = draw(pet, organ, lesions, folder.name, settings, inputs.cuboid)
        with atomic(product) as temporary:
            figure.canvas.print_png(temporary, metadata={"Software": None})  # savefig draws it twice
        paths = [out.with_name(name) for name in EXCERPT] if settings.volumes else []
        if paths:
            *volumes, step = excerpt(pet, organ, lesions, inputs.cuboid, settings.suv_max)
            for volume, path, unit in zip(volumes, paths, (step, 1.0), strict=True):
                write_excerpt(volume, path, unit)
        else:
            for name in EXCERPT:
                out.with_name(name).unlink(missing_ok=True)
        return Outcome(products={path.name: path for path in (product, *paths)})

    return run_stage(
        "picture",
        out,
        pin,
        work,
        upstream={name: folder / f"{name}.json" for name in ("convert", "segment")},
        needs=("segment",) if lost else (),
        makes=(PRODUCT, *EXCERPT),
        packages=("SimpleITK", "matplotlib"),
    )
