"""What promet run does about jobs of an earlier run; with a stand-in for squeue."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from promet.cohort import queue
from promet.cohort.run import Snakemake
from promet.core.errors import UsageError

SLURM = ["--workflow-profile", "profiles/slurm"]


@pytest.fixture
def squeue(tmp_path, monkeypatch):
    """A squeue that says what the given files hold, one file per call; then nothing."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(queue.time, "sleep", lambda seconds: None)

    def says(*answers: str, code: int = 0) -> None:
        for number, answer in enumerate(answers):
            (tmp_path / f"answer{number}").write_text(answer)
        script = tmp_path / "squeue"
        script.write_text(
            f'#!/bin/sh\necho "$@" >> "{tmp_path}/calls"\nnumber=$(($(wc -l < "{tmp_path}/calls") - 1))\n'
            f'cat "{tmp_path}/answer$number" 2>/dev/null\nexit {code}\n'
        )
        script.chmod(0o755)

    says.calls = lambda: (tmp_path / "calls").read_text().count("\n") if (tmp_path / "calls").exists() else 0
    return says


def line(number: int, folder: Path, state: str = "RUNNING", name: str = "promet_0-1") -> str:
    return f"{number}|{state}|{name}|{folder}\n"


def test_waits_until_the_last_job_of_this_folder_has_left(squeue, tmp_path, capsys):
    two = line(7, tmp_path) + line(8, tmp_path, "PENDING")
    squeue(two, two, line(8, tmp_path))
    queue.wait(SLURM, tmp_path)
    assert squeue.calls() == 4
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2  # told again only when the number changes
    assert "2 SLURM jobs" in said[0] and "1 running" in said[0] and said[0].endswith("scancel 7 8")


def test_other_folders_and_other_programs_do_not_count(squeue, tmp_path):
    squeue(line(7, tmp_path / "other") + line(8, tmp_path, name="nextflow"))
    assert queue.in_queue(tmp_path) == {}


def test_a_folder_with_a_bar_and_spaces_is_recognised(squeue, tmp_path):
    folder = tmp_path / "a project | of mine"
    folder.mkdir()
    squeue(line(7, folder))
    assert queue.in_queue(folder) == {"7": "RUNNING"}


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--cores", "4"],
        ["--workflow-profile", "profiles/default"],
        [*SLURM, "--executor", "local"],
        ["--workflow-profile=none"],
    ],
)
def test_nobody_is_asked_when_jobs_stay_here(squeue, tmp_path, options):
    squeue(line(7, tmp_path))
    queue.wait(options, tmp_path)
    assert squeue.calls() == 0


@pytest.mark.parametrize(
    "options",
    [
        SLURM,
        ["--workflow-profile=slurm"],
        ["--executor", "slurm"],
        ["-e", "slurm"],
        ["--executor=slurm", "--jobs", "3"],
        ["--workflow-profile", str(Path(__file__).parents[2] / "profiles/slurm")],
    ],
)
def test_every_way_to_slurm_is_noticed(options):
    assert queue.goes_to_slurm(options)


def test_a_profile_of_the_site_counts(tmp_path, monkeypatch):
    (tmp_path / ".config/snakemake/site").mkdir(parents=True)
    (tmp_path / ".config/snakemake/site/config.v9+.yaml").write_text("jobs: 3\nexecutor: slurm\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert queue.goes_to_slurm(["--profile", "site"])
    monkeypatch.setenv("SNAKEMAKE_PROFILE", "site")
    assert queue.goes_to_slurm([])


def test_no_squeue_is_a_refusal(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="no squeue") as refusal:
        queue.wait(SLURM, tmp_path)
    assert refusal.value.code == "E_NO_SQUEUE"


def test_a_silent_scheduler_is_asked_again_and_then_refused(squeue, tmp_path):
    squeue(code=1)
    with pytest.raises(UsageError) as refusal:
        queue.wait(SLURM, tmp_path)
    assert refusal.value.code == "E_QUEUE_SILENT"
    assert squeue.calls() == queue.ATTEMPTS


@pytest.fixture
def accounts(squeue, tmp_path, monkeypatch):
    """sacctmgr and sshare that know these accounts, or fail."""

    def known(*names: str, code: int = 0) -> None:
        for program in ("sacctmgr", "sshare"):
            (tmp_path / program).write_text(f"#!/bin/sh\nprintf '%s\\n' {' '.join(names)}\nexit {code}\n")
            (tmp_path / program).chmod(0o755)
        monkeypatch.setenv("PROMET_SLURM_ACCOUNT", "Mine")

    squeue()
    return known


@pytest.mark.parametrize(("names", "code"), [(["other", "mine"], 0), ([], 0)], ids=["known", "no list"])
def test_an_account_of_ones_own_passes(accounts, tmp_path, names, code):
    accounts(*names, code=code)
    queue.wait(SLURM, tmp_path)


@pytest.mark.parametrize(
    ("names", "code", "said"),
    [(["other", "third"], 0, "one of other, third"), ([], 1, "keeps none")],
    ids=["wrong", "no accounting"],
)
def test_a_wrong_account_is_refused_before_anything_waits_for_ever(accounts, tmp_path, names, code, said):
    accounts(*names, code=code)
    with pytest.raises(UsageError, match=said) as refusal:
        queue.wait(SLURM, tmp_path)
    assert refusal.value.code == "E_SLURM_ACCOUNT"


@pytest.fixture
def partitions(squeue, tmp_path):
    """sinfo of a site with two partitions."""
    squeue()
    (tmp_path / "sinfo").write_text("#!/bin/sh\nprintf '%s\\n' cpu gpu\n")
    (tmp_path / "sinfo").chmod(0o755)


@pytest.mark.parametrize(
    ("name", "wrong"), [(name, wrong) for name in queue.PARTITIONS for wrong in ("cpuu", "gpu,x")]
)
def test_a_wrong_partition_is_refused_before_hours_of_other_work(
    partitions, tmp_path, monkeypatch, name, wrong
):
    monkeypatch.setenv(name, wrong)
    with pytest.raises(UsageError, match=f"{name} is {wrong}.*cpu, gpu") as refusal:
        queue.wait(SLURM, tmp_path)
    assert refusal.value.code == "E_SLURM_PARTITION"


def test_partitions_of_the_site_pass(partitions, tmp_path, monkeypatch):
    monkeypatch.setenv(queue.PARTITIONS[0], "cpu,gpu")
    queue.wait(SLURM, tmp_path)


@pytest.mark.parametrize(("options", "number"), [(SLURM, signal.SIGINT), ([], signal.SIGTERM)])
def test_a_signal_to_end_cancels_jobs_in_the_queue(options, number):
    """Snakemake waits on SIGTERM for what runs; on SIGINT it cancels what is in the queue."""
    assert Snakemake([], options).ending == number
