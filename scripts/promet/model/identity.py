"""Is a bundle the one whose digest was received separately? Standard library only: the Snakefile asks."""

from __future__ import annotations

import re
from pathlib import Path

from promet.core import checksums
from promet.core.errors import IntegrityError, UsageError


def require_digest(folder: str | Path, digest: str | None) -> bool:
    """Compare the digest of a bundle with one that was received separately; says whether one was given.

    Raises:
        UsageError: E_MODEL_DIGEST_FORM, what was given is no digest.
        IntegrityError: E_MODEL_DIGEST, it is another model's.
    """
    if digest is None:
        return False
    given = re.sub(r"\s", "", str(digest)).lower().removeprefix("sha256:")
    if not re.fullmatch(r"[0-9a-f]{64}", given):
        raise UsageError(
            "E_MODEL_DIGEST_FORM",
            f"The given digest has {len(given)} signs, or others than 0-9 and a-f",
            "all 64 hexadecimal digits, as promet verify prints them where the model was locked",
            "Ask for the whole digest",
        )
    here = checksums.identity(Path(folder))
    if given != here:
        raise IntegrityError(
            "E_MODEL_DIGEST",
            f"This is not the model with the digest {given[:12]}…, it is {here[:12]}…",
            "the model whose digest was received separately",
            "Get the model again from those who locked it, or ask which digest is right; nothing was computed",
        )
    return True
