"""Every room imports only what its line of the architecture allows, and heavy libraries stay at home."""

import ast
import importlib
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "scripts/promet"
ROOMS = {
    "core": set(),
    "study": {"core"},
    "workflow": {"core", "study"},
    "commands": {"core", "study", "workflow", "config"},
    "imaging": {"core", "study"},
    "network": {"core", "study"},
    "fusion": {"core", "study"},
    "evaluation": {"core", "study"},
    "report": {"core", "study"},
    "phantom": {"core"},
    # What goes out to the hospital are products, read where the plan says they lie.
    "hospital": {"core", "study", "workflow", "imaging", "config"},
    # One locked model at several hospitals: the figures of a validation and the look of the report.
    "centres": {"core", "study", "workflow", "model", "evaluation", "report"},
    # The top room: a clinic's patient goes through the very functions of the pipeline, or the score would be another one.
    # Only centres imports it; heavy libraries are loaded where they live.
    # The phantom is the reference case that goes with a locked model.
    "model": {"core", "study", "workflow", "imaging", "network", "fusion", "evaluation", "phantom"},
}
HOMES = {
    "torch": {"network"},
    "monai": {"network"},
    "SimpleITK": {"imaging", "study", "phantom", "hospital"},
    "pydicom": {"imaging", "study", "phantom", "hospital"},
    "highdicom": {"imaging", "phantom", "hospital"},
    "shap": {"fusion"},
    "lifelines": {"evaluation"},
    "statsmodels": {"evaluation"},
    "matplotlib": {"report", "imaging", "network", "centres"},  # network: attention overlays
    "jinja2": {"report", "centres"},
}
# Who looks for a stage's record reads the declarations; they import nothing.
DECLARED = {"promet.workflow.stages", "promet.workflow.declaration"}
# A bucket decides for many patients what the plan decides for one.
ALSO = {
    "imaging/bucket.py": {"promet.workflow.buckets", "promet.workflow.planned", "promet.workflow.uses"},
    "imaging/check.py": {"promet.workflow.buckets"},  # whose masks a program makes
}
FILES = [path for room in ROOMS for path in sorted((PACKAGE / room).rglob("*.py"))]


def name_of(path):
    return path.relative_to(PACKAGE).as_posix()


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports(path):
    room = path.relative_to(PACKAGE).parts[0]
    allowed = {room, *ROOMS[room]}
    extra = ALSO.get(name_of(path), set()) | (DECLARED if room not in ("core", "study", "phantom") else set())
    for name in imported(path):
        top, *rest = name.split(".")
        if top == "promet" and name not in extra:
            assert not rest or rest[0] in allowed, f"{name} is another room"
        if top in HOMES:
            assert room in HOMES[top], f"{top} does not live in {room}"


def test_declarations_import_nothing():
    files = [PACKAGE.parent / f"{name.replace('.', '/')}.py" for name in DECLARED]
    assert {
        name.split(".")[0] for path in files for name in imported(path) if name not in DECLARED
    } <= sys.stdlib_module_names


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nothing_unsafe_to_load(path):
    text = path.read_text(encoding="utf-8")
    for word in (
        "import pickle",
        "joblib",
        "torch.load",
        "torch.save",
        "allow_pickle=True",
        "shell=True",
        "yaml.load(",
    ):
        assert word not in text, word


def test_every_module_can_be_imported():
    for path in sorted(PACKAGE.rglob("*.py")):
        importlib.import_module("promet." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts))


def bound(path):
    """Names that a module binds at its top, under an if or a try, too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, (ast.Import, ast.ImportFrom)) and node.col_offset == 0:
            found |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
    return found


def test_what_a_function_imports_late_is_there():
    """An import inside of a function fails for a user, not when the module is read."""
    known = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("promet"):
                continue
            module = PACKAGE.parent / node.module.replace(".", "/")
            file = module / "__init__.py" if module.is_dir() else module.with_suffix(".py")
            assert file.is_file(), f"{name_of(path)}:{node.lineno}: there is no {node.module}"
            if file not in known:
                known[file] = bound(file)
            for alias in node.names:
                there = (
                    alias.name in known[file]
                    or (module / f"{alias.name}.py").is_file()
                    or (module / alias.name).is_dir()
                )
                assert there, f"{name_of(path)}:{node.lineno}: {node.module} has no {alias.name}"


def test_no_module_imports_one_that_imports_it():
    """Neither at its top nor inside of a function nor for its types alone."""
    files = {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path
        for path in PACKAGE.rglob("*.py")
    }
    reads: dict[str, set[str]] = {}
    for name, path in files.items():
        reads[name] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                reads[name] |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                reads[name] |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        reads[name] &= files.keys()
    while ends := {name for name, others in reads.items() if not others & reads.keys()}:
        reads = {name: others for name, others in reads.items() if name not in ends}
    assert not reads
