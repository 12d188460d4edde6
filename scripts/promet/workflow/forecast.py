"""What a run will do, phase by phase: the jobs that surely run, and those that run if what they read comes out otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from promet.core.errors import UsageError
from promet.core.words import count
from promet.workflow.buckets import TENSOR
from promet.workflow.choices import Choices
from promet.workflow.declaration import PHASES
from promet.workflow.edges import Graph, Key
from promet.workflow.job import Job
from promet.workflow.plan import Plan


@dataclass
class Step:
    """One phase: the words of --until that count in it, the jobs that may run, those of them to be made again."""

    phase: str
    until: list[str]
    jobs: set[Key]
    again: list[str] = field(default_factory=list)


def steps(graph: Graph, choices: Choices, again: Iterable[str] = ()) -> list[Step]:
    """The phases of a run.

    Args:
        graph: the jobs.
        choices: what the options choose.
        again: records to make again although they are fresh; each in the first phase that holds it.

    Raises:
        UsageError: ``E_OPTION``, a name of --until, --omit-from or --forcerun that stands for no job.
    """
    for option, words in (
        ("until", choices.until),
        ("omit-from", choices.omit),
        ("forcerun", choices.again),
    ):
        for word in sorted(words):
            if not graph.named([word]):
                raise UsageError(
                    "E_OPTION",
                    f"--{option} {word} names no job of this study",
                    f"a stage ({', '.join(sorted({key[0] for key in graph.jobs}))}) or the record of a job",
                    "promet status lists the stages",
                )
    wanted = graph.named(choices.again) | (set(graph.jobs) if choices.everything else set())
    records = {graph.jobs[key] for key in wanted} | set(again)
    left = graph.downstream(graph.named(choices.omit))
    until, found = set(choices.until), []
    for phase in PHASES:
        here = graph.of_phase(phase) - left
        ends = sorted(word for word in choices.until if graph.named([word]) & here)
        if ends:
            here &= graph.upstream(graph.named(ends))
        until -= set(ends)
        mine = sorted(records & {graph.jobs[key] for key in here})
        records -= set(mine)
        found.append(Step(phase, ends, here, mine))
        if choices.until and not until:
            break
    return found


def forecast(
    plan: Plan, jobs: list[Job], choices: Choices, again: Iterable[str] = ()
) -> tuple[list[Key], list[Key]]:
    """(surely, perhaps): the jobs that a run starts, and those it starts if what they read comes out otherwise.

    Within a phase whatever follows a job that runs, runs. Between two phases a change stops at a file of nothing but a
    digest, when that comes out the same; a record never does.
    """
    graph = Graph(plan)
    stale = {graph.key(job.stage, job.at) for job in jobs if job.state != "fresh"}
    sure: set[Key] = set()
    perhaps: set[Key] = set()
    for step in steps(graph, choices, again):
        before = frozenset(sure)
        forced = {key for key in step.jobs if graph.jobs[key] in step.again}
        for key in graph.order(step.jobs - before):
            read = list(graph.reads(key))
            if (
                key in stale | forced
                or any(other in sure - before for other, _ in read)
                or any(other in before and not digest for other, digest in read)
            ):
                sure.add(key)
            elif any(other in perhaps or other in before for other, _ in read):
                perhaps.add(key)
        perhaps -= sure
    return list(graph.order(sure)), list(graph.order(perhaps))


def counted(keys: Iterable[Key]) -> dict[str, int]:
    """Stage -> number of jobs, in their order."""
    found: dict[str, int] = {}
    for stage, *_ in keys:
        found[stage] = found.get(stage, 0) + 1
    return found


def lines(sure: list[Key], perhaps: list[Key]) -> Iterator[str]:
    """The forecast in words."""

    def told(keys: list[Key]) -> str:
        stages = ", ".join(f"{stage} {n}" if n > 1 else stage for stage, n in counted(keys).items())
        return f"{len(keys)} job{'s' * (len(keys) != 1)} ({stages})"

    yield f"would run: {told(sure)}" if sure else "would run: nothing"
    if perhaps:
        yield f"and, if what they read comes out otherwise, perhaps {told(perhaps)}"


def then_perhaps(plan: Plan, jobs: list[Job]) -> Iterator[str]:
    """How many networks are trained again if what they are trained on comes out otherwise; nothing when it cannot."""
    if plan.model_locked:
        return
    stale = [job for job in jobs if job.state != "fresh"]
    assigned = bool(plan.unregistered) and not plan.frozen
    unsure = {
        split for split in plan.splits if assigned or _unsure(stale, split, set(plan.fit_members(split)))
    }
    number = sum(job.stage == "train" and job.state == "fresh" and job.at["split"] in unsure for job in jobs)
    if number:
        yield (
            f"then perhaps {count(number, 'training')}: a network is trained again if the list of the patients it is trained on, "
            "or a tensor or label of theirs, comes out otherwise"
        )


def _unsure(stale: list[Job], split: str, members: set[str]) -> bool:
    return any(
        (job.stage in TENSOR and job.at["patient"] in members)
        or (job.stage == "dataset" and job.at["split"] == split)
        for job in stale
    )
