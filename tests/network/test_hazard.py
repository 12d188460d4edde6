"""Losses for time to an event against R (survival, glm), where its values lie beside the checkout, and against exact cases."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from promet.network import hazard

ROOT = Path(__file__).parents[2]
ORACLES = next((p for p in (ROOT / "shared/oracles", ROOT.parent / "shared/oracles") if p.is_dir()), None)
oracles = pytest.mark.skipif(ORACLES is None, reason="R's values (shared/oracles) are not on this machine")


def read(name):
    return json.loads((ORACLES / name).read_text())


def table(file):
    with open(ORACLES / file, newline="") as handle:
        rows = list(csv.DictReader(handle))
    return tuple(np.array([float(row[key]) for row in rows]) for key in "tes")


def double(*arrays):
    return [torch.tensor(np.asarray(array), dtype=torch.float64) for array in arrays]


def most_likely(loss, size):
    """Parameters at the minimum of ``loss`` (a tensor of parameters to a number)."""

    def both(values):
        at = torch.tensor(values, requires_grad=True)
        value = loss(at)
        value.backward()
        return value.item(), at.grad.numpy()

    return minimize(both, np.zeros(size), jac=True, method="BFGS", options={"gtol": 1e-10}).x


@oracles
def test_hazard_equals_r():
    wanted = read("hazard.json")["b_months"]
    time, event, score = table(wanted["file"])
    cut = hazard.intervals(time, event, wanted["edges"])
    assert cut.at_risk.sum(axis=0).tolist() == wanted["at_risk"]
    assert cut.event.sum(axis=0).tolist() == wanted["events"]
    assert cut.at_risk.sum() == wanted["person_intervals"]
    fixed = wanted["logit"]["at_fixed_point"]
    eta, alpha, *cuts = double(fixed["coef"] * score, fixed["intercepts"], *cut)
    loss = hazard.hazard_loss(eta, alpha, *cuts)
    assert loss.item() == pytest.approx(fixed["nll_per_patient"], abs=1e-9)
    assert loss.item() * len(time) == pytest.approx(fixed["nll_sum"], abs=1e-9)

    # An interval without event has no finite intercept: its hazard is 0.
    some = [value is not None for value in wanted["logit"]["intercepts"]]
    x, part = torch.tensor(score), [tensor[:, some] for tensor in cuts]
    found = most_likely(lambda p: hazard.hazard_loss(p[0] * x, p[1:], *part), 1 + sum(some))
    intercepts = [value for value in wanted["logit"]["intercepts"] if value is not None]
    assert found == pytest.approx([wanted["logit"]["coef"], *intercepts], abs=1e-6)
    assert hazard.risk(found[0] * score, found[1:]) == pytest.approx(wanted["logit"]["risk48"], abs=1e-6)


@oracles
def test_one_interval_that_nobody_leaves_is_the_binary_loss():
    wanted = read("hazard.json")["one_interval_nocens48"]
    time, event, score = table(wanted["file"])
    cut = hazard.intervals(time, event, [wanted["edges"]])
    x, *cuts = double(score, *cut)
    found = most_likely(lambda p: hazard.hazard_loss(p[0] * x, p[1:], *cuts), 2)
    assert found == pytest.approx([wanted["coef"], wanted["intercept"]], abs=1e-6)
    eta, alpha = 0.7 * x, torch.zeros(1, dtype=torch.float64)
    plain = torch.nn.functional.binary_cross_entropy_with_logits(eta, cuts[1][:, 0])
    assert float(hazard.hazard_loss(eta, alpha, *cuts)) == pytest.approx(float(plain), abs=1e-12)


def test_edges_belong_to_the_interval_before_them():
    # left at 24; event at 24; left at 23; event at 30 after the last edge; event at 0; 24 but for rounding
    cut = hazard.intervals([24, 24, 23, 30, 0, 24 - 1e-12], [0, 1, 0, 1, 1, 0], [12, 24])
    assert cut.at_risk.tolist() == [[1, 1], [1, 1], [1, 0], [1, 1], [1, 0], [1, 1]]
    assert cut.event.tolist() == [[0, 0], [0, 1], [0, 0], [0, 0], [1, 0], [0, 0]]
    assert hazard.start(cut) == pytest.approx(np.log([1.5 / 5.5, 1.5 / 3.5]))


def test_a_competing_event_is_not_the_event():
    time, edges = [5, 24, 24], [12, 24]
    deaths, left = (hazard.intervals(time, event, edges) for event in ([2, 2, 1], [0, 0, 1]))
    assert (deaths.at_risk == left.at_risk).all() and (deaths.event == left.event).all()


def test_risk_keeps_small_numbers():
    assert hazard.risk(np.array([-50.0]), [0.0, 0.0]) == pytest.approx(2 * np.exp(-50), rel=1e-12)
    assert hazard.risk(np.array([800.0]), [0.0]).tolist() == [1.0]


@oracles
@pytest.mark.parametrize("name", ["months47", "admin48", "batch8_one_event"])
def test_cox_equals_r(name):
    wanted = read("cox_loss.json")[name]
    x = torch.tensor(np.array(wanted["x"]), dtype=torch.float64)  # (columns, n)
    time, event = hazard.up_to(np.array(wanted["time"], float), np.array(wanted["event"]))
    beta = torch.tensor(np.atleast_1d(wanted["beta"]), dtype=torch.float64)
    eta = (beta @ x).requires_grad_()
    loss = hazard.cox_loss(eta, time, event)
    loss.backward()
    assert -loss.item() == pytest.approx(wanted["efron"]["loglik_at_beta"], abs=1e-9)
    assert (-eta.grad).tolist() == pytest.approx(wanted["efron"]["dloglik_deta_at_beta"], abs=1e-9)
    if wanted["efron"]["coef"]:  # not where the likelihood has no maximum
        found = most_likely(lambda p: hazard.cox_loss(p @ x, time, event), len(beta))
        assert found == pytest.approx(np.atleast_1d(wanted["efron"]["coef"]), abs=1e-6)


def test_cox_with_a_large_log_hazard_and_ties():
    """Four patients, two events at one time, by hand; shifted by 100 and with one far above the others."""
    time, event = hazard.up_to(np.array([1.0, 1.0, 2.0, 0.5]), np.array([1, 1, 0, 1]))
    eta = torch.tensor([0.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    plain = np.log(4) + np.log(3) + np.log(2)  # risk sets of 4, of 3, and of 3 less half of the two
    assert float(hazard.cox_loss(eta, time, event)) == pytest.approx(plain, abs=1e-12)
    assert float(hazard.cox_loss(eta + 900, time, event)) == pytest.approx(plain, abs=1e-9)
    eta[3] = 900.0  # has the event first and leaves the later risk sets as they are
    assert float(hazard.cox_loss(eta, time, event)) == pytest.approx(np.log(3) + np.log(2), abs=1e-9)


def test_cox_without_an_event_keeps_the_graph():
    eta = torch.ones(3, requires_grad=True)
    loss = hazard.cox_loss(eta, torch.tensor([1.0, 2.0, 3.0]), torch.zeros(3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0 and eta.grad.tolist() == [0, 0, 0]
