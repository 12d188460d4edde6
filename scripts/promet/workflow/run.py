"""``promet run``: prepare, lock, all; Snakemake three times, each time on exactly what is stale."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from threading import Thread
from typing import IO

from promet.core.environment import SOURCE, own_commands_first, require_source
from promet.core.errors import EXIT_OK, EXIT_REFUSED, EXIT_RESUMABLE, Interrupted, UsageError
from promet.core.sidecar import QUARANTINED, Sidecar
from promet.core.words import count, run_with, say
from promet.study import ledger
from promet.study.parts import require_roles
from promet.workflow import choices, forecast, guard, locked, obstacles, times
from promet.workflow import reasons as words
from promet.workflow.cohort import Configuration
from promet.workflow.edges import Graph
from promet.workflow.forecast import Step, steps
from promet.workflow.job import Job
from promet.workflow.lock import MARK, Lock, end, held, snakemake_here, snakemake_works
from promet.workflow.plan import Plan
from promet.workflow.reasons import counted, last_words, named
from promet.workflow.scheduler import queue
from promet.workflow.stages import PATIENT_STAGES, STAGES
from promet.workflow.status import inspect

SNAKEFILE = SOURCE / "Snakefile"
DRY, UNLOCK = ("-n", "--dry-run", "--dryrun"), "--unlock"
# Options with which Snakemake's own output is what was asked for.
NATIVE = {"--verbose", "--quiet", "-q", "--printshellcmds", "-p", "--logger", "--debug-dag", "--stdout"}
HELP = "What is done is kept: put right what is named above, then promet run again"
NAMED = 3  # patients named in a line of the plan
# What Snakemake says on its own, before its logger is there.
NOISE = ("Using workflow specific profile", "Using profile")


def run(
    config: Configuration, configfiles: list[Path], options: list[str], again: list[str] | None = None
) -> int:
    """Run the three phases; stop at the first that fails.

    Args:
        config: the configuration.
        configfiles: what it was read from, for Snakemake.
        options: passed on to Snakemake.
        again: records to make again although they are fresh.

    Returns:
        0; Snakemake's exit code; or EXIT_RESUMABLE after a signal, or when the disk is full.
    """
    own_commands_first()
    run_with(option for option in options if option not in (*DRY, UNLOCK))
    chosen = choices.read(options, configfiles, SNAKEFILE)
    snakemake = Snakemake(configfiles, options)
    if chosen.unlock:
        with held(config.results, config.registry) as lock:
            snakemake.lock = lock
            _clear(lock, snakemake)
        say("The folder is unlocked. Next: promet run")
        return EXIT_OK
    if chosen.dry:
        return _forecast(_plan(config, snakemake), snakemake, chosen, again or [])
    with held(config.results, config.registry) as lock:
        snakemake.lock = lock
        queue.wait(options)
        _clear(lock, snakemake)
        ledger.mend(ledger.ledger_path(config.registry, config.study))
        plan = _plan(config, snakemake)
        if plan.buckets:  # a bucket's job makes what is not there
            for path in again or []:
                Path(path).unlink(missing_ok=True)
            again = []
        course = steps(Graph(plan), chosen, again or ())
        jobs = inspect(plan)
        obstacles.require_writable(obstacles.written(plan, jobs))
        words.remember(plan, jobs)
        _bring_to_now(plan, jobs)
        _adopt(jobs, snakemake)
        print_plan(plan, jobs)
        code = _phases(plan, snakemake, jobs, course)
        if code == EXIT_OK:
            jobs = inspect(plan)
            left = sum(job.state != "fresh" for job in jobs)
            words.remember(plan, jobs, finished=not left)
            run_with(choices.lasting(options))
            _print_end(plan, jobs)
            if left and not (chosen.until or chosen.omit):
                raise Interrupted(
                    "E_PLAN_CHANGED",
                    f"The cohort table, the registry or the ledger changed while the run was going on: {count(left, 'job')} "
                    "fit no longer what was there when it began",
                    "what was there when the run began",
                    "Start it again",
                )
        return code


def _forecast(plan: Plan, snakemake: Snakemake, chosen: choices.Choices, again: list[str]) -> int:
    """Say what would run; with an option that asks for Snakemake's own output, its own dry run follows."""
    if plan.buckets:
        again = [plan.output(Path(path).stem, patient=Path(path).parent.name) for path in again]
    jobs = inspect(plan)
    print_plan(plan, jobs)
    for line in forecast.lines(*forecast.forecast(plan, jobs, chosen, again)):
        print(line, flush=True)
    if not snakemake.native:
        return EXIT_OK
    obstacles.require_writable([".snakemake"])
    last = steps(Graph(plan), chosen, again)[-1]
    return snakemake(last.phase, *snakemake.options, "--forcerun", *again, phase=last)


