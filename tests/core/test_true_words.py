"""What the documentation and the comments name is there: files, commands, options, codes, variables, settings, links."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
import typer

from promet import app, messages
from promet.config import load

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "scripts/promet"
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / name / "README.md" for name in ("config", "profiles")),
    ]
)
TOPS = ("scripts", "tests", "docs", "config", "workflow", "profiles", "envs", "bench")
SOURCES = sorted(
    path
    for top in (*TOPS, "Snakefile", "Makefile", "pyproject.toml")
    for path in ([ROOT / top] if (ROOT / top).is_file() else (ROOT / top).rglob("*"))
    if path.suffix in (".py", ".smk", ".yaml", ".toml", ".sh", ".js", ".css", ".html", ".def", "")
    and path.is_file()
    if "__pycache__" not in path.parts and "results" not in path.parts
)
# Of the repository: from its root, or from the package or the folder of whoever names it.
FILE = re.compile(
    rf"(?<![\w/.$<>{{}}-])((?:{'|'.join(TOPS)})/[\w./-]*\w\.(?:py|md|yaml|smk|lock|tsv|def|json|png|html))\b"
)
MODULE = re.compile(
    rf"(?<![\w/.-])((?:{'|'.join(p.name for p in PACKAGE.iterdir() if p.is_dir())})/\w+\.(?:py|css|js))\b"
)
# Written by make bench; inside the bundle of a locked model; what the reader of docs/how-to-add.md writes.
MADE = re.compile(
    r"bench/results/\w+\.json|docs/(?:README\.md|metrics\.json)|tests/\w+/test_(?:plainnet|psa_density|measure_sd|upper)\.py"
)


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def of_a_test(path: Path) -> bool:
    """Tests name files they make; of them only the first lines, which speak of the repository, are read."""
    return path.is_relative_to(ROOT / "tests")


def spoken(path: Path) -> str:
    text = text_of(path)
    return text.partition('"""')[2].partition('"""')[0] if of_a_test(path) else text


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_of_a_page_lead_somewhere(path):
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(path)):
        if "://" in target or target.startswith("mailto:"):
            continue
        name, _, anchor = target.partition("#")
        page = (path.parent / name).resolve() if name else path
        if not page.exists() or (anchor and page.suffix == ".md" and anchor not in anchors(page)):
            broken.append(target)
    assert broken == []


@cache
def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", [*PAGES, *SOURCES], ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_are_named_are_there(path):
    text = spoken(path)
    places = (ROOT, PACKAGE)  # workflow/ is there and in the package
    gone = {
        name
        for name in FILE.findall(text)
        if not any((at / name).exists() for at in places) and not MADE.fullmatch(name)
    }
    if path in PAGES or path.is_relative_to(PACKAGE):
        gone |= {name for name in MODULE.findall(text) if not (PACKAGE / name).exists()}
    assert gone == set()


def test_the_tests_that_sources_point_to_are_where_they_say():
    """A wrong path was found in a comment; whoever reads it looks for the file."""
    assert FILE.findall("see tests/core/test_stages.py.") == ["tests/core/test_stages.py"]
    assert MODULE.findall("`core/stage.py` and x/core/stage.py") == ["core/stage.py"]


@cache
def words() -> str:
    return "\n".join(text_of(path) for path in SOURCES if not of_a_test(path))


def test_codes_that_are_named_can_be_raised():
    raised = set(re.findall(r"\bE_[A-Z0-9_]+\b", words()))
    known = {message.code for message in messages.messages()}
    for path in PAGES:
        if path.name not in ("troubleshooting.md", "CHANGELOG.md"):
            named = set(re.findall(r"\bE_[A-Z0-9_]+\b", text_of(path)))
            assert named <= raised | known, path.name
    assert len(known) > 100


def test_variables_that_are_named_are_read():
    read = set(
        re.findall(
            r"\bPROMET_[A-Z_]+[A-Z]\b", words() + "".join(map(text_of, (ROOT / "tests").rglob("*.py")))
        )
    )
    read |= {
        f"PROMET_SLURM_{name}"
        for name in re.findall(r"\w+", (ROOT / "profiles/slurm/config.yaml").read_text())
    }
    for path in PAGES:
        assert set(re.findall(r"\bPROMET_[A-Z_]+[A-Z]\b", text_of(path))) <= read, path.name


def commands() -> dict[str, set[str]]:
    """'check', 'imaging crop' -> its options."""
    found = {}

    def walk(command, name: str) -> None:
        if hasattr(command, "commands"):
            for key, value in command.commands.items():
                walk(value, f"{name} {key}".strip())
        else:
            found[name] = {
                word for parameter in command.params for word in (*parameter.opts, *parameter.secondary_opts)
            }

    walk(typer.main.get_command(app.app), "")
    for room in app.ROOMS:
        import importlib

        walk(
            typer.main.get_command(importlib.import_module(f"promet.{app.HOME.get(room, room)}.cli").app),
            room,
        )
    return found


def test_commands_and_options_that_are_named_exist():
    known = commands()
    firsts = {name.split()[0] for name in known}
    unknown = []
    for path in PAGES:
        for line in re.findall(r"`(promet [^`]+)`", text_of(path)):
            for call in re.split(r"&&|\|\|?|;|, ", line):
                found = re.match(r"\s*promet ([a-z][a-z-]*)(?: ([a-z][a-z0-9-]+))?", call)
                if not found:
                    continue
                first, second = found[1], found[2] or ""
                name = f"{first} {second}" if first in app.ROOMS and second else first
                # of a command that has commands (sample-size) the group is enough
                groups = {of for entry in known if (of := entry.rpartition(" ")[0])}
                if first not in firsts or (first in app.ROOMS and second and name not in groups.union(known)):
                    unknown.append((path.name, call))
                elif name in known and first not in (
                    "run",
                    "retry",
                    "predict",
                    "validate",
                    "update",
                ):  # these pass options on
                    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", call))
                    unknown += [(path.name, name, option) for option in options - known[name]]
    assert unknown == []


def test_make_targets_that_are_named_exist():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in PAGES:
        assert set(re.findall(r"`make ([a-z][\w-]*)", text_of(path))) <= targets, path.name


def test_settings_that_are_named_exist():
    def keys(values: dict, prefix: str = ""):
        for name, value in values.items():
            yield prefix + name
            if isinstance(value, dict):
                yield from keys(value, f"{prefix}{name}.")

    known = set(keys(load().model_dump()))
    sections = {name for name in load().model_dump() if isinstance(load().model_dump()[name], dict)}
    named = re.compile(rf"`((?:{'|'.join(sections)})(?:\.[a-z_]+)+)`")
    unknown = []
    for path in PAGES:
        for name in named.findall(text_of(path)):
            parent = name.rpartition(".")[0]
            if name not in known and parent not in known:
                unknown.append((path.name, name))
    assert unknown == []
