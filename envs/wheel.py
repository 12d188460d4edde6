"""What a wheel of promet holds beside its packages: the parts of the source tree from which it runs, below promet/tree.

An editable installation has them around the package; promet/core/environment.py finds them in either place.
"""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PARTS = ("Snakefile", "workflow", "config", "profiles", "envs")


class CustomBuildHook(BuildHookInterface):
    """Called by the build (pyproject.toml, tool.hatch.build.targets.wheel.hooks.custom)."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the parts; of an editable wheel nothing."""
        if version != "editable":
            build_data["force_include"] |= {part: f"promet/tree/{part}" for part in PARTS}
            build_data["force_include"]["envs/bin/door.py"] = "promet/tree/scripts/promet/__init__.py"
