"""The first screen's sentences follow from the numbers."""

import numpy as np
import pandas as pd
import pytest

from promet.core.sidecar import Sidecar
from promet.evaluation.stats.auc import paired as paired_test
from promet.evaluation.stats.auc import record as auc_record
from promet.evaluation.stats.calibration import record as calibration_record
from promet.report import calibrated, doubts, verdict, words
from promet.report.read import Split, Study
from promet.report.sections.flow import tables as flow
from promet.report.sections.scores import tables as scores
from promet.report.text import NBSP


def record(area, low=None, high=None, delong=None, rank=None, notes=()):
    return {
        "n": 23, "positives": 10, "negatives": 13, "auc": area, "notes": list(notes),
        "delong": {"low": low, "high": high, "p": delong, "se": 0.08}, "mann_whitney": {"p": rank},
    }  # fmt: skip


CALLED = {"progression": "progression", "synchronous_metastasis": "metastases"}


def section(multimodal, paired=None, outcome="progression", **more):
    return {
        "title": "Metachronous metastases", "outcome": outcome, "words": CALLED[outcome], "positives": 10, "negatives": 13, "n": 23, "excluded": [], "reason": "",
        "status": "ok", "scores": {"multimodal": multimodal}, "paired": paired or {}, **more,
    }  # fmt: skip


def metrics(**sections):
    titles = {"multimodal": "Multimodal", "clinical": "Clinical only", "suv_max": "SUVmax"}
    return {
        "confidence": 0.95, "horizon_months": 48.0, "order": list(titles), "sections": sections,
        "scores": {name: {"title": title} for name, title in titles.items()},
    }  # fmt: skip


def plain(text):
    return text.replace(NBSP, " ")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            record(0.84, 0.66, 1.0, 0.0001, 0.0064),
            "ranks better than chance (DeLong p < 0.001, Mann-Whitney p = 0.006)",
        ),
        (record(0.68, 0.45, 0.91, 0.12, 0.15), "includes 0.5"),
        (record(0.72, 0.51, 0.93, 0.04, 0.072), "the two tests against chance disagree"),
        (record(0.2, 0.05, 0.4, 0.001, 0.01), "the wrong way round"),
        (
            record(1.0, notes=["It separates perfectly."]),
            "The AUC is 1.00, without an interval. It separates perfectly.",
        ),
        (record(None, notes=["Nobody."]), "No AUC can be given. Nobody."),
    ],
)
def test_verdict(given, said):
    assert said in plain(words.verdict(section(given), 0.95))


def test_verdict_of_real_records():
    random = np.random.default_rng(0)
    label = np.r_[np.ones(10), np.zeros(13)]
    score = random.normal(0, 1, 23) + 1.5 * label
    assert "better than chance" in words.verdict(section(auc_record(label, score)), 0.95)
    assert "separates the classes perfectly" in words.verdict(section(auc_record(label, label)), 0.95)


def test_comparison():
    label = np.r_[np.ones(30), np.zeros(30)]
    good, bad = label + np.random.default_rng(0).normal(0, 0.7, 60), np.random.default_rng(1).normal(0, 1, 60)
    better = section(record(0.8), {"clinical": paired_test(label, good, bad)})
    assert words.comparison(better, metrics(), "clinical", 0.95).startswith("Better than the clinical score")
    worse = section(record(0.8), {"clinical": paired_test(label, bad, good)})
    assert words.comparison(worse, metrics(), "clinical", 0.95).startswith("Worse than")
    same = section(record(0.8), {"suv_max": paired_test(label, bad, bad)})
    assert words.comparison(same, metrics(), "suv_max", 0.95) == "No test against SUVmax is possible here."
    assert words.comparison(better, metrics(), "psa", 0.95) == ""


def test_answer_is_metachronous_else_synchronous_else_none():
    one, none = section(record(0.8, 0.6, 0.9)), section(record(None))
    assert words.lead_section(metrics(metachronous=one, synchronous=one))[0] == "metachronous"
    assert words.lead_section(metrics(metachronous=none, synchronous=one))[0] == "synchronous"
    assert words.lead_section(metrics(metachronous=none)) is None
    assert words.lead_section(None) is None


