"""promet centres: the job of a validation. A person types ``promet validate``, ``promet pool-sites`` and ``promet update``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, help="A locked model at other hospitals.")


@app.callback()
def _centres() -> None:
    """Keep ``validate`` a command of its own although it is the only one."""


@app.command()
def validate(
    model: Annotated[Path, typer.Argument(help="Folder of the locked model.", show_default=False)],
    cohort: Annotated[Path, typer.Option(help="Table of the patients.")],
    answers: Annotated[Path, typer.Option(help="Folder of their answers.")],
    out: Annotated[Path, typer.Option(help="The record to write; site.json and report.html lie beside it.")],
    settings: Annotated[str, typer.Option(help="Settings as JSON.")],
    pin: Annotated[str, typer.Option(help="Stored in the record.")] = "",
    digest: Annotated[str | None, typer.Option(help="The model's digest, as received separately.")] = None,
) -> None:
    """Judge the model on scored patients; promet validate is the command for a person."""
    from promet.centres.validate import Inputs, Validation, run
    from promet.core.settings import from_json

    run(Inputs(model, cohort, answers, digest), from_json(Validation, settings), out, pin)
