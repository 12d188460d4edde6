"""What a person types: the commands of the top level, and each room's behind its name."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated, Literal

import click
import typer
from typer.core import TyperGroup

from promet.core.errors import UsageError

ROOMS = {
    "imaging": "DICOM and masks to tensors, measures and pictures.",
    "network": "Train, select and score the networks.",
    "fusion": "Naive Bayes over CNN score, clinic and PET.",
    "evaluation": "AUC, survival and clinical scores, also on your own tables.",
    "report": "The HTML report.",
    "model": "The locked model as a bundle; promet predict scores with it.",
    "cohort": "Make cohort tables from an export, REDCap and public layouts.",
    "pacs": "Fetch images from a PACS over DICOMweb.",
    "centres": "A locked model at other hospitals; promet validate judges it there.",
    "phantom": "Write a synthetic cohort as real DICOM.",
}

HOME = {"cohort": "hospital.export", "pacs": "hospital"}  # what users type, and the room where it lives


class Rooms(TyperGroup):
    """Loads a room's commands only when they are asked for: each room has its own heavy libraries."""

    resolving = False

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *ROOMS]

    def resolve_command(self, ctx: click.Context, args: list[str]):
        self.resolving = True
        try:
            return super().resolve_command(ctx, args)
        finally:
            self.resolving = False

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in ROOMS:
            return super().get_command(ctx, cmd_name)
        if not self.resolving:  # the help page: do not load every room
            return click.Command(cmd_name, help=ROOMS[cmd_name])
        return typer.main.get_command(
            importlib.import_module(f"promet.{HOME.get(cmd_name, cmd_name)}.cli").app
        )


app = typer.Typer(
    cls=Rooms,
    add_completion=False,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    help="Prognosis of metastasis from the PSMA PET of the primary tumour. Research use only.",
    epilog="Exit codes: 0 done; 1 a job of a run failed, its message is above; 2 refused or faults found, with what to do "
    "about it; 70 an error promet did not foresee; 75 interrupted, or no room on the disk, or no answer from it: the same command goes on where it was.",
)

