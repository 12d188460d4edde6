"""Site effect and subgroups. Values: R 4.2 (manova, glm, pROC), made apart from promet."""

import numpy as np
import pandas as pd
import pytest
from statsmodels.multivariate.manova import MANOVA
from statsmodels.stats.multitest import multipletests
from tests.oracles import oracle, path

from promet.evaluation.stats import sites


def test_pillai_of_r():
    right = oracle("site_effect.json")["none"]
    table = pd.read_csv(path(right["file"]))
    measures = table.drop(columns=["site", "y"]).to_numpy()  # logged already
    found = sites.site_effect(measures, table["site"].to_numpy(), table["y"].to_numpy())
    assert found["pillai"] == pytest.approx(right["pillai"], abs=1e-9)
    assert (found["df"], found["p"]) == (
        right["pillai_df"],
        pytest.approx(right["p_permutation_R"], abs=0.05),
    )


def test_pillai_of_statsmodels():
    rng = np.random.default_rng(4)
    frame = pd.DataFrame(rng.normal(size=(60, 3)), columns=["a", "b", "c"])
    frame["site"], frame["y"] = np.tile(["A", "B", "C", "D"], 15), rng.integers(0, 2, 60)
    table = MANOVA.from_formula("a + b + c ~ C(y) + C(site)", frame).mv_test().results["C(site)"]["stat"]
    found = sites.site_effect(
        frame[["a", "b", "c"]].to_numpy() * [1, 100, 0.01], frame["site"], frame["y"], 19
    )
    assert found["pillai"] == pytest.approx(table.loc["Pillai's trace", "Value"], abs=1e-9)


def test_a_planted_site_is_found_and_none_is_not():
    """Prevalence differs between the sites and moves the measures: given the outcome there is nothing to see."""
    p = {0.0: [], 1.0: []}
    for effect, found in p.items():
        for seed in range(25):
            rng = np.random.default_rng(seed)
            site = np.repeat([0, 1, 2], 20)
            y = (rng.random(60) < np.array([0.2, 0.5, 0.8])[site]).astype(int)
            x = rng.normal(size=(60, 4)) + y[:, None] + effect * site[:, None]
            found.append(sites.site_effect(x, site, y, 99, seed)["p"])
    assert sum(x < 0.05 for x in p[1.0]) >= 24
    assert sum(x < 0.05 for x in p[0.0]) <= 5  # 1.25 expected


def test_one_site_says_nothing():
    assert sites.site_effect(np.ones((20, 2)), np.zeros(20), np.zeros(20)) is None


def test_interaction_of_r():
    right = oracle("misc.json")["subgroups"]
    table = pd.read_csv(path(right["file"]))
    lr = right["interaction_lr"]
    assert sites.interaction(table["y"], table["s"], table["g"]) == pytest.approx(
        (lr["statistic"], lr["p"]), abs=1e-9
    )


def test_no_interaction_in_one_group_or_a_separated_one():
    label, score = np.tile([0, 1], 20), np.arange(40.0)
    assert sites.interaction(label, score, np.zeros(40)) == (None, None)
    assert sites.interaction(label, score + 100 * label, np.arange(40) // 20) == (None, None)


def test_holm_of_statsmodels():
    p = [0.01, 0.04, 0.03, 0.5, 0.01]
    assert sites.holm(p) == pytest.approx(multipletests(p, method="holm")[1])
