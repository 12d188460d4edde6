"""What a person types: promet predict and promet verify MODEL_DIR."""

from __future__ import annotations

import json as jsonlib
import logging
from pathlib import Path
from typing import Any

from promet.cohort import registry, table
from promet.cohort.run import SNAKEFILE, Snakemake
from promet.core.environment import own_commands_first
from promet.core.errors import EXIT_OK, EXIT_REFUSED, EXIT_RESUMABLE, UsageError
from promet.core.files import write_json
from promet.core.sidecar import Sidecar
from promet.core.words import count
from promet.model import contract
from promet.model.plan import registry_folder
from promet.model.predict import load, predict
from promet.model.predict import verify as faults_of

NEEDED = ("patient", "pet", "prostate")


def verify(model: Path) -> int:
    """Print every file that is not as it was locked; exit 2 when there is one."""
    faults = faults_of(model)
    for name, what in faults:
        print(f"{name}: {what}")
    if faults:
        print(f"not as locked: {count(len(faults), 'file')}; copy the model again")
        return EXIT_REFUSED
    opened = load(model)
    print(
        f"study {opened.training['study']}, {opened.training['freeze']}: every file is as it was locked, {opened.digest}"
    )
    return EXIT_OK


def predict_one(
    model: Path, sources: dict[str, Path | None], clinical: Path | None, out: Path | None, as_json: bool
) -> int:
    """Score one patient and print the answer."""
    logging.getLogger("promet").setLevel(logging.ERROR)  # the answer repeats every warning
    opened = load(model)
    row = contract.read_clinical(clinical) if clinical else {}
    given = {name: path for name, path in sources.items() if path is not None}
    answer = predict(opened, given, row)
    if out is not None:
        write_json(out, answer)
    if as_json:
        print(jsonlib.dumps(answer, indent=2, sort_keys=True, allow_nan=False))
    else:
        print("\n".join(sentences(answer)))
    return EXIT_OK


def sentences(answer: dict[str, Any]) -> list[str]:
    """prediction.json in words."""
    about, places = answer["model"], answer["distribution"]
    lines = [
        f"probability {answer['probability']:.3f} (log-odds {answer['log_odds']:+.3f}), model {about['freeze']} of study "
        f"{about['study']}, {about['digest'][:12]}",
        answer["statement"],
        "",
        *(
            f"{name}: {cut['group']} ({cut['origin']}, {count(cut['patients'], 'man', 'men')})"
            for name, cut in answer["groups"].items()
        ),
        "",
        f"{'input':24} {'value':>10} {'log-odds':>9} {'z':>6} {'percentile':>11}",
    ]
    for name, entry in answer["inputs"].items():
        value = "missing" if entry["value"] is None else f"{entry['value']:.4g}"
        lines.append(f"{name:24} {value:>10} {entry['log_odds']:>+9.2f} {_place(places['inputs'].get(name))}")
    measures = {**answer["image"]["measures"], "uptake_min": answer["image"]["uptake_min"]}
    for name, place in places["image"].items():
        value = "missing" if measures[name] is None else f"{measures[name]:.4g}"
        lines.append(f"{name:24} {value:>10} {'':9} {_place(place)}")
    return [
        *lines,
        "",
        *places["sentences"],
        *(f"Note: {sentence}" for sentence in answer["warnings"]),
        *([answer["cnn_score"]["reason"]] if answer["cnn_score"]["reason"] else []),
    ]


def _place(place: dict[str, float] | None) -> str:
    return f"{place['z']:>+6.1f} {place['percentile']:>11.0f}" if place else f"{'–':>6} {'–':>11}"


def predict_table(model: Path, cohort: Path, out: Path, options: list[str]) -> tuple[int, int, int]:
    """Register the images of a table of new patients beside the answers and score them with Snakemake.

    Args:
        model: folder of the bundle.
        cohort: table of new patients; columns as in config/README.md, ``patient``, ``pet`` and ``prostate`` are needed.
        out: folder of the answers.
        options: passed on to Snakemake.

    Returns:
        Snakemake's exit code, number of patients, how many of them were refused.

    Raises:
        UsageError: the table has faults, or two of its patients the same PET.
        IntegrityError: the model is damaged.
    """
    load(model)
    faults = [
        fault
        for fault in table.check(cohort)
        if fault.severity == "error"
        and (fault.line > 1 or fault.value or fault.column in NEEDED)  # absent columns are missing values
        and not (fault.column in table.SOURCES and fault.value)  # refuses that patient alone
    ]
    if faults:
        raise UsageError(
            "E_COHORT_FAULTS",
            f"The table has {count(len(faults), 'error')}, the first on line {faults[0].line}, column "
            f"{faults[0].column or '-'}: found {faults[0].found}",
            faults[0].expected,
            "Correct the table; nobody was scored",
        )
    rows = table.read(cohort)
    if registry.intake(rows, Path(cohort).parent, registry_folder(out)).twins:
        raise UsageError(
            "E_SAME_IMAGES", "Two patients of the table have identical PET images", "one row each"
        )
    own_commands_first()
    snakemake = Snakemake([], options, SNAKEFILE.parent / "workflow/predict.smk")
    given = [f"model={model}", f"cohort={cohort}", f"out={out}"]
    code = snakemake("--cores", "all", *snakemake.options, "--config", *given, phase="predict")
    if code < 0 or snakemake.stopped:
        code = EXIT_RESUMABLE
    records = [out / "patients" / row["patient"] / "predict.json" for row in rows]
    refused = sum(not Sidecar.read(path).ok for path in records if path.exists())
    return code, len(rows), refused


def predict_cohort(model: Path, cohort: Path, out: Path, options: list[str]) -> int:
    """``predict_table`` and a last line; exit 2 when somebody was refused."""
    code, patients, refused = predict_table(model, cohort, out, options)
    if code:
        return code
    if refused:
        verb = "was" if refused == 1 else "were"
        print(f"{refused} of {count(patients, 'patient')} {verb} refused; column reason says why")
    print(f"{count(patients - refused, 'patient')} scored: {out / 'predictions.tsv'}")
    return EXIT_REFUSED if refused else EXIT_OK


def start(
    model: Path,
    sources: dict[str, Path | None],
    clinical: Path | None,
    cohort: Path | None,
    out: Path | None,
    as_json: bool,
    options: list[str],
) -> int:
    """``promet predict``: one patient by his files, or a table of patients.

    Raises:
        UsageError: files of one patient and a table at once, or options that neither knows.
    """
    one = clinical is not None or any(sources.values())
    if one == (cohort is not None) or (one and options) or (cohort is not None and out is None):
        raise UsageError(
            "E_USAGE",
            f"It is not clear whom to score{f' ({options[0]} is no option here)' if one and options else ''}",
            "either --pet, --prostate, --lesions and --clinical of one patient, or --cohort with --out FOLDER",
            "See promet predict --help",
        )
    if cohort is not None and out is not None:
        return predict_cohort(model, cohort, out, options)
    return predict_one(model, sources, clinical, out, as_json)
