"""profiles/slurm as Snakemake reads it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yte

from promet.workflow.scheduler.profile import asked as submissions
from promet.workflow.stages import STAGES

ROOT = Path(__file__).parents[2]
PROFILE = ROOT / "profiles/slurm/config.yaml"
ALONE = {"train", "bucket", "organs"}
TARGETS = {"all", "prepare", "lock"}
NAMES = (
    "ACCOUNT",
    "PARTITION",
    "GPU_PARTITION",
    "GRES",
    "QOS",
    "GPU_QOS",
    "CONSTRAINT",
    "GPU_CONSTRAINT",
    "RESERVATION",
)
NAMES += (
    "EXTRA",
    "TRAIN_MINUTES",
    "MAX_MINUTES",
    "JOBS",
    "PATIENTS",
    "STATUS",
    "POLL",
    "SEEDS",
    "SEEDS_AT_ONCE",
)


@pytest.fixture
def profile(monkeypatch):
    """The profile's values with these PROMET_SLURM_ names set."""
    for name in NAMES:
        monkeypatch.delenv(f"PROMET_SLURM_{name}", raising=False)

    def read(**names: str) -> dict:
        for name, value in names.items():
            monkeypatch.setenv(f"PROMET_SLURM_{name}", value)
        return yte.process_yaml(PROFILE.read_text(), require_use_yte=True)

    return read


def rules() -> set[str]:
    files = [ROOT / "workflow/Snakefile", *sorted((ROOT / "workflow/rules").glob("*.smk"))]
    return {name for path in files for name in re.findall(r"^\s*rule (\w+):", path.read_text(), re.MULTILINE)}


def test_every_rule_has_its_place(profile):
    values = profile()
    assert set(values["groups"]) | ALONE == rules() - TARGETS
    assert set(values["groups"]) <= set(values["set-resources"])
    assert {name for name, asked in values["set-resources"].items() if asked.get("serial")} == set(
        values["groups"]
    )


def test_a_retry_gets_more_and_never_more_than_the_cap(profile):
    values = profile()
    for name, asked in {**values["set-resources"], "default": values["default-resources"]}.items():
        for kind in ("mem_mb", "runtime"):
            if kind in asked:
                first, second, last = (eval(asked[kind], {"attempt": n, "min": min}) for n in (1, 2, 99))
                assert first < second <= last < 50_000, (name, kind)


def test_retries_are_in_the_profile_and_in_no_rule(profile):
    assert profile()["retries"] == 2
    for path in (ROOT / "workflow").rglob("*.smk"):
        assert "retries:" not in path.read_text()


def test_account_and_partition_are_enough(profile):
    values = profile(ACCOUNT="mine", PARTITION="short")
    assert values["default-resources"]["slurm_account"] == "mine"
    assert values["default-resources"]["slurm_partition"] == "short"
    assert "slurm_partition" not in values["set-resources"]["train"]
    assert "gres" not in values["set-resources"]["train"]


def test_a_site_without_names_sends_none(profile, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert not {"slurm_account", "slurm_partition"} & set(profile()["default-resources"])


def test_a_login_node_without_sacct(profile, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    values = profile()
    assert values["slurm-status-command"] == "squeue"
    assert values["slurm-efficiency-report"] is False
    assert values["default-resources"]["slurm_account"] == "none"


def test_gpu_words_of_the_site(profile):
    train = profile(GPU_PARTITION="gpus", GRES="gpu:1")["set-resources"]["train"]
    assert (train["slurm_partition"], train["gpu"], train["gres"]) == ("gpus", 0, "gpu:1")


@pytest.mark.parametrize(
    ("seeds", "at_once", "minutes", "megabytes", "gpu"),
    [(1, 1, 90, 3500, "--gpus=1"), (10, 1, 900, 3500, "--gpus=1"), (10, 4, 270, 14000, "--gres=gpu:1")],
)
def test_what_sbatch_is_asked_about_a_submission_of_several_seeds(
    profile, seeds, at_once, minutes, megabytes, gpu
):
    profile(SEEDS=str(seeds), SEEDS_AT_ONCE=str(at_once))
    [train] = [one for one in submissions(["--workflow-profile", str(PROFILE.parent)]) if one.rule == "train"]
    assert (train.minutes, train.megabytes) == (minutes, megabytes)
    assert gpu in train.options


def test_words_of_the_site_for_every_job_and_for_trainings(profile):
    values = profile(
        QOS="long", GPU_QOS="gpu", CONSTRAINT="a|b", RESERVATION="r", EXTRA="--nice=5", PARTITION="all"
    )
    asked, train = values["default-resources"], values["set-resources"]["train"]
    assert (asked["qos"], asked["constraint"], asked["slurm_extra"]) == ("long", "a|b", "--nice=5")
    assert asked["slurm_partition"] == "'all'"  # or Snakemake would take Python's function of that name
    assert (train["qos"], train["slurm_extra"]) == ("gpu", "--signal=URG@120 --nice=5")
    assert values["slurm-reservation"] == "r" and "constraint" not in train


def test_minutes_of_the_site(profile):
    values = profile(TRAIN_MINUTES="240", MAX_MINUTES="60")["set-resources"]
    assert values["train"]["runtime"] == "min(60 * attempt, 60)"
    ours = sum(stage.group == "patient" for stage in STAGES.values())  # of five patients in one submission
    assert values["segment"]["runtime"] == f"min(1 * attempt, {60 // (5 * ours)})"
    longer = profile(TRAIN_MINUTES="240", MAX_MINUTES="600")["set-resources"]["train"]["runtime"]
    assert longer == "min(240 * attempt, 600)"


def test_every_variable_is_explained():
    for page in ("docs/hpc.md", "profiles/README.md"):
        text = (ROOT / page).read_text()
        assert not [name for name in NAMES if f"PROMET_SLURM_{name}" not in text], page


@pytest.mark.parametrize("longest", [12, 15, 30, 60, 90, 240, 1440])
@pytest.mark.parametrize("attempt", [1, 2, 3])
def test_no_submission_asks_for_more_than_the_longest_time(profile, longest, attempt):
    """Members of a group run one after another, and their minutes are added up."""
    values = profile(MAX_MINUTES=str(longest))
    asked = values["set-resources"]
    for group in set(values["groups"].values()):
        members = [name for name, its in values["groups"].items() if its == group]
        minutes = sum(eval(asked[name]["runtime"], {"attempt": attempt, "min": min}) for name in members)
        assert (
            0 < minutes * (values["group-components"]["patient"] if group == "patient" else 1) <= longest
        ), group
    assert eval(asked["train"]["runtime"], {"attempt": attempt, "min": min}) <= longest
    assert values["group-components"]["patient"] == min(10, longest // 12)
