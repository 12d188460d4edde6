"""Commands ``promet cohort ...`` for a hospital's own data, beside those for public layouts."""

from pathlib import Path
from typing import Annotated

import typer

from promet.core.errors import UsageError
from promet.study.cli import app

ConfigFiles = Annotated[
    list[Path] | None,
    typer.Option("--configfile", "-c", help="Laid over config/config.yaml; names of structures, folders."),
]
Key = Annotated[
    Path, typer.Option(help="The key file: who is behind each pseudonym. Outside of the project.")
]


@app.command("from-dicom")
def from_dicom(
    export: Annotated[
        Path, typer.Argument(help="Folder of DICOM files of many patients, flat or nested, under any names.")
    ],
    key: Key,
    out: Annotated[Path, typer.Option(help="The cohort table; rows are added to one that is there.")],
    decide: Annotated[
        Path | None, typer.Option(help="Answers: a table with id, choice and reason, separated by tabs.")
    ] = None,
    study: Annotated[
        str, typer.Option(help="'first': of several studies of a patient the one with the earliest date.")
    ] = "",
    nearest: Annotated[
        str,
        typer.Option(
            metavar="TABLE:COLUMN",
            help="Of several studies the one nearest to this date; TABLE has patient_id and, if need be, issuer.",
        ),
    ] = "",
    within: Annotated[int, typer.Option(min=0, help="With --nearest: at most so many days away.")] = 90,
    copy: Annotated[
        bool, typer.Option("--copy", help="Copy the files instead of linking to the export.")
    ] = False,
    configfile: ConfigFiles = None,
) -> None:
    """Rows of the cohort table from an export of many patients; what cannot be known is asked, never guessed.

    Example: promet cohort from-dicom EXPORT --key ~/keys/psma.tsv --out config/cohort.tsv
    """
    from promet.config import load
    from promet.hospital.export import run
    from promet.hospital.export.dates import first_study
    from promet.hospital.export.dates import nearest as by_date

    config = load(configfile or [])
    asked = run.Asked(export, key, out, decide, copy)
    asked.folders = run.folders_of(config.results, config.registry, config.logs)
    asked.prostate, asked.lesions = config.imaging.segment.prostate_roi, config.imaging.segment.lesions_roi
    if study not in ("", "first") or (study and nearest):
        raise UsageError("E_USAGE", "--study has one word, and not beside --nearest", "--study first")
    if study:
        asked.prefer = first_study
    elif nearest:
        asked.prefer = by_date(run.moments(nearest), within)
    raise typer.Exit(run.say(run.from_dicom(asked)))


@app.command("from-redcap")
def from_redcap(
    export: Annotated[Path, typer.Argument(help="CSV export with raw data.")],
    mapping: Annotated[Path, typer.Option(help="YAML: which field gives which column.")],
    key: Key,
    out: Annotated[
        Path | None,
        typer.Option(help="The cohort table to fill; that of the configuration if none is named."),
    ] = None,
    replace: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="Take REDCap's value where the table has another. May be given several times.",
        ),
    ] = None,
    dictionary: Annotated[
        Path | None,
        typer.Option(help="The project's data dictionary; its identifiers are refused as sources."),
    ] = None,
    configfile: ConfigFiles = None,
) -> None:
    """Clinical cells of the table from a REDCap export, joined by the key file's column redcap_record.

    Example: promet cohort from-redcap EXPORT.csv --mapping redcap.yaml --key ~/keys/psma.tsv
    """
    from promet.config import load
    from promet.hospital import redcap

    table = out or Path(load(configfile or []).cohort)
    raise typer.Exit(redcap.say(redcap.from_redcap(export, mapping, key, table, replace or [], dictionary)))


@app.command("dictionary")
def dictionary(out: Annotated[Path, typer.Argument(help="CSV to write.")]) -> None:
    """A REDCap data dictionary with a field for each clinical column of the table.

    Example: promet cohort dictionary promet-dictionary.csv
    """
    from promet.core.words import count
    from promet.hospital.redcap import dictionary as write

    print(f"{count(write(out), 'field')} and the record id written to {out.name}")
