"""Several splits together: formulas, a simulation of their coverage, and the command."""

import json
import math

import numpy as np
import pytest
from scipy import stats
from tests.forms import whole
from typer.testing import CliRunner

from promet.core.errors import UsageError
from promet.core.files import read_json, write_json
from promet.core.sidecar import Sidecar
from promet.evaluation import pool
from promet.evaluation.cli import app
from promet.evaluation.stats import auc
from promet.study.forms.metrics import Metrics


def metrics(test: tuple | None, later: tuple | None = None) -> dict:
    """metrics.json with two scores; each given (labels, multimodal, psa)."""
    sections = {}
    for key, data in {"synchronous": test, "metachronous": later, "prospective": None}.items():
        scores, paired = {}, {}
        if data is not None:
            y, a, b = data
            scores = {"multimodal": auc.record(y, a, bootstrap=100), "psa": auc.record(y, b, bootstrap=100)}
            paired = {"psa": auc.paired(y, a, b)}
        sections[key] = {
            "title": key,
            "part": "test" if key == "synchronous" else key,
            "seen": False,
            "status": "ok" if data else "empty",
            "n": len(data[0]) if data else 0,
            "scores": scores,
            "paired": paired,
        }
    order = list(sections)
    sections |= {"synchronous_training": {"n": 47}, "synchronous_validation": {"n": 19}}
    return {
        "confidence": 0.95,
        "order": ["multimodal", "psa"],
        "sections": sections,
        "section_order": order,
        "primary": "synchronous",
    }


def data(seed: int, n: int = 28) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    y = (np.arange(n) % 2).astype(float)
    return y, random.normal(size=n) + y, random.normal(size=n) + 0.5 * y


def test_corrected_is_nadeau_and_bengio() -> None:
    found = pool.pool([metrics(data(seed)) for seed in range(8)])
    section = found["sections"]["synchronous"]
    assert section["ratio"] == pytest.approx(28 / 66)
    areas = np.array([auc.auc(y, a) for y, a, _ in map(data, range(8))])
    mine = section["scores"]["multimodal"]
    assert mine["values"] == pytest.approx(areas.tolist())
    # as scikit-learn's example of comparing models writes it
    se = math.sqrt(np.var(areas, ddof=1) * (1 / 8 + 28 / 66))
    assert mine["se"] == pytest.approx(se)
    low, high = stats.t.interval(0.95, 7, areas.mean(), se)
    assert (mine["low"], mine["high"]) == pytest.approx((low, min(high, 1)))
    assert mine["p"] == pytest.approx(2 * stats.t.sf((areas.mean() - 0.5) / se, 7))
    gaps = np.array([auc.auc(y, a) - auc.auc(y, b) for y, a, b in map(data, range(8))])
    difference = section["differences"]["psa"]
    assert difference["mean"] == pytest.approx(gaps.mean())
    assert difference["se"] == pytest.approx(math.sqrt(np.var(gaps, ddof=1) * (1 / 8 + 28 / 66)))
    assert "multimodal" not in section["differences"]


def test_fixed_adds_the_patients_own_uncertainty() -> None:
    y, a, b = data(3, 23)
    random = np.random.default_rng(0)
    given = [metrics(data(k), (y, a + random.normal(0, 0.4, 23), b)) for k in range(5)]
    section = pool.pool(given)["sections"]["metachronous"]
    records = [m["sections"]["metachronous"]["scores"]["multimodal"] for m in given]
    within = np.mean([r["delong"]["se"] ** 2 for r in records])
    between = np.var([r["auc"] for r in records], ddof=1)
    assert section["method"] == "fixed"
    assert section["scores"]["multimodal"]["se"] == pytest.approx(math.sqrt(within + 1.2 * between))
    # PSA is the same in every split: five splits are worth one.
    one = auc.record(y, b, bootstrap=100)
    psa = section["scores"]["psa"]
    assert (psa["low"], psa["high"], psa["p"]) == pytest.approx(
        (one["delong"]["low"], one["delong"]["high"], one["delong"]["p"])
    )


