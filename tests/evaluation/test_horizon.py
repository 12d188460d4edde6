"""Figures at a horizon against R (where the values lie beside the checkout) and against exact fractions, pair by pair."""

import csv
import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm

from promet.evaluation import survive
from promet.evaluation.stats import calibration, dynamic, horizon, product_limit
from promet.evaluation.stats.gray import gray
from promet.study import concordance, follow_up, outcome

ROOT = Path(__file__).parents[2]
ORACLES = next((p for p in (ROOT / "shared/oracles", ROOT.parent / "shared/oracles") if p.is_dir()), None)
CASES = sorted(json.loads((ORACLES / "horizon.json").read_text())) if ORACLES else ["none"]
oracles = pytest.mark.skipif(ORACLES is None, reason="R's values (shared/oracles) are not on this machine")


def close(found, wanted):
    """To 1e-9; null means null."""
    return found is None if wanted is None else found == pytest.approx(wanted, abs=1e-9)


@oracles
@pytest.mark.parametrize("name", CASES)
def test_equals_r(name):
    wanted = json.loads((ORACLES / "horizon.json").read_text())[name]
    with open(ORACLES / wanted["file"], newline="") as handle:
        rows = list(csv.DictReader(handle))
    time, event, score, p = (np.array([float(row[k]) for row in rows]) for k in "tesp")
    at, n = wanted["tau"], wanted["n"]
    assert follow_up.reached(time, at) == wanted["horizon_reached"]
    who = follow_up.known(time, event, at)
    assert (who.case.sum(), len(time)) == (wanted["events_by_tau"], n)
    assert close(follow_up.leaving(time, event, np.array([at]))[0], wanted["G_left_tau"])
    assert who.weight == pytest.approx(wanted["weights"], abs=1e-9)
    assert close(who.weight.sum(), wanted["sum_weights"])
    share, se = horizon.observed(time, event, at)
    assert close(share, wanted["observed_risk"]) and close(se, wanted["observed_se"])
    assert close((who.weight * who.case).sum() / n, wanted["ipcw_risk"])
    assert close(horizon.auc(who, score), wanted["auc"]["auc"])
    assert close(horizon.auc_se(who, score), wanted["auc"]["se_known_weights"])
    value, reference = horizon.brier(who, p, n), horizon.brier(who, share, n)
    assert close(value, wanted["brier"]) and close(reference, wanted["brier_null"])
    assert close(1 - value / reference, wanted["brier_scaled"])
    found = dynamic.calibrated(time, event, p, at)
    ratio = found["expected_observed"]
    assert close(found["mean_probability"], wanted["mean_p"]) and close(ratio["ratio"], wanted["EO"])
    assert close(ratio["log_se"], wanted["EO_log_se_greenwood"])
    assert close(ratio["low"], wanted["EO_low"]) and close(ratio["high"], wanted["EO_high"])
    for key in ("value", "se"):
        assert close(found["intercept"][key], wanted["ipcw_intercept"][key])
    for key in ("value", "se", "intercept"):
        assert close(found["slope"][key], wanted["ipcw_slope"][key])
    for mine, theirs in zip(found["groups"], wanted["groups"], strict=True):
        assert mine["n"] == theirs["n"] and close(mine["probability"], theirs["mean_p"])
        assert (mine["observed"] is not None) == theirs["reached"]
        # R's curve stops before the horizon in a group that is not followed so far; promet gives nothing there
        for key in {"observed", "low", "high", "se"} & theirs.keys() if theirs["reached"] else ():
            assert close(mine[key], theirs[key])
    for row in wanted["net_benefit"]:
        assert close(horizon.net_benefit(time, event, p, at, row["threshold"]), row["model"])
        assert close(horizon.treat_all(time, event, at, row["threshold"]), row["all"])
    if "harrell_tau" in wanted:
        value, pairs = concordance.harrell(time, event, score, at)
        assert close(value, wanted["harrell_tau"]) and pairs == wanted["harrell_pairs"]
        assert close(concordance.uno(time, event, score, at), wanted["uno_tau"])


