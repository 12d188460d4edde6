"""What forbids a run of a study before any job is looked at: its table, its registry and its freeze do not fit together."""

from __future__ import annotations

from collections.abc import Iterator

from promet.core.errors import UsageError
from promet.core.words import count
from promet.study import freezing
from promet.workflow.cohort import Cohort


def problems(cohort: Cohort) -> Iterator[UsageError]:
    """Each of them, the worst first."""
    withdrawn = freezing.withdrawn(cohort.config["registry"])
    for found in (
        freezing.come_back(withdrawn, cohort.rows),
        _intake_needed(cohort),
        _withdrawn(cohort),
        _emptied(cohort),
    ):
        if found:
            yield found


def _intake_needed(cohort: Cohort) -> UsageError | None:
    if not cohort.unregistered:
        return None
    return UsageError(
        "E_INTAKE_NEEDED",
        f"Not (wholly) in the registry: {len(cohort.unregistered)} of {count(len(cohort.rows), 'patient')} in the table, the "
        f"first is {cohort.unregistered[0]}",
        remedy="Run promet intake",
    )


def _withdrawn(cohort: Cohort) -> UsageError | None:
    """A frozen study cannot lose a fitted patient in silence: it would be another model."""
    gone = sorted(cohort.left_fit - set(cohort.rows) - set(cohort.waived))
    if not (cohort.frozen and gone):
        return None
    return UsageError(
        "E_WITHDRAWN",
        f"No longer in the table: {count(len(gone), 'patient')} whom the frozen study {cohort.study} ({cohort.frozen}) was "
        f"fitted on, the first is {gone[0]}",
        "every patient of the training and validation parts",
        f"Put the row back; or keep the model as it is with promet waive {gone[0]} --reason TEXT; "
        "or train without this patient with promet freeze NAME --into NEWSTUDY",
    )


def _emptied(cohort: Cohort) -> UsageError | None:
    """Nor can one of them lose role or label: that patient would be only scored, and the model another one."""
    emptied = sorted(cohort.left_fit & set(cohort.rows))
    if not (cohort.frozen and emptied):
        return None
    row, learnt = cohort.rows[emptied[0]], cohort.outcome.given_by
    column = next((name for name in learnt if not row[name]), learnt[0]) if row["role"] else "role"
    return UsageError(
        "E_MODEL_LOCKED",
        f"The column {column} of {emptied[0]} is empty, whom the frozen study {cohort.study} ({cohort.frozen}) is fitted on"
        + (f", and {count(len(emptied) - 1, 'more row')} like it" if len(emptied) > 1 else ""),
        "roles and labels of the training and validation parts as they were at the freeze",
        "Put it back; if the patient withdrew, delete the row and see promet waive; "
        "or train without the patient in a new study: promet freeze NAME --into NEWSTUDY",
    )
