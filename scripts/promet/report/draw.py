"""All figures of a study, as far as its records go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from promet.report.read import Split, Study
    from promet.report.style import Figures


def draw(study: Study, split: Split, folder: Path, patient_level: bool) -> Figures:
    """Draw into ``folder``: the figures of the page, and figure-1 to figure-3 and figure-S1 for a manuscript."""
    from promet.report import (
        attention,
        calibration_figures,
        flow,
        hindsight_figures,
        null_figures,
        paper_figures,
        roc_figures,
        shap_figures,
        style,
        survival_figures,
        training_figures,
    )

    made = style.Figures(folder)
    with style.look():
        flow.add(made, study, split)
        training_figures.add(made, split)
        hindsight_figures.add(made, split)
        roc_figures.add(made, split, patient_level)
        if split.metrics is not None:
            calibration_figures.add(made, split.metrics)
        shap_figures.add(made, split, patient_level)
        null_figures.add(made, study, split)
        survival_figures.add(made, split)
        paper_figures.keep(made, study, split)
        if patient_level:
            attention.keep(made, study, split)
    return made
