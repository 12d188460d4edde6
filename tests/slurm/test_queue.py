"""What promet run does about jobs of an earlier run; with a stand-in for squeue."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from promet.core.errors import UsageError
from promet.workflow.run import Snakemake
from promet.workflow.scheduler import queue, refusals, site

SLURM = ["--workflow-profile", "profiles/slurm"]


@pytest.fixture
def squeue(tmp_path, monkeypatch):
    """A squeue that says what the given files hold, one file per call; then nothing."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(queue.time, "sleep", lambda seconds: None)
    for name in [name for name in os.environ if name.startswith("PROMET_SLURM_")]:
        monkeypatch.delenv(name)
    for program in ("sbatch", "sinfo", "sacctmgr", "sshare"):  # whatever this machine has
        (tmp_path / program).write_text("#!/bin/sh\nexit 0\n")
        (tmp_path / program).chmod(0o755)

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


def test_why_jobs_pend(squeue, tmp_path):
    lines = [
        f"{n}|PENDING|{reason}|promet_0|{tmp_path}\n"
        for n, reason in enumerate(["Priority", "Resources", "Priority"])
    ]
    squeue("".join(lines) + f"9|PENDING|Resources|promet_0|{tmp_path}/other\n" + line(7, tmp_path))
    assert list(queue.pending(tmp_path)) == [
        "2 jobs pend: others are before them in the queue (Priority)",
        "1 job pends: no node is free for them (Resources)",
    ]


@pytest.mark.parametrize("value", ["0", "-3", "x", "1.5", "²"])
@pytest.mark.parametrize("name", site.NUMBERS)
def test_a_variable_that_holds_no_number(squeue, tmp_path, monkeypatch, name, value):
    monkeypatch.setenv(f"PROMET_SLURM_{name}", value)
    with pytest.raises(UsageError, match=f"PROMET_SLURM_{name} is") as refusal:
        queue.wait(SLURM, tmp_path)
    assert refusal.value.code == "E_SLURM_NUMBER"


def says(folder, program: str, answer: str, words: str = "", code: int = 0) -> None:
    (folder / program).write_text(
        f"#!/bin/sh\ncat <<'END'\n{answer}\nEND\ncat >&2 <<'END'\n{words}\nEND\nexit {code}\n"
    )


@pytest.mark.parametrize(
    ("variables", "code", "said"),
    [
        ({"PARTITION": "cpu"}, "E_SLURM_TIME", "Jobs ask for 30 minutes, and the partition cpu allows 20"),
        ({"GPU_PARTITION": "gpu"}, "E_SLURM_TIME", "Trainings ask for 90 minutes.*TRAIN_MINUTES=60"),
        ({"GPU_PARTITION": "gpu", "TRAIN_MINUTES": "60"}, "", ""),
        ({"PARTITION": "cpu", "MAX_MINUTES": "20"}, "", ""),
        ({"PARTITION": "gpu"}, "E_SLURM_TIME", "Jobs of score, fuse, explain.* ask for 110 minutes"),
        ({"PARTITION": "gpu", "MAX_MINUTES": "60"}, "", ""),
        ({"PARTITION": "cpu,long"}, "", ""),
        ({"PARTITION": "long"}, "", ""),
        ({"GPU_QOS": "Short"}, "E_SLURM_TIME", "the QOS short allows 60"),
        ({"QOS": "normal"}, "", ""),
        ({"QOS": "other"}, "E_SLURM_QOS", "one of normal, short"),
    ],
    ids=str,
)
def test_time_limits_and_qos_of_the_site(squeue, tmp_path, monkeypatch, variables, code, said):
    squeue()
    says(tmp_path, "sinfo", "cpu|20:00\ngpu|1:00:00\nlong|infinite")
    says(tmp_path, "sacctmgr", "normal|\nshort|01:00:00")
    for name, value in variables.items():
        monkeypatch.setenv(f"PROMET_SLURM_{name}", value)
    if not code:
        return queue.wait(SLURM, tmp_path)
    with pytest.raises(UsageError, match=said) as refusal:
        queue.wait(SLURM, tmp_path)
    assert refusal.value.code == code


@pytest.mark.parametrize("extra", ["--mem=5", "-t 3", "--comment='a", "--nice=1 --qos=x"])
def test_options_that_a_job_has_already_are_refused(squeue, tmp_path, monkeypatch, extra):
    squeue()
    monkeypatch.setenv("PROMET_SLURM_EXTRA", extra)
    with pytest.raises(UsageError) as refusal:
        queue.wait(SLURM, tmp_path)
    assert refusal.value.code == "E_SLURM_EXTRA"