ConfigFiles = Annotated[
    list[Path] | None,
    typer.Option("--configfile", "-c", help="Laid over config/config.yaml; may be given several times."),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _version(asked: bool) -> None:
    if asked:
        from promet.core.stage import version

        print(f"promet {version('promet') or 'of a source tree that is not installed'}")
        raise typer.Exit


@app.callback()
def promet(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Alone it says what to do next."""
    if ctx.invoked_subcommand is None:
        from promet.commands.begin import begin

        begin()


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def demo(ctx: typer.Context) -> None:
    """The whole way on a synthetic cohort, from a hospital's export to report.html, in the folder demo.

    Any Snakemake option may follow.

    Example: promet demo --cores 2
    """
    from promet.commands.demo import demo as start
    from promet.hospital.export.run import fill as from_dicom
    from promet.hospital.redcap import fill as from_redcap
    from promet.phantom.cohort import write_cohort

    raise typer.Exit(start(write_cohort, from_dicom, from_redcap, ctx.args))


@app.command()
def check(
    configfile: ConfigFiles = None,
    images: Annotated[
        bool,
        typer.Option(
            "--images", help="Also read the headers of all images, and masks: what would be quarantined."
        ),
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Every fault of the cohort table and its folders at once.

    Example: promet check --images -c config/demo.yaml
    """
    from promet.commands.check import check as run

    look = None
    if images:
        from promet.imaging.check import check_images as look
    raise typer.Exit(run(configfile or [], json, look))


@app.command()
def intake(
    configfile: ConfigFiles = None,
    deep: Annotated[
        bool, typer.Option(help="Hash every file again, not only those whose size or time changed.")
    ] = False,
    renamed: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OLD=NEW",
            help="A patient has another name in the table now: ledger, registry and results go over to it. May be given several times.",
        ),
    ] = None,
    exchanged: Annotated[
        bool,
        typer.Option("--exchanged", help="Patients may have each other's images now: the table was wrong."),
    ] = False,
    shorter: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATIENT",
            help="This patient's sources may hold fewer files or bytes than were registered. May be given several times.",
        ),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Register new patients and changed images, and assign new patients to the split.

    Example: promet intake
    """
    from promet.commands.intake import intake as run

    raise typer.Exit(run(configfile or [], deep, json, renamed or [], exchanged, shorter or []))


@app.command()
def status(
    patient: Annotated[str, typer.Argument(help="One patient's stages.", show_default=False)] = "",
    configfile: ConfigFiles = None,
    json: JsonFlag = False,
) -> None:
    """What is fresh, stale (why), missing or quarantined (why), without starting Snakemake.

    Example: promet status dev003
    """
    from promet.commands.status import status as run

    raise typer.Exit(run(configfile or [], patient, json))


@app.command()
def freeze(
    name: Annotated[str, typer.Argument(help="What to call the closed split, e.g. v1.")],
    configfile: ConfigFiles = None,
    into: Annotated[
        str,
        typer.Option(
            help="Begin this new study: everyone stays in their part, prospective patients are assigned."
        ),
    ] = "",
) -> None:
    """Close the split: from now on new patients are scored, never trained on.

    Example: promet freeze v1, and a year later promet freeze v2 --into paper2
    """
    from promet.commands.freeze import freeze as run

    raise typer.Exit(run(configfile or [], name, into))


@app.command()
def waive(
    patient: Annotated[str, typer.Argument(help="Who withdrew; the row is no longer in the table.")],
    reason: Annotated[str, typer.Option(help="Why the model may stay; it is kept on record.")],
    configfile: ConfigFiles = None,
) -> None:
    """Keep a frozen model as it is although a patient it was fitted on withdrew.

    Example: promet waive dev003 --reason "ethics board, 12 May"
    """
    from promet.commands.waive import waive as run

    raise typer.Exit(run(configfile or [], patient, reason))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run(ctx: typer.Context, configfile: ConfigFiles = None) -> None:
    """Bring everything up to date: Snakemake three times (prepare, lock, all), on exactly what is stale.

    Any Snakemake option may follow: -n only says what would run, --verbose shows Snakemake's own output.

    Example: promet run --cores 8
    """
    from promet.commands.run import run as start

    raise typer.Exit(start(configfile or [], ctx.args))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def retry(
    ctx: typer.Context,
    configfile: ConfigFiles = None,
    quarantined: Annotated[
        bool, typer.Option("--quarantined", help="Whom: the quarantined, with or without this word.")
    ] = True,
) -> None:
    """Try every quarantined patient again, for instance with a newer promet.

    Any Snakemake option may follow.

    Example: promet retry
    """
    from promet.commands.run import retry as start

    raise typer.Exit(start(configfile or [], ctx.args))


@app.command()
def verify(
    model_dir: Annotated[
        Path | None, typer.Argument(help="A locked model, or a crate, instead of the study.")
    ] = None,
    configfile: ConfigFiles = None,
    digest: Annotated[
        str | None, typer.Option(help="Of a locked model: its digest, as it was received separately.")
    ] = None,
    score: Annotated[
        bool,
        typer.Option(
            "--run", help="Of a locked model: score its reference case, to prove this installation."
        ),
    ] = False,
) -> None:
    """Compare every product with the digest in its record, or a locked model or a crate with its checksums.

    Example: promet verify results/paper/model
    """
    if model_dir is not None and digest is None and not score:
        from promet.hospital.crate import is_crate
        from promet.hospital.crate import verify as compare_crate

        if is_crate(model_dir):
            raise typer.Exit(compare_crate(model_dir))
    if model_dir is not None:
        from promet.model.clinic import verify as compare

        raise typer.Exit(compare(model_dir, digest, score))
    if digest is not None or score:
        raise UsageError(
            "E_USAGE",
            "--digest and --run are options for a locked model",
            "promet verify MODEL_DIR --digest DIGEST",
            "Name the folder of the model",
        )
    from promet.commands.verify import verify as start

    raise typer.Exit(start(configfile or []))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def predict(
    ctx: typer.Context,
    model_dir: Annotated[Path, typer.Argument(help="Folder of the locked model.", show_default=False)],
    pet: Annotated[Path | None, typer.Option(help="PET series folder, or a volume in SUV.")] = None,
    prostate: Annotated[Path | None, typer.Option(help="Mask: NIfTI, DICOM SEG or RTSTRUCT.")] = None,
    lesions: Annotated[Path | None, typer.Option(help="Mask of the lesions in the prostate.")] = None,
    ct: Annotated[
        Path | None, typer.Option(help="CT series the masks were drawn on, if they need it.")
    ] = None,
    clinical: Annotated[Path | None, typer.Option(help='JSON, e.g. {"psa": 7.5, "grade_group": 2}.')] = None,
    cohort: Annotated[Path | None, typer.Option(help="A table of patients instead of one.")] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="JSON to write; with --cohort the folder of the answers."),
    ] = None,
    digest: Annotated[
        str | None,
        typer.Option(help="The model's digest, as it was received separately; another model is refused."),
    ] = None,
    horizon: Annotated[
        float | None,
        typer.Option(help="Months within which the risk is asked for; refused if the model's are others."),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Score new patients with a locked model; no training data is needed. Research use only.

    Example: promet predict MODEL_DIR --pet PET --prostate prostate.nii.gz --lesions lesions.nii.gz --clinical row.json

    Example: promet predict MODEL_DIR --cohort new.tsv --out answers --cores 4
    """
    from promet.model import clinic

    sources = {"pet": pet, "prostate": prostate, "lesions": lesions, "ct": ct}
    raise typer.Exit(clinic.start(model_dir, sources, clinical, cohort, out, json, ctx.args, digest, horizon))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def validate(
    ctx: typer.Context,
    model_dir: Annotated[Path, typer.Argument(help="Folder of the locked model.", show_default=False)],
    cohort: Annotated[Path, typer.Option(help="Table of this hospital's patients, with their outcome.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of answers, page and site.json.")],
    site: Annotated[str, typer.Option(help="Name of this hospital, for those who pool.")],
    smallest_cell: Annotated[
        int,
        typer.Option(
            min=5, help="Counts below it do not leave the hospital, nor what is estimated from them."
        ),
    ] = 10,
    digest: Annotated[
        str | None, typer.Option(help="The model's digest, as it was received separately.")
    ] = None,
) -> None:
    """Judge a locked model on a hospital's own patients: a page for the house, site.json for others.

    Any Snakemake option may follow, a cluster profile for instance.

    Example: promet validate MODEL_DIR --cohort here.tsv --out validation-here --site "St Anna"
    """
    from promet.centres.validate import validate as start

    raise typer.Exit(start(model_dir, cohort, out, site, smallest_cell, ctx.args, digest))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def update(
    ctx: typer.Context,
    model_dir: Annotated[Path, typer.Argument(help="Folder of the locked model.", show_default=False)],
    cohort: Annotated[Path, typer.Option(help="Table of this hospital's patients, with their outcome.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the updated model.")],
    site: Annotated[str, typer.Option(help="Name of this hospital; it stands in the updated model.")],
    method: Annotated[
        Literal["auto", "intercept", "slope", "revision"],
        typer.Option(help="What to fit anew; auto: what a closed test asks for."),
    ] = "auto",
    digest: Annotated[
        str | None, typer.Option(help="The model's digest, as it was received separately.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Fit constant or weights of a locked model anew on a hospital's patients, never its network.

    Example: promet update MODEL_DIR --cohort here.tsv --site "St Anna" --out model-here
    """
    from promet.centres.update import update as start

    raise typer.Exit(start(model_dir, cohort, out, site, method, ctx.args, digest, json))


@app.command("pool-sites")
def pool_sites(
    files: Annotated[list[Path], typer.Argument(help="site.json of each hospital.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for pooled.html and pooled.json.")],
    level: Annotated[float, typer.Option(min=0.5, max=0.9999, help="Level of the intervals.")] = 0.95,
    json: JsonFlag = False,
) -> None:
    """What several hospitals say together of one locked model, from the small files that promet validate writes.

    Example: promet pool-sites north/site.json south/site.json west/site.json --out pooled
    """
    from json import dumps

    from promet.centres.pool import run as pool

    found = pool(files, out, level)
    print(dumps(found, indent=2) if json else f"{out / 'pooled.html'}")


@app.command()
def prune(
    configfile: ConfigFiles = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it only list.")] = False,
) -> None:
    """List, or with --yes delete, what belongs to patients that the table no longer holds.

    Example: promet prune --yes
    """
    from promet.commands.prune import prune as start

    raise typer.Exit(start(configfile or [], yes))


@app.command()
def crate(
    out: Annotated[Path, typer.Argument(help="Folder to make.", show_default=False)],
    configfile: ConfigFiles = None,
    date: Annotated[
        str, typer.Option(help="Of publication, YYYY-MM-DD; without it that of the freeze, or today.")
    ] = "",
) -> None:
    """The study without its patients as a Workflow Run RO-Crate, from workflow to locked model.

    Example: promet crate crate --date 2026-01-31
    """
    from promet.hospital.crate import crate as write

    raise typer.Exit(write(configfile or [], out, date))


@app.command()
def send(
    patient: Annotated[str, typer.Argument(help="Pseudonym.", show_default=False)],
    configfile: ConfigFiles = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the two files, outside of the project.")
    ] = None,
    to: Annotated[str, typer.Option(help="Or the address of a DICOMweb service that stores them.")] = "",
    key: Annotated[
        Path | None,
        typer.Option(help="The key file: only if the PET is the one it names. Needed with --to."),
    ] = None,
) -> None:
    """Masks (DICOM SEG) and measurements (DICOM SR) of a patient, to where images are read. Research use only.

    Both carry the name and number of the PET. A token for --to is read from PROMET_PACS_TOKEN.

    Example: promet send P001 --out /media/results --key /safe/key.tsv
    """
    from promet.hospital.send import send as write
    from promet.hospital.web import Server
    from promet.imaging.dicom.files import quiet

    quiet()
    raise typer.Exit(write(configfile or [], patient, out, Server(to) if to else None, key))