def study(site=("A", "B"), splits=2, **of_split):
    rows = [{"patient": f"P{i}", "site": site[i % len(site)]} for i in range(6)]
    made = [Split(f"{n:02d}", {f"P{i}": "training" for i in range(6)}) for n in range(splits)]
    for name, value in of_split.items():
        setattr(made[0], name, value)
    return Study("s", {}, rows, made), made[0]


def titles(*args):
    return {doubt.title: plain(doubt.sentence) for doubt in doubts.doubts(*args)}


def test_nothing_is_said_without_a_reason():
    assert titles(*study()) == {}


def test_size_interval_and_comparators():
    small = section(record(0.84, 0.45, 1.0, 0.1, 0.2), {"clinical": {"p": 0.4, "difference": 0.1}})
    found = titles(*study(metrics=metrics(metachronous=small)))
    assert "10 patients with progression and 13 without" in found["Few patients"]
    assert "includes 0.5" in found["Chance is not excluded"]
    assert "the clinical score (p = 0.40)" in found["Not better than simpler scores"]
    assert "Calibration not examined" in found
    large = section(
        record(0.84, 0.78, 0.9, 1e-9, 1e-9),
        {"clinical": {"p": 0.001, "difference": 0.1}},
        positives=200,
        negatives=300,
    )
    large["calibration"] = probabilities((0.8, 1.2), (-0.2, 0.3), 200, 300)
    assert set(titles(*study(metrics=metrics(metachronous=large)))) == {"Calibrated here only"}


def test_best_of_many_and_ties_and_fall():
    chosen = {"candidates": 50, "validation_auc": 0.9, "median_validation_auc": 0.7, "tied": 2}
    size = {"validation": 19, "validation_positive": 9}
    records = {"select": Sidecar("select", "", values=chosen), "dataset": Sidecar("dataset", "", values=size)}
    test = section(record(0.6), scores={"cnn_score": record(0.6)})
    found = titles(*study(records=records, metrics=metrics(synchronous=test)))
    assert (
        "expected to reach 0.80 at best" in found["Best of 50"]
        and "0.90 on 19 patients" in found["Best of 50"]
    )
    assert found["A tie decided"].startswith("2 runs")
    assert "from 0.90" in found["Lower on unseen patients"] and "to 0.60" in found["Lower on unseen patients"]
    records["select"].values.update(candidates=1, tied=1)
    assert "A single run" in titles(*study(records=records))


def test_one_split_one_site():
    assert {"One random split", "No second centre"} <= set(titles(*study(site=("A",), splits=1)))


def test_missingness_that_differs_with_the_outcome():
    table = pd.DataFrame(
        {"patient": [f"P{i}" for i in range(6)], "part": "training", "label": [0.0, 1.0] * 3}
    )
    table["grade_group"] = [1.0, np.nan, 2.0, np.nan, 2.0, 3.0]
    table["psa"] = 5.0
    found = titles(*study(predictions=table))
    said = found["Values are missing unevenly"]
    assert said.startswith("Whether a value is missing differs between the fitted patients with and without")
    assert "grade group (67 % with, 0 % without)" in said and "PSA" not in said
    table["grade_group"] = [1.0, 1.0, np.nan, np.nan, 2.0, 3.0]
    assert "grade group (2 of 6)" in titles(*study(predictions=table))["Missing values"]


