"""Risk groups: cases worked out by hand from the published tables, what a missing value leaves open, and the command."""

import csv
import json
import math
import random
from pathlib import Path

import pytest
from typer.testing import CliRunner

from promet.evaluation.cli import app
from promet.evaluation.stats.risk_groups import GRADE_GROUPS, SYSTEMS, risk_groups

ROOT = Path(__file__).parents[2]
CASES = next(
    (p for p in (r / "shared/oracles/risk_groups.csv" for r in (ROOT, ROOT.parent)) if p.is_file()), None
)


def of(psa=6.0, grade=1, t="T1c", cores=20.0, primary=math.nan, secondary=math.nan, age=60.0):
    return risk_groups(psa, grade, primary, secondary, t, cores, age)


@pytest.mark.skipif(CASES is None, reason="the cases (shared/oracles) are not on this machine")
def test_cases_made_by_hand():
    with open(CASES, newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert rows
    for row in rows:
        numbers = [
            float(row[name] or "nan")
            for name in ("psa", "grade_group", "gleason_primary", "positive_cores_percent", "age")
        ]
        psa, grade, primary, cores, age = numbers
        found = risk_groups(psa, grade, primary, math.nan, row["clinical_t"], cores, age)
        key = {"nccn": "nccn_v2_2020"}.get(row["system"], row["system"])
        assert ("" if found[key] is None else str(found[key])) == row["group"], row["why"]


@pytest.mark.parametrize(
    ("values", "damico", "eau", "nccn"),
    [
        ({}, "low", "low", "low"),
        ({"psa": 10.0}, "low", "intermediate", "favourable intermediate"),
        ({"psa": 9.99, "t": "T2a"}, "low", "low", "low"),
        ({"psa": 20.0}, "intermediate", "intermediate", "favourable intermediate"),
        ({"psa": 20.01}, "high", "high", "high"),
        ({"grade": 2, "cores": 50.0}, "intermediate", "intermediate", "unfavourable intermediate"),
        ({"grade": 2, "cores": 49.9}, "intermediate", "intermediate", "favourable intermediate"),
        ({"grade": 2, "t": "T2b"}, "intermediate", "intermediate", "unfavourable intermediate"),
        ({"grade": 3}, "intermediate", "intermediate", "unfavourable intermediate"),
        ({"t": "T2c"}, "high", "high", "favourable intermediate"),
        ({"t": "T3a"}, "high", "locally advanced", "high"),
        ({"t": "T3b"}, "high", "locally advanced", "very high"),
        ({"t": "T4"}, "high", "locally advanced", "very high"),
        ({"t": "T4b"}, "high", "locally advanced", "very high"),
        ({"t": "T3a", "psa": 25.0}, "high", "locally advanced", "very high"),
        ({"grade": 5, "primary": 4.0, "secondary": 5.0}, "high", "high", "high"),
        ({"grade": 5, "primary": 5.0}, "high", "high", "very high"),
        ({"grade": 4, "primary": 5.0, "secondary": 3.0}, "high", "high", "very high"),
    ],
)
def test_edges(values, damico, eau, nccn):
    found = of(**values)
    assert (found["damico"], found["eau"], found["nccn_v2_2020"]) == (damico, eau, nccn)


@pytest.mark.parametrize(
    ("values", "damico", "eau", "nccn"),
    [
        ({"psa": math.nan}, None, None, None),
        ({"psa": math.nan, "t": "T3b"}, "high", "locally advanced", "very high"),
        ({"t": "T2"}, None, None, None),
        ({"t": "T1"}, "low", "low", "low"),
        ({"t": "T3"}, "high", "locally advanced", None),
        ({"t": "TX", "psa": 25.0}, "high", None, None),
        ({"cores": math.nan}, "low", "low", "low"),  # low asks for none
        ({"cores": math.nan, "grade": 2}, "intermediate", "intermediate", None),
        ({"cores": 0.3, "grade": 2}, "intermediate", "intermediate", None),  # a share, no percentage
        ({"grade": 5}, "high", "high", None),  # 4+5 or 5+4
        (
            {"grade": math.nan, "primary": 3.0, "secondary": 4.0},
            "intermediate",
            "intermediate",
            "favourable intermediate",
        ),
        ({"grade": 1, "primary": 4.0, "secondary": 4.0}, None, None, None),  # contradict each other
        ({"psa": -1.0}, None, None, None),
    ],
)
def test_a_missing_value_leaves_only_what_every_value_leads_to(values, damico, eau, nccn):
    found = of(**values)
    assert (found["damico"], found["eau"], found["nccn_v2_2020"]) == (damico, eau, nccn)
    assert found["notes"] or None not in (damico, eau, nccn)


def test_a_group_given_in_spite_of_a_gap_holds_whatever_the_value_was():
    """Whatever is filled in, also between the values that the code tries."""
    draw = random.Random(1)
    tried = 0
    for _ in range(400):
        a, b = draw.choice(list(GRADE_GROUPS))
        full = {
            "psa": draw.choice([0.5, 9.9, 10.0, 10.1, 19.9, 20.0, 20.1, 80.0]),
            "grade": GRADE_GROUPS[a, b],
            "primary": float(a),
            "secondary": float(b),
            "t": draw.choice(["T1a", "T1c", "T2a", "T2b", "T2c", "T3a", "T3b", "T4"]),
            "cores": draw.choice([5.0, 49.0, 50.0, 90.0]),
        }
        gone = draw.sample(list(full), draw.randint(1, 3))
        partial = of(
            **{
                key: value if key not in gone else "" if key == "t" else math.nan
                for key, value in full.items()
            }
        )
        whole = of(**full)
        for name in SYSTEMS:
            assert whole[name] is not None
            if partial[name] is not None:
                tried += 1
                assert partial[name] == whole[name], (full, gone)
    assert tried > 100


def test_the_grade_groups_are_those_of_isup():
    """Epstein et al., Am J Surg Pathol 2016;40:244: sum up to 6; 3+4; 4+3; 8; 9 and 10."""
    for (a, b), group in GRADE_GROUPS.items():
        wanted = {7: 2 if b == 4 else 3, 8: 4, 9: 5, 10: 5}.get(a + b, 1)
        if {a, b} <= {3, 4, 5}:
            assert group == wanted


def test_command(tmp_path):
    path = tmp_path / "cohort.tsv"
    path.write_text("patient\tpsa\tgrade_group\tclinical_t\nA\t6\t1\tcT1c\nB\t\t\t\n")
    done = CliRunner().invoke(app, ["risk-groups", str(path), "--json"])
    first, second = json.loads(done.stdout)
    assert (first["row"], first["damico"], first["eau"], first["nccn_v2_2020"]) == (1, "low", "low", "low")
    assert first["capra"] is None and "Missing: positive cores percent, age." in first["notes"]
    assert [second[key] for key in ("row", "damico", "eau", "nccn_v2_2020", "capra")] == [
        2,
        None,
        None,
        None,
        None,
    ]
    shown = CliRunner().invoke(app, ["risk-groups", str(path)])
    assert shown.exit_code == 0 and "NCCN v2.2020" in shown.stdout