def _plan(config: Configuration, snakemake: Snakemake) -> Plan:
    plan = Plan(config)
    snakemake.environment[guard.CONFIGURATION] = guard.configuration(plan)
    if not plan.patients:
        raise UsageError(
            "E_COHORT_EMPTY",
            f"The table {plan.cohort} holds no patients",
            remedy="Fill it in, or name your configuration with -c",
        )
    require_roles(ledger.read(plan.ledger), list(plan.rows.values()))
    if problem := obstacles.nobody_to_train(plan):
        raise problem
    if plan.sealed:
        _require_same_networks(plan)
    if problem := locked.problem(plan):
        raise problem
    return plan


def _require_same_networks(plan: Plan) -> None:
    """A model that a waiver keeps was trained with these settings and no others."""
    for split in plan.splits:
        for variant in plan.variants:
            for seed in plan.seeds:
                at = {"variant": variant, "split": split, "seed": seed}
                path = Path(plan.sidecar("train", **at))
                if not path.exists() or Sidecar.read(path).pin not in plan.pins_by_version("train", **at):
                    raise UsageError(
                        "E_SEALED",
                        "The settings of the networks are not those of the model that a waiver keeps",
                        "the settings it was trained with",
                        "Put them back, or begin a new study: promet freeze NAME --into NEWSTUDY",
                    )


class Snakemake:
    """Calls Snakemake with promet's Snakefile, or with another, and waits for it."""

    def __init__(self, configfiles: list[Path], options: list[str], snakefile: Path = SNAKEFILE) -> None:
        require_source()
        names = {option.partition("=")[0] for option in options}
        self.native = bool(names & NATIVE)
        self.options = [*options, *([] if self.native else ["--logger", "promet"])]
        self.fixed = ["--snakefile", str(snakefile)]
        if configfiles:  # once for all: of several, Snakemake takes the last
            self.fixed += ["--configfile", *map(str, configfiles)]
        self.environment: dict[str, str] = {}
        self.lock: Lock | None = None
        self.stopped = False
        # On SIGINT it cancels SLURM's jobs. Those of this computer it waits for, whatever the signal, so they are ended here.
        self.ending = signal.SIGINT if queue.goes_to_slurm(options) else signal.SIGTERM

    def __call__(self, *words: str, phase: Step | None = None) -> int:
        """Exit code; a signal to this process is passed on, and Snakemake ends in its own time."""
        environment = {**os.environ, guard.PHASE: phase.phase if phase else "", **self.environment}
        environment[guard.UNTIL] = " ".join(phase.until) if phase else ""
        handed: tuple[int, ...] = ()
        if self.lock:
            environment[MARK] = self.lock.holder.run
            handed = self.lock.descriptors
        command = [sys.executable, "-m", "snakemake", *words, *self.fixed]
        errors = None if self.native else subprocess.PIPE
        started: list[subprocess.Popen] = []
        enders: list[Thread] = []

        def stop(number: int, _: object) -> None:
            self.stopped = True
            if number == signal.SIGINT:  # a terminal sends that one to all of them
                return
            for process in started:
                process.send_signal(self.ending)
            if self.lock and self.ending == signal.SIGTERM and not enders:
                enders.append(Thread(target=end, args=(self.lock.holder.run,)))
                enders[0].start()

        # Before the start: a signal that a shell had its background jobs ignore is not ignored by Snakemake then.
        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        process = subprocess.Popen(command, env=environment, pass_fds=handed, stderr=errors)
        started.append(process)
        if self.lock:
            self.lock.hold(process.pid)
        # Never closed here: jobs that outlive Snakemake hold the other end.
        listener = Thread(target=_pass_on, args=(process.stderr,), daemon=True)
        if process.stderr:
            listener.start()
        code = process.wait()
        for ender in enders:
            ender.join()
        if process.stderr:
            listener.join(timeout=1)
        if self.lock:
            self.lock.hold()
        for number, handler in before.items():
            signal.signal(number, handler)
        return code


