"""Buckets: in a large cohort one job keeps the images of many patients up to date, as exactly as one job per patient.

Snakemake's cost is per job. A patient belongs to a bucket by a hash of the pseudonym, so that nobody else's coming or
going moves the patient. Patients on whom a network is fitted share none with others, and measures and pictures are in buckets
of their own, so that training waits for the tensors of the fitted and for nothing else. Standard library only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container
from typing import Any

from promet.core.defaults import TOTALSEGMENTATOR
from promet.core.pin import pin as make_pin
from promet.workflow.stages import PATIENT_STAGES, STAGES

ORGANS = "organs"  # of patients of whom an external program makes a mask; a job of its own, before segment
PLACES = ("weights", "device")  # where a program computes: no result depends on it
TENSOR, VIEW = (
    tuple(name for name in PATIENT_STAGES if STAGES[name].bucket == kind) for kind in ("tensor", "view")
)
GROUPS = {"fit": TENSOR, "rest": TENSOR, "view": VIEW}  # view: measures and pictures of everyone
ABOVE, NUMBER = 1000, 128  # what "auto" means: buckets in cohorts above 1000 patients, 128 per group


def divide(patients: list[str], fitted: set[str], number: int) -> dict[str, list[str]]:
    """Bucket -> its patients in the order given; empty buckets are there too, so that the jobs are always the same."""
    width = len(str(number - 1))
    found: dict[str, list[str]] = {f"{group}-{i:0{width}d}": [] for group in GROUPS for i in range(number)}
    for patient in patients:
        place = int.from_bytes(hashlib.blake2b(patient.encode(), digest_size=8).digest(), "big") % number
        for group in ("fit" if patient in fitted else "rest", "view"):
            found[f"{group}-{place:0{width}d}"].append(patient)
    return found


def stages(bucket: str) -> tuple[str, ...]:
    """The stages that a bucket is there for."""
    return GROUPS[bucket.partition("-")[0]]


def before(bucket: str) -> list[str]:
    """The buckets that a bucket waits for: those of the same patients."""
    group, _, place = bucket.partition("-")
    return [f"fit-{place}", f"rest-{place}"] if group == "view" else []


def settings(bucket: str, imaging: dict[str, Any]) -> dict[str, Any]:
    """What of the section ``imaging`` a bucket uses; where an external program computes is not in it."""
    here = stages(bucket)
    also = [section.rpartition(".")[2] for stage in here for section in STAGES[stage].also]
    used = {section: imaging[section] for section in (*here, *also)}
    if here == VIEW:
        return used
    used |= {ORGANS: imaging[ORGANS], TOTALSEGMENTATOR: {"use": imaging[TOTALSEGMENTATOR]["use"]}}
    named = {name: pinned(source) for name, source in imaging.get("sources", {}).items()}
    return used | ({"sources": named} if named else {})


def pinned(source: dict[str, Any]) -> dict[str, Any]:
    """What of a program's entry its masks depend on: not where it computes."""
    return {key: value for key, value in source.items() if key not in PLACES}


def with_tracers(
    known: dict[str, dict[str, dict[str, str]]], tracers: dict[str, str]
) -> dict[str, dict[str, dict[str, str]]]:
    """The registry and, as if it were a source, the table's word for the tracer: convert compares it with the header.

    Args:
        known: patient -> source -> row.
        tracers: patient -> cell, '' where there is none.
    """
    return {
        name: {**images, "tracer": {"digest": tracers[name]}} if tracers.get(name) else images
        for name, images in known.items()
    }


class ImagePins:
    """Pins of a patient's stages.

    Args:
        imaging: the section ``imaging`` of the configuration.
    """

    def __init__(self, imaging: dict[str, Any]) -> None:
        self.imaging = imaging
        self._same: dict[str, str] = {}
        self._own: dict[tuple[str, int], tuple[dict, str]] = {}

    def sources(self, images: Container[str]) -> dict[str, dict[str, Any]]:
        """The programs that make a mask of a patient with these images, by name."""
        known, found = self.imaging.get("sources", {}), {}
        if self.imaging[TOTALSEGMENTATOR]["use"] and "ct" in images and "prostate" not in images:
            found[TOTALSEGMENTATOR] = known.get(TOTALSEGMENTATOR, {})
        for name, source in known.items():
            wanted = any(structure not in images for structure in source["outputs"])
            if name != TOTALSEGMENTATOR and wanted and all(volume in images for volume in source["inputs"]):
                found[name] = source
        return found

    def wants_organs(self, images: Container[str]) -> bool:
        """Does an external program make a mask of a patient with these sources?"""
        return bool(self.sources(images))

    def uses(self, stage: str, images: dict[str, dict[str, str]]) -> dict[str, Any]:
        """What a stage uses beyond its settings and the stages before; ``images``: source -> row of the registry."""
        names = STAGES[stage].sources
        if stage == "convert" and self.imaging["convert"]["keep_ct"]:
            names = (*names, "ct")
        used: dict[str, Any] = {f"source {name}": images[name]["digest"] for name in names if name in images}
        for section in STAGES[stage].also:
            name = section.rpartition(".")[2]
            used[f"setting {name}"] = self.imaging[name]
        if stage == "convert" and "tracer" in images:
            used["column tracer"] = images["tracer"]["digest"]
        if stage == ORGANS and (
            named := {name: pinned(source) for name, source in self.sources(images).items() if source}
        ):
            used["programs"] = named
        if stage == "segment" and self.wants_organs(images):
            used["organ masks"] = self.pin(ORGANS, images)
        return used

    def pin(self, stage: str, images: dict[str, dict[str, str]]) -> str:
        """The pin; made once for a patient, and for all where nothing of their own is in it."""
        if stage in self._same:
            return self._same[stage]
        known, made = self._own.get((stage, id(images)), (None, ""))
        if known is images:
            return made
        made = make_pin([STAGES[stage].version, self.imaging.get(stage, {}), self.uses(stage, images)])
        if STAGES[stage].sources:
            self._own[stage, id(images)] = images, made  # kept with it, or its id could be another's
        else:
            self._same[stage] = made
        return made

    def bucket(
        self, bucket: str, patients: list[str], known: dict[str, dict[str, dict[str, str]]]
    ) -> dict[str, Any]:
        """What a bucket uses: its patients and the pins of their stages; ``known``: the registry."""
        wanted = stages(bucket)
        pins = [{stage: self.pin(stage, known.get(name, {})) for stage in wanted} for name in patients]
        return {"patients": patients, "images": pins}
