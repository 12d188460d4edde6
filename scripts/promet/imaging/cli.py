"""Commands of the imaging room: ``promet imaging ...``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from promet.core.settings import Settings

    Section = TypeVar("Section", bound=Settings)

app = typer.Typer(no_args_is_help=True, help="DICOM and masks to tensors, measures and pictures.")

Out = Annotated[Path, typer.Option(help="The record to write; its products lie beside it.")]
Pin = Annotated[str, typer.Option(help="Hash of what the job uses; kept in the record as it is.")]
SettingsJson = Annotated[
    str, typer.Option("--settings", help="Settings of this stage as JSON; what is left out has its default.")
]
Patient = Annotated[str, typer.Option(help="Pseudonym.")]
Registry = Annotated[Path, typer.Option(help="The image registry, images.tsv.")]


def _settings(model: type[Section], text: str) -> Section:
    """Validate JSON settings; a fault is a sentence, not a traceback."""
    from pydantic import ValidationError

    from promet.core.errors import UsageError

    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the JSON itself"
        raise UsageError(
            "E_SETTINGS",
            f"The settings of {model.__name__.lower()} are wrong at {place}: {first['msg']}",
            remedy="Correct the section imaging of the configuration",
        ) from error


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
    settings: SettingsJson = "{}",
) -> None:
    """DICOM PET to SUV by body weight.

    Example: promet imaging convert SERIES_FOLDER --out pet.nii.gz --audit audit.json

    Example: promet imaging convert --patient P001 --registry registry/images.tsv --out results/patients/P001/convert.json
    """
    from promet.core.errors import UsageError
    from promet.imaging import convert as stage
    from promet.imaging.settings import Convert

    as_stage, by_hand = bool(patient) and registry is not None, source is not None
    if as_stage == by_hand or (audit is not None and not by_hand):
        raise UsageError(
            "E_USAGE",
            "It is not clear what to convert",
            "either SOURCE (with --audit if wanted), or --patient with --registry",
            "See promet imaging convert --help",
        )
    chosen = _settings(Convert, settings)
    _one_thread()
    if registry is not None and not by_hand:
        stage.convert(patient, registry, out, pin, chosen)
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

    chosen = _settings(Segment, settings)
    _one_thread()
    run(patient, registry, out, pin, chosen)


@app.command()
def crop(out: Out, pin: Pin = "", settings: SettingsJson = "{}") -> None:
    """Cuboid of PET and lesions, centred on the prostate.

    Example: promet imaging crop --out results/patients/P001/crop.json --settings '{"shape": [14, 54, 54]}'
    """
    from promet.imaging.crop import run
    from promet.imaging.settings import Crop

    chosen = _settings(Crop, settings)
    _one_thread()
    run(out, pin, chosen)


@app.command()
def normalise(out: Out, pin: Pin = "", settings: SettingsJson = "{}") -> None:
    """Scale the PET of the cuboid to [0, 1].

    Example: promet imaging normalise --out results/patients/P001/normalise.json
    """
    from promet.imaging.normalise import run
    from promet.imaging.settings import Normalise

    run(out, pin, _settings(Normalise, settings))


@app.command()
def measure(out: Out, pin: Pin = "", settings: SettingsJson = "{}") -> None:
    """SUVmax, SUVpeak, SUVmean and volumes on the PET's own grid.

    Example: promet imaging measure --out results/patients/P001/measure.json
    """
    from promet.imaging.measure import run
    from promet.imaging.settings import Measure

    chosen = _settings(Measure, settings)
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

    chosen, box = _settings(Picture, settings), _settings(Crop, crop)
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
