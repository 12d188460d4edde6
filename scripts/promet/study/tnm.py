"""The clinical T category, read in one way by the table's check and by the scores that use it."""

from __future__ import annotations

import re

EXPECTED = "T1a to T4, TX; cT2a and 2a are read as T2a"
_CLINICAL_T = re.compile(r"c?(?:t(?=.)|(?=[1-4]))(0|x|[123][abc]?|4[ab]?)", re.IGNORECASE)


def clinical_t(text: str) -> str | None:
    """``T2a`` of ``cT2a``, ``t2A``, ``2a`` or ``T 2a``; None for anything else, also for a pathological ``pT2a``."""
    found = _CLINICAL_T.fullmatch("".join(text.split()))
    return f"T{found[1].lower().replace('x', 'X')}" if found else None
