"""Follow-up of the phantom: the truth is the truth, nothing knows it with effect 0, and without it the phantom is as it was."""

import dataclasses

import numpy as np
import pytest
from scipy.integrate import quad

from promet.phantom import follow_up
from promet.phantom.cohort import write_cohort
from promet.phantom.truth import patient_truth
from promet.study.concordance import harrell
from promet.study.follow_up import known


def cohort(effect, count=4000):
    rng = np.random.default_rng(5)
    a = rng.standard_normal(count)
    return a, [follow_up.draw(rng, effect, x) for x in a]


@pytest.mark.parametrize("effect", [0.0, 1.0])
def test_the_true_risk_is_what_weights_find_in_what_is_seen(effect):
    """Cumulative incidence by weighting against the mean of the true risks: the censoring is honest, death competes."""
    a, drawn = cohort(effect)
    time = np.array([one.months for one in drawn])
    event = np.array([1 if one.progressed else 2 if one.died else 0 for one in drawn])
    true = np.mean([follow_up.risk(effect, x, 48.0) for x in a[:400]])
    who = known(time, event, 48.0)
    assert who is not None
    assert (who.weight * who.case).sum() / len(time) == pytest.approx(true, abs=0.035)
    assert (event == 0).mean() > 0.2 and (event == 2).mean() > 0.05
    assert (time < 48)[event == 0].mean() > 0.2  # left before the horizon


def test_true_risk_against_another_integration():
    def density(t, a):
        h = np.exp(1.5 * a) * (1.3 / 75) * (t / 75) ** 0.3
        return h * np.exp(-np.exp(1.5 * a) * (t / 75) ** 1.3 - t / 240)

    for a in (-1.0, 0.0, 1.5):
        assert follow_up.risk(1.0, a, 48.0) == pytest.approx(quad(density, 0, 48, args=(a,))[0], abs=1e-4)


def test_the_order_of_events_knows_the_aggressiveness_and_with_effect_0_does_not():
    for effect, low, high in ((0.0, 0.47, 0.53), (1.0, 0.7, 0.9)):
        a, drawn = cohort(effect, 1500)
        time = np.array([one.months for one in drawn])
        c, _ = harrell(time, np.array([one.progressed for one in drawn]), a, 48.0)
        assert low < c < high


def test_development_patients_stay_who_they_are():
    for index in range(6):
        plain, followed = (patient_truth(1, index, "development", 1.0, kind) for kind in (False, True))
        assert plain.follow_up is None and plain.months is None
        assert followed.months == followed.follow_up.months > 0
        nothing = {"follow_up": None, "progression": None, "months": None, "event_months": None}
        assert dataclasses.replace(followed, **nothing) == plain
    assert patient_truth(1, 0, "", 1.0, True).follow_up is None


def test_columns_of_table_and_truth(tmp_path):
    heads = {}
    for name, followed in (("plain", False), ("followed", True)):
        write_cohort(tmp_path / name, 2, 1, 1, small=True, followed=followed)
        heads[name] = [
            (tmp_path / name / file).read_text().split("\n")[0] for file in ("cohort.tsv", "truth.tsv")
        ]
    assert "died" not in "".join(heads["plain"])
    assert heads["followed"][0] == heads["plain"][0] + "\tdied"
    assert {"death_months", "leaving_months", "study_end_months", "true_risk_48"} <= set(
        heads["followed"][1].split("\t")
    )
