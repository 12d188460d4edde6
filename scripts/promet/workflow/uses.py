"""What the declared columns and settings of a stage (stages.py) come to: of this table, of this configuration."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

from promet.core.errors import UsageError
from promet.core.pin import pin
from promet.study import outcome
from promet.study.ledger import FIT
from promet.workflow import buckets
from promet.workflow.declaration import Stage
from promet.workflow.stages import OUTCOME, STAGES


def table_uses(
    stage: str,
    rows: dict[str, dict[str, str]],
    parts: dict[str, str],
    column: Callable[[str, list[str]], str] | None = None,
    columns: tuple[str, ...] | None = None,
) -> dict[str, str]:
    """What a stage uses of the table and the ledger: who, in which part, and each column; one hash each, so that what
    changed can be named.

    Args:
        stage: its name.
        rows: patient -> row of the table, sorted.
        parts: patient -> part in the split of the job; empty for a job without a split.
        column: makes the hash of a column of these patients; a plan gives one that remembers.
        columns: those that it uses (``columns_used``); without them those of the paper's outcome.
    """
    column = column or (lambda name, patients: pin([rows[one][name] for one in patients]))
    declared = STAGES[stage]
    patients = [name for name in rows if parts[name] in FIT] if declared.rows == "fit" else list(rows)
    who = {"patients": pin(patients)}
    if parts:
        who["parts"] = pin([parts[name] for name in patients])
    return who | {
        f"column {name}": column(name, patients)
        for name in (declared.columns if columns is None else columns)
    }


def columns_used(config: dict[str, Any], stage: str) -> tuple[str, ...]:
    """The columns of the table that a stage uses: those it declares, with the outcome's of this configuration."""
    declared = STAGES[stage]
    if not declared.outcome or not declared.columns:
        return declared.columns
    own = [name for name in declared.columns if name not in OUTCOME]
    return tuple(dict.fromkeys([*own, *outcome.columns_of(config, declared.outcome)]))


def flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one mapping, keys joined by dots."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        nested = isinstance(value, dict) and value
        found |= flat(value, f"{prefix}{key}.") if nested else {prefix + key: value}
    return found


def stage_settings(config: dict[str, Any], stage: str, variant: str = "", bucket: str = "") -> dict[str, Any]:
    """The part of the whole configuration that a stage uses; of ``train`` with the variant's overrides laid over it.

    Raises:
        UsageError: ``E_VARIANT_KEY``.
    """
    declared = STAGES[stage]
    if declared.per == "bucket":
        return buckets.settings(bucket, config["imaging"])
    told = outcome.used(config, declared.outcome)
    return _of_sections(config, declared, variant) | ({"outcome": told} if told else {})


def _of_sections(config: dict[str, Any], declared: Stage, variant: str) -> dict[str, Any]:
    if isinstance(declared.settings, str):
        section = _at(config, declared.settings)
        return {
            key: value
            for key, value in section.items()
            if not declared.but or not key.startswith(declared.but)
        }
    found: dict[str, Any] = {}
    for key, place in declared.settings.items():
        *sections, last = key.split(".")
        here = found
        for section in sections:
            here = here.setdefault(section, {})
        here[last] = _at(config, place)
    return _with_overrides(found, config["network"]["variants"], variant) if declared.per == "seed" else found


def place(stage: str, key: str) -> str:
    """The key of the configuration behind a key of what a stage is given; both joined by dots."""
    declared = STAGES[stage]
    if key.partition(".")[0] == "outcome":
        return key
    for section in declared.also:
        if key == section.rpartition(".")[2]:
            return section
    if isinstance(declared.settings, str):
        return f"{declared.settings}.{key}"
    return next(
        (
            where + key.removeprefix(own)
            for own, where in declared.settings.items()
            if key == own or key.startswith(f"{own}.")
        ),
        key,
    )


def _at(config: dict[str, Any], place: str) -> Any:
    return reduce(lambda section, key: section[key], place.split("."), config)


def _with_overrides(
    given: dict[str, Any], variants: dict[str, dict[str, Any]], variant: str
) -> dict[str, Any]:
    sections = {name: dict(values) for name, values in given.items()}
    for key, value in variants[variant].items():
        section, _, name = key.partition(".")
        if section not in sections or name not in sections[section]:
            raise UsageError(
                "E_VARIANT_KEY",
                f"The variant {variant} sets {key}",
                "section.key of network, e.g. architecture.groups or training.learning_rate",
            )
        sections[section][name] = value
    return sections
