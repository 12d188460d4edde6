"""Commands ``promet cohort ...``: cohort tables from public layouts."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Make cohort tables from public layouts.")


@app.callback()
def room() -> None:
    """Make cohort tables from public layouts."""


@app.command("from-ibsi")
def from_ibsi(
    source: Annotated[
        Path,
        typer.Argument(help="Folder with nifti/<patient>/PET_image.nii.gz, PET_mask.nii.gz and outcome.csv."),
    ],
    out: Annotated[Path, typer.Option(help="The cohort table to write.")],
) -> None:
    """Cohort table of the public soft-tissue sarcoma set (IBSI validation, FDG PET in SUV).

    Example: promet cohort from-ibsi downloads/sarcoma --out sarcoma/cohort.tsv
    """
    from promet.cohort.public import from_ibsi as make

    print(f"{make(source, out)} patients written to {out}")
