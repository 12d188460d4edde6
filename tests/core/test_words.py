"""A number with its noun, and commands in hints with the configuration files that were given."""

import ast
import itertools
import re
import subprocess
import sys
from pathlib import Path

import pytest

from promet.core import words
from promet.core.words import count, given, typed


@pytest.fixture
def called_with(monkeypatch):
    monkeypatch.setenv(words.MARK, "")
    monkeypatch.setenv(words.RUN_MARK, "")
    return given


def test_one_and_many():
    assert [count(n, "job") for n in (0, 1, 2)] == ["0 jobs", "1 job", "2 jobs"]
    assert [count(n, "patient is", "patients are") for n in (1, 3)] == ["1 patient is", "3 patients are"]


# Words for people that the trade does not use of patients; none of a program for oncology is "cured" by it.
NOT_OURS = re.compile(r"\b(man|men|he|his|him|himself|cured|cures)\b(?!-Whitney)", re.IGNORECASE)


def test_patients_are_called_patients():
    """In everything a person reads: documents, templates, and every text in the code (messages, help, docstrings)."""
    home = Path(__file__).parents[2]
    pages = [
        home / "README.md",
        *home.glob("docs/*.md"),
        *home.glob("config/*.md"),
        *home.glob("workflow/report/*.rst"),
    ]
    templates = home.glob("scripts/promet/report/**/*.html"), home.glob("scripts/promet/report/web/*.js")
    assert len(pages) > 10
    found = []
    for path in itertools.chain(pages, *templates):
        text = path.read_text(encoding="utf-8")
        found += [
            f"{path.name}: {text[max(0, m.start() - 40) : m.end() + 20]}" for m in NOT_OURS.finditer(text)
        ]
    for path in (home / "scripts/promet").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and NOT_OURS.search(node.value):
                found.append(f"{path.name}:{node.lineno}: {node.value[:80]}")
    assert found == []


def test_names_in_the_code_do_so_too():
    """Variables, arguments, functions and classes of the program and of its tests, word by word."""
    home, found = Path(__file__).parents[2], []
    for path in itertools.chain((home / "scripts/promet").rglob("*.py"), (home / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = (getattr(node, kind, None) for kind in ("id", "arg", "attr", "name"))
            words = " ".join(name.replace("_", " ") for name in names if isinstance(name, str))
            found += [f"{path.name}:{node.lineno}: {words}"] if NOT_OURS.search(words) else []
    assert found == []


def test_without_files_a_hint_stays(called_with):
    called_with([])
    assert typed("Run promet intake, then promet run") == "Run promet intake, then promet run"


@pytest.mark.parametrize(
    ("hint", "whole"),
    [
        ("Run promet intake", "Run promet intake -c a.yaml"),
        ("promet status says why", "promet status -c a.yaml says why"),
        ("promet prune --yes deletes", "promet prune --yes -c a.yaml deletes"),
        (
            "or promet freeze NAME --into NEWSTUDY for a new model",
            "or promet freeze NAME --into NEWSTUDY -c a.yaml for a new model",
        ),
        ("promet waive D1 --reason TEXT", "promet waive -c a.yaml D1 --reason TEXT"),
        ("promet run -c b.yaml", "promet run -c b.yaml"),
        ("promet run --unlock -c b.yaml", "promet run --unlock -c b.yaml"),
        ("promet predict --help", "promet predict --help"),
        ("promet verify MODEL_DIR lists them", "promet verify MODEL_DIR lists them"),
        ("promet runs well", "promet runs well"),
    ],
)
def test_the_files_stand_behind_the_command(called_with, hint, whole):
    called_with(["a.yaml"])
    assert typed(hint) == whole


def test_a_run_is_repeated_with_its_options(called_with):
    called_with(["a.yaml"])
    words.run_with(["--workflow-profile", "my slurm"])
    assert typed("promet run again") == "promet run --workflow-profile 'my slurm' -c a.yaml again"
    assert typed("promet status") == "promet status -c a.yaml"


def test_who_computes_on_slurm_is_told_to(called_with, monkeypatch):
    monkeypatch.delenv(words.RUN_MARK)
    monkeypatch.setenv(words.SLURM[0], "cpu")
    assert typed("Next: promet run") == "Next: promet run --workflow-profile slurm"
    words.run_with([])  # but not who has just chosen otherwise
    assert typed("Next: promet run") == "Next: promet run"


def test_several_files_and_blanks(called_with):
    called_with(["a.yaml", "my study.yaml"])
    assert typed("promet run") == "promet run -c a.yaml -c 'my study.yaml'"


def test_renamings_stay_with_their_command(called_with):
    called_with(["a.yaml"])
    said = typed("say so: promet intake --renamed 001=1 --renamed 002=2; nothing was registered")
    assert said == "say so: promet intake --renamed 001=1 --renamed 002=2 -c a.yaml; nothing was registered"


def test_an_error_on_the_terminal_repeats_them(tmp_path):
    (tmp_path / "mine.yaml").write_text("cohort: cohort.tsv\n")
    (tmp_path / "cohort.tsv").write_text("patient\tpet\nP1\tx\nP1\tx\n")
    command = [sys.executable, "-m", "promet.cli", "status", "-c", "mine.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "E_COHORT_IDS" in done.stderr
    assert "promet check -c mine.yaml lists them" in done.stderr
