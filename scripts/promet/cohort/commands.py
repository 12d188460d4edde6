"""The data manager's commands: check, intake, status, freeze, waive, verify, prune, run, retry."""

from __future__ import annotations

import gc
import json as jsonlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from promet.cohort import care, ledger, overview, registry, table, words
from promet.cohort import run as runs
from promet.cohort.plan import FIT, Plan
from promet.cohort.status import inspect
from promet.cohort.words import count
from promet.config import Config, load
from promet.core.errors import EXIT_OK, EXIT_REFUSED, UsageError
from promet.core.sidecar import QUARANTINED, Sidecar


def _command(name: str, configfiles: list[Path]) -> str:
    """A command as it has to be typed with these configurations."""
    return " ".join(["promet", name, *(f"-c {path}" for path in configfiles)])


def check(
    configfiles: list[Path], as_json: bool, look: Callable[[Path, Any], Iterable[Any]] | None = None
) -> int:
    """Print every fault of the table; exit 2 when there is an error among them.

    Args:
        configfiles: laid over the defaults.
        as_json: print JSON.
        look: what looks into the images (``imaging.check.check_images``); without it only the table is checked.
    """
    config = load(configfiles)
    faults = table.check(config.cohort)
    number = Counter(fault.severity for fault in faults)
    refused = list(look(Path(config.cohort), config.imaging)) if look and not number["error"] else []
    if as_json:
        images = [asdict(fault) | {"severity": "quarantine"} for fault in refused]
        print(jsonlib.dumps([*(asdict(fault) for fault in faults), *images], indent=2))
        return EXIT_REFUSED if number["error"] else EXIT_OK
    for fault in faults:
        found = f"found '{fault.value}'" if fault.value else "found nothing"
        print(
            f"{fault.severity:10} line {fault.line:<4} {fault.patient or '-':12} {fault.column:24}"
            f" {found}; expected {fault.expected}"
        )
    for image in refused:
        print(f"quarantine {image.patient:22} {image.column:24} {image.code}: {image.sentence}")
    lost = len(
        {image.patient for image in refused}
        | {fault.patient for fault in faults if fault.severity == "quarantine"}
    )
    print(
        f"{config.cohort}: {count(number['error'], 'error')}, {count(lost, 'patient')} to be quarantined, "
        f"{count(number['warning'], 'warning')}"
    )
    if number["error"]:
        print("Put right the errors; promet intake refuses the table until then")
        return EXIT_REFUSED
    print(f"Next: {_command('intake', configfiles)}")
    return EXIT_OK


def _require_sound_table(config: Config, configfiles: list[Path]) -> None:
    faults = [fault for fault in table.check(config.cohort) if fault.severity == "error"]
    if faults:
        raise UsageError(
            "E_COHORT_FAULTS",
            f"The cohort table has {count(len(faults), 'error')}, the first on line {faults[0].line}, "
            f"column {faults[0].column}",
            remedy=f"{_command('check', configfiles)} lists them all; nothing was done",
        )


def intake(configfiles: list[Path], deep: bool, as_json: bool) -> int:
    """Bring registry and ledger up to date; a faulty table or two patients with the same PET are refused."""
    config = load(configfiles)
    _require_sound_table(config, configfiles)
    rows = table.read(config.cohort)
    path = ledger.ledger_path(config.registry, config.study)
    if ledger.mend(path):
        print("the split ledger had lost rows; they are back from its copy")
    split = config.split
    frozen = ledger.freeze_name(config.registry, config.study)
    entries = ledger.read(path)
    added = ledger.extend(
        entries, rows, split.ratios, list(split.stratify), split.repeats, split.salt, frozen
    )
    found = registry.intake(rows, Path(config.cohort).parent, config.registry, deep)
    if found.twins:
        raise UsageError(
            "E_SAME_IMAGES",
            f"{count(len(found.twins), 'group')} of patients have identical PET images: "
            f"{', '.join('='.join(group) for group in found.twins)}",
            "one pseudonym per patient: the same man in training and in test would leak",
            "Delete the doubled row, or correct the folder of one of them; nothing was registered",
        )
    ledger.append(path, added)
    plan = Plan(config, lenient=True)
    words.remember(plan, inspect(plan))
    parts = _dealt(found.new, added, entries)
    if as_json:
        print(jsonlib.dumps({**asdict(found), "dealt": parts}, indent=2))
    else:
        _print_intake(found, parts)
        print(f"Next: {_command('run', configfiles)}")
    return EXIT_OK


def _dealt(new: list[str], added: list[ledger.Entry], before: list[ledger.Entry]) -> dict[str, int]:
    """Part -> patients who came into it in split 00; who is in no ledger is prospective."""
    parts = Counter(entry.part for entry in added if entry.split == "00")
    held = {entry.patient for entry in (*added, *before)}
    parts[ledger.PROSPECTIVE] += sum(name not in held for name in new)
    return {
        part: parts[part] for part in (*ledger.PARTS, ledger.METACHRONOUS, ledger.PROSPECTIVE) if parts[part]
    }


def _print_intake(found: registry.Intake, parts: dict[str, int]) -> None:
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
        print("dealt: " + ", ".join(f"{number} {part}" for part, number in parts.items()))
    if not (found.new or found.changed or found.gone or found.missing or parts):
        print("nothing new")
    print(f"{count(found.files, 'file')} known, {found.hashed} read")


def status(configfiles: list[Path], patient: str, as_json: bool) -> int:
    """Print what is fresh, stale and quarantined, of the study or of one patient."""
    gc.disable()  # a short life among a million small objects
    plan = Plan(load(configfiles), lenient=True)
    jobs = inspect(plan)
    if as_json:
        chosen = [job for job in jobs if not patient or job.at.get("patient") == patient]
        print(jsonlib.dumps([asdict(job) for job in chosen], indent=2))
        return EXIT_OK
    shown = (
        overview.patient_lines(plan, jobs, patient)
        if patient
        else overview.lines(plan, jobs, _command("run", configfiles))
    )
    for line in shown:
        print(line)
    return EXIT_OK


