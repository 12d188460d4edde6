"""The stage ``report``: report.html, one file without outside parts, and its figures."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from promet.core.errors import UsageError
from promet.core.files import write_text
from promet.core.sidecar import Sidecar
from promet.core.stage import Outcome, run_stage
from promet.report import page, read
from promet.report.draw import draw
from promet.report.settings import Report

PRODUCT = "report.html"


def build(study: Path, cohort: Path, ledger: Path, config: str, out: Path, pin: str) -> Sidecar:
    """Write report.html and figures/NAME.svg|png beside ``out``, and the sidecar ``out`` last.

    Raises:
        UsageError: the table or the configuration cannot be used.
        IntegrityError: a product is not the one its record names.
    """
    found = read.study(study, cohort, ledger, config)
    try:
        settings = Report.model_validate(found.config.get("report") or {})
    except ValidationError as error:
        places = ", ".join(".".join(map(str, fault["loc"])) for fault in error.errors())
        raise UsageError("E_CONFIG_VALUE", f"The section report is not valid at {places}") from error

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
