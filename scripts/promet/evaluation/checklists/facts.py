"""What the records of a study say, for the checklist and the model card."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promet.core.errors import UsageError
from promet.core.sidecar import Sidecar
from promet.study.forms import shapes
from promet.workflow.stages import STAGES

# Name in Facts.found -> (stage, product), or the record alone.
FILES = {
    "gather": ("gather", "gather.json"),
    "dataset": ("dataset", "dataset.json"),
    "select": ("select", "select.json"),
    "model": ("select", "model.json"),
    "fuse": ("fuse", "fuse.json"),
    "bayes": ("fuse", "naive_bayes.json"),
    "explain": ("explain", "explain.json"),
    "permutation": ("permute", "permutation.json"),
    "metrics": ("evaluate", "metrics.json"),
    "survival": ("survive", "survival.json"),
    "table1": ("table1", "characteristics.json"),
    "pooled": ("pool", "pooled.json"),
}


@dataclass
class Facts:
    """What the records of a study say; an absent file is an empty dictionary."""

    found: dict[str, dict[str, Any]]
    splits: int = 0
    parameters: int | None = None
    versions: dict[str, str] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)

    def get(self, *path: str) -> Any:
        """A value by its path, ``None`` where any step is missing."""
        here: Any = self.found if path[0] in self.found else {}
        for step in path:
            here = here.get(step) if isinstance(here, dict) else None
        return here

    def told(self, *path: str) -> Any:
        """A value of the configuration, ``None`` where any step is missing."""
        here: Any = self.config
        for step in path:
            here = here.get(step) if isinstance(here, dict) else None
        return here


def facts(study: Path, config: dict[str, Any]) -> Facts:
    """Read a study folder (results/<study>); raises ``UsageError`` when it holds no record at all."""
    splits = sorted(
        {
            p.name.removeprefix("split-")
            for room in ("fusion", "dataset")
            for p in study.glob(f"{room}/split-*")
        }
    )
    first = splits[0] if splits else "00"
    found = {}
    for name, (stage, file) in FILES.items():
        path = (study / STAGES[stage].record.format(split=first)).with_name(file)
        found[name] = shapes.load(path) if path.exists() else {}
    if not any(found.values()):
        raise UsageError(
            "E_STUDY_EMPTY",
            "The study folder holds no records",
            "results/<study> of a run",
            "Run promet first",
        )
    result = Facts(found, len(splits), config=config)
    chosen = found["select"].get("values") or {}
    if "seed" in chosen:
        at = {"variant": chosen["variant"], "split": first, "seed": f"{chosen['seed']:02d}"}
        path = study / STAGES["train"].record.format(**at)
        if path.exists():
            record = Sidecar.read(path)
            result.parameters = record.values.get("parameters")
            result.versions |= record.versions
    for name in ("gather", "fuse", "explain"):
        result.versions |= found[name].get("versions", {})
    return result
