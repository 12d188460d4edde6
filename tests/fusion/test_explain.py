"""Shapley values against their closed form and against plain enumeration."""

from itertools import combinations, pairwise, permutations
from math import factorial

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from promet.core.files import read_json
from promet.core.sidecar import Sidecar
from promet.fusion import explain, fuse
from promet.fusion.cli import app
from promet.fusion.explain import ranking, shapley
from promet.fusion.naive_bayes import NaiveBayes
from promet.fusion.settings import Fusion


@pytest.fixture(scope="module")
def small() -> tuple[NaiveBayes, np.ndarray, np.ndarray]:
    random = np.random.default_rng(4)
    y = np.arange(12) % 2
    x = random.normal(size=(12, 3)) + y[:, None] * [1, 2, 0]
    x[1, 0] = x[4, 2] = np.nan
    new = random.normal(size=(4, 3))
    new[0, 1] = new[1, 2] = np.nan
    return NaiveBayes(["a", "b", "c"]).fit(x, y), x, new


def test_equals_enumeration_over_all_orders(small) -> None:
    model, background, new = small
    ours, base = shapley(model, new, background)
    expected = np.zeros_like(new)
    for i, row in enumerate(new):
        for order in permutations(range(3)):
            mixed = background.copy()
            before = model.log_odds(mixed).mean()
            for j in order:
                mixed[:, j] = row[j]
                after = model.log_odds(mixed).mean()
                expected[i, j] += (after - before) / 6
                before = after
    np.testing.assert_allclose(ours, expected, atol=1e-12)
    assert base == pytest.approx(model.log_odds(background).mean(), abs=1e-12)
    np.testing.assert_allclose(base + ours.sum(axis=1), model.log_odds(new), atol=1e-12)


def test_equals_the_formula_over_the_128_coalitions_of_seven() -> None:
    """Shapley 1953: sum over coalitions S without j of |S|! (6 - |S|)! / 7! (v(S and j) - v(S))."""
    random, y = np.random.default_rng(7), np.arange(30) % 2
    x = random.normal(size=(30, 7)) + y[:, None] * np.arange(7) / 3
    x[random.random(x.shape) < 0.2] = np.nan
    model, row = NaiveBayes(list("abcdefg")).fit(x, y), np.r_[random.normal(size=6), np.nan]

    def value(coalition: tuple[int, ...]) -> float:
        mixed = x.copy()
        mixed[:, list(coalition)] = row[list(coalition)]
        return float(model.log_odds(mixed).mean())

    known = {s: value(s) for size in range(8) for s in combinations(range(7), size)}
    assert len(known) == 128
    expected = [
        sum(
            factorial(len(s)) * factorial(6 - len(s)) / factorial(7) * (known[tuple(sorted((*s, j)))] - v)
            for s, v in known.items()
            if j not in s
        )
        for j in range(7)
    ]
    np.testing.assert_allclose(shapley(model, row[None], x)[0][0], expected, atol=1e-11)


def test_equals_closed_form_with_uncounted_cells(small) -> None:
    model, background, new = small
    rows = np.ones(background.shape, bool)
    rows[:7, 1] = False
    ours, _ = shapley(model, new, background, rows)
    means = model.factors(background).mean(axis=0)
    means[1] = model.factors(background)[7:, 1].mean()
    np.testing.assert_allclose(ours, model.factors(new) - means, atol=1e-12)


def test_ranking_ignores_missing_values() -> None:
    long = pd.DataFrame(
        {"input": ["a", "a", "b", "b"], "value": [1.0, np.nan, 1.0, 1.0], "shap": [1.0, 50.0, -2.0, 2.0]}
    )
    assert ranking(long, ["a", "b", "c"]) == [
        {"input": "b", "mean_abs_shap": 2.0, "n": 2},
        {"input": "a", "mean_abs_shap": 1.0, "n": 1},
        {"input": "c", "mean_abs_shap": None, "n": 0},
    ]


def test_stage(study) -> None:
    study.without_lesion(study.of("test")[0])
    inputs, fused = study.write()
    fuse.run(inputs, Fusion(), fused, "p")
    home = fused.parent
    result = CliRunner().invoke(
        app, ["explain", "--fuse-dir", str(home), "--out", str(home / "explain.json")]
    )
    assert result.exit_code == 0, result.output
    record = Sidecar.read(home / "explain.json")
    assert record.inputs == {"fuse": Sidecar.read(fused).digest}
    long, table = pd.read_parquet(home / "shap.parquet"), pd.read_parquet(home / "predictions.parquet")
    total = long.groupby("patient")["shap"].sum() + record.values["base"]
    np.testing.assert_allclose(total, table.set_index("patient")["multimodal"], atol=1e-10)
    assert (record.values["over"], record.values["patients"], record.values["background"]) == ("test", 20, 56)
    sizes = [row["mean_abs_shap"] for row in record.values["ranking"]]
    assert sizes == sorted(sizes, reverse=True) and len(sizes) == 7
    assert {row["input"]: row["n"] for row in record.values["ranking"]}["cnn_score"] == 19
    drawn = read_json(home / "waterfall.json")["patients"]
    assert list(drawn) == sorted(table["patient"])
    for patient, falls in drawn.items():
        steps = falls["steps"]
        assert steps[0]["start"] == record.values["base"] and len(steps) == 7
        assert all(a["end"] == b["start"] for a, b in pairwise(steps))
        assert [abs(s["shap"]) for s in steps] == sorted((abs(s["shap"]) for s in steps), reverse=True)
        mine = table.set_index("patient").loc[patient]
        assert steps[-1]["end"] == falls["log_odds"] == pytest.approx(mine["multimodal"], abs=1e-10)
        psa = next(s for s in steps if s["input"] == "psa")
        assert psa["value"] == mine["psa"] and falls["part"] == mine["part"]
    blind = drawn[study.of("test")[0]]["steps"]
    assert next(s for s in blind if s["input"] == "cnn_score")["value"] is None
    # The network's scores of its own training cases do not move anyone's Shapley values.
    study.scores.loc[study.scores["patient"].isin(study.of("training")), "cnn_score"] += 30
    inputs, other = study.write("other")
    fuse.run(inputs, Fusion(), other, "p")

    explain.run(other.parent, None, other.with_name("explain.json"), "p")
    moved = pd.read_parquet(other.with_name("shap.parquet"))
    test = (long["part"] == "test").to_numpy()
    np.testing.assert_allclose(moved["shap"][test], long["shap"][test], atol=1e-10)
