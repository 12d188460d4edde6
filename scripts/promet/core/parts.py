"""The part that a patient was dealt, as it counts now."""

from __future__ import annotations

from collections.abc import Mapping

DEALT = ("training", "validation", "test")


def holds(part: str, row: Mapping[str, str]) -> bool:
    """Does the part of the ledger hold for this row of the cohort table?

    Whoever was dealt to training, validation or test is only scored while role or label is empty; the ledger keeps the
    place. A table without these columns leaves everybody in place.
    """
    return part not in DEALT or bool(
        row.get("role", DEALT[0]).strip() and row.get("synchronous_metastasis", "0").strip()
    )