@oracles
def test_competing_events_equal_r():
    for wanted in json.loads((ORACLES / "compete.json").read_text()).values():
        with open(ORACLES / wanted["file"], newline="") as handle:
            rows = list(csv.DictReader(handle))
        time, event = (np.array([float(row[k]) for row in rows]) for k in "te")
        for cause in (1, 2):
            times, share, se = product_limit.cumulative_incidence(time, event, cause)
            there = np.searchsorted(times, wanted["times"], side="right") - 1
            assert share[there] == pytest.approx(wanted["aalen_johansen"][f"cause{cause}"], abs=1e-9)
            assert se[there] == pytest.approx(wanted["aalen_johansen"][f"se{cause}"], abs=1e-9)
            found = gray(time, event, np.array([row["g"] for row in rows]), cause)
            for key, value in wanted["gray"][f"cause{cause}"].items():
                assert found[key] == pytest.approx(value, abs=1e-6)
            score = np.array([float(row["s"]) for row in rows])
            hazard, _ = survive.cox(time, (event == cause).astype(float), score)
            beta, model = (
                math.log(hazard["hazard_ratio"]) / hazard["sd"],
                wanted[f"cause_specific_cox_{cause}"],
            )
            assert beta == pytest.approx(model["coef"], abs=1e-6)
            spread = math.log(hazard["high"] / hazard["low"]) / (2 * 1.959963984540054) / hazard["sd"]
            assert spread == pytest.approx(model["se"], abs=1e-6)
        censored = 1 - np.array(
            [product_limit.kaplan_meier(time, event == 1).at(t)[0] for t in wanted["times"]]
        )
        assert censored == pytest.approx(wanted["one_minus_km_censoring_deaths"], abs=1e-9)
        group = np.array([row["g"] for row in rows])
        for name, values in wanted["by_group"].items():
            mine = group == name.removeprefix("g=")
            for row in values:
                assert close(horizon.observed(time[mine], event[mine], row["time"])[0], row["cause1"])


# ---- the rule written out in fractions, patient by patient; it shares no line with the code


def staying(time, event, before):
    """P(not left before ``before``): product over the times at which somebody left; events there are gone already."""
    left = Fraction(1)
    for u in sorted({t for t, e in zip(time, event, strict=True) if e == 0 and t < before}):
        risk = sum(t >= u for t in time) - sum(t == u and e > 0 for t, e in zip(time, event, strict=True))
        gone = sum(t == u and e == 0 for t, e in zip(time, event, strict=True))
        left *= 1 - Fraction(gone, risk)
    return left


def by_hand(time, event, score, p, at):
    """Weights, risk, AUC, its variance, Brier, Harrell, Uno as exact fractions."""
    everyone = range(len(time))
    status = []
    for t, e in zip(time, event, strict=True):
        if t <= at and e:
            status.append("case" if e == 1 else "control")
        else:
            status.append("control" if t >= at else "unknown")
    weight = [
        Fraction(0) if s == "unknown" else 1 / staying(time, event, min(t, at))
        for s, t in zip(status, time, strict=True)
    ]
    cases, controls = ([i for i in everyone if status[i] == s] for s in ("case", "control"))

    def above(i, j):
        return Fraction(score[i] > score[j]) + Fraction(score[i] == score[j], 2)

    w1, w0 = sum(weight[i] for i in cases), sum(weight[j] for j in controls)
    area = variance = None
    if cases and controls:
        area = sum(weight[i] * weight[j] * above(i, j) for i in cases for j in controls) / (w1 * w0)
        if min(len(cases), len(controls)) > 1:
            v1 = [weight[i] * (sum(weight[j] * above(i, j) for j in controls) / w0 - area) for i in cases]
            v0 = [weight[j] * (sum(weight[i] * above(i, j) for i in cases) / w1 - area) for j in controls]
            variance = Fraction(len(v1), len(v1) - 1) * sum(v * v for v in v1) / w1**2
            variance += Fraction(len(v0), len(v0) - 1) * sum(v * v for v in v0) / w0**2
    brier = sum(weight[i] * ((status[i] == "case") - p[i]) ** 2 for i in everyone) / len(time)
    won, total = [Fraction(0), Fraction(0)], [Fraction(0), Fraction(0)]
    for i in everyone:
        for j in everyone:
            rival = event[j] == 2 and time[j] <= time[i]
            later = time[j] > time[i] or (time[j] == time[i] and event[j] == 0) or rival
            if event[i] == 1 and time[i] <= at and later and i != j:
                g = staying(time, event, time[i])
                for k, w in enumerate((1, 1 / (g * (staying(time, event, time[j]) if rival else g)))):
                    won[k] += w * above(i, j)
                    total[k] += w
    c = [a / b if b else None for a, b in zip(won, total, strict=True)]
    risk = sum(weight[i] for i in cases) / len(time)
    return weight, risk, area, variance, brier, *c


