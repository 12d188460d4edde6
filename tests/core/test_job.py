"""A job's words: what a rule writes is read without a command line, and means the same as with one."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from inspect import signature
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from promet.core.job import option, parse
from promet.core.stage import version
from promet.imaging import cli
from promet.imaging.jobs import JOBS

VALUES = {str: "a b=c", int: "7", Path: "some where/x.json", Path | None: "y"}


def words_of(job) -> list[str]:
    """Every option of a job, as a rule writes it."""
    found = []
    for name, parameter in signature(job, eval_str=True).parameters.items():
        kind = parameter.annotation
        found += [option(name)] if kind is bool else [option(name), VALUES[kind]]
    return found


@pytest.mark.parametrize("name", JOBS)
def test_both_doors_call_a_job_with_the_same_values(name, monkeypatch):
    job, seen = JOBS[name], {}
    monkeypatch.setattr("promet.imaging.jobs.convert", lambda *values: seen.update(zip(("patient", "registry", "out", "pin", "settings", "tracer"), values, strict=True)))  # fmt: skip

    def spy(**given):
        seen.update(given)

    spy.__signature__ = signature(job, eval_str=True)
    app = cli.app
    if name != "convert":  # whose command is also a tool by hand, and calls the job by its name
        app = typer.Typer()
        app.command(name)(cli.command(spy))
        app.command("other")(lambda: None)
    light = parse(job, words_of(job))
    result = CliRunner().invoke(app, [name, *words_of(job)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert light == seen and {type(value) for value in light.values()} == {
        type(value) for value in seen.values()
    }


@pytest.mark.parametrize("name", JOBS)
def test_whatever_no_rule_writes_is_left_to_the_command_line(name):
    words = words_of(JOBS[name])
    assert parse(JOBS[name], words) is not None
    for other in (
        ["--help"], [*words, "more"], [*words, *words[:2]], [words[0]], [*words, "--nothing", "1"], [], words[2:],
        ["--out", *words],
    ):  # fmt: skip
        assert parse(JOBS[name], other) is None, other


LIGHT = """
import sys
from pathlib import Path
from promet import cli
from promet.imaging import jobs

def normalise(out: Path) -> None:
    print(out)

jobs.JOBS["normalise"] = normalise
sys.argv = ["promet", "imaging", "normalise", "--out=x.json"]
cli.main()
print(*sorted({"typer", "click", "rich", "numpy", "importlib.metadata"} & set(sys.modules)))
"""


def test_a_job_loads_no_command_line():
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["x.json", ""]


def test_versions_are_those_of_importlib():
    for name in ("promet", "numpy", "SimpleITK", "scikit-learn", "PyYAML", "typing_extensions", "jinja2"):
        assert version(name) == importlib.metadata.version(name)
    assert version("no-such-thing") == ""
