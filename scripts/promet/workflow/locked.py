"""What a locked model was made from beyond the images, so that a change that would give another one is refused at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from promet.core import checksums
from promet.core.errors import IntegrityError, UsageError
from promet.core.pin import pin
from promet.core.sidecar import Sidecar
from promet.core.words import count
from promet.study.outcome import columns_of
from promet.workflow.plan import LOCKED_SPLIT as SPLIT
from promet.workflow.plan import Plan
from promet.workflow.reasons import Reasons
from promet.workflow.stages import CLINICAL
from promet.workflow.uses import flat, place, stage_settings

SHOWN = 3  # changes named in one sentence
INPUT = {"suv_peak_reader": "suv_peak"}  # the one column whose input has another name


def made_from(plan: Plan) -> dict[str, str]:
    """By name: each column that the networks and the fusion see, of the patients they are fitted on; each of their settings.

    Images are not in it: another file may give the same tensor.
    """
    fitted = plan.fit_members(SPLIT)
    inputs = {name for chosen in plan.config["fusion"]["models"].values() for name in chosen}
    columns = [
        *columns_of(plan.config, ("learn",)),
        *(name for name in CLINICAL if INPUT.get(name, name) in inputs),
    ]
    settings = {"network.seeds": plan.config["network"]["seeds"]}
    for variant in plan.variants:
        of_variant = _named(plan, "train", variant)
        settings |= {f"{name} ({variant})": value for name, value in of_variant.items()}
    settings |= _named(plan, "select") | _named(plan, "fuse")
    return {
        **{f"column {name}": pin([plan.rows[one][name] for one in fitted])[:16] for name in columns},
        **{f"setting {name}": pin(value)[:16] for name, value in settings.items()},
    }


def _named(plan: Plan, stage: str, variant: str = "") -> dict[str, Any]:
    found = flat(stage_settings(plan.config, stage, variant))
    return {place(stage, key): value for key, value in found.items()}


def problem(plan: Plan) -> UsageError | None:
    """Why the next run would end with another model than the one that is locked; None when it would not."""
    if not plan.model_locked:
        return None
    return _another_model(plan) or _lost_networks(plan)


def _lost_networks(plan: Plan) -> UsageError | None:
    """What a locked model was chosen from is never trained again."""
    records = [path for split in plan.splits for path in plan.trained(split)]
    lost = sum(not Path(path).exists() for path in records)
    if not lost:
        return None
    return UsageError(
        "E_MODEL_LOCKED",
        f"The records of {lost} of {count(len(records), 'network')} are not there, and nothing is trained for the locked model "
        f"{plan.frozen}",
        "every network that it was chosen from",
        "Copy them back, or put the settings back; or promet freeze NAME --into NEWSTUDY for a new model; "
        f"or, if nobody has the old one, delete {Path(plan.sidecar('bundle')).parent} and run again",
    )


def _another_model(plan: Plan) -> UsageError | None:
    record = Path(plan.sidecar("bundle"))
    if not record.exists() or not record.with_name(checksums.NAME).exists():
        return None
    try:
        values = Sidecar.read(record).values
    except IntegrityError:
        return None
    before, now = values.get("made_from"), made_from(plan)
    if not before or before == now or values.get("freeze") != plan.frozen:
        return None
    changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    reasons, members = Reasons(plan), set(plan.fit_members(SPLIT))
    what = [
        f"the {name}{reasons.who(name.removeprefix('column '), members) if name.startswith('column ') else ''}"
        for name in changed[:SHOWN]
    ]
    more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
    return UsageError(
        "E_MODEL_LOCKED",
        f"This would train or fit another model than the locked model {plan.frozen}: {', '.join(what)}{more} changed",
        "the columns of the patients it was fitted on, the settings and the seeds as they were",
        "Undo the change; or promet freeze NAME --into NEWSTUDY for a new model; "
        f"or, if nobody has the old one, delete {record.parent} and run again",
    )
