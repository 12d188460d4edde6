"""Tables of the images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from promet.core.words import count
from promet.report.table import Table
from promet.report.text import interval, quartiles

if TYPE_CHECKING:
    from promet.report.read import Study


def context(study: Study) -> dict[str, Any]:
    """What the section shows besides its figures."""
    return {"measures": measures(study), "inside": inside(study)}


MEASURES = {
    "suv_max": "lesion SUVmax",
    "suv_peak": "SUVpeak",
    "organ_ml": "prostate volume (ml)",
    "lesion_ml": "lesion volume (ml)",
    "lesion_count": "number of lesions",
    "inside_fraction": "share of the prostate inside the cuboid",
}


def measures(study: Study) -> Table | None:
    """Quality of the images in numbers."""
    table = study.measures
    if table is None or table.empty:
        return None
    rows = []
    for name, title in MEASURES.items():
        values = table[name].dropna() if name in table else []
        if len(values):
            digits = 3 if name == "inside_fraction" else 1
            spread = interval(float(values.min()), float(values.max()), digits)
            rows.append(
                [title[0].upper() + title[1:], str(len(values)), quartiles(values.to_numpy(), digits), spread]
            )
    return Table("Measures of the images.", ["", "n", "Median (quartiles)", "Range"], rows) if rows else None


def inside(study: Study) -> str:
    """A sentence on how much of the prostates lies inside the cuboid."""
    table = study.measures
    values = table["inside_fraction"].dropna() if table is not None and "inside_fraction" in table else []
    if not len(values):
        return "How much of each prostate lies inside the cuboid is not recorded."
    cut = values[values < 1]
    if not len(cut):
        return f"In {'the one patient' if len(values) == 1 else f'all {len(values)} patients'} with a cuboid the whole prostate lies inside it."
    return (
        f"In {len(cut)} of {count(len(values), 'patient')} with a cuboid a part of the prostate lies outside it; the smallest share "
        f"inside is {100 * float(cut.min()):.1f} %."
    )
