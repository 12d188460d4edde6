"""Whose scan is it, in whichever encoding: signatures compared, and kept of everybody who was ever gathered.

``registry/<study>/signatures.json`` (patient -> signature, see imaging/likeness.py) is written by ``gather`` and by ``promet
prune``; rows of patients who left the table stay. Standard library only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from promet.core.errors import IntegrityError, UsageError
from promet.core.files import as_json, read_json, write_text_if_changed
from promet.core.sidecar import Sidecar
from promet.study import freezing, ledger

FILE = "signatures.json"
Signature = list[float]
# Writing a slice anew with a slope of its own rounds a hot voxel by 2^-16 (16 bits) to 2^-13 (12 bits) of its value. The two
# most alike of 51 real scans (the public sarcoma set) are 9e-3 apart. Farther ranks shift when a slice is left out.
CLOSE, CLOSE_FAR = 1.5e-4, 0.05
NEAR = 16  # ranks that single voxels hold


def same(a: Signature, b: Signature) -> bool:
    """Are these the signatures of one scan? An empty one is nobody's."""
    gaps = [abs(one - other) for one, other in zip(a, b, strict=False)]
    return bool(gaps) and max(gaps[:NEAR]) <= CLOSE and max(gaps[NEAR:], default=0.0) <= CLOSE_FAR


def alike(signatures: Mapping[str, Signature]) -> list[list[str]]:
    """Pairs of patients whose signatures are those of one scan."""
    known = sorted(
        (name for name, found in signatures.items() if found), key=lambda name: signatures[name][5]
    )
    pairs = []
    for place, name in enumerate(known):
        mine = signatures[name]
        for other in known[place + 1 :]:
            if signatures[other][5] - mine[5] > CLOSE:
                break
            if same(mine, signatures[other]):
                pairs.append(sorted((name, other)))
    return sorted(pairs)


def of_record(patients: Path, patient: str) -> Signature:
    """From the record of a patient's conversion; empty when there is none."""
    try:
        return Sidecar.read(patients / patient / "convert.json").values.get("signature", [])
    except (OSError, IntegrityError):
        return []


def read(book: str | Path) -> dict[str, Signature]:
    """What was kept beside a study's ledger."""
    path = Path(book).with_name(FILE)
    return read_json(path) if path.exists() else {}


def keep(book: str | Path, found: Mapping[str, Signature]) -> None:
    """Keep signatures beside a study's ledger, with those that are there."""
    write_text_if_changed(
        Path(book).with_name(FILE),
        as_json({**read(book), **{name: numbers for name, numbers in found.items() if numbers}}),
    )


def require_nobody_former(
    book: Path, patients: Path, found: Mapping[str, Signature], named: Collection[str]
) -> None:
    """Refuse who has the scan of somebody who was assigned before under a name that the table no longer holds.

    Args:
        book: the study's ledger; the one assigned first has the place.
        patients: results folder with one folder per patient, for those of whom nothing was kept.
        found: patient -> signature.
        named: everybody in the table.

    Raises:
        UsageError: ``E_RENAMED``, ``E_WITHDRAWN_RETURNS``.
    """
    order: dict[str, int] = {}
    for of_split in ledger.assigned(ledger.read(book)).values():
        for name in of_split:
            order.setdefault(name, len(order))
    withdrawn, kept = freezing.withdrawn(book.parents[1]), read(book)
    left = {name: kept.get(name) or of_record(patients, name) for name in order if name not in named}
    left |= {
        name: signature
        for name, entry in withdrawn.items()
        if name not in named and (signature := entry.get("signature") or left.get(name))
    }
    returned = []
    for pair in alike({**left, **found}):
        gone, here = ([name for name in pair if (name in left) == away] for away in (True, False))
        if gone and here and (gone[0] in withdrawn or order[gone[0]] < order.get(here[0], len(order))):
            returned.append((here[0], gone[0]))
    if returned:
        raise come_back(returned, withdrawn, "nothing was trained")


def come_back(returned: Iterable[tuple[str, str]], withdrawn: Collection[str], end: str) -> UsageError:
    """Names in the table with the scan of somebody who left it, withdrawn by a waiver or renamed; ``end``: what was not done."""
    returned = sorted(returned)
    if back := [(new, old) for new, old in returned if old in withdrawn]:
        return UsageError(
            "E_WITHDRAWN_RETURNS",
            f"The PET of {back[0][0]} is that of {back[0][1]}, whom a waiver withdrew from the frozen study",
            "nobody whom the model was fitted on among those it is judged by, under any name",
            f"Delete the row; {end}",
        )
    pairs = " ".join(f"--renamed {old}={new}" for new, old in returned)
    new, old = returned[0]
    more = f" (and {len(returned) - 1} more like it)" if len(returned) > 1 else ""
    return UsageError(
        "E_RENAMED",
        f"{new} has the PET of {old}, who is no longer in the table{more}: it looks like the same patient renamed",
        "one name for ever, since under a new one a patient would be assigned anew, from test to training",
        f"Put the old name back (a spreadsheet turns 001 into 1), or say so: promet intake {pairs}; {end}",
    )
