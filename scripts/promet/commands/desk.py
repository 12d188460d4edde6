"""The data manager's commands: check, intake, status, freeze, waive, verify, prune, run, retry."""

from __future__ import annotations

import gc
import json as jsonlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import Any

from promet.commands import check, overview
from promet.commands.check import TOO_FEW, come_back, require_sound_table, same_images
from promet.commands.overview import empty
from promet.config import Config, load
from promet.core import bucket
from promet.core.errors import EXIT_OK, EXIT_REFUSED, UsageError
from promet.core.sidecar import QUARANTINED, Sidecar
from promet.core.words import count, say, typed
from promet.study import ledger, registry, renames, sources, table
from promet.workflow import care
from promet.workflow import reasons as words
from promet.workflow import run as runs
from promet.workflow.lock import held
from promet.workflow.plan import FIT, Plan
from promet.workflow.status import inspect


def alone(command: Callable[..., int]) -> Callable[..., int]:
    """A command that writes: refused while a run or another such command works in the study's folders."""

    @wraps(command)
    def start(configfiles: list[Path], *words: Any, **named: Any) -> int:
        config = load(configfiles)
        with held(config.results, config.registry, command.__name__):
            return command(configfiles, *words, **named)

    return start


COLLECTIVE = 4  # so many patients and more with one PatientID are likely no one person


@alone
def intake(
    configfiles: list[Path], deep: bool, as_json: bool, renamed: Sequence[str] = (), exchanged: bool = False
) -> int:
    """Bring registry and ledger up to date; a faulty table or two patients with the same PET are refused."""
    config = load(configfiles)
    require_sound_table(config)
    rows = table.read(config.cohort)
    path = ledger.ledger_path(config.registry, config.study)
    at = renames.Folders(Path(config.cohort).parent, Path(config.registry), Path(config.results))
    renames.finish(at)
    if renamed:
        renames.apply(at, rows, names := renames.parse(list(renamed)))
        say(f"{count(len(names), 'patient')} renamed: ledger, registry and results go by the new name")
    if ledger.mend(path):
        say("the split ledger had lost rows; they are back from its copy")
    waived = ledger.withdrawn(config.registry)
    if back := ledger.come_back(waived, {row["patient"] for row in rows}):
        raise back
    split = config.split
    frozen = ledger.freeze_name(config.registry, config.study)
    entries = ledger.read(path)
    added = ledger.extend(
        entries, rows, split.ratios, list(split.stratify), split.repeats, split.salt, frozen
    )
    found = registry.intake(rows, Path(config.cohort).parent, config.registry, deep, exchanged=exchanged)
    if found.twins:
        raise same_images(found.twins)
    if found.returned:
        raise come_back(found.returned, waived)
    if found.exchanged:
        raise check.exchanged(found.exchanged)
    ledger.append(path, added)
    plan = Plan(config, lenient=True)
    words.remember(plan, inspect(plan))
    parts = _dealt(found.new, added, entries)
    if as_json:
        print(jsonlib.dumps({**asdict(found), "dealt": parts}, indent=2))
    else:
        _print_intake(found, parts, _late(added, frozen), _reasons(found.missing, config, rows))
        if lacking := ledger.cannot_train(
            [*entries, *added], rows, ledger.excluded(config.registry, config.study)
        ):
            say(f"warning: {TOO_FEW.format(lacking)}")
        say("Next: promet run" if rows else empty(config.cohort))
    return EXIT_OK


def _dealt(new: list[str], added: list[ledger.Entry], before: list[ledger.Entry]) -> dict[str, int]:
    """Part -> patients who came into it in split 00; who is in no ledger is prospective."""
    parts = Counter(entry.part for entry in added if entry.split == "00")
    held = {entry.patient for entry in (*added, *before)}
    parts[ledger.PROSPECTIVE] += sum(name not in held for name in new)
    return {
        part: parts[part] for part in (*ledger.PARTS, ledger.METACHRONOUS, ledger.PROSPECTIVE) if parts[part]
    }


def _late(added: list[ledger.Entry], frozen: str) -> int:
    """Development patients who came after the freeze."""
    return sum(entry.split == "00" and entry.part == ledger.PROSPECTIVE for entry in added) if frozen else 0


