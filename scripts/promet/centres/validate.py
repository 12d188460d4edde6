"""``promet validate``: a locked model judged on a hospital's own patients: a page for the house, a small file for others."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from promet.centres import cells, form, local, scored, site
from promet.core.errors import EXIT_OK, EXIT_REFUSED, UsageError
from promet.core.files import write_text
from promet.core.settings import Settings
from promet.core.sidecar import Sidecar
from promet.core.stage import Outcome, run_stage, versions
from promet.core.words import count
from promet.evaluation.settings import Evaluation
from promet.model.opened import Bundle, load
from promet.study.outcome import ByHorizon

FOLDER, RECORD, SITE, PAGE = "validation", "validate.json", "site.json", "report.html"


class Validation(Settings):
    """How a hospital's patients are counted."""

    site: str = Field(min_length=1, max_length=60, description="name of the hospital, for those who pool")
    smallest_cell: int = Field(
        cells.DEFAULT,
        ge=cells.FLOOR,
        description="counts below it are not told, nor what is estimated from them",
    )
    evaluation: Evaluation = Evaluation()


@dataclass(frozen=True)
class Inputs:
    """What this stage reads."""

    model: Path  # folder of the locked model
    cohort: Path  # table of the hospital's patients (TSV)
    answers: Path  # folder of their answers, as promet predict --cohort fills it
    digest: str | None = None  # the model's, as it was received separately


def run(inputs: Inputs, settings: Validation, out: Path, pin: str) -> Sidecar:
    """Write site.json, report.html and its figures beside the record ``out``.

    Raises:
        UsageError: E_SITE_SEEN, the model was updated on this hospital's own patients.
    """
    model = load(inputs.model, inputs.digest)
    if model.update and model.update["site"].casefold() == settings.site.casefold():
        raise UsageError(
            "E_SITE_SEEN",
            f"The model was updated on patients of {settings.site}: how good it is on them is no performance",
            "patients of another hospital, or new ones under another name",
            "Validate the parent here, or this model elsewhere",
        )

    def work() -> Outcome:
        from promet.centres.page import validated as page

        rows = scored.rows(inputs.cohort, scored.aim(model.contract))
        what = scored.outcome(model.contract)
        patients = scored.read(model, inputs.answers, rows)
        told = record(patients, settings, model)
        product = out.with_name(SITE)
        write_text(product, form.text(told))
        metrics, survival = local.read(inputs.answers, rows, settings.site, settings.evaluation, what)
        figures = page(told, metrics, survival, patients, model, out.with_name(PAGE))
        shown = {"n": told["n"], "events": told["events"], "auc": told["auc"]["value"]}
        return Outcome({SITE: product, PAGE: out.with_name(PAGE), **figures}, shown)

    return run_stage(
        "validate", out, pin, work, makes=(SITE, PAGE), packages=("numpy", "scipy", "pandas", "matplotlib")
    )


def record(patients: scored.Scored, settings: Validation, model: Bundle) -> dict[str, Any]:
    """site.json of scored patients."""
    limit, level = settings.smallest_cell, settings.evaluation.confidence
    what = scored.aim(model.contract)
    over_time = isinstance(what, ByHorizon)
    return {
        "schema": form.SCHEMA,
        "promet": versions()["promet"],
        "stages": model.contract["stages"],
        "site": settings.site,
        "model_digest": model.digest,
        "compared": model.compared,
        "outcome": {
            "kind": (model.contract.get("outcome") or {"kind": "binary"})["kind"],
            "event": what.event if over_time else what.column,
            **({"competing": what.competing} if over_time and what.competing else {}),
        },
        "horizon": what.horizon() if over_time else None,
        "smallest_cell": limit,
        "level": level,
        "refused": cells.shown(patients.refused, patients.refused + len(patients.table), limit),
        **site.figures(patients.table, patients.asked, limit, level),
    }


def validate(
    model: Path,
    cohort: Path,
    out: Path,
    name: str,
    smallest_cell: int,
    options: list[str],
    digest: str | None = None,
) -> int:
    """Score the table with Snakemake and judge the model; prints where the page and the file lie. Exit 2 when somebody was refused."""
    from promet.model.clinic import predict_table

    Validation(site=name, smallest_cell=smallest_cell)  # a name of this length, before anybody is scored
    more = [f"site={json.dumps(name)}", f"smallest_cell={smallest_cell}"]
    code, patients, refused = predict_table(model, cohort, out, options, digest, more)
    place = out / FOLDER
    if code or not (place / RECORD).exists():
        return code
    told = form.read(place / SITE)
    print(
        f"{count(patients, 'patient')}, {refused} refused; with a known outcome {told.n}, with the event {told.events}"
    )
    area = told.auc
    print(
        f"AUC {area.value} (standard error {area.se})"
        if area.value
        else f"no AUC: {form.REASONS[str(area.reason)]}"
    )
    print(f"for this house: {place / PAGE}")
    print(f"for those who pool, without a patient in it: {place / SITE}")
    return EXIT_REFUSED if refused else EXIT_OK
