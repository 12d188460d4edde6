"""Tables of the images and of the inputs by part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from promet.core.words import count
from promet.report.table import Table
from promet.report.text import NBSP, interval, quartiles
from promet.report.words import INPUTS

if TYPE_CHECKING:
    from promet.report.read import Split, Study


def context(study: Study, split: Split) -> dict[str, Any]:
    """What the section shows besides its figures."""
    return {"baseline": baseline(split), "measures": measures(study), "inside": inside(study)}


DIGITS = {
    "cnn_score": 3,
    "grade_group": 0,
    "positive_cores_percent": 0,
    "primary_score": 0,
    "psma_expression": 0,
}


MEASURES = {
    "suv_max": "lesion SUVmax",
    "suv_peak": "SUVpeak",
    "organ_ml": "prostate volume (ml)",
    "lesion_ml": "lesion volume (ml)",
    "lesion_count": "lesions",
    "inside_fraction": "share of the prostate inside the box",
}


def baseline(split: Split) -> Table | None:
    """The inputs by part and outcome, with the missing."""
    table = split.predictions
    if table is None or table.empty:
        return None
    groups = []
    for part in ("training", "validation", "test"):
        for label, name in ((0.0, "none"), (1.0, "metastases")):
            groups.append(
                (f"{part.capitalize()}: {name}", table[(table["part"] == part) & (table["label"] == label)])
            )
    groups.append(("Metachronous", table[table["part"] == "metachronous"]))
    rest = table[~table["part"].isin(["training", "validation", "test", "metachronous"])]
    groups.append(("Prospective", rest))
    groups = [(name, group) for name, group in groups if len(group)]
    units = {"psa": " (ng/ml)", "positive_cores_percent": " (%)", "cnn_score": " (logit)"}
    rows = [["n", *(str(len(group)) for _, group in groups)]]
    for name, title in INPUTS.items():
        if name not in table:
            continue
        cells = []
        for _, group in groups:
            values = group[name].dropna()
            gone = len(group) - len(values)
            text = quartiles(values.to_numpy(), DIGITS.get(name, 1)).replace(" (", "\n(")
            cells.append(text + (f"\n{gone}{NBSP}missing" if gone else ""))
        rows.append([title[0].upper() + title[1:] + units.get(name, ""), *cells])
    return Table(
        "Inputs of the fused score by part and outcome on the scan: median (quartiles), and how many are missing.",
        ["", *(name for name, _ in groups)],
        rows,
        ["Patients excluded because of bad data are not in this table."],
        compact=True,
    )


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
    """A sentence on how much of the prostates lies inside the box."""
    table = study.measures
    values = table["inside_fraction"].dropna() if table is not None and "inside_fraction" in table else []
    if not len(values):
        return "How much of each prostate lies inside the box is not recorded."
    cut = values[values < 1]
    if not len(cut):
        return f"In {'the one patient' if len(values) == 1 else f'all {len(values)} patients'} with a cuboid the whole prostate lies inside it."
    return (
        f"In {len(cut)} of {count(len(values), 'patient')} with a cuboid a part of the prostate lies outside it; the smallest share "
        f"inside is {100 * float(cut.min()):.1f} %."
    )
