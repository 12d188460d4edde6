"""What a stage depends on, by concern: the columns of the table and the part of the configuration that it uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from promet.core.errors import UsageError
from promet.core.pin import pin
from promet.workflow import buckets

# Columns by concern: an edit of one makes stale what uses it and nothing else.
CLINICAL = (
    "psa",
    "grade_group",
    "positive_cores_percent",
    "suv_peak_reader",
    "primary_score",
    "psma_expression",
)
OUTCOME = ("synchronous_metastasis", "progression", "months")
COMPARATOR = ("gleason_primary", "gleason_secondary", "clinical_t", "age", "ucla_psma_risk")
DESCRIPTION = ("site", "tracer")
FIT = ("training", "validation")
CHARACTERISTIC = ("age", "clinical_t", *DESCRIPTION)
USED = {
    "dataset": OUTCOME[:1],
    "fuse": (*CLINICAL, *OUTCOME[:1]),
    "permute": (*CLINICAL, *OUTCOME[:1]),
    "evaluate": (*OUTCOME, *CLINICAL, *COMPARATOR),
    "survive": OUTCOME,
    "table1": ("role", *OUTCOME, *CLINICAL, *CHARACTERISTIC),
    "report": ("role", *DESCRIPTION),
}


def table_uses(
    stage: str,
    rows: dict[str, dict[str, str]],
    parts: dict[str, str],
    column: Callable[[str, list[str]], str] | None = None,
) -> dict[str, str]:
    """What a stage uses of the table and the ledger: who, in which part, and each column; one hash each, so that what
    changed can be named.

    Args:
        stage: its name.
        rows: patient -> row of the table, sorted.
        parts: patient -> part in the split of the job; empty for a job without a split.
        column: makes the hash of a column of these patients; a plan gives one that remembers.
    """
    column = column or (lambda name, patients: pin([rows[one][name] for one in patients]))
    patients = [name for name in rows if parts[name] in FIT] if stage == "dataset" else list(rows)
    who = {"patients": pin(patients)}
    if parts:
        who["parts"] = pin([parts[name] for name in patients])
    return who | {f"column {name}": column(name, patients) for name in USED.get(stage, ())}


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
    imaging, network = config["imaging"], config["network"]
    if stage == "bucket":
        return buckets.settings(bucket, imaging)
    if stage in imaging:
        return imaging[stage]
    if stage == "train":
        return _with_overrides(network, variant)
    fusion, evaluation = config["fusion"], config["evaluation"]
    return {
        "dataset": {"max_quarantine": imaging["max_quarantine"]},
        "select": network["select"],
        "hindsight": {"k": network["select"]["k"]},
        "attention": {"spacing_mm": imaging["crop"]["spacing_mm"]},
        # the permutation null is a stage of its own
        "fuse": {key: value for key, value in fusion.items() if not key.startswith("permutation")},
        "permute": fusion,
        "evaluate": evaluation,
        "survive": evaluation,
        "table1": {"horizon_months": evaluation["horizon_months"]},
        # what its sentences name
        "tripod": {"split": {"ratios": config["split"]["ratios"]}, "imaging": {"crop": imaging["crop"]}},
        "report": config["report"],
        "bundle": {
            "study": config["study"],
            "splits": config["split"]["repeats"],
            "model": config["model"],
            "imaging": {
                **{name: imaging[name] for name in ("segment", "crop", "normalise", "measure")},
                "convert": {"keep_pet": imaging["convert"]["keep_pet"]},
            },
        },
    }.get(stage, {})


def _with_overrides(network: dict[str, Any], variant: str) -> dict[str, Any]:
    sections = {name: dict(network[name]) for name in ("architecture", "training", "augmentation")}
    for key, value in network["variants"][variant].items():
        section, _, name = key.partition(".")
        if section not in sections or name not in sections[section]:
            raise UsageError(
                "E_VARIANT_KEY",
                f"The variant {variant} sets {key}",
                "section.key of network, e.g. architecture.groups or training.learning_rate",
            )
        sections[section][name] = value
    return sections
