"""Scores of the patients in no part of the study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from promet.core.words import count
from promet.report.table import Table
from promet.report.text import fixed, known, listed, probability
from promet.report.words import INPUTS

if TYPE_CHECKING:
    from promet.report.read import Split, Study


def context(study: Study, split: Split) -> dict[str, Any]:
    """What the section shows besides its figures."""
    return {
        "prospective": prospective(split),
        "lost_prospective": lost_prospective(study, split),
    }


def prospective(split: Split) -> Table | None:
    """Scores of the patients who are in no part of the split."""
    table = split.predictions
    if table is None:
        return None
    mine = table[[split.part(p) == "prospective" for p in table["patient"]]]
    rows = []
    for row in mine.to_dict("records"):
        gone = [INPUTS[name] for name in INPUTS if name in row and not known(row[name])]
        cells = [row["patient"], fixed(row.get("cnn_score")), fixed(row.get("multimodal"))]
        cells += [
            probability(row.get("multimodal_probability")),
            fixed(row.get("clinical")),
            ", ".join(gone) or "none",
        ]
        rows.append(cells)
    if not rows:
        return None
    head = [
        "Patient",
        "CNN (logit)",
        "Multimodal (log-odds)",
        "Multimodal (probability)",
        "Clinical (log-odds)",
        "Missing inputs",
    ]
    note = f"The probability holds at the share of {split.learnt} among the fitted patients and is not calibrated: compare ranks, not percentages."
    return Table("Scores of patients in no part of the study.", head, rows, [note], sortable=True)


def lost_prospective(study: Study, split: Split) -> str:
    """A sentence on the patients beyond the study who could not be scored or only in part."""
    new = [p for p in study.patients if split.part(p) == "prospective"]
    status = [study.status(p) for p in new]
    told = []
    if bad := status.count("quarantined"):
        told.append(f"{count(bad, 'patient is', 'patients are')} excluded because of bad data and not scored")
    if bare := status.count("no-lesion"):
        told.append(f"{count(bare, 'patient has', 'patients have')} no lesion and so no network score")
    return f"Of {count(len(new), 'new patient')}, {listed(told)}." if told else ""
