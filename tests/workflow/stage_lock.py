"""Source hash of every stage, so that a changed result cannot go out under an old stage version.

Snakemake does not see imported code. Each stage has a version in promet.workflow.stages; this file keeps the hash of
the code it was acknowledged with. After a change either raise the version (results differ: products are rebuilt) or
only acknowledge (they do not):  python tests/workflow/stage_lock.py
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import tokenize
from functools import cache
from pathlib import Path

from promet.workflow.stages import STAGES

PACKAGE = Path(__file__).parents[2] / "scripts"
LOCK = Path(__file__).with_name("stages.lock")
# How a job is declared, called, logged and recorded; no result depends on it, and the stage versions themselves lie there.
PLUMBING = {"promet", "promet.core", "promet.core.stage", "promet.core.errors", "promet.core.settings"}
PLUMBING |= {"promet.workflow", "promet.workflow.declaration", "promet.workflow.stages"}


@cache
def bare(source: str) -> str:
    """The source without comments and blank lines; equal on every Python version."""
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    return "\n".join(line.rstrip() for line in lines if line.strip())


def path_of(module: str) -> Path | None:
    """The file of a module of promet, or None."""
    base = PACKAGE.joinpath(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.exists()), None)


@cache
def imports(module: str) -> frozenset[str]:
    """The modules of promet that a module imports anywhere in its text."""
    found = set()
    for node in ast.walk(ast.parse(path_of(module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(name for name in found if name.split(".")[0] == "promet" and path_of(name))


def closure(module: str) -> set[str]:
    """A module and everything of promet it reaches, without the plumbing."""
    reached, todo = set(), [module]
    while todo:
        name = todo.pop()
        if name not in reached and name not in PLUMBING:
            reached.add(name)
            todo += imports(name)
    return reached


def fingerprint(stage: str) -> str:
    """Hash over the bare source (and the templates, styles and scripts) that a stage reaches."""
    total = hashlib.blake2b(digest_size=12)
    for module in sorted(closure(STAGES[stage].entry)):
        total.update(f"{module}\0{bare(path_of(module).read_text(encoding='utf-8'))}\0".encode())
    if stage == "report":
        kinds = (".html", ".css", ".js", ".gz", ".txt")
        for path in sorted(p for p in (PACKAGE / "promet/report").rglob("*") if p.suffix in kinds):
            total.update(path.read_bytes())
    return total.hexdigest()


def current() -> dict[str, dict[str, int | str]]:
    """Version and fingerprint of every stage as the code is now."""
    return {name: {"version": stage.version, "source": fingerprint(name)} for name, stage in STAGES.items()}


if __name__ == "__main__":
    LOCK.write_text(json.dumps(current(), indent=2) + "\n", encoding="utf-8")
    print("acknowledged; raise the version in promet.workflow.stages where results changed")
