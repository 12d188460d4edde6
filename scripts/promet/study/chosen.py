"""The figure by which epoch and network are chosen, on the validation part: as files name it and as people read it.

AUC of a label; of a time to an event Harrell's C up to the horizon (``study.concordance``). A file holds the one or the other.
"""

from __future__ import annotations

from collections.abc import Container, Iterable

KEYS = {"auc": "validation_auc", "concordance": "validation_concordance"}
WORDS = {"auc": "AUC", "concordance": "C"}


def as_auc(names: Iterable[str]) -> dict[str, str]:
    """Names with concordance -> the same with auc: the report shows both in one place, under the word of the metric."""
    return {name: name.replace(KEYS["concordance"], KEYS["auc"]) for name in names}


def metric_of(names: Container[str]) -> str:
    """auc or concordance, by the keys or columns that a file has."""
    return next((metric for metric, key in KEYS.items() if key in names), "auc")
