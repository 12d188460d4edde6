"""The data manager's commands: check, intake, status, freeze, run."""

from __future__ import annotations

import json as jsonlib
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

from promet.cohort import care, ledger, registry, table
from promet.cohort.plan import PATIENT_STAGES, Plan
from promet.cohort.status import Job, inspect
from promet.config import load
from promet.core.environment import own_commands_first
from promet.core.errors import EXIT_OK, EXIT_REFUSED, UsageError
from promet.core.sidecar import QUARANTINED

PHASES = ("prepare", "lock", "all")


def check(configfiles: list[Path], as_json: bool) -> int:
    """Print every fault of the table; exit 2 when there is an error among them."""
    config = load(configfiles)
    faults = table.check(config.cohort)
    errors = [fault for fault in faults if fault.severity == "error"]
    if as_json:
        print(jsonlib.dumps([asdict(fault) for fault in faults], indent=2))
    else:
        for fault in faults:
            found = f"found '{fault.value}'" if fault.value else "found nothing"
            print(
                f"{fault.severity:7}  line {fault.line:<4} {fault.column:24} {found}; expected {fault.expected}"
            )
        print(f"{len(errors)} errors, {len(faults) - len(errors)} warnings in {config.cohort}")
    return EXIT_REFUSED if errors else EXIT_OK


def intake(configfiles: list[Path], deep: bool, as_json: bool) -> int:
    """Bring registry and ledger up to date; a faulty table or two patients with the same PET are refused."""
    config = load(configfiles)
    faults = [
        fault
        for fault in table.check(config.cohort)
        # A missing folder quarantines that patient later; it must not hold up the others.
        if fault.severity == "error" and not (fault.column in table.SOURCES and fault.value)
    ]
    if faults:
        raise UsageError(
            "E_COHORT_FAULTS",
            f"The cohort table has {len(faults)} errors, the first on line {faults[0].line}, column {faults[0].column}",
            remedy="promet check lists them all; nothing was registered",
        )
    rows = table.read(config.cohort)
    path = ledger.ledger_path(config.registry, config.study)
    added = ledger.extend(
        ledger.read(path),
        rows,
        config.split.ratios,
        list(config.split.stratify),
        config.split.repeats,
        config.split.salt,
        ledger.freeze_name(config.registry, config.study),
    )
    found = registry.intake(rows, Path(config.cohort).parent, config.registry, deep)
    if found.twins:
        raise UsageError(
            "E_SAME_IMAGES",
            f"{len(found.twins)} groups of patients have identical PET images: {', '.join('='.join(g) for g in found.twins)}",
            "one pseudonym per patient: the same man in training and in test would leak",
            "Delete the doubled row, or correct the folder of one of them; nothing was registered",
        )
    ledger.append(path, added)
    _print_intake(found, added, as_json)
    return EXIT_OK


def _print_intake(found: registry.Intake, added: list[ledger.Entry], as_json: bool) -> None:
    parts: dict[str, int] = {}
    for entry in added:
        if entry.split == "00":
            parts[entry.part] = parts.get(entry.part, 0) + 1
    if as_json:
        print(jsonlib.dumps({**asdict(found), "dealt": parts}, indent=2))
        return

    def names(patients: list[str]) -> str:
        return ", ".join(patients[:8]) + (f" and {len(patients) - 8} more" if len(patients) > 8 else "")

    for word, patients in (
        ("new", found.new),
        ("changed", found.changed),
        ("no longer in the table", found.gone),
    ):
        if patients:
            print(f"{len(patients)} {word}: {names(patients)}")
    for patient, source in found.missing:
        print(f"missing: {source} of {patient} cannot be read; the patient will be quarantined")
    if parts:
        print("dealt: " + ", ".join(f"{count} {part}" for part, count in parts.items()))
    if not (found.new or found.changed or found.gone or found.missing or parts):
        print("nothing new")
    print(f"{found.files} files known, {found.hashed} read")


def status(configfiles: list[Path], as_json: bool) -> int:
    """Print what is fresh, stale and quarantined."""
    plan = Plan(load(configfiles))
    jobs = inspect(plan)
    if as_json:
        print(jsonlib.dumps([asdict(job) for job in jobs], indent=2))
        return EXIT_OK
    stages = list(dict.fromkeys(job.stage for job in jobs))
    print(f"{'stage':10} {'fresh':>7} {'stale':>7} {'missing':>8} {'quarantined':>12}")
    for stage in stages:
        here = [job for job in jobs if job.stage == stage]
        count = {state: sum(job.state == state for job in here) for state in ("fresh", "stale", "missing")}
        count["missing"] += sum(job.state == "lost" for job in here)
        bad = sum(job.status == QUARANTINED for job in here)
        print(f"{stage:10} {count['fresh']:>7} {count['stale']:>7} {count['missing']:>8} {bad:>12}")
    for line in _sentences(jobs):
        print(line)
    return EXIT_OK