def _pass_on(stream: IO[bytes]) -> None:
    for line in stream:
        if not line.decode(errors="replace").startswith(NOISE):
            sys.stderr.buffer.write(line)
            sys.stderr.flush()


def _clear(lock: Lock, snakemake: Snakemake) -> None:
    """Put away what a killed run left: its processes and Snakemake's lock."""
    if lock.killed.run:
        left = end(lock.killed.run)
        ended = f"; {count(left, 'job')} of it ended" if left else ""
        print(f"the run of {lock.killed.since} was killed{ended}; going on where it was", flush=True)
    if not any(Path(".snakemake/locks").glob("*")):
        return
    if other := snakemake_here():
        raise snakemake_works(other)
    if not lock.killed.run and UNLOCK not in snakemake.options:
        raise UsageError(
            "E_LOCKED",
            "A plain snakemake holds the lock of this folder, and none runs on this computer",
            remedy="If it runs on another one, wait for it; if it was killed: promet run --unlock",
        )
    _unlock(snakemake)


def _unlock(snakemake: Snakemake) -> None:
    snakemake("--unlock", "--quiet", "all", *_profile(snakemake.options))


def _bring_to_now(plan: Plan, jobs: list[Job]) -> None:
    """Files from the future, written under a wrong clock, get today's time: Snakemake refuses products older than them."""
    now = time.time()

    def ahead(path: str | Path) -> bool:
        return os.path.isfile(path) and os.stat(path).st_mtime > now

    folders = {Path(job.path).parent for job in jobs if ahead(job.path)}
    paths = [path for folder in folders for path in folder.iterdir() if ahead(path)]
    paths += [Path(path) for path in (plan.cohort, plan.images, plan.ledger) if ahead(path)]
    for path in paths:
        os.utime(path, (now, now))
    if paths:
        print(f"{count(len(paths), 'file')} had times in the future; they are set to now", flush=True)


def _adopt(jobs: list[Job], snakemake: Snakemake) -> None:
    """Let Snakemake take over results whose history it has lost: file times are put in order, nothing runs.

    What does not fit its pin is forced afterwards, so that nothing wrong is blessed.
    """
    fresh = [job.path for job in jobs if job.state == "fresh"]
    if fresh and not times.remembered(fresh):
        print("Snakemake's history of these results is gone; their own records stand in for it", flush=True)
        snakemake("all", "--touch", "--forceall", "--quiet", "all", *_profile(snakemake.options))


def _profile(options: list[str]) -> list[str]:
    """The options that choose a profile; the others have no say here."""
    found = []
    for option, value in zip(options, [*options[1:], ""], strict=True):
        if option in ("--profile", "--workflow-profile"):
            found += [option, value]
    return found


