"""A cluster and a small study for the tests on SLURM; without ``make test-slurm`` they are skipped."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

import pytest
from tests.slurm.cluster import ACCOUNT, Cluster, install, wait

ROOT = Path(__file__).parents[2]
PROFILE = ROOT / "profiles/slurm"
SWITCH = "PROMET_TEST_SLURM"
PATIENTS = {"development": 8, "metachronous": 1, "prospective": 0, "seed": 3, "effect": 2.0}
SEEDS, NIGHT = 3, 12  # of the demo; of the night, whose first three are the demo's
CONFIG = {
    "study": "small",
    "cohort": "cohort.tsv",
    "network": {"seeds": SEEDS, "training": {"epochs": 40, "patience": 300, "learning_rate": 0.001}},
    "evaluation": {"bootstrap": 100},
    "report": {"patient_level": True},
}
PRODUCTS = ("model.safetensors", "history.parquet", "predictions.parquet")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    if not os.environ.get(SWITCH):
        for item in items:
            if item.path.is_relative_to(here) and "cluster" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.skip(reason="make test-slurm brings up a cluster"))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    reason = install()
    if reason:
        pytest.skip(reason)
    # The daemons must not outlive a test run that is ended from outside.
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("SIGTERM"))
    with Cluster() as running:
        yield running


@dataclass
class Study:
    """A study's folder and the processes that work in it."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def command(self, module: str, *words: str | Path) -> list[str]:
        return [sys.executable, "-m", module, *map(str, words)]

    def start(self, *command: str | Path, log: str = "head.log") -> subprocess.Popen:
        """A head process in a session of its own, its words in ``log``."""
        names = {
            "PROMET_SLURM_ACCOUNT": ACCOUNT,
            "PROMET_SLURM_PARTITION": "cpu",
            "PROMET_SLURM_GPU_PARTITION": "gpu",
            "PROMET_SLURM_POLL": "2",
        }
        with open(self.folder / log, "w", encoding="utf-8") as handle:
            return subprocess.Popen(
                [str(word) for word in command],
                cwd=self.folder,
                env={**os.environ, **names, **self.environment},
                stdout=handle,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def promet(self, *words: str | Path, log: str = "head.log") -> subprocess.Popen:
        return self.start(*self.command("promet.cli", *words, "-c", "config.yaml"), log=log)

    def snakemake(self, *words: str | Path, log: str = "head.log") -> subprocess.Popen:
        fixed = ("--snakefile", ROOT / "Snakefile", "--configfile", "config.yaml")
        return self.start(*self.command("snakemake", *words, *fixed), log=log)

    def done(self, head: subprocess.Popen, seconds: float = 1500, log: str = "head.log") -> str:
        """The words of a head that has to end well."""
        code = head.wait(seconds)
        said = (self.folder / log).read_text(encoding="utf-8")
        assert code == 0, said[-6000:]
        return said

    def seed(self, number: int) -> Path:
        return self.folder / f"results/small/network/paper/split-00/seed-{number:02d}"

    def trained(self, number: int) -> dict[str, str]:
        """Digests of a seed's products."""
        return {name: digest(self.seed(number) / name) for name in PRODUCTS}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def end(head: subprocess.Popen, number: signal.Signals = signal.SIGKILL) -> None:
    """Kill a head and everything it started on this side of the queue."""
    try:
        os.killpg(head.pid, number)
    except ProcessLookupError:
        return
    head.wait(60)


@pytest.fixture(scope="session")
def raw(tmp_path_factory) -> Study:
    """Phantoms, checked and registered, nothing computed."""
    from promet.phantom.cohort import write_cohort

    study = Study(tmp_path_factory.mktemp("raw"))
    write_cohort(study.folder, **PATIENTS, small=True)
    (study.folder / "config.yaml").write_text(json.dumps(CONFIG))
    for word in ("check", "intake"):
        study.done(study.promet(word))
    return study


@pytest.fixture(scope="session")
def local(raw, tmp_path_factory) -> Study:
    """The whole demo on this machine."""
    study = copied(raw, tmp_path_factory.mktemp("local"))
    study.done(study.promet("run", "--cores", "2"))
    return study


@pytest.fixture(scope="session")
def undisturbed(local, tmp_path_factory) -> Study:
    """All seeds of the night, trained on this machine."""
    study = copied(local, tmp_path_factory.mktemp("undisturbed"), "select")
    with_seeds(study, NIGHT)
    study.done(study.snakemake("lock", "--cores", "2"))
    return study


def copied(study: Study, folder: Path, *without: str) -> Study:
    ignored = shutil.ignore_patterns(".snakemake", "logs", *without)
    shutil.copytree(study.folder, folder, ignore=ignored, dirs_exist_ok=True)
    return Study(folder)


def with_seeds(study: Study, number: int) -> None:
    config = json.loads((study.folder / "config.yaml").read_text())
    config["network"]["seeds"] = number
    (study.folder / "config.yaml").write_text(json.dumps(config))


def trainer(study: Study, number: int) -> int:
    """Process of a seed's training, which holds its lock, or 0."""
    lock = str(study.seed(number) / ".lock")
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if any(os.readlink(handle) == lock for handle in (process / "fd").iterdir()):
                return int(process.name)
    return 0


def catch(study: Study, seeds: set[int], seconds: float = 600) -> int:
    """Hold the first of these trainings that has saved a state (SIGSTOP); its seed."""

    def caught() -> list[int]:
        for number in sorted(seeds):
            if (study.seed(number) / "resume.safetensors").exists() and (pid := trainer(study, number)):
                os.kill(pid, signal.SIGSTOP)
                return [number]
        return []

    return wait("a training with a saved state", caught, seconds, 0.1)[0]


def let_go(study: Study, number: int) -> None:
    """Let a held training go on."""
    if pid := trainer(study, number):
        os.kill(pid, signal.SIGCONT)


def freeze(study: Study, number: int) -> Thread:
    """Let a training hang, whatever signal comes to wake it, until it is killed."""
    pid = trainer(study, number)

    def stop() -> None:
        with suppress(ProcessLookupError):
            while True:
                os.kill(pid, signal.SIGSTOP)
                time.sleep(0.005)

    thread = Thread(target=stop, daemon=True)
    thread.start()
    return thread
