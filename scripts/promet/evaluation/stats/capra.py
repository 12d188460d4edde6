"""The CAPRA score.

Source: Cooperberg et al., J Urol 2005;173:1938; table as reprinted in PMC2777059, Table 2.

| item                      | points |
|---------------------------|--------|
| PSA, ng/ml                | <= 6: 0; <= 10: 1; <= 20: 2; <= 30: 3; above: 4 |
| Gleason primary/secondary | 1-3/1-3: 0; 1-3/4-5: 1; 4-5/any: 3 |
| clinical T                | T1, T2: 0; T3a: 1 |
| positive cores            | < 34 %: 0; >= 34 %: 1 |
| age                       | < 50: 0; >= 50: 1 |

0-2 low, 3-5 intermediate, 6-10 high.
"""

from __future__ import annotations

import math
from typing import Any

from promet.study.tnm import clinical_t

# A grade group names both Gleason patterns, except 4: 4+4 and 5+3 give 3 points, 3+5 gives 1.
GRADE_GROUP_POINTS = {1: 0, 2: 1, 3: 3, 4: 3, 5: 3}
ITEMS = ("psa", "gleason", "clinical_t", "positive_cores_percent", "age")
COLUMNS = (
    "psa",
    "grade_group",
    "gleason_primary",
    "gleason_secondary",
    "clinical_t",
    "positive_cores_percent",
    "age",
)


def capra(
    psa: float = math.nan,
    grade_group: float = math.nan,
    gleason_primary: float = math.nan,
    gleason_secondary: float = math.nan,
    clinical_t: str = "",
    positive_cores_percent: float = math.nan,
    age: float = math.nan,
) -> dict[str, Any]:
    """CAPRA of one patient.

    Args:
        psa: ng/ml, at diagnosis.
        grade_group: ISUP 1-5, used when the two Gleason patterns are not both given.
        gleason_primary, gleason_secondary: patterns 1-5.
        clinical_t: like ``T1c``, ``cT2a``, ``3b``; anything else counts as missing.
        positive_cores_percent: 0-100; above 0 and at most 1 it is no percentage but a share, and counts as missing.
        age: years.

    Returns:
        capra (0-10 or None), group (low, intermediate, high or None), points (item -> points or
        None), notes (sentences: what is missing, what is ambiguous).
    """
    notes: list[str] = []
    points = {
        "psa": _psa(psa, notes),
        "gleason": _gleason(gleason_primary, gleason_secondary, grade_group, notes),
        "clinical_t": _clinical_t(clinical_t, notes),
        "positive_cores_percent": _cores(positive_cores_percent, notes),
        "age": _age(age, notes),
    }
    absent = [item for item, given in points.items() if given is None]
    total = None if absent else sum(given for given in points.values() if given is not None)
    if absent:
        notes.append(f"No CAPRA: {', '.join(absent)} missing.")
    return {"capra": total, "group": group(total), "points": points, "notes": notes}


def group(total: int | None) -> str | None:
    """Risk group of a total (PMC5961643, Table 1)."""
    if total is None:
        return None
    return "low" if total <= 2 else "intermediate" if total <= 5 else "high"


def _psa(value: float, notes: list[str]) -> int | None:
    if math.isnan(value):
        return None
    if not 0 < value < math.inf:
        notes.append("The PSA is not a positive number; it counts as missing.")
        return None
    return sum(value > bound for bound in (6, 10, 20, 30))


def _gleason(primary: float, secondary: float, grade_group: float, notes: list[str]) -> int | None:
    patterns = [p for p in (primary, secondary) if not math.isnan(p)]
    if any(p not in (1, 2, 3, 4, 5) for p in patterns):
        notes.append("A Gleason pattern is not one of 1 to 5; the patterns count as missing.")
    elif len(patterns) == 2:
        return 3 if primary >= 4 else 1 if secondary >= 4 else 0
    if math.isnan(grade_group):
        return None
    if grade_group not in GRADE_GROUP_POINTS:
        notes.append("The grade group is not one of 1 to 5; it counts as missing.")
        return None
    if grade_group == 4:
        notes.append("Grade group 4 without Gleason patterns: 3 points, but 3+5 would have 1.")
    return GRADE_GROUP_POINTS[int(grade_group)]


def _clinical_t(value: str, notes: list[str]) -> int | None:
    text = (value or "").strip()
    if not text:
        return None
    stage = t_stage(text)
    if stage is None:
        notes.append("The clinical T category is none of T1 to T4; it counts as missing.")
        return None
    number, letter = stage
    if number <= 2:
        return 0
    if number == 4 or letter in ("b", "c"):
        notes.append("cT3b and cT4 are outside CAPRA's definition; 1 point as for cT3a.")
    elif not letter:
        notes.append("cT3 without a letter; 1 point as for cT3a.")
    return 1


def t_stage(text: str) -> tuple[int, str] | None:
    """(number, letter or "") of a clinical T category, None when it is not T1 to T4."""
    stage = clinical_t(text)
    return (int(stage[1]), stage[2:]) if stage and stage[1] in "1234" else None


def cores_percent(value: float) -> tuple[float, str]:
    """The share of positive cores in percent, NaN and why where a value is none."""
    if not (math.isnan(value) or 0 <= value <= 100):
        return math.nan, "The share of positive cores is not within 0 to 100 %; it counts as missing."
    if 0 < value <= 1:
        return math.nan, (
            f"The share of positive cores is {value:g}: percent are needed, and that would be at most one core of a hundred; it "
            "counts as missing."
        )
    return value, ""


def _cores(value: float, notes: list[str]) -> int | None:
    percent, reason = cores_percent(value)
    notes += [reason] if reason else []
    return None if math.isnan(percent) else int(percent >= 34)


def _age(value: float, notes: list[str]) -> int | None:
    if math.isnan(value):
        return None
    if not 0 < value < 130:
        notes.append("The age is not plausible; it counts as missing.")
        return None
    return int(value >= 50)
