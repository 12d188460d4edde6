"""Who the patients are: table 1 by cohort and label, what is missing, and what is odd at a site or in a patient.

characteristics.json (written by ``promet evaluation table1``)::

    schema: 1
    groups: [{name, n}]             columns of the table, in this order; empty groups are left out
    rows: [{variable, title, unit, statistic, level, missing, known, overall, cells}]
              statistic: "median [Q1, Q3]" or "n (% of known)"; level: the category, null for numbers; missing: patients without
              the value, known: [with it in all, in each group], both null on all but a variable's first row; overall: text;
              cells: texts, one per group. Percentages are of the known values
    missing: [{variable, title, n, total, groups: [n per group], p, sentence}]
              p: Fisher's exact test of missing against the label in the development cohort, null when that cannot be
              tested; sentence: "" unless p < 0.05: whether the value is missing then differs with the label
    sites: [{site, n, positives, negatives, medians: {VARIABLE: median | null}, flags: [VARIABLE, ...]}]
              flags: Mann-Whitney of this site against all others, p < 0.01 divided by the number of tests
    scanners: [{voxel_mm, n, ...}]  the same by the voxel of the PET, which stands for scanner and reconstruction
    outliers: [{patient, site, variable, title, value, z}]
              robust z = 0.6745 (x - median) / MAD of the logarithm, beyond 3.5 (Iglewicz & Hoaglin)
    notes: [sentence, ...]
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from promet.core.errors import IntegrityError
from promet.core.files import write_json
from promet.core.sidecar import Sidecar
from promet.core.stage import Outcome, run_stage
from promet.evaluation.settings import Evaluation
from promet.study.forms.tables import PATIENTS
from promet.study.ledger import ASSIGNED as DEVELOPMENT
from promet.study.outcome import PAPER, Binary, ByHorizon
from promet.study.outcome import Outcome as Outcomes
from promet.study.outcome import label as label_of
from promet.study.parts import of_study
from promet.study.table import by_patient, number

if TYPE_CHECKING:
    import pandas as pd

PRODUCT = "characteristics.json"
NUMBERS = {  # title, unit
    "age": ("Age", "years"),
    "psa": ("PSA", "ng/ml"),
    "positive_cores_percent": ("Positive cores", "%"),
    "suv_peak_reader": ("SUVpeak, reader", ""),
    "suv_max": ("SUVmax of the lesions", ""),
    "suv_peak": ("SUVpeak in the prostate", ""),
    "organ_suv_mean": ("SUVmean of the prostate", ""),
    "organ_ml": ("Prostate volume", "ml"),
    "lesion_ml": ("Lesion volume", "ml"),
    "uptake_min": ("Uptake time", "min"),
    "months": ("Follow-up", "months"),
}
CATEGORIES = {
    "grade_group": "Grade group",
    "clinical_t": "Clinical T",
    "primary_score": "PRIMARY score",
    "psma_expression": "PSMA expression score",
    "lesion_count": "Lesions",
    "voxel_mm": "Voxel of the PET, mm",
    "tracer": "Tracer",
    "site": "Site",
}
# What a scanner, a protocol or a wrong header would shift.
COMPARED = ("suv_max", "organ_suv_mean", "organ_ml", "lesion_ml", "uptake_min")
MISSABLE = (
    "age",
    "psa",
    "positive_cores_percent",
    "grade_group",
    "clinical_t",
    "primary_score",
    "psma_expression",
)
ODD, SITE_P, SMALL_SITE = 3.5, 0.01, 3


def groups(outcome: Outcomes = PAPER) -> tuple[str, ...]:
    """Columns of the table: development by what is learnt, metachronous by the first outcome in them, prospective."""
    learnt, later = outcome.noun(outcome.learn), _later(outcome)
    if learnt == "metastases":
        learnt = "metastasis"
    of_later = outcome.noun(later) if later else "outcome"
    kinds = (("Development", learnt), ("Metachronous", of_later))
    named = (f"{who}, {how}" for who, of in kinds for how in (f"no {of}", of, "label unknown"))
    return (*named, "Prospective")


def _later(outcome: Outcomes) -> Binary | ByHorizon | None:
    found = (aim for name, aim in outcome.aims.items() if outcome.patients_of(name) == "metachronous")
    return next(found, None)


def frame(
    cohort: dict[str, dict[str, str]],
    measures: pd.DataFrame,
    patients: Path | None,
    horizon: float,
    parts: dict[str, str] | None = None,
    outcome: Outcomes = PAPER,
) -> pd.DataFrame:
    """One row per patient: patient, group (of ``groups``), label (of the development cohort, else NaN) and every variable.

    ``parts``: patient -> part, who is not in it is prospective whatever the role; without it the role counts.
    """
    import pandas as pd

    measured = measures.set_index("patient")
    rows = []
    for patient, given in cohort.items():
        role = given.get("role", "")
        if parts is not None:
            part = parts.get(patient, "")
            role = "development" if part in DEVELOPMENT else part
        group, label = _group(role, given, horizon, outcome)
        row: dict[str, Any] = {"patient": patient, "group": group, "label": label}
        for name in NUMBERS:
            known = name in measured and patient in measured.index
            row[name] = (
                number(given, name) if name in given else measured.loc[patient, name] if known else None
            )
        for name in CATEGORIES:
            row[name] = given.get(name, "") or None
        if "lesion_count" in measured and patient in measured.index:
            count = measured.loc[patient, "lesion_count"]
            row["lesion_count"] = None if math.isnan(count) else f"{count:g}" if count < 3 else "3 or more"
        rows.append(row | _acquisition(patients, patient))
    table = pd.DataFrame(rows, columns=["patient", "group", "label", *NUMBERS, *CATEGORIES])
    return table.astype(dict.fromkeys(["label", *NUMBERS], "float64"))


def study(table: pd.DataFrame, outcome: Outcomes = PAPER) -> dict[str, Any]:
    """characteristics.json of ``frame``'s table."""
    names = [name for name in groups(outcome) if (table["group"] == name).any()]
    notes = [
        "No p values: a difference between the groups is described, not tested.",
        "The make of a scanner is not recorded; site (hospital or scanner), voxel size and uptake time stand for it.",
    ]
    empty = [name for name in (*NUMBERS, *CATEGORIES) if table[name].isna().all()]
    if empty:
        notes.append(f"In no patient: {', '.join(_title(name) for name in empty)}.")
    flagged = outliers(table)
    return {
        "schema": 1,
        "groups": [{"name": name, "n": int((table["group"] == name).sum())} for name in names],
        "rows": rows(table, names, [name for name in NUMBERS if name not in empty], empty),
        "missing": missing(table, names, outcome.noun(outcome.learn)),
        "sites": compared(table, "site"),
        "scanners": compared(table, "voxel_mm"),
        "outliers": flagged,
        "notes": notes,
    }


