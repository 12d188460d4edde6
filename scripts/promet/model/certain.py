"""Which group is certain although an input is missing.

The cuts are fixed log-odds, and a missing input adds 0. So the same patient may be low with all inputs and high with one
missing. What a missing input could have added is known, though: its values have a range, and the log-ratio of two normal
densities is a parabola. Every group is an interval of log-odds, hence a group is certain if the smallest and the largest
log-odds that the missing inputs could still give lie in it; otherwise it is withheld.
"""

from __future__ import annotations

import math
from typing import Any

from promet.core.words import listed
from promet.fusion.naive_bayes import NaiveBayes
from promet.model import thresholds
from promet.model.contract import READER_PEAK
from promet.study.table import COLUMNS

Span = tuple[float, float]
ANYTHING: Span = (-math.inf, math.inf)


def domain(contract: dict[str, Any], name: str) -> tuple[Span, bool]:
    """The range of an input's raw values by the contract, and whether only whole numbers occur; of a network's logit all."""
    key = READER_PEAK if name == "suv_peak" else name
    entry = contract["clinical"].get(key)
    if entry is None:
        return ANYTHING, False
    if entry.get("range"):
        low, high = entry["range"]
        return (low, high), bool(entry.get("whole"))
    column = COLUMNS[key]  # contracts of schema 1 hold the range in words
    return column.range or ANYTHING, column.whole


def adds(model: NaiveBayes, name: str, span: Span, whole: bool, logged: bool) -> Span:
    """Smallest and largest log-odds that an input of ``model`` can add.

    log N(x; m1, v1) - log N(x; m0, v0) = a x^2 + b x + c: its ends, its vertex if that lies inside; of whole numbers each.
    """
    if name in model.dropped:
        return 0.0, 0.0
    j = model.features.index(name)
    (m0, m1), (v0, v1) = model.mean[j], model.variance[j]
    low, high = span
    if whole and math.isfinite(low) and math.isfinite(high):
        places = [float(value) for value in range(math.ceil(low), math.floor(high) + 1)]
    else:
        places = [low, high]
    if logged:
        places = [math.log(value) if value > 0 else -math.inf for value in places]
    if not whole and v0 != v1:
        vertex = (m1 / v1 - m0 / v0) / (1 / v1 - 1 / v0)
        places += [vertex] if places[0] < vertex < places[1] else []
    values = [_log_ratio(x, m0, m1, v0, v1) for x in places]
    return min(values), max(values)


def _log_ratio(x: float, m0: float, m1: float, v0: float, v1: float) -> float:
    if math.isinf(x):
        bend, slope = 0.5 / v0 - 0.5 / v1, m1 / v1 - m0 / v0
        side = bend if bend else slope * x
        return math.copysign(math.inf, side) if side else 0.5 * math.log(v0 / v1)
    return 0.5 * (math.log(v0 / v1) + (x - m0) ** 2 / v0 - (x - m1) ** 2 / v1)


def reach(
    contract: dict[str, Any], model: NaiveBayes, log: list[str], score: float, missing: list[str]
) -> Span:
    """Smallest and largest log-odds that a patient could have, were the missing inputs known."""
    low = high = score
    for name in missing:
        least, most = adds(model, name, *domain(contract, name), name in log)
        low, high = low + least, high + most
    return low, high


def groups(
    cuts: dict[str, Any],
    contract: dict[str, Any],
    model: NaiveBayes,
    log: list[str],
    score: float,
    missing: list[str],
) -> dict[str, dict[str, Any]]:
    """Cut -> {group (None = withheld), possible, reason, thresholds, origin, patients} of a score.

    Args:
        cuts: thresholds.json.
        contract: for the ranges of the inputs.
        model, log: the multimodal model, and its inputs whose logarithm it sees.
        score: its log-odds, a missing input left out.
        missing: inputs of the model that are not known.
    """
    low, high = reach(contract, model, log, score, missing)
    ends = thresholds.groups(cuts, low), thresholds.groups(cuts, high)
    found = {}
    for name, cut in thresholds.groups(cuts, score).items():
        names = next(entry["groups"] for entry in cuts["cuts"] if entry["name"] == name)
        first, last = (names.index(end[name]["group"]) for end in ends)
        possible = names[first : last + 1]
        certain = len(possible) == 1
        found[name] = {
            **cut,
            "group": possible[0] if certain else None,
            "possible": possible,
            "reason": "" if certain else withheld(missing, possible),
        }
    return found


def withheld(missing: list[str], possible: list[str]) -> str:
    """Why a group is not given."""
    return f"withheld: with {listed(missing)} known it could be {listed(possible, 'or')}"
