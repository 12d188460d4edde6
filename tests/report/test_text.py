"""Numbers as text."""

import math

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
    assert text.interval(0.1, None) == text.DASH
    assert text.quartiles([1, 2, 3, 4, 5]) == "3.0 (2.0 to 4.0)"
    assert text.percent(1, 0) == text.DASH
    assert [text.percent(part, 1000) for part in (0, 0.2, 3, 9.96, 126, 1000)] == [
        f"{number}{text.NBSP}%" for number in ("0", "0.02", "0.3", "1", "13", "100")
    ]
    assert [text.seconds(s) for s in (3.21, 600, 9000)] == ["3.2 s", "10 min", "2.5 h"]


def test_no_probability_claims_certainty():
    shown = [
        text.probability(p).replace(text.NBSP, " ") for p in (0.0, 0.0049, 0.005, 0.32, 0.994, 0.995, 1.0)
    ]
    assert shown == ["< 0.01", "< 0.01", "0.01", "0.32", "0.99", "> 0.99", "> 0.99"]
    assert text.probability(None) == text.DASH