def _reasons(missing: list[tuple[str, str]], config: Config, rows: list[table.Row]) -> list[str]:
    """A sentence for each source that could not be registered."""
    base, cells = Path(config.cohort).parent, {row["patient"]: row for row in rows}
    sentences = []
    for patient, name in missing:
        cell = cells[patient][name]
        found, expected, _ = sources.lacking(cell, sources.source(base, cell))
        why = f"found {found}; expected {expected}" if found else "it cannot be read"
        sentences.append(f"missing: {name} of {patient}: {why}. The patient will be quarantined")
    return sentences


def _one_person(group: list[str]) -> str:
    if len(group) > COLLECTIVE:
        return f"warning: {len(group)} patients have one DICOM PatientID, {words.named(group, 3)}: a collective number, or one person"
    return (
        f"warning: {', '.join(group)} have one DICOM PatientID: if it is one person and no collective number, keep one row, "
        "since scans of one patient in training and in test would leak"
    )


def _print_intake(found: registry.Intake, parts: dict[str, int], late: int, missing: list[str]) -> None:
    def names(patients: list[str]) -> str:
        return ", ".join(patients[:8]) + (f" and {len(patients) - 8} more" if len(patients) > 8 else "")

    for word, patients in (
        ("new", found.new),
        ("changed", found.changed),
        ("no longer in the table", found.gone),
    ):
        if patients:
            say(f"{len(patients)} {word}: {names(patients)}")
    for sentence in missing:
        say(sentence)
    for group in found.persons:
        say(_one_person(group))
    for patient, source in found.away[:8]:
        say(f"away: {source} of {patient} is registered and cannot be read now; it stays as registered")
    if found.away:
        say(
            f"{count(len(found.away), 'source')} away: is the disk mounted? Jobs that need them fail until they are back; "
            "to take one out, empty its cell in the table"
        )
    if parts:
        say("assigned: " + ", ".join(f"{number} {part}" for part, number in parts.items()))
    if late:
        whom = "this patient" if late == 1 else "them"
        say(
            f"{count(late, 'development patient')} after the freeze: scored, not trained on "
            f"(promet freeze NAME --into NEWSTUDY makes a new study with {whom})"
        )
    if not (found.new or found.changed or found.gone or found.missing or found.away or parts):
        say("nothing new")
    say(f"{count(found.files, 'file')} known, {found.hashed} read")


def status(configfiles: list[Path], patient: str, as_json: bool) -> int:
    """Print what is fresh, stale and quarantined, of the study or of one patient."""
    gc.disable()  # a short life among a million small objects
    plan = Plan(load(configfiles), lenient=True)
    jobs = inspect(plan)
    if as_json:
        chosen = [job for job in jobs if not patient or job.at.get("patient") == patient]
        print(jsonlib.dumps([asdict(job) for job in chosen], indent=2))
        return EXIT_OK
    shown = overview.patient_lines(plan, jobs, patient) if patient else overview.lines(plan, jobs)
    for line in shown:
        say(line)
    return EXIT_OK


