"""Figures of site.json: equal to the report's own functions, the same bytes in any order, nothing small told."""

import numpy as np
import pandas as pd
import pytest
from tests.oracles import oracle, path

from promet.centres import cells, form, site
from promet.core.errors import DataError
from promet.evaluation.stats import auc, calibration

ABOUT = {
    "schema": 1,
    "promet": "0",
    "stages": {"score": 1},
    "site": "Here",
    "model_digest": "a" * 64,
    "compared": True,
    "outcome": {"kind": "binary", "event": "synchronous_metastasis"},
    "horizon": None,
    "smallest_cell": 10,
    "level": 0.95,
    "refused": 0,
}
ASKED = site.Asked(cuts={"median": ["low", "high"]}, attributes=("tracer",), inputs=("psa",))


def drawn(n=90, seed=3, events=0.45):
    rng = np.random.default_rng(seed)
    label = (rng.random(n) < events).astype(float)
    odds = rng.normal(1.3 * label - 0.6, 1)
    return pd.DataFrame(
        {
            "log_odds": odds,
            "probability": 1 / (1 + np.exp(-odds)),
            "time": 1.0,
            "event": label,
            "cut:median": np.where(odds > 0, "high", "low"),
            "by:tracer": rng.choice(["A", "B", ""], n, p=[0.5, 0.4, 0.1]),
            "gap:psa": rng.random(n) < 0.2,
        }
    )


def plain(odds, time, event, p=None, **more):
    p = 1 / (1 + np.exp(-odds)) if p is None else p
    return pd.DataFrame({"log_odds": odds, "probability": p, "time": time, "event": event, **more})


def rounded(value):
    return float(f"{value:.4g}")


def test_equal_to_the_evaluation():
    table = drawn()
    found = site.figures(table, ASKED)
    label, odds, p = (table[name].to_numpy() for name in ("event", "log_odds", "probability"))
    area, right = auc.record(label, odds, bootstrap=100), calibration.record(label, p, odds)
    se = area["delong"]["se"]
    assert (found["auc"]["value"], found["auc"]["se"]) == (rounded(area["auc"]), rounded(se))
    assert found["auc"]["logit_se"] == rounded(se / area["auc"] / (1 - area["auc"]))
    for name in ("intercept", "slope"):
        assert found[name] == {key: rounded(right[name][key]) for key in ("value", "se")}
    assert found["brier"]["value"] == rounded(right["brier"])
    share = label.mean()
    assert found["oe"] == {
        "O": rounded(share),
        "E": rounded(p.mean()),
        "se": rounded(np.sqrt(share * (1 - share) / len(label))),
    }
    assert (found["n"], found["events"], found["known"]) == (90, int(label.sum()), 90)
    form.text(ABOUT | found)  # has the form


def test_net_benefit_and_its_error():
    """R, by the four counts."""
    right = oracle("misc.json")["net_benefit_from_counts"]
    counts = [(0.6, 1, right["tp"]), (0.6, 0, right["fp"]), (0.1, 1, right["fn"]), (0.1, 0, right["tn"])]
    p = np.repeat([c[0] for c in counts], [c[2] for c in counts])
    event = np.repeat([float(c[1]) for c in counts], [c[2] for c in counts])
    rows = site.figures(plain(np.log(p / (1 - p)), 1.0, event, p), site.Asked())["net_benefit"]
    row = next(r for r in rows if r["threshold"] == right["threshold"])
    assert (row["model"], row["all"]) == (rounded(right["value"]), rounded(right["treat_all"]))
    assert row["se"] == rounded(right["se"])


@pytest.mark.parametrize("name", ["b_months_48", "b_admin48_48", "comp_months48_48"])
def test_at_a_horizon_equal_to_r(name):
    right = oracle("horizon.json")[name]
    rows = pd.read_csv(path(right["file"]))
    table = plain(np.log(rows["p"] / (1 - rows["p"])), rows["t"], rows["e"], rows["p"])
    asked = site.Asked(horizon=right["tau"], binary=False, edges=(24.0, float(right["tau"])))
    found = site.figures(table, asked, limit=5)
    ranked = site.figures(table.assign(log_odds=rows["s"]), asked, limit=5)
    assert [ranked["auc"][key] for key in ("value", "se")] == [
        rounded(right["auc"][k]) for k in ("auc", "se_known_weights")
    ]
    assert found["brier"]["value"] == rounded(right["brier"])
    assert found["slope"] == {key: rounded(right["ipcw_slope"][key]) for key in ("value", "se")}
    assert found["oe"]["O"] == rounded(right["observed_risk"])
    assert found["survival"][-1]["survival"] == rounded(1 - right["observed_risk"])
    form.text(ABOUT | {"outcome": {"kind": "by_horizon", "event": "progression"}, "horizon": 48.0} | found)


def test_order_is_of_no_meaning():
    table = drawn()
    table.loc[:9, "log_odds"] = 0.25  # ties
    texts = {form.text(ABOUT | site.figures(table.sample(frac=1, random_state=k), ASKED)) for k in range(5)}
    timed = drawn().assign(time=np.round(np.random.default_rng(1).exponential(40, 90) + 1))
    asked = site.Asked(horizon=48, binary=False, edges=(12.0, 48.0))
    more = {str(site.figures(timed.sample(frac=1, random_state=k), asked)) for k in range(3)}
    assert (len(texts), len(more)) == (1, 1)


