"""``promet demo``: the main job on a phantom cohort, from a hospital's export to report.html."""

from __future__ import annotations

import os
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
EXPORT, CLINIC, MAPPING = FOLDER / "export", FOLDER / "redcap.csv", FOLDER / "redcap.yaml"
FILLED = FOLDER / "redcap-faults.tsv"  # from-redcap writes it last
KEY = "PROMET_DEMO_KEY"
COHORT = {"development": 48, "metachronous": 20, "prospective": 2, "seed": 1, "effect": 2.0}


def demo(
    write_cohort: Callable[..., Any],
    from_dicom: Callable[[Path, Path, Path], int],
    from_redcap: Callable[[Path, Path, Path, Path], int],
    options: list[str],
) -> int:
    """Do in this order what a person would type, and say so; a step that does not end well ends the demo.

    Args:
        write_cohort: of the room phantom.
        from_dicom, from_redcap: of the room hospital; export (and mapping), key file and table.
        options: of Snakemake.
    """
    require_source("config/demo.yaml")
    key = key_path()
    steps: tuple[tuple[str, Callable[[], int]], ...] = (
        (f"phantom {FOLDER} --key {key}", lambda: _phantom(write_cohort, key)),
        (
            f"cohort from-dicom {EXPORT} --key {key} --out {TABLE}",
            lambda: _once(lambda: from_dicom(EXPORT, key, TABLE)),
        ),
        (
            f"cohort from-redcap {CLINIC} --mapping {MAPPING} --key {key} --out {TABLE}",
            lambda: _once(lambda: from_redcap(CLINIC, MAPPING, key, TABLE)),
        ),
        (f"check -c {SETTINGS}", lambda: check([SETTINGS], False)),
        (f"intake -c {SETTINGS}", lambda: intake([SETTINGS], False, False)),
        (f"run -c {SETTINGS}", lambda: run([SETTINGS], options)),
    )
    given([SETTINGS])  # every hint names them
    for number, (words, step) in enumerate(steps, 1):
        print(f"step {number} of {len(steps)}: promet {words}", flush=True)
        if (code := step()) != EXIT_OK:
            return code
    return EXIT_OK


def key_path() -> Path:
    """The demo's key file: what ``PROMET_DEMO_KEY`` names, else one outside of the project, as every key file must lie."""
    if os.environ.get(KEY):
        return Path(os.environ[KEY])
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "promet/demo-key.tsv"


def _there() -> bool:
    """Whether a demo was here before; what was tried with its table and settings stays."""
    return TABLE.exists() and (FILLED.exists() or not EXPORT.exists())


def _once(step: Callable[[], int]) -> int:
    return EXIT_OK if _there() else step()


def _phantom(write_cohort: Callable[..., Any], key: Path) -> int:
    if _there():
        print(f"{TABLE} is there; to begin anew, delete the folder {FOLDER}")
    else:
        write_cohort(FOLDER, **COHORT, key=key)
    if not SETTINGS.exists():
        write_text(SETTINGS, (SOURCE / "config/demo.yaml").read_text(encoding="utf-8"))
    return EXIT_OK
