"""The executor's patience, with stand-ins for SLURM's commands: what sbatch says decides whether a job waits or fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from promet.core.errors import UsageError
from promet.workflow import obstacles

ROOT = Path(__file__).parents[2]
WORKFLOW = f"""
import sys
sys.path.insert(0, {str(ROOT / "scripts")!r})
from promet.workflow.scheduler.submit import Executor
Executor.stand_in()
rule all:
    input: "one", "two"
rule first:
    output: "one"
    group: "both"
    shell: "touch {{output}}"
rule second:
    input: "one"
    output: "two"
    group: "both"
    shell: "touch {{output}}"
"""
# Says what the next file of answers holds and fails; "ok" takes the job, "lost" takes it and says nothing of it.
SBATCH = """#!/bin/sh
cd "{folder}"
number=$(($(wc -l < calls) + 1))
for word; do case $word in rule_*) comment=$word;; esac; done
echo "$comment" >> calls
answer=$(cat answer$number 2>/dev/null || echo ok)
case $answer in ok|lost) touch one two; echo "$number|COMPLETED|$comment" >> jobs;; esac
case $answer in
  ok) echo $number;;
  lost) echo "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation" >&2; exit 1;;
  *) echo "$answer" >&2; exit 1;;
esac
"""
SQUEUE = """#!/bin/sh
cd "{folder}"
case "$*" in
  *%T*) [ -s silent ] && {{ sed -i 1d silent; exit 1; }}; cut -d"|" -f1,2 jobs;;
  *%k*) cut -d"|" -f1,3 jobs;;
  *) cat others;;
esac
exit 0
"""
LIMIT = "sbatch: error: {}\nsbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
SILENT = "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)"
WRONG = "sbatch: error: Batch job submission failed: Invalid qos specification"


@pytest.fixture
def run(tmp_path):
    """Runs the workflow against answers of sbatch; code, words and number of calls."""
    (tmp_path / "bin").mkdir()
    for name in ("calls", "jobs", "others"):
        (tmp_path / name).write_text("")
    (tmp_path / "Snakefile").write_text(WORKFLOW)
    stubs = {"sbatch": SBATCH.format(folder=tmp_path), "squeue": SQUEUE.format(folder=tmp_path)}
    stubs |= dict.fromkeys(("sinfo", "sacct", "sacctmgr", "sshare", "scancel"), "#!/bin/sh\nexit 0\n")
    stubs["scontrol"] = "#!/bin/sh\necho MinJobAge = 300 sec\n"
    for name, text in stubs.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)

    def begin(*answers: str, others: str = "") -> subprocess.Popen:
        (tmp_path / "others").write_text(others)
        for number, answer in enumerate(answers, 1):
            (tmp_path / f"answer{number}").write_text(answer)
        words = "--executor slurm --jobs 3 --latency-wait 0 --slurm-init-seconds-before-status-checks 1"
        words += " --slurm-status-command squeue --logger promet --seconds-between-status-checks 1"
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", *words.split()],
            cwd=tmp_path,
            env={
                **os.environ,
                "PATH": f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}",
                "PROMET_SLURM_POLL": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # whoever started the tests in the background ignores Ctrl-C
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )

    def calls() -> int:
        return (tmp_path / "calls").read_text().count("\n")

    def start(*answers: str, others: str = "") -> tuple[int, str, int]:
        process = begin(*answers, others=others)
        said = process.communicate(timeout=100)[0]
        return process.returncode, said, calls()

    start.begin, start.calls = begin, calls
    start.folder = tmp_path
    return start


def test_full_silent_and_lost_answers_are_waited_for(run):
    """No retries are allowed here, so a single failed attempt would end the run; nothing is sent a second time."""
    full = [
        LIMIT.format("QOSMaxSubmitJobPerUserLimit"),
        "sbatch: error: Slurm temporarily unable to accept job",
    ]
    (run.folder / "silent").write_text("\n" * 5)  # so many questions make the executor forget its jobs
    code, said, calls = run(*full, SILENT, "lost", others="12\n")
    assert (code, calls) == (0, 4), said
    assert said.count("takes no more jobs for now") == 2 and said.count("does not answer") == 2


def test_a_refusal_of_a_group_keeps_sbatchs_sentence(run, monkeypatch):
    """And the head ends with it: refused, not failed."""
    since = time.time()
    code, said, calls = run(WRONG)
    assert (code, calls) == (1, 1)
    monkeypatch.chdir(run.folder)
    folders = SimpleNamespace(results="results", logs="logs")
    cause = obstacles.cause(folders, since)
    assert isinstance(cause, UsageError) and cause.code == "E_SLURM_REFUSED"
    assert "Invalid qos specification" in str(cause)
    assert obstacles.cause(folders, time.time() + 1) is None
    assert said.count("SLURM refused jobs of first, second: Invalid qos specification. Correct or unset") == 1
    assert "no reason given" not in said


def test_a_group_that_cannot_be_prepared_fails_and_does_not_hang(run):
    (run.folder / ".snakemake").mkdir()
    (run.folder / ".snakemake/slurm_logs").write_text("a file where the folder has to be")
    code, said, calls = run()
    assert (code, calls) == (1, 0)
    assert "SLURM refused jobs of first, second: [Errno 17] File exists" in said


def test_a_limit_with_nothing_of_ones_own_in_the_queue_ends(run):
    code, said, calls = run(*[LIMIT.format("AssocMaxSubmitJobLimit")] * 5)
    assert (code, calls) == (1, 3)
    assert "AssocMaxSubmitJobLimit" in said and "SLURM refused" in said


def test_who_stops_a_run_that_waits_has_nothing_submitted_afterwards(run):
    process = run.begin(*[LIMIT.format("AssocMaxSubmitJobLimit")] * 3, others="12\n")
    said = ""
    while "takes no more jobs" not in said:
        said += process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode
    before = run.calls()
    time.sleep(2)
    assert before == run.calls() <= 4 and not (run.folder / "one").exists()
