"""Commands of the imaging room: ``promet imaging ...``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promet.core.settings import from_json

app = typer.Typer(no_args_is_help=True, help="DICOM and masks to tensors, measures and pictures.")

Out = Annotated[Path, typer.Option(help="The record to write; its products lie beside it.")]
Pin = Annotated[str, typer.Option(help="Hash of what the job uses; kept in the record as it is.")]
SettingsJson = Annotated[
    str, typer.Option("--settings", help="Settings of this stage as JSON; what is left out has its default.")
]
Patient = Annotated[str, typer.Option(help="Pseudonym.")]
Registry = Annotated[Path, typer.Option(help="The image registry, images.tsv.")]


def _one_thread() -> None:
    """ITK takes every core of the machine otherwise, whatever the scheduler gave."""
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)


@app.command()
def convert(
    out: Annotated[Path, typer.Option(help="With SOURCE the volume (.nii.gz), else the record to write.")],
    source: Annotated[
        Path | None, typer.Argument(help="By hand: a PET series folder or file.", show_default=False)
    ] = None,
    audit: Annotated[
        Path | None, typer.Option(help="By hand: where to write how the SUV was made, as JSON.")
    ] = None,
    patient: Annotated[str, typer.Option(help="As a stage: the pseudonym.")] = "",
    registry: Annotated[Path | None, typer.Option(help="As a stage: the image registry, images.tsv.")] = None,
    pin: Pin = "",
) -> None:
    """DICOM PET to SUV by body weight.

    Example: promet imaging convert SERIES_FOLDER --out pet.nii.gz --audit audit.json

    Example: promet imaging convert --patient P001 --registry registry/images.tsv --out results/patients/P001/convert.json
    """
    from promet.core.errors import UsageError
    from promet.imaging import convert as stage

    as_stage, by_hand = bool(patient) and registry is not None, source is not None
    if as_stage == by_hand or (audit is not None and not by_hand):
        raise UsageError(
            "E_USAGE",
            "It is not clear what to convert",
            "either SOURCE (with --audit if wanted), or --patient with --registry",
            "See promet imaging convert --help",
        )
    _one_thread()
    if registry is not None and not by_hand:
        stage.convert(patient, registry, out, pin)
    else:
        stage.convert_by_hand(source, out, audit)


@app.command()
def segment(
    patient: Patient, registry: Registry, out: Out, pin: Pin = "", settings: SettingsJson = "{}"
) -> None:
    """Masks of the prostate and its lesions on the PET grid.

    Example: promet imaging segment --patient P001 --registry registry/images.tsv --out results/patients/P001/segment.json
    """
    from promet.imaging.segment import run
    from promet.imaging.settings import Segment

    chosen = from_json(Segment, settings)
    _one_thread()
    run(patient, registry, out, pin, chosen)


@app.command()
def crop(out: Out, pin: Pin = "", settings: SettingsJson = "{}") -> None:
    """Cuboid of PET and lesions, centred on the prostate.

    Example: promet imaging crop --out results/patients/P001/crop.json --settings '{"shape": [14, 54, 54]}'
    """
    from promet.imaging.crop import run
    from promet.imaging.settings import Crop

    chosen = from_json(Crop, settings)
    _one_thread()
    run(out, pin, chosen)


@app.command()
def normalise(out: Out, pin: Pin = "", settings: SettingsJson = "{}") -> None:
    """Scale the PET of the cuboid to [0, 1].

    Example: promet imaging normalise --out results/patients/P001/normalise.json
    """
    from promet.imaging.normalise import run
    from promet.imaging.settings import Normalise

    run(out, pin, from_json(Normalise, settings))


@app.command()
def measure(out: Out, pin: Pin = "", settings: SettingsJson = "{}") -> None:
    """SUVmax, SUVpeak, SUVmean and volumes on the PET's own grid.

    Example: promet imaging measure --out results/patients/P001/measure.json
    """
    from promet.imaging.measure import run
    from promet.imaging.settings import Measure

    chosen = from_json(Measure, settings)
    _one_thread()
    run(out, pin, chosen)


@app.command()
def picture(
    out: Out,
    pin: Pin = "",
    settings: SettingsJson = "{}",
    crop: Annotated[
        str, typer.Option(help="Settings of the stage crop as JSON: the box that is drawn.")
    ] = "{}",
) -> None:
    """One picture per patient for quality control.

    Example: promet imaging picture --out results/patients/P001/picture.json
    """
    from promet.imaging.picture import run
    from promet.imaging.settings import Crop, Picture

    chosen, box = from_json(Picture, settings), from_json(Crop, crop)
    _one_thread()
    run(out, pin, chosen, box)


@app.command()
def gather(
    patients: Annotated[Path, typer.Option(help="Folder with one folder per patient.")],
    out: Out,
    cohort: Annotated[Path, typer.Option(help="The cohort table: whom to gather.")],
    pin: Pin = "",
) -> None:
    """One table of all patients, one of the excluded.

    Example: promet imaging gather --patients results/patients --cohort config/cohort.tsv --out results/paper/gather/gather.json
    """
    from promet.cohort.table import read
    from promet.imaging.gather import run

    run(patients, [row["patient"] for row in read(cohort)], out, pin)