def test_exclusions_and_warnings():
    whole, split = study()
    whole.exclusions = [
        {"patient": "P0", "status": "quarantined", "code": "E_X"},
        {"patient": "P1", "status": "no-lesion", "code": ""},
    ]
    whole.gather = Sidecar("gather", "")
    whole.records = [
        ("P2", Sidecar("crop", "", warnings=["x"])),
        ("", Sidecar("fuse", "", warnings=["y", "z"])),
    ]
    found = titles(whole, split)
    lost = "1 patient is excluded because of bad data. 1 patient has no lesion in the prostate and so no network score."
    assert found["Exclusions"].startswith(f"{lost} That is 33 % of 6.")
    assert plain(words.people(whole, split)).endswith(f" {lost}") and words.lost(whole) == lost
    whole.exclusions = whole.exclusions[1:]
    found = titles(whole, split)
    assert "Exclusions" not in found and "Nobody is excluded" in found["Patients without a network score"]
    assert words.lost(whole) in plain(words.people(whole, split))
    whole.exclusions, whole.gather = [], None
    assert "not been gathered yet" in words.people(whole, split)
    assert found["Warnings"].startswith("1 patient with a warning of an imaging stage and 2 warnings")
    assert "6 in development (6 training)" in words.people(whole, split)


def probabilities(slope, intercept, positives=60, negatives=70, notes=()):
    """CALIBRATION of the multimodal score; intervals, ``None`` = not estimable."""
    slope, intercept = (
        {"value": given and sum(given) / 2, "low": given and given[0], "high": given and given[1]}
        for given in (slope, intercept)
    )
    record = {
        "n": positives + negatives,
        "positives": positives,
        "negatives": negatives,
        "notes": list(notes),
    }
    return {"multimodal": {"before": record | {"slope": slope, "intercept": intercept}, "after": None}}


@pytest.mark.parametrize(
    ("given", "title", "said"),
    [
        (
            ((0.1, 0.4), (-0.5, 0.3)),
            "not right",
            "are too extreme: slope 0.25 (95 % CI 0.10 to 0.40; 1 = right), intercept −0.10 (−0.50 to 0.30; 0 = right)",
        ),
        (((1.1, 1.9), (-0.5, 0.3)), "not right", "are not extreme enough:"),
        (((0.8, 1.3), (-0.9, -0.3)), "not right", "are too high:"),
        (((0.1, 0.4), (0.2, 0.8)), "not right", "are too extreme and on average too low:"),
        (((0.1, 0.4), (-0.5, 0.3), 5, 9), "not right", "In 14 patients (5 with the outcome, 9 without)"),
        (((0.5, 1.5), (-0.5, 0.3), 49, 90), "cannot be judged", "is no proof"),
        (((0.5, 1.5), (-0.5, 0.3), 50, 90), "here only", "not shown to be wrong in 140 patients"),
        ((None, (-0.5, 0.3), 5, 5, ["It is infinite."]), "cannot be judged", "(5 with the outcome, 5 without). It is infinite."),
    ],
)  # fmt: skip
def test_calibration(given, title, said):
    found = calibrated.doubt({"calibration": probabilities(*given)}, 0.95)
    assert title in found[0] and said in plain(found[1])


def test_calibration_of_real_records():
    random = np.random.default_rng(1)
    risk = random.normal(0, 1.5, 600)
    label = (random.random(600) < 1 / (1 + np.exp(-risk))).astype(float)
    for factor, title in ((1.0, "Calibrated here only"), (3.0, "The probabilities are not right")):
        before = calibration_record(label, 1 / (1 + np.exp(-factor * risk)), factor * risk, bootstrap=1)
        found = calibrated.doubt({"calibration": {"multimodal": {"before": before, "after": None}}}, 0.95)
        assert found[0] == title
    nothing = {"multimodal": {"before": calibration_record(label[:0], label[:0]), "after": None}}
    assert "Nobody has both" in calibrated.doubt({"calibration": nothing}, 0.95)[1]
    assert calibrated.doubt({"calibration": {}}, 0.95) == calibrated.doubt(None, 0.95)


