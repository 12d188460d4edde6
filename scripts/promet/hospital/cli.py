"""Commands of the hospital room: ``promet pacs ...``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Images from a PACS over DICOMweb.")


@app.callback()
def pacs() -> None:
    """Images from a PACS over DICOMweb."""


@app.command()
def get(
    base: Annotated[
        str,
        typer.Argument(help="Address of the DICOMweb service, https://HOST/dicom-web.", show_default=False),
    ],
    studies: Annotated[
        Path,
        typer.Option(
            "--list",
            help="Tab-separated: StudyInstanceUID, or AccessionNumber, or PatientID and StudyDate (YYYYMMDD).",
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="Folder for the images; a second call goes on where the first was.")
    ],
    pause: Annotated[
        float, typer.Option(min=0, help="Seconds before a second try; doubled before each of two more.")
    ] = 0.5,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds without a byte after which a try has failed.")
    ] = 60,
) -> None:
    """Fetch PT, CT, RTSTRUCT and SEG of the listed studies, whole or not at all.

    A token, if the PACS wants one, is read from the environment variable PROMET_PACS_TOKEN and nowhere else.

    Example: promet pacs get https://pacs.example/dicom-web --list studies.tsv --out incoming
    """
    from promet.hospital.pacs import get as fetch
    from promet.hospital.web import Server
    from promet.imaging.dicom.files import quiet

    quiet()
    raise typer.Exit(fetch(Server(base, pause, timeout), studies, out))
