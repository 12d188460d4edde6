"""What a person types: promet predict and promet verify MODEL_DIR."""

from __future__ import annotations

import json as jsonlib
import logging
from pathlib import Path
from typing import Any

from promet.core import checksums
from promet.core.environment import own_commands_first
from promet.core.errors import EXIT_OK, EXIT_REFUSED, EXIT_RESUMABLE, UsageError
from promet.core.files import write_json
from promet.core.sidecar import Sidecar
from promet.core.words import count
from promet.model import answers, clinical, reference
from promet.model.answers import require_same_model
from promet.model.contract import require_horizon
from promet.model.identity import require_digest
from promet.model.opened import RECORD, litter, load, recorded, what_to_do
from promet.model.opened import verify as faults_of
from promet.model.plan import Predictions, registry_folder, require_patients
from promet.model.predict import predict
from promet.study import news, table
from promet.study.faults import Fault
from promet.study.faults import check as table_faults
from promet.workflow.forecast import Step
from promet.workflow.lock import Lock, end, held
from promet.workflow.run import SNAKEFILE, Snakemake

NEEDED = ("patient", "pet", "prostate")


def verify(model: Path, digest: str | None = None, reference_case: bool = False) -> int:
    """Print every file that is not as it was locked and what is known of the rest; exit 2 when something is wrong.

    Args:
        reference_case: also score the reference case, to prove this installation.
    """
    faults = faults_of(model)
    for name, what in faults:
        print(f"{name}: {what}{'; made by a file manager, delete it' if litter(name) else ''}")
    compared = require_digest(model, digest)
    if faults:
        print(f"not as locked: {count(len(faults), 'file')}; {what_to_do(faults)}")
        return EXIT_REFUSED
    opened = load(model, digest)
    print(f"study {opened.training['study']}, {opened.training['freeze']}: digest {opened.digest}")
    print(f"every file agrees with the model's own list, {checksums.NAME}")
    print(
        f"{RECORD}, the record of the job that locked it, names the same list"
        if recorded(model)
        else f"{RECORD}, the record of the job that locked it, was not sent along"
    )
    if compared:
        print("the digest is the one that was received separately: this is the model that was locked")
    else:
        print(
            "whether it is the model that was locked is not known: who edits a file can write the list again. Ask those who "
            "locked it for its digest, on another way than the folder came, and give it: promet verify MODEL_DIR --digest DIGEST"
        )
    told = reference.others(opened)
    if reference_case:
        logging.getLogger("promet").setLevel(logging.ERROR)
        told = reference.run(opened)
    for sentence in told:
        print(sentence)
    return EXIT_OK


def predict_one(
    model: Path,
    sources: dict[str, Path | None],
    row_file: Path | None,
    out: Path | None,
    as_json: bool,
    digest: str | None = None,
) -> int:
    """Score one patient and print the answer."""
    logging.getLogger("promet").setLevel(logging.ERROR)  # the answer repeats every warning
    opened = load(model, digest)
    if out is not None:
        answers.require_outside_of_models(out)
        require_same_model(out, opened.digest)
    row = clinical.read(row_file) if row_file else {}
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
    about, places, image = answer["model"], answer["distribution"], answer["image"]
    note = f"; {answer['probability_note']}" if answer["probability_note"] else ""
    used, all_inputs = answer["inputs_used"], len(answer["inputs"])
    lines = [
        f"probability {answer['probability']:.3f} (log-odds {answer['log_odds']:+.3f}), model {about['freeze']} of study "
        f"{about['study']}, {about['digest'][:12]}{note}",
        *([] if about["compared"] else ["The model's digest was not compared with one received separately."]),
        answer["statement"],
        *(
            [f"It is the risk of {told['called']} within {told['horizon_months']:g} months."]
            if (told := answer.get("outcome")) and told.get("horizon_months")
            else []
        ),
        "",
        *(
            f"{name}: {cut['group'] or cut['reason']} ({cut['origin']}, {count(cut['patients'], 'patient')})"
            for name, cut in answer["groups"].items()
        ),
        "",
        f"inputs used: {used} of {all_inputs}"
        + (f", missing: {', '.join(answer['inputs_missing'])}" if answer["inputs_missing"] else ""),
        f"lesions: {image['lesion_source']}; SUV: {image['suv_rule']}; tracer: {image['tracer']}; "
        f"voxels: {' x '.join(f'{step:g}' for step in image['voxel_mm'])} mm",
        "",
        f"{'input':24} {'value':>10} {'log-odds':>9} {'z':>6} {'percentile':>11}",
    ]
    for name, entry in answer["inputs"].items():
        value = "missing" if entry["value"] is None else f"{entry['value']:.4g}"
        lines.append(f"{name:24} {value:>10} {entry['log_odds']:>+9.2f} {_place(places['inputs'].get(name))}")
    measures = {**image["measures"], **image["scale"], "uptake_min": image["uptake_min"]}
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


