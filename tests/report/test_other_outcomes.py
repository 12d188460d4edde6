"""Report and checklist of studies that learn something else than the paper: its words do not stand in them."""

import json

import fake_study
import pytest

from promet.report.report import run

GRADE = {
    "learn": {"kind": "binary", "column": "high_grade"},
    "evaluate": {"grade": {"kind": "binary", "column": "high_grade"}},
    "words": {"high_grade": "grade group 4 or 5"},
}
OVER_TIME = {"event": "progression", "time": "months", "competing": "died"}
LEARN = {"kind": "time_to_event", **OVER_TIME, "edges": [12, 24, 36, 48]}
DEATH = {
    "learn": LEARN,
    "evaluate": {
        "four_years": LEARN,
        "two_years": {"kind": "by_horizon", **OVER_TIME, "horizon_months": 24},
        "persistence": {"kind": "binary", "column": "psa_persistence"},
    },
    "words": {"psa_persistence": "PSA persistence"},
}

ALT = {
    "roc": "ROC curves.",
    "forest": "AUCs with",
    "decision": "Decision curves.",
    "survival": "Kaplan-Meier",
}


@pytest.fixture(scope="module", params=[GRADE, DEATH], ids=["grade", "competing"])
def made(request, tmp_path_factory):
    fake = fake_study.make(tmp_path_factory.mktemp("other"), 60, 0, 2, 3, 10, outcome=request.param)
    run(*fake.arguments())
    checklist = json.loads((fake.study / "evaluation/checklist.json").read_text(encoding="utf-8"))
    return request.param, fake.out.with_name("report.html").read_text(encoding="utf-8"), checklist


def test_the_outcome_is_named(made):
    block, html, checklist = made
    learnt = "grade group 4 or 5" if block is GRADE else "progression within 48 months"
    assert learnt in html.lower() and learnt in json.dumps(checklist)
    for name in ("roc", "forest", "decision", *(["survival"] if block is DEATH else [])):
        assert f'alt="{ALT[name]}' in html
