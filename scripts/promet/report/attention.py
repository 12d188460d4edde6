"""Where the networks look: shares of the attribution maps, their pictures, and figure S1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from promet.report import gallery, style
from promet.report.table import Table
from promet.report.text import fixed, short

if TYPE_CHECKING:
    from promet.report.read import Split, Study

METHODS = {"grad_cam": "Grad-CAM", "integrated_gradients": "integrated gradients", "occlusion": "occlusion"}
LIKE_UNTRAINED = (
    0.5  # rank correlation from which a map is said to show the image rather than what was learnt
)


def table(split: Split) -> Table | None:
    """Medians over the patients: how much of each map lies in the lesions and in the prostate."""
    values = split.values("attention")
    if not values.get("patients"):
        return None
    rows, notes = [], []
    for name in values["methods"]:
        like = values[f"median_{name}_untrained_correlation"]
        title = METHODS.get(name, name)
        title = title[0].upper() + title[1:]
        shares = [f"{100 * values[f'median_{name}_{place}']:.1f} %" for place in ("lesion", "organ")]
        rows.append([title, *shares, fixed(like)])
        if like >= LIKE_UNTRAINED:
            notes.append(
                f"{title}: an untrained network gives much the same map, so it shows the image more than what was learnt."
            )
    if (middle := values.get("median_integrated_gradients_error")) is not None:
        notes.append(
            f"Integrated gradients should sum to the change of the logit from an empty image to this one; with {values['integrated_gradients_steps']} steps the "
            f"sum misses it by {short(100 * middle)} % of that change (median; at most {short(100 * values['largest_integrated_gradients_error'])} %)."
        )
    chance = [f"{100 * values[f'median_voxels_{place}']:.1f} %" for place in ("lesion", "organ")]
    rows.append(["If it were spread evenly", *chance, ""])
    n = len(values["patients"])
    head = ["Map", "in the lesions", "in the prostate", "rank correlation with an untrained network"]
    caption = f"Attribution maps, medians over n = {n}; layer {values.get('layer', '')} ({' × '.join(map(str, values.get('cells', [])))} cells)."
    return Table(caption, head, rows, notes)


def pictures(split: Split) -> list[dict[str, Any]]:
    """The overlays of the patients they were asked for."""
    if "attention" not in split.where:
        return []
    shown = []
    for patient in split.values("attention").get("patients", []):
        path = split.where["attention"].with_name(f"{patient}.png")
        if path.exists():
            uri, size = gallery.thumbnail(path)
            shown.append(
                {
                    "patient": patient,
                    "part": split.part(patient),
                    "uri": uri,
                    "width": size[0],
                    "height": size[1],
                }
            )
    return shown


def keep(made: style.Figures, study: Study, split: Split) -> None:
    """Figure S1 of the first patient: PET cuboid, lesion map, attention."""
    names = split.values("attention").get("patients", [])
    if not names or split.attention is None:
        return
    maps = split.where["attention"].with_name("attention.npy")
    tensor = study.folder / names[0] / "tensor.npy"
    if not (maps.exists() and tensor.exists()):
        return
    made.keep(
        "figure-S1",
        overlays(
            np.load(tensor, allow_pickle=False),
            np.load(maps, allow_pickle=False)[0],
            split.values("attention")["methods"],
        ),
    )


def overlays(volume: np.ndarray, maps: np.ndarray, methods: list[str]) -> Figure:
    """One transverse plane through the lesions: PET, lesion map, each map.

    Args:
        volume: (channels, z, y, x); maps: (methods, z, y, x).
    """
    target = volume[1] if volume[1].any() else volume[0]
    z = int(target.sum(axis=(1, 2)).argmax())
    fig = style.figure(1.75)
    panels = fig.subplots(1, 2 + len(methods))
    shown = [(volume[0][z], "gray_r", "PET in the cuboid"), (volume[1][z], "gray_r", "Lesion map")]
    shown += [(one[z], "cividis", METHODS.get(name, name)) for one, name in zip(maps, methods, strict=True)]
    for place, (axes, (plane, colours, title)) in enumerate(zip(panels, shown, strict=True)):
        axes.imshow(plane, cmap=colours, vmin=0, vmax=max(float(plane.max()), 1e-9))
        if place > 1 and volume[1][z].any():
            axes.contour(volume[1][z], [0.5], colors=style.VERMILION, linewidths=0.8)
        axes.axis("off")
        axes.set_title(f"{'ABCDEFGH'[place]}  {title[0].upper()}{title[1:]}", fontsize=7)
    fig.supxlabel(
        "One patient, the transverse plane with most of the lesion map; orange: its outline. Each panel from 0 to its own maximum.",
        fontsize=6.5,
    )
    return fig
