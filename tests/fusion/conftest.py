"""A small synthetic study as files."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests import tables

from promet.fusion.fuse import Inputs
from promet.study.forms.tables import PATIENTS, SCORES

PARTS = {
    "training": 40,
    "validation": 16,
    "test": 20,
    "metachronous": 12,
    "prospective": 2,
}
COLUMNS = [
    "patient",
    "role",
    "psa",
    "grade_group",
    "positive_cores_percent",
    "suv_peak_reader",
    "primary_score",
    "psma_expression",
    "synchronous_metastasis",
]


class Study:
    """Tables in memory; ``write`` puts them into the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        random = np.random.default_rng(11)
        self.cohort: list[dict[str, str]] = []
        self.ledger: list[dict[str, str]] = []
        measures, scores = [], []
        for part, count in PARTS.items():
            for i in range(count):
                y, patient = i % 2, f"P{len(self.cohort):03d}"
                role = "" if part == "prospective" else part if part == "metachronous" else "development"
                label = {"metachronous": "0", "prospective": ""}.get(part, str(y))
                numbers = [
                    np.exp(random.normal(2 + y, 0.7)),
                    random.integers(1, 5) + y,
                    random.uniform(5, 95),
                    random.integers(1, 6),
                    random.integers(0, 4),
                ]
                text = [f"{x:.4g}" for x in numbers]
                cells = [patient, role, *text[:3], "", *text[3:], label]
                self.cohort.append(dict(zip(COLUMNS, cells, strict=True)))
                self.ledger.append(
                    {
                        "split": "0",
                        "patient": patient,
                        "part": part,
                        "stratum": "",
                        "freeze": "one",
                        "date": "",
                    }
                )
                peak = float(np.exp(random.normal(2 + 0.5 * y, 0.5)))
                measures.append([patient, "ok", f"digest-{patient}", peak])
                scores.append([patient, f"digest-{patient}", random.normal(2 * y - 1, 1.5)])
        self.measures = pd.DataFrame(measures, columns=["patient", "status", "tensor_digest", "suv_peak"])
        self.scores = pd.DataFrame(scores, columns=["patient", "tensor_digest", "cnn_score"])

    def row(self, patient: str) -> dict[str, str]:
        return next(row for row in self.cohort if row["patient"] == patient)

    def of(self, part: str) -> list[str]:
        return [row["patient"] for row in self.ledger if row["part"] == part]

    def without_lesion(self, patient: str) -> None:
        self.measures.loc[self.measures["patient"] == patient, ["status", "tensor_digest", "suv_peak"]] = [
            "no-lesion",
            None,
            np.nan,
        ]
        self.scores = self.scores[self.scores["patient"] != patient]

    def write(self, name: str = "study") -> tuple[Inputs, Path]:
        """What fuse reads, for the present state of the tables, and where it writes."""
        home = self.folder / name
        home.mkdir(parents=True, exist_ok=True)
        for file, rows in (("cohort.tsv", self.cohort), ("ledger.tsv", self.ledger)):
            with (home / file).open("w", newline="", encoding="utf-8") as handle:
                writer = csv.DictWriter(handle, rows[0], delimiter="\t")
                writer.writeheader()
                writer.writerows(rows)
        tables.write(PATIENTS, home / "patients.parquet", self.measures)
        tables.write(SCORES, home / "scores.parquet", self.scores)
        made = (home / name for name in ("scores.parquet", "patients.parquet"))
        return Inputs(home / "cohort.tsv", home / "ledger.tsv", 0, *made), home / "fusion dir/fuse.json"


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(tmp_path)