# Sentences of SLURM 22.05, as its commands said them on the cluster of test_limits.py, or from its source (slurm_errno.c).
PREFIX = "sbatch: error: Batch job submission failed: "
POLICY = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
SENTENCES = [
    (f"sbatch: error: AssocMaxSubmitJobLimit\n{PREFIX}{POLICY}", "full"),
    (f"sbatch: error: QOSMaxSubmitJobPerUserLimit\n{PREFIX}{POLICY}", "full"),
    (f"sbatch: error: AssocGrpSubmitJobsLimit\n{PREFIX}{POLICY}", "full"),
    (f"{PREFIX}{POLICY}", "full"),
    ("sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying", "full"),
    (f"{PREFIX}Resource temporarily unavailable", "full"),
    (f"{PREFIX}Unable to contact slurm controller (connect failure)", "silent"),
    (f"{PREFIX}Socket timed out on send/recv operation", "silent"),
    (f"{PREFIX}Zero Bytes were transmitted or received", "silent"),
    ("sacctmgr: error: slurm_persist_conn_open_without_init: failed to open persistent connection to host:localhost:6819: Connection refused", "silent"),
    ("sbatch: error: Munge encode failed: Failed to access \"/run/munge/munge.socket.2\": No such file", "silent"),
    (f"sbatch: error: QOSMaxWallDurationPerJobLimit\n{PREFIX}{POLICY}", "less time"),
    (f"sbatch: error: QOSMaxCpuPerJobLimit\n{PREFIX}{POLICY}", "allows a job less"),
    (f"{PREFIX}Invalid qos specification", "PROMET_SLURM_QOS"),
    (f"{PREFIX}Invalid account or account/partition combination specified", "PROMET_SLURM_ACCOUNT"),
    ("sbatch: error: Invalid generic resource (gres) specification", "PROMET_SLURM_GRES"),
    ("allocation failure: Requested time limit is invalid (missing or exceeds some limit)", "PROMET_SLURM_MAX_MINUTES"),
    ("allocation failure: Invalid feature specification", "PROMET_SLURM_CONSTRAINT"),
    (f"sbatch: error: invalid partition specified: x\n{PREFIX}Invalid partition name specified", "PROMET_SLURM_PARTITION"),
    (f"sbatch: error: Memory specification can not be satisfied\n{PREFIX}Requested node configuration is not available", "No node"),
    (f"{PREFIX}Requested reservation is invalid", "PROMET_SLURM_RESERVATION"),
    ("sbatch: unrecognized option '--bogus'\nTry \"sbatch --help\" for more information", "PROMET_SLURM_EXTRA"),
    (f"{PREFIX}User's group not permitted to use this partition", "partition that you may use"),
    (f"{PREFIX}Unspecified error", "Show this sentence"),
]  # fmt: skip


@pytest.mark.parametrize(("said", "means"), SENTENCES, ids=[said[-60:] for said, _ in SENTENCES])
def test_what_slurm_says_is_understood(said, means):
    if means in ("full", "silent"):
        assert refusals.kind(said) == means
        return
    assert refusals.kind(said) == "refused"
    assert means in refusals.remedy(said)
    assert "error" not in refusals.sentence(said).replace(
        "Unspecified error", ""
    ) and "\n" not in refusals.sentence(said)


@pytest.mark.parametrize("said", [said for said, means in SENTENCES if means in ("full", "silent")])
def test_what_passes_is_no_reason_to_refuse_a_run(squeue, tmp_path, said):
    squeue()
    says(tmp_path, "sbatch", "", said, 1)
    queue.wait(SLURM, tmp_path)


def test_a_refusal_that_stays_one_is_told_in_sbatchs_own_words(squeue, tmp_path):
    squeue()
    says(tmp_path, "sbatch", "", SENTENCES[-5][0], 1)
    with pytest.raises(
        UsageError, match=r"Requested node configuration is not available.*No node of the partition"
    ):
        queue.wait(SLURM, tmp_path)


NODES = next(said for said, _ in SENTENCES if "node configuration" in said)


@pytest.mark.parametrize(
    ("gres", "wanted", "there"),
    [
        ("gpu:2", "", True),
        ("gpu:a100:4(S:0-1),shard:8", "", True),
        ("gpu:a100:4", "gpu:a100:1", True),
        ("gpu:a100:4", "gpu:v100:1", False),
        ("gpu:2", "gpu:3", False),
        ("(null)", "", False),
    ],
)
def test_nodes_that_are_down_today_are_no_reason_to_refuse(
    squeue, tmp_path, monkeypatch, gres, wanted, there
):
    """sbatch --test-only leaves them out, and says the same as of nodes that there are not."""
    squeue()
    says(tmp_path, "sbatch", "", NODES, 1)
    says(tmp_path, "sinfo", f"cpu*|64000+|{gres}")
    monkeypatch.setenv("PROMET_SLURM_GRES", wanted)
    if there:
        return queue.wait(SLURM, tmp_path)
    with pytest.raises(UsageError, match="Trainings would be refused"):
        queue.wait(SLURM, tmp_path)


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("(Resources)", "no node is free"),
        ("QOSMaxJobsPerUserLimit", "start as others end"),
        ("AssocGrpCPURunMinutesLimit", "budget"),
        ("QOSMaxWallDurationPerJobLimit", "never start"),
        ("PartitionTimeLimit", "never start"),
        ("ReqNodeNotAvail, UnavailableNodes:gpu1", "down, drained or reserved"),
        (
            "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions",
            "down, drained or reserved",
        ),
        ("launch failed requeued held", "scontrol release"),
        ("SomethingNew", "SLURM's own word"),
    ],
)
def test_reasons_of_squeue_in_words(reason, words):
    assert words in refusals.pending(reason)


@pytest.mark.parametrize(
    ("limit", "number"),
    [("30", 30), ("30:00", 30), ("1:30:00", 90), ("2-00:00:00", 2880), ("2-12", 3600), ("1-0:30", 1470), ("infinite", 0), ("n/a", 0), ("", 0)],
)  # fmt: skip
def test_time_limits_of_slurm(limit, number):
    assert site.minutes(limit) == number


@pytest.mark.parametrize(("options", "number"), [(SLURM, signal.SIGINT), ([], signal.SIGTERM)])
def test_a_signal_to_end_cancels_jobs_in_the_queue(options, number):
    """Snakemake waits on SIGTERM for what runs; on SIGINT it cancels what is in the queue."""
    assert Snakemake([], options).ending == number
