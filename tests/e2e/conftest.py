"""One small phantom study, run once through the real Snakefile, for all end-to-end tests."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIG = {
    "study": "small",
    "cohort": "cohort.tsv",
    "network": {"seeds": 2, "training": {"epochs": 4, "learning_rate": 0.001}},
    "evaluation": {"bootstrap": 200},
    "report": {"patient_level": True},
}
SIZE = {"development": 14, "metachronous": 5, "prospective": 1, "seed": 3, "effect": 2.0}


@dataclass
class Study:
    """A finished study and how to call promet and snakemake in it."""

    folder: Path
    configfile: Path
    size: dict[str, float]

    @property
    def results(self) -> Path:
        return self.folder / "results/small"

    def promet(self, *words: str) -> subprocess.CompletedProcess:
        return self._call("promet.cli", *words, "-c", str(self.configfile))

    def snakemake(self, *words: str) -> subprocess.CompletedProcess:
        fixed = ("--snakefile", str(ROOT / "Snakefile"), "--configfile", str(self.configfile))
        return self._call("snakemake", *fixed, *words)

    def _call(self, module: str, *words: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", module, *words]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def study(tmp_path_factory) -> Study:
    from promet.phantom.cohort import write_cohort

    folder = tmp_path_factory.mktemp("a study with spaces")
    write_cohort(folder, **SIZE, small=True)
    study = Study(folder, folder / "config.yaml", SIZE)
    study.configfile.write_text(json.dumps(CONFIG))
    for words in (("check",), ("intake",), ("run", "--cores", "2")):
        done = study.promet(*words)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return study
