"""Report and checklist of studies that learn something else than the paper: its words do not stand in them."""

import json
import re

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
    "survival": "Aalen-Johansen",
}

SAID = re.compile(r"(?i)metasta|metachron|synchron")


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


def plain(html):
    """What is read, without style, scripts, pictures and the values of the configuration that are kept as they were given."""
    html = re.sub(r"(?s)<(style|script)\b.*?</\1>", " ", html)
    html = re.sub(r'<th scope="row">(report\.title|split\.stratify)</th><td>[^<]*</td>', "", html)
    return re.sub(r'(src|href)="[^"]*"', "", html)


def test_nothing_says_metastases(made):
    _, html, checklist = made
    for text in (plain(html), json.dumps(checklist)):
        at = [text[max(0, m.start() - 90) : m.end() + 40] for m in SAID.finditer(text)]
        assert not at, "\n".join(at)


def test_curves_where_deaths_compete(made):
    block, html, _ = made
    if block is DEATH:
        assert (
            html.count('alt="Aalen-Johansen curves') == 2 and "<h3>Progression within 24 months</h3>" in html
        )
        assert "Aalen-Johansen curves" in html and "Gray&#39;s test" in html
        assert "Kaplan-Meier curves." not in html and "Log-rank," not in html