def _phases(plan: Plan, snakemake: Snakemake, jobs: list[Job], course: list[Step]) -> int:
    for step in course:
        here = jobs[: sum(1 for _ in plan.jobs(step.phase))]
        if not step.jobs or (step is not course[-1] and not step.again and _up_to_date(here)):
            continue  # a later phase looks at these jobs again
        start = time.time()
        # What no longer fits its pin runs again, whatever Snakemake's own records say or have lost (workflow/guard.py).
        code = snakemake(step.phase, *snakemake.options, "--forcerun", *step.again, phase=step)
        if code < 0 and snakemake.lock:  # killed: nobody else puts its jobs and its lock away
            end(snakemake.lock.holder.run)
            _unlock(snakemake)
        if snakemake.stopped:
            print("stopped; what is done is kept, the same command goes on", file=sys.stderr, flush=True)
            return EXIT_RESUMABLE
        if code:
            if snakemake.native:
                print_reasons(Path(plan.logs), start)
            cause = obstacles.cause(plan, start)
            say(f"{cause.code}: {cause}" if cause else HELP)
            if code < 0 or isinstance(cause, Interrupted):
                return EXIT_RESUMABLE
            return EXIT_REFUSED if cause else code
        jobs = inspect(plan)
    return EXIT_OK


def _up_to_date(jobs: list[Job]) -> bool:
    """Every record of a phase is there and fits its pin, and none is older than what it was made from.

    Times matter after a kill between two jobs: the second has to run, and only its own phase stops the change there
    if it comes out the same.
    """
    if any(job.state != "fresh" for job in jobs):
        return False
    made: dict[str, list[float]] = {}
    for job in jobs:
        made.setdefault(job.stage, []).append(os.stat(job.path).st_mtime)
    for stage in (STAGES[name] for name in made):
        if stage.per not in ("patient", "bucket"):
            images = ["bucket"] if any(STAGES[name].per == "patient" for name in stage.before) else []
            newest = max((max(made.get(name, [0.0])) for name in (*stage.before, *images)), default=0.0)
            if min(made[stage.name]) < newest:
                return False
    return True


def print_reasons(logs: Path, start: float) -> None:
    """The last words of the jobs that failed since ``start``."""
    for path in sorted(logs.rglob("*.log")) if logs.is_dir() else []:
        if path.stat().st_mtime >= start and (said := last_words(path)):
            say(f"{path}: promet: {said}")


def print_plan(plan: Plan, jobs: list[Job]) -> None:
    """Why, what, how many, one line per reason; followers run too, if what they read comes out otherwise."""
    stages: dict[str, Counter] = {}
    patients: dict[str, set[str]] = {}
    for job in (job for job in jobs if job.state != "fresh"):
        stages.setdefault(job.why, Counter())[job.stage] += 1
        patients.setdefault(job.why, set()).update([job.at["patient"]] if "patient" in job.at else [])
    print("why · what · how many" if stages else "everything is fresh")
    for why, found in stages.items():
        who = f" of {named(list(patients[why]), NAMED)}" if patients[why] else ""
        print(f"{why} · {counted(found)}{who} · {count(found.total(), 'job')}")
    if any(job.state in ("stale", "lost") for job in jobs):
        print("and what follows from these, as far as they come out otherwise")
    for line in forecast.then_perhaps(plan, jobs):
        print(line)
    sys.stdout.flush()


def _print_end(plan: Plan, jobs: list[Job]) -> None:
    bad = {j.at["patient"] for j in jobs if j.stage in PATIENT_STAGES and j.status == QUARANTINED}
    if bad:
        verb = "is" if len(bad) == 1 else "are"
        say(
            f"{len(bad)} of {count(len(plan.patients), 'patient')} {verb} quarantined; promet status says why"
        )
    left = Counter(job.stage for job in jobs if job.state != "fresh")
    report = Path(plan.beside("report", "report.html"))
    if not left and report.exists():
        print(f"report: {report}")
        return
    fresh = Counter(job.stage for job in jobs if job.state == "fresh")
    print(f"up to date: {counted(fresh) or 'nothing'}")
    if left:
        print(f"not made, or from before: {counted(left)}")
    if report.exists():
        say(f"the report is from before: {report}; promet run makes it again")
    else:
        say("there is no report yet; promet run makes it")