def freeze(configfiles: list[Path], name: str, into: str) -> int:
    """Close the study's split; with ``into`` begin a new study that deals the prospective patients too."""
    config = load(configfiles)
    ledger.mend(ledger.ledger_path(config.registry, config.study))
    if not into:
        plan = Plan(config, lenient=True)
        unused = _quarantined(plan, {man for split in plan.splits for man in plan.fit_members(split)})
        ledger.close(config.registry, config.study, name, unused)
        print(f"study {config.study} is frozen as {name}: new patients will be scored, never trained on")
        if unused:
            print(f"quarantined now, so only scored even if cured later: {words.named(unused, 8)}")
        print(f"Next: {_command('run', configfiles)}")
        return EXIT_OK
    if not ledger.freeze_name(config.registry, config.study):
        raise UsageError(
            "E_NOT_FROZEN",
            f"The study {config.study} is still open: new patients are dealt to it anyway",
            remedy=f"{_command('freeze NAME', configfiles)} closes it",
        )
    path = ledger.ledger_path(config.registry, into)
    if ledger.read(path):
        raise UsageError("E_STUDY_EXISTS", f"There is a study {into} already", "the name of a new study")
    split = config.split
    entries = ledger.next_generation(
        ledger.read(ledger.ledger_path(config.registry, config.study)),
        table.read(config.cohort),
        split.ratios,
        list(split.stratify),
        split.repeats,
        split.salt,
    )
    ledger.append(path, entries)
    fitted = {entry.patient for entry in entries if entry.part in FIT}
    ledger.close(config.registry, into, name, _quarantined(Plan(config, lenient=True), fitted))
    parts = Counter(entry.part for entry in entries if entry.split == "00")
    print(f"study {into} is frozen as {name}: " + ", ".join(f"{n} {part}" for part, n in parts.items()))
    print(f"Next: write 'study: {into}' into a configuration of its own and promet run -c it")
    print(f"study {config.study} stays as it is and keeps scoring")
    return EXIT_OK


def _quarantined(plan: Plan, patients: set[str]) -> list[str]:
    """Those of the patients who are quarantined, sorted."""
    records = {man: Path(plan.sidecar("normalise", patient=man)) for man in patients}
    return sorted(
        m for m, path in records.items() if path.exists() and Sidecar.read(path).status == QUARANTINED
    )


def waive(configfiles: list[Path], patient: str, reason: str) -> int:
    """Keep a frozen model although a patient it was fitted on withdrew."""
    config = load(configfiles)
    plan = Plan(config, lenient=True)
    kept = {split: Path(plan.beside("fuse", "naive_bayes.json", split=split)) for split in plan.splits}
    needed = [
        *(Path(plan.beside("select", "model.json", split=split)) for split in plan.splits),
        *kept.values(),
    ]
    if gone := [path for path in needed if not path.exists()]:
        raise UsageError(
            "E_NO_MODEL",
            f"There is no finished model to keep: {gone[0]} is missing",
            remedy="Train without him: promet freeze NAME --into NEWSTUDY",
        )
    if not plan.sealed:
        ledger.seal(config.registry, config.study, kept)
    ledger.waive(config.registry, config.study, patient, reason, table.read(config.cohort))
    print(f"study {config.study} keeps its model without {patient}: nothing can train or fit it again")
    print(f"Next: {_command('run', configfiles)}, then {_command('prune --yes', configfiles)}")
    return EXIT_OK


def verify(configfiles: list[Path]) -> int:
    """Compare every product with its record."""
    read, damages = care.verify(Plan(load(configfiles), lenient=True))
    for damage in damages:
        print(f"{damage.record}: {damage.product} {damage.what}")
    print(f"{count(read, 'product')} read, {len(damages)} damaged")
    if damages:
        records = " ".join(sorted({damage.record for damage in damages}))
        print(f"Next: rm {records} && {_command('run', configfiles)}")
        return EXIT_REFUSED
    return EXIT_OK


def prune(configfiles: list[Path], yes: bool) -> int:
    """List, or with ``yes`` delete, what belongs to patients that the table no longer holds."""
    plan = Plan(load(configfiles), lenient=True)
    if not plan.named:
        raise UsageError(
            "E_COHORT_EMPTY",
            f"The table {plan.cohort} holds no patients",
            "a table with the patients who stay",
            "Name your configuration with -c",
        )
    folders = care.prune(plan) if yes else care.abandoned(plan)
    for folder in folders:
        print(f"{'deleted' if yes else 'would delete'} {folder}")
    what = f"{count(len(folders), 'patient')} with results, but no row in {plan.cohort}"
    print(
        what if yes or not folders else f"{what}; {_command('prune --yes', configfiles)} deletes their files"
    )
    return EXIT_OK


def run(configfiles: list[Path], options: list[str]) -> int:
    """Bring everything up to date."""
    config = load(configfiles)
    _require_sound_table(config, configfiles)
    return runs.run(config, configfiles, options)


def retry(configfiles: list[Path], options: list[str]) -> int:
    """Run the stages again that quarantined a patient, then what follows from them."""
    config = load(configfiles)
    plan = Plan(config)
    records = care.quarantined(plan)
    if not records:
        print("nobody is quarantined")
        return EXIT_OK
    print(f"{count(len(records), 'patient')} to be tried again")
    if plan.buckets:  # a bucket's job makes what is not there
        for path in records:
            Path(path).unlink()
        records = []
    return runs.run(config, configfiles, options, records)
