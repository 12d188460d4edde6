"""The command at a horizon: R's values through the whole command, tables as people have them, and what weights must not change."""

import csv
import json

import numpy as np
import pytest
from tests.evaluation.test_horizon import CASES, ORACLES, close, oracles
from typer.testing import CliRunner

from promet.core.errors import UsageError
from promet.evaluation import horizon as command
from promet.evaluation.cli import app
from promet.evaluation.stats import auc, calibration, horizon
from promet.evaluation.stats.auc import quantile
from promet.study import follow_up


def write(path, rows, names=("t", "e", "s", "p")):
    with open(path, "w", newline="") as handle:
        csv.writer(handle).writerows([names, *rows])
    return path


def drawn(random, n=60, last=60, step=6):
    """Times in steps, statuses 0, 1, 2, a score and a probability that know a little."""
    time = random.integers(1, last // step + 1, n) * float(step)
    event = random.choice([0, 1, 2], n, p=[0.4, 0.45, 0.15])
    score = np.round(-time / 20 + random.normal(0, 1, n), 1)
    return time, event, score, 1 / (1 + np.exp(-score))


@oracles
@pytest.mark.parametrize("name", CASES)
def test_json_has_the_keys_and_values_of_r(name):
    wanted = json.loads((ORACLES / "horizon.json").read_text())[name]
    words = [
        str(ORACLES / wanted["file"]),
        "--time",
        "t",
        "--event",
        "e",
        "--score",
        "s",
        "--probability",
        "p",
    ]
    done = CliRunner().invoke(app, ["horizon", *words, "--horizon", str(wanted["tau"]), "--json"])
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    plain = ("n", "tau", "events_by_tau", "competing_by_tau", "censored_before_tau", "censored_at_tau")
    assert {key: found[key] for key in plain} == {key: wanted[key] for key in plain}
    assert found["horizon_reached"] == wanted["horizon_reached"]
    for key in ("observed_risk", "observed_se", "brier", "brier_null", "brier_scaled", "mean_p", "EO", "EO_low",
                "EO_high", "EO_log_se_greenwood", "harrell_tau", "harrell_pairs", "uno_tau"):  # fmt: skip
        if key in wanted:
            assert close(found[key], wanted[key]), key
    assert close(found["auc"]["auc"], wanted["auc"]["auc"])
    assert close(found["auc"]["se"], wanted["auc"]["se_known_weights"])
    assert 0 < found["auc"]["low"] < found["auc"]["auc"] < found["auc"]["high"] < 1
    for key in ("ipcw_intercept", "ipcw_slope"):
        assert all(close(found[key][k], v) for k, v in wanted[key].items())
    for mine, theirs in zip(found["groups"], wanted["groups"], strict=True):
        assert (mine["n"], mine["reached"]) == (theirs["n"], theirs["reached"])
        assert close(mine["mean_p"], theirs["mean_p"])
    there = {row["threshold"]: row for row in found["net_benefit"]}
    for row in wanted["net_benefit"]:
        assert all(close(there[row["threshold"]][k], row[k]) for k in ("model", "all", "positive"))


def test_a_competing_event_in_a_column_of_its_own_is_the_same(tmp_path):
    time, event, score, p = drawn(np.random.default_rng(1))
    one = write(tmp_path / "one.csv", zip(time, event, score, p, strict=True))
    # who has both had the event
    other = (event == 2) | ((event == 1) & (score > 0))
    two = write(
        tmp_path / "two.csv",
        zip(time, (event == 1).astype(int), score, p, other.astype(int), strict=True),
        ("t", "e", "s", "p", "died"),
    )
    first = command.horizon_file(one, "t", "e", 36, None, "p", "s")
    assert first == command.horizon_file(two, "t", "e", 36, "died", "p", "s")
    assert first["competing_by_tau"] > 0


def test_without_anyone_unknown_each_figure_is_the_plain_one():
    random = np.random.default_rng(2)
    time, event, score, p = drawn(random)
    event[event == 2] = 1
    time[event == 0] = 90.0
    label = ((event == 1) & (time <= 36)).astype(float)
    found = command.record(time, event, 36, p, {"s": score, "q": random.normal(0, 1, 60)})
    plain = auc.record(label, score, 0.95, 100)
    assert found["auc"]["auc"] == pytest.approx(plain["auc"], abs=1e-12)
    assert found["auc"]["se"] == pytest.approx(plain["delong"]["se"], abs=1e-12)
    assert found["brier"] == pytest.approx(np.mean((p - label) ** 2), abs=1e-12)
    for row in found["net_benefit"]:
        if row["positive"] == 0:
            continue
        called = p >= row["threshold"]
        assert row["sensitivity"] == pytest.approx(called[label == 1].mean())
        assert row["ppv"] == pytest.approx(label[called].mean())
        assert row["specificity"] == pytest.approx((~called[label == 0]).mean())
    assert found["ici"] == calibration.record(label, p, None, 0.95, 10)["ici"]


def test_paired_with_weights_one_is_delong():
    random = np.random.default_rng(3)
    label = random.integers(0, 2, 50).astype(float)
    a, b = label + random.normal(0, 1.5, 50).round(1), label + random.normal(0, 2, 50).round(1)
    who = follow_up.Known(label == 1, label == 0, np.ones(50))
    mine, theirs = horizon.paired(who, a, b, quantile(0.95)), auc.paired(label, a, b, 0.95)
    for key in ("difference", "se", "low", "high", "p"):
        assert mine[key] == pytest.approx(theirs[key], abs=1e-12)


def test_paired_covariance_holds_over_many_cohorts():
    """The mean of the stated variances is the spread of the differences over cohorts with censoring."""
    random = np.random.default_rng(4)
    differences, variances = [], []
    for _ in range(400):
        truth = random.normal(0, 1, 120)
        event_at = random.exponential(40 * np.exp(-truth))
        gone = random.uniform(10, 90, 120)
        time, event = np.minimum(event_at, gone), (event_at <= gone).astype(int)
        who = follow_up.known(time, event, 36.0)
        noisy = truth + random.normal(0, 1, 120)
        found = horizon.paired(who, noisy, truth + random.normal(0, 1.5, 120), 1.96)
        differences.append(found["difference"])
        variances.append(found["se"] ** 2)
    assert np.mean(variances) / np.var(differences) == pytest.approx(1, abs=0.25)


def test_a_horizon_that_nobody_reaches_gives_null_and_a_sentence(tmp_path):
    time, event, score, p = drawn(np.random.default_rng(5))
    path = write(tmp_path / "t.csv", zip(time, event, score, p, strict=True))
    found = command.horizon_file(path, "t", "e", 1000, None, "p", "s")
    assert not found["horizon_reached"]
    assert (
        found["auc"]["auc"] is None
        and found["brier"] is None
        and found["EO"] is None
        and found["uno_tau"] is None
    )
    assert "Nobody is followed to 1000" in found["notes"][0]
    done = CliRunner().invoke(app, ["horizon", str(path), "--time", "t", "--event", "e", "--horizon", "1000"])
    assert done.exit_code == 0 and "Nobody is followed" in done.stdout


def test_rows_with_gaps_are_left_out_and_counted(tmp_path):
    rows = [
        (10, 1, 2, 0.9),
        ("", 1, 1, 0.5),
        (60, 0, 0, 0.1),
        (50, "", 0, 0.2),
        (40, 1, "", 0.3),
        (48, 0, 0.5, ""),
    ]
    rows += [(12, 1, 1, 0.7), (70, 0, -1, 0.2)]
    found = command.horizon_file(write(tmp_path / "t.csv", rows), "t", "e", 48, None, "p", "s")
    assert found["n"] == 4
    assert found["excluded"] == [
        f"1 row without {what} left out." for what in ("a time", "an event", "a finite s", "a p")
    ]


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ([(1, 3, 0, 0.5)], "E_TABLE_EVENT"),
        ([(1, 1.5, 0, 0.5)], "E_TABLE_EVENT"),
        ([(-1, 1, 0, 0.5)], "E_TIME"),
        ([(1, 1, 0, 50)], "E_PROBABILITY"),
    ],
)
def test_what_is_no_status_time_or_probability_is_refused(tmp_path, rows, code):
    with pytest.raises(UsageError) as error:
        command.horizon_file(write(tmp_path / "t.csv", rows), "t", "e", 48, None, "p", "s")
    assert error.value.code == code


@pytest.mark.parametrize("options", [{"at": 0}, {"at": -1}, {"thresholds": (1.5,)}, {"compare": ["s"]}])
def test_options_that_make_no_sense_are_refused(tmp_path, options):
    path = write(tmp_path / "t.csv", [(1, 1, 0, 0.5)])
    with pytest.raises(UsageError) as error:
        command.horizon_file(**{"path": path, "time": "t", "event": "e", "at": 48, "score": "s", **options})
    assert error.value.code == "E_OPTIONS"