def rows(table: pd.DataFrame, names: list[str], numeric: list[str], empty: list[str]) -> list[dict[str, Any]]:
    """The rows of table 1, by tableone: medians with quartiles, counts with percent."""
    from tableone import TableOne

    categories = [name for name in CATEGORIES if name not in empty]
    if table.empty or not (numeric or categories):
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = TableOne(
            table[[*numeric, *categories, "group"]],
            columns=[*numeric, *categories],
            categorical=categories,
            continuous=numeric,
            nonnormal=numeric,
            groupby="group",
            order={"group": names, **{c: sorted(table[c].dropna().unique(), key=_order) for c in categories}},
            label_suffix=False,
            include_null=False,
        ).tableone
    made.columns = made.columns.get_level_values(-1)
    found = []
    counted = [table, *(table[table["group"] == group] for group in names)]
    for (name, level), cells in made.iterrows():
        if name == "n":
            continue
        missing_cell = str(cells["Missing"]).strip()
        title, unit = NUMBERS.get(name, (_title(name), ""))
        found.append(
            {
                "variable": name,
                "title": title,
                "unit": unit,
                "statistic": "median [Q1, Q3]" if name in NUMBERS else "n (% of known)",
                "level": None if name in NUMBERS else str(level),
                "missing": int(missing_cell) if missing_cell else None,
                "known": [int(here[name].notna().sum()) for here in counted] if missing_cell else None,
                "overall": _text(cells["Overall"]),
                "cells": [_text(cells[group]) for group in names],
            }
        )
    return found


