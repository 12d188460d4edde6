"""What is submitted for a hundred patients, read from the calls of sbatch; nothing is queued."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from promet.study.table import COLUMNS
from promet.workflow.scheduler import trainings

ROOT = Path(__file__).parents[2]
PATIENTS = 100
# Fails, so that Snakemake goes on to the next one and nothing is waited for.
SBATCH = '#!/bin/sh\nprintf "%.9000s\\n" "$*" >> "{calls}"\nexit 1\n'


@pytest.fixture(scope="module")
def submitted(tmp_path_factory):
    """Submits ``targets`` of a study of 100 patients; returns the options of each call of sbatch."""
    folder = tmp_path_factory.mktemp("hundred")
    rows = [list(COLUMNS)]
    for patient in (f"p{number:03d}" for number in range(PATIENTS)):
        row = dict.fromkeys(COLUMNS, "") | {"patient": patient, "role": "development"}
        row["synchronous_metastasis"] = str(len(rows) % 2)
        for source in ("pet", "prostate"):
            row[source] = f"dicom/{patient}/{source}"
            (folder / row[source]).mkdir(parents=True)
            (folder / row[source] / "1").write_text(row[source])
        rows.append(list(row.values()))
    (folder / "cohort.tsv").write_text("".join("\t".join(row) + "\n" for row in rows))
    (folder / "config.yaml").write_text("study: hundred\ncohort: cohort.tsv\nbuckets: 0\n")
    command = [sys.executable, "-m", "promet.cli", "intake", "-c", "config.yaml"]
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "bin").mkdir()
    stubs = {"sbatch": SBATCH.format(calls=folder / "calls"), "sacctmgr": "#!/bin/sh\necho some-account\n"}
    stubs |= dict.fromkeys(("sinfo", "squeue", "scontrol", "sacct"), "#!/bin/sh\nexit 0\n")
    for name, text in stubs.items():
        (folder / "bin" / name).write_text(text)
        (folder / "bin" / name).chmod(0o755)

    def submit(*targets: str, **names: str) -> list[str]:
        (folder / "calls").unlink(missing_ok=True)
        environment = {
            "PATH": f"{folder}/bin{os.pathsep}{os.environ['PATH']}",
            "PROMET_SLURM_PARTITION": "cpu",
        }
        words = ["--snakefile", str(ROOT / "Snakefile"), "--configfile", "config.yaml", "--retries", "0"]
        words += ["--workflow-profile", str(ROOT / "profiles/slurm"), *targets]
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", *words],
            cwd=folder,
            env={**os.environ, **environment, **names},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert (folder / "calls").exists(), done.stderr[-3000:]
        return (folder / "calls").read_text().splitlines()

    submit.folder = folder
    return submit


def option(call: str, name: str) -> str:
    found = re.search(rf"{name}[ =]'?([^ ']+)", call)
    return found.group(1) if found else ""


def test_a_hundred_patients_are_ten_submissions(submitted):
    calls = submitted("prepare", PROMET_SLURM_ACCOUNT="some-account")
    assert len(calls) == 10
    for call in calls:  # one member's width, the sum of the run times: 10 patients x (2 + 5 x 1) minutes
        assert (option(call, "--cpus-per-task"), option(call, "--mem")) == ("1", "2000")
        assert 10 * 7 <= int(option(call, "-t")) <= 10 * 20
        assert (option(call, "-p"), option(call, "-A")) == ("cpu", "some-account")
        assert "--gpus" not in call and "--requeue" in call and "--job-name promet_" in call


def test_buckets_are_two_submissions_per_number(submitted):
    config = submitted.folder / "config.yaml"
    config.write_text(config.read_text().replace("buckets: 0", "buckets: 2"))
    assert len(submitted("prepare")) == 4


@pytest.fixture
def fit(submitted) -> Path:
    """What a training waits for, so that it can be submitted."""
    path = submitted.folder / "results/hundred/dataset/split-00/fit.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    for name in ("fit.json", "dataset.json"):
        path.with_name(name).write_text("{}")
    return path


TRAIN = "results/hundred/network/paper/split-00/seed-07/train.json"


@pytest.mark.parametrize(
    ("names", "asked"),
    [({}, ["--gpus=1"]), ({"PROMET_SLURM_GRES": "gpu:1"}, ["--gres=gpu:1"])],
    ids=["gpus", "gres"],
)
def test_a_training_asks_for_one_gpu_in_the_words_of_the_site(submitted, fit, names, asked):
    allowed = ("--allowed-rules", "train", "--")
    omitted = ("--omit-from", str(fit.relative_to(submitted.folder)))
    [call] = submitted(*omitted, *allowed, TRAIN, PROMET_SLURM_GPU_PARTITION="gpu", **names)
    head = call.partition("--wrap")[0]  # the step inside asks for what the job has
    assert [word for word in head.split() if word.startswith(("--gpus", "--gres"))] == asked
    assert option(call, "-p") == "gpu"
    assert (option(call, "--mem"), option(call, "-t"), option(call, "--cpus-per-task")) == ("3500", "90", "1")
    assert "--signal=URG@120" in call
    assert "snakemake" not in call.partition("--wrap")[2]  # the trainer has the allocation to itself


SEED = "results/hundred/network/paper/split-00/seed-{:02d}/train.json"


@pytest.mark.parametrize(
    ("names", "width", "minutes", "gpus"),
    [
        ({}, 1, 900, "--gpus=1"),
        ({"PROMET_SLURM_SEEDS_AT_ONCE": "4"}, 4, 270, "--gres=gpu:1"),
        ({"PROMET_SLURM_SEEDS_AT_ONCE": "4", "PROMET_SLURM_GRES": "shard:1"}, 4, 270, "--gres=shard:1"),
        ({"PROMET_SLURM_MAX_MINUTES": "120"}, 1, 120, "--gpus=1"),
    ],
    ids=["one after another", "four at a time", "a share of a GPU", "short partition"],
)
def test_fifty_seeds_are_five_submissions_with_one_gpu_each(submitted, fit, names, width, minutes, gpus):
    omitted = ("--omit-from", str(fit.relative_to(submitted.folder)), "--allowed-rules", "train", "--")
    fifty = [SEED.format(number) for number in range(50)]
    calls = submitted(*omitted, *fifty, PROMET_SLURM_SEEDS="10", **names)
    assert len(calls) == 5
    trained = []
    for call in calls:
        head = call.partition("--wrap")[0]
        assert [word for word in head.split() if word.startswith(("--gpus", "--gres"))] == [gpus]
        assert (option(call, "--cpus-per-task"), option(call, "--mem")) == (str(width), str(3500 * width))
        assert option(call, "-t") == str(minutes)
        command = call.partition("--wrap")[2].split()
        told, at_once = command[command.index("together") + 1 :][:2]
        assert at_once.rstrip('"') == str(width)
        each = trainings.unpacked(told)
        assert [Path(log).stem for _, log in each] == [Path(words[7]).parent.name for words, _ in each]
        trained += [words[7] for words, _ in each]
    assert sorted(trained) == fifty
