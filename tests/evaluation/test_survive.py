"""Survival against published numbers and statsmodels, and the degenerate cases."""

import json

import numpy as np
import pandas as pd
import pytest
from statsmodels.duration.hazard_regression import PHReg
from statsmodels.duration.survfunc import survdiff
from typer.testing import CliRunner

from promet.core.files import read_json
from promet.core.sidecar import Sidecar
from promet.evaluation import survive
from promet.evaluation.cli import app
from promet.evaluation.settings import Evaluation

# Remission of 42 children with leukaemia (Freireich et al., Blood 1963;21:699), 6-MP against placebo; minus = censored.
DRUG = [6, 6, 6, -6, 7, -9, 10, -10, -11, 13, 16, -17, -19, -20, 22, 23, -25, -32, -32, -34, -35]
PLACEBO = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]


def leukaemia() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    signed = np.array(DRUG + PLACEBO, float)
    return np.abs(signed), (signed > 0).astype(float), np.array(["drug"] * 21 + ["placebo"] * 21)


def random_cohort(seed: int = 0, n: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    score = random.normal(size=n)
    time = np.ceil(random.exponential(40 * np.exp(-0.8 * score)))
    return np.minimum(time, 48), (time <= 48).astype(float), score


def test_published_curve_medians_and_logrank() -> None:
    time, event, group = leukaemia()
    found = survive.compare(time, event, group, ["drug", "placebo"])
    drug, placebo = found["groups"]
    curve = dict(zip(drug["curve"]["time"], drug["curve"]["survival"], strict=True))
    printed = {6: 0.857, 7: 0.807, 10: 0.753, 13: 0.690, 16: 0.627, 22: 0.538, 23: 0.448}
    assert {t: round(curve[t], 3) for t in printed} == printed
    assert (drug["median"], placebo["median"]) == (23, 8)
    assert (drug["events"], placebo["events"]) == (9, 21)
    assert found["logrank"]["statistic"] == pytest.approx(16.79, abs=0.005)
    assert found["logrank"]["df"] == 1 and not found["notes"]
    assert drug["censored"]["time"][:3] == [6, 9, 10] and len(drug["censored"]["survival"]) == 12
    assert drug["at_risk"]["n"][0] == 21
    there = drug["at_risk"]
    assert all(n == sum(t <= x for x in np.abs(DRUG)) for t, n in zip(there["time"], there["n"], strict=True))
    steps = list(zip(*(drug["curve"][key] for key in ("time", "survival", "low")), strict=True))
    for t, survival, low in zip(there["time"], there["survival"], there["low"], strict=True):
        assert (survival, low) == [(s, bound) for at, s, bound in steps if at <= t][-1]
    assert there["survival"][0] == 1 and there["low"][0] is None  # no interval before the first event


def test_logrank_of_three_groups_equals_statsmodels() -> None:
    time, event, score = random_cohort()
    found = survive.analyse(time, event, score)["cuts"]["tertiles"]
    _, group, _, _ = survive.cut(score, "tertiles")
    statistic, p = survdiff(time, event, group)
    assert found["logrank"] == {"statistic": pytest.approx(statistic), "df": 2, "p": pytest.approx(p)}
    assert [g["n"] for g in found["groups"]] == [20, 20, 20]


def test_cox_equals_statsmodels() -> None:
    time, event, score = random_cohort(1)
    found, notes = survive.cox(time, event, score)
    theirs = PHReg(time, score / score.std(ddof=1), status=event, ties="efron").fit()
    assert found["hazard_ratio"] == pytest.approx(np.exp(theirs.params[0]), rel=1e-5)
    assert (found["low"], found["high"]) == pytest.approx(tuple(np.exp(theirs.conf_int()[0])), rel=1e-4)
    assert found["p"] == pytest.approx(theirs.pvalues[0], rel=1e-2) and not notes


def test_concordance_by_pairs() -> None:
    """Without tied times: of two patients of whom the earlier has the event, that one's score should be the higher."""
    time, event, score = random_cohort(2, 30)
    time, score = time + np.arange(30) / 100, np.round(score, 0)
    found, _ = survive.concordance(time, event, score)
    pairs = [(i, j) for i in range(30) for j in range(30) if event[i] and time[i] < time[j]]
    won = [1.0 if score[i] > score[j] else 0.5 if score[i] == score[j] else 0.0 for i, j in pairs]
    assert found == pytest.approx(np.mean(won))


def test_cuts() -> None:
    thresholds, group, names, notes = survive.cut(np.arange(23.0), "tertiles")
    assert [int((group == name).sum()) for name in names] == [8, 7, 8] and not notes
    assert thresholds == pytest.approx([22 / 3, 44 / 3])
    assert survive.cut(np.arange(4.0), "median")[1].tolist() == ["low", "low", "high", "high"]
    assert "Tied" in survive.cut(np.r_[np.ones(9), 2.0], "tertiles")[3][0]


def test_follow_up_ends_at_the_horizon() -> None:
    time, event = survive.at_horizon(np.array([10.0, 48.0, 60.0, 60.0]), np.array([1.0, 1.0, 1.0, 0.0]), 48)
    assert time.tolist() == [10, 48, 48, 48] and event.tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize(
    ("time", "event", "score", "words"),
    [
        (
            [5, 6, 7, 8],
            [0, 0, 0, 0],
            [1, 2, 3, 4],
            ["Only 0 events: no hazard", "No two patients", "no log-rank"],
        ),
        (
            [5, 6, 7, 8],
            [1, 0, 0, 0],
            [4, 2, 3, 1],
            ["Only 1 event: no hazard", "Only 1 event: no log-rank"],
        ),
        ([5, 6, 7, 8], [1, 1, 0, 0], [4, 3, 2, 1], ["infinite", "Group low has no events"]),
        ([5, 6, 7, 8], [1, 1, 0, 0], [1, 2, 3, 4], ["infinite"]),
        ([5, 6, 7, 8], [1, 1, 0, 1], [2, 2, 2, 2], ["same for everyone", "only one group", "Tied"]),
        ([0, 0, 0, 0], [1, 1, 0, 0], [1, 2, 3, 4], []),
        ([5, 9], [1, 1], [1, 2], ["descriptive"]),
    ],
)
def test_degenerate_cases_give_a_sentence(time: list, event: list, score: list, words: list[str]) -> None:
    found = survive.analyse(np.array(time), np.array(event), np.array(score))
    said = " ".join(found["notes"] + [n for cut in found["cuts"].values() for n in cut["notes"]])
    assert all(word in said for word in words), said
    json.dumps(found, allow_nan=False)
    if any("hazard" in word or "infinite" in word for word in words):
        assert found["cox"]["hazard_ratio"] is None and found["cox"]["p"] is None


def table(months: list, progression: list, score: list) -> tuple[dict, dict]:
    cohort = {
        f"P{i}": {"patient": f"P{i}", "months": str(m), "progression": str(e)}
        for i, (m, e) in enumerate(zip(months, progression, strict=True))
    }
    return cohort, {f"P{i}": ("metachronous", s) for i, s in enumerate(score)}


def test_study_uses_the_metachronous_only_and_counts_the_rest() -> None:
    cohort, scores = table([10, 60, "", 20, 70], [1, 0, 1, "", 1], [3.0, 1.0, 2.0, 2.0, 0.0])
    cohort["T"] = {"patient": "T", "months": "5", "progression": "1"}
    found = survive.study(cohort, scores | {"T": ("test", 9.0)}, Evaluation())
    assert (found["status"], found["n"], found["events"]) == ("ok", 3, 1)
    assert found["excluded"] == ["1 without progression.", "1 without months."]
    assert max(found["cuts"]["median"]["groups"][0]["curve"]["time"]) == 48


def test_study_without_a_metachronous_cohort_says_so() -> None:
    cohort, scores = table([10], [1], [3.0])
    nobody = survive.study(cohort, {"P0": ("test", 1.0)}, Evaluation())
    assert nobody["status"] == "skipped" and "no metachronous cohort" in nobody["reason"]
    alone = survive.study(cohort, scores, Evaluation())
    assert alone["status"] == "skipped" and "at least two" in alone["reason"]
    assert set(nobody) == set(alone) == set(survive.study(*table([1, 2], [1, 0], [1.0, 2.0]), Evaluation()))


def test_stage(tmp_path) -> None:
    time, event, score = random_cohort(5, 23)
    cohort, scores = table(time.tolist(), event.astype(int).tolist(), score.tolist())
    pd.DataFrame(list(cohort.values())).to_csv(tmp_path / "cohort.tsv", sep="\t", index=False)
    rows = [(patient, part, s) for patient, (part, s) in scores.items()]
    pd.DataFrame(rows, columns=["patient", "part", "multimodal"]).to_parquet(tmp_path / "predictions.parquet")
    out = tmp_path / "out put" / "survive.json"
    arguments = [
        "--cohort",
        "cohort.tsv",
        "--predictions",
        "predictions.parquet",
        "--measures",
        "predictions.parquet",
    ]
    paths = [a if a.startswith("--") else str(tmp_path / a) for a in arguments]
    result = CliRunner().invoke(
        app, ["survive", *paths, "--out", str(out), "--settings", '{"horizon_months": 24}']
    )
    assert result.exit_code == 0, result.output
    found = read_json(out.with_name("survival.json"))
    assert found["status"] == "ok" and found["events"] == int(((time <= 24) & (event == 1)).sum())
    assert found == json.loads(json.dumps(survive.study(cohort, scores, Evaluation(horizon_months=24))))
    assert Sidecar.read(out).products.keys() == {"survival.json"}
