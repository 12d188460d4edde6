"""Which jobs read what which other jobs leave; tests/workflow compares it with the rules."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from promet.workflow.buckets import ORGANS
from promet.workflow.plan import LOCKED_SPLIT, Plan
from promet.workflow.stages import PATIENT_STAGES, STAGES

Key = tuple[str, ...]  # stage, then the values of its wildcards
# (stage, file): the small files of nothing but a digest at which a change can end.
DIGESTS = {word.partition("/")[::2] for stage in STAGES.values() for word in stage.after if "/" in word}


@dataclass
class Graph:
    """The jobs that Snakemake knows, in an order in which they can run, and the files between them."""

    plan: Plan
    jobs: dict[Key, str] = field(default_factory=dict)  # job -> its record

    def __post_init__(self) -> None:
        """Take the jobs from the plan, but those of patients for whom buckets stand, and trainings of a locked model."""
        left_out = PATIENT_STAGES if self.plan.buckets else ()
        for stage, at in self.plan.jobs():
            if stage not in left_out and not (stage == "train" and self.plan.model_locked):
                self.jobs[stage, *at.values()] = self.plan.sidecar(stage, **at)

    def key(self, stage: str, at: dict[str, str]) -> Key:
        """The job of Snakemake that makes a record: a patient's own, or that of the bucket."""
        if self.plan.buckets and stage in PATIENT_STAGES:
            return self._of[self.plan.output(stage, **at)]
        return stage, *at.values()

    @cached_property
    def _of(self) -> dict[str, Key]:
        return {record: key for key, record in self.jobs.items()}

    def named(self, words: Iterable[str]) -> set[Key]:
        """The jobs that stages, records or files beside records name."""
        wanted = set(words)
        found = {key for key, record in self.jobs.items() if key[0] in wanted or record in wanted}
        beside = {word.rpartition("/")[0] for word in wanted - set(self._of) if "/" in word}
        alone = {key for key in self.jobs if STAGES[key[0]].per != "patient"}
        return found | {key for key in alone if self.jobs[key].rpartition("/")[0] in beside}

    def reads(self, key: Key) -> Iterator[tuple[Key, str]]:
        """(job, file of nothing but a digest, or '' for its record) of each input; jobs that the plan has not are left out."""
        for other, name in self._reads(*key):
            if other in self.jobs:
                yield other, name

    def _reads(self, stage: str, *at: str) -> Iterator[tuple[Key, str]]:
        plan, declared = self.plan, STAGES[stage]
        if stage == "bucket":
            yield from ((("bucket", name), "") for name in plan.before(at[0]))
            yield from (((ORGANS, name), "") for name in plan.buckets[at[0]])
        if declared.per == "patient":
            yield from (((name, at[0]), "") for name in declared.before)
            return
        records = plan.images_of(stage, at[0] if declared.rows == "fit" else "")
        yield from ((self._of[path], "") for path in records if path in self._of)
        splits = [LOCKED_SPLIT] if stage == "bundle" else [at[declared.per == "seed"]] if at else plan.splits
        for word in declared.after:
            before, _, name = word.partition("/")
            if STAGES[before].per == "seed":
                yield from ((self._of[path], "") for path in plan.trained(at[0]) if path in self._of)
            elif STAGES[before].per == "study":
                yield (before,), name
            elif STAGES[before].per == "split":
                yield from (((before, split), name) for split in splits)

    def upstream(self, keys: Iterable[Key]) -> set[Key]:
        """The jobs and all that stand before them."""
        found, todo = set(), list(keys)
        while todo:
            key = todo.pop()
            if key not in found:
                found.add(key)
                todo += [other for other, _ in self.reads(key)]
        return found

    def downstream(self, keys: set[Key]) -> set[Key]:
        """The jobs and all that stand behind them."""
        found = set(keys)
        for key in self.order(self.jobs):
            if any(other in found for other, _ in self.reads(key)):
                found.add(key)
        return found

    def order(self, keys: Container[Key]) -> Iterator[Key]:
        """The jobs in an order in which they can run."""
        last = [key for key in self.jobs if key[0] == "report"]  # it shows the bundle
        yield from (key for key in [*(k for k in self.jobs if k not in last), *last] if key in keys)

    def of_phase(self, phase: str) -> set[Key]:
        """The jobs that a phase of a run has to look at."""
        if phase == "all":
            return set(self.jobs)
        return self.upstream(self.named(self.plan.targets(phase)))
