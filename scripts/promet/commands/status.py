"""``promet status``: who and what is fresh, stale, missing or quarantined, and what to type next."""

from __future__ import annotations

import gc
import json as jsonlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from promet.config import load
from promet.core.errors import EXIT_OK, UsageError
from promet.core.sidecar import QUARANTINED
from promet.core.words import count, say
from promet.study import news
from promet.workflow import forecast, lock, locked, obstacles
from promet.workflow.job import Job
from promet.workflow.plan import Plan
from promet.workflow.reasons import counted, named
from promet.workflow.scheduler import queue
from promet.workflow.stages import PATIENT_STAGES
from promet.workflow.status import inspect

COLUMNS = ("fresh", "stale", "missing", "quarantined")
NAMED = 6  # patients named in one sentence
LOOKED = 100  # quarantined patients whose files are looked at: status answers at once
WORD = {"stale": "stale", "missing": "missing", "lost": "missing"}


def status(configfiles: list[Path], patient: str, as_json: bool) -> int:
    """Print what is fresh, stale and quarantined, of the study or of one patient."""
    gc.disable()  # a short life among a million small objects
    plan = Plan(load(configfiles), lenient=True)
    jobs = inspect(plan)
    if as_json:
        chosen = [job for job in jobs if not patient or job.at.get("patient") == patient]
        print(jsonlib.dumps([asdict(job) for job in chosen], indent=2))
        return EXIT_OK
    shown = patient_lines(plan, jobs, patient) if patient else lines(plan, jobs)
    for line in shown:
        say(line)
    return EXIT_OK


def state(job: Job) -> str:
    """The column of the table a job is counted in: a fresh record that says quarantined is no fresh product."""
    if job.state == "fresh" and job.status == QUARANTINED:
        return "quarantined"
    return "missing" if job.state == "lost" else job.state


def lines(plan: Plan, jobs: list[Job]) -> Iterator[str]:
    """The whole of ``promet status``."""
    yield f"study {plan.study}: {count(len(plan.named), 'patient')}, {_split(plan)}"
    holder = lock.at_work(plan.results)
    if holder:
        who = "a run" if holder.command == "run" else f"the command {holder.command}"
        yield f"{who} works here since {holder.since} (process {holder.pid} on {holder.host}){_queue()}"
    if holder or Path(plan.logs, "slurm").is_dir():
        yield from queue.pending()
    counts: dict[str, Counter] = {}
    for job in jobs:
        counts.setdefault(job.stage, Counter())[state(job)] += 1
    yield f"{'stage':10}" + "".join(f" {name:>11}" for name in COLUMNS)
    for stage, number in counts.items():
        yield f"{stage:10}" + "".join(f" {number[name]:>11}" for name in COLUMNS)
    stale = list(_stale(jobs))
    yield from stale
    yield from forecast.then_perhaps(plan, jobs)
    yield from _quarantined(jobs)
    mended = _touched(plan, jobs)
    if mended:
        yield f"the files of {named(mended, NAMED)} (quarantined) changed since: look again with promet intake"
    refused = problems(plan)
    for problem in refused:
        yield f"{problem.code}: {problem}"
    if refused:
        return
    if holder:
        return
    if not plan.named:
        yield empty(plan.cohort)
    elif mended:
        yield "Next: promet intake, then promet run"
    else:
        yield "Next: promet run" if stale else "everything is fresh"


def _queue() -> str:
    """How many jobs of this folder SLURM has, by state."""
    try:
        states = Counter(queue.in_queue(Path(), attempts=1).values())
    except UsageError:
        return ""
    return "".join(f", {number} {name.lower()} in the queue" for name, number in sorted(states.items()))


def empty(cohort: str) -> str:
    """What is next when the table holds nobody."""
    return f"Next: add patients to {cohort}, one row each (config/README.md explains the columns), then promet check"


def problems(plan: Plan) -> list[UsageError]:
    """What a run would refuse."""
    if plan.problems:
        return plan.problems
    found = obstacles.nobody_to_train(plan) or locked.problem(plan)
    return [found] if found else []


def _touched(plan: Plan, jobs: list[Job]) -> list[str]:
    """Quarantined patients whose files changed since the last intake; of very many the first ones are looked at."""
    names = sorted({job.at["patient"] for job in jobs if job.status == QUARANTINED and "patient" in job.at})
    rows = [plan.rows[name] for name in names[:LOOKED] if name in plan.rows]
    return news.touched(rows, Path(plan.cohort).parent, plan.config["registry"])


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
    """A sentence per reason; of a patient only the first stage, since the later ones follow from it."""
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
