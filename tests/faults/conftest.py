"""Lets these tests import the builders of the imaging room's and of the workflow's tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "imaging"))
sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))

from promet_plan_study import copy, finished  # noqa: F401
