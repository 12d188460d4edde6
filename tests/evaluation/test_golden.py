"""The same tables in R (pROC, survival, rms, glm, lowess): golden/generate.R says how golden.json was made."""

import importlib.util
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from promet.core.files import read_json
from promet.evaluation import survive
from promet.evaluation.stats import auc, calibration
from promet.study import concordance

HERE = Path(__file__).parent / "golden"
GOLDEN = read_json(HERE / "golden.json")
BINARY = sorted(name for name in GOLDEN if name.startswith("binary"))
SURVIVAL = sorted(name for name in GOLDEN if name.startswith("survival"))


def table(name: str) -> pd.DataFrame:
    return pd.read_csv(HERE / f"{name}.csv")


def test_golden_values_are_complete_and_small() -> None:
    assert len(BINARY) == 4 and len(SURVIVAL) == 3
    assert set(GOLDEN["versions"]) == {"R", "pROC", "survival", "rms"}
    assert sum(path.stat().st_size for path in HERE.iterdir() if path.is_file()) < 200_000


def test_tables_are_those_of_their_script() -> None:
    spec = importlib.util.spec_from_file_location("make_tables", HERE / "make_tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert sorted(module.TABLES) == BINARY + SURVIVAL
    for name, make in module.TABLES.items():
        pd.testing.assert_frame_equal(make(), table(name), check_dtype=False)


@pytest.mark.parametrize("name", BINARY)
def test_auc_and_delong_equal_proc(name: str) -> None:
    given, wanted = table(name), GOLDEN[name]
    y, a, b = (given[c].to_numpy(float) for c in ("label", "a", "b"))
    found = auc.record(y, a, bootstrap=100)
    assert found["auc"] == pytest.approx(wanted["auc"], abs=1e-12)
    areas, covariance = auc.delong_covariance(y, np.stack([a, b]))
    assert areas[1] == pytest.approx(wanted["auc_b"], abs=1e-12)
    assert covariance == pytest.approx(
        np.array([[wanted["variance"], wanted["covariance"]], [wanted["covariance"], wanted["variance_b"]]]),
        rel=1e-9,
    )
    interval = found["delong"]
    assert (interval["low"], interval["high"]) == pytest.approx((wanted["low"], wanted["high"]), abs=1e-9)
    pair = auc.paired(y, a, b)
    assert pair["z"] == pytest.approx(wanted["paired_z"], rel=1e-9)
    assert pair["p"] == pytest.approx(wanted["paired_p"], rel=1e-9)
    assert found["mann_whitney"]["u"] == wanted["mann_whitney_u"]
    assert found["mann_whitney"]["p_ties"] == pytest.approx(wanted["mann_whitney_p_ties"], rel=1e-9)


@pytest.mark.parametrize("name", BINARY)
def test_calibration_equals_glm_and_lowess(name: str) -> None:
    given, wanted = table(name), GOLDEN[name]
    y, lp = given["label"].to_numpy(float), given["lp"].to_numpy(float)
    found = calibration.record(y, 1 / (1 + np.exp(-lp)), lp, bootstrap=100)
    for key in ("slope", "intercept"):
        assert found[key]["value"] == pytest.approx(wanted[key], rel=1e-8)
        assert found[key]["se"] == pytest.approx(wanted[f"{key}_se"], rel=1e-8)
    assert found["slope"]["intercept"] == pytest.approx(wanted["slope_intercept"], rel=1e-8)
    for key in ("brier", "ici", "e50", "e90", "e_max"):
        assert found[key] == pytest.approx(wanted[key], rel=1e-9)


@pytest.mark.parametrize("name", BINARY)
def test_calibration_equals_rms(name: str) -> None:
    """val.prob stops its fit at 1e-7 and joins the smooth curve linearly over steps of 1 % of the range."""
    given, wanted = table(name), GOLDEN[name]["rms"]
    y, lp = given["label"].to_numpy(float), given["lp"].to_numpy(float)
    found = calibration.record(y, 1 / (1 + np.exp(-lp)), lp, bootstrap=100)
    assert found["brier"] == pytest.approx(wanted["brier"], abs=1e-12)
    assert found["slope"]["value"] == pytest.approx(wanted["slope"], rel=1e-6)
    assert found["slope"]["intercept"] == pytest.approx(wanted["intercept"], rel=1e-6)
    if (
        name == "binary_94_tied"
    ):  # its curve leaves [0, 1] at the ends: there val.prob counts on, promet does not
        assert found["e_max"] < wanted["e_max"] - 0.05 and found["ici"] == pytest.approx(
            wanted["ici"], abs=0.01
        )
    else:
        for key in ("ici", "e90", "e_max"):
            assert found[key] == pytest.approx(wanted[key], abs=2e-5)


@pytest.mark.parametrize("name", SURVIVAL)
def test_survival_equals_survival(name: str) -> None:
    given, wanted = table(name), GOLDEN[name]
    time, event = (given[c].to_numpy(float) for c in ("time", "event"))
    curve = survive.kaplan_meier(time, event)
    assert curve["curve"]["time"][1:] == pytest.approx(wanted["time"])
    assert curve["curve"]["survival"][1:] == pytest.approx(wanted["survival"], abs=1e-9)
    # log(-log) interval; where the curve is 0 or 1 neither has one
    for ours, theirs in (("low", "low"), ("high", "high")):
        pairs = [
            (a, b)
            for a, b, s in zip(curve["curve"][ours][1:], wanted[theirs], wanted["survival"], strict=True)
            if 1e-9 < s < 1
        ]
        assert [a for a, _ in pairs] == pytest.approx([b for _, b in pairs], abs=1e-9)
    for key in ("median", "median_low", "median_high"):
        assert curve[key] == (None if wanted[key] is None else pytest.approx(wanted[key]))
    found = survive.compare(time, event, given["group"].to_numpy(str), ["a", "b", "c"])
    assert found["logrank"]["statistic"] == pytest.approx(wanted["logrank"], rel=1e-9)
    assert found["logrank"]["p"] == pytest.approx(wanted["logrank_p"], rel=1e-9)
    assert found["groups"][0]["at_risk"]["n"][0] == (given["group"] == "a").sum()


@pytest.mark.parametrize("name", SURVIVAL)
def test_cox_and_c_index_equal_survival(name: str) -> None:
    given, wanted = table(name), GOLDEN[name]
    time, event, score = (given[c].to_numpy(float) for c in ("time", "event", "score"))
    found, _ = survive.cox(time, event, score)
    beta, se = wanted["coefficient"] * found["sd"], wanted["se"] * found["sd"]
    assert math.log(found["hazard_ratio"]) == pytest.approx(beta, abs=1e-6)
    assert math.log(found["high"] / found["low"]) == pytest.approx(2 * 1.959963984540054 * se, abs=1e-6)
    assert found["p"] == pytest.approx(wanted["p"], rel=1e-5)
    assert survive.concordance(time, event, score)[0] == pytest.approx(wanted["harrell"], abs=1e-12)


@pytest.mark.parametrize("name", SURVIVAL)
def test_uno_equals_survival(name: str) -> None:
    """With tied times too: the weight is G just before the event."""
    given, wanted = table(name), GOLDEN[name]
    time, event, score = (given[c].to_numpy(float) for c in ("time", "event", "score"))
    assert concordance.uno(time, event, score, 48.0) == pytest.approx(wanted["uno_48"], rel=1e-9)
    assert wanted["uno_48"] != pytest.approx(wanted["harrell"], abs=1e-3)


def test_medians_and_their_limits_equal_survfit() -> None:
    """500 small groups, of them with ties, times equal but for rounding, one patient, no event, one time, S at exactly 1/2."""
    given, wanted = pd.read_csv(HERE / "medians/groups.csv"), read_json(HERE / "medians/medians.json")
    wrong = []
    for k, rows in given.groupby("group"):
        time, event = (rows[c].to_numpy(float) for c in ("time", "event"))
        curve = survive.kaplan_meier(time, event, rows["level"].iloc[0])
        found = [curve[key] for key in ("median", "median_low", "median_high")]
        theirs = [wanted[key][k] for key in ("median", "low", "high")]
        if found != [None if x is None else pytest.approx(x, abs=1e-9) for x in theirs]:
            wrong.append((k, found, theirs))
    assert not wrong, wrong[:5]
    assert len(wanted["median"]) == 500 and wanted["high"].count(None) > 100 < wanted["low"].count(None)


def test_smooth_curve_equals_lowess_with_ties() -> None:
    """60 sets, of them with more than two thirds of the patients at one probability; in any order of the file."""
    given, wanted = pd.read_csv(HERE / "lowess/sets.csv"), read_json(HERE / "lowess/lowess.json")["sets"]
    crowded, random = 0, np.random.default_rng(0)
    for k, ordered in given.groupby("set"):
        rows = ordered.sample(frac=1, random_state=random)
        p, y = (rows[c].to_numpy(float) for c in ("p", "y"))
        found = calibration._smooth(y, p, np.unique(p))
        assert found == pytest.approx(np.clip(wanted[k], 0, 1), abs=1e-9), k
        crowded += np.unique(p, return_counts=True)[1].max() > 2 / 3 * len(p)
        if len(p) >= calibration.CURVE_N:
            record = calibration.record(y, p, bootstrap=2)
            assert record["ici"] is not None or y.min() == y.max()
    assert crowded >= 5


def test_groups_of_the_medians_are_those_of_their_script() -> None:
    spec = importlib.util.spec_from_file_location("make_groups", HERE / "medians/make_groups.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pd.testing.assert_frame_equal(module.groups(), pd.read_csv(HERE / "medians/groups.csv"))


def test_sets_of_the_curves_are_those_of_their_script() -> None:
    spec = importlib.util.spec_from_file_location("make_sets", HERE / "lowess/make_sets.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pd.testing.assert_frame_equal(module.sets(), pd.read_csv(HERE / "lowess/sets.csv"))
