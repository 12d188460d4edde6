"""The drawn patients: classes, signal, null, missing values."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from promet.phantom.truth import BIOPSY, GLEASON, patient_truth

CLINIC = ("psa", "grade_group", "positive_cores_percent", "primary_score", "psma_expression")


def development(seed: int, count: int, effect: float) -> list:
    return [patient_truth(seed, index, "development", effect) for index in range(count)]


def features(truth) -> dict[str, float]:
    found = {name: float(truth.clinic[name]) for name in (*CLINIC, "age")}
    found["count"] = len(truth.lesions)
    found["size"] = max((float(np.prod(lesion.radii)) for lesion in truth.lesions), default=0.0)
    found["suv"] = max((lesion.suv for lesion in truth.lesions), default=0.0)
    found["texture"] = max((lesion.texture for lesion in truth.lesions), default=0.0)
    return found


def aucs(truths: list) -> dict[str, float]:
    labels = [truth.synchronous for truth in truths]
    rows = [features(truth) for truth in truths]
    return {name: roc_auc_score(labels, [row[name] for row in rows]) for name in rows[0]}


def test_both_classes_from_two_patients_on_and_about_46_percent_positive():
    for role, outcome in (("development", "synchronous"), ("metachronous", "progression")):
        for seed in range(40):
            assert {getattr(patient_truth(seed, i, role, 1.0), outcome) for i in range(2)} == {0, 1}
        # 96 = 4 whole blocks of 24 with 11 positive each
        assert sum(getattr(patient_truth(9, i, role, 1.0), outcome) for i in range(96)) == 44


def test_the_signal_is_clear_with_effect_1():
    truths = development(3, 240, 1.0)
    assert roc_auc_score([t.synchronous for t in truths], [t.aggressiveness for t in truths]) > 0.85
    found = aucs(truths)
    for name in (*CLINIC, "count", "size", "suv", "texture"):
        assert found[name] > 0.55, name
    assert abs(found["age"] - 0.5) < 0.15
    for name in CLINIC:
        assert np.corrcoef([t.drive for t in truths], [float(t.clinic[name]) for t in truths])[0, 1] > 0.15, (
            name
        )


def test_effect_2_is_stronger_than_effect_1():
    weak, strong = aucs(development(3, 240, 1.0)), aucs(development(3, 240, 2.0))
    assert all(strong[name] > weak[name] for name in ("psa", "grade_group", "size"))


def test_nothing_knows_the_label_with_effect_0():
    seeds, count = 40, 48
    found = [aucs(development(seed, count, 0.0)) for seed in range(seeds)]
    # Standard error of the mean AUC under the null (Mann-Whitney), 22 of 48 positive.
    error = np.sqrt((count + 1) / (12 * 22 * 26) / seeds)
    for name in found[0]:
        assert abs(np.mean([row[name] for row in found]) - 0.5) < 4 * error, name


def test_the_form_of_mask_and_the_timing_do_not_know_the_label():
    # Both go round with the index: a class that alternated with it would be readable from them.
    for seed_mask in range(4):
        labels = [t.synchronous for seed in range(60) for t in development(seed, 12, 0.0)[seed_mask::4]]
        assert abs(np.mean(labels) - 0.48) < 4 * np.sqrt(0.25 / len(labels))


def test_progression_times():
    truths = [patient_truth(2, index, "metachronous", 1.0) for index in range(120)]
    for truth in truths:
        assert truth.synchronous == 0
        assert (1 <= truth.months <= 48) if truth.progression else (48 <= truth.months < truth.event_months)
    early = [t.aggressiveness for t in truths if t.progression]
    late = [t.aggressiveness for t in truths if not t.progression]
    assert np.mean(early) > np.mean(late) + 0.8


@pytest.mark.parametrize("effect", [0.0, 1.0])
def test_biopsies_are_missing_only_in_the_metastatic(effect):
    truths = development(4, 240, effect)
    without = [t for t in truths if set(BIOPSY) <= t.missing]
    assert 10 < len(without) < 60
    assert all(t.synchronous == 1 for t in without)
    assert 2 <= sum("psa" in t.missing for t in truths) <= 30
    for truth in without:
        row = truth.row()
        assert all(row[name] == "" for name in BIOPSY)
        assert row["age"] != ""


def test_gleason_fits_the_grade_group():
    truths = development(5, 240, 1.0)
    assert {t.clinic["grade_group"] for t in truths} == {1, 2, 3, 4, 5}
    # ISUP grade groups (Epstein 2016), written out.
    isup = {(3, 3): 1, (3, 4): 2, (4, 3): 3, (4, 4): 4, (3, 5): 4, (5, 3): 4, (4, 5): 5, (5, 4): 5, (5, 5): 5}
    assert all(
        isup[t.clinic["gleason_primary"], t.clinic["gleason_secondary"]] == t.clinic["grade_group"]
        for t in truths
    )
    assert {pair for pairs in GLEASON.values() for pair in pairs} == set(isup)


def test_prospective_patients_have_no_outcome():
    row = patient_truth(1, 0, "", 1.0).row()
    assert row["role"] == row["synchronous_metastasis"] == row["progression"] == row["months"] == ""


def test_two_of_36_show_no_lesion():
    truths = development(1, 36, 1.0)
    hidden = [t for t in truths if not t.visible]
    assert len(hidden) == 2
    assert all(t.lesions == () and t.lesion_form == "" and t.clinic["primary_score"] <= 2 for t in hidden)


def test_patients_are_drawn_alike_alone_and_differ_from_each_other():
    assert patient_truth(1, 5, "development", 1.0) == patient_truth(1, 5, "development", 1.0)
    others = [
        patient_truth(1, 6, "development", 1.0),
        patient_truth(2, 5, "development", 1.0),
        patient_truth(1, 5, "", 1.0),
    ]
    weights = {t.acquisition.weight_kg for t in [patient_truth(1, 5, "development", 1.0), *others]}
    assert len(weights) == 4
