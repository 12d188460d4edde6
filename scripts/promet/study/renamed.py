"""Patients who were renamed: under which name each was assigned, which stays the place in every list that a model was fitted on."""

from __future__ import annotations

from pathlib import Path

from promet.core.errors import IntegrityError
from promet.core.files import read_json

FILE = "renamed.json"  # beside the ledger: name -> first name


def first_names(ledger: str | Path) -> dict[str, str]:
    """Name -> first name of every patient of a study who was renamed; empty when nobody was.

    Raises:
        IntegrityError: the file is damaged.
    """
    path = Path(ledger).with_name(FILE)
    if not path.exists():
        return {}
    try:
        return {str(name): str(first) for name, first in read_json(path).items()}
    except (ValueError, AttributeError) as error:
        raise IntegrityError(
            "E_RENAMED_BROKEN",
            f"The file {FILE} beside the split ledger is damaged",
            "the JSON that promet intake --renamed wrote: {name: first name}",
            "Restore it from a backup: the order in which patients are trained on depends on it",
        ) from error
