"""What is known of the probabilities of a model: a sentence that stands beside every one of them."""

from __future__ import annotations

from typing import Any

NEVER = (
    "not calibrated: too few patients outside of the fit set had the outcome known to compare it with; its order means more "
    "than its size"
)
BAND = (
    2 / 3,
    1.5,
)  # of slope and of predicted over observed: within it a probability is off by less than half


def note(metrics: dict[str, Any], name: str) -> str:
    """The sentence on the probabilities of the model ``name``, without a full stop; '' when nothing speaks against them.

    ``wrong`` is said where an interval of docs/metrics.json excludes what would be right, ``doubtful`` where only the value
    itself lies outside of ``BAND``: few patients, so it may be chance.

    Args:
        metrics: docs/metrics.json; slope 1 and predicted / observed 1 are right.
    """
    found = metrics["sections"][metrics.get("primary", "synchronous")]["calibration"].get(name)
    if not found or found["slope"].get("value") is None:
        return NEVER
    slope, ratio = found["slope"], found["expected_observed"]
    checks = ((slope.get("value"), slope), (ratio.get("ratio"), ratio))
    wrong = any(_excludes_one(entry) for _, entry in checks)
    doubtful = any(value is not None and not BAND[0] <= value <= BAND[1] for value, _ in checks)
    if not wrong and not doubtful:
        return ""
    word = "wrong" if wrong else "doubtful"
    means = (
        "its order may mean something, its size does not" if wrong else "its order means more than its size"
    )
    return (
        f"{word} by the model's own card: slope {slope['value']:.2f}{_span(slope)} where 1 is right, {_share(found, 'mean_probability')} "
        f"predicted and {_share(found, 'observed')} observed in {found['n']} patients; {means}"
    )


def _excludes_one(entry: dict[str, Any]) -> bool:
    low, high = entry.get("low"), entry.get("high")
    return low is not None and high is not None and not low <= 1 <= high


def _span(entry: dict[str, Any]) -> str:
    low, high = entry.get("low"), entry.get("high")
    return "" if low is None or high is None else f" ({low:.2f} to {high:.2f})"


def _share(found: dict[str, Any], name: str) -> str:
    return "–" if found[name] is None else f"{found[name]:.0%}"
