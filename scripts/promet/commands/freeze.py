"""``promet freeze``: close a study's split, or begin the next study with it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from promet.commands.alone import alone
from promet.config import load
from promet.core.errors import EXIT_OK, UsageError
from promet.core.sidecar import QUARANTINED, Sidecar
from promet.core.words import say, typed
from promet.study import assign, freezing, ledger, table
from promet.study.ledger import FIT
from promet.study.parts import left_fit
from promet.workflow.plan import Plan
from promet.workflow.reasons import named


@alone
def freeze(configfiles: list[Path], name: str, into: str) -> int:
    """Close the study's split; with ``into`` begin a new study that assigns the prospective patients too."""
    config = load(configfiles)
    ledger.mend(ledger.ledger_path(config.registry, config.study))
    if not into:
        plan = Plan(config, lenient=True)
        unused = _quarantined(plan, {patient for split in plan.splits for patient in plan.fit_members(split)})
        left = left_fit(plan.entries, table.read(config.cohort, config.outcome.extra), config.outcome)
        freezing.close(config.registry, config.study, name, {*unused, *left})
        say(f"study {config.study} is frozen as {name}: new patients will be scored, never trained on")
        if unused:
            say(f"quarantined now, so only scored even if mended later: {named(unused, 8)}")
        if left:
            say(f"without row, role or label now, so only scored even if these come back: {named(left, 8)}")
        say("Next: promet run")
        return EXIT_OK
    if not freezing.freeze_name(config.registry, config.study):
        raise UsageError(
            "E_NOT_FROZEN",
            f"The study {config.study} is still open: new patients are assigned to it anyway",
            remedy="promet freeze NAME closes it",
        )
    path = ledger.ledger_path(config.registry, into)
    if ledger.read(path):
        raise UsageError("E_STUDY_EXISTS", f"There is a study {into} already", "the name of a new study")
    split, rows = config.split, table.read(config.cohort, config.outcome.extra)
    entries = assign.next_generation(
        ledger.read(ledger.ledger_path(config.registry, config.study)),
        rows,
        split.ratios,
        list(split.stratify),
        split.repeats,
        split.salt,
        config.outcome,
    )
    ledger.append(path, entries)
    fitted = {entry.patient for entry in entries if entry.part in FIT}
    unused = _quarantined(Plan(config, lenient=True), fitted)
    freezing.close(config.registry, into, name, {*unused, *left_fit(entries, rows, config.outcome)})
    parts = Counter(entry.part for entry in entries if entry.split == "00")
    say(f"study {into} is frozen as {name}: " + ", ".join(f"{n} {part}" for part, n in parts.items()))
    more = f"{typed('promet run')} -c {into}.yaml"
    say(f"Next: write 'study: {into}' into a file of its own, say {into}.yaml; then {more}")
    say(f"study {config.study} stays as it is and keeps scoring")
    return EXIT_OK


def _quarantined(plan: Plan, patients: set[str]) -> list[str]:
    """Those of the patients who are quarantined, sorted."""
    records = {patient: Path(plan.sidecar("normalise", patient=patient)) for patient in patients}
    return sorted(
        m for m, path in records.items() if path.exists() and Sidecar.read(path).status == QUARANTINED
    )
