"""``promet`` alone: what this folder holds and what to type next, in three lines."""

from __future__ import annotations

import os
from pathlib import Path

from promet.config import load
from promet.core.environment import SOURCE
from promet.core.words import count
from promet.study import ledger


def begin() -> None:
    """Print the three lines, for the default configuration; nothing is read but the table's length."""
    config = load()
    report = Path(config.results, config.study, "report/report.html")
    patients = _patients(Path(config.cohort))
    if report.exists():
        here, then = (
            f"The report of study {config.study} is {report}.",
            "Next: promet status says what is new or stale; promet run builds that.",
        )
    elif ledger.ledger_path(config.registry, config.study).exists():
        here, then = (
            f"{config.cohort} holds {count(patients, 'patient')}, and its images are registered.",
            "Next: promet run builds everything up to the report; promet run -n only says what would run.",
        )
    elif patients:
        here, then = (
            f"{config.cohort} holds {count(patients, 'patient')}.",
            "Next: promet check says what is wrong with it, then promet intake registers the images, then promet run.",
        )
    else:
        shown = Path("demo/results/demo/report/report.html")
        demo = (
            f"The demo's report: {shown}."
            if shown.exists()
            else "To see promet work: promet demo (some minutes on two cores; writes the folder demo)."
        )
        here = f"No table of patients is here yet. {demo}"
        table = SOURCE / "config/cohort.tsv"
        how = (
            f"fill in {config.cohort}"
            if Path(config.cohort).exists()
            else f"copy {_near(table)} to {config.cohort} and fill it in"
        )
        then = f"Your own data: {how}, one row per patient, columns as {_near(table.with_name('README.md'))} says; then promet check."
    print(
        f"{here}\n{then}\nHelp: promet --help lists the commands, promet COMMAND --help explains one. Research use only."
    )


def _patients(path: Path) -> int:
    """Lines below the head."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return 0
    return sum(bool(line.strip()) for line in lines[1:])


def _near(path: Path) -> str:
    """Path as one would type it here."""
    inside = path.is_relative_to(Path.cwd())
    return os.path.relpath(path) if inside else str(path)
