"""How jobs go to SLURM: a full queue or a silent controller is waited for and costs a job no attempt.

The executor of Snakemake counts every refusal of sbatch as a failed attempt; it loses the sentence of grouped jobs, waits
for ever when anything goes wrong before such a job is submitted, and likewise when squeue stays silent for a minute.
This one does what it does, and none of that.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import snakemake_executor_plugin_slurm as slurm
from snakemake_executor_plugin_slurm.utils import get_job_wildcards
from snakemake_executor_plugin_slurm_jobstep import get_cpu_setting, get_gpu_setting, get_node_setting
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

from promet.core.environment import user_number
from promet.workflow.scheduler import refusals, site, trainings

PATIENCE = 3600.0  # seconds for a controller that does not answer
ALONE = 3  # refusals as full, with nothing of one's own in the queue, until it counts as one for good
TRIES = 2.0  # seconds between these


class Executor(slurm.Executor):
    """Snakemake's executor for SLURM with patience."""

    def __init__(self, workflow, logger) -> None:
        self.ending = threading.Event()
        self.submitting = (
            threading.Lock()
        )  # one at a time, so that a job found in the queue is the one just sent
        self.refusal = ""
        self.numbers: set[str] = set()  # jobs of this run that are known
        self.over: set[str] = set()
        self.told: set[str] = set()
        super().__init__(workflow, logger)

    @classmethod
    def stand_in(cls) -> None:
        """Let ``executor: slurm`` mean this one."""
        plugin = ExecutorPluginRegistry().plugins.get("slurm")
        if plugin and hasattr(slurm.Executor, "_report_job_error_threadsafe"):
            plugin.executor = cls

    # to the queue -----------------------------------------------------------------------------------------

    def run_job(self, job) -> None:
        """Submit one job or group; runs in a thread of the executor's."""
        since, alone, silent = time.monotonic(), 0, False
        while not self.ending.is_set():
            with self.submitting:
                said = self._sent_again(job) if silent else self._refused(job)
            if not said:
                return
            kind = refusals.kind(said)
            silent = kind == refusals.SILENT
            alone = alone + 1 if kind == refusals.FULL and not self._others() else 0
            if not silent:
                since = time.monotonic()
            if kind == refusals.REFUSED or alone == ALONE or time.monotonic() - since > PATIENCE:
                self._give_up(job, said)
                return
            what = "does not answer" if silent else "takes no more jobs for now"
            text = f"SLURM {what} ({refusals.sentence(said)}): waiting, no attempt is lost"
            if text not in self.told:
                self.told.add(text)
                self.logger.warning(text)
            self.ending.wait(TRIES if alone else site.number("POLL", 20))

    def format_job_exec(self, job) -> str:
        """Trainings need no Snakemake beside them: one process per place does them all (promet/together.py).

        Where a rule has an environment of its own (conda, container, module) it is Snakemake that starts each.
        """
        members = trainings.members(job)
        if self.workflow.deployment_settings.deployment_method or not trainings.only(members):
            return super().format_job_exec(job)
        at_once = site.number("SEEDS_AT_ONCE", 1)
        gpu = bool(job.resources.get("gpu"))
        step = [get_cpu_setting(job, gpu), get_gpu_setting(job), get_node_setting(job)]
        words = ["srun", "-n1", "--cpu-bind=q", *filter(None, step), "promet", "together"]
        each = sorted((trainings.told(member.shellcmd) for member in members), key=lambda one: one[1])
        return " ".join([*words, trainings.packed(each), str(at_once)])

    def get_account_arg(self, job) -> Iterator[str]:
        """The option of sbatch; none where the profile names no account: SLURM then takes the user's own."""
        if job.resources.get("slurm_account") == "none":
            yield ""
        else:
            yield from super().get_account_arg(job)

    def _refused(self, job) -> str:
        """Submit; what was said against it, or nothing."""
        self.refusal = ""
        try:
            super().run_job(job)
        except Exception as error:  # of a group, while it words what went wrong
            self.refusal = str(error.__context__ or error) or type(error).__name__
        return self.refusal

    def _sent_again(self, job) -> str:
        """Submit after silence, unless the job arrived; nothing is sent while the queue cannot be read."""
        command = ["squeue", "--noheader", "--states=all", "--name", self.run_uuid, "--format", "%i|%k"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return done.stderr if refusals.kind(done.stderr) == refusals.SILENT else "not responding"
        wildcards = get_job_wildcards(job)
        comment = f"rule_{job.name}" + (f"_wildcards_{wildcards}" if wildcards else "")
        lines = (line.partition("|") for line in done.stdout.splitlines())
        new = [number for number, _, told in lines if told == comment and number not in self.numbers]
        if not new:
            return self._refused(job)
        kind = "group" if job.is_group() else "rule"
        log = self.slurm_logdir / f"{kind}_{job.name}" / wildcards / f"{new[0]}.log"
        self._report_job_submission_threadsafe(
            SubmittedJobInfo(job, external_jobid=new[0], aux={"slurm_logfile": log})
        )
        return ""

    def _report_job_error_threadsafe(self, job_info, msg: str) -> None:
        """Called by ``run_job`` of the plugin: keep the words, the job is not lost yet."""
        words = msg.partition("The error message was '")[2].partition("'.\n    sbatch call")[0]
        self.refusal = (
            words or msg.removeprefix("Job submission failed with exception: ") or "no reason given"
        )

    def _report_job_submission_threadsafe(self, job_info) -> None:
        self.numbers.add(job_info.external_jobid)
        super()._report_job_submission_threadsafe(job_info)

    def _give_up(self, job, said: str) -> None:
        members = trainings.members(job)
        rules = ", ".join(sorted({member.rule.name for member in members}))
        text = f"E_SLURM_REFUSED: SLURM refused jobs of {rules}: {refusals.sentence(said)}. {refusals.remedy(said)}."
        self.logger.error(text, extra={"refused": {member.jobid for member in members}})
        with suppress(OSError):  # a full disk has its own words
            refusals.TOLD.write_text(f"promet: {text}\n", encoding="utf-8")
        super()._report_job_error_threadsafe(SubmittedJobInfo(job), "")

    def _others(self) -> bool:
        """Is anything of this user in the queue, whose end would make room? Yes if nobody answers."""
        command = ["squeue", "--noheader", "--user", user_number(), "--format", "%i"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return bool(done.stdout.split()) or done.returncode != 0

    # in the queue -----------------------------------------------------------------------------------------

    async def check_active_jobs(self, active_jobs: list) -> AsyncIterator:
        """Those that still run; the plugin forgets all of them when squeue does not answer."""
        left = {job.external_jobid: job for job in active_jobs}
        self.over.clear()
        async for job in super().check_active_jobs(active_jobs):
            left.pop(job.external_jobid, None)
            yield job
        for number, job in left.items():
            if number not in self.over:
                yield job

    def report_job_success(self, job_info) -> None:
        self.over.add(job_info.external_jobid)
        super().report_job_success(job_info)

    def report_job_error(self, job_info, msg=None, **words) -> None:
        self.over.add(job_info.external_jobid)
        if trainings.only(members := trainings.members(job_info.job)):
            for (
                member
            ) in members:  # one that failed takes no other's record with it; each is whole or not there
                member.cleanup = _kept
        super().report_job_error(job_info, msg=msg, **words)

    def cancel(self) -> None:
        """End: what waits to be submitted is not submitted any more."""
        self.ending.set()
        self._job_submission_executor.shutdown(wait=False, cancel_futures=True)
        super().cancel()


async def _kept(skip_outputs) -> None:
    """Instead of the removal of a failed job's output."""
