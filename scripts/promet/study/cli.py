"""Commands ``promet cohort ...``: cohort tables from public layouts."""

from pathlib import Path
from typing import Annotated

import typer

from promet.core.words import count

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Make cohort tables from an export, REDCap and public layouts.",
)


@app.callback()
def room() -> None:
    """Make cohort tables from an export, REDCap and public layouts."""


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
    from promet.study.public import from_ibsi as make

    print(f"{count(make(source, out), 'patient')} written to {out}")


@app.command("from-nnunet")
def from_nnunet(
    source: Annotated[
        Path,
        typer.Argument(help="Folder with imagesTr, labelsTr and psma_metadata.csv (PSMA-PET-CT-Lesions)."),
    ],
    out: Annotated[Path, typer.Option(help="The cohort table to write.")],
    prostate: Annotated[
        Path,
        typer.Option(
            help="TotalSegmentator's output: <case>/prostate.nii.gz, or <case>.nii.gz of task total."
        ),
    ],
    masks: Annotated[
        Path | None, typer.Option(help="Folder for the derived masks; by default 'masks' beside the table.")
    ] = None,
) -> None:
    """Cohort table of the public PSMA PET/CT set (autoPET III, nnU-Net layout), with masks derived from its labels.

    Example: promet cohort from-nnunet downloads/psma --prostate downloads/totalsegmentator --out psma/cohort.tsv
    """
    from promet.study.nnunet import from_nnunet as make

    made = make(source, out, prostate, masks or out.parent / "masks")
    print(
        f"{count(made.patients, 'patient')}, {made.metastatic} of them with uptake apart from the prostate, written to {out}"
    )
    for why, number in sorted(made.left_out.items()):
        print(f"{count(number, 'study', 'studies')} left out: {why}")
