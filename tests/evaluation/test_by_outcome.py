"""Sections, survival and table 1 of any outcome; by a horizon that some left before, against R (tests/evaluation/test_horizon)."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lifelines import KaplanMeierFitter
from statsmodels.duration.hazard_regression import PHReg
from statsmodels.stats.proportion import proportion_confint

from promet.core.files import as_json
from promet.evaluation import evaluate, survive, table1
from promet.evaluation.settings import Evaluation
from promet.evaluation.stats import operating, over_time, weighted
from promet.study import follow_up
from promet.study.forms import shapes
from promet.study.forms.metrics import Metrics
from promet.study.forms.survival import Survival
from promet.study.outcome import Outcome

SETTINGS = Evaluation(bootstrap=100)
ROOT = Path(__file__).parents[2]
ORACLES = next((p for p in (ROOT / "shared/oracles", ROOT.parent / "shared/oracles") if p.is_dir()), None)
CASES = sorted(json.loads((ORACLES / "horizon.json").read_text())) if ORACLES else ["none"]
oracles = pytest.mark.skipif(ORACLES is None, reason="R's values (shared/oracles) are not on this machine")


def close(found, wanted):
    """To 1e-9; null means null."""
    return found is None if wanted is None else found == pytest.approx(wanted, abs=1e-9)


def read(wanted):
    with open(ORACLES / wanted["file"], newline="") as handle:
        rows = list(csv.DictReader(handle))
    return [np.array([float(row[k]) for row in rows]) for k in "tesp"]


@oracles
@pytest.mark.parametrize("name", CASES)
def test_the_records_of_a_section_equal_r(name):
    wanted = json.loads((ORACLES / "horizon.json").read_text())[name]
    time, event, score, p = read(wanted)
    at = wanted["tau"]
    found = weighted.record(time, event, at, score, bootstrap=100)
    assert close(found["auc"], wanted["auc"]["auc"])
    assert close(found["delong"]["se"], wanted["auc"]["se_known_weights"])
    fit = weighted.calibration(time, event, at, p, np.log(p / (1 - p)))
    for mine, theirs in (("observed", "observed_risk"), ("brier", "brier"), ("brier_scaled", "brier_scaled")):
        assert close(fit[mine], wanted[theirs])
    assert close(fit["expected_observed"]["ratio"], wanted["EO"])
    assert close(fit["slope"]["value"], wanted["ipcw_slope"]["value"]) and fit["ici"] is None
    thresholds = tuple(row["threshold"] for row in wanted["net_benefit"])
    curves = weighted.decision(time, event, at, {"m": p}, thresholds)
    for k, row in enumerate(wanted["net_benefit"]):
        assert close(curves["models"]["m"]["net_benefit"][k], row["model"])
        assert close(curves["treat_all"][k], row["all"])
    pair = weighted.paired(time, event, at, score, score)
    assert (pair["difference"], pair["se"]) == (0, 0) and close(pair["auc_b"], wanted["auc"]["auc"])


def table(time, event, score, p=None, part="metachronous", competing=False):
    """What evaluate and survive read, of these patients."""
    names = [f"P{k:03d}" for k in range(len(time))]
    cohort = {
        name: {
            "patient": name,
            "role": part,
            "progression": f"{float(e == 1):g}",
            "died": f"{float(e == 2):g}" if competing else "",
            "months": repr(float(t)),
            "synchronous_metastasis": "",
        }
        for name, t, e in zip(names, time, event, strict=True)
    }
    predictions = pd.DataFrame({"patient": names, "part": part, "label": np.nan, "multimodal": score})
    predictions["multimodal_probability"] = 1 / (1 + np.exp(-np.asarray(score))) if p is None else p
    for name in ("cnn_score", "suv_peak", "psa"):
        predictions[name] = np.arange(len(time), dtype=float)
    measures = pd.DataFrame({"patient": names, "suv_max": 1.0, "status": "ok"})
    return cohort, predictions, measures


def judged(cohort, predictions, measures, outcome):
    metrics, _ = evaluate.study(cohort, predictions, measures, SETTINGS, outcome)
    scores = {r.patient: (r.part, r.multimodal) for r in predictions.itertuples()}
    survival = survive.study(cohort, scores, SETTINGS, outcome)
    for kind, made in ((Metrics, metrics), (Survival, survival)):
        assert shapes.checked(kind, as_json(made), "made") == json.loads(as_json(made))
    return metrics, survival


@oracles
def test_the_papers_design_has_its_figures():
    """Event-free patients followed exactly 48 months: section and curve over time say the same, .546154 (R)."""
    wanted = json.loads((ORACLES / "horizon.json").read_text())["b_admin48_48"]
    time, event, score, _ = read(wanted)
    metrics, survival = judged(*table(time, event, score), Outcome())
    section = metrics["sections"]["metachronous"]
    assert section["scores"]["multimodal"]["auc"] == pytest.approx(0.546154, abs=5e-7)
    assert survival["dynamic"]["auc"][-1]["time"] == 48
    assert survival["dynamic"]["auc"][-1]["auc"] == pytest.approx(section["scores"]["multimodal"]["auc"])
    assert (section["unknown"], section["positives"] + section["negatives"]) == (0, len(time))


def test_a_horizon_that_nobody_reaches_is_null_and_said():
    random = np.random.default_rng(4)
    time, event = random.uniform(1, 40, 30), (np.arange(30) % 2).astype(float)
    metrics, survival = judged(*table(time, event, random.normal(size=30)), Outcome())
    section = metrics["sections"]["metachronous"]
    for record in section["scores"].values():
        assert record["auc"] is None and record["logit"] == {"low": None, "high": None}
        assert any("Nobody is followed to 48 months" in note for note in record["notes"])
    fit = section["calibration"]["multimodal"]["before"]
    assert [fit[key] for key in ("observed", "brier", "brier_scaled")] == [None] * 3
    assert section["decision"]["treat_all"] == [] and survival["dynamic"]["brier"]["value"] is None
    assert survival["dynamic"]["calibration"] is None and survival["status"] == "ok"


def test_with_everyone_followed_a_section_is_that_of_labels():
    random = np.random.default_rng(5)
    event = (np.arange(40) % 3 == 0).astype(float)
    time, score = np.where(event == 1, random.uniform(1, 47, 40), 48.0), random.normal(size=40)
    plain, _ = judged(*table(time, event, score), Outcome())
    weights = weighted.record(time, event, 48.0, score, bootstrap=100)
    mine = plain["sections"]["metachronous"]["scores"]["multimodal"]
    assert mine["auc"] == pytest.approx(weights["auc"], abs=1e-12)
    assert mine["delong"]["se"] == pytest.approx(weights["delong"]["se"], abs=1e-12)
    assert mine["mann_whitney"]["p"] is not None and mine["roc"] == weights["roc"]


COMPETE = {
    "kind": "time_to_event", "event": "progression", "time": "months", "competing": "died", "horizon_months": 48,
}  # fmt: skip


@oracles
def test_competing_deaths_in_the_learnt_outcome():
    """Aalen-Johansen instead of 1 - Kaplan-Meier, Gray instead of log-rank (R's values)."""
    wanted = json.loads((ORACLES / "compete.json").read_text())["comp_months48"]
    time, event, score, p = read(wanted)
    outcome = Outcome.model_validate({"learn": COMPETE, "evaluate": {"progression": COMPETE}})
    cohort, predictions, measures = table(time, event, score, p, "test", competing=True)
    metrics, survival = judged(cohort, predictions, measures, outcome)
    assert (metrics["primary"], metrics["later"]) == ("progression", "")
    keys = ["progression", "progression_training", "progression_validation", "prospective"]
    assert metrics["section_order"] == keys
    section = metrics["sections"]["progression"]
    assert section["title"] == "Progression within 48 months, test part" and section["horizon"] == 48
    assert (survival["name"], survival["part"], survival["competing"]) == (
        "progression",
        "test",
        int(((event == 2) & (time <= 48)).sum()),
    )
    risk = wanted["aalen_johansen"]["cause1"][wanted["times"].index(48)]
    assert survival["dynamic"]["calibration"]["observed"] == pytest.approx(risk, abs=1e-9)
    for cut in survival["cuts"].values():
        assert cut["logrank"]["p"] is None and cut["trend"]["p"] is None and cut["gray"]["p"] is not None
    whole = survive.kaplan_meier(*survive.at_horizon(time, event, 48.0))
    at = dict(zip(whole["curve"]["time"], whole["curve"]["survival"], strict=True))
    for t, share in zip(wanted["times"], wanted["aalen_johansen"]["cause1"], strict=True):
        assert 1 - at[max(x for x in at if x <= t)] == pytest.approx(share, abs=1e-9)
    groups = table1.frame(cohort, measures, None, 48.0, dict.fromkeys(cohort, "test"), outcome)["group"]
    assert set(groups) <= {
        "Development, no progression",
        "Development, progression",
        "Development, label unknown",
    }


def test_a_binary_outcome_of_ones_own():
    random = np.random.default_rng(6)
    cohort, predictions, measures = table(
        np.full(40, 50.0), np.zeros(40), random.normal(size=40), None, "test"
    )
    for k, row in enumerate(cohort.values()):
        row["psa_persistence"] = str(k % 2)
    own = {"kind": "binary", "column": "psa_persistence"}
    block = {"learn": own, "evaluate": {"persistence": own}, "words": {"psa_persistence": "PSA persistence"}}
    metrics, survival = judged(cohort, predictions, measures, Outcome.model_validate(block))
    section = metrics["sections"]["persistence"]
    assert section["title"] == "PSA persistence, test part" and (section["positives"], section["n"]) == (
        20,
        40,
    )
    assert survival["status"] == "skipped" and "metasta" not in as_json([metrics, survival])


def test_a_learnt_outcome_that_is_not_evaluated_is_evaluated_all_the_same():
    outcome = Outcome.model_validate(
        {"learn": COMPETE, "evaluate": {"other": {"kind": "binary", "column": "x"}}}
    )
    assert list(evaluate.sections(outcome, 48.0)) == [
        "learnt",
        "learnt_training",
        "learnt_validation",
        "other",
        "prospective",
    ]


def test_reverse_kaplan_meier():
    random = np.random.default_rng(7)
    time, event = np.round(random.exponential(30, 80), 0) + 1, (random.uniform(size=80) < 0.5).astype(float)
    fitter = KaplanMeierFitter().fit(time, 1 - event)
    assert over_time.followed(time, event)["median"] == pytest.approx(fitter.median_survival_time_)


def test_trend_is_the_score_test_of_cox_without_ties():
    random = np.random.default_rng(8)
    rank = random.integers(0, 3, 90)
    time, event = random.exponential(np.exp(-0.4 * rank)), (random.uniform(size=90) < 0.7).astype(float)
    model = PHReg(time, rank.astype(float)[:, None], status=event, ties="breslow")
    statistic = model.score(np.zeros(1))[0] ** 2 / -model.hessian(np.zeros((1,)))[0, 0]
    assert over_time.trend(time, event, rank)["statistic"] == pytest.approx(statistic, rel=1e-9)
    assert over_time.trend(time, event, np.zeros(90))["p"] is None


def test_proportional_hazards_in_words():
    random = np.random.default_rng(9)
    score = random.normal(size=400)
    constant = random.exponential(np.exp(-0.7 * score))
    assert "no sign" in over_time.proportional(constant, np.ones(400), score)["sentence"]
    crossing = np.where(score > 0, random.weibull(3, 400), random.weibull(0.5, 400))
    assert "changes over time" in over_time.proportional(crossing, np.ones(400), score)["sentence"]
    assert "too few" in over_time.proportional(constant[:4], np.ones(4), score[:4])["sentence"]


def test_operating_point_against_statsmodels_and_by_horizon():
    label, score = np.array([1] * 10 + [0] * 13), np.r_[np.arange(10) + 5.0, np.arange(13)]
    found = operating.of_labels(label.astype(float), score, 8.0)
    assert (found["true_positives"], found["false_positives"], found["n"]) == (7, 5, 23)
    for name, hits, n in (("sensitivity", 7, 10), ("specificity", 8, 13), ("ppv", 7, 12), ("npv", 8, 11)):
        low, high = proportion_confint(hits, n, method="wilson")
        assert found[name] == pytest.approx({"value": hits / n, "low": low, "high": high})
    time = np.where(label == 1, 20.0, 48.0)
    late = operating.by_horizon(time, label.astype(float), 48.0, score, 8.0, resamples=50)
    for name in operating.NAMES:  # nobody left early: the same shares
        assert late[name]["value"] == pytest.approx(found[name]["value"])
    time[-1] = 30.0  # leaves early: the weights of the others
    who = follow_up.known(time, label.astype(float), 48.0)
    late = operating.by_horizon(time, label.astype(float), 48.0, score, 8.0, resamples=50)
    share = who.weight[who.control & (score < 8)].sum() / who.weight[who.control].sum()
    assert late["specificity"]["value"] == pytest.approx(share) and late["n"] == 22
    assert late["specificity"]["low"] < share < late["specificity"]["high"]
    short = operating.by_horizon(time / 2, label.astype(float), 48.0, score, 8.0)
    assert all(short[name]["value"] is None for name in operating.NAMES) and not math.isnan(
        short["threshold"]
    )
