"""The words of ``promet status``: who and what is fresh, stale, missing or quarantined, and what to type next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from promet.cohort.plan import PATIENT_STAGES, Plan
from promet.cohort.status import Job
from promet.cohort.words import count, counted, named
from promet.core.errors import UsageError
from promet.core.sidecar import QUARANTINED

COLUMNS = ("fresh", "stale", "missing", "quarantined")
NAMED = 6  # patients named in one sentence
WORD = {"stale": "stale", "missing": "missing", "lost": "missing"}


def state(job: Job) -> str:
    """The column of the table a job is counted in: a fresh record that says quarantined is no fresh product."""
    if job.state == "fresh" and job.status == QUARANTINED:
        return "quarantined"
    return "missing" if job.state == "lost" else job.state


def lines(plan: Plan, jobs: list[Job], next_step: str) -> Iterator[str]:
    """The whole of ``promet status``."""
    yield f"study {plan.study}: {count(len(plan.named), 'patient')}, {_split(plan)}"
    counts: dict[str, Counter] = {}
    for job in jobs:
        counts.setdefault(job.stage, Counter())[state(job)] += 1
    yield f"{'stage':10}" + "".join(f" {name:>11}" for name in COLUMNS)
    for stage, number in counts.items():
        yield f"{stage:10}" + "".join(f" {number[name]:>11}" for name in COLUMNS)
    stale = list(_stale(jobs))
    yield from stale
    yield from _quarantined(jobs)
    for problem in plan.problems:
        yield f"{problem.code}: {problem}"
    if plan.problems:
        return
    yield f"Next: {next_step}" if stale else "everything is fresh"


def patient_lines(plan: Plan, jobs: list[Job], patient: str) -> Iterator[str]:
    """What there is to say about one patient."""
    if patient not in plan.named:
        raise UsageError("E_NO_PATIENT", f"The table {plan.cohort} holds no patient {patient}")
    if patient not in plan.rows:
        yield f"{patient}: not registered yet; promet intake does that"
        return
    parts = sorted({plan.part(split, patient) for split in plan.splits})
    yield f"{patient}: {' or '.join(parts)}" + (", by split" if len(parts) > 1 else "")
    for job in jobs:
        if job.at.get("patient") == patient:
            bad = f"{job.code}: {job.reason}" if job.origin == job.stage else f"since {job.origin}"
            why = job.why or (bad if job.status == QUARANTINED else "")
            yield f"  {job.stage:10} {state(job)}" + (f": {why}" if why else "")


def _split(plan: Plan) -> str:
    if plan.sealed:
        gone = count(len(plan.waived), "withdrawn patient")
        return f"frozen as {plan.frozen}; a waiver for {gone} keeps the model as it is"
    return f"frozen as {plan.frozen}" if plan.frozen else "open: promet freeze NAME closes the split"


def _stale(jobs: list[Job]) -> Iterator[str]:
    """A sentence per reason; of a patient only his first stage, since the later ones follow from it."""
    patients: dict[tuple[str, str, str], list[str]] = {}
    others: dict[tuple[str, str], Counter] = {}
    seeds: dict[tuple[str, str], str] = {}
    seen = set()
    for job in jobs:
        patient = job.at.get("patient")
        if job.state == "fresh" or patient in seen:
            continue
        if patient:
            seen.add(patient)
            patients.setdefault((job.stage, WORD[job.state], job.why), []).append(patient)
        else:
            others.setdefault((WORD[job.state], job.why), Counter())[job.stage] += 1
            if "seed" in job.at:
                seeds[WORD[job.state], job.why] = job.name
    for (stage, word, why), names in patients.items():
        yield f"{stage} is {word} for {named(names, NAMED)}: {why}"
    for (word, why), stages in others.items():
        which = f" ({seeds[word, why]})" if stages["train"] == 1 else ""
        yield f"{counted(stages)}{which} {'is' if stages.total() == 1 else 'are'} {word}: {why}"


def _quarantined(jobs: list[Job]) -> Iterator[str]:
    for job in jobs:
        if job.stage in PATIENT_STAGES and job.status == QUARANTINED and job.origin == job.stage:
            yield f"{job.at['patient']} is quarantined by {job.stage}, {job.code}: {job.reason}"