@pytest.mark.parametrize("seed", range(40))
def test_equals_fractions(seed):
    """Whole months with many ties; every second set with competing events; the horizon is often somebody's last month."""
    random = np.random.default_rng(seed)
    n = int(random.integers(3, 13))
    time, score = random.integers(1, 9, n).tolist(), random.integers(0, 4, n).tolist()
    event = random.choice([0, 1, 2] if seed % 2 else [0, 1], n).tolist()
    p = [Fraction(int(k), 20) for k in random.integers(1, 20, n)]
    at = int(random.integers(1, max(time) + 1))
    weight, risk, area, variance, brier, c, uno = by_hand(time, event, score, p, at)
    t, e, s, q = (np.array(x, float) for x in (time, event, score, p))
    who = follow_up.known(t, e, at)
    assert who.weight == pytest.approx([float(w) for w in weight], rel=1e-12)
    # the two sums that make the rule right: of all weights, and of those of the cases
    assert sum(weight) == n
    assert horizon.observed(t, e, at)[0] == pytest.approx(float(risk), abs=1e-12)
    assert close(horizon.auc(who, s), None if area is None else float(area))
    se = horizon.auc_se(who, s)
    assert close(se, None if variance is None else math.sqrt(variance))
    assert close(horizon.brier(who, q, n), float(brier))
    assert close(concordance.harrell(t, e, s, at)[0], None if c is None else float(c))
    assert close(concordance.uno(t, e, s, at), None if uno is None else float(uno))


def test_the_papers_own_design_is_the_plain_thing():
    """Event-free patients followed exactly to the horizon: all weights 1, AUC and Brier those of two classes."""
    from promet.evaluation.stats import auc

    random = np.random.default_rng(1)
    time = np.r_[random.integers(1, 49, 10), np.full(13, 48)].astype(float)
    event, score = np.repeat([1.0, 0.0], [10, 13]), random.normal(size=23)
    p = 1 / (1 + np.exp(-score))
    who = follow_up.known(time, event, 48.0)
    assert who.weight.tolist() == [1.0] * 23
    plain = auc.record(event, score, bootstrap=100)
    assert horizon.auc(who, score) == pytest.approx(plain["auc"], abs=1e-12)
    assert horizon.auc_se(who, score) == pytest.approx(plain["delong"]["se"], rel=1e-12)
    binary = calibration.record(event, p, bootstrap=100)
    found = dynamic.record(time, event, score, 48.0, p, bootstrap=100)
    assert found["auc"][-1]["controls"] == 13 and found["auc"][-1]["auc"] == pytest.approx(plain["auc"])
    assert found["auc"][-1]["logit"] == pytest.approx(plain["logit"])
    assert found["brier"]["value"] == pytest.approx(binary["brier"], abs=1e-12)
    assert found["brier"]["scaled"] == pytest.approx(binary["brier_scaled"], abs=1e-12)
    at = found["calibration"]
    assert (at["n"], at["known"], at["cases"], at["controls"]) == (23, 23, 10, 13)
    for key, value in binary["expected_observed"].items():
        assert at["expected_observed"][key] == pytest.approx(value, abs=1e-12)
    for key in ("intercept", "slope"):
        assert at[key]["value"] == pytest.approx(binary[key]["value"], abs=1e-9)
    for row in at["net_benefit"]:
        acted, h = p >= row["threshold"], row["threshold"]
        share = (event[acted] == 1).sum() / 23 - (event[acted] == 0).sum() / 23 * h / (1 - h)
        assert row["model"] == pytest.approx(share, abs=1e-12)


def test_all_commands_draw_one_line_at_the_horizon():
    """Event at it: with; followed to it: without; left before: unknown. What differs by rounding only is the same month."""
    nearly = 4 * 12.000000000001
    assert nearly > 48 > 48 - 1e-10
    for months, event, label in [
        (48, 1, 1), (nearly, 1, 1), (48.1, 1, 0), (48, 0, 0), (48 - 1e-10, 0, 0), (47.9, 0, None), (47.9, 1, 1),
    ]:  # fmt: skip
        row = {"progression": str(event), "months": repr(float(months))}
        told = outcome.label(row, outcome.METACHRONOUS, 48.0)
        assert (None if math.isnan(told) else told) == label, (months, event)
        time, happened = np.array([months, 60.0, 20.0]), np.array([event, 0.0, 1.0])
        who = follow_up.known(time, happened, 48.0)
        assert (who.case[0], who.control[0]) == (label == 1, label == 0), (months, event)
        value = concordance.uno(time, happened, np.array([3.0, 1.0, 2.0]), 48.0)
        assert value == pytest.approx(concordance.harrell(time, happened, np.array([3.0, 1.0, 2.0]), 48.0)[0])


