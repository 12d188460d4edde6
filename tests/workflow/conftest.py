"""Makes the tiny study known to the tests of this folder."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from promet_plan_study import copy, finished  # noqa: F401
from tests.study_on_paper import paper  # noqa: F401
