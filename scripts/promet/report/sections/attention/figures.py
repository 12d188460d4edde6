"""Where the networks look: figure S1."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from promet.report import style

if TYPE_CHECKING:
    from promet.report.read import Split, Study

METHODS = {"grad_cam": "Grad-CAM", "integrated_gradients": "integrated gradients", "occlusion": "occlusion"}


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
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(visible=True, color=style.LIGHT)
        axes.set_title(f"{'ABCDEFGH'[place]}  {title[0].upper()}{title[1:]}", fontsize=7)
    fig.supxlabel(
        "One patient, the transverse plane with most of the lesion map; orange: its outline. Each panel from 0 to its own maximum.",
        fontsize=6.5,
    )
    return fig
