"""What forbids a run of a study before any job is looked at: its table, its registry and its freeze do not fit together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from promet.core.errors import UsageError
from promet.core.words import count
from promet.study import ledger
from promet.study.parts import holds
from promet.workflow.uses import FIT

if TYPE_CHECKING:
    from promet.workflow.plan import Plan


def problems(plan: Plan) -> Iterator[UsageError]:
    """Each of them, the worst first."""
    withdrawn = ledger.withdrawn(plan.config["registry"])
    for found in (
        ledger.come_back(withdrawn, plan.rows),
        _intake_needed(plan),
        _withdrawn(plan),
        _emptied(plan),
    ):
        if found:
            yield found


def _intake_needed(plan: Plan) -> UsageError | None:
    if not plan.unregistered:
        return None
    return UsageError(
        "E_INTAKE_NEEDED",
        f"Not (wholly) in the registry: {len(plan.unregistered)} of {count(len(plan.rows), 'patient')} in the table, the "
        f"first is {plan.unregistered[0]}",
        remedy="Run promet intake",
    )


def _withdrawn(plan: Plan) -> UsageError | None:
    """A frozen study cannot lose a fitted patient in silence: it would be another model."""
    fitted = {entry.patient for entry in plan.entries if entry.part in FIT}
    gone = sorted(fitted - set(plan.rows) - set(plan.waived) - plan.excluded)
    if not (plan.frozen and gone):
        return None
    return UsageError(
        "E_WITHDRAWN",
        f"No longer in the table: {count(len(gone), 'patient')} whom the frozen study {plan.study} ({plan.frozen}) was "
        f"fitted on, the first is {gone[0]}",
        "every patient of the training and validation parts",
        f"Put the row back; or keep the model as it is with promet waive {gone[0]} --reason TEXT; "
        "or train without this patient with promet freeze NAME --into NEWSTUDY",
    )


def _emptied(plan: Plan) -> UsageError | None:
    """Nor can one of them lose role or label: that patient would be only scored, and the model another one."""
    emptied = sorted(
        {
            entry.patient
            for entry in plan.entries
            if entry.part in FIT and entry.patient not in plan.excluded and entry.patient in plan.rows
            if not holds(entry.part, plan.rows[entry.patient])
        }
    )
    if not (plan.frozen and emptied):
        return None
    column = "synchronous_metastasis" if plan.rows[emptied[0]]["role"] else "role"
    return UsageError(
        "E_MODEL_LOCKED",
        f"The column {column} of {emptied[0]} is empty, whom the frozen study {plan.study} ({plan.frozen}) is fitted on"
        + (f", and {count(len(emptied) - 1, 'more row')} like it" if len(emptied) > 1 else ""),
        "roles and labels of the training and validation parts as they were at the freeze",
        "Put it back; if the patient withdrew, delete the row and see promet waive; "
        "or train without the patient in a new study: promet freeze NAME --into NEWSTUDY",
    )
