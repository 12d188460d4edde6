"""All figures of a study, as far as its records go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from promet.report.read import Split, Study
    from promet.report.style import Figures


def draw(study: Study, split: Split, folder: Path, patient_level: bool) -> Figures:
    """Draw into ``folder``: the figures of the page, and figure-1 to figure-3 and figure-S1 for a manuscript."""
    from promet.report import paper_figures, style
    from promet.report.sections.attention import figures as attention
    from promet.report.sections.benefit import figures as benefit
    from promet.report.sections.discrimination import figures as discrimination
    from promet.report.sections.flow import figures as flow
    from promet.report.sections.inputs import figures as inputs
    from promet.report.sections.repeats import figures as repeats
    from promet.report.sections.selection import figures as selection
    from promet.report.sections.survival import figures as survival
    from promet.report.sections.training import figures as training

    made = style.Figures(folder)
    with style.look():
        flow.add(made, study, split)
        training.add(made, split)
        selection.add(made, split)
        discrimination.add(made, split, patient_level)
        if split.metrics is not None:
            benefit.add(made, split.metrics)
        inputs.add(made, split, patient_level)
        repeats.add(made, study, split)
        survival.add(made, split)
        paper_figures.keep(made, study, split)
        if patient_level:
            attention.keep(made, study, split)
    return made
