"""Values made with R, where they lie beside the checkout; a test that asks for them skips where they do not."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = next((p for p in (ROOT / "shared/oracles", ROOT.parent / "shared/oracles") if p.is_dir()), None)


def path(name):
    """A file of the folder."""
    if FOLDER is None or not (FOLDER / name).is_file():
        pytest.skip(f"R's values ({name}) are not on this machine")
    return FOLDER / name


def oracle(name):
    """A JSON file of it."""
    return json.loads(path(name).read_text())