def predict_table(
    model: Path,
    cohort: Path,
    out: Path,
    options: list[str],
    digest: str | None = None,
    more: list[str] | None = None,
) -> tuple[int, int, int]:
    """Register the images of a table of new patients beside the answers and score them with Snakemake.

    Args:
        model: folder of the bundle.
        cohort: table of new patients; columns as in config/README.md, ``patient``, ``pet`` and ``prostate`` are needed.
        out: folder of the answers.
        options: passed on to Snakemake.
        digest: of the model, as it was received separately.
        more: further keys of predict.smk's configuration, NAME=VALUE.

    Returns:
        Snakemake's exit code, number of patients, how many of them were refused.

    Raises:
        UsageError: the table has faults that are not one patient's, two of its patients have the same PET, or the folder
            holds answers of another model or table.
        IntegrityError: the model is damaged or another one.
    """
    opened = load(model, digest)
    faults = [fault for fault in table_faults(cohort) if fault.severity == "error" and _of_all(fault)]
    if faults:
        raise UsageError(
            "E_COHORT_FAULTS",
            f"The table has {count(len(faults), 'error')}, the first on line {faults[0].line}, column "
            f"{faults[0].column or '-'}: found {faults[0].found}",
            faults[0].expected,
            "Correct the table; nobody was scored",
        )
    rows = table.read(cohort)
    require_patients(rows)
    answers.require_own(out, opened.digest, [row["patient"] for row in rows])
    with held(out, command="predict") as lock:
        if lock.killed.run:
            end(lock.killed.run)  # its jobs would go on writing here
        code = _registered_and_scored(
            model, cohort, out, options, rows, opened.digest if digest else None, lock, more or []
        )
    records = [out / "patients" / row["patient"] / answers.RECORD for row in rows]
    refused = sum(not Sidecar.read(path).ok for path in records if path.exists())
    return code, len(rows), refused


def _registered_and_scored(
    model: Path,
    cohort: Path,
    out: Path,
    options: list[str],
    rows: list[table.Row],
    digest: str | None,
    lock: Lock,
    more: list[str],
) -> int:
    """Snakemake's exit code."""
    found = news.intake(rows, Path(cohort).parent, registry_folder(out), recall=False)
    if found.alike:
        raise UsageError(
            "E_SAME_IMAGES",
            f"Patients of the table have identical PET images: {', '.join('='.join(group) for group in found.alike)}",
            "one row per patient, each with images of their own",
            "Delete the doubled row, or correct the folder of one of them; nobody was scored",
        )
    for group in found.persons:
        print(
            f"{' and '.join(group)}: their DICOM headers have one PatientID. One patient counted twice makes a validation look surer"
        )
    if found.shorter:
        raise news.less_than_before(found.shorter, "if it is meant so, another --out; nobody was scored")
    own_commands_first()
    snakemake = Snakemake([], options, SNAKEFILE.parent / "workflow/predict.smk")
    snakemake.lock = lock
    given = [f"model={model}", f"cohort={cohort}", f"out={out}", *more]
    if digest is not None:
        given.append(f"digest={digest}")
    # The lock of the folder of answers is held: a killed call's own locks and marks are of no meaning.
    words = ("--cores", "all", "--nolock", "--rerun-incomplete", *snakemake.options, "--config", *given)
    code = snakemake(*words, phase=Step("predict", [], set()))
    return EXIT_RESUMABLE if code < 0 or snakemake.stopped else code


def _of_all(fault: Fault) -> bool:
    """Does a fault of the table concern more than one patient's answer? An absent column holds missing values."""
    if fault.line == 1:
        return bool(fault.value or fault.words) or fault.column in NEEDED
    return fault.column == "patient" or not fault.patient


def predict_cohort(
    model: Path, cohort: Path, out: Path, options: list[str], digest: str | None = None
) -> int:
    """``predict_table`` and last lines; exit 2 when somebody was refused."""
    before = answers.there(out)
    code, patients, refused = predict_table(model, cohort, out, options, digest)
    if code:
        return code
    given = {"model": model, "cohort": cohort, "out": out, "digest": digest}
    plan = Predictions({name: value for name, value in given.items() if value is not None})
    open_ = [name for name in plan.patients if not _answered(plan, name)]
    if open_:  # a dry run, or another option of Snakemake that makes less than everything
        print(f"not scored by this call: {count(len(open_), 'patient')} of {patients}")
        return EXIT_OK
    gone = set(before) - set(answers.there(out)) - set(plan.patients)
    if gone:
        print(f"deleted: the answers of {count(len(gone), 'patient')} no longer in the table")
    if refused:
        verb = "was" if refused == 1 else "were"
        print(f"{refused} of {count(patients, 'patient')} {verb} refused; column reason says why")
    print(f"{count(patients - refused, 'patient')} scored: {out / 'predictions.tsv'}")
    return EXIT_REFUSED if refused else EXIT_OK


def _answered(plan: Predictions, patient: str) -> bool:
    """Is there a record of just what the plan would score, and the table of all?"""
    record = Path(plan.record(patient))
    return (
        record.exists()
        and Sidecar.read(record).pin == plan.pin(patient)
        and (Path(plan.out) / "predictions.tsv").exists()
    )


def start(
    model: Path,
    sources: dict[str, Path | None],
    row_file: Path | None,
    cohort: Path | None,
    out: Path | None,
    as_json: bool,
    options: list[str],
    digest: str | None = None,
    horizon: float | None = None,
) -> int:
    """``promet predict``: one patient by the files, or a table of patients.

    Raises:
        UsageError: files of one patient and a table at once, or options that neither knows.
    """
    one = row_file is not None or any(sources.values())
    if one == (cohort is not None) or (one and options) or (cohort is not None and out is None):
        raise UsageError(
            "E_USAGE",
            f"It is not clear whom to score{f' ({options[0]} is no option here)' if one and options else ''}",
            "either --pet, --prostate, --lesions and --clinical of one patient, or --cohort with --out FOLDER",
            "See promet predict --help",
        )
    if horizon is not None:
        require_horizon(load(model, digest).contract, horizon)
    if cohort is not None and out is not None:
        return predict_cohort(model, cohort, out, options, digest)
    return predict_one(model, sources, row_file, out, as_json, digest)
