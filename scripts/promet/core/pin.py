"""The pin: one short hash of exactly what a job uses."""

from __future__ import annotations

import hashlib
import json
from typing import Any

# Made once: a large cohort has a hundred thousand pins.
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def canonical(value: Any) -> str:
    """Canonical JSON: sorted keys, no spaces, NaN refused."""
    return _ENCODER.encode(value)


def pin(value: Any) -> str:
    """24 hexadecimal digits (96 bits) of BLAKE2b over the canonical JSON of ``value``."""
    return hashlib.blake2b(canonical(value).encode(), digest_size=12).hexdigest()
