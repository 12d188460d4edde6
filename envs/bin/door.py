"""promet as a wheel brings it, seen from a software environment in which it is not installed: its package and nothing beside it.

The wheel puts this file at promet/tree/scripts/promet/__init__.py, where the source tree has the package itself.
"""

from pathlib import Path

__path__ = [str(Path(__file__).parents[3])]