@alone
def freeze(configfiles: list[Path], name: str, into: str) -> int:
    """Close the study's split; with ``into`` begin a new study that assigns the prospective patients too."""
    config = load(configfiles)
    ledger.mend(ledger.ledger_path(config.registry, config.study))
    if not into:
        plan = Plan(config, lenient=True)
        unused = _quarantined(plan, {man for split in plan.splits for man in plan.fit_members(split)})
        left = ledger.left_fit(plan.entries, table.read(config.cohort))
        ledger.close(config.registry, config.study, name, {*unused, *left})
        say(f"study {config.study} is frozen as {name}: new patients will be scored, never trained on")
        if unused:
            say(f"quarantined now, so only scored even if mended later: {words.named(unused, 8)}")
        if left:
            say(
                f"without row, role or label now, so only scored even if these come back: {words.named(left, 8)}"
            )
        say("Next: promet run")
        return EXIT_OK
    if not ledger.freeze_name(config.registry, config.study):
        raise UsageError(
            "E_NOT_FROZEN",
            f"The study {config.study} is still open: new patients are assigned to it anyway",
            remedy="promet freeze NAME closes it",
        )
    path = ledger.ledger_path(config.registry, into)
    if ledger.read(path):
        raise UsageError("E_STUDY_EXISTS", f"There is a study {into} already", "the name of a new study")
    split, rows = config.split, table.read(config.cohort)
    entries = ledger.next_generation(
        ledger.read(ledger.ledger_path(config.registry, config.study)),
        rows,
        split.ratios,
        list(split.stratify),
        split.repeats,
        split.salt,
    )
    ledger.append(path, entries)
    fitted = {entry.patient for entry in entries if entry.part in FIT}
    unused = _quarantined(Plan(config, lenient=True), fitted)
    ledger.close(config.registry, into, name, {*unused, *ledger.left_fit(entries, rows)})
    parts = Counter(entry.part for entry in entries if entry.split == "00")
    say(f"study {into} is frozen as {name}: " + ", ".join(f"{n} {part}" for part, n in parts.items()))
    more = f"{typed('promet run')} -c {into}.yaml"
    say(f"Next: write 'study: {into}' into a file of its own, say {into}.yaml; then {more}")
    say(f"study {config.study} stays as it is and keeps scoring")
    return EXIT_OK


def _quarantined(plan: Plan, patients: set[str]) -> list[str]:
    """Those of the patients who are quarantined, sorted."""
    records = {man: Path(plan.sidecar("normalise", patient=man)) for man in patients}
    return sorted(
        m for m, path in records.items() if path.exists() and Sidecar.read(path).status == QUARANTINED
    )


@alone
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
            remedy="Train without this patient: promet freeze NAME --into NEWSTUDY",
        )
    if not plan.sealed:
        ledger.seal(config.registry, config.study, kept)
    rows = table.read(config.cohort)
    ledger.waive(config.registry, config.study, patient, reason, rows, _signature(plan, patient))
    say(f"study {config.study} keeps its model without {patient}: nothing can train or fit it again")
    say("Next: promet run, then promet prune --yes")
    return EXIT_OK


def _signature(plan: Plan, patient: str) -> list[float]:
    """What the scan is known by, from the record of its conversion, which prune has not yet deleted."""
    if plan.buckets_dir:
        records = bucket.sidecars(bucket.table(Path(plan.buckets_dir)).get(patient, {}))
    else:
        path = Path(plan.sidecar("convert", patient=patient))
        records = {"convert": Sidecar.read(path)} if path.exists() else {}
    return records["convert"].values.get("signature", []) if "convert" in records else []


def verify(configfiles: list[Path]) -> int:
    """Compare every product with its record."""
    read, damages = care.verify(Plan(load(configfiles), lenient=True))
    for damage in damages:
        say(f"{damage.record}: {damage.product} {damage.what}")
    say(f"{count(read, 'product')} read, {len(damages)} damaged")
    if damages:
        records = " ".join(sorted({damage.record for damage in damages}))
        say(f"Next: rm {records} && promet run")
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
    if yes:
        with held(plan.results, plan.config["registry"], "prune"):
            folders = care.prune(plan)
    else:
        folders = care.abandoned(plan)
    for folder in folders:
        say(f"{'deleted' if yes else 'would delete'} {folder}")
    what = f"{count(len(folders), 'patient')} with results, but no row in {plan.cohort}"
    say(what if yes or not folders else f"{what}; promet prune --yes deletes their files")
    return EXIT_OK


def run(configfiles: list[Path], options: list[str]) -> int:
    """Bring everything up to date."""
    config = load(configfiles)
    require_sound_table(config)
    return runs.run(config, configfiles, options)


def retry(configfiles: list[Path], options: list[str]) -> int:
    """Run the stages again that quarantined a patient, then what follows from them."""
    config = load(configfiles)
    plan = Plan(config)
    records = care.quarantined(plan)
    if not records:
        say("nobody is quarantined")
        return EXIT_OK
    say(f"{count(len(records), 'patient')} to be tried again")
    return runs.run(config, configfiles, options, records)
