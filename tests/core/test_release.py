"""A release is one version everywhere: CHANGELOG.md, the tag, the wheel, CITATION.cff, codemeta.json and .zenodo.json."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from promet import citation, documents

ROOT = Path(__file__).parents[2]
PARTS = ("scripts", "workflow", "config", "profiles", "envs")
FILES = ("Snakefile", "README.md", "LICENSE", "pyproject.toml", "CHANGELOG.md", "CITATION.cff", ".gitignore")


def git(place: Path, *words: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@localhost")
    return subprocess.run(
        ["git", *identity, *words], cwd=place, check=True, capture_output=True, text=True
    ).stdout


def python(place: Path, *words: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(place / "scripts")}
    subprocess.run([sys.executable, *words], cwd=place, env=environment, check=True, capture_output=True)


@pytest.fixture
def tree(tmp_path):
    """A copy of the tree as a repository without a tag."""
    place = tmp_path / "tree"
    place.mkdir()
    for name in PARTS:
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, place)
    git(place, "init", "-q")
    git(place, "add", "-A")
    git(place, "commit", "-qm", "all")
    return place


def wheel(place: Path) -> str:
    """The version of the wheel that is built there."""
    python(place, "-m", "hatchling", "build", "-d", "dist", "-t", "wheel")
    [built] = (place / "dist").glob("*.whl")
    return built.name.split("-")[1]


def test_a_release_says_one_version(tree, monkeypatch):
    """The steps of CONTRIBUTING.md; promet.documents writes these files."""
    path = tree / "CHANGELOG.md"
    path.write_text(
        path.read_text().replace("## [Unreleased]\n", "## [Unreleased]\n\n## [7.8.9] - 2031-02-03\n", 1)
    )
    monkeypatch.setattr(citation, "ROOT", tree)
    for name in ("CITATION.cff", "codemeta.json", ".zenodo.json"):
        (tree / name).write_text(documents.FILES[name]())
    git(tree, "add", "-A")
    git(tree, "commit", "-qm", "7.8.9")
    git(tree, "tag", "v7.8.9")
    cited = yaml.safe_load((tree / "CITATION.cff").read_text())
    assert (str(cited["version"]), str(cited["date-released"])) == ("7.8.9", "2031-02-03")
    codemeta = json.loads((tree / "codemeta.json").read_text())
    deposit = json.loads((tree / ".zenodo.json").read_text())
    assert codemeta["version"] == deposit["version"] == "7.8.9"
    assert codemeta["datePublished"] == deposit["publication_date"] == "2031-02-03"
    assert wheel(tree) == "7.8.9"


def test_without_a_tag_or_without_git_a_wheel_is_built_all_the_same(tree):
    assert re.fullmatch(r"0\.0\.1\.dev1\+g[0-9a-f]+", wheel(tree))
    shutil.rmtree(tree / ".git")
    shutil.rmtree(tree / "dist")
    assert wheel(tree) == "0.0.0"


def test_a_tagged_commit_is_the_newest_release():
    """Of this tree: whoever tags says so in CHANGELOG.md, in the same commit."""
    done = subprocess.run(
        ["git", "tag", "--points-at", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    tags = [tag for tag in done.stdout.split() if re.fullmatch(r"v\d+\.\d+\.\d+", tag)]
    newest = citation.released((ROOT / "CHANGELOG.md").read_text())
    assert all(newest and tag == f"v{newest[0]}" for tag in tags)
