"""AUC, DeLong and Mann-Whitney against the paper, other libraries and definitions written differently."""

import json
import math
import tracemalloc
from itertools import combinations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score, roc_curve

from promet.evaluation.stats import auc


def tied(seed: int, n: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    y = (random.random(n) < 0.4).astype(float)
    a = np.round(random.normal(size=n) + y, 1)
    return y, a, np.round(random.normal(size=n) + 0.5 * y + 0.3 * a, 1)


def with_u(u: float, m: int = 10, n: int = 13) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores of m cases and n controls with Mann-Whitney U of the cases = u."""
    controls, cases, left = np.arange(1.0, n + 1), [], u
    for k in range(m):
        wins = min(float(n), left)
        # above floor(wins) controls; half a win is a tie with the next one
        cases.append(math.floor(wins) + (1.0 if wins % 1 else 0.5 + k * 1e-3))
        left -= wins
    return np.r_[np.ones(m), np.zeros(n)], np.r_[cases, controls]


def placements(y: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """DeLong's components straight from their definition, pair by pair."""

    def psi(x: float, z: float) -> float:
        return 1.0 if x > z else 0.5 if x == z else 0.0

    cases, controls = s[y == 1], s[y == 0]
    return (
        np.array([sum(psi(x, z) for z in controls) / len(controls) for x in cases]),
        np.array([sum(psi(x, z) for x in cases) / len(cases) for z in controls]),
    )


@pytest.mark.parametrize(
    ("u", "area", "p", "digits"),
    [(109, 0.839, 0.0064, 4), (94, 0.723, 0.072, 3), (96.5, 0.742, 0.051, 3), (88, 0.677, 0.1538, 4)],
)
def test_published_p_values(u: float, area: float, p: float, digits: int) -> None:
    found = auc.record(*with_u(u))
    assert found["mann_whitney"]["u"] == u
    assert (found["positives"], found["negatives"]) == (10, 13)
    assert abs(found["auc"] - area) < 0.001
    assert round(found["mann_whitney"]["p"], digits) == p
    assert round(found["delong"]["p"], digits) != p


# Of the 10 who progressed and of the 13 who did not: how many on each of four levels of the score. Found by search among
# all tables with the published U; without ties no order of 23 scores gives the first and the last interval.
PUBLISHED = {
    "multimodal": ((0, 2, 4, 4), (2, 9, 1, 1), 109, (0.6763, 4), (1.000, 3), (0.0064, 4)),
    "cnn": ((1, 1, 2, 6), (0, 10, 0, 3), 94, (0.497, 3), (0.949, 3), (0.072, 3)),
    "capra": ((1, 0, 2, 7), (7, 0, 2, 4), 96.5, (0.55, 2), (0.934, 3), (0.051, 3)),
    "ucla_psma_risk": ((3, 0, 4, 3), (9, 1, 0, 3), 88, (0.457, 3), (0.896, 3), (0.1538, 4)),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_intervals_and_p_values_from_one_table(name: str) -> None:
    cases, controls, u, low, high, p = PUBLISHED[name]
    score = np.r_[np.repeat(range(4), cases), np.repeat(range(4), controls)].astype(float)
    found = auc.record(np.repeat([1, 0], [10, 13]), score)
    assert found["mann_whitney"]["u"] == u
    assert round(found["delong"]["low"], low[1]) == low[0]
    assert round(found["delong"]["high"], high[1]) == high[0]
    assert round(found["mann_whitney"]["p"], p[1]) == p[0]


@pytest.mark.parametrize("seed", range(8))
def test_delong_equals_pairwise_definition(seed: int) -> None:
    y, a, b = tied(seed)
    va, vb = placements(y, a), placements(y, b)
    m, n = len(va[0]), len(va[1])
    found = auc.record(y, a, bootstrap=100)
    assert found["auc"] == pytest.approx(va[0].mean(), abs=1e-13)
    se = math.sqrt(va[0].var(ddof=1) / m + va[1].var(ddof=1) / n)
    assert found["delong"]["se"] == pytest.approx(se, rel=1e-12)
    assert found["delong"]["p"] == pytest.approx(2 * stats.norm.cdf(-abs(va[0].mean() - 0.5) / se), rel=1e-10)
    pair = auc.paired(y, a, b)
    variance = (va[0] - vb[0]).var(ddof=1) / m + (va[1] - vb[1]).var(ddof=1) / n
    assert pair["difference"] == pytest.approx(va[0].mean() - vb[0].mean(), abs=1e-13)
    assert pair["se"] == pytest.approx(math.sqrt(variance), rel=1e-11)
    assert pair["p"] == pytest.approx(math.erfc(abs(pair["z"]) / math.sqrt(2)), rel=1e-10)
    assert pair["low"] == pytest.approx(pair["difference"] - 1.959963985 * pair["se"], abs=1e-8)


def test_delong_by_hand() -> None:
    """Cases 2, 4 against controls 1, 3: placements .5, 1 and 1, .5; variance .125 / 2 + .125 / 2."""
    found = auc.record([1, 1, 0, 0], [2, 4, 1, 3])
    assert found["auc"] == 0.75
    assert found["delong"]["se"] == pytest.approx(math.sqrt(0.125))
    assert found["delong"]["low"] == pytest.approx(0.75 - 1.959963985 * math.sqrt(0.125))
    assert found["delong"]["high"] == 1.0


@pytest.mark.parametrize("seed", range(5))
def test_auc_roc_and_u_equal_other_libraries(seed: int) -> None:
    y, a, _ = tied(seed)
    found = auc.record(y, a, bootstrap=100)
    assert found["auc"] == pytest.approx(roc_auc_score(y, a), abs=1e-14)
    fpr, tpr, thresholds = roc_curve(y, a, drop_intermediate=False)
    np.testing.assert_allclose(found["roc"]["fpr"], fpr, atol=1e-15)
    np.testing.assert_allclose(found["roc"]["tpr"], tpr, atol=1e-15)
    assert found["roc"]["threshold"][0] is None and found["roc"]["threshold"][1:] == thresholds[1:].tolist()
    theirs = stats.ranksums(a[y == 1], a[y == 0])  # also without tie or continuity correction
    assert found["mann_whitney"]["p"] == pytest.approx(theirs.pvalue, rel=1e-10)
    assert found["mann_whitney"]["z"] == pytest.approx(theirs.statistic, rel=1e-10)
    assert found["mann_whitney"]["p_ties"] < found["mann_whitney"]["p"]
    assert found["mann_whitney"]["p_exact"] == pytest.approx(found["mann_whitney"]["p_ties"], abs=0.01)
    youden = found["youden"]
    assert youden["j"] == pytest.approx((tpr - fpr).max())
    called = a >= youden["threshold"]
    assert youden["sensitivity"] == pytest.approx(called[y == 1].mean())
    assert youden["specificity"] == pytest.approx(1 - called[y == 0].mean())


def test_exact_p_without_ties() -> None:
    """Cases all but highest of 3 v 4: U = 11 of 12; of the 35 orders two have U >= 11, so p = 4 / 35."""
    found = auc.record([1, 1, 1, 0, 0, 0, 0], [7, 6, 4, 5, 3, 2, 1])
    assert found["mann_whitney"]["u"] == 11
    assert found["mann_whitney"]["p_exact"] == pytest.approx(4 / 35)


@pytest.mark.parametrize("seed", range(6))
def test_exact_p_with_ties_counts_every_assignment(seed: int) -> None:
    random = np.random.default_rng(seed)
    cases, controls = random.integers(1, 5, 4).astype(float), random.integers(0, 4, 6).astype(float)
    everyone = np.r_[cases, controls]

    def u(chosen: tuple[int, ...]) -> float:
        c, d = everyone[list(chosen)], np.delete(everyone, chosen)
        return float(((c[:, None] > d) + 0.5 * (c[:, None] == d)).sum())

    far = [abs(u(chosen) - 12) >= abs(u((0, 1, 2, 3)) - 12) for chosen in combinations(range(10), 4)]
    assert len(far) == 210
    assert auc.exact_p(cases, controls) == pytest.approx(np.mean(far), rel=1e-12)


@pytest.mark.parametrize(("m", "n"), [(3, 4), (10, 13), (45, 49)])
def test_exact_p_without_ties_is_scipys(m: int, n: int) -> None:
    random = np.random.default_rng(m)
    cases, controls = random.normal(0.4, 1, m), random.normal(size=n)
    theirs = stats.mannwhitneyu(cases, controls, method="exact").pvalue
    assert auc.exact_p(cases, controls) == pytest.approx(theirs, rel=1e-10)
    assert auc.exact_p(controls, cases) == pytest.approx(theirs, rel=1e-10)


@pytest.mark.parametrize("seed", range(30))
def test_exact_p_of_unequal_classes_is_that_of_all_assignments_and_scipys(seed: int) -> None:
    """Any sizes, either class the smaller one; ranks in steps of a half with ties, whole without."""
    random = np.random.default_rng(seed)
    m, n = int(random.integers(1, 5)), int(random.integers(1, 9))
    if seed % 2:
        m, n = n, m
    ties = seed % 3 == 0
    everyone = random.integers(0, 4, m + n).astype(float) if ties else random.normal(size=m + n)
    ranks = stats.rankdata(everyone)
    sums = np.array([ranks[list(chosen)].sum() for chosen in combinations(range(m + n), m)])
    centre = m * (m + n + 1) / 2
    wanted = np.mean(np.abs(sums - centre) >= abs(ranks[:m].sum() - centre) - 1e-9)
    assert auc.exact_p(everyone[:m], everyone[m:]) == pytest.approx(wanted, rel=1e-12)
    if not ties:
        theirs = stats.mannwhitneyu(everyone[:m], everyone[m:], method="exact").pvalue
        assert wanted == pytest.approx(theirs, rel=1e-10)


@pytest.mark.parametrize("digits", [1, 9])
@pytest.mark.parametrize(
    ("m", "n"), [(1, 2000), (2000, 1), (300, 8), (8, 300), (150, 150), (4000, 4000), (2, 60000)]
)
def test_exact_p_is_bounded_whatever_the_sizes(m: int, n: int, digits: int) -> None:
    """Counts that can be held and summed, or none and a sentence; where it is given it agrees with scipy or the normal one."""
    random = np.random.default_rng(m)
    cases, controls = np.round(random.normal(0.2, 1, m), digits), np.round(random.normal(size=n), digits)
    tracemalloc.start()
    found = auc.mann_whitney(cases, controls)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 300e6
    assert (found["p_exact"] is None) == (min(m, n) > 100 or (m, n) == (2, 60000))
    if min(m, n) == 8:
        theirs = (
            stats.mannwhitneyu(cases, controls, method="exact").pvalue if digits == 9 else found["p_ties"]
        )
        assert found["p_exact"] == pytest.approx(theirs, rel=1e-9 if digits == 9 else 0.06)
    if min(m, n) == 1:  # every rank is as likely for the one
        ranks = stats.rankdata(np.r_[cases, controls])
        mine = ranks[0] if m == 1 else ranks[-1]
        assert found["p_exact"] == pytest.approx(np.mean(np.abs(ranks - 1001) >= abs(mine - 1001)), rel=1e-12)


def test_exact_p_of_a_perfect_separation_is_two_assignments_of_all() -> None:
    assert auc.exact_p(np.arange(60) + 100.0, np.arange(60.0)) == pytest.approx(
        2 / math.comb(120, 60), rel=1e-12
    )
    assert auc.exact_p(np.array([9.0]), np.arange(9.0)) == pytest.approx(0.2)


def test_no_exact_p_is_said_with_what_holds_instead() -> None:
    random = np.random.default_rng(0)
    label = np.repeat([1.0, 0.0], 200)
    found = auc.record(label, random.normal(size=400) + 0.3 * label, bootstrap=100)
    assert found["mann_whitney"]["p_exact"] is None and found["mann_whitney"]["p_ties"] is not None
    assert any("200 and 200 patients" in n and "with tie correction." in n for n in found["notes"])


def test_hanley_mcneil_at_one_half_is_the_mann_whitney_se() -> None:
    assert auc.hanley_mcneil(0.5, 10, 13) == pytest.approx(math.sqrt(24 / (12 * 130)))


def test_logit_interval() -> None:
    found = auc.logit_interval(0.839, 0.083, 0.95)
    # statsmodels' delta method on a logit gives the same as writing it out
    half = 1.959963985 * 0.083 / (0.839 * 0.161)
    assert [math.log(x / (1 - x)) for x in found.values()] == pytest.approx(
        [math.log(0.839 / 0.161) - half, math.log(0.839 / 0.161) + half], rel=1e-8
    )


def test_bootstrap_is_seeded_and_near_a_plain_one() -> None:
    y, a, _ = tied(3, 120)
    a = np.round(a)  # many ties
    first, again, other = (auc.record(y, a, seed=s)["bootstrap"] for s in (1, 1, 2))
    assert first == again and (first["low"], first["high"]) != (other["low"], other["high"])
    random, areas = np.random.default_rng(0), []
    cases, controls = a[y == 1], a[y == 0]
    for _ in range(1500):
        c, d = random.choice(cases, len(cases)), random.choice(controls, len(controls))
        areas.append(np.mean((c[:, None] > d) + 0.5 * (c[:, None] == d)))
    assert (first["low"], first["high"]) == pytest.approx(tuple(np.quantile(areas, [0.025, 0.975])), abs=0.02)


def test_level_widens_every_interval() -> None:
    y, a, _ = tied(1)
    narrow, wide = auc.record(y, a, 0.8), auc.record(y, a, 0.99)
    for kind in ("delong", "logit", "bootstrap"):
        assert wide[kind]["low"] < narrow[kind]["low"] < narrow[kind]["high"] < wide[kind]["high"]


def test_missing_values_are_counted_and_left_out() -> None:
    y, a, b = tied(2)
    gappy, label = a.copy(), y.copy()
    gappy[:5], label[7] = np.nan, np.nan
    found = auc.record(label, gappy)
    keep = np.r_[5, 6, np.arange(8, 60)]
    assert found["auc"] == pytest.approx(roc_auc_score(y[keep], a[keep]))
    assert (found["n"], found["missing"]) == (54, 5) and len(found["notes"]) >= 2
    pair = auc.paired(label, gappy, b)
    assert (pair["n"], pair["missing"]) == (54, 5)
    assert pair["auc_b"] == pytest.approx(roc_auc_score(y[keep], b[keep]))


def every_number(value: object) -> list[float]:
    if isinstance(value, dict):
        return [x for v in value.values() for x in every_number(v)]
    if isinstance(value, list):
        return [x for v in value for x in every_number(v)]
    return [float(value)] if isinstance(value, (int, float)) else []


@pytest.mark.parametrize(
    ("label", "score", "area", "word"),
    [
        ([], [], None, "Nobody"),
        ([1, 0], [1, 2], None, "Only 2"),
        ([1, 1, 1], [1, 2, 3], None, "with the outcome"),
        ([0, 0, 0], [1, 2, 3], None, "without the outcome"),
        ([0, 1, 1, 0], [2, 2, 2, 2], 0.5, "same for everyone"),
        ([0, 0, 1, 1], [1, 2, 3, 4], 1.0, "perfectly"),
        ([1, 1, 0, 0], [1, 2, 3, 4], 0.0, "perfectly"),
        ([1, 0, 0, 0], [2, 1, 3, 0], 2 / 3, "only one patient"),
        ([1, 0, 1, 0], [2, 1, np.inf, 0], None, "infinite"),
        ([1, 0, 1, 0], [np.nan] * 4, None, "Nobody"),
        ([1, 0, 2, 0, 1], [3, 2, 1, 4, 5], None, "neither 0 nor 1"),
    ],
)
def test_degenerate_inputs_give_a_sentence(label: list, score: list, area: float | None, word: str) -> None:
    found = auc.record(np.array(label, float), np.array(score, float))
    if word != "neither 0 nor 1":
        assert found["auc"] == area
        assert found["delong"] == dict.fromkeys(("variance", "se", "low", "high", "z", "p"))
        assert found["bootstrap"]["low"] is None and found["logit"]["low"] is None
    assert any(word in note for note in found["notes"])
    assert all(math.isfinite(x) for x in every_number(found))
    json.dumps(found, allow_nan=False)


def test_paired_degenerate() -> None:
    y, a, _ = tied(0)
    same = auc.paired(y, a, np.exp(a))
    assert same["difference"] == 0 and same["p"] is None and "alike" in same["notes"][0]
    assert auc.paired(np.ones(4), a[:4], a[:4])["p"] is None
    assert auc.paired([1, 0, 0], [1, 2, 0], [1, np.nan, np.nan])["auc_a"] is None
    perfect = auc.paired(y, y, a)
    assert perfect["auc_a"] == 1 and perfect["p"] is None and perfect["low"] is None
    assert perfect["difference"] == 1 - perfect["auc_b"] and "perfectly" in perfect["notes"][0]


def test_unequal_lengths_are_a_programming_error() -> None:
    with pytest.raises(ValueError, match="one length"):
        auc.record([1, 0], [1.0])
    with pytest.raises(ValueError, match="one length"):
        auc.paired([1, 0], [1.0, 2.0], [1.0])
