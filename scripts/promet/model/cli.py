"""promet model: the locked model as stages. A person types ``promet predict`` and ``promet verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promet.core.settings import from_json
from promet.study.outcome import apart

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="The locked model: build it, score with it."
)

Out = Annotated[Path, typer.Option(help="The record to write; products lie beside it.")]
Pin = Annotated[str, typer.Option(help="Stored in the record.")]
Patients = Annotated[list[str], typer.Option("--patient", help="Pseudonym; given several times.")]
Model = Annotated[Path, typer.Argument(help="Folder of the locked model.", show_default=False)]


@app.command()
def bundle(
    dataset: Annotated[Path, typer.Option(help="Record of the fit set.")],
    select: Annotated[Path, typer.Option(help="Record of the selection; model.json lies beside it.")],
    fuse: Annotated[Path, typer.Option(help="Record of the fusion.")],
    evaluate: Annotated[Path, typer.Option(help="Record of the evaluation.")],
    survive: Annotated[Path, typer.Option(help="Record of the survival analysis.")],
    gathered: Annotated[Path, typer.Option(help="patients.parquet of the gather stage.")],
    patients: Annotated[Path, typer.Option(help="Folder with one folder of products per patient.")],
    freeze: Annotated[Path, typer.Option(help="freeze.json of the study.")],
    out: Out,
    pin: Pin = "",
    settings: Annotated[str, typer.Option(help="Settings as JSON.")] = "{}",
    made_from: Annotated[
        str, typer.Option(help="Digests of the columns and settings it is made from, as JSON.")
    ] = "{}",
) -> None:
    """The locked model of a frozen study, as a MONAI bundle in the folder of --out."""
    import json

    from promet.model.bundle import Inputs, run
    from promet.model.settings import Bundle

    told = json.loads(made_from)
    settings, outcome = apart(settings)
    inputs = Inputs(dataset, select, fuse, evaluate, survive, gathered, patients, freeze, told, outcome)
    run(inputs, from_json(Bundle, settings), out, pin)


@app.command()
def predict(
    model: Model,
    cohort: Annotated[Path, typer.Option(help="Table of new patients.")],
    registry: Annotated[Path, typer.Option(help="Their images, images.tsv.")],
    patient: Annotated[str, typer.Option(help="Pseudonym.")],
    out: Out,
    pin: Pin = "",
    digest: Annotated[
        str | None, typer.Option(help="The model's digest as it was received separately.")
    ] = None,
) -> None:
    """Score one patient of a table; promet predict is the command for a person."""
    from promet.model.predict import Inputs, run

    run(Inputs(model, cohort, registry, patient, digest), None, out, pin)


@app.command()
def collect(
    patient: Patients,
    folder: Annotated[Path, typer.Option(help="Folder with one folder of answers per patient.")],
    cohort: Annotated[Path, typer.Option(help="Table of the patients.")],
    out: Annotated[Path, typer.Option(help="predictions.parquet; predictions.tsv lies beside it.")],
) -> None:
    """Gather the answers in one table."""
    from promet.model.collect import collect as run

    run(patient, folder, cohort, out)
