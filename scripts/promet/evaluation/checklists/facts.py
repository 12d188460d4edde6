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
PAPERS = "synchronous_metastasis"  # the column that the paper learns


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

    @property
    def primary(self) -> str:
        """Key of the section of what is learnt, in the test part."""
        return str(self.get("metrics", "primary") or "synchronous")

    @property
    def later(self) -> str:
        """Key of the section of the metachronous patients, empty where none is asked for."""
        found = self.get("metrics", "later")
        return "metachronous" if found is None else str(found)

    @property
    def section(self) -> dict[str, Any]:
        """What is learnt, in the test part; empty without metrics."""
        return self.get("metrics", "sections", self.primary) or {}

    @property
    def unseen(self) -> list[str]:
        """Keys of the sections whose patients nothing was fitted or selected on, in their order."""
        fitted = (f"{self.primary}_training", f"{self.primary}_validation")
        return [key for key in self.get("metrics", "section_order") or [] if key not in fitted]

    @property
    def learnt(self) -> str:
        """What is learnt: metastases, PSA persistence, progression."""
        return str(self.section.get("words") or "the outcome")

    @property
    def paper(self) -> bool:
        """Is what is learnt the paper's?"""
        return self.section.get("outcome", PAPERS) == PAPERS

    @property
    def within(self) -> str:
        """What is learnt, and when: metastases on the scan, progression within 48 months."""
        horizon = self.section.get("horizon")
        when = f" within {horizon:g} months" if horizon else " on the scan" if self.paper else ""
        return f"{self.learnt}{when}"

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
