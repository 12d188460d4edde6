"""Where the effect curves turn, against scipy's densities at the known values."""

import numpy as np
import pandas as pd
from scipy.stats import norm

from promet.core.sidecar import Sidecar
from promet.report import doubts
from promet.report.read import Split
from promet.report.sections.inputs import bends, tables


def entry(m0, s0, m1, s1, **more):
    return {"mean": [m0, m1], "variance": [s0**2, s1**2], "seen": [18, 16], "dropped": "", **more}


def split_of(features, table, log=()):
    model = {"order": list(features), "features": features, "prior": [0.5, 0.5], "warnings": []}
    bayes = {"models": {"multimodal": model}, "log": list(log), "cnn_score_fitted_on": ["validation"]}
    return Split("00", bayes=bayes, predictions=pd.DataFrame(table))


def test_a_curve_turns_where_its_values_do():
    """Any two densities and any values, whole numbers too: told exactly where, from one known value to the next, the log-odds run against the means."""
    random, told = np.random.default_rng(0), 0
    for case in range(400):
        m0, m1 = random.normal(size=2) * 2
        s0, s1 = np.exp(random.normal(size=2))
        values = random.normal(np.r_[np.full(9, m0), np.full(9, m1)], np.r_[np.full(9, s0), np.full(9, s1)])
        values = np.round(values) if case % 2 else values
        fitted = random.random(len(values)) < 0.6
        found = bends.of_input("psa", entry(m0, s0, m1, s1), values, fitted)
        at = np.unique(values)
        steps = np.diff(norm.logpdf(at, m1, s1) - norm.logpdf(at, m0, s0))
        steps *= np.sign(m1 - m0)
        turns = (steps < 0).any()
        if found:
            told += 1
            (bend,) = found
            assert turns and bend.wider == int(s1 > s0) and bend.known == (fitted.sum(), (~fitted).sum())
            side = values < bend.at if bend.below else values > bend.at
            assert bend.beyond == ((side & fitted).sum(), (side & ~fitted).sum()) and side.any()
            # a hair beside the turn both sides are higher, or both lower
            near = bend.at + np.array([-1e-3, 0, 1e-3])
            low, here, high = norm.logpdf(near, m1, s1) - norm.logpdf(near, m0, s0)
            assert (low - here) * (high - here) > 0
            outer = values.min() if bend.below else values.max()
            gain = [norm.logpdf(x, m1, s1) - norm.logpdf(x, m0, s0) for x in (outer, bend.at)]
            assert np.isclose(bend.back, abs(gain[0] - gain[1]))
        elif turns:
            assert steps.min() > -bends.SEEN  # too little to show
    assert 50 < told < 350


def test_equal_spread_never_turns_and_equal_means_turn_twice():
    values = np.linspace(-3, 3, 20)
    assert bends.of_input("psa", entry(0, 1, 1, 1), values, values < 0) == []
    assert [b.below for b in bends.of_input("psa", entry(0, 1, 0, 2), values, values < 0)] == [True, False]
    assert bends.of_input("psa", entry(0, 1, 1, 2), np.array([]), np.array([], bool)) == []


def test_sentence_names_value_patients_and_reason():
    features = {
        "psma_expression": entry(1.944, 0.229, 2.6875, 0.583),
        "psa": entry(np.log(8), 1.0, np.log(20), 0.5),
        "cnn_score": entry(-1, 1, 1, 3),
        "suv_peak": entry(1, 1, 2, 1) | {"dropped": "left out"},
    }
    n = 20
    table = {
        "patient": [f"P{i}" for i in range(n)],
        "part": ["training"] * 10 + ["validation"] * 5 + ["test"] * 5,
        "psma_expression": [1.0, 1.0, *[2.0] * 9, *[3.0] * 4, *[0.0] * 2, *[2.0] * 3],
        "psa": [np.nan, 2.0, 90.0, *[10.0] * 12, *[900.0] * 5],
        "cnn_score": [-99.0] * 10 + [-1.0, 0.0, 1.0, 2.0, 3.0] + [0.0] * 5,
        "suv_peak": [1.0] * n,
    }
    split = split_of(features, table, log=["psa"])
    said = bends.sentences(split)
    assert len(said) == 2  # the network's -99 are of training patients, whom its densities did not see
    assert said[0].startswith(
        "PSMA expression score: the curve turns at 1.81. Below it a lower value argues more and more for metastases"
    )
    assert (
        "because its values vary more in patients with metastases. Beyond it: 2 of 15 fitted patients, 2 of 5 others; the lowest value"
        in said[0]
    )
    assert said[1].startswith(
        "PSA: the curve turns at 27.1 ng/ml. Above it a higher value argues more and more against metastases"
    )
    assert "Beyond it: 1 of 14 fitted patients, 5 of 5 others; the highest value" in said[1]
    features["psa"]["floored"] = [True, False]
    said = bends.sentences(split_of(features, table, log=["psa"]))
    assert (
        "only because the spread of all patients stands in for that of the patients without metastases"
        in said[1]
    )
    assert "its values vary more" in said[0]
    assert bends.sentences(Split("00")) == []


def test_a_floored_density_is_shown():
    features = {"psa": entry(2, 1, 3, 1.1, floored=[False, True]), "grade_group": entry(2, 1, 3, 1)}
    split = split_of(features, {"patient": ["P1"], "part": ["training"], "psa": [2.0], "grade_group": [1.0]})
    table = tables.densities(split)
    assert [row[2].endswith("*") for row in table.rows] == [True, False] and not table.rows[0][4].endswith(
        "*"
    )
    assert any(note.startswith("* The spread of all fitted patients together") for note in table.notes)
    split.records["fuse"] = Sidecar(stage="fuse", pin="", inputs={})
    found = doubts._fusion(split)
    assert (
        "to know how much they vary: PSA. There the spread of all fitted patients stands in."
        in found.sentence
    )
    del features["psa"]["floored"]
    assert doubts._fusion(split) is None
    assert not any(note.startswith("*") for note in tables.densities(split).notes)