@pytest.mark.parametrize(
    ("time", "event"),
    [
        ([5, 9, 40, 47], [1, 1, 0, 0]),  # nobody is followed to 48
        ([5, 9, 40, 47], [1, 1, 1, 1]),
        ([5, 9, 47, 47], [1, 0, 1, 0]),
    ],
)
def test_nobody_followed_to_the_horizon_is_null_and_said(time, event):
    time, event = np.array(time, float), np.array(event, float)
    assert follow_up.known(time, event, 48.0) is None
    found = dynamic.record(time, event, np.arange(4.0), 48.0, np.full(4, 0.3), bootstrap=100)
    assert found["auc"][-1]["auc"] is None and found["uno"]["value"] is None
    assert found["brier"]["value"] is None and found["calibration"] is None
    assert any("Nobody is followed to 48" in note for note in found["notes"])


def test_last_event_and_last_end_of_follow_up_together():
    """The weights are those just before: nobody's is infinite, and figures at that very month exist."""
    time = np.array([3, 12, 20, 36, 36, 36], float)
    event = np.array([1, 0, 1, 1, 0, 0], float)
    score = np.array([3, 1, 4, 2, 1, 2], float)
    found = dynamic.record(time, event, score, 36.0, np.full(6, 0.5), bootstrap=100)
    # G is 4/5 after month 12: cases 1, 5/4, 5/4 against controls 5/4, 5/4
    area = (1 * 2 + 1.25 * 2 + 1.25 * 1.5) / (3.5 * 2)
    assert found["auc"][-1]["auc"] == pytest.approx(area, abs=1e-12)
    assert found["brier"]["value"] == pytest.approx(0.25, abs=1e-12)


def test_times_equal_but_for_rounding_are_one():
    assert 0.1 + 0.2 != 0.3
    time, at = follow_up.settled(np.array([0.1 + 0.2, 0.3, 5.0, 48 + 1e-12]), 48.0)
    assert time.tolist() == [0.3, 0.3, 5.0, 48.0] and at == 48.0
    months = np.array([1461.0, 365.25]) / 30.4375
    assert follow_up.settled(months, 48.0)[0].tolist() == [48.0, 12.0]
    assert len(np.unique(follow_up.settled(np.array([1.0, 1.001]))[0])) == 2


def test_incidence_without_competing_events_is_the_complement_of_the_curve():
    random = np.random.default_rng(0)
    time, event = random.integers(1, 20, 60).astype(float), random.integers(0, 2, 60)
    curve = product_limit.kaplan_meier(time, event)
    times, share, se = product_limit.cumulative_incidence(time, event)
    assert times.tolist() == curve.time.tolist() and share == pytest.approx(1 - curve.survival, abs=1e-12)
    known = np.isfinite(curve.log_se)
    assert se[known] == pytest.approx((curve.survival * curve.log_se)[known], abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_weighted_recalibration_equals_statsmodels_sandwich(seed):
    random = np.random.default_rng(seed)
    odds, weight = random.normal(-0.3, 1.3, 60), random.uniform(0.5, 3, 60)
    label = (random.random(60) < 1 / (1 + np.exp(-0.4 - 0.6 * odds))).astype(float)
    found, _ = calibration.slope(label, odds, 0.95, weight)
    family = sm.families.Binomial()
    theirs = sm.GLM(label, sm.add_constant(odds), family=family, var_weights=weight).fit(
        cov_type="HC0", tol=1e-13
    )
    assert (found["intercept"], found["value"]) == pytest.approx(tuple(theirs.params), rel=1e-7)
    assert found["se"] == pytest.approx(theirs.bse[1], rel=1e-6)
    found, _ = calibration.intercept(label, odds, 0.95, weight)
    theirs = sm.GLM(label, np.ones(60), family=family, var_weights=weight, offset=odds).fit(
        cov_type="HC0", tol=1e-13
    )
    assert (found["value"], found["se"]) == pytest.approx((theirs.params[0], theirs.bse[0]), rel=1e-6)
