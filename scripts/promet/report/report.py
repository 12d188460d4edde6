"""The stage ``report``: report.html, one file without outside parts, and its figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promet.core.files import write_text
from promet.core.sidecar import Sidecar
from promet.core.stage import Outcome, run_stage
from promet.report import page, read
from promet.report.draw import draw
from promet.report.settings import Report

PRODUCT = "report.html"


@dataclass(frozen=True)
class Inputs:
    """What this stage reads."""

    study: Path  # results/<study>; results/patients lies beside it
    cohort: Path  # patient table (TSV)
    ledger: Path  # split ledger; beside it freeze.json when the study is closed
    config: dict[str, Any]  # the whole configuration without its paths


def run(inputs: Inputs, settings: Report, out: Path, pin: str) -> Sidecar:
    """Write report.html and figures/NAME.svg|png beside ``out``, and the sidecar ``out`` last.

    Raises:
        UsageError: the table cannot be used.
        IntegrityError: a product is not the one its record names.
    """
    found = read.study(inputs.study, inputs.cohort, inputs.ledger, inputs.config)

    def work() -> Outcome:
        figures = draw(found, found.splits[0], out.parent / "figures", settings.patient_level)
        values = page.context(found, settings, figures)
        product = out.with_name(PRODUCT)
        write_text(product, page.render(values))
        told = {
            "patients": len(found.patients),
            "figures": sorted(figures.drawn),
            "doubts": len(values["doubts"]),
        }
        return Outcome({PRODUCT: product, **figures.paths}, {**told, "bytes": product.stat().st_size})

    return run_stage(
        "report",
        out,
        pin,
        work,
        upstream=found.upstream,
        makes=(PRODUCT,),
        packages=("matplotlib", "jinja2", "numpy", "pandas", "pillow"),
    )
