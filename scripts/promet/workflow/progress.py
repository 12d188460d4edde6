"""How a run looks: stages, jobs done, running and left, time left, and who is quarantined, as it happens.

A Snakemake logger plugin (``--logger promet``), fed with Snakemake's own events: a live line on a terminal, a few calm
lines in a log file. What Snakemake itself says stays in ``.snakemake/log``.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from promet.core import system
from promet.core.bar import bar, terminal
from promet.core.files import read_json
from promet.core.sidecar import QUARANTINED
from promet.core.words import count, typed
from promet.workflow.reasons import duration, last_words

if TYPE_CHECKING:
    from rich.progress import Progress

TARGETS = {"all", "prepare", "lock"}  # rules that only name what is wanted
TAIL = 4000  # characters at the end of a log
CALM = 60.0  # seconds between two lines of progress in a log file
# Snakemake's own words that say nothing more than the lines of this module.
NOISE = (
    "Exiting because a job execution failed",
    "Complete log",
    "At least one job did not complete",
    "WorkflowError:\nAt least one job did not complete",
    "RuleException:\nCalledProcessError",
    "Ignore corrupted or currently written metadata",  # the records of promet stand in for it
)


@dataclass
class Started:
    """A job that runs."""

    stage: str
    where: str
    output: list[str]
    log: list[str]
    at: float


@dataclass
class Tally:
    """What is known of the jobs of one Snakemake call; times in seconds."""

    wanted: dict[str, int] = field(default_factory=dict)
    done: Counter = field(default_factory=Counter)
    failed: set = field(default_factory=set)
    running: dict[Any, Started] = field(default_factory=dict)
    took: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    begun: float = field(default_factory=time.monotonic)

    @property
    def total(self) -> int:
        """Jobs there are."""
        return sum(self.wanted.values())

    @property
    def finished(self) -> int:
        """Jobs that are done."""
        return sum(self.done.values())

    def seconds_left(self, now: float) -> float | None:
        """Jobs left times the mean time of their stage, spread over as many at once as there were so far.

        None while a stage that makes up a good part of the rest has not been seen yet.
        """
        left = {stage: n - self.done[stage] for stage, n in self.wanted.items() if n > self.done[stage]}
        seen = [t for times in self.took.values() for t in times]
        unseen = sum(n for stage, n in left.items() if not self.took.get(stage))
        if not seen or now <= self.begun or unseen > max(2, 0.1 * sum(left.values())):
            return None
        mean = sum(seen) / len(seen)
        work = sum(
            n * (sum(self.took[stage]) / len(self.took[stage]) if self.took.get(stage) else mean)
            for stage, n in left.items()
        )
        at_once = max(1.0, sum(seen) / (now - self.begun))
        return work / at_once

    def line(self) -> str:
        """Done, running, left, time left."""
        stages = ", ".join(sorted({job.stage for job in self.running.values()})[:3])
        text = f"{self.finished} of {count(self.total, 'job')} done, {len(self.running)} running"
        text += f" ({stages})" if stages else ""
        left = self.seconds_left(time.monotonic())
        return text + (f", about {duration(left)} left" if left and self.finished < self.total else "")


class LogHandler(LogHandlerBase):
    """Receives Snakemake's events, one call at a time."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = True
    needs_rulegraph = False

    def __post_init__(self) -> None:
        """Choose between a live line and calm lines."""
        # On a full disk Snakemake's log file fails too, and each of its lines would become a traceback.
        logging.raiseExceptions = bool(os.environ.get("PROMET_DEBUG"))
        self.phase = os.environ.get("PROMET_PHASE", "jobs")
        self.tally = Tally()
        self.said: set[str] = set()
        self.refused: set = set()  # jobs whose refusal by SLURM is told already
        self.silent: set = set()  # members of a group of which another one says why
        self.told = time.monotonic()
        self.snakemake_log = ""
        self.live: Progress | None = None
        self.terminal = terminal()

    # what happens -----------------------------------------------------------------------------------------

    def emit(self, record: logging.LogRecord) -> None:
        """Show one event."""
        try:
            handlers = {
                LogEvent.RUN_INFO: self._plan,
                LogEvent.JOB_INFO: self._started,
                LogEvent.JOB_FINISHED: self._finished,
                LogEvent.JOB_ERROR: self._failed,
                LogEvent.GROUP_ERROR: self._group_failed,
            }
            event = getattr(record, "event", None)
            (handlers.get(event, self._other) if event else self._other)(record)
        except Exception:
            self.handleError(record)

    def _plan(self, record: Any) -> None:
        if self.tally.wanted:
            return  # a dry run says it twice
        stats = {name: n for name, n in record.stats.items() if name != "total" and name not in TARGETS}
        self.tally = Tally(stats)
        if stats:
            stages = ", ".join(f"{name} {n}" if n > 1 else name for name, n in stats.items())
            begin = "would run at most" if self.common_settings.dryrun else f"{self.phase}:"
            self._say(f"{begin} {count(self.tally.total, 'job')} ({stages})")

    def _started(self, record: Any) -> None:
        if record.rule_name in TARGETS or self.common_settings.dryrun:
            return
        self.tally.failed.discard(record.jobid)
        self.silent.discard(record.jobid)
        values = record.wildcards.items() if record.wildcards else ()
        where = ", ".join(value if name == "patient" else f"{name} {value}" for name, value in values)
        self.tally.running[record.jobid] = Started(
            record.rule_name, where, list(record.output), list(record.log), time.monotonic()
        )
        self._show()

    def _finished(self, record: Any) -> None:
        job = self.tally.running.pop(record.job_id, None)
        if job is None:
            return
        self.tally.done[job.stage] += 1
        self.tally.took[job.stage].append(time.monotonic() - job.at)
        self._quarantined(job)
        wanted = self.tally.wanted.get(job.stage, 0)
        whole = wanted > 1 and self.tally.done[job.stage] == wanted
        if not self.terminal and (whole or time.monotonic() - self.told > CALM):
            self._say(f"{self.phase}: {f'{job.stage} complete, ' if whole else ''}{self.tally.line()}")
        self._show()

    def _quarantined(self, job: Started) -> None:
        records = [path for path in job.output if path.endswith(f"/{job.stage}.json")]
        try:
            found = read_json(records[0]) if records else {}
        except (OSError, ValueError):
            return
        if found.get("status") == QUARANTINED and found.get("origin") == job.stage:
            self._say(f"quarantined: {job.where} by {job.stage}, {found.get('code')}: {found.get('reason')}")

    def _group_failed(self, record: Any) -> None:
        """Comes before the failures of the members: one of them says why, or SLURM does, and the others only follow."""
        members = record.job_error_info
        speak = {m["jobid"] for m in members if any(map(last_words, m["log"]))}
        everyone = {m["jobid"] for m in members}
        self.silent |= everyone - speak
        if not speak and not everyone <= self.refused:
            stages = ", ".join(sorted({m["rule_name"] for m in members}))
            paths = [path for m in members for path in m["output"]]
            words = _why([*(record.aux_logs or ()), *(path for m in members for path in m["log"])], paths)
            log = f" (log: {record.aux_logs[0]})" if record.aux_logs else ""
            self._once(f"failed: {stages}: {words or 'no reason given'}{log}")

    def _failed(self, record: Any) -> None:
        job = self.tally.running.pop(record.jobid, None)
        words = next((said for log in record.log if (said := last_words(log))), "")
        if job is None and not words:
            return  # of a group: another member failed
        self.tally.failed.add(record.jobid)
        if record.jobid in self.silent | self.refused:
            return
        words = words or _why(record.log, record.output, str(getattr(record, "rule_msg", "")))
        where = f" {job.where}" if job and job.where else ""
        log = f" (log: {record.log[0]})" if record.log else ""
        self._once(f"failed: {record.rule_name}{where}: {words or 'no reason given'}{log}")

    def _once(self, text: str) -> None:
        """Once for all attempts."""
        if text not in self.said:
            self.said.add(text)
            self._say(text)

    def _other(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        self.refused |= getattr(record, "refused", set())
        if text.startswith("Complete log"):
            self.snakemake_log = text.rpartition(" ")[2]
        if record.levelno >= logging.WARNING and not text.startswith(NOISE):
            self._once(text)

    # how it is shown --------------------------------------------------------------------------------------

    def _say(self, text: str) -> None:
        self.told = time.monotonic()
        text = typed(text)
        if self.live:
            self.live.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, flush=True)

    def _show(self) -> None:
        if not self.terminal or not self.tally.total:
            return
        if self.live is None:
            self.live = bar()
            self.live.start()
            self.live.add_task(self.phase, total=self.tally.total, words="")
        self.live.update(
            self.live.task_ids[0], completed=self.tally.finished, words=self.tally.line(), refresh=True
        )

    def close(self) -> None:
        """The last line, and where the whole story stands when something failed."""
        if self.live:
            self.live.stop()
            self.live = None
        tally = self.tally
        if tally.total and not self.common_settings.dryrun and "end" not in self.said:
            self.said.add("end")
            took = duration(time.monotonic() - tally.begun)
            failed = f", {len(tally.failed)} failed" if tally.failed else ""
            self._say(f"{self.phase}: {tally.finished} of {count(tally.total, 'job')} done{failed} in {took}")
            if self.snakemake_log and (tally.failed or tally.finished < tally.total):
                self._say(f"Snakemake's own log: {os.path.relpath(self.snakemake_log)}")
        super().close()