def _sentences(jobs: list[Job]) -> list[str]:
    lines, seen = [], set()
    for job in jobs:
        patient = job.at.get("patient")
        if job.state != "fresh" and (patient or job.stage) not in seen:
            seen.add(patient or job.stage)
            lines.append(f"{patient or job.name}: {job.stage} {job.state}, {job.why}")
        if patient and job.status == QUARANTINED and (patient, "bad") not in seen:
            seen.add((patient, "bad"))
            lines.append(f"{patient}: quarantined by {job.origin}, {job.code}: {job.reason}")
    return lines or ["everything is fresh"]


def freeze(configfiles: list[Path], name: str) -> int:
    """Close the study's split."""
    config = load(configfiles)
    ledger.close(config.registry, config.study, name)
    print(f"study {config.study} is frozen as {name}: new patients will be scored, never trained on")
    return EXIT_OK


def verify(configfiles: list[Path]) -> int:
    """Compare every product with its record."""
    read, damages = care.verify(Plan(load(configfiles)))
    for damage in damages:
        print(f"{damage.record}: {damage.product} {damage.what}")
    if damages:
        print("Delete the records named above and run again: their products will be made anew")
    print(f"{read} products read, {len(damages)} damaged")
    return EXIT_REFUSED if damages else EXIT_OK


def prune(configfiles: list[Path], yes: bool) -> int:
    """List, or with ``yes`` delete, what belongs to patients that the table no longer holds."""
    plan = Plan(load(configfiles))
    folders = care.prune(plan) if yes else care.abandoned(plan)
    for folder in folders:
        print(f"{'deleted' if yes else 'would delete'} {folder}")
    print(
        f"{len(folders)} patients are no longer in the table"
        + ("" if yes or not folders else "; --yes deletes their files")
    )
    return EXIT_OK


def retry(configfiles: list[Path], options: list[str]) -> int:
    """Run the stages again that quarantined a patient, then what follows from them."""
    records = care.quarantined(Plan(load(configfiles)))
    if not records:
        print("nobody is quarantined")
        return EXIT_OK
    print(f"{len(records)} patients are tried again")
    return run(configfiles, options, records)


def run(configfiles: list[Path], options: list[str], again: list[str] | None = None) -> int:
    """Run the three phases; stop at the first that fails. Returns Snakemake's exit code.

    Args:
        configfiles: laid over the defaults.
        options: passed on to Snakemake.
        again: records to make again although they are fresh.
    """
    config = load(configfiles)
    if not Plan(config).patients:
        raise UsageError(
            "E_COHORT_EMPTY",
            f"The table {config.cohort} holds no patients",
            remedy="Fill it in, or name your configuration with -c",
        )
    start = time.time()
    snakefile = Path(__file__).parents[3] / "Snakefile"
    files = [part for path in configfiles for part in ("--configfile", str(path))]
    own_commands_first()
    _print_plan(inspect(Plan(config)))
    for phase in PHASES:
        plan = Plan(config)
        stale = [job.path for job in inspect(plan, phase) if job.state in ("stale", "lost")]
        stale += again or [] if phase == PHASES[0] else []
        # The guard: what no longer fits its pin runs again, whatever Snakemake's own records say or have lost.
        force = ["--forcerun", *stale] if stale else []
        command = [
            sys.executable,
            "-m",
            "snakemake",
            phase,
            "--snakefile",
            str(snakefile),
            *files,
            *options,
            *force,
        ]
        code = subprocess.run(command, check=False).returncode
        if code:
            _print_reasons(Path(config.logs), start)
            return code
    failed = {
        j.at["patient"]
        for j in inspect(Plan(config))
        if j.stage in PATIENT_STAGES and j.status == QUARANTINED
    }
    if failed:
        print(f"{len(failed)} of {len(plan.patients)} patients are quarantined; promet status says why")
    print(f"report: {plan.beside('report', 'report.html')}")
    return EXIT_OK


def _print_reasons(logs: Path, start: float) -> None:
    """The last words of the jobs that failed since ``start``."""
    for path in sorted(logs.rglob("*.log")) if logs.is_dir() else []:
        if path.stat().st_mtime >= start:
            last = path.read_text(encoding="utf-8", errors="replace").rstrip().rpartition("\n")[2]
            if last.startswith("promet: "):
                print(f"{path}: {last}", flush=True)


def _print_plan(jobs: list[Job]) -> None:
    """Why, what, how many: one line per reason and stage; followers run too, if what they read comes out otherwise."""
    count: dict[tuple[str, str], int] = {}
    for job in jobs:
        if job.state != "fresh":
            count[job.why, job.stage] = count.get((job.why, job.stage), 0) + 1
    for (why, stage), number in count.items():
        print(f"{why} · {stage} · {number}", flush=True)
    if not count:
        print("everything is fresh", flush=True)
