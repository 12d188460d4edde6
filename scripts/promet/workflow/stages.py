"""Every stage, declared once: where its record lies, what it reads, what its pin is made of and what it asks the cluster for.

Paths, pins, the order of a run, the words about a stale record, the stage lock, the resources of the rules and of
profiles/slurm follow from these lines. Imports nothing of promet, so that every room may read it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from promet.workflow.declaration import Stage

# Columns of the table by concern: an edit of one makes stale what uses it and nothing else.
CLINICAL = (
    "psa",
    "grade_group",
    "positive_cores_percent",
    "suv_peak_reader",
    "primary_score",
    "psma_expression",
)
# The paper's outcomes; in a study of others (``Stage.outcome``) the columns that these name stand here.
OUTCOME = ("synchronous_metastasis", "progression", "months")
COMPARATOR = ("gleason_primary", "gleason_secondary", "clinical_t", "age", "ucla_psma_risk")
DESCRIPTION = ("site", "tracer")
CHARACTERISTIC = ("age", "clinical_t", *DESCRIPTION)
# What the checklist and the report tell of a study.
_TOLD = ("dataset", "select", "explain", "permute", "evaluate", "survive", "pool", "table1")

STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage(
            name="convert",
            room="imaging",
            version=2,
            per="patient",
            settings="imaging.convert",
            sources=("pet",),
            phase="prepare",
            bucket="tensor",
            group="patient",
            minutes=(2, 10),
        ),
        Stage(
            name="organs",
            room="imaging",
            version=1,
            per="patient",
            settings="imaging.organs",
            sources=("pet", "ct"),
            phase="prepare",
            mem_mb=(16000, 48000),
            minutes=(60, 240),
        ),
        Stage(
            name="segment",
            room="imaging",
            version=2,
            per="patient",
            after=("convert", "organs"),
            settings="imaging.segment",
            sources=("prostate", "lesions", "ct"),
            phase="prepare",
            bucket="tensor",
            group="patient",
            minutes=(1, 5),
        ),
        Stage(
            name="crop",
            room="imaging",
            version=1,
            per="patient",
            after=("segment",),
            settings="imaging.crop",
            phase="prepare",
            bucket="tensor",
            group="patient",
            mem_mb=(1000, 4000),
            minutes=(1, 5),
        ),
        Stage(
            name="normalise",
            room="imaging",
            version=1,
            per="patient",
            after=("crop",),
            settings="imaging.normalise",
            phase="prepare",
            bucket="tensor",
            group="patient",
            mem_mb=(1000, 4000),
            minutes=(1, 5),
        ),
        Stage(
            name="measure",
            room="imaging",
            version=1,
            per="patient",
            after=("segment",),
            settings="imaging.measure",
            phase="prepare",
            bucket="view",
            group="patient",
            mem_mb=(1000, 4000),
            minutes=(1, 5),
        ),
        Stage(
            name="picture",
            room="imaging",
            version=1,
            per="patient",
            after=("segment",),
            settings="imaging.picture",
            also=("imaging.crop",),  # the cuboid is drawn
            phase="prepare",
            bucket="view",
            group="patient",
            mem_mb=(1000, 4000),
            minutes=(1, 5),
        ),
        # In a large cohort, for many patients; what it uses follows from their stages (workflow/buckets.py).
        Stage(
            name="bucket",
            room="imaging",
            version=1,
            per="bucket",
            folder="buckets/{number}/{bucket}",
            settings="imaging",
            phase="prepare",
            minutes=(0, 0),  # the rule counts its patients
        ),
        Stage(
            name="gather",
            room="imaging",
            version=1,
            per="study",
            folder="gather",
            after=("normalise", "measure"),
            uses=("patients", "buckets"),
            phase="prepare",
            group="collect",
            mem_mb=(2000, 16000),
        ),
        Stage(
            name="dataset",
            room="network",
            version=1,
            per="split",
            folder="dataset/split-{split}",
            after=("normalise",),
            settings={"max_quarantine": "imaging.max_quarantine"},
            columns=OUTCOME[:1],
            outcome=("learn",),
            rows="fit",
            uses=("buckets",),
            phase="prepare",
            group="collect",
            mem_mb=(2000, 16000),
        ),
        Stage(
            name="train",
            room="network",
            version=3,
            per="seed",
            folder="network/{variant}/split-{split}/seed-{seed}",
            after=("dataset/fit.json",),
            settings={  # with the overrides of the variant
                "architecture": "network.architecture",
                "training": "network.training",
                "augmentation": "network.augmentation",
            },
            outcome=("task",),
            uses=("variant", "seed"),
            phase="lock",
            mem_mb=(3500, 14000),
            minutes=(90, 720),
        ),
        Stage(
            name="select",
            room="network",
            version=1,
            per="split",
            folder="select/split-{split}",
            after=("train",),
            settings="network.select",
            outcome=("task",),
            uses=("variants", "seeds"),
            phase="lock",
            group="select",
        ),
        Stage(
            name="score",
            room="network",
            version=3,
            per="split",
            folder="score/split-{split}",
            after=("select/model.json", "gather/tensors.json"),
            group="analysis",
            mem_mb=(3000, 16000),
            minutes=(20, 120),
        ),
        Stage(
            name="hindsight",
            room="network",
            version=2,
            per="split",
            folder="hindsight/split-{split}",
            after=("train", "select", "gather/tensors.json"),
            settings={"k": "network.select.k"},
            uses=("variants", "seeds"),
            group="analysis",
            mem_mb=(3000, 16000),
            minutes=(60, 240),
        ),
        Stage(
            name="attention",
            room="network",
            version=2,
            per="split",
            folder="attention/split-{split}",
            after=("select/model.json", "gather/tensors.json"),
            settings={"spacing_mm": "imaging.crop.spacing_mm"},
            uses=("patients",),
            group="analysis",
            mem_mb=(3000, 16000),
            minutes=(60, 240),
        ),
        Stage(
            name="fuse",
            room="fusion",
            version=2,
            per="split",
            folder="fusion/split-{split}",
            after=("score", "gather/measures.json"),
            settings="fusion",
            but="permutation",  # a stage of its own
            columns=(*CLINICAL, *OUTCOME[:1]),
            outcome=("learn",),
            group="analysis",
        ),
        Stage(
            name="explain",
            room="fusion",
            version=1,
            per="split",
            folder="fusion/split-{split}",
            after=("fuse",),
            group="analysis",
            minutes=(20, 120),
        ),
        Stage(
            name="permute",
            room="fusion",
            version=2,
            per="split",
            folder="fusion/split-{split}",
            after=("fuse",),
            settings="fusion",
            columns=(*CLINICAL, *OUTCOME[:1]),
            outcome=("learn",),
            group="analysis",
            minutes=(20, 120),
        ),
        Stage(
            name="evaluate",
            room="evaluation",
            version=3,
            per="split",
            folder="evaluation/split-{split}",
            after=("fuse", "gather/measures.json"),
            settings="evaluation",
            columns=(*OUTCOME, *CLINICAL, *COMPARATOR),
            outcome=("learn", "evaluate", "words"),
            group="analysis",
            minutes=(20, 120),
        ),
        Stage(
            name="survive",
            room="evaluation",
            version=3,
            per="split",
            folder="evaluation/split-{split}",
            after=("fuse",),
            settings="evaluation",
            columns=OUTCOME,
            outcome=("learn", "evaluate", "words"),
            group="analysis",
            minutes=(20, 120),
        ),
        Stage(
            name="pool",
            room="evaluation",
            version=1,
            per="study",
            folder="evaluation",
            after=("evaluate",),
            uses=("splits",),
            group="report",
            mem_mb=(1000, 4000),
        ),
        Stage(
            name="table1",
            room="evaluation",
            version=2,
            per="study",
            folder="evaluation",
            after=("gather",),
            settings={"horizon_months": "evaluation.horizon_months"},
            columns=("role", *OUTCOME, *CLINICAL, *CHARACTERISTIC),
            outcome=("learn", "evaluate", "words"),
            split="00",
            group="report",
        ),
        Stage(
            name="tripod",
            room="evaluation",
            version=2,
            per="study",
            folder="evaluation",
            after=("gather", "fuse", *_TOLD),
            settings={
                "split.ratios": "split.ratios",
                "imaging.crop": "imaging.crop",
            },  # its sentences name them
            outcome=("learn", "evaluate", "words"),
            uses=("splits",),
            group="report",
            mem_mb=(1000, 4000),
        ),
        Stage(
            name="report",
            room="report",
            version=3,
            per="study",
            folder="report",
            after=(
                "gather",
                "picture",
                "score",
                "hindsight",
                "attention",
                *_TOLD,
                "tripod",
                "bundle",
            ),
            settings="report",
            columns=("role", *DESCRIPTION),
            uses=("configuration",),
            group="report",
            minutes=(20, 120),
        ),
        Stage(
            name="bundle",
            room="model",
            version=2,
            per="study",
            folder="model",
            after=("dataset", "select", "fuse", "evaluate", "survive"),
            settings={
                "study": "study",
                "splits": "split.repeats",
                "model": "model",
                "imaging.convert.keep_pet": "imaging.convert.keep_pet",
                "imaging.segment": "imaging.segment",
                "imaging.crop": "imaging.crop",
                "imaging.normalise": "imaging.normalise",
                "imaging.measure": "imaging.measure",
            },
            outcome=("learn", "evaluate", "words"),
            uses=("freeze",),
            group="report",
        ),
    )
}

# What every patient has, in the order in which it is made.
PATIENT_STAGES = tuple(s.name for s in STAGES.values() if s.bucket)
# Those of them that nothing reads in the phase in which they are made.
ENDS = tuple(
    name
    for name in PATIENT_STAGES
    if not any(name in s.before for s in STAGES.values() if s.phase == "prepare")
)


def of_patients(*names: str) -> tuple[str, ...]:
    """The stages that every patient has to go through for these, these included, in their order."""
    found = set(names)
    for name in reversed(PATIENT_STAGES):
        found |= set(STAGES[name].before) if name in found else set()
    return tuple(name for name in PATIENT_STAGES if name in found)


def asked(name: str) -> dict[str, Callable[[Any, int], int]]:
    """Memory (MB) and time (minutes) that the rule of a stage asks for: more with each attempt, up to the most."""
    stage = STAGES[name]

    def growing(first: int, most: int) -> Callable[[Any, int], int]:
        return lambda wildcards, attempt: min(first * attempt, most)

    return {"mem_mb": growing(*stage.mem_mb)} | (
        {"runtime": growing(*stage.minutes)} if stage.minutes[0] else {}
    )
