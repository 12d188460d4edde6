"""The crate against the profile that it claims, by roc-validator; no network is asked."""

import json
from pathlib import Path

import pytest
from tests.hospital.small_study import study
from tests.study_on_paper import paper  # noqa: F401
from tools import call, find

from promet.hospital.crate import crate

FILL = Path(__file__).with_name("fill_cache.py")


@pytest.fixture
def validated(paper, tmp_path):  # noqa: F811
    """Makes a crate; a function says what the validator finds in it."""
    find("rocrate-validator")
    study(paper)
    crate(paper.configfiles, Path("crate"), "2026-01-31")
    call("python", FILL, tmp_path / "cache")

    def look():
        words = [
            "validate",
            "-p",
            "workflow-run-crate-0.5",
            "-l",
            "required",
            "--offline",
            "--cache-path",
            tmp_path / "cache",
        ]
        said = call(
            "rocrate-validator", *words, "--output-format", "json", "-o", "out.json", "crate", code=None
        )
        assert Path("out.json").exists(), said
        return json.loads(Path("out.json").read_text())

    return look


def test_every_required_check(validated):
    found = validated()
    assert found["passed"] and found["issues"] == []
    numbers = found["statistics"]
    assert (numbers["total_checks"], numbers["total_passed_checks"], numbers["total_skipped_checks"]) == (
        57,
        57,
        0,
    )


def test_what_the_validator_sees(validated):
    """Its own controls: a file gone, a licence gone."""
    path = Path("crate/ro-crate-metadata.json")
    whole = path.read_text()
    told = json.loads(whole)
    for entity in told["@graph"]:
        if entity["@id"] == "./":
            del entity["license"]
    path.write_text(json.dumps(told))
    assert not validated()["passed"]
    path.write_text(whole)
    Path("crate/results/report.html").unlink()
    assert not validated()["passed"]
