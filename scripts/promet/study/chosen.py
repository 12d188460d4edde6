"""The figure by which epoch and network are chosen, on the validation part: as files name it and as people read it.

AUC of a label; of a time to an event Harrell's C up to the horizon (``study.concordance``). A file holds the one or the other.
"""

from __future__ import annotations

from collections.abc import Container

KEYS = {"auc": "validation_auc", "concordance": "validation_concordance"}
WORDS = {"auc": "AUC", "concordance": "C"}


def metric_of(names: Container[str]) -> str:
    """auc or concordance, by the keys or columns that a file has."""
    return next((metric for metric, key in KEYS.items() if key in names), "auc")
