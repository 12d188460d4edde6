"""``promet check``: everything that is wrong before anything is made, at once."""

from __future__ import annotations

import json as jsonlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from promet.commands.status import NAMED, empty
from promet.config import Config, load
from promet.core.errors import EXIT_OK, EXIT_REFUSED, UsageError
from promet.core.words import count, say
from promet.study import assign, freezing, ledger, news, table
from promet.study.faults import Fault
from promet.study.faults import check as table_faults
from promet.study.parts import cannot_train, require_roles
from promet.workflow import locked
from promet.workflow.plan import Plan
from promet.workflow.reasons import named

TOO_FEW = (
    "With these labels no network can be trained ({}). Expected: at least one patient with and one without in training and in "
    "validation, of an outcome over time two known to be with and two without. promet run would work on the images and stop there; add patients first"
)


@dataclass(frozen=True)
class Refusal:
    """What intake or run will refuse although each row alone is sound."""

    code: str
    sentence: str
    severity: str = "error"


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
    faults = table_faults(config.cohort, config.outcome)
    away = _away(config, faults)
    faults = [_only_away(fault) if (fault.patient, fault.column) in away else fault for fault in faults]
    number = Counter(fault.severity for fault in faults)
    images = list(look(Path(config.cohort), config.imaging)) if look and not number["error"] else []
    images = [image for image in images if (image.patient, image.column) not in away]
    lost = {image.patient for image in images}
    lost |= {fault.patient for fault in faults if fault.severity == "quarantine"}
    refusals = [] if number["error"] else _refusals(config, lost, with_images=look is not None)
    number.update(refusal.severity for refusal in refusals)
    errors = number["error"]
    if as_json:
        refused = [asdict(image) | {"severity": "quarantine"} for image in images]
        found = [*(_told(fault) for fault in faults), *(asdict(refusal) for refusal in refusals), *refused]
        print(jsonlib.dumps(found, indent=2))
        return EXIT_REFUSED if errors else EXIT_OK
    for fault in faults:
        say(
            f"{fault.severity:10} line {fault.line:<4} {fault.patient or '-':12} {fault.column or '-':24}"
            f" found {fault.found}; expected {fault.expected}"
        )
    for image in images:
        say(f"quarantine {image.patient:22} {image.column:24} {image.code}: {image.sentence}")
    for refusal in refusals:
        say(f"{refusal.severity:10} {refusal.code}: {refusal.sentence}")
    say(
        f"{config.cohort}: {count(errors, 'error')}, {count(len(lost), 'patient')} to be quarantined, "
        f"{count(number['warning'], 'warning')}"
    )
    if errors:
        say("Put right what is called an error, then promet check again")
        return EXIT_REFUSED
    if not table.read(config.cohort):
        say(empty(config.cohort))
    elif lost:
        say(
            "Next: put right what is called quarantine, or promet intake registers these patients as they are"
        )
    else:
        say("Next: promet intake")
    return EXIT_OK


def _away(config: Config, faults: list[Fault]) -> set[tuple[str, str]]:
    """(patient, column) of registered sources that are not there now."""
    if not any(fault.severity == "quarantine" for fault in faults):
        return set()
    return news.away(table.read(config.cohort), Path(config.cohort).parent, config.registry)


def _only_away(fault: Fault) -> Fault:
    """A registered source stays registered: jobs that need it fail until it is back, and nobody is quarantined."""
    expected = f"{fault.expected}; it is registered, so is the disk mounted?"
    return replace(fault, severity="warning", expected=expected)


def _told(fault: Fault) -> dict[str, Any]:
    """A fault for ``--json``, without the text of a cell."""
    found = {key: value for key, value in asdict(fault).items() if key not in ("value", "words")}
    return found | {"found": fault.found}


def _refusals(config: Config, lost: set[str], with_images: bool) -> list[Refusal]:
    """What intake or run would stop at: roles, withdrawn patients, another model than the locked one, the same images twice.

    ``lost``: who will be quarantined.
    """
    rows = table.read(config.cohort, config.outcome.extra)
    found: list[UsageError] = []
    try:
        require_roles(ledger.read(ledger.ledger_path(config.registry, config.study)), rows)
        plan = Plan(config, lenient=True)
        found += [problem for problem in plan.problems if problem.code != "E_INTAKE_NEEDED"]
        if not plan.problems and (problem := locked.problem(plan)):
            found.append(problem)
        fitted = {name for split in plan.splits for name in plan.fit_members(split)}
        if plan.frozen and (members := fitted & lost):
            found.append(
                UsageError(
                    "E_FROZEN_MEMBER",
                    f"The images of {named(list(members), NAMED)} cannot be used, on whom the frozen study {plan.study} is fitted",
                    "the images as they were at the freeze",
                    "Bring them back; or train without: promet freeze NAME --into NEWSTUDY",
                )
            )
        if with_images and (alike := news.alike(rows, Path(config.cohort).parent, config.registry)):
            found.append(same_images(alike))
    except UsageError as error:
        found.append(error)
    refusals = [Refusal(error.code, error.sentence()) for error in found]
    if not found and (lacking := _cannot_train(config, rows, lost)):
        refusals.append(Refusal("E_FIT_LABELS", TOO_FEW.format(lacking) + ".", "warning"))
    return refusals


def _cannot_train(config: Config, rows: list[table.Row], lost: set[str]) -> str:
    """``parts.cannot_train`` after the intake that is to come, without those who will be quarantined."""
    split, entries = config.split, ledger.read(ledger.ledger_path(config.registry, config.study))
    frozen = freezing.freeze_name(config.registry, config.study)
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
    out = freezing.excluded(ledger.ledger_path(config.registry, config.study))
    return cannot_train([*entries, *added], rows, out | lost, config.outcome)


def same_images(alike: list[list[str]]) -> UsageError:
    """Two pseudonyms, one PET."""
    return UsageError(
        "E_SAME_IMAGES",
        f"{count(len(alike), 'group')} of patients with identical PET images: "
        f"{', '.join('='.join(group) for group in alike)}",
        "one pseudonym per patient: one patient in training and in test would leak",
        "Delete the doubled row, or correct the folder of one of them; nothing was registered",
    )


def require_sound_table(config: Config) -> None:
    """Refuse a table with errors.

    Raises:
        UsageError: E_COHORT_FAULTS.
    """
    faults = [fault for fault in table_faults(config.cohort, config.outcome) if fault.severity == "error"]
    if faults:
        first = faults[0]
        raise UsageError(
            "E_COHORT_FAULTS",
            f"The cohort table has {count(len(faults), 'error')}, the first on line {first.line}, "
            f"column {first.column or '-'}: found {first.found}",
            first.expected,
            "promet check lists them all; nothing was done",
        )
