"""A locked model updated at another hospital: its network and densities stay, its log-odds get another constant or other weights.

models/update.json makes a bundle the child of another: which one, what was changed, and on whom. Everything else in it is its
parent's, byte for byte, but the card. Groups stay those of the score before the update: the cuts were read off that scale.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat

from promet.core import checksums
from promet.core.files import read_json
from promet.model.parts import Strict, read_one

FILE = "models/update.json"
CARD = "docs/README.md"
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Update(Strict):
    """models/update.json."""

    schema_: int = Field(alias="schema")
    parent: Digest
    parent_files: dict[str, Digest]  # SHA256SUMS of the parent
    site: str
    method: Literal["auto", "intercept", "slope", "revision"]
    choice: Literal["intercept", "slope", "revision"]
    constant: FiniteFloat  # instead of the prior's log-odds
    factors: dict[str, FiniteFloat]  # input -> weight of what it adds
    n: Annotated[int, Field(ge=0)]
    events: Annotated[int, Field(ge=0)]
    tests: dict[str, dict[str, FiniteFloat]]
    test_kind: str
    tested: str | None
    largest: str
    cap: str | None


def read(folder: Path, contract: dict[str, Any]) -> dict[str, Any] | None:
    """The update of a child; None of a model as it was locked.

    Raises:
        IntegrityError: E_MODEL_VERSION, E_MODEL_BROKEN.
    """
    return read_one(folder, FILE, (1,), Update, contract) if (folder / FILE).exists() else None


def log_odds(update: dict[str, Any], adds: dict[str, float]) -> float:
    """The updated log-odds of what each input adds before the update (missing: 0)."""
    return update["constant"] + math.fsum(update["factors"][name] * value for name, value in adds.items())


def faults(folder: Path) -> list[tuple[str, str]]:
    """(name, what) of every file of a child that its parent has otherwise; nothing of a model as it was locked."""
    if not (folder / FILE).is_file():
        return []
    try:
        told = read_json(folder / FILE)
        files = {str(name): str(digest) for name, digest in told["parent_files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return [(FILE, "damaged")]
    if hashlib.sha256(checksums.text(files).encode()).hexdigest() != told.get("parent"):
        return [(FILE, "its list of the parent's files is not the parent's")]
    here = checksums.read(folder)
    names = (here.keys() | files.keys()) - {FILE, CARD}
    return [(name, "not as its parent has it") for name in sorted(names) if here.get(name) != files.get(name)]


def card(text: str, update: dict[str, Any]) -> str:
    """The parent's card with what was changed in front."""
    weights = ", ".join(f"{name} {value:.3g}" for name, value in update["factors"].items())
    what = {
        "intercept": f"the constant of its log-odds (now {update['constant']:.3g})",
        "slope": f"the constant of its log-odds (now {update['constant']:.3g}) and the weight of all inputs together ("
        f"{next(iter(update['factors'].values())):.3g} times)",
        "revision": f"the constant of its log-odds (now {update['constant']:.3g}) and the weight of each input ({weights})",
    }[update["choice"]]
    return (
        f"# Updated at {update['site']}\n\n"
        f"This is the model below, digest `{update['parent']}`, with {what} fitted on {update['n']} patients of "
        f"{update['site']}, {update['events']} with the event. The network and the densities are the parent's. These patients are seen: how "
        "good the updated model is on them is no performance. The groups stay those of the score before the update.\n\n"
        f"What stands below under *How good it is* was found before the update.\n\n{text}"
    )
