"""A tiny study whose jobs are stand-ins, to be copied, edited and run."""

import contextlib
import fcntl
import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests import warm

from promet.workflow.stages import PATIENT_STAGES, STAGES

ROOT = Path(__file__).parents[2]
# What other networks would have given has its own test (test_asked.py).
CONFIG = {"study": "tiny", "cohort": "cohort.tsv", "network": {"seeds": 2, "hindsight": False}}
IMAGES = PATIENT_STAGES


def _as_in_the_log(stage: str, *at: str) -> str:
    if stage == "train":
        variant, split, seed = at
        return f"train {variant}/split-{split}/seed-{seed}"
    return f"{stage} {at[0]}" if stage in (*IMAGES, "bucket") else stage


class Study:
    """A project folder with a config, a table, sources and the stand-in command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.configfile = folder / "config.yaml"
        self.environment: dict[str, str] = {}
        self.winner_before = ""

    # what a person edits

    def rows(self) -> list[dict[str, str]]:
        header, *lines = (self.folder / "cohort.tsv").read_text().splitlines()
        return [dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines]

    def write_rows(self, rows: list[dict[str, str]]) -> None:
        lines = ["\t".join(rows[0]), *("\t".join(row.values()) for row in rows)]
        (self.folder / "cohort.tsv").write_text("\n".join(lines) + "\n")

    def set_cell(self, patient: str, **cells: str) -> None:
        self.write_rows([row | cells if row["patient"] == patient else row for row in self.rows()])

    def add(self, patient: str, **cells: str) -> None:
        for source in ("pet", "prostate"):
            path = self.folder / "images" / patient / source / "1"
            path.parent.mkdir(parents=True)
            path.write_text(f"{patient} {source}")
        blank = dict.fromkeys(self.rows()[0], "")
        where = {"pet": f"images/{patient}/pet", "prostate": f"images/{patient}/prostate"}
        self.write_rows([*self.rows(), blank | {"patient": patient} | where | cells])

    def configure(self, **sections) -> None:
        from promet.config import merge

        self.configfile.write_text(json.dumps(merge(json.loads(self.configfile.read_text()), sections)))

    # what a person runs

    def promet(self, *words: str) -> subprocess.CompletedProcess:
        return self._call("promet.cli", *words, "-c", str(self.configfile))

    def intake(self) -> None:
        """promet intake within this process: it is no business of these tests how it starts."""
        from promet.commands.intake import intake

        with contextlib.chdir(self.folder), contextlib.redirect_stdout(io.StringIO()):
            assert intake([self.configfile], False, False) == 0

    def plan(self):
        """What the configuration, the table and the registry ask for now."""
        from promet.config import load
        from promet.workflow.plan import Plan

        with contextlib.chdir(self.folder):
            return Plan(load([self.configfile]))

    def forecast(self, choices=None) -> tuple[set[str], set[str]]:
        """What ``promet run -n`` says: the jobs that will run and those that may, as ``ran`` names them."""
        from promet.workflow.choices import Choices
        from promet.workflow.forecast import forecast
        from promet.workflow.status import inspect

        with self._new_versions(), contextlib.chdir(self.folder):
            plan = self.plan()
            found = forecast(plan, inspect(plan), choices or Choices())
        return tuple({_as_in_the_log(*key) for key in keys} for keys in found)

    def snakemake(self, *words: str) -> subprocess.CompletedProcess:
        fixed = ("--snakefile", str(ROOT / "Snakefile"), "--configfile", str(self.configfile), "--cores", "4")
        return self._call("snakemake", *fixed, *words)

    @contextlib.contextmanager
    def _new_versions(self):
        """Raised versions of stages (raise_version) within this process, too."""
        from promet.workflow.stages import STAGES

        raised = (self.folder / "newer").is_dir()
        before = STAGES["crop"]
        STAGES["crop"] = replace(before, version=before.version + raised)
        try:
            yield
        finally:
            STAGES["crop"] = before

    def _call(self, module: str, *words: str) -> subprocess.CompletedProcess:
        environment = {**os.environ, "PROMET_BIN": str(self.folder / "bin"), **self.environment}
        command = [sys.executable, "-m", module, *words]
        if "PYTHONPATH" not in self.environment:
            return warm.call(command, self.folder, environment)
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )

    def ran(self) -> set[str]:
        """The jobs that ran since the last call, as 'stage where'."""
        log = self.folder / "runs.log"
        jobs = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        assert len(set(jobs)) == len(jobs), "a job ran twice"
        return {job.strip() for job in jobs}

    def ledger(self) -> dict[str, str]:
        """Patient -> part."""
        lines = (self.folder / "registry/tiny/ledger.tsv").read_text().splitlines()[1:]
        return {line.split("\t")[1]: line.split("\t")[2] for line in lines}

    def part(self, part: str) -> str:
        """The first patient of a part."""
        return next(name for name, their in self.ledger().items() if their == part)

    def winner(self) -> str:
        """The selected network."""
        return (self.folder / "results/tiny/select/split-00/model.json").read_text()

    def another_network_won(self) -> bool:
        """Since the edit."""
        return self.winner() != self.winner_before


def build(folder: Path) -> Study:
    """A tiny study before its intake: 8 development, 2 metachronous, 1 prospective; two seeds."""
    from promet.study.table import COLUMNS

    study = Study(folder)
    (study.folder / "bin").mkdir(parents=True)
    command = study.folder / "bin/promet"
    told = json.dumps({name: [(*STAGES[name].before, "")[0], STAGES[name].sources] for name in IMAGES})
    command.write_text(
        f"#!/bin/sh\nexport IMAGES='{told}'\nexec {sys.executable} -S -E '{Path(__file__).with_name('standin.py')}' \"$@\"\n"
    )
    command.chmod(0o755)
    study.configfile.write_text(json.dumps(CONFIG))
    (study.folder / "cohort.tsv").write_text("\t".join(COLUMNS) + "\n" + "\t".join("x" * len(COLUMNS)) + "\n")
    for i in range(8):
        study.add(
            f"D{i}",
            role="development",
            synchronous_metastasis=str(i % 2),
            psa=f"{i + 1}.5",
            age="60",
            site="a",
        )
    for i in range(2):
        study.add(
            f"M{i}", role="metachronous", progression=str(i), months="50", psa="7.5", age="61", site="b"
        )
    study.add("P0", psa="7.5", site="a")
    study.write_rows([row for row in study.rows() if row["patient"] != "x"])
    return study


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """The folder of a finished tiny study; made once for all processes of a test run."""
    base = tmp_path_factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = root / "tiny study"
    with open(root / "tiny.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / "tiny.finished").exists():
            shutil.rmtree(folder, ignore_errors=True)
            study = build(folder)
            study.intake()
            done = study.promet("run", "--cores", "4")
            assert done.returncode == 0, done.stdout + done.stderr
            assert len(study.ran()) == 11 * 6 + 2 + 2 + 11
            (root / "tiny.finished").touch()
    return folder


@pytest.fixture
def copy(finished, tmp_path):
    """Makes a study that is a copy of the finished one, times and Snakemake's records included."""

    def make(name: str) -> Study:
        folder = tmp_path / name
        shutil.copytree(finished, folder, symlinks=True)
        return Study(folder)

    return make
