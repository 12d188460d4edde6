"""Fake studies, made once."""

import importlib.util
import sys
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("fake_study", Path(__file__).with_name("fake_study.py"))
fake_study = importlib.util.module_from_spec(_spec)
sys.modules["fake_study"] = fake_study  # dataclasses look their module up
_spec.loader.exec_module(fake_study)


@pytest.fixture(scope="session")
def full(tmp_path_factory):
    """Every section has something; single patients are shown."""
    return fake_study.make(tmp_path_factory.mktemp("full") / "a place", 40, 14, 2, 5, 20, patient_level=True)


@pytest.fixture(scope="session")
def poor(tmp_path_factory):
    """No metachronous cohort, one seed, nobody with an outcome."""
    return fake_study.make(tmp_path_factory.mktemp("poor"), 30, 0, 0, 1, 10, blank=True)