def test_benefit_and_advice():
    curves = {
        "n": 30, "thresholds": [0.1, 0.2, 0.3], "notes": ["Few."],
        "models": {
            "clinical": {"net_benefit": [0, 0, 0], "better_from": None, "better_to": None, "better_steps": 0},
            "multimodal": {"net_benefit": [1, 1, 0], "better_from": 0.1, "better_to": 0.2, "better_steps": 2},
        },
    }  # fmt: skip
    told = calibrated.benefit({"title": "Test part", "decision": curves}, {"multimodal": "Multimodal"})
    assert told == [
        "Test part, 30 patients. Multimodal: net benefit above both treating all and treating none at 2 of 3 thresholds, all of them "
        "between 0.10 and 0.20. clinical: net benefit above both treating all and treating none at no threshold. Few."
    ]
    assert calibrated.benefit({"title": "", "decision": None}, {}) == []
    assert calibrated.advice({"interval_advice": None, "scores": {}}) == calibrated.advice(None) == ""
    none = {"interval_advice": {"prefer": None, "sentence": "There is no interval."}, "scores": {}}
    assert calibrated.advice(none) == "There is no interval."


def test_a_network_without_spread_is_named():
    random = np.random.default_rng(0)
    table = pd.DataFrame({"patient": [f"P{i}" for i in range(30)], "part": "test", "label": [0.0, 1.0] * 15})
    for spread, said in ((0.02, True), (1.0, False)):
        table["cnn_score"] = random.normal(0.3, spread, 30)
        assert ("The network says nearly the same of everyone" in titles(*study(predictions=table))) == said
    table["part"] = "training"
    table["cnn_score"] = 0.3
    assert "The network says nearly the same of everyone" not in titles(*study(predictions=table))


def test_runs_without_skill_and_permuted_labels():
    runs = pd.DataFrame({"validation_auc": [0.8, 0.5, 0.4]})
    null = {"permutations": 199, "models": {"multimodal": {"observed": 0.6, "all": {"p": 0.105}}}}
    found = titles(*study(candidates=runs, permutation=null))
    assert found["Runs that learned nothing"].startswith("2 of 3 runs")
    assert "20 of 199 permutations" in found["Permuted labels do as well"]
    null["models"]["multimodal"]["all"]["p"] = 0.01
    assert titles(*study(candidates=runs[:1], permutation=null)) == {}


def test_state_of_the_study():
    whole = study()[0]
    assert words.state(whole).startswith("The study is open")
    whole.freeze = {"name": "v1", "date": "2026-05-02"}
    assert words.state(whole).startswith(
        "The study is frozen as v1 since 2 May 2026: patients added since then are scored"
    )


def test_lost_new_patients_are_named():
    whole, split = study()
    split.parts = {f"P{i}": "training" for i in range(3)}
    assert scores.lost_prospective(whole, split) == ""
    whole.exclusions = [
        {"patient": "P4", "status": "quarantined"},
        {"patient": "P0", "status": "quarantined"},
    ]
    assert "Of 3 new patients, 1 patient is excluded because of bad data" in scores.lost_prospective(
        whole, split
    )


def believed(multimodal, positives, negatives, *doubt, **more):
    told = metrics(metachronous=section(multimodal, positives=positives, negatives=negatives, **more))
    return [plain(text) for text in verdict.verdict(told, doubt)]


HEAVY = doubts.Doubt("", "", "it is not shown to be better than the clinical score")
SITE = doubts.Doubt("", "", "no second centre has tested it")
THIRD = doubts.Doubt("", "", "a third thing")
LIGHT = doubts.Doubt("One random split", "Another division.")


