"""Pins decide, also where somebody calls ``snakemake`` directly.

Of its own Snakemake would run a job again when the paths it reads, the text of its rule, its parameters or its environment
are not as they were. None of these is content: a pin holds what of them is. So all of these triggers are switched off,
whatever profile or option asks for them, and what no longer fits its pin is forced instead, whatever Snakemake's own
records say or have lost.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from promet.core.errors import UsageError
from promet.core.pin import pin as digest_of
from promet.workflow import locked
from promet.workflow.declaration import PHASES
from promet.workflow.edges import Graph
from promet.workflow.plan import Plan
from promet.workflow.status import inspect, stale_records

PHASE = "PROMET_PHASE"  # promet run names the phase, in which a change can stop at a product that comes out the same
CONFIGURATION = "PROMET_CONFIGURATION"  # and says with which configuration it began
UNTIL = "PROMET_UNTIL"  # and which names of --until count in that phase


def pins_decide(workflow: Any, plan: Plan) -> None:
    """Have one Snakemake run exactly what the pins ask for; called while the Snakefile is parsed.

    Snakemake gives a workflow its settings after the Snakefile was read, so that they are changed on their way in.

    Raises:
        UsageError: ``E_MODEL_LOCKED``, or ``E_PLAN_CHANGED`` when the configuration was edited during a run.
    """
    if workflow.is_main_process:
        require_same_configuration(plan)
        if problem := locked.problem(plan):
            raise problem

    class Pinned(type(workflow)):  # type: ignore[misc]
        @property
        def dag_settings(self) -> Any:
            return self.__dict__.get("dag_settings")

        @dag_settings.setter
        def dag_settings(self, given: Any) -> None:
            self.__dict__["dag_settings"] = given and _decided(given, plan, self.is_main_process)

    workflow.__class__ = Pinned


def _decided(given: Any, plan: Plan, main: bool) -> Any:
    """Snakemake's settings of one call without triggers; in its main process with what the pins ask for."""
    changes: dict[str, Any] = {"rerun_triggers": frozenset()}
    if main and os.environ.get(PHASE):  # promet run has planned with these
        changes |= {"forceall": False, "until": frozenset(os.environ.get(UNTIL, "").split())}
    if main:
        until = changes.get("until", given.until)
        forced = to_force(plan, given.targets, until, given.omit_from)
        changes["forcerun"] = frozenset({*given.forcerun, *forced})
    return replace(given, **changes)


def to_force(
    plan: Plan, targets: Iterable[str] = (), until: Iterable[str] = (), omitted: Iterable[str] = ()
) -> set[str]:
    """The records that have to be made again on the way to the targets.

    In a phase of ``promet run`` also those that are gone: a change stops at the end of the phase. ``snakemake`` alone
    would train for them, and leaves them as long as later ones are there.
    """
    jobs = inspect(plan)
    if not os.environ.get(PHASE):
        jobs = [job for job in jobs if job.state == "stale"]
    records = set(stale_records(plan, jobs))
    if not records:
        return records
    graph = Graph(plan)
    here = graph.upstream(graph.named(targets))
    for phase in PHASES:
        if phase in targets or not targets:
            here |= graph.of_phase(phase)
    if until:
        here &= graph.upstream(graph.named(until))
    here -= graph.downstream(graph.named(omitted))
    return records & {graph.jobs[key] for key in here}


def configuration(plan: Plan) -> str:
    """Digest of the whole configuration."""
    return digest_of(plan.config)


def require_same_configuration(plan: Plan) -> None:
    """A phase of ``promet run`` works with the configuration that the run began with.

    Raises:
        UsageError: ``E_PLAN_CHANGED``.
    """
    if os.environ.get(CONFIGURATION, configuration(plan)) != configuration(plan):
        raise UsageError(
            "E_PLAN_CHANGED",
            "The configuration changed while the run was going on",
            "the one that the run began with",
            "Start it again",
        )
