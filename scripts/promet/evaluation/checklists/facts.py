"""What the records of a study say, for the checklist and the model card."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promet.core.errors import UsageError
from promet.core.files import read_json
from promet.core.sidecar import Sidecar

# Attribute of Facts -> file below the study folder; {} = split-00.
FILES = {
    "gather": "gather/gather.json",
    "dataset": "dataset/{}/dataset.json",
    "select": "select/{}/select.json",
    "model": "select/{}/model.json",
    "fuse": "fusion/{}/fuse.json",
    "bayes": "fusion/{}/naive_bayes.json",
    "explain": "fusion/{}/explain.json",
    "permutation": "fusion/{}/permutation.json",
    "metrics": "evaluation/{}/metrics.json",
    "survival": "evaluation/{}/survival.json",
    "table1": "evaluation/characteristics.json",
    "pooled": "evaluation/pooled.json",
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
        {p.name for p in study.glob("fusion/split-*")} | {p.name for p in study.glob("dataset/split-*")}
    )
    first = splits[0] if splits else "split-00"
    found = {}
    for name, where in FILES.items():
        path = study / where.format(first)
        found[name] = read_json(path) if path.exists() else {}
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
        path = study / f"network/{chosen['variant']}/{first}/seed-{chosen['seed']:02d}/train.json"
        if path.exists():
            record = Sidecar.read(path)
            result.parameters = record.values.get("parameters")
            result.versions |= record.versions
    for name in ("gather", "fuse", "explain"):
        result.versions |= found[name].get("versions", {})
    return result
