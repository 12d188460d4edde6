"""What Snakemake finds newer than the products made from it: the one reason of its own that it keeps.

A run that was killed between two jobs leaves it. Snakemake compares times, and where an input is newer its bytes with
those that it noted when the product was made.
"""

from __future__ import annotations

import json
import os
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from pathlib import Path

from promet.core.files import digest_file
from promet.workflow.edges import DIGESTS, Graph, Key

NOTES = Path(".snakemake/metadata")
LARGEST = 1_000_000  # bytes; of larger files Snakemake compares the times alone
NAME = 254  # letters of a file name in its notes


def remembered(records: Iterable[str]) -> bool:
    """Does Snakemake know any of these records? Not after ``.snakemake`` was lost, nor under another name of their folder."""
    return NOTES.is_dir() and any(_place(record).exists() for record in records)


def outdated(graph: Graph) -> dict[Key, str]:
    """Job -> the stage whose newer product it has not read; nothing where Snakemake's notes are gone."""
    if not remembered(graph.jobs.values()):
        return {}
    found: dict[Key, str] = {}
    times: dict[str, float] = {}

    def time(path: str) -> float:
        if path not in times:
            try:
                times[path] = os.stat(path).st_mtime
            except OSError:
                times[path] = 0.0
        return times[path]

    for key, record in graph.jobs.items():
        made = [record, *(str(Path(record).with_name(name)) for stage, name in DIGESTS if stage == key[0])]
        oldest = min((time(path) for path in made if time(path)), default=0.0)
        for other, name in graph.reads(key) if oldest else ():
            path = str(Path(graph.jobs[other]).with_name(name)) if name else graph.jobs[other]
            if time(path) > oldest and not _noted(path, made):
                found[key] = other[0]
                break
    return found


def _noted(path: str, products: list[str]) -> bool:
    """Are the bytes of an input those that Snakemake noted with every product?"""
    sums = {_note(product).get(path) for product in products} - {None}
    return len(sums) == 1 and os.path.getsize(path) <= LARGEST and sums == {f"sha256:{digest_file(path)}"}


def _place(product: str) -> Path:
    name = urlsafe_b64encode(product.encode()).decode()
    parts = [name[start : start + NAME] for start in range(0, len(name), NAME)]
    return NOTES.joinpath(*(f"@{part}" for part in parts[:-1]), parts[-1])


def _note(product: str) -> dict[str, str]:
    try:
        return json.loads(_place(product).read_text(encoding="utf-8")).get("input_checksums") or {}
    except (OSError, ValueError, AttributeError):
        return {}
