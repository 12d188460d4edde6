"""A number with its noun, and commands in hints with the configuration files that were given."""

import ast
import io
import itertools
import re
import subprocess
import sys
import tokenize
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


# Words for people that the trade does not use of patients, none of whom is "cured" by a program for oncology; and nicknames
# of the house with the usual word that took their place (docs/design.md, Words).
NOT_OURS = re.compile(
    r"\b(man|men|he|his|him|himself|cure[ds]?|curing|waist|twins?|deals?|dealt)\b(?!-Whitney|-whitney)",
    re.IGNORECASE,
)
HOME = Path(__file__).parents[2]
CODE = [
    path
    for place in ("scripts/promet", "tests", "bench")
    for path in (HOME / place).rglob("*.py")
    if path != Path(__file__)
]


def said(source):
    """(line, text) of the strings and the comments of a module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def test_patients_are_called_patients():
    """In everything a person reads: documents, templates, rules, and every text in the code (messages, help, comments)."""
    pages = [HOME / "README.md", HOME / "CONTRIBUTING.md", HOME / "Snakefile"]
    for pattern in (
        "docs/*.md",
        "config/*.*",
        "workflow/report/*.rst",
        "workflow/**/*.smk",
        "profiles/**/*.*",
    ):
        pages += [path for path in HOME.glob(pattern) if path.is_file()]
    templates = HOME.glob("scripts/promet/report/**/*.html"), HOME.glob("scripts/promet/report/web/*.js")
    assert len(pages) > 25
    texts = [
        (path, number, line)
        for path in itertools.chain(pages, *templates)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    ]
    texts += [(path, *one) for path in CODE for one in said(path.read_text(encoding="utf-8"))]
    # The key of ``promet intake --json`` from before stays for one more version.
    found = [f"{path.name}:{line}: {text[:80]}" for path, line, text in texts if NOT_OURS.search(text)]
    assert [one for one in found if not one.startswith("intake.py")] == []


def test_names_in_the_code_do_so_too():
    """Variables, arguments, functions and classes of the program and of its tests, word by word."""
    found = []
    for path in CODE:
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