def missing(table: pd.DataFrame, names: list[str], words: str) -> list[dict[str, Any]]:
    """Missing values per variable and group, and whether being missing differs with the label, called ``words``."""
    from scipy.stats import fisher_exact

    found = []
    known = table["label"].notna()
    case = table["label"] == 1
    for name in MISSABLE:
        gap = table[name].isna()
        row: dict[str, Any] = {
            "variable": name,
            "title": _title(name),
            "n": int(gap.sum()),
            "total": len(table),
            "groups": [int((gap & (table["group"] == group)).sum()) for group in names],
            "p": None,
            "sentence": "",
        }
        cells = [[int((known & c & g).sum()) for g in (gap, ~gap)] for c in (case, ~case)]
        sums = [sum(cells[0]), sum(cells[1]), cells[0][0] + cells[1][0], cells[0][1] + cells[1][1]]
        if min(sums) > 0:
            row["p"] = float(fisher_exact(cells).pvalue)
            if row["p"] < 0.05:
                row["sentence"] = (
                    f"{row['title']}: missing in {cells[0][0]} of {sums[0]} patients with and {cells[1][0]} of {sums[1]} without "
                    f"{words}. Whether the value is missing differs between the two, so that alone must never become an "
                    "input (naive Bayes leaves a missing value out)."
                )
        found.append(row)
    return found


def compared(table: pd.DataFrame, by: str) -> list[dict[str, Any]]:
    """Medians per group of a column, and which of them differ from all other groups together."""
    from scipy.stats import mannwhitneyu

    named = table[table[by].notna()]
    groups = dict(iter(named.groupby(by, sort=True)))
    tests = max(1, len(groups) * len(COMPARED))
    found = []
    for group, mine in groups.items():
        row: dict[str, Any] = {
            by: str(group),
            "n": len(mine),
            "positives": int((mine["label"] == 1).sum()),
            "negatives": int((mine["label"] == 0).sum()),
            "medians": {},
            "flags": [],
        }
        for name in COMPARED:
            here, others = mine[name].dropna(), named.loc[named[by] != group, name].dropna()
            row["medians"][name] = float(here.median()) if len(here) else None
            if min(len(here), len(others)) >= SMALL_SITE and here.nunique() + others.nunique() > 2:
                p = mannwhitneyu(here, others, method="asymptotic").pvalue
                if p < SITE_P / tests:
                    row["flags"].append(name)
        found.append(row)
    return found


