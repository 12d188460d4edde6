"""``promet intake``: register new patients and changed images, and assign new patients to the split."""

from __future__ import annotations

import json as jsonlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from promet.commands.alone import alone
from promet.commands.check import TOO_FEW, require_sound_table, same_images
from promet.commands.status import empty
from promet.config import Config, load
from promet.core.errors import EXIT_OK, UsageError
from promet.core.words import count, say
from promet.study import assign, freezing, ledger, likeness, news, renames, sources, table
from promet.study.parts import cannot_train
from promet.workflow import reasons
from promet.workflow.plan import Plan
from promet.workflow.status import inspect

COLLECTIVE = 4  # so many patients and more with one PatientID are likely no one person


@alone
def intake(
    configfiles: list[Path],
    deep: bool,
    as_json: bool,
    renamed: Sequence[str] = (),
    exchanged: bool = False,
    shorter: Sequence[str] = (),
) -> int:
    """Bring registry and ledger up to date; a faulty table or two patients with the same PET are refused."""
    config = load(configfiles)
    require_sound_table(config)
    rows = table.read(config.cohort, config.outcome.extra)
    path = ledger.ledger_path(config.registry, config.study)
    at = renames.Folders(Path(config.cohort).parent, Path(config.registry), Path(config.results))
    renames.finish(at)
    if renamed:
        renames.apply(at, rows, names := renames.parse(list(renamed)))
        say(f"{count(len(names), 'patient')} renamed: ledger, registry and results go by the new name")
    if ledger.mend(path):
        say("the split ledger had lost rows; they are back from its copy")
    waived = freezing.withdrawn(config.registry)
    if back := freezing.come_back(waived, {row["patient"] for row in rows}):
        raise back
    split = config.split
    frozen = freezing.freeze_name(config.registry, config.study)
    entries = ledger.read(path)
    added = assign.extend(
        entries,
        rows,
        split.ratios,
        list(split.stratify),
        split.repeats,
        split.salt,
        frozen,
        outcome=config.outcome,
    )
    base = Path(config.cohort).parent
    found = news.intake(rows, base, config.registry, deep, exchanged=exchanged, shorter=shorter)
    if found.alike:
        raise same_images(found.alike)
    if found.returned:
        raise likeness.come_back(found.returned, waived, "nothing was registered")
    if found.exchanged:
        raise images_exchanged(found.exchanged)
    if found.shorter:
        options = " ".join(
            f"--shorter {name}" for name in dict.fromkeys(one.patient for one in found.shorter)
        )
        raise news.less_than_before(
            found.shorter, f"if it is meant so: promet intake {options}; nothing was registered"
        )
    ledger.append(path, added)
    plan = Plan(config, lenient=True)
    reasons.remember(plan, inspect(plan))
    parts = _assigned(found.new, added, entries)
    if as_json:  # dealt: its name before, for one more version
        print(jsonlib.dumps({**asdict(found), "assigned": parts, "dealt": parts}, indent=2))
    else:
        _print_intake(found, parts, _late(added, frozen), _missing(found.missing, config, rows))
        if lacking := cannot_train(
            [*entries, *added],
            rows,
            freezing.excluded(ledger.ledger_path(config.registry, config.study)),
            config.outcome,
        ):
            say(f"warning: {TOO_FEW.format(lacking)}")
        say("Next: promet run" if rows else empty(config.cohort))
    return EXIT_OK


def _assigned(new: list[str], added: list[ledger.Entry], before: list[ledger.Entry]) -> dict[str, int]:
    """Part -> patients who came into it in split 00; who is in no ledger is prospective."""
    parts = Counter(entry.part for entry in added if entry.split == "00")
    held = {entry.patient for entry in (*added, *before)}
    parts[ledger.PROSPECTIVE] += sum(name not in held for name in new)
    return {
        part: parts[part]
        for part in (*ledger.ASSIGNED, ledger.METACHRONOUS, ledger.PROSPECTIVE)
        if parts[part]
    }


def _late(added: list[ledger.Entry], frozen: str) -> int:
    """Development patients who came after the freeze."""
    return sum(entry.split == "00" and entry.part == ledger.PROSPECTIVE for entry in added) if frozen else 0


def _missing(missing: list[tuple[str, str]], config: Config, rows: list[table.Row]) -> list[str]:
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
        return f"warning: {len(group)} patients have one DICOM PatientID, {reasons.named(group, 3)}: a collective number, or one person"
    return (
        f"warning: {', '.join(group)} have one DICOM PatientID: if it is one person and no collective number, keep one row, "
        "since scans of one patient in training and in test would leak"
    )


def _print_intake(found: news.Intake, parts: dict[str, int], late: int, missing: list[str]) -> None:
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


def images_exchanged(pairs: list[tuple[str, str]]) -> UsageError:
    """Patients of the table have the scans that others of the table had."""
    new, old = min(pairs)
    more = f", and {count(len(pairs) - 1, 'patient')} more changed likewise" if len(pairs) > 1 else ""
    names = " ".join(f"--renamed {old}={new}" for new, old in sorted(pairs))
    return UsageError(
        "E_IMAGES_EXCHANGED",
        f"{new} now has the PET that {old} had{more}: a column of the table was sorted alone, or names were exchanged",
        "each patient with the images of before",
        f"Correct the table; or, where the names changed, promet intake {names}; or, where the table was wrong until now, "
        "promet intake --exchanged; nothing was registered",
    )
