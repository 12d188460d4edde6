"""Pooling of site.json files: R's metafor through the whole command, what is refused, order, the page."""

import json

import numpy as np
import pytest
from tests.centres.test_site import ABOUT, ASKED, drawn, site
from tests.oracles import oracle
from typer.testing import CliRunner

from promet.app import app
from promet.centres import form, pool
from promet.core.errors import DataError, UsageError


def one(name="A", seed=1, n=90, **changed):
    table = drawn(n, seed)
    return form.Site.model_validate(
        json.loads(form.text(ABOUT | site.figures(table, ASKED) | {"site": name} | changed))
    )


def area(value, se):
    return {"auc": {"value": value, "se": se, "logit_se": se / (value * (1 - value))}}


@pytest.mark.parametrize("name", ["three_sites_auc", "tau0_auc", "two_sites_auc"])
def test_auc_as_metafor(name):
    given, right = oracle("pooling.json")[name]["input"], oracle("pooling.json")[name]["result"]
    sites = [
        one(f"S{i}", i, **area(a, s)) for i, (a, s) in enumerate(zip(given["auc"], given["se"], strict=True))
    ]
    found = pool.pool(sites)["measures"]["auc"]["pooled"]
    assert [found[key] for key in ("tau2", "i2", "q", "q_p")] == pytest.approx(
        [right[key] for key in ("tau2", "i2", "q", "q_p")], abs=1e-6
    )
    if right["k"] == 2:
        assert found["mean"] is None and found["low"] is None  # side by side only
        return
    back = right["back"]
    assert [found[key] for key in ("mean", "low", "high")] == pytest.approx(
        [back["mu"], back["adhoc_low"], back["adhoc_high"]], abs=1e-6
    )
    ahead = right["prediction_k2_adhoc"]
    assert list(found["prediction"].values()) == pytest.approx(
        [1 / (1 + np.exp(-ahead[k])) for k in ahead], abs=1e-6
    )


def test_observed_to_expected_as_metafor():
    told = oracle("pooling.json")["oe"]
    given, right = told["input"], told["result"]
    sites = []
    for i, (o, e, n) in enumerate(zip(given["O"], given["E"], given["n"], strict=True)):
        share = o / n
        sites.append(one(f"S{i}", i, oe={"O": share, "E": e / n, "se": np.sqrt(share * (1 - share) / n)}))
    found = pool.pool(sites)["measures"]["oe"]
    assert found["pooled"]["mean"] == pytest.approx(np.exp(right["mu"]), abs=1e-6)
    assert found["pooled"]["low"] == pytest.approx(np.exp(right["ad_hoc"]["low"]), abs=1e-6)
    assert found["sites"][0]["value"] == pytest.approx(np.exp(right["yi"][0]), abs=1e-9)


def test_the_order_of_files_is_of_no_meaning():
    sites = [one(name, i) for i, name in enumerate("ABC")]
    assert pool.pool(sites) == pool.pool(sites[::-1])


def test_a_site_with_few_events_is_left_out_and_named():
    table = drawn(60, 4)
    told = site.figures(table[table["event"] == 0].head(30), ASKED)
    few = form.Site.model_validate(json.loads(form.text(ABOUT | told | {"site": "Few"})))
    found = pool.pool([one("A", 1), one("B", 2), one("C", 3), few])["measures"]["auc"]
    assert found["left_out"] == [{"site": "Few", "reason": "small_cell"}] and found["pooled"]["k"] == 3


@pytest.mark.parametrize(
    ("other", "code"),
    [
        ({"model_digest": "b" * 64}, "E_SITES_MODEL"),
        ({"outcome": {"kind": "binary", "event": "psa_persistence"}}, "E_SITES_OUTCOME"),
        ({"horizon": 24.0}, "E_SITES_OUTCOME"),
        ({"site": "A"}, "E_SITES_TWICE"),
    ],
)
def test_what_must_not_be_pooled_is_refused(other, code):
    with pytest.raises(UsageError) as caught:
        pool.pool([one("A", 1), one("B", 2, **other) if "site" not in other else one("A", 2)])
    assert caught.value.code == code


def test_the_same_patients_under_two_names_are_refused():
    with pytest.raises(UsageError) as caught:
        pool.pool([one("A", 1), one("B", 1)])
    assert caught.value.code == "E_SITES_TWICE"


def test_nobody_is_pooled():
    with pytest.raises(UsageError):
        pool.pool([])


def test_the_command(tmp_path):
    files = []
    for i, name in enumerate(["St Anna <b>", "North", "University"]):
        files.append(tmp_path / f"{i}.json")
        files[-1].write_text(form.text(ABOUT | site.figures(drawn(90, i), ASKED) | {"site": name}))
    done = CliRunner().invoke(app, ["pool-sites", *map(str, files), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0 and done.output.strip().endswith("pooled.html")
    page = (tmp_path / "out/pooled.html").read_text()
    found = json.loads((tmp_path / "out/pooled.json").read_text())
    assert f"AUC over 3 hospitals: {found['measures']['auc']['pooled']['mean']:.2f}" in page
    assert page.count("<figure") == 4 and "uninformative" in page
    assert "St Anna <b>" not in page and "http" not in page.replace("http-equiv", "")
    with pytest.raises(UsageError):
        pool.run([files[0], files[0]], tmp_path / "out")
    files[0].write_text("{}")
    with pytest.raises(DataError):
        pool.run(files, tmp_path / "out")
