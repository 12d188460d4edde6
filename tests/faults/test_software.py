"""envs/*.yaml: a rule's environment holds what the code behind the rule imports, and nothing of promet."""

from __future__ import annotations

import ast
import re
import sys
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts"
DOOR = SCRIPTS / "promet/cli.py"  # the commands behind it are imported when they are called
# What the rules of an environment run; of the model room only the bundle is a rule.
RUN = {
    "imaging": ["imaging/*.py"],
    "network": ["network/*.py"],
    "analysis": ["fusion/*.py", "evaluation/*.py", "report/*.py"],
    "model": ["model/bundle.py"],
}


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def with_what_they_need(names: list[str]) -> set[str]:
    """Distributions, and what they require in turn."""
    left, found = [plain(name) for name in names], set()
    while left:
        name = left.pop()
        if name in found:
            continue
        found.add(name)
        try:
            needs = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        left += [plain(re.match(r"[\w.-]+", need).group()) for need in needs if "extra ==" not in need]
    return found


def file_of(module: str) -> Path:
    path = SCRIPTS.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imported(path: Path) -> set[str]:
    """Modules a file imports anywhere (of the common door: at its top); also the modules taken from a package."""
    found: set[str] = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if path == DOOR else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def needed(start: list[Path]) -> dict[str, str]:
    """Third-party module -> a file that imports it, over all that these files reach."""
    left, seen, third = [*start, DOOR], set(), {}
    while left:
        path = left.pop()
        if path in seen or not path.exists():
            continue
        seen.add(path)
        for name in imported(path):
            top = name.partition(".")[0]
            if top == "promet":
                left.append(file_of(name))
            elif top not in sys.stdlib_module_names:
                third.setdefault(top, path.name)
    return third


@pytest.mark.parametrize("name", RUN)
def test_an_environment_holds_what_its_rules_import(name):
    recipe = yaml.safe_load((ROOT / f"envs/{name}.yaml").read_text())
    held = with_what_they_need([line.partition("==")[0] for line in recipe["dependencies"][-1]["pip"]])
    owners = packages_distributions()
    start = [path for pattern in RUN[name] for path in sorted((SCRIPTS / "promet").glob(pattern))]
    third = needed(start)
    assert len(third) > 5
    assert {
        module: path
        for module, path in third.items()
        if not {plain(owner) for owner in owners.get(module, [module])} & held
    } == {}