# Ends of a job that are SLURM's doing, by its word for them.
ENDS = {
    "TIMEOUT": "SLURM ended it at its time limit",
    "OUT_OF_MEMORY": "SLURM ended it, since it held more memory than it asked for",
    "CANCELLED": "it was cancelled in SLURM's queue",
    "NODE_FAIL": "its node died",
    "BOOT_FAIL": "its node did not start",
    "DEADLINE": "it could not end before its deadline",
}

# What SLURM writes into a job's log then.
TRACES = {
    "DUE TO TIME LIMIT": "TIMEOUT",
    "DUE TO NODE FAILURE": "NODE_FAIL",
    "oom-kill": "OUT_OF_MEMORY",
    "oom_kill": "OUT_OF_MEMORY",
    "memory limit": "OUT_OF_MEMORY",
    " CANCELLED AT ": "CANCELLED",
}


def _why(logs: list[str], outputs: list[str], told: str = "") -> str:
    """The reason of a job that left no words of its own, from SLURM's log or from what the system allows."""
    for path in logs:
        try:
            end = Path(path).read_text(encoding="utf-8", errors="replace")[-TAIL:]
        except FileNotFoundError:
            end = ""
        except OSError as error:
            end = str(error)
        if found := system.said_in(end):
            return f"{found.code}: {found}"
        for words, state in TRACES.items():
            if words in end:
                return ENDS[state]
    for refused in system.not_writable([*logs, *(Path(path).parent for path in outputs)]):
        return f"{refused.code}: {refused}"
    ended = re.search(r"SLURM status is: '(\w+)'", told)
    return ENDS.get(ended[1], "") if ended else ""
