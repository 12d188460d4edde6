"""Messages of the pipeline in words for a hospital that has a model and nothing to set."""

from __future__ import annotations

import re
from typing import Any

from promet.core.errors import DataError

# Of the house that trained the model: its configuration, its table, its commands.
ELSEWHERE = re.compile(
    r"(?i)\bsettings?\b|imaging\.|promet (?:intake|run|retry|check|network)\b|cohort table|\bcolumn\b|configuration"
    r"|totalsegmentator"
)
REMEDY = {
    "E_MASK_ROI_MISSING": "Rename the region in the mask file, or export it alone as a volume of 0 and 1",
    "E_MASK_LABELS": "Export the one structure alone, as a volume of 0 and 1",
    "E_MASK_AMBIGUOUS": "Give the one file that is meant",
    "E_MASK_MISSING": "Give a mask of the prostate",
    "E_SOURCE_MISSING": "Correct the path in the table, or bring the files back",
}
EXPECTED = {"E_MASK_LABELS": "one label, 0 and 1", "E_MASK_MISSING": "a NIfTI, DICOM SEG or RTSTRUCT"}
GENERAL = "Export it again, or ask those who made the model"


def here(code: str, sentence: str, contract: dict[str, Any]) -> DataError:
    """The refusal of a stage, without what only the house of the training could do.

    Args:
        code, sentence: of the record of the stage.
        contract: of the model; names the regions that it looks for.
    """
    found, _, rest = sentence.partition(" Expected: ")
    expected, _, remedy = rest.partition(". ")
    if not rest:
        found, _, remedy = found.partition(". ")
    segment = contract["imaging"].get("segment", {})
    which = next((name for name in ("lesions", "prostate") if found.startswith(f"{name}: ")), "")
    pattern = segment.get(f"{which}_roi", "") if which else ""
    found = found.replace(
        "the roi setting", f"the model's pattern {pattern}" if pattern else "the model's patterns"
    )
    if code in EXPECTED and (ELSEWHERE.search(expected) or not expected):
        expected = EXPECTED[code]
    if code in REMEDY and (ELSEWHERE.search(remedy) or not remedy):
        remedy = REMEDY[code]
    parts = [
        "" if ELSEWHERE.search(expected) else expected,
        GENERAL if ELSEWHERE.search(remedy) else remedy,
    ]
    return DataError(code, found, *parts)
