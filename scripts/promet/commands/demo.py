"""``promet demo``: the main job on a phantom cohort, from DICOM to report.html."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from promet.commands.check import check
from promet.commands.intake import intake
from promet.commands.run import run
from promet.core.environment import SOURCE, require_source
from promet.core.errors import EXIT_OK
from promet.core.files import write_text
from promet.core.words import given

FOLDER = Path("demo")
TABLE, SETTINGS = FOLDER / "cohort.tsv", FOLDER / "demo.yaml"
COHORT = {"development": 48, "metachronous": 20, "prospective": 2, "seed": 1, "effect": 2.0}


def demo(write_cohort: Callable[..., Any], options: list[str]) -> int:
    """Do in this order what a person would type, and say so; a step that does not end well ends the demo.

    Args:
        write_cohort: of the room phantom.
        options: of Snakemake.
    """
    require_source("config/demo.yaml")
    steps: tuple[tuple[str, Callable[[], int]], ...] = (
        (f"phantom {FOLDER}", lambda: _phantom(write_cohort)),
        ("check", lambda: check([SETTINGS], False)),
        ("intake", lambda: intake([SETTINGS], False, False)),
        ("run", lambda: run([SETTINGS], options)),
    )
    given([SETTINGS])  # every hint names them
    for number, (words, step) in enumerate(steps, 1):
        settings = "" if number == 1 else f" -c {SETTINGS}"
        print(f"step {number} of {len(steps)}: promet {words}{settings}", flush=True)
        if (code := step()) != EXIT_OK:
            return code
    return EXIT_OK


def _phantom(write_cohort: Callable[..., Any]) -> int:
    """Once: what was tried with table and settings of an earlier demo stays."""
    if TABLE.exists():
        print(f"{TABLE} is there; to begin anew, delete the folder {FOLDER}")
    else:
        write_cohort(FOLDER, **COHORT)
    if not SETTINGS.exists():
        write_text(SETTINGS, (SOURCE / "config/demo.yaml").read_text(encoding="utf-8"))
    return EXIT_OK
