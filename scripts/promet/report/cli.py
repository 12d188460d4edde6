"""Commands of the report room: ``promet report ...``."""

from __future__ import annotations

from pathlib import Path

import typer

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Figures and tables of a study, on one page."
)


@app.command()
@app.command("build", hidden=True, deprecated=True)  # its name before, for one more version
def report(
    *,
    study: Path = typer.Option(..., help="results folder of the study"),
    cohort: Path = typer.Option(..., help="cohort table (TSV)"),
    ledger: Path = typer.Option(..., help="split ledger of the study (TSV)"),
    config: str = typer.Option("{}", help="the whole configuration without its paths, JSON"),
    out: Path = typer.Option(..., help="sidecar to write; report.html and figures lie beside it"),
    pin: str = typer.Option("", help="what the job uses, stored as given"),
) -> None:
    """Write report.html, one file that needs no network, and its figures as SVG and PNG.

    What is missing is said on the page: a report can be made of a study that is not finished.

    Example: promet report report --study results/paper --cohort config/cohort.tsv
    --ledger registry/paper/ledger.tsv --out results/paper/report/report.json
    """
    from promet.core.settings import from_json, whole
    from promet.report.report import Inputs, run
    from promet.report.settings import Report

    told = whole(config)
    settings = from_json(Report, told.get("report") or {})
    run(Inputs(study, cohort, ledger, told), settings, out, pin)
