"""``promet run`` and ``promet retry``: bring everything up to date."""

from __future__ import annotations

from pathlib import Path

from promet.commands.check import require_sound_table
from promet.config import load
from promet.core.errors import EXIT_OK
from promet.core.sidecar import QUARANTINED, Sidecar
from promet.core.words import count, say
from promet.workflow.plan import Plan
from promet.workflow.run import run as start


def run(configfiles: list[Path], options: list[str]) -> int:
    """Bring everything up to date."""
    config = load(configfiles)
    require_sound_table(config)
    return start(config, configfiles, options)


def retry(configfiles: list[Path], options: list[str]) -> int:
    """Run the stages again that quarantined a patient, then what follows from them."""
    config = load(configfiles)
    plan = Plan(config)
    records = _quarantined(plan)
    if not records:
        say("nobody is quarantined")
        return EXIT_OK
    say(f"{count(len(records), 'patient')} to be tried again")
    return start(config, configfiles, options, records)


def _quarantined(plan: Plan) -> list[str]:
    """Records of the stages that quarantined a patient first; running these again tries the patients again."""
    found = []
    for stage, at in plan.jobs("prepare"):
        path = Path(plan.sidecar(stage, **at))
        if "patient" in at and path.exists():
            record = Sidecar.read(path)
            if record.status == QUARANTINED and record.origin == stage:
                found.append(str(path))
    return found
