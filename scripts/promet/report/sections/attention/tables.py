"""How much of each attribution map lies in the lesions, and its pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from promet.report import style
from promet.report.sections.attention.figures import METHODS
from promet.report.table import Table
from promet.report.text import fixed, short

if TYPE_CHECKING:
    from promet.report.read import Split


def context(split: Split, patient_level: bool) -> dict[str, Any]:
    """What the section shows besides its figures."""
    return {"attention": shares(split), "overlays": pictures(split) if patient_level else []}


LIKE_UNTRAINED = (
    0.5  # rank correlation from which a map is said to show the image rather than what was learnt
)


def shares(split: Split) -> Table | None:
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
            uri, size = style.thumbnail(path)
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
