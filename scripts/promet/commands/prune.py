"""``promet prune``: list or delete what belongs to patients that the table no longer holds."""

from __future__ import annotations

import shutil
from pathlib import Path

from promet.config import load
from promet.core.bucket import TABLE
from promet.core.errors import EXIT_OK, UsageError
from promet.core.files import read_json
from promet.core.words import count, say
from promet.study import likeness
from promet.workflow.lock import held
from promet.workflow.obstacles import require_writable
from promet.workflow.plan import Plan
from promet.workflow.stages import STAGES


def prune(configfiles: list[Path], yes: bool) -> int:
    """List, or with ``yes`` delete, what belongs to patients that the table no longer holds."""
    plan = Plan(load(configfiles), lenient=True)
    if not plan.named:
        raise UsageError(
            "E_COHORT_EMPTY",
            f"The table {plan.cohort} holds no patients",
            "a table with the patients who stay",
            "Name your configuration with -c",
        )
    if yes:
        with held(plan.results, plan.config["registry"], "prune"):
            folders = _delete(plan)
    else:
        folders = _abandoned(plan)
    for folder in folders:
        say(f"{'deleted' if yes else 'would delete'} {folder}")
    what = f"{count(len(folders), 'patient')} with results, but no row in {plan.cohort}"
    say(what if yes or not folders else f"{what}; promet prune --yes deletes their files")
    return EXIT_OK


def _abandoned(plan: Plan) -> list[Path]:
    """Folders of patients that the table no longer holds (Snakemake never deletes them)."""
    folder = Path(plan.patients_dir)
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name not in plan.named)


def _delete(plan: Plan) -> list[Path]:
    """Delete the folders and logs of patients that the table no longer holds; returns what was deleted."""
    gone = []
    folders = _abandoned(plan)
    require_writable([plan.patients_dir, *(p for f in folders for p in (f, *f.rglob("*")) if p.is_dir())])
    left = {folder.name: likeness.of_record(folder.parent, folder.name) for folder in folders}
    likeness.keep(plan.ledger, left)
    for folder in folders:
        logs = [
            Path(plan.logs, stage.room, stage.name, f"{folder.name}.log")
            for stage in STAGES.values()
            if stage.per == "patient"
        ]
        shutil.rmtree(folder)
        for path in (path for path in logs if path.exists()):
            path.unlink()
        gone.append(folder)
    _forget({folder.name for folder in gone}, plan)
    return gone


def _forget(names: set[str], plan: Plan) -> None:
    """Delete the tables and logs of buckets that name them; the next run writes these without them."""
    for path in sorted(Path(plan.buckets_dir).glob(f"*/{TABLE}")) if plan.buckets else []:
        if names & set(read_json(path)):
            shutil.rmtree(path.parent)
            Path(plan.logs, "imaging/bucket", f"{path.parent.name}.log").unlink(missing_ok=True)
