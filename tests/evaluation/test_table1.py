"""Table 1, missing values, sites and outliers."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import fisher_exact
from tests import tables
from typer.testing import CliRunner

from promet.core.files import read_json
from promet.core.sidecar import Sidecar
from promet.evaluation import table1
from promet.evaluation.cli import app
from promet.study.forms.tables import PATIENTS
from promet.study.ledger import Entry, append


def cohort(n: int = 60) -> tuple[dict[str, dict[str, str]], pd.DataFrame]:
    random = np.random.default_rng(0)
    rows, measured = {}, []
    for i in range(n):
        patient, y = f"P{i:03d}", i % 2
        role = "development" if i < 40 else "metachronous" if i < 55 else ""
        rows[patient] = {
            "patient": patient,
            "role": role,
            "site": "north" if i % 3 else "south",
            "tracer": "18F-DCFPyL",
            "age": str(random.integers(50, 80)),
            "psa": f"{np.exp(random.normal(2)):.3g}",
            "grade_group": "" if role == "development" and y and i < 24 else str(random.integers(1, 6)),
            "positive_cores_percent": "40",
            "clinical_t": "T2a",
            "primary_score": "3",
            "psma_expression": "2",
            "suv_peak_reader": "",
            "synchronous_metastasis": str(y) if role == "development" else "",
            "progression": str(y) if role == "metachronous" else "",
            "months": "" if role != "metachronous" else "12" if i == 40 else "20" if y else "60",
        }
        measured.append(
            [patient, np.exp(random.normal(2, 0.3)), np.exp(random.normal(0.7, 0.2)), 35.0, 2.0, 1.0]
        )
    columns = ["patient", "suv_max", "organ_suv_mean", "organ_ml", "lesion_ml", "lesion_count"]
    return rows, pd.DataFrame(measured, columns=columns)


def found(rows: dict, measures: pd.DataFrame, patients=None) -> dict:
    made = table1.study(table1.frame(rows, measures, patients, 48.0))
    json.dumps(made, allow_nan=False)
    return made


def test_groups_medians_and_counts() -> None:
    rows, measures = cohort()
    made = found(rows, measures)
    # one metachronous patient was followed for 12 months only
    assert {g["name"]: g["n"] for g in made["groups"]} == {
        "Development, no metastasis": 20,
        "Development, metastasis": 20,
        "Metachronous, no progression": 7,
        "Metachronous, progression": 7,
        "Metachronous, label unknown": 1,
        "Prospective": 5,
    }
    by = {(r["variable"], r["level"]): r for r in made["rows"]}
    psa = [float(rows[f"P{i:03d}"]["psa"]) for i in range(1, 40, 2)]
    q1, median, q3 = np.quantile(psa, [0.25, 0.5, 0.75])
    assert by["psa", None]["cells"][1] == f"{median:.1f} [{q1:.1f}, {q3:.1f}]"
    grades = [rows[f"P{i:03d}"]["grade_group"] for i in range(1, 40, 2)]
    share = 100 * grades.count("5") / sum(g != "" for g in grades)
    assert by["grade_group", "5"]["cells"][1] == f"{grades.count('5')} ({share:.1f})"
    assert by["grade_group", "1"]["missing"] == 12 and by["grade_group", "2"]["missing"] is None
    assert by["months", None]["cells"][0] == "–"
    # 12 of the 20 with metastases have no grade group: its percentages are of 8, and that is told
    assert (
        by["grade_group", "1"]["known"] == [48, 20, 8, 7, 7, 1, 5] and by["grade_group", "2"]["known"] is None
    )
    assert by["months", None]["known"] == [15, 0, 0, 7, 7, 1, 0] and by["age", None]["known"][0] == 60
    assert by["grade_group", "5"]["statistic"] == "n (% of known)"
    assert "SUVpeak, reader" in made["notes"][-1]


def test_patients_in_no_part_are_prospective_whatever_their_role(tmp_path) -> None:
    rows, measures = cohort()
    ledger = tmp_path / "ledger.tsv"
    assigned = {
        p: row["role"].replace("development", "test")
        for p, row in rows.items()
        if row["role"] and p != "P000"
    }
    append(
        ledger, [Entry(split, p, part, "", "", "") for split in ("00", "01") for p, part in assigned.items()]
    )
    measures["status"] = "ok"
    measures.loc[2, "status"] = "quarantined"

    def counts() -> tuple[int, int]:
        parts = table1.members(ledger, rows, measures)
        made = table1.study(table1.frame(rows, measures, None, 48.0, parts))
        by = {g["name"]: g["n"] for g in made["groups"]}
        return by["Development, no metastasis"], by["Prospective"]

    assert counts() == (19, 6)  # P000 came after the freeze
    # P002 is still quarantined and keeps the part; P004 was mended after the freeze, which left both out
    ledger.with_name("freeze.json").write_text(json.dumps({"name": "v1", "excluded": ["P002", "P004"]}))
    assert counts() == (18, 7)


def test_missing_that_differs_with_the_label_is_said() -> None:
    rows, measures = cohort()
    by = {r["variable"]: r for r in found(rows, measures)["missing"]}
    grade = by["grade_group"]
    assert (grade["n"], grade["groups"][:2]) == (12, [0, 12])
    assert grade["p"] == pytest.approx(fisher_exact([[12, 8], [0, 20]]).pvalue)
    assert "missing in 12 of 20 patients with and 0 of 20 without metastases" in grade["sentence"]
    assert by["psa"]["p"] is None and by["psa"]["sentence"] == ""


def test_a_wrong_site_and_a_wrong_patient_are_flagged() -> None:
    rows, measures = cohort()
    clean = found(rows, measures)
    assert not clean["outliers"] and not any(site["flags"] for site in clean["sites"])
    south = [rows[p]["site"] == "south" for p in measures["patient"]]
    measures.loc[south, "organ_suv_mean"] *= 3
    measures.loc[7, "suv_max"] *= 1000
    rows["P002"]["psa"] = "5000"
    made = found(rows, measures)
    flags = {site["site"]: site["flags"] for site in made["sites"]}
    # with two sites each differs from the other
    assert flags == {"north": ["organ_suv_mean"], "south": ["organ_suv_mean"]}
    odd = {(r["patient"], r["variable"]) for r in made["outliers"]}
    assert {("P007", "suv_max"), ("P002", "psa")} <= odd
    assert all(variable == "organ_suv_mean" for _, variable in odd - {("P007", "suv_max"), ("P002", "psa")})
    south_row = next(s for s in made["sites"] if s["site"] == "south")
    assert south_row["n"] == 20
    assert south_row["medians"]["organ_suv_mean"] == pytest.approx(
        measures.loc[south, "organ_suv_mean"].median()
    )


def test_acquisition_comes_from_the_records(tmp_path) -> None:
    rows, measures = cohort()
    for k, patient in enumerate(list(rows)[:10]):
        values = {"uptake_s": 3600.0 + 60 * k, "spacing_xyz_mm": [4.0, 4.0, 3.0 if k else 5.0]}
        Sidecar(stage="convert", pin="", values=values).write(tmp_path / patient / "convert.json")
    by = {(r["variable"], r["level"]): r for r in found(rows, measures, tmp_path)["rows"]}
    assert by["uptake_min", None]["overall"].startswith("64.5")
    assert by["voxel_mm", "4 × 4 × 5"]["overall"] == "1 (10.0)"
    grids = {row["voxel_mm"]: row for row in found(rows, measures, tmp_path)["scanners"]}
    assert {grid: row["n"] for grid, row in grids.items()} == {"4 × 4 × 5": 1, "4 × 4 × 3": 9}
    values = measures.set_index("patient")["organ_suv_mean"]
    assert grids["4 × 4 × 3"]["medians"]["organ_suv_mean"] == values[list(rows)[1:10]].median()


def test_tiny_and_empty_cohorts(tmp_path) -> None:
    rows, measures = cohort()
    one = found({"P000": rows["P000"]}, measures.head(1))
    assert one["groups"] == [{"name": "Development, no metastasis", "n": 1}] and one["rows"]
    assert found({}, measures.head(0))["rows"] == []
    bare = {"A": {"patient": "A", "role": ""}}
    assert found(bare, measures.head(0)[["patient"]])["rows"] == []


def test_command(tmp_path) -> None:
    rows, measures = cohort()
    pd.DataFrame(list(rows.values())).to_csv(tmp_path / "cohort.tsv", sep="\t", index=False)
    tables.write(PATIENTS, tmp_path / "patients.parquet", measures)
    digests = set()
    for name in ("one", "two"):
        out = tmp_path / name / "table1.json"
        arguments = ["--cohort", "cohort.tsv", "--measures", "patients.parquet"]
        paths = [a if a.startswith("--") else str(tmp_path / a) for a in arguments]
        result = CliRunner().invoke(app, ["table1", *paths, "--out", str(out)])
        assert result.exit_code == 0, result.output
        record = Sidecar.read(out)
        assert any("Whether the value is missing differs" in sentence for sentence in record.warnings)
        assert read_json(out.with_name("characteristics.json")) == found(rows, measures)
        digests.add(record.digest)
    assert len(digests) == 1
