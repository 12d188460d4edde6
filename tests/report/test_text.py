"""Numbers as text."""

import math

import numpy as np
import pytest

from promet.report import text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.00004, "p < 0.001"),
        (0.0064, "p = 0.006"),
        (0.0496, "p = 0.050"),
        (0.0499999, "p = 0.050"),
        (0.1538, "p = 0.154"),
        (0.1999, "p = 0.20"),
        (0.534, "p = 0.53"),
        (1.0, "p = 1.00"),
        (None, text.DASH),
        (math.nan, text.DASH),
    ],
)
def test_p_value(value, shown):
    assert text.p_value(value).replace(text.NBSP, " ") == shown


def test_fixed():
    assert text.fixed(-0.104) == "−0.10"
    assert text.fixed(-0.001) == "0.00"
    assert text.fixed(None) == text.DASH


def test_words():
    assert (
        text.listed([]) == "" and text.listed(["a"]) == "a" and text.listed(["a", "b", "c"]) == "a, b and c"
    )
    assert text.interval(0.1, None) == "0.10 to unknown" and text.interval(None, 0.9) == "unknown to 0.90"
    assert (
        text.interval(21.46, math.inf, 1) == "21.5 to unknown" and text.interval(None, math.nan) == text.DASH
    )
    assert text.quartiles([1, 2, 3, 4, 5]) == "3.0 (2.0 to 4.0)"
    assert text.percent(1, 0) == text.DASH
    assert [text.percent(part, 1000) for part in (0, 0.2, 3, 9.96, 126, 994, 1000)] == [
        f"{number}{text.NBSP}%" for number in ("0", "0.02", "0.3", "1", "13", "99", "100")
    ]
    assert (
        text.percent(996, 1000).replace(text.NBSP, " ")
        == text.percent(99_999, 100_000).replace(text.NBSP, " ")
        == "> 99 %"
    )
    assert [text.seconds(s) for s in (3.21, 600, 9000)] == ["3.2 s", "10 min", "2.5 h"]


def test_numbers_are_rounded_and_never_cut():
    random = np.random.default_rng(0)
    for value in [
        *random.uniform(0, 1, 400),
        *10 ** random.uniform(-5, 0, 400),
        0.0158,
        0.0995,
        0.1995,
        0.9999,
    ]:
        shown = text.p_value(value, "").replace(text.NBSP, "")
        if shown == "<0.001":
            assert value < 0.001
            continue
        digits = len(shown.split(".")[1])
        assert (
            digits == (3 if value < 0.1995 else 2) and abs(float(shown) - value) <= 0.5 * 10**-digits + 1e-12
        )
        low, high = text.interval(value - 1, value * 30).replace("−", "-").split(" to ")
        assert (
            abs(float(low) - (value - 1)) <= 0.005 + 1e-12 and abs(float(high) - value * 30) <= 0.005 + 1e-12
        )
    for value in [*(10 ** random.uniform(-3, 6, 400)), 999.4, 999.5, 999.6, 1000.0, -999.7]:
        shown = float(text.short(value).replace(" ", "").replace("−", "-"))
        assert "e" not in text.short(value) and abs(shown - value) <= 0.00501 * abs(value)


def test_no_probability_claims_certainty():
    shown = [
        text.probability(p).replace(text.NBSP, " ") for p in (0.0, 0.0049, 0.005, 0.32, 0.994, 0.995, 1.0)
    ]
    assert shown == ["< 0.01", "< 0.01", "0.01", "0.32", "0.99", "> 0.99", "> 0.99"]
    assert text.probability(None) == text.DASH
