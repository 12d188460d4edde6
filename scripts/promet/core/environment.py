"""What a job's process needs around it."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def own_commands_first() -> None:
    """Put this interpreter's folder first in PATH, so that jobs find the same promet without an activated environment.

    A site that wraps promet (container, module) names the folder of its wrapper in ``PROMET_BIN``.
    """
    folder = os.environ.get("PROMET_BIN") or str(Path(sys.executable).parent)
    paths = os.environ.get("PATH", "").split(os.pathsep)
    if paths[0] != folder:
        os.environ["PATH"] = os.pathsep.join([folder, *paths])
