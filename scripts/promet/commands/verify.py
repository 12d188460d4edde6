"""``promet verify``: compare every product with the digest in its record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from promet.config import load
from promet.core import checksums
from promet.core.errors import EXIT_OK, EXIT_REFUSED, IntegrityError
from promet.core.files import digest_file
from promet.core.sidecar import Sidecar
from promet.core.words import count, say
from promet.workflow.plan import Plan


def verify(configfiles: list[Path]) -> int:
    """Compare every product with its record."""
    read, damages = damaged(Plan(load(configfiles), lenient=True))
    for damage in damages:
        say(f"{damage.record}: {damage.product} {damage.what}")
    say(f"{count(read, 'product')} read, {len(damages)} damaged")
    if damages:
        records = " ".join(sorted({damage.record for damage in damages}))
        say(f"Next: rm {records} && promet run")
        return EXIT_REFUSED
    return EXIT_OK


@dataclass(frozen=True)
class Damage:
    """A product that is not what its record says: ``what`` is missing, changed or the record itself."""

    record: str
    product: str
    what: str


def damaged(plan: Plan) -> tuple[int, list[Damage]]:
    """Compare every product of the study with the digest in its record.

    Returns:
        number of products read, and the damages. Snakemake does not notice a deleted or changed intermediate as long
        as what follows from it is there.
    """
    read, damages = 0, []
    for stage, at in plan.jobs():
        path = Path(plan.sidecar(stage, **at))
        if not path.exists():
            continue
        try:
            record = Sidecar.read(path)
        except IntegrityError:
            damages.append(Damage(str(path), path.name, "the record cannot be read"))
            continue
        for name, digest in record.products.items():
            product = path.with_name(name)
            product = product if product.exists() else path.parent / "figures" / name
            read += 1
            if not product.exists():
                damages.append(Damage(str(path), name, "missing"))
            elif digest_file(product) != digest:
                damages.append(Damage(str(path), name, "changed"))
            elif name == checksums.NAME:  # the locked model: its record names the list, the list its files
                read += len(checksums.read(path.parent))
                damages += [
                    Damage(str(path), *fault) for fault in checksums.compare(path.parent, (path.name,))
                ]
    return read, damages
