"""Commands of the imaging room: ``promet imaging ...``."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import Annotated

import typer

from promet.core.errors import EXIT_OK, EXIT_REFUSED
from promet.core.job import option
from promet.core.settings import from_json
from promet.core.words import count
from promet.imaging import jobs
from promet.imaging.settings import Imaging

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="DICOM and masks to tensors, measures and pictures."
)

HELP = {
    "out": "The record to write; its products lie beside it.",
    "pin": "Hash of what the job uses; kept in the record as it is.",
    "settings": "Settings of this stage as JSON; what is left out has its default.",
    "patient": "Pseudonym.",
    "registry": "The image registry, images.tsv.",
    "tracer": "The table's word for the tracer, compared with the header.",
    "weights": "Folder of TotalSegmentator's weights; empty: its own.",
    "device": "cpu, gpu or gpu:N.",
    "organs": "A mask is that of the stage organs.",
    "sources": "The programs to call, as JSON: name -> entry of imaging.segment.sources; empty: TotalSegmentator.",
    "crop": "Settings of the stage crop as JSON: the cuboid that is drawn.",
    "bucket": "Which one, e.g. fit-007.",
    "number": "How many there are of each group.",
    "patients": "Folder with one folder per patient.",
    "cohort": "The cohort table.",
    "ledger": "The split ledger.",
    "splits": "How many splits the study has.",
    "outcome": "What is learnt where it is not the paper's, as JSON.",
    "buckets": "Folder of the buckets, when patients share image jobs.",
    "freeze": "freeze.json of the study, for its waivers.",
}


def told(stage: str) -> str:
    """Help of a stage whose command is made from its declaration: the words of its settings."""
    words = Imaging.model_fields[stage].annotation.__doc__
    return f"{words}\n\nExample: promet imaging {stage} --out results/patients/P001/{stage}.json"


def command(job: Callable[..., None]) -> Callable[..., None]:
    """A job with its parameters as typer's options."""

    @wraps(job)
    def call(**given: object) -> None:
        job(**given)

    plain = signature(job, eval_str=True)
    options = [
        parameter.replace(
            annotation=Annotated[parameter.annotation, typer.Option(option(name), help=HELP[name])]
        )
        for name, parameter in plain.parameters.items()
    ]
    call.__signature__ = plain.replace(parameters=options)  # type: ignore[attr-defined]
    return call


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
    pin: Annotated[str, typer.Option(help=HELP["pin"])] = "",
    settings: Annotated[str, typer.Option(help=HELP["settings"])] = "{}",
    tracer: Annotated[str, typer.Option(help=f"As a stage: {HELP['tracer']}")] = "",
) -> None:
    """DICOM PET to SUV by body weight.

    Example: promet imaging convert SERIES_FOLDER --out pet.nii.gz --audit audit.json

    Example: promet imaging convert --patient P001 --registry registry/images.tsv --out results/patients/P001/convert.json
    """
    from promet.core.errors import UsageError

    as_stage, by_hand = bool(patient) and registry is not None, source is not None
    if as_stage == by_hand or (audit is not None and not by_hand):
        raise UsageError(
            "E_USAGE",
            "It is not clear what to convert",
            "either SOURCE (with --audit if wanted), or --patient with --registry",
            "See promet imaging convert --help",
        )
    if registry is not None and not by_hand:
        jobs.convert(patient, registry, out, pin, settings, tracer)
    else:
        from promet.imaging.convert import convert_by_hand

        jobs.one_thread()
        convert_by_hand(source, out, audit)


for name, job in jobs.JOBS.items():
    if name != "convert":  # which is also a tool by hand
        app.command(name, help=job.__doc__ or told(name))(command(job))


