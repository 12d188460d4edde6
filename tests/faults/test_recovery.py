"""Killed, full, cut, out of time, two at once: the next promet run ends with the same products, or says what to type.

Real Snakefile and real promet run; the jobs are the stand-ins of the plan tests.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

import pytest
from promet_plan_study import IMAGES, Study, build

from promet.commands.prune import prune
from promet.commands.status import status
from promet.config import load
from promet.core.errors import UsageError
from promet.workflow import run as runs
from promet.workflow.lock import Holder, held
from promet.workflow.plan import Plan
from promet.workflow.status import inspect

RUN = ("run", "--cores", "2")
TRAINING = {"train paper/split-00/seed-00", "train paper/split-00/seed-01"}


def products(study):
    """Digest of every product that the stand-ins do not draw at random: all up to the selected network."""
    found = {}
    for path in (study.folder / "results").rglob("*.json"):
        with contextlib.suppress(ValueError):
            record = json.loads(path.read_text())
            if record.get("stage") in (*IMAGES, "gather", "dataset", "train", "select"):
                found[str(path.relative_to(study.folder))] = record["digest"]
    return found


def start(study, *words, stuck=""):
    """promet run in a session of its own, not waited for."""
    environment = {**os.environ, "PROMET_BIN": str(study.folder / "bin"), "STUCK": stuck}
    command = [sys.executable, "-m", "promet.cli", *(words or RUN), "-c", str(study.configfile)]
    return subprocess.Popen(
        command,
        cwd=study.folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def stuck_job(study):
    """Process of the job that stands half way, as soon as it does."""
    path = study.folder / "stuck"
    limit = time.monotonic() + 120
    while time.monotonic() < limit:
        if path.exists() and (text := path.read_text()):
            path.unlink()
            return int(text)
        time.sleep(0.05)
    raise AssertionError("the job never started")


def alive(pid):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as handle:
        return handle.read().rpartition(")")[2].split()[0] != "Z"
    return False


def holder(study):
    return json.loads((study.folder / "results/run.lock").read_text())


def change(study):
    """The PET of a training patient is another one now."""
    (study.folder / "images" / study.part("training") / "pet/1").write_text("another image")
    study.intake()
    return study


def edited(copy):
    """A finished study in which the PET of a training patient has changed since."""
    return change(copy("study"))


@pytest.fixture(scope="module")
def undisturbed(finished, tmp_path_factory):
    """The products when nothing goes wrong."""
    folder = tmp_path_factory.mktemp("undisturbed") / "study"
    shutil.copytree(finished, folder, symlinks=True)
    study = change(Study(folder))
    done = study.promet(*RUN)
    assert done.returncode == 0, done.stderr
    return products(study)


def recovers(study, expected, *says):
    done = study.promet(*RUN)
    assert done.returncode == 0, done.stdout + done.stderr
    for words in says:
        assert words in done.stdout
    assert products(study) == expected
    assert "everything is fresh" in study.promet("status").stdout


def test_a_second_run_is_told_who_and_what_to_do(copy):
    study = copy("study")
    study.ran()
    with held(study.folder / "results"):
        done, seen = study.promet(*RUN), study.promet("status").stdout
    assert done.returncode == 2 and done.stdout == ""
    assert "a run works here since" in seen and f"process {os.getpid()} on" in seen
    assert "a run works here" not in study.promet("status").stdout
    assert "E_RUNNING" in done.stderr and f"kill -TERM {os.getpid()}" in done.stderr and "Wait" in done.stderr
    assert study.promet(*RUN).returncode == 0
    assert study.ran() == set()


WRITES = {
    "intake": (False, False),
    "freeze": ("v1", ""),
    "prune": (True,),
    "retry": ([],),
    "waive": ("dev001", "board"),
    "run": ([],),
}


def calls(study, name):
    command = getattr(import_module(f"promet.commands.{'run' if name == 'retry' else name}"), name)
    return lambda: command([study.configfile], *WRITES[name])


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize("holder", ["run", "intake"])
def test_whoever_writes_waits_for_whoever_writes(copy, monkeypatch, name, holder):
    study = copy("study")
    monkeypatch.chdir(study.folder)
    record = Path("results/patients", study.part("training"), "normalise.json")
    record.write_text(
        json.dumps(json.loads(record.read_text()) | {"status": "quarantined", "origin": "normalise"})
    )
    before = {path: path.read_bytes() for path in Path("registry").rglob("*.*") if path.name != "run.lock"}
    with held("results", "registry", holder), pytest.raises(UsageError) as refusal:
        calls(study, name)()
    assert refusal.value.code == "E_RUNNING" and f"process {os.getpid()}" in str(refusal.value)
    assert ("Another run" if holder == "run" else "command intake") in str(refusal.value)
    assert {path: path.read_bytes() for path in before} == before and record.exists()


def test_who_only_reads_does_not_wait(copy, monkeypatch, capsys):
    study = copy("study")
    monkeypatch.chdir(study.folder)
    with held("results", "registry", "intake"):
        assert status([study.configfile], "", False) == 0
        assert "the command intake works here since" in capsys.readouterr().out
        assert prune([study.configfile], False) == 0


def test_studies_that_share_a_registry(tmp_path):
    """Both may run at a time; digests and ledgers change under neither."""
    with held(tmp_path / "a", tmp_path / "registry"), held(tmp_path / "b", tmp_path / "registry"):
        for command in ("intake", "freeze", "waive"):
            with (
                pytest.raises(UsageError, match="works in this folder"),
                held(tmp_path / "c", tmp_path / "registry", command),
            ):
                pass
    with (
        held(tmp_path / "c", tmp_path / "registry", "intake"),
        pytest.raises(UsageError, match="command intake"),
        held(tmp_path / "a", tmp_path / "registry"),
    ):
        pass


def test_a_short_command_does_not_forget_what_a_killed_run_left(tmp_path):
    left = Holder("host-1-2", 1, "host", "2026-01-01 00:00")
    (tmp_path / "run.lock").write_text(json.dumps(asdict(left)))
    with held(tmp_path, command="intake"):
        pass
    with held(tmp_path) as lock:
        assert lock.killed == left
    with held(tmp_path) as lock:
        assert not lock.killed.run


@pytest.mark.parametrize("where", ["crop", "dataset", "train paper/split-00/seed-01", "fuse"])
def test_job_killed(copy, undisturbed, where):
    study = edited(copy)
    job = f"crop {study.part('training')}" if where == "crop" else where
    process = start(study, stuck=job)
    os.kill(stuck_job(study), signal.SIGKILL)
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 1
    assert f"failed: {where.split()[0]}" in said and re.search(r"promet run --cores 2 -c \S+ again", said)
    recovers(study, undisturbed)


@pytest.mark.parametrize("where", ["crop", "train paper/split-00/seed-01"])
def test_snakemake_killed(copy, undisturbed, where):
    study = edited(copy)
    process = start(study, stuck=f"crop {study.part('training')}" if where == "crop" else where)
    job = stuck_job(study)
    os.kill(holder(study)["snakemake"], signal.SIGKILL)
    process.communicate(timeout=120)
    assert process.returncode == 75  # the same command goes on
    assert not alive(job), "the job outlived its run"
    recovers(study, undisturbed)


def test_everything_but_the_job_killed(copy, undisturbed):
    """promet run and Snakemake are gone, their job still works and holds a half-written record."""
    study = edited(copy)
    process = start(study, stuck=f"crop {study.part('training')}")
    job = stuck_job(study)
    snakemake = holder(study)["snakemake"]
    for pid in (process.pid, snakemake):
        os.kill(pid, signal.SIGKILL)
    process.wait(timeout=60)
    assert alive(job)
    recovers(study, undisturbed, "was killed")
    assert not alive(job)


def test_while_snakemake_lives_on_the_folder_is_held(copy, undisturbed):
    study = edited(copy)
    process = start(study, stuck=f"crop {study.part('training')}")
    job, snakemake = stuck_job(study), holder(study)["snakemake"]
    process.kill()
    process.wait(timeout=60)
    advised(study, f"kill -KILL {snakemake}")
    recovers(study, undisturbed, "was killed")
    assert not alive(job)


def advised(study, line):
    """A second run is told this line; it is typed."""
    done = study.promet(*RUN)
    assert done.returncode == 2 and "E_RUNNING" in done.stderr and line in done.stderr, done.stderr
    subprocess.run(line, shell=True, check=True)


@pytest.mark.parametrize("where", ["crop", "train paper/split-00/seed-01"])
def test_what_a_second_run_is_told_ends_the_first_with_its_jobs(copy, undisturbed, where):
    """Neither signal makes Snakemake end a job of this computer: a training would be waited for."""
    study = edited(copy)
    process = start(study, stuck=f"crop {study.part('training')}" if where == "crop" else where)
    job = stuck_job(study)
    advised(study, f"kill -TERM {process.pid}")
    said = process.communicate(timeout=15)[0]
    assert process.returncode == 75 and "the same command goes on" in said
    assert not alive(job)
    recovers(study, undisturbed)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_by_a_signal(copy, undisturbed, number):
    study = edited(copy)
    process = start(study, stuck=f"crop {study.part('training')}")
    job = stuck_job(study)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.send_signal(number)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 75 and "the same command goes on" in said
    assert not alive(job)
    recovers(study, undisturbed)


def test_a_plain_snakemake_at_work_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".snakemake/locks").mkdir(parents=True)
    (tmp_path / ".snakemake/locks/0.input.lock").touch()
    monkeypatch.setattr(runs, "snakemake_here", lambda: 4711)
    with (
        held(tmp_path) as lock,
        pytest.raises(UsageError, match=r"process 4711.*Ctrl-C where it was started"),
    ):
        runs._clear(lock, runs.Snakemake([], []))


def test_plain_snakemake_killed(copy, undisturbed):
    """Whether it runs on another computer nobody can know, so promet asks."""
    study = edited(copy)
    (study.folder / ".snakemake/locks/0.input.lock").parent.mkdir(exist_ok=True)
    (study.folder / ".snakemake/locks/0.input.lock").write_text("cohort.tsv\n")
    done = study.promet(*RUN)
    assert done.returncode == 2 and "promet run --unlock" in done.stderr and done.stdout == ""
    unlocked = study.promet(*RUN, "--unlock")
    assert unlocked.returncode == 0 and "unlocked" in unlocked.stdout and "job" not in unlocked.stdout
    recovers(study, undisturbed)
    assert products(study) == undisturbed


def test_disk_full(tmp_path):
    """On a disk of its own with room for a part of the products; then room is made."""
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this computer gives no disk of one's own (unshare -rm)")
    study = build(tmp_path / "study")
    study.intake()
    (tmp_path / "disk").mkdir()
    promet = f"'{sys.executable}' -m promet.cli run --cores 2 -c config.yaml"
    script = f"""
        mount -t tmpfs -o size=1500k none {tmp_path}/disk && cp -r {study.folder} {tmp_path}/disk/ || exit 99
        cd {tmp_path}/disk/study; export PROMET_BIN=$PWD/bin
        free=$(df --output=avail -k . | tail -1); head -c $(( (free - 250) * 1024 )) /dev/zero > filler
        {promet} > {tmp_path}/full.txt 2>&1; echo $? > {tmp_path}/full
        rm filler
        {promet} > {tmp_path}/room.txt 2>&1; echo $? > {tmp_path}/room
        cp -r results {tmp_path}/made
    """
    subprocess.run(["unshare", "-rm", "bash", "-c", script], check=True)
    assert (tmp_path / "full").read_text() == "75\n"
    said = (tmp_path / "full.txt").read_text()
    assert "Traceback" not in said and said.splitlines()[-1].startswith("E_DISK_FULL: There is no room left")
    assert (tmp_path / "room").read_text() == "0\n", (tmp_path / "room.txt").read_text()
    assert study.promet(*RUN).returncode == 0
    shutil.copytree(tmp_path / "made", tmp_path / "there/results")
    there = type(study)(tmp_path / "there")
    assert products(there) == products(study) and len(products(study)) > 60


def test_files_from_the_future(copy):
    """The clock was wrong when they were written, or is wrong now."""
    study = copy("study")
    later = time.time() + 86400
    for path in study.folder.rglob("*"):
        if path.is_file() and "bin" not in path.parts:
            os.utime(path, (later, later))
    study.ran()
    assert study.promet(*RUN).returncode == 0
    assert study.ran() == set()
    study.set_cell("M0", months="60")
    patient = study.part("test")
    (study.folder / "images" / patient / "pet/1").write_text("another image")
    study.intake()
    done = study.promet(*RUN)
    assert done.returncode == 0, done.stdout + done.stderr
    ran = study.ran()
    assert {job for job in ran if job.startswith(IMAGES)} == {f"{stage} {patient}" for stage in IMAGES}
    assert not ran & {"dataset", "select", *TRAINING} and {"score", "fuse", "report"} <= ran
    assert study.promet(*RUN).returncode == 0
    assert study.ran() == set()


def cut(path, at_a_line=False):
    content = path.read_bytes()
    half = content[: len(content) // 2]
    path.write_bytes(
        half[: half.rindex(b"\n") + 1] if at_a_line else half[:-1] if half[-1:] == b"\n" else half
    )


@pytest.mark.parametrize("at_a_line", [False, True])
def test_registry_cut_in_half(copy, at_a_line):
    study = copy("study")
    study.ran()
    path = study.folder / "registry/images.tsv"
    before = path.read_bytes()
    cut(path, at_a_line)
    for done in (study.promet(*RUN), study.snakemake()):
        assert done.returncode and "promet intake" in done.stdout + done.stderr
    study.intake()
    assert path.read_bytes() == before
    assert study.promet(*RUN).returncode == 0
    assert study.ran() == set()


@pytest.mark.parametrize("at_a_line", [False, True])
def test_ledger_cut_in_half(copy, at_a_line):
    """Nobody may be assigned a second time: it would carry a trained-on patient into the test part."""
    study = copy("study")
    study.ran()
    path = study.folder / "registry/tiny/ledger.tsv"
    before = path.read_bytes()
    cut(path, at_a_line)
    done = study.snakemake()
    assert done.returncode and "put them back by themselves" in done.stdout + done.stderr
    assert study.promet(*RUN).returncode == 0
    assert path.read_bytes() == before
    assert study.ran() == set()


def test_freeze_cut_in_half(copy):
    study = copy("study")
    assert study.promet("freeze", "v1").returncode == 0
    path = study.folder / "registry/tiny/freeze.json"
    cut(path)
    done = study.promet(*RUN)
    assert done.returncode == 2 and "rm registry/tiny/freeze.json && promet freeze" in done.stderr
    path.unlink()
    assert study.promet("freeze", "v1").returncode == 0


@pytest.mark.parametrize("stage", ["crop", "train", "fuse"])
def test_record_cut_in_half(copy, stage):
    study = copy("study")
    expected = products(study)
    where = {
        "crop": f"patients/{study.part('training')}/crop.json",
        "train": "tiny/network/paper/split-00/seed-01/train.json",
        "fuse": "tiny/fusion/split-00/fuse.json",
    }[stage]
    cut(study.folder / "results" / where)
    assert "its record is damaged" in study.promet("status").stdout
    recovers(study, expected)


def test_records_of_snakemake_emptied(copy):
    """As a full disk leaves them: Snakemake then no longer sees changed parameters, the guard does."""
    study = copy("study")
    for path in (study.folder / ".snakemake/metadata").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    study.ran()
    study.configure(evaluation={"confidence": 0.9})
    assert study.promet(*RUN).returncode == 0
    assert study.ran() == {"evaluate", "survive", "pool", "tripod", "report"}


@pytest.mark.parametrize("roles", [("",), ("", "metachronous")], ids=["prospective", "and metachronous"])
def test_nobody_to_train_is_told_before_anything_runs(tmp_path, roles):
    study = build(tmp_path / "study")
    study.write_rows([row for row in study.rows() if row["role"] in roles])
    study.intake()
    for words in (RUN, ("run", "-n")):
        done = study.promet(*words)
        assert done.returncode == 2 and "E_NOBODY_TO_TRAIN" in done.stderr, done.stdout + done.stderr
    seen = study.promet("status").stdout
    assert "E_NOBODY_TO_TRAIN" in seen and "Next: promet run" not in seen
    assert study.ran() == set()


def test_a_run_until_somewhere_says_what_was_made(copy):
    study = copy("study")
    shutil.rmtree(study.folder / "results/tiny/report")
    done = study.promet(*RUN, "--until", "gather")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "there is no report yet; promet run --cores 2 -c" in done.stdout
    assert "\nreport: " not in done.stdout
    assert "up to date: 11 convert jobs" in done.stdout and "not made, or from before: report" in done.stdout


@pytest.mark.parametrize(
    ("there", "stale", "says"),
    [
        (True, False, ["report: results/tiny/report/report.html"]),
        (True, True, ["not made, or from before: ", "the report is from before: results"]),
        (False, False, ["up to date: ", "there is no report yet"]),
        (False, True, ["not made, or from before: ", "there is no report yet"]),
    ],
)
def test_the_last_line_names_a_report_only_if_it_is_there_and_of_now(
    copy, monkeypatch, capsys, there, stale, says
):
    study = copy("study")
    monkeypatch.chdir(study.folder)
    page = Path("results/tiny/report/report.html")
    page.touch() if there else page.unlink(missing_ok=True)
    if stale:
        study.set_cell("M0", months="60")
        study.intake()
    plan = Plan(load([study.configfile]))
    runs._print_end(plan, inspect(plan))
    said = capsys.readouterr().out
    assert all(words in said for words in says), said
    assert ("\nreport: " in "\n" + said) == (there and not stale)
