"""Why a job is stale, in words: what its record's pin was made of, against what the plan's pin is made of.

A pin is one hash. ``registry/<study>/pins.json`` keeps, for every pin that stands in a record or is wanted, a short
hash of each part by name; and of every row of the table, as it was when the last run finished, four hexadecimal
digits per column. It only serves sentences: lost or damaged, the sentences are less exact and nothing else changes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container
from functools import cached_property
from pathlib import Path
from typing import Any

from promet.core.files import read_json, write_json
from promet.core.pin import pin as hash_of
from promet.study.registry import MISSING
from promet.study.table import COLUMNS
from promet.workflow.job import Job
from promet.workflow.plan import Plan
from promet.workflow.stages import STAGES
from promet.workflow.uses import flat, place

SOURCE = {"pet": "PET", "ct": "CT", "prostate": "prostate mask", "lesions": "lesion mask"}
SHOWN = 3  # changes named in one sentence, and patients named for one change
DIGITS = 4
GONE = hash_of(MISSING)[:8]


def path(plan: Plan) -> Path:
    """Where the parts of a study's pins are kept."""
    return Path(plan.ledger).with_name("pins.json")


def recall(plan: Plan) -> dict[str, Any]:
    """What was kept: ``parts`` of each pin and ``rows``; empty when there is nothing to read."""
    try:
        kept = read_json(path(plan))
        return {"parts": dict(kept["parts"]), "rows": dict(kept["rows"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {"parts": {}, "rows": {}}


def remember(plan: Plan, jobs: list[Job], finished: bool = False) -> None:
    """Keep the parts of every pin that stands in a record or is wanted; with ``finished`` the rows as well."""
    before = recall(plan)
    after: dict[str, Any] = {"parts": {}, "rows": _rows(plan) if finished else before["rows"]}
    entries = Entries(plan)
    for job in jobs:
        for pin in (job.pin, job.made_with):
            if pin in before["parts"] and pin not in after["parts"]:
                after["parts"][pin] = before["parts"][pin]
                shared = before["parts"][pin].get("shared", "")
                after["parts"] |= {shared: before["parts"].get(shared, {})} if shared else {}
        if job.pin not in after["parts"]:
            after["parts"] |= entries.of(job)
    if after != before:
        write_json(path(plan), after)


class Entries:
    """What is kept of a pin. Version and settings, the same for all patients or seeds, are kept once."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._shared: dict[tuple[str, ...], tuple[str, dict[str, str]]] = {}

    def of(self, job: Job) -> dict[str, dict[str, str]]:
        """Pin -> hash of each part by name, and the same for the parts that it shares with others."""
        of_stage = (job.stage, job.at.get("variant", ""), job.at.get("bucket", ""))
        if of_stage not in self._shared:
            shared = _short(self.plan.shared_parts(job.stage, **job.at))
            self._shared[of_stage] = hash_of(shared)[:12], shared
        key, shared = self._shared[of_stage]
        own = self.plan.own_parts(job.stage, **job.at)
        if whole := own.get("configuration"):
            own = {name: value for name, value in own.items() if name != "configuration"}
            own |= flat(json.loads(whole), "key ")
        return {key: shared, job.pin: {**_short(own), "shared": key}}


def _short(parts: dict[str, Any]) -> dict[str, str]:
    return {name: hash_of(value)[:8] for name, value in parts.items()}


def _whole(parts: dict[str, dict[str, str]], pin: str) -> dict[str, str]:
    own = dict(parts.get(pin, {}))
    return parts.get(own.pop("shared", ""), {}) | own


def _columns(plan: Plan) -> list[str]:
    return [*COLUMNS, *plan.outcome.extra]


def _rows(plan: Plan) -> dict[str, str]:
    return {
        name: "".join(
            hashlib.blake2b(f"{name}/{column}/{row[column]}".encode(), digest_size=2).hexdigest()
            for column in _columns(plan)
        )
        for name, row in plan.rows.items()
    }


class Reasons:
    """Says why records are stale; reads what was kept when it is first asked."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._said: dict[tuple[str, str, str], str] = {}
        self._entries = Entries(plan)

    @cached_property
    def _kept(self) -> dict[str, Any]:
        return recall(self.plan)

    @cached_property
    def _before(self) -> dict[str, str]:
        return self._kept["rows"]

    @cached_property
    def _now(self) -> dict[str, str]:
        return _rows(self.plan)

    def why(self, job: Job) -> str:
        """One clause: what changed since the record of ``job`` was made."""
        key = (job.stage, job.made_with, job.pin)
        if key not in self._said:
            self._said[key] = self._why(job)
        return self._said[key]

    def _why(self, job: Job) -> str:
        before = _whole(self._kept["parts"], job.made_with)
        if not before:
            return _unknown(job)
        after = _whole(self._entries.of(job), job.pin)
        names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
        if "patients" in names:  # then every column differs, also those in which nobody else's value changed
            names = [
                name
                for name in names
                if name != "parts" and (not name.startswith("column ") or self.who(name[7:]))
            ]
        names.sort(key=lambda name: name != "patients")
        clauses = [self._clause(name, job.stage, before, after) for name in names]
        more = f" and {len(clauses) - SHOWN} more" if len(clauses) > SHOWN else ""
        return ", ".join(clauses[:SHOWN]) + more or _unknown(job)

    def _clause(self, name: str, stage: str, before: dict[str, str], after: dict[str, str]) -> str:
        kind, _, what = name.partition(" ")
        if kind == "version":
            return "promet computes it otherwise by now"
        if kind == "source":
            source = SOURCE.get(what, what)
            if name not in before or name not in after:
                return f"the {source} was {'added' if name in after else 'taken away'}"
            if after[name] == GONE:
                return f"the {source} is missing, empty or cannot be read: the patient will be quarantined"
            if before[name] == GONE:
                return f"the {source} is there again"
            return f"the bytes of the {source} changed"
        if kind == "key":
            return f"the setting {what} changed"
        if kind == "setting":
            return f"the setting {place(stage, what)} changed"
        if kind == "column":
            return f"the column {what} changed{self.who(what)}"
        if kind == "patients":
            return f"who is in the study changed{self._came_and_went()}"
        told = {"parts": "patients changed their part", "images": "images of its patients changed"}
        told["buckets"] = "the number of buckets changed"
        return told.get(kind, f"the list of {kind} changed")

    def who(self, column: str, among: Container[str] | None = None) -> str:
        """Whose value changed since the last run finished, in brackets; '' when nobody is known."""
        columns = _columns(self.plan)
        if column not in columns:  # named by another configuration
            return ""
        at = columns.index(column) * DIGITS
        end = at + DIGITS
        who = [
            name
            for name, row in self._now.items()
            if name in self._before
            and self._before[name][at:end] != row[at:end]
            and (among is None or name in among)
        ]
        return f" ({named(who, SHOWN)})" if who else ""

    def _came_and_went(self) -> str:
        new = [name for name in self._now if name not in self._before]
        gone = [name for name in self._before if name not in self._now]
        told = [f"{word}: {named(names, SHOWN)}" for word, names in (("new", new), ("gone", gone)) if names]
        return f" ({'; '.join(told)})" if told and self._before else ""


def named(names: list[str], most: int) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(sorted(names)[:most]) + more


def counted(stages: dict[str, int]) -> str:
    """Stages with how many jobs each has, where there is more than one: 11 convert jobs, gather."""
    return ", ".join(f"{n} {stage} jobs" if n > 1 else stage for stage, n in stages.items())


def _unknown(job: Job) -> str:
    """When the record was made before anything was kept."""
    if "patient" in job.at:
        return (
            "its source images or its settings changed"
            if STAGES[job.stage].sources
            else "its settings changed"
        )
    return "its rows of the table, its settings or its members changed"


def duration(seconds: float) -> str:
    """Rounded for people: 45 s, 3 min, 2 h 10 min."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def last_words(log: str | Path) -> str:
    """The sentence with which a job ended, without "promet: "; '' when it left none."""
    try:
        last = Path(log).read_text(encoding="utf-8", errors="replace").rstrip().rpartition("\n")[2]
    except OSError:
        return ""
    return last.removeprefix("promet: ") if last.startswith("promet: ") else ""