def test_the_corrected_interval_covers_and_the_plain_one_does_not() -> None:
    """Cohorts of 94, ten splits each, linear discriminant on three inputs; truth from a large sample."""
    random = np.random.default_rng(1)
    shift, held, plain, truth = np.array([0.6, 0.4, 0.0]), [], [], []
    big_y = np.arange(4000) % 2
    big = random.normal(size=(4000, 3)) + np.outer(big_y, shift)
    cohorts = 60
    kept = []
    for _ in range(cohorts):
        y = np.arange(94) % 2
        x = random.normal(size=(94, 3)) + np.outer(y, shift)
        areas = []
        for _ in range(10):
            order = random.permutation(94)
            fit, test = order[:66], order[66:]
            weight = x[fit][y[fit] == 1].mean(axis=0) - x[fit][y[fit] == 0].mean(axis=0)
            areas.append(auc.auc(y[test], x[test] @ weight))
            truth.append(auc.auc(big_y, big @ weight))
        kept.append(areas)
    target = np.mean(truth)
    for areas in kept:
        found = pool.corrected(areas, 28 / 66, 0.5, 0.95)
        held.append(found["low"] <= target <= found["high"])
        low, high = stats.t.interval(0.95, 9, np.mean(areas), np.std(areas, ddof=1) / math.sqrt(10))
        plain.append(low <= target <= high)
    assert np.mean(held) > 0.85
    assert np.mean(plain) < 0.75


def test_degenerate_splits_give_a_sentence() -> None:
    single = pool.pool([metrics(data(0))])
    assert "one split only" in single["notes"][0]
    assert single["sections"]["synchronous"]["scores"]["multimodal"]["low"] is None
    y = np.array([0.0, 1, 0, 1])
    perfect = pool.pool([metrics((y, y + k, y - k), (y, y + k, y - k)) for k in range(3)])
    for key in ("synchronous", "metachronous"):
        section = perfect["sections"][key]
        assert section["scores"]["psa"]["mean"] == 1 and section["scores"]["psa"]["p"] is None
        assert any("no standard error" in note for note in section["notes"])
    one_class = (np.ones(4), np.arange(4.0), np.arange(4.0))
    gap = pool.pool([metrics(data(0)), metrics(one_class), metrics(data(1))])
    assert gap["sections"]["synchronous"]["scores"]["psa"]["n"] == 2
    assert any("2 of 3 splits" in note for note in gap["sections"]["synchronous"]["notes"])
    assert "No split" in gap["sections"]["prospective"]["notes"][0]
    for found in (single, perfect, gap):
        json.dumps(found, allow_nan=False)
    with pytest.raises(UsageError, match="several levels"):
        pool.pool([metrics(data(0)), metrics(data(1)) | {"confidence": 0.9}])


def test_one_split_given_several_times_is_refused(tmp_path) -> None:
    """The same file by one or several paths, a copy of it, and one written differently: it is one split."""
    first, second = tmp_path / "split-00" / "metrics.json", tmp_path / "split-01" / "metrics.json"
    write_json(first, whole(Metrics, metrics(data(0))))
    write_json(second, whole(Metrics, metrics(data(1))))
    copy, loose, link = (tmp_path / name for name in ("copy.json", "loose.json", "link.json"))
    copy.write_bytes(first.read_bytes())
    loose.write_text(json.dumps(read_json(first), indent=7))
    link.symlink_to(first)
    for again in (first, tmp_path / "split-01" / ".." / "split-00" / "metrics.json", copy, loose, link):
        with pytest.raises(UsageError, match="number 3, which is number 1 again") as raised:
            pool.run([first, second, again], None, tmp_path / "pool.json", "")
        assert raised.value.code == "E_POOL_TWICE"
    with pytest.raises(UsageError, match="Of 10 metrics 9 are given again"):
        pool.run([first] * 10, None, tmp_path / "pool.json", "")
    assert not (tmp_path / "pool.json").exists() and not (tmp_path / "pooled.json").exists()
    pool.run([first, second], None, tmp_path / "pool.json", "")


def test_command(tmp_path) -> None:
    arguments = []
    for k in range(3):
        path = tmp_path / f"split-{k:02d}" / "metrics.json"
        write_json(path, whole(Metrics, metrics(data(k))))
        Sidecar(stage="evaluate", pin="", digest=f"d{k}").write(path.with_name("evaluate.json"))
        arguments += ["--metrics", str(path)]
    out = tmp_path / "pool.json"
    result = CliRunner().invoke(app, ["pool", *arguments, "--out", str(out)])
    assert result.exit_code == 0, result.output
    record = Sidecar.read(out)
    assert record.inputs == {"evaluate-00": "d0", "evaluate-01": "d1", "evaluate-02": "d2"}
    assert read_json(tmp_path / "pooled.json")["splits"] == record.values["synchronous"]["n"] == 3
    missing = CliRunner().invoke(app, ["pool", "--metrics", str(tmp_path / "no.json"), "--out", str(out)])
    assert missing.exception.code == "E_FILE_MISSING"
