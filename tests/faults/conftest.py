"""Lets these tests import the builder of the imaging room's tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "imaging"))
