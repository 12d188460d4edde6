"""Commands of the imaging room: ``promet imaging ...``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promet.core.errors import EXIT_OK, EXIT_REFUSED
from promet.core.settings import from_json
from promet.core.words import count

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="DICOM and masks to tensors, measures and pictures."
)

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
    settings: SettingsJson = "{}",
    tracer: Annotated[
        str, typer.Option(help="As a stage: the table's word for the tracer, compared with the header.")
    ] = "",
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
    chosen = from_json(Convert, settings)
    _one_thread()
    if registry is not None and not by_hand:
        stage.convert(patient, registry, out, pin, chosen, tracer)
    else:
        stage.convert_by_hand(source, out, audit)


@app.command()
def organs(
    patient: Patient,
    registry: Registry,
    out: Out,
    pin: Pin = "",
    settings: SettingsJson = "{}",
    weights: Annotated[str, typer.Option(help="Folder of TotalSegmentator's weights; empty: its own.")] = "",
    device: Annotated[str, typer.Option(help="cpu, gpu or gpu:N.")] = "cpu",
) -> None:
    """Masks of prostate, bladder, liver, aorta, spleen (and parotids) on the CT, by TotalSegmentator.

    Example: promet imaging organs --patient P001 --registry registry/images.tsv --weights weights --out results/patients/P001/organs.json
    """
    from promet.imaging.organs import run
    from promet.imaging.settings import Organs

    chosen = from_json(Organs, settings)
    _one_thread()
    run(patient, registry, out, pin, chosen, weights, device)


@app.command()
def segment(
    patient: Patient,
    registry: Registry,
    out: Out,
    pin: Pin = "",
    settings: SettingsJson = "{}",
    organs: Annotated[
        bool, typer.Option("--organs", help="The prostate mask is that of the stage organs.")
    ] = False,
) -> None:
    """Masks of the prostate and its lesions on the PET grid.

    Example: promet imaging segment --patient P001 --registry registry/images.tsv --out results/patients/P001/segment.json
    """
    from promet.imaging.segment import run
    from promet.imaging.settings import Segment

    chosen = from_json(Segment, settings)
    _one_thread()
    run(patient, registry, out, pin, chosen, organs)


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

    _one_thread()
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
    from promet.imaging.settings import Imaging

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

    _one_thread()
    _print_json(by_hand(pet, prostate, lesions, blood, reference, parotid))


def _print_json(value: dict | list) -> None:
    from json import dumps

    print(dumps(value, indent=2, allow_nan=False))


@app.command()
def bucket(
    name: Annotated[str, typer.Option("--bucket", help="Which one, e.g. fit-007.")],
    number: Annotated[int, typer.Option(help="How many there are of each group.")],
    patients: Annotated[Path, typer.Option(help="Folder with one folder per patient.")],
    cohort: Annotated[Path, typer.Option(help="The cohort table.")],
    registry: Registry,
    ledger: Annotated[Path, typer.Option(help="The split ledger.")],
    out: Out,
    splits: Annotated[int, typer.Option(help="How many splits the study has.")] = 1,
    pin: Pin = "",
    settings: Annotated[str, typer.Option(help="The section imaging of the configuration as JSON.")] = "{}",
) -> None:
    """All image stages of a bucket's patients: what is out of date, and nothing else.

    Example: promet imaging bucket --bucket fit-007 --number 128 --patients results/patients --cohort config/cohort.tsv --registry registry/images.tsv --ledger registry/paper/ledger.tsv --out results/paper/buckets/128/fit-007/bucket.json
    """
    from promet.imaging.bucket import members, run
    from promet.imaging.settings import Imaging
    from promet.study.table import read

    chosen = from_json(Imaging, settings).model_dump(mode="json")
    ids = list(members(name, number, cohort, ledger, splits))
    tracers = {row["patient"]: row["tracer"] for row in read(cohort)}
    run(name, patients, ids, registry, chosen, out, pin, tracers, cohort=cohort)


@app.command()
def gather(
    patients: Annotated[Path, typer.Option(help="Folder with one folder per patient.")],
    out: Out,
    cohort: Annotated[Path, typer.Option(help="The cohort table: whom to gather.")],
    buckets: Annotated[str, typer.Option(help="Folder of the buckets, when patients share image jobs.")] = "",
    freeze: Annotated[Path | None, typer.Option(help="freeze.json of the study, for its waivers.")] = None,
    pin: Pin = "",
) -> None:
    """One table of all patients, one of the excluded.

    Example: promet imaging gather --patients results/patients --cohort config/cohort.tsv --out results/paper/gather/gather.json
    """
    from promet.imaging.gather import run
    from promet.study.table import read

    run(
        patients,
        [row["patient"] for row in read(cohort)],
        out,
        pin,
        Path(buckets) if buckets else None,
        freeze,
    )
