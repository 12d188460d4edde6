"""promet phantom: a synthetic cohort."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promet.core.words import count

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Write a synthetic cohort as real DICOM, with known truth.",
)


@app.command()
def phantom(
    out: Annotated[Path, typer.Argument(help="folder to write: cohort.tsv, dicom/, truth.tsv")],
    development: Annotated[
        int, typer.Option(min=0, help="patients with or without synchronous metastases")
    ] = 36,
    metachronous: Annotated[int, typer.Option(min=0, help="localised patients with follow-up")] = 14,
    prospective: Annotated[int, typer.Option(min=0, help="patients without outcome")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="same seed, same bytes")] = 1,
    effect: Annotated[
        float, typer.Option(min=0, max=10, help="strength of the signal; 0 = none at all")
    ] = 1.0,
    small: Annotated[bool, typer.Option("--small", help="tiny volumes, for quick tests")] = False,
    prefix: Annotated[
        str, typer.Option(help="begins every pseudonym, so that two phantom cohorts fit into one table")
    ] = "",
    follow_up: Annotated[
        bool,
        typer.Option(
            "--follow-up",
            help="development patients are followed too; patients leave, the study ends and some die of another cause (column died)",
        ),
    ] = False,
    key: Annotated[
        Path | None,
        typer.Option(
            help="write what a hospital has instead of a table: a flat export/, redcap.csv with redcap.yaml, and this key file"
        ),
    ] = None,
) -> None:
    """Write a synthetic cohort: PET/CT as DICOM, masks in four forms, clinical table, and the truth apart from them.

    Example: promet phantom demo --development 36 --metachronous 14 --prospective 2 --seed 1

    Two more patients for its table: promet phantom more --development 2 --metachronous 0 --prospective 0 --seed 2 --prefix more-,
    then copy more/dicom/* into demo/dicom/ and append the rows of more/cohort.tsv to demo/cohort.tsv.
    """
    from promet.phantom.cohort import write_cohort

    truths = write_cohort(
        out, development, metachronous, prospective, seed, effect, small, prefix, follow_up, key
    )
    where = f"the export is {out / 'export'}" if key else f"the table is {out / 'cohort.tsv'}"
    typer.echo(f"{count(len(truths), 'patient')} written; {where}")