def test_verdict_says_whether_to_believe_it_and_why():
    assert believed(record(0.84, 0.66, 1.0, 0.0001, 0.0064), 9, 11, LIGHT, HEAVY) == [
        "As a hint, no more",
        "the score ranks these patients better than chance, but 9 patients with progression and 11 without leave any AUC from 0.66 to 1.00 "
        "possible and it is not shown to be better than the clinical score",
    ]
    assert believed(record(0.9, 0.82, 0.97, 0.0001, 0.001), 60, 70)[1].endswith(
        "but it rests on only 60 patients with progression and 70 without"
    )
    sure = record(0.84, 0.78, 0.9, 1e-9, 1e-9)
    assert believed(sure, 200, 300, LIGHT) == [
        "Yes, in patients like these",
        "the 95 % interval of the AUC (0.78 to 0.90) is narrow and rests on 200 patients with progression and 300 without",
    ]
    reserved = believed(sure, 200, 300, HEAVY, SITE, THIRD)
    assert reserved[0] == "With reservations" and reserved[1].endswith(
        f"but {HEAVY.clause} and {SITE.clause}"
    )
    assert believed(record(0.72, 0.45, 1.0, 0.1, 0.2), 1, 13) == [
        "Not yet",
        "from 1 patient with progression and 13 without the 95 % interval of the AUC (0.45 to 1.00) includes 0.5, so the score is not "
        "shown to beat chance",
    ]
    assert (
        "the rank test does not exclude chance (p = 0.072)"
        in believed(record(0.72, 0.51, 0.93, 0.04, 0.072), 10, 13)[1]
    )
    assert believed(record(0.2, 0.05, 0.4, 0.001, 0.01), 10, 13)[0] == "No"
    assert believed(record(1.0), 10, 13)[0] == "Not yet"  # no test either
    assert believed(record(None), 10, 13)[0] == verdict.verdict(None, ())[0] == "There is no answer yet"


@pytest.mark.parametrize(
    ("cases", "controls", "answer", "words_"),
    [
        (range(100, 150), range(50), "As a hint, no more", "exact Mann-Whitney p < 0.001"),
        (
            range(1000, 1300),
            range(300),
            "As a hint, no more",
            "(Mann-Whitney p < 0.001)",
        ),  # exact: out of reach
        (range(10, 20), range(8), "As a hint, no more", "first look for the outcome among the inputs"),
        (range(10, 12), range(2), "Not yet", "does not exclude chance (exact Mann-Whitney p = 0.33)"),
        (range(5), range(10, 15), "No", "the wrong way round (exact Mann-Whitney p = 0.008)"),
        ([99], range(60), "As a hint, no more", "from 1 patient with progression and 60 without no interval"),
        ([30], range(60), "Not yet", "does not exclude chance"),
        (range(60), [99], "No", "the wrong way round"),
        ([3, 3], [3, 3, 3], "Not yet", "neither an interval of the AUC nor a test"),
    ],
)
def test_without_an_interval_the_rank_test_answers(cases, controls, answer, words_):
    """A perfect separation or one patient of a class has no standard error; that is no reason to say chance is not excluded."""
    label = np.r_[np.ones(len(cases)), np.zeros(len(controls))]
    given = auc_record(label, np.r_[list(cases), list(controls)].astype(float), bootstrap=100)
    assert given["logit"]["low"] is None and given["bootstrap"]["low"] is None
    told = believed(given, len(cases), len(controls))
    assert told[0] == answer and words_ in told[1], told
    beaten = answer in ("As a hint, no more", "No")
    assert ("does not exclude chance" in told[1] or "neither" in told[1]) != beaten
    where = section(given, positives=len(cases), negatives=len(controls))
    said = plain(words.verdict(where, 0.95))
    assert ("The rank test excludes chance" in said) == beaten
    found = titles(*study(metrics=metrics(metachronous=where)))
    assert ("Chance is not excluded" in found) != beaten and ("No interval" in found) == beaten


def test_a_simpler_score_that_separates_as_well_is_a_doubt():
    label = np.repeat([1.0, 0.0], [10, 13])
    pair = paired_test(label, label, 2 * label)
    assert pair["difference"] == 0 and pair["p"] is None
    told = section(auc_record(label, label, bootstrap=100), {"clinical": pair})
    found = titles(*study(metrics=metrics(metachronous=told)))
    assert "AUC 1.00 against 1.00, no test possible" in found["Not better than simpler scores"]


