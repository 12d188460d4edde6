"""The coverage simulation, its cached table, and the advice made from it."""

from pathlib import Path

import numpy as np
import pytest
from bench import coverage as bench

from promet.core.files import read_json
from promet.evaluation.stats import auc, coverage

ROOT = Path(__file__).parents[2]


def test_vectorised_formulas_are_those_of_the_room() -> None:
    random = np.random.default_rng(0)
    cases, controls = random.normal(0.8, 1, (6, 10)), random.normal(size=(6, 13))
    psi = bench.kernel(cases, controls)
    area, se, _, _ = bench.delong(psi)
    low, high = bench.bootstrap(psi, 4000, random)
    y = np.r_[np.ones(10), np.zeros(13)]
    for k in range(6):
        record = auc.record(y, np.r_[cases[k], controls[k]], bootstrap=4000)
        assert area[k] == pytest.approx(record["auc"])
        assert se[k] == pytest.approx(record["delong"]["se"])
        interval = record["bootstrap"]
        assert (low[k], high[k]) == pytest.approx((interval["low"], interval["high"]), abs=0.02)


def test_a_cell_is_repeatable_and_right() -> None:
    one, two = (bench.cell(10, 13, 0.7, 400, 200, 1) for _ in range(2))
    assert one == two != bench.cell(10, 13, 0.7, 400, 200, 2)
    assert all(0.85 < x <= 1 for x in one["coverage"].values())
    chance = bench.cell(13, 15, 0.5, 1500, 100, 3)
    assert chance["rejected"]["mann_whitney"] == pytest.approx(0.05, abs=0.02)


def test_cached_table_is_complete_and_the_same_everywhere() -> None:
    first, copy = (read_json(path) for path in bench.PRODUCTS)
    assert first == copy
    cells = [(row["positives"], row["negatives"], row["auc"]) for row in first["rows"]]
    assert cells == [(m, n, area) for m, n in bench.SIZES for area in bench.AREAS]
    assert (first["replicates"], first["resamples"], first["seed"]) == (
        bench.REPLICATES,
        bench.RESAMPLES,
        bench.SEED,
    )
    text = bench.PAGE.read_text(encoding="utf-8")
    assert bench.page(text, first) == text


def test_cached_table_is_what_the_simulation_gives() -> None:
    row = next(r for r in coverage.table()["rows"] if (r["positives"], r["auc"]) == (10, 0.8))
    again = bench.cell(10, 13, 0.8, 1500, 300, 9)
    for name, value in again["coverage"].items():
        assert value == pytest.approx(row["coverage"][name], abs=0.03)


def record_of(n1: int, n0: int, shift: float, seed: int = 1) -> dict:
    random = np.random.default_rng(seed)
    y = np.r_[np.ones(n1), np.zeros(n0)]
    return auc.record(y, random.normal(size=n1 + n0) + shift * y, bootstrap=200)


def test_advice_takes_the_nearest_size_and_quotes_it() -> None:
    record = record_of(11, 12, 1.0)
    found = coverage.advice(record, 0.95)
    assert found["size"] == {"positives": 10, "negatives": 13}
    rows = {r["auc"]: r for r in coverage.table()["rows"] if r["positives"] == 10}
    wanted = np.mean([rows[area]["coverage"]["logit"] for area in found["areas"]])
    assert found["coverage"]["logit"] == pytest.approx(wanted)
    gaps = {name: abs(value - 0.95) for name, value in found["coverage"].items()}
    assert gaps[found["prefer"]] == min(gaps.values())
    assert f"DeLong {100 * found['coverage']['delong']:.1f} %" in found["sentence"]
    assert "here 11 and 12" in found["sentence"] and "DeLong" in found["sentence"].split("Too short")[1]
    assert "smaller than any" not in found["sentence"]
    assert "smaller than any" in coverage.advice(record_of(6, 30, 1.0), 0.95)["sentence"]
    assert coverage.advice(record_of(60, 45, 1.0), 0.95)["size"]["positives"] == 45


def test_advice_mirrors_an_auc_below_one_half() -> None:
    found = coverage.advice(record_of(45, 49, -2.0), 0.95)
    assert min(found["areas"]) > 0.7


def test_no_advice_where_there_is_no_interval_or_another_level() -> None:
    perfect = auc.record(np.array([0, 0, 1, 1]), np.array([1, 2, 3, 4.0]), bootstrap=100)
    assert coverage.advice(perfect, 0.95)["prefer"] is None
    assert "90 %" in coverage.advice(record_of(11, 12, 1.0), 0.9)["sentence"]
