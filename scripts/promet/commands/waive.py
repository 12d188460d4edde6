"""``promet waive``: keep a frozen model although a patient it was fitted on withdrew."""

from __future__ import annotations

from pathlib import Path

from promet.commands.alone import alone
from promet.config import load
from promet.core import bucket
from promet.core.errors import EXIT_OK, UsageError
from promet.core.sidecar import Sidecar
from promet.core.words import say
from promet.study import freezing, table
from promet.workflow.plan import Plan


@alone
def waive(configfiles: list[Path], patient: str, reason: str) -> int:
    """Keep a frozen model although a patient it was fitted on withdrew."""
    config = load(configfiles)
    plan = Plan(config, lenient=True)
    kept = {split: Path(plan.beside("fuse", "naive_bayes.json", split=split)) for split in plan.splits}
    needed = [
        *(Path(plan.beside("select", "model.json", split=split)) for split in plan.splits),
        *kept.values(),
    ]
    if gone := [path for path in needed if not path.exists()]:
        raise UsageError(
            "E_NO_MODEL",
            f"There is no finished model to keep: {gone[0]} is missing",
            remedy="Train without this patient: promet freeze NAME --into NEWSTUDY",
        )
    if not plan.sealed:
        freezing.seal(config.registry, config.study, kept)
    rows = table.read(config.cohort)
    freezing.waive(config.registry, config.study, patient, reason, rows, _signature(plan, patient))
    say(f"study {config.study} keeps its model without {patient}: nothing can train or fit it again")
    say("Next: promet run, then promet prune --yes")
    return EXIT_OK


def _signature(plan: Plan, patient: str) -> list[float]:
    """What the scan is known by, from the record of its conversion, which prune has not yet deleted."""
    if plan.buckets_dir:
        records = bucket.sidecars(bucket.table(Path(plan.buckets_dir)).get(patient, {}))
    else:
        path = Path(plan.sidecar("convert", patient=patient))
        records = {"convert": Sidecar.read(path)} if path.exists() else {}
    return records["convert"].values.get("signature", []) if "convert" in records else []