@app.command()
def mask(
    source: Annotated[
        Path, typer.Argument(help="NIfTI, DICOM SEG or RTSTRUCT, or a folder with one.", show_default=False)
    ],
    reference: Annotated[Path, typer.Option(help="The PET volume whose grid the mask is brought to.")],
    out: Annotated[Path, typer.Option(help="The mask to write (.nii.gz), 0/1 on the grid of the PET.")],
    roi: Annotated[
        str, typer.Option(help="Name or pattern of the structure, or label=N, or label=any.")
    ] = "(?i)prostate",
    ct: Annotated[
        Path | None, typer.Option(help="The CT series it was drawn on, if it is to be checked.")
    ] = None,
    pet: Annotated[Path | None, typer.Option(help="The PET series, if it is to be checked.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """By hand: one mask on the grid of a PET; prints voxels, volume and centroid.

    Example: promet imaging mask rtstruct.dcm --reference pet.nii.gz --roi Prostate --out prostate.nii.gz --json
    """
    from promet.imaging.masks.read import mask_by_hand

    jobs.one_thread()
    found = mask_by_hand(source, reference, roi, out, ct, pet)
    if json:
        _print_json(found)
    else:
        x, y, z = found["centroid_mm"]
        print(
            f"{count(found['voxels'], 'voxel')}, {found['ml']:.3f} ml, centroid (LPS) {x:.2f} {y:.2f} {z:.2f} mm"
        )
        for sentence in found["warnings"]:
            print(f"Note: {sentence}")


@app.command()
def weights(
    folder: Annotated[Path, typer.Argument(help="Folder of a program's weights.", show_default=False)],
) -> None:
    """By hand: the digest of a folder of weights, for imaging.segment.sources.

    Example: promet imaging weights /models/tumour
    """
    from promet.imaging.programs import weights_digest

    print(weights_digest(folder))


@app.command()
def inspect(
    source: Annotated[Path, typer.Argument(help="A folder as a PACS exports it.", show_default=False)],
    json: Annotated[bool, typer.Option("--json", help="Print the listing as JSON.")] = False,
) -> None:
    """By hand: the series of a folder, which would be taken, and why; no identifier is shown.

    Example: promet imaging inspect export/P001
    """
    from promet.imaging.inspect import inspect as look
    from promet.imaging.inspect import text

    found = look(source)
    if json:
        _print_json(found)
    else:
        print(text(found))


@app.command()
def check(
    cohort: Annotated[Path, typer.Option(help="The cohort table.")],
    settings: Annotated[str, typer.Option(help="The section imaging of the configuration as JSON.")] = "{}",
    json: Annotated[bool, typer.Option("--json", help="Print the faults as JSON.")] = False,
) -> None:
    """By hand: which sources of a table will be refused, by their headers alone; exit 2 if any will.

    Example: promet imaging check --cohort config/cohort.tsv
    """
    from dataclasses import asdict

    from promet.imaging.check import check_images

    found = list(check_images(cohort, from_json(Imaging, settings)))
    if json:
        _print_json([asdict(fault) for fault in found])
    else:
        for fault in found:
            print(f"{fault.patient:12} {fault.column:9} {fault.code}: {fault.sentence}")
        print(f"{count(len(found), 'source')} will be refused and the patient quarantined")
    raise typer.Exit(EXIT_REFUSED if found else EXIT_OK)


@app.command()
def expression(
    pet: Annotated[Path, typer.Argument(help="The PET volume in SUV.", show_default=False)],
    prostate: Annotated[Path, typer.Option(help="Mask of the prostate.")],
    lesions: Annotated[Path, typer.Option(help="Mask of the lesions.")],
    blood: Annotated[Path | None, typer.Option(help="Mask of the aorta (blood pool).")] = None,
    reference: Annotated[
        Path | None, typer.Option(help="Mask of the liver; of the spleen for a ligand excreted by the liver.")
    ] = None,
    parotid: Annotated[Path | None, typer.Option(help="Mask of the parotid glands.")] = None,
) -> None:
    """By hand: PSMA expression score (PROMISE V2) and a surrogate of the PRIMARY score, as JSON.

    Example: promet imaging expression pet.nii.gz --prostate prostate.nii.gz --lesions lesions.nii.gz --blood aorta.nii.gz --reference liver.nii.gz
    """
    from promet.imaging.expression import by_hand

    jobs.one_thread()
    _print_json(by_hand(pet, prostate, lesions, blood, reference, parotid))


def _print_json(value: dict | list) -> None:
    from json import dumps

    print(dumps(value, indent=2, allow_nan=False))
