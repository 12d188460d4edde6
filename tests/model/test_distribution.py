"""Where a patient lies, against scipy and against drawn cohorts."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from promet.model import distribution, thresholds

FEATURES = ["cnn_score", "psa", "grade_group"]


def cohort(n, seed=0):
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "part": np.where(np.arange(n) % 3 == 0, "validation", "training"),
            "cnn_score": random.normal(0, 2, n),
            "psa": np.exp(random.normal(2, 0.7, n)),
            "grade_group": random.integers(1, 6, n).astype(float),
        }
    )


def images(n, seed=1):
    random = np.random.default_rng(seed)
    return pd.DataFrame({name: np.exp(random.normal(1, 0.3, n)) for name in distribution.IMAGE})


def built(n=300, **columns):
    table = cohort(n).assign(**columns)
    return distribution.build(table, FEATURES, ["psa"], ["validation"], images(n)), table


def test_means_and_spreads():
    found, table = built()
    psa = found["inputs"]["psa"]
    assert psa["mean"] == pytest.approx(np.log(table["psa"]).mean(), rel=1e-12)
    assert psa["sd"] == pytest.approx(stats.tstd(np.log(table["psa"])), rel=1e-12)
    assert found["inputs"]["cnn_score"]["n"] == 100  # of the validation part alone
    z = distribution.position(float(table["psa"][7]), psa)
    assert z["z"] == pytest.approx((np.log(table["psa"][7]) - psa["mean"]) / psa["sd"], rel=1e-12)
    assert z["percentile"] == pytest.approx(100 * stats.norm.cdf(z["z"]), rel=1e-9)


def test_patients_of_the_same_kind_are_spread_evenly():
    found, _ = built()
    others = cohort(2000, seed=5)
    percentiles = [
        distribution.position(x, found["inputs"]["psa"])["percentile"] / 100 for x in others["psa"]
    ]
    assert stats.kstest(percentiles, "uniform").statistic < 0.08
    far = [distribution.distance(row, found["inputs"]) for row in others[FEATURES].to_dict("records")]
    limit = found["distance"]["quantiles"]["0.95"]
    assert 0.02 < np.mean([value > limit for value in far]) < 0.09


def test_another_kind_of_patient_stands_out():
    found, _ = built()
    values = {"cnn_score": 0.0, "psa": 2000.0, "grade_group": 3.0}
    place = distribution.place(values, dict.fromkeys(distribution.IMAGE, 2.7), found)
    assert place["unusual"] and any(sentence.startswith("psa lies") for sentence in place["sentences"])
    assert "95%" in place["sentences"][-1]
    values["psa"] = 7.4
    place = distribution.place(values, dict.fromkeys(distribution.IMAGE, 2.7), found)
    assert not place["unusual"] and "nearer to the middle" in place["sentences"][-1]


def test_missing_values_do_not_count():
    found, _ = built()
    values = {"cnn_score": float("nan"), "psa": float(np.exp(2)), "grade_group": float("nan")}
    only = distribution.position(values["psa"], found["inputs"]["psa"])["z"]
    assert distribution.distance(values, found["inputs"]) == pytest.approx(abs(only), rel=1e-12)
    assert distribution.distance(dict.fromkeys(FEATURES, float("nan")), found["inputs"]) is None


def test_of_few_or_equal_values_nothing_is_told():
    found, _ = built(12, grade_group=[3.0] * 12)
    assert found["inputs"]["cnn_score"] is None  # four in the validation part
    assert found["inputs"]["grade_group"] is None
    assert found["inputs"]["psa"]["n"] == 12


def cut(includes, *limits):
    names = ["low", "high"] if len(limits) == 1 else ["low", "middle", "high"]
    rest = {"origin": "here", "patients": 9, "groups": names}
    return {"cuts": [{"name": "cut", "thresholds": list(limits), "includes": includes, **rest}]}


@pytest.mark.parametrize(
    ("cuts", "score", "group"),
    [
        (cut("upper", 1.0), 1.0, "high"),
        (cut("upper", 1.0), 0.999, "low"),
        (cut("lower", 1.0), 1.0, "low"),
        (cut("lower", 1.0, 2.0), 1.5, "middle"),
        (cut("lower", 1.0, 2.0), 2.0, "middle"),
        (cut("lower", 1.0, 2.0), 2.1, "high"),
    ],
)
def test_groups(cuts, score, group):
    assert thresholds.groups(cuts, score)["cut"]["group"] == group


def test_groups_are_those_of_the_survival_curves():
    from promet.evaluation.survive import cut as survival_cut

    scores = np.random.default_rng(2).normal(size=30)
    for kind in ("tertiles", "median"):
        limits, expected, _, _ = survival_cut(scores, kind)
        fixed = cut("lower", *limits)
        assert [thresholds.groups(fixed, score)["cut"]["group"] for score in scores] == expected.tolist()
