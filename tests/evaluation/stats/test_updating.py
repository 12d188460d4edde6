"""Closed test of updating. Values: R 4.2 (glm), made apart from promet; Wald statistics against statsmodels."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from tests.oracles import oracle, path

from promet.evaluation.stats import updating


@pytest.mark.parametrize("name", ["nothing", "slope"])
def test_r(name):
    right = oracle("updating.json")[name]
    table = pd.read_csv(path(right["file"]))
    parts = table.drop(columns="y").to_numpy()
    found = updating.closed_test(table["y"].to_numpy(), parts, right["prior_log_odds"])
    assert (found["choice"], found["n"], found["events"]) == (right["choice"], right["n"], right["events"])
    theirs = dict(
        zip(updating.METHODS, ("original", "in_the_large", "recalibration", "revision"), strict=True)
    )
    for mine, other in theirs.items():
        assert found["fits"][mine]["log_likelihood"] == pytest.approx(right["loglik"][other], abs=1e-6)
    assert found["fits"]["revision"]["coefficients"] == pytest.approx(right["revision"], abs=1e-6)
    # R's are changes of the model's whole log-odds, constant included.
    a0, again = right["prior_log_odds"], right["recalibration"]
    assert found["fits"]["intercept"]["coefficients"] == pytest.approx([a0 + right["intercept"]], abs=1e-6)
    assert found["fits"]["slope"]["coefficients"] == pytest.approx(
        [again["intercept"] + again["slope"] * a0, again["slope"]], abs=1e-6
    )
    for mine, other in zip(("keep", "intercept", "slope"), right["tests"].values(), strict=True):
        assert found["tests"][mine] == pytest.approx(other, abs=1e-6)


def drawn(n=400, intercept=0.0, slope=1.0, seed=1, p=3, weights=None):
    rng = np.random.default_rng(seed)
    parts = rng.normal(0, 0.9, (n, p))
    eta = intercept + slope * parts @ (np.ones(p) if weights is None else np.array(weights))
    return (rng.random(n) < 1 / (1 + np.exp(-eta))).astype(float), parts


@pytest.mark.parametrize(
    ("planted", "choice"),
    [
        ({}, "keep"),
        ({"intercept": 1.2}, "intercept"),
        ({"slope": 0.3}, "slope"),
        ({"weights": [0.0, 1.0, 2.5]}, "revision"),
    ],
)
def test_what_was_planted_is_chosen(planted, choice):
    """Most often: a true candidate is left at the test's own level."""
    chosen = [
        updating.closed_test(*drawn(800, seed=seed, **planted), constant=0.0)["choice"] for seed in range(30)
    ]
    assert chosen.count(choice) >= 24


@pytest.mark.parametrize(
    ("rarer", "cap", "choice"),
    [
        (9, "few", "keep"),
        (10, "some", "intercept"),
        (19, "some", "intercept"),
        (20, "parameters", "slope"),
        (40, None, "revision"),
    ],
)
def test_caps_lower_the_choice_to_the_largest_allowed(rarer, cap, choice):
    """A revision is what the patients ask for; 3 parts, so 40 of the rarer class carry it."""
    label, parts = drawn(4000, weights=[0.0, 1.0, 2.5], intercept=1.0)
    cases, controls = np.flatnonzero(label == 1), np.flatnonzero(label == 0)
    for mine in (np.r_[cases[:300], controls[:rarer]], np.r_[cases[:rarer], controls[:300]]):
        found = updating.closed_test(label[mine], parts[mine], constant=0.0)
        assert (found["tested"], found["choice"], found["cap"]) == ("revision", choice, cap)


def test_a_score_that_ranks_the_wrong_way_gets_no_slope():
    label, parts = drawn(600, slope=-1.0)
    found = updating.closed_test(label, parts, constant=0.0)
    assert (found["tested"], found["choice"], found["cap"]) == ("slope", "intercept", "slope")
    assert found["fits"]["slope"]["coefficients"][1] < 0


def test_separated_patients_change_nothing():
    parts = np.linspace(-2, 2, 60)[:, None]
    found = updating.closed_test((parts[:, 0] > 0).astype(float), parts, constant=0.0)
    assert (found["tested"], found["choice"], found["cap"]) == (None, "keep", "not_fitted")


def test_nobody_with_the_event():
    assert updating.closed_test(np.zeros(30), np.ones((30, 2)), 0.0)["choice"] == "keep"


def test_weighted_tests_are_those_of_statsmodels():
    label, parts = drawn(250, intercept=0.5, slope=0.8)
    weight = np.random.default_rng(2).uniform(1, 3, 250)
    found = updating.closed_test(label, parts, 0.1, weight)
    design = sm.add_constant(parts)
    fit = sm.GLM(label, design, family=sm.families.Binomial(), freq_weights=weight).fit(tol=1e-14)
    assert found["fits"]["revision"]["coefficients"] == pytest.approx(fit.params, abs=1e-8)
    # Sandwich with the weight squared in the meat: one patient is one patient, however heavy.
    bread = np.linalg.inv((design * (weight * fit.fittedvalues * (1 - fit.fittedvalues))[:, None]).T @ design)
    scores = design * (weight * (label - fit.fittedvalues))[:, None]
    fit.cov_params_default = bread @ scores.T @ scores @ bread
    for name, constraints in {
        "keep": (np.eye(4), [0.1, 1, 1, 1]),
        "intercept": (np.eye(4)[1:], [1, 1, 1]),
        "slope": (np.array([[0, -1, 1, 0], [0, -1, 0, 1]]), [0, 0]),
    }.items():
        test = fit.wald_test(
            (constraints[0], constraints[1]), use_f=False, cov_p=fit.cov_params_default, scalar=True
        )
        assert found["tests"][name]["statistic"] == pytest.approx(float(test.statistic), rel=1e-7)
        assert found["tests"][name]["p"] == pytest.approx(float(test.pvalue), rel=1e-6)


def test_a_patient_of_unknown_status_counts_nothing():
    label, parts = drawn(200)
    weight = np.ones(200)
    weight[:50] = 0
    shifted = np.where(np.arange(200)[:, None] < 50, parts + 100, parts)
    assert updating.closed_test(label, shifted, 0.0, weight) == updating.closed_test(
        label, parts, 0.0, weight
    )
