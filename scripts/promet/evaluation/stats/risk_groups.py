"""Clinical risk groups: D'Amico, EAU and NCCN (version 2.2020).

|         | low | intermediate | high | beyond |
|---------|-----|--------------|------|--------|
| D'Amico | PSA <= 10, grade group 1, <= T2a | what is neither | PSA > 20, grade group 4-5 or >= T2c | |
| EAU     | PSA < 10, grade group 1, T1-T2a | what is neither | PSA > 20, grade group 4-5 or T2c | T3-T4: locally advanced |
| NCCN    | PSA < 10, grade group 1, T1-T2a | PSA 10-20, grade group 2-3, T2b-c are factors; favourable: one of them, grade group 1-2 and less than 50 % positive cores | one of PSA > 20, grade group 4-5, T3a | very high: T3b-T4, primary pattern 5, or two of the three |

Sources: D'Amico et al., JAMA 1998;280:969; EAU guidelines (PMC6721410); NCCN guideline, prostate cancer, version 2.2020. "Very low"
is not told apart (it needs the PSA density and the cores one by one), nor nodes (cN is not recorded), nor NCCN's more than four cores
of grade group 4-5.

A value that is missing may be anything: a group is given only where every possible value leads to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import product
from typing import Any, NamedTuple

from promet.evaluation.stats.capra import capra, cores_percent
from promet.study.tnm import clinical_t

GRADE_GROUPS = {  # of a primary and a secondary pattern
    **{(a, b): 1 for a in (1, 2, 3) for b in (1, 2, 3)},
    **{(a, 4): 2 for a in (1, 2, 3)},
    **{(4, b): 3 for b in (1, 2, 3)},
    **dict.fromkeys(((4, 4), *((a, 5) for a in (1, 2, 3)), *((5, b) for b in (1, 2, 3))), 4),
    **dict.fromkeys(((4, 5), (5, 4), (5, 5)), 5),
}
ANY_PSA = (1.0, 10.0, 15.0, 20.0, 30.0)  # one of each side of every bound, and the bounds
ANY_CORES = (10.0, 50.0)
CATEGORIES = ("T1a", "T1b", "T1c", "T2a", "T2b", "T2c", "T3a", "T3b", "T4")


class Tumour(NamedTuple):
    """Everything known."""

    psa: float
    grade_group: int
    primary: int
    t: str
    cores: float


def damico(x: Tumour) -> str:
    """low, intermediate or high."""
    if x.psa > 20 or x.grade_group >= 4 or x.t >= "T2c":
        return "high"
    return "low" if x.psa <= 10 and x.grade_group == 1 and x.t <= "T2a" else "intermediate"


def eau(x: Tumour) -> str:
    """low, intermediate, high or locally advanced."""
    if x.t >= "T3":
        return "locally advanced"
    if x.psa > 20 or x.grade_group >= 4 or x.t == "T2c":
        return "high"
    return "low" if x.psa < 10 and x.grade_group == 1 and x.t <= "T2a" else "intermediate"


def nccn(x: Tumour) -> str:
    """low, favourable intermediate, unfavourable intermediate, high or very high."""
    high = (x.psa > 20) + (x.grade_group >= 4) + (x.t == "T3a")
    if x.t >= "T3b" or x.primary == 5 or high >= 2:
        return "very high"
    if high:
        return "high"
    factors = (x.psa >= 10) + (x.grade_group >= 2) + (x.t >= "T2b")
    if not factors:
        return "low"
    favourable = factors == 1 and x.grade_group <= 2 and x.cores < 50
    return "favourable intermediate" if favourable else "unfavourable intermediate"


SYSTEMS: dict[str, Callable[[Tumour], str]] = {"damico": damico, "eau": eau, "nccn_v2_2020": nccn}
NAMES = {"damico": "D'Amico", "eau": "EAU", "nccn_v2_2020": "NCCN v2.2020"}


def risk_groups(
    psa: float = math.nan,
    grade_group: float = math.nan,
    gleason_primary: float = math.nan,
    gleason_secondary: float = math.nan,
    clinical_t: str = "",
    positive_cores_percent: float = math.nan,
    age: float = math.nan,
) -> dict[str, Any]:
    """Groups of one patient; the arguments are those of ``capra``, NaN and "" are missing.

    Returns:
        damico, eau, nccn_v2_2020: a word of the table above or None; capra: 0-10 or None; notes: what is missing or odd, and
        which groups remain possible.
    """
    score = capra(
        psa, grade_group, gleason_primary, gleason_secondary, clinical_t, positive_cores_percent, age
    )
    absent = [name.replace("_", " ") for name, given in score["points"].items() if given is None]
    told = score["notes"][:-1] if absent else score["notes"]  # the last one repeats what is missing
    notes = [f"CAPRA: {note}" for note in told]
    pairs = _patterns(grade_group, gleason_primary, gleason_secondary, notes)
    cores, _ = cores_percent(positive_cores_percent)
    possible = [
        Tumour(p, GRADE_GROUPS[pair], pair[0], t, c)
        for p, pair, t, c in product(
            (psa,) if 0 < psa < math.inf else ANY_PSA,
            pairs,
            _categories(clinical_t, notes),
            ANY_CORES if math.isnan(cores) else (cores,),
        )
    ]
    found: dict[str, Any] = {}
    for name, system in SYSTEMS.items():
        groups = list(dict.fromkeys(system(x) for x in possible))
        found[name] = groups[0] if len(groups) == 1 else None
        if len(groups) > 1:
            notes.append(f"{NAMES[name]}: {_either(groups)}.")
    if found["nccn_v2_2020"] == "high" and all(x.grade_group >= 4 for x in possible):
        notes.append(
            "NCCN: more than four cores of grade group 4 or 5 would be very high; they are not recorded."
        )
    if absent:
        notes.insert(0, f"Missing: {', '.join(absent)}.")
    return {**found, "capra": score["capra"], "notes": list(dict.fromkeys(notes))}


def _patterns(
    grade_group: float, primary: float, secondary: float, notes: list[str]
) -> list[tuple[int, int]]:
    """The pairs of Gleason patterns that the biopsy may have."""
    known = [  # of each value its test; what is out of range is missing, as in CAPRA
        (grade_group, lambda pair: GRADE_GROUPS[pair] == grade_group),
        (primary, lambda pair: pair[0] == primary),
        (secondary, lambda pair: pair[1] == secondary),
    ]
    tests = [test for value, test in known if value in (1, 2, 3, 4, 5)]
    pairs = [pair for pair in GRADE_GROUPS if all(test(pair) for test in tests)]
    if not pairs:
        notes.append("The grade group contradicts the Gleason patterns; they count as missing.")
    return pairs or list(GRADE_GROUPS)


def _categories(text: str, notes: list[str]) -> Iterable[str]:
    """The clinical T categories that are meant: T2 without a letter may be T2a, T2b or T2c."""
    stage = clinical_t(text or "")
    if stage is None or stage in ("T0", "TX"):
        return CATEGORIES
    stage = {"T3c": "T3b"}.get(stage, stage)
    meant = [
        t for t in CATEGORIES if t == stage or t.startswith(stage) or (stage.startswith("T4") and t == "T4")
    ]
    if len(meant) > 1 and stage != "T1":
        notes.append(f"{stage} without a letter: {_either(meant)}.")
    return meant or CATEGORIES


def _either(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
