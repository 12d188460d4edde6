"""Sample sizes against the published examples and R, R² against simulated patients, and refusals."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from typer.testing import CliRunner

from promet.core.errors import UsageError
from promet.evaluation.cli import app
from promet.evaluation.stats import sample_size

ROOT = Path(__file__).parents[2]
FILE = next(
    (p for p in (r / "shared/oracles/sample_size.json" for r in (ROOT, ROOT.parent)) if p.is_file()), None
)


def test_published_examples():
    """pmsampsize 1.1.3, tests 3.1 and 4.1; pmvalsampsize 0.1.0, test 4.1 (its standard error of log O/E is rounded)."""
    found = sample_size.development(24, 0.174, 0.288)
    assert (list(found["n"].values()), found["final"], found["epp"]) == ([623, 662, 221], 662, 4.8)
    found = sample_size.survival(25, 0.065, 2.07, 2, 0.051)
    assert (list(found["n"].values()), found["events"]) == ([4286, 866, 4286], 577)
    found = sample_size.validation(0.018, 0.8, -5, 2.5, slope_width=0.2, oe_se=0.2456)
    assert (found["n"]["oe"], found["n"]["c"]) == (905, 4252)


@pytest.mark.skipif(FILE is None, reason="R's values (shared/oracles) are not on this machine")
def test_equals_r():
    wanted = json.loads(FILE.read_text())
    for row in wanted["development_binary"].values():
        found = sample_size.development(row["parameters"], row["prevalence"], row["r2"])
        assert found["max_r2"] == pytest.approx(row["max_r2"], abs=1e-12)
        assert (list(found["n"].values()), found["final"], found["epp"]) == (
            row["n"],
            row["final"],
            row["epp"],
        )
    for row in wanted["development_survival"]:
        found = sample_size.survival(
            row["parameters"], row["rate"], row["mean_followup"], row["timepoint"], row["r2"]
        )
        assert (list(found["n"].values()), found["final"], found["events"], found["epp"]) == tuple(
            row[key] for key in ("n", "final", "events", "epp")
        )
        for key in ("risk", "risk_low", "risk_high"):
            assert found[key] == pytest.approx(row[key], abs=1e-6)  # R rounds the years to one digit
        assert found["max_r2"] == pytest.approx(row["max_r2"], abs=1e-12)
    for row in wanted["r2_from_c"]:
        assert sample_size.r2_from_c(row["c"], row["prevalence"]) == pytest.approx(row["r2"], abs=1e-9)
    for row in wanted["validation_binary"].values():
        names = (
            "lp_mean",
            "lp_sd",
            "oe_width",
            "slope_width",
            "c_width",
            "sensitivity",
            "specificity",
            "threshold",
        )
        values = [row["prevalence"], row["cstatistic"], *(row[name] for name in names)]
        exact, rounded = sample_size.validation(*values), sample_size.validation(*values, row["se_log_oe"])
        assert exact["n"]["oe"] == row["n_oe_exact"] and rounded["n"]["oe"] == row["n_oe"]
        for key in ("slope", "c", "net_benefit"):
            assert exact["n"][key] == row[f"n_{key}"]
        assert exact["final"] == row["final"]


def test_r2_of_an_auc_is_that_of_simulated_patients():
    random = np.random.default_rng(1)
    with_it = random.random(400_000) < 0.3
    score = random.normal(0, 1, len(with_it)) + with_it * math.sqrt(2) * 0.8416212335729143  # AUC 0.8
    fitted = sm.Logit(with_it.astype(float), sm.add_constant(score)).fit(disp=0)
    r2 = 1 - math.exp(2 * (fitted.llnull - fitted.llf) / len(with_it))
    assert sample_size.r2_from_c(0.8, 0.3) == pytest.approx(r2, abs=0.003)


def test_so_many_patients_give_intervals_as_wide_as_asked():
    """Slope: the mean standard error of cohorts of that size."""
    n = sample_size.validation(0.3, 0.8, slope_width=0.4)["n"]["slope"]
    random = np.random.default_rng(2)
    errors = []
    for _ in range(60):
        y = random.random(n) < 0.3
        m = math.sqrt(2) * 0.8416212335729143
        odds = math.log(0.3 / 0.7) - m * m / 2 + m * (random.normal(0, 1, n) + m * y)
        errors.append(sm.Logit(y.astype(float), sm.add_constant(odds)).fit(disp=0).bse[1])
    assert np.mean(errors) * 2 * 1.96 == pytest.approx(0.4, rel=0.03)


@pytest.mark.parametrize(
    "call",
    [
        lambda: sample_size.development(7, 1.2, 0.2),
        lambda: sample_size.development(7, 0.48),
        lambda: sample_size.development(7, 0.48, 0.9),  # above its maximum
        lambda: sample_size.development(0, 0.48, 0.2),
        lambda: sample_size.development(7, 0.48, None, 0.4),
        lambda: sample_size.survival(7, 0, 2, 2, 0.1),
        lambda: sample_size.survival(7, 0.1, 2, 2, None),
        lambda: sample_size.validation(0.48, 0.8, lp_mean=0.0),
        lambda: sample_size.validation(0.48, 0.8, sensitivity=0.7),
        lambda: sample_size.validation(0.48, 0.8, c_width=0),
        lambda: sample_size.validation(0.48, 0.8, c_width=1e-6),
        lambda: sample_size.validation(0.48, 0.8, 0.0, -1.0),
    ],
)
def test_what_makes_no_sense_is_refused(call):
    with pytest.raises(UsageError) as error:
        call()
    assert error.value.code == "E_OPTIONS"


def test_commands():
    words = ["sample-size", "development", "--parameters", "7", "--prevalence", "0.48", "--c", "0.82"]
    found = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert found["final"] == 384  # the paper's fusion; it had 66 patients
    assert "384" in CliRunner().invoke(app, words).stdout
    words = [
        "sample-size",
        "survival",
        "--parameters",
        "25",
        "--rate",
        "0.065",
        "--followup",
        "2.07",
        "--timepoint",
        "2",
    ]
    assert json.loads(CliRunner().invoke(app, [*words, "--r2", "0.051", "--json"]).stdout)["final"] == 4286
    words = [
        "sample-size",
        "validation",
        "--prevalence",
        "0.48",
        "--c",
        "0.82",
        "--lp-mean",
        "-0.1",
        "--lp-sd",
        "1.3",
    ]
    assert json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)["n"]["slope"] == 2049
