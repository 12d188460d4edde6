"""A study whose records are written by hand: nothing runs, so that words about it can be tested in milliseconds."""

import contextlib
import json
from pathlib import Path

import pytest

from promet.commands.intake import intake
from promet.config import load
from promet.core.sidecar import Sidecar
from promet.study.table import COLUMNS
from promet.workflow import reasons as words
from promet.workflow.plan import Plan
from promet.workflow.stages import STAGES
from promet.workflow.status import inspect


class Paper:
    """A project folder; the working directory has to be in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: dict[str, dict[str, str]] = {}
        self.config: dict = {"study": "s", "cohort": "cohort.tsv", "network": {"seeds": 2}}
        for i in range(6):
            self.put(f"D{i}", role="development", synchronous_metastasis=str(i % 2), psa=f"{i + 1}.5")
        self.put("P0", psa="7")

    def put(self, patient: str, **cells: str) -> None:
        for source in ("pet", "prostate"):
            path = self.folder / patient / source / "1"
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"{patient} {source}")
        where = {"pet": f"{patient}/pet", "prostate": f"{patient}/prostate"}
        before = self.rows.get(patient, dict.fromkeys(COLUMNS, ""))
        self.rows[patient] = before | {"patient": patient} | where | cells
        self.save()

    def drop(self, patient: str) -> None:
        del self.rows[patient]
        self.save()

    def save(self) -> None:
        lines = ["\t".join(COLUMNS), *("\t".join(row.values()) for row in self.rows.values())]
        (self.folder / "cohort.tsv").write_text("\n".join(lines) + "\n")
        (self.folder / "config.yaml").write_text(json.dumps(self.config))

    @property
    def configfiles(self) -> list[Path]:
        return [Path("config.yaml")]

    def plan(self, **how) -> Plan:
        return Plan(load(self.configfiles), **how)

    def intake(self) -> None:
        with contextlib.redirect_stdout(None):
            intake(self.configfiles, False, False)

    def finish(self, **bad: str) -> None:
        """Write the record of every job as the plan wants it; ``bad``: patients quarantined by convert."""
        self.intake()
        plan = self.plan()
        for stage, at in plan.jobs():
            before = STAGES[stage].before[:1] if "patient" in at else ()
            inputs = {name: f"{at['patient']} {name}" for name in before}
            record = Sidecar(
                stage, plan.pin(stage, **at), digest=f"{at.get('patient')} {stage}", inputs=inputs
            )
            if "patient" in at and at["patient"] in bad:
                record.status, record.origin, record.code = "quarantined", "convert", bad[at["patient"]]
                record.reason, record.digest, record.inputs = "Broken.", None, dict.fromkeys(inputs)
            path = Path(plan.sidecar(stage, **at))
            path.parent.mkdir(parents=True, exist_ok=True)
            record.write(path)
        jobs = inspect(plan)
        assert {job.state for job in jobs} == {"fresh"}
        words.remember(plan, jobs, finished=True)

    def why(self) -> dict[str, str]:
        """Stage (and patient) -> why, of what is not fresh."""
        return {
            f"{job.stage} {job.at.get('patient', '')}".strip(): job.why
            for job in inspect(self.plan(lenient=True))
            if job.state != "fresh"
        }


@pytest.fixture
def paper(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Paper(tmp_path)
