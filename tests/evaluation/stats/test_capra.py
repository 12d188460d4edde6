"""CAPRA at every boundary of its table."""

import math

import pytest

from promet.evaluation.stats.capra import capra, group
from promet.study import table

LOWEST = {
    "psa": 5.0,
    "gleason_primary": 3,
    "gleason_secondary": 3,
    "clinical_t": "T1c",
    "positive_cores_percent": 10.0,
    "age": 45.0,
}


def total(**change: object) -> int | None:
    return capra(**(LOWEST | change))["capra"]


@pytest.mark.parametrize(
    ("change", "points"),
    [
        ({}, 0),
        *[({"psa": psa}, p) for psa, p in [(0.5, 0), (2.0, 0), (6.0, 0), (6.1, 1), (10.0, 1), (10.1, 2)]],
        *[({"psa": psa}, p) for psa, p in [(20.0, 2), (20.1, 3), (30.0, 3), (30.1, 4), (900.0, 4)]],
        *[({"positive_cores_percent": x}, p) for x, p in [(0, 0), (1.1, 0), (33.9, 0), (34, 1), (100, 1)]],
        *[({"age": x}, p) for x, p in [(49, 0), (49.9, 0), (50, 1), (80, 1)]],
        *[
            ({"clinical_t": t}, p)
            for t, p in [("cT2c", 0), ("t2", 0), ("T3a", 1), ("3A", 1), ("T3", 1), ("T3b", 1)]
        ],
        ({"clinical_t": "T4"}, 1),
        *[
            ({"gleason_primary": a, "gleason_secondary": b}, p)
            for a, b, p in [(3, 4, 1), (3, 5, 1), (2, 3, 0), (4, 3, 3), (4, 4, 3), (5, 3, 3), (5, 5, 3)]
        ],
    ],
)
def test_boundaries(change: dict, points: int) -> None:
    assert total(**change) == points


def test_whole_range() -> None:
    worst = capra(
        psa=31, gleason_primary=4, gleason_secondary=3, clinical_t="T3a", positive_cores_percent=34, age=50
    )
    assert (worst["capra"], worst["group"], worst["notes"]) == (10, "high", [])


@pytest.mark.parametrize(("grade", "points"), [(1, 0), (2, 1), (3, 3), (4, 3), (5, 3)])
def test_grade_group_stands_in_for_the_patterns(grade: int, points: int) -> None:
    found = capra(
        **(LOWEST | {"gleason_primary": math.nan, "gleason_secondary": math.nan, "grade_group": grade})
    )
    assert found["points"]["gleason"] == points
    assert any("3+5" in note for note in found["notes"]) == (grade == 4)


def test_patterns_go_before_the_grade_group() -> None:
    found = capra(**(LOWEST | {"gleason_primary": 3, "gleason_secondary": 5, "grade_group": 4}))
    assert found["capra"] == 1 and not found["notes"]
    assert total(gleason_secondary=math.nan, grade_group=3) == 3


@pytest.mark.parametrize("stage", ["T3b", "T3c", "cT4"])
def test_beyond_t3a_is_warned_about(stage: str) -> None:
    assert any("outside" in note for note in capra(**(LOWEST | {"clinical_t": stage}))["notes"])


@pytest.mark.parametrize(
    ("change", "item"),
    [
        ({"psa": math.nan}, "psa"),
        ({"psa": 0}, "psa"),
        ({"psa": math.inf}, "psa"),
        ({"gleason_primary": math.nan}, "gleason"),
        ({"gleason_primary": 7}, "gleason"),
        ({"gleason_primary": math.nan, "grade_group": 6}, "gleason"),
        ({"gleason_primary": math.nan, "grade_group": 2.5}, "gleason"),
        ({"clinical_t": ""}, "clinical_t"),
        ({"clinical_t": "TX"}, "clinical_t"),
        ({"clinical_t": "T5"}, "clinical_t"),
        ({"positive_cores_percent": math.nan}, "positive_cores_percent"),
        ({"positive_cores_percent": 101}, "positive_cores_percent"),
        # shares for percent: a half, all, a twelfth
        *[({"positive_cores_percent": x}, "positive_cores_percent") for x in (0.5, 1, 1 / 12, 0.01)],
        ({"age": math.nan}, "age"),
    ],
)
def test_missing_item_means_no_total(change: dict, item: str) -> None:
    found = capra(**(LOWEST | change))
    assert found["capra"] is None and found["group"] is None and found["points"][item] is None
    assert f"No CAPRA: {item} missing." in found["notes"]


def test_groups() -> None:
    assert [group(x) for x in range(11)] == ["low"] * 3 + ["intermediate"] * 3 + ["high"] * 5


# Points per band, as printed: upper edge of the band (included) -> points.
BANDS = {
    "psa": [(6, 0), (10, 1), (20, 2), (30, 3), (math.inf, 4)],
    "positive_cores_percent": [(math.nextafter(34, 0), 0), (100, 1)],
    "age": [(math.nextafter(50, 0), 0), (math.inf, 1)],
}


@pytest.mark.parametrize("item", BANDS)
def test_both_sides_of_every_band_edge(item: str) -> None:
    for k, (edge, points) in enumerate(BANDS[item][:-1]):
        following = BANDS[item][k + 1][1]
        assert following == points + 1
        for value in (edge, math.nextafter(edge, 0)):
            assert capra(**(LOWEST | {item: value}))["points"][item] == points
        assert capra(**(LOWEST | {item: math.nextafter(edge, math.inf)}))["points"][item] == following


def test_all_gleason_patterns() -> None:
    """1-3/1-3: 0; 1-3/4-5: 1; 4-5/1-5: 3."""
    for a in range(1, 6):
        for b in range(1, 6):
            expected = 3 if a > 3 else 1 if b > 3 else 0
            assert total(gleason_primary=a, gleason_secondary=b) == expected


@pytest.mark.parametrize("letter", ["", "c", "C"])
@pytest.mark.parametrize(
    "stage", ["T1c", "T2", "T2a", "T2A", "t2b", "T3a", "3b", "T3c", "T4", "T 2a", "TX", "T0"]
)
def test_check_takes_what_capra_takes(letter: str, stage: str) -> None:
    """One reading of the clinical T: the table's check, its canonical text and the points agree, with and without c."""
    given, plain = letter + stage, stage.replace(" ", "").upper().removeprefix("T")
    wanted = f"T{plain[0]}{plain[1:].lower()}"
    assert table.COLUMNS["clinical_t"].valid(given) and table.normalise("clinical_t", given) == wanted
    points = capra(**(LOWEST | {"clinical_t": given}))["points"]["clinical_t"]
    assert points == {"1": 0, "2": 0, "3": 1, "4": 1}.get(plain[0])


@pytest.mark.parametrize("text", ["pT2a", "ypT2", "T5", "T2d", "T2a/b", "cN0", "T", "c", "T2a N0", "2.5"])
def test_what_is_no_clinical_t_is_refused_by_both(text: str) -> None:
    assert not table.COLUMNS["clinical_t"].valid(text)
    assert capra(**(LOWEST | {"clinical_t": text}))["points"]["clinical_t"] is None