@pytest.mark.parametrize(("events", "others"), [(9, 40), (40, 9), (0, 40), (4, 3), (0, 0)])
def test_nine_events_tell_nothing(events, others):
    table = pd.concat([drawn(200, events=1).head(events), drawn(200, events=0).head(others)])
    found = site.figures(table, ASKED)
    assert (found["auc"]["value"], found["auc"]["reason"]) == (None, "small_cell")
    for name in ("intercept", "slope", "brier"):
        assert found[name]["value"] is None and found[name]["reason"] == "small_cell"
    assert found["oe"]["O"] is None and all(row["model"] is None for row in found["net_benefit"])
    assert found["events"] == (">39" if others == 9 else "<10")
    assert all(row["reason"] == "small_cell" for cut in found["groups"] for row in cut["groups"])
    form.text(ABOUT | found)


def test_ten_events_are_enough():
    table = pd.concat([drawn(200, events=1).head(10), drawn(200, events=0).head(13)])
    found = site.figures(table, ASKED)
    assert found["auc"]["value"] is not None and (found["n"], found["events"]) == (23, 10)


@pytest.mark.parametrize("seed", range(40))
def test_no_few_follow_by_subtraction(seed):
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 40, (int(rng.integers(1, 7)), 2)).tolist()
    gone = cells.hidden(groups, 10)
    assert all(min(groups[i]) >= 10 for i in range(len(groups)) if i not in gone)
    if gone and len(gone) < len(groups):
        assert len(gone) > 1 and min(sum(groups[i][k] for i in gone) for k in (0, 1)) >= 10


def test_counts():
    assert cells.shown(0, 50, 10) == 0
    assert cells.shown(3, 50, 10) == "<10"
    assert cells.shown(45, 50, 10) == ">40"
    assert cells.shown(50, 50, 10) == 50
    assert cells.shown(0, 50, 10, nobody=False) == "<10"
    assert cells.shown(50, 50, 10, nobody=False) == ">40"
    assert cells.shown(10, 20, 10) == 10


def test_a_slice_between_two_cuts_is_not_told():
    """Two cuts of one score differ by a few patients: both told, those few would follow by subtraction."""
    table = drawn(160).sort_values("log_odds", ignore_index=True)
    for name, edge in (("median", 80), ("near", 85), ("same", 80)):
        table[f"cut:{name}"] = np.where(np.arange(160) < edge, "low", "high")
    asked = site.Asked(cuts={name: ["low", "high"] for name in ("median", "near", "same")})
    found = {cut["name"]: cut["groups"] for cut in site.figures(table, asked)["groups"]}
    assert all(row["n"] == 80 for row in found["median"]) and found["same"] == found["median"]
    assert all(row["n"] is None and row["reason"] == "small_cell" for row in found["near"])


def test_a_slice_between_two_thresholds_is_not_told():
    p = np.repeat([0.05, 0.25, 0.6], [40, 4, 40])
    event = np.tile([0.0, 1.0], 42)
    rows = site.figures(plain(np.log(p / (1 - p)), 1.0, event, p), site.Asked())["net_benefit"]
    told = {row["threshold"]: row["model"] is not None for row in rows}
    assert told == {0.1: True, 0.2: True, 0.3: False, 0.4: False, 0.5: False}


def test_a_subgroup_of_few_is_hidden_with_another():
    table = drawn(120)
    table["by:tracer"] = np.where(np.arange(120) < 8, "rare", np.where(np.arange(120) < 60, "A", "B"))
    rows = {row["name"]: row for row in site.figures(table, ASKED)["subgroups"]["tracer"]["groups"]}
    assert rows["rare"]["n"] == "<10" and rows["rare"]["auc"]["reason"] == "small_cell"
    hidden = {name for name, row in rows.items() if row["auc"]["value"] is None}
    assert len(hidden) >= 2 and all(rows[name]["n"] is None for name in hidden - {"rare"})


def test_the_tests_of_subgroups_are_those_of_r():
    right = oracle("misc.json")["subgroups"]
    rows = pd.read_csv(path(right["file"]))
    table = plain(rows["s"], 1.0, rows["y"], **{"by:tracer": rows["g"]})
    found = site.figures(table, site.Asked(attributes=("tracer",)), limit=5)["subgroups"]["tracer"]
    assert (found["q"], found["df"], found["p"]) == (rounded(right["q"]), right["df"], rounded(right["p"]))
    assert found["p_holm"] == found["p"]  # one attribute
    assert found["interaction"] == rounded(right["interaction_lr"]["statistic"])
    for row, r in zip(found["groups"], sorted(right["groups"], key=lambda g: g["group"]), strict=True):
        assert (row["auc"]["value"], row["auc"]["logit_se"]) == (rounded(r["auc"]), rounded(r["logit_se"]))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"n": 90', '"n": "ninety"'),
        ('"n": 90', '"n": 90, "rows": [1]'),
        ('"schema": 1', '"schema": 2'),
        ("{", ""),
    ],
)
def test_a_changed_file_is_refused(old, new, tmp_path):
    whole = form.text(ABOUT | site.figures(drawn(), ASKED))
    assert old in whole
    (tmp_path / "site.json").write_text(whole.replace(old, new, 1))
    with pytest.raises(DataError) as caught:
        form.read(tmp_path / "site.json")
    assert caught.value.code in ("E_SITE_FORM", "E_SITE_FILE")


def test_read_again(tmp_path):
    found = site.figures(drawn(), ASKED)
    (tmp_path / "site.json").write_text(form.text(ABOUT | found))
    assert form.read(tmp_path / "site.json").auc.value == found["auc"]["value"]