def outliers(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Patients far from the others in one variable, by robust z of its logarithm."""
    found = []
    for name in ("psa", *COMPARED):
        values = table[name].to_numpy("float64")
        usable = np.isfinite(values) & (values > 0)
        if usable.sum() < 5:
            continue
        logs = np.log(values[usable])
        spread = np.median(np.abs(logs - np.median(logs)))
        if spread == 0:
            continue
        z = 0.6745 * (logs - np.median(logs)) / spread
        mine = table[usable]
        for k in np.flatnonzero(np.abs(z) > ODD):
            site = mine["site"].iloc[k]
            found.append(
                {
                    "patient": mine["patient"].iloc[k],
                    "site": site if isinstance(site, str) else "",
                    "variable": name,
                    "title": _title(name),
                    "value": float(values[usable][k]),
                    "z": float(z[k]),
                }
            )
    return found


@dataclass(frozen=True)
class Inputs:
    """What this stage reads."""

    cohort: Path  # patient table (TSV)
    measures: Path  # patients.parquet of gather
    patients: Path | None = None  # folder with one folder per patient: adds uptake time and voxel size
    ledger: Path | None = None  # split ledger: groups by part of the study instead of by role
    outcome: Outcomes = PAPER  # what is learnt and evaluated


def run(inputs: Inputs, settings: Evaluation, out: Path, pin: str) -> Sidecar:
    """Write characteristics.json beside ``out``, and the sidecar ``out`` last."""

    def work() -> Outcome:
        measured = PATIENTS.read(inputs.measures)
        rows = by_patient(inputs.cohort, inputs.outcome.extra)
        parts = members(inputs.ledger, rows, measured, inputs.outcome) if inputs.ledger else None
        table = frame(rows, measured, inputs.patients, settings.horizon_months, parts, inputs.outcome)
        found = study(table, inputs.outcome)
        product = out.with_name(PRODUCT)
        write_json(product, found)
        odd = [
            f"{row['site']}: {', '.join(map(_title, row['flags']))}" for row in found["sites"] if row["flags"]
        ]
        said = [row["sentence"] for row in found["missing"] if row["sentence"]]
        if odd:
            said.append(f"Sites that differ from the others: {'; '.join(odd)}.")
        return Outcome(
            products={"table1": product},
            values={
                "groups": found["groups"],
                "outliers": len(found["outliers"]),
                "sites": len(found["sites"]),
            },
            warnings=said,
        )

    gather = inputs.measures.with_name("gather.json")
    return run_stage(
        "table1",
        out,
        pin,
        work,
        upstream={"gather": gather} if gather.exists() else {},
        makes=(PRODUCT,),
        packages=("numpy", "scipy", "pandas", "pyarrow", "tableone"),
    )


def members(
    ledger: Path, rows: dict[str, dict[str, str]], measures: pd.DataFrame, outcome: Outcomes = PAPER
) -> dict[str, str]:
    """Patient -> part of the first split; a quarantined patient is counted in the part in which they were lost."""
    lost = set(measures.loc[measures["status"] == "quarantined", "patient"])
    found = of_study(ledger, rows, lost, outcome)
    return found[min(found)] if found else {}


def _group(role: str, row: dict[str, str], horizon: float, outcome: Outcomes) -> tuple[str, float]:
    """Column of table 1, and the label of a development patient (NaN otherwise)."""
    names, later = groups(outcome), _later(outcome)
    if role not in ("metachronous", "development"):
        return names[6], math.nan
    mine = role == "development"
    aim = outcome.learn if mine else later
    value = math.nan if aim is None else label_of(row, aim, horizon)
    place = 2 if math.isnan(value) else int(value)
    return names[place if mine else 3 + place], value if mine else math.nan


def _acquisition(patients: Path | None, patient: str) -> dict[str, Any]:
    """Uptake time and voxel size from the record of convert, where there is one."""
    path = patients / patient / "convert.json" if patients else None
    if path is None or not path.exists():
        return {}
    try:
        values = Sidecar.read(path).values
    except IntegrityError:
        return {}
    uptake, spacing = values.get("uptake_s"), values.get("spacing_xyz_mm")
    return {
        "uptake_min": uptake / 60 if uptake else None,
        "voxel_mm": " × ".join(f"{mm:.4g}" for mm in spacing) if spacing else None,
    }


def _title(name: str) -> str:
    return NUMBERS[name][0] if name in NUMBERS else CATEGORIES[name]


def _text(cell: object) -> str:
    text = str(cell)
    return "–" if "nan" in text else text.replace(",", ", ")


def _order(level: str) -> tuple[int, float, str]:
    try:
        return 0, float(level), level
    except ValueError:
        return 1, 0.0, level