def test_the_names_of_the_answer_are_told():
    split = study()[1]
    assert words.key(split).startswith("AUC: how often") and "naive Bayes" not in words.key(split)
    split.bayes = {"models": {"multimodal": {"order": ["cnn_score", "psa"]}, "clinical": {"order": ["psa"]}}}
    assert words.key(split).endswith(
        "Multimodal: naive Bayes of CNN score and PSA. CNN: the network's score alone. Clinical only: naive Bayes of PSA."
    )


def test_one_interval_is_quoted_everywhere():
    """The one that holds at this size decides; the sentences do not quote another."""
    given = record(0.75, 0.52, 0.98, 0.03, 0.03) | {"logit": {"low": 0.48, "high": 0.92}}
    more = {"interval_advice": {"prefer": "logit", "sentence": "Quote it."}}
    assert believed(given, 10, 13, **more)[0] == "Not yet"
    assert "down to 0.48" in words.verdict(section(given, **more), 0.95)
    found = titles(*study(metrics=metrics(metachronous=section(given, **more))))
    assert "0.48" in found["Chance is not excluded"]


def test_patients_of_a_role_who_are_in_no_part_are_named():
    whole, split = study()
    for row in whole.rows:
        row["role"] = "development"
    assert words.latecomers(whole, split) == ""
    split.parts.pop("P3")
    whole.freeze = {"name": "v1"}
    assert words.latecomers(whole, split).startswith(
        "1 prospective patient has the role development in the table"
    )
    assert "after the study was frozen" in words.latecomers(whole, split)


def grouped(by, flags):
    return [
        {by: name, "n": 5, "positives": 2, "negatives": 1, "medians": {"suv_max": 7.0, "uptake_min": None}, "flags": flag}
        for name, flag in zip(("a", "b"), flags, strict=True)
    ]  # fmt: skip


def test_sites_and_scanners_and_what_a_mark_means():
    whole = study()[0]
    whole.characteristics = {
        "sites": grouped("site", ([], ["suv_max"])),
        "scanners": grouped("voxel_mm", ([], [])),
    }
    sites, scanners = (flow.compared(whole, by) for by in flow.GROUPED)
    assert [row[3] for row in sites.rows] == ["7", "7 *"] and sites.notes[0].startswith(
        "* differs from all other sites"
    )
    assert scanners.head[0].startswith("Voxel") and not any(
        "*" in cell for row in scanners.rows for cell in row
    )
    assert scanners.notes[0].startswith("No median differs from all other voxel sizes")
    whole.characteristics["scanners"] = whole.characteristics["scanners"][:1]
    assert flow.compared(whole, "scanners") is None


def test_table_one_tells_of_how_many_its_shares_are():
    whole, _ = study()
    row = {"unit": "", "statistic": "", "missing": None, "known": None, "level": None}
    whole.characteristics = {
        "groups": [{"name": "A", "n": 20}, {"name": "B", "n": 20}],
        "rows": [
            row | {"title": "Age", "missing": 0, "known": [40, 20, 20], "overall": "70 [60, 80]", "cells": ["70 [60, 80]", "71 [61, 81]"]},
            row | {"title": "PSA", "missing": 5, "known": [35, 20, 15], "overall": "9 [8, 10]", "cells": ["9 [8, 10]", "9 [8, 10]"]},
            row | {"title": "Grade group", "level": "1", "missing": 12, "known": [28, 20, 8], "overall": "14 (50.0)", "cells": ["10 (50.0)", "4 (50.0)"]},
            row | {"title": "Grade group", "level": "2", "overall": "14 (50.0)", "cells": ["10 (50.0)", "4 (50.0)"]},
        ],
        "notes": [],
    }  # fmt: skip
    made = flow.characteristics(whole)
    age, psa, grade, first, _ = ([plain(cell) for cell in cells] for cells in made.rows)
    assert not any("of" in cell for cell in age)
    assert [cell.split("\n")[-1] for cell in psa[1:4]] == ["of 35", "[8, 10]", "of 15"]
    assert grade[1:] == ["of 28", "", "of 8", "12"] and first[1:4] == ["14 (50.0)", "10 (50.0)", "4 (50.0)"]
    assert "whose value is known" in made.caption
