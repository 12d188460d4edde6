"""Values: R 4.2, metafor 3.8 (rma, REML; test = knha / adhoc; predict), made apart from promet."""

import numpy as np
import pytest
from tests.oracles import oracle

from promet.evaluation.stats import meta

CASES = ("three_sites_auc", "two_sites_auc", "tau0_auc", "oe")


@pytest.mark.parametrize("name", CASES)
def test_metafor(name):
    right = oracle("pooling.json")[name]["result"]
    found = meta.pooled(np.array(right["yi"]), np.sqrt(right["vi"]))
    for mine, theirs in {"mean": "mu", "tau2": "tau2", "i2": "i2", "q": "q", "q_p": "q_p"}.items():
        assert found[mine] == pytest.approx(right[theirs], abs=1e-6)
    if right["k"] > 2:
        assert [found["se"], found["low"], found["high"]] == pytest.approx(
            [right["ad_hoc"][key] for key in ("se", "low", "high")], abs=1e-6
        )
        assert found["prediction"] == pytest.approx(right["prediction_k2_adhoc"], abs=1e-6)


def test_two_sites_have_no_interval():
    found = meta.pooled(np.array([1.6, 0.9]), np.array([0.35, 0.27]))
    assert (found["low"], found["high"], found["prediction"]) == (None, None, {"low": None, "high": None})


def test_one_site_is_itself():
    found = meta.pooled(np.array([0.4]), np.array([0.1]))
    assert (found["mean"], found["tau2"]) == (0.4, None)
    assert [found["low"], found["high"]] == pytest.approx(
        [0.4 - 1.959963984540054 * 0.1, 0.4 + 1.959963984540054 * 0.1]
    )


def test_reml_is_the_highest_point_of_the_likelihood():
    """Against a plain scan of the restricted likelihood written out as a normal density with the mean integrated out."""
    from scipy.stats import multivariate_normal

    rng = np.random.default_rng(8)
    for _ in range(6):
        k = int(rng.integers(2, 7))
        v = rng.uniform(0.01, 0.4, k)
        y = rng.normal(0, np.sqrt(v + rng.choice([0, 0.5])))
        contrasts = np.linalg.svd(np.ones((1, k)))[2][1:]  # orthonormal, each sums to 0
        scan = np.linspace(0, 3, 1001)
        heights = [
            multivariate_normal.logpdf(contrasts @ y, cov=contrasts @ np.diag(v + t) @ contrasts.T)
            for t in scan
        ]
        assert meta.reml(y, v) == pytest.approx(scan[int(np.argmax(heights))], abs=0.0016)


def test_the_interval_holds_what_it_says():
    """Eight sites of unequal size that differ clearly (where they hardly differ, prediction intervals of this kind are too narrow:
    Partlett & Riley, Stat Med 2017;36:301)."""
    rng, inside, predicted = np.random.default_rng(3), 0, 0
    for _ in range(600):
        v = rng.uniform(0.02, 0.2, 8)
        y = 0.9 + rng.normal(0, 0.8, 8) + rng.normal(0, np.sqrt(v))
        found = meta.pooled(y, np.sqrt(v))
        inside += found["low"] <= 0.9 <= found["high"]
        predicted += found["prediction"]["low"] <= 0.9 + rng.normal(0, 0.8) <= found["prediction"]["high"]
    assert 0.93 <= inside / 600 <= 0.985  # 0.95 and a little more, by the safeguard
    assert 0.89 <= predicted / 600 <= 0.975  # 0.55 without the between-site variance


@pytest.mark.parametrize("errors", [[0.1, 0.0], [0.1], [0.1, np.nan]])
def test_no_standard_error_is_refused(errors):
    with pytest.raises(ValueError):
        meta.pooled(np.array([0.1, 0.2]), np.array(errors))
