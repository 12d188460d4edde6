"""Which interval of an AUC is honest at this size; quotes the cached simulation (``make bench TARGET=coverage``)."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from promet.core.files import read_json
from promet.study.forms.metrics import Advice, Interval, Method, Record, empty

NAMES: dict[Method, str] = {"delong": "DeLong", "logit": "logit-DeLong", "bootstrap": "bootstrap"}
SHORT = 0.02  # a coverage this far below the level is called too low


@cache
def table() -> dict[str, Any]:
    """The simulation's table: level, replicates, resamples, seed, rows; see bench/coverage.py."""
    return read_json(Path(__file__).with_name("coverage.json"))


def advice(record: Record, level: float) -> Advice:
    """Which interval of an AUC record to quote.

    The rows of the nearest simulated size (by the smaller class) whose true AUC (or 1 - AUC) lies in the widest of
    the record's intervals, or the nearest row, are averaged. ``prefer`` is the interval whose coverage is nearest
    to the level.

    Keys: prefer (delong | logit | bootstrap, null), coverage {delong, logit, bootstrap} or null, size {positives,
    negatives} simulated, areas: true AUCs averaged, mann_whitney_size, delong_size: how often p < 0.05 when the AUC is
    0.5, sentence.
    """
    known = table()
    nothing = empty(Advice)
    intervals: list[Interval] = [record["delong"], record["logit"], record["bootstrap"]]
    lows = [each["low"] for each in intervals if each["low"] is not None]
    highs = [each["high"] for each in intervals if each["high"] is not None]
    if record["auc"] is None or record["delong"]["low"] is None:
        nothing["sentence"] = "There is no interval, so none can be preferred."
        return nothing
    if abs(level - known["level"]) > 1e-9:
        nothing["sentence"] = (
            f"Coverage was simulated for {100 * known['level']:g} % intervals only; these are {100 * level:g} %."
        )
        return nothing
    smaller = min(record["positives"], record["negatives"])
    sizes = sorted({(row["positives"], row["negatives"]) for row in known["rows"]})
    size = min(sizes, key=lambda s: abs(min(s) - smaller))
    rows = [row for row in known["rows"] if (row["positives"], row["negatives"]) == size]
    low, high = min(lows), max(highs)
    used = [row for row in rows if low <= row["auc"] <= high or low <= 1 - row["auc"] <= high]
    centre = max(record["auc"], 1 - record["auc"])
    used = used or [min(rows, key=lambda row: abs(row["auc"] - centre))]
    coverage: dict[str, float] = {
        name: sum(row["coverage"][name] for row in used) / len(used) for name in NAMES
    }
    prefer = min(NAMES, key=lambda name: abs(coverage[name] - level))
    chance = next(row for row in rows if row["auc"] == 0.5)["rejected"]
    areas = [row["auc"] for row in used]
    span = f"{areas[0]:g}" if len(areas) == 1 else f"{min(areas):g} to {max(areas):g}"
    said = ", ".join(f"{NAMES[name]} {100 * coverage[name]:.1f} %" for name in NAMES)
    short = [NAMES[name] for name in NAMES if coverage[name] < level - SHORT]
    sentence = (
        f"In {known['replicates']} simulated cohorts of {size[0]} with and {size[1]} without the outcome (here "
        f"{record['positives']} and {record['negatives']}) and true AUCs of {span}, the {100 * level:g} % intervals held "
        f"the truth in: {said}. "
        + ("This cohort is smaller than any simulated one: expect worse. " if smaller < min(size) else "")
        + (f"Too short at this size: {', '.join(short)}. " if short else "")
        + f"Quote the {NAMES[prefer]} interval. Without any effect p < 0.05 came in {100 * chance['mann_whitney']:.1f} % "
        f"(Mann-Whitney) and {100 * chance['delong']:.1f} % (DeLong)."
    )
    return {
        "prefer": prefer,
        "coverage": coverage,
        "size": {"positives": size[0], "negatives": size[1]},
        "areas": areas,
        "mann_whitney_size": chance["mann_whitney"],
        "delong_size": chance["delong"],
        "sentence": sentence,
    }
