"""The plan: which jobs a study has, what each one uses (its pin) and where its record lies.

The Snakefile, ``promet status`` and the guard of ``promet run`` all ask this one object. It reads three small
files, runs nothing, and imports the standard library only, since every cluster job parses the Snakefile again.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from promet.cohort import ledger, registry, table
from promet.core.errors import UsageError
from promet.core.pin import canonical
from promet.core.pin import pin as make_pin
from promet.core.settings import Settings
from promet.core.stage import STAGES

PATIENT_STAGES = ("convert", "segment", "crop", "normalise", "measure", "picture")
FIT = ("training", "validation")
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


class Plan:
    """Jobs, pins and paths of one study.

    Args:
        settings: the validated configuration. Pins are made from its dump, so that 5 and 5.0 are the same.
    """

    def __init__(self, settings: Settings) -> None:
        self.config = config = settings.model_dump(mode="json")
        self.study = config["study"]
        self.cohort = config["cohort"]
        self.results = config["results"]
        self.logs = config["logs"]
        self.images = str(registry.images_path(config["registry"]))
        self.ledger = str(ledger.ledger_path(config["registry"], self.study))
        self.study_dir = f"{self.results}/{self.study}"
        self.patients_dir = f"{self.results}/patients"
        self.rows = {row["patient"]: row for row in table.read(self.cohort)}
        self._images = registry.read(self.images)
        self._entries = ledger.read(self.ledger)
        self._require_intake()
        self._require_members()

    # Who --------------------------------------------------------------------------------------------------

    @property
    def patients(self) -> list[str]:
        """Every patient of the table, sorted."""
        return list(self.rows)

    @property
    def splits(self) -> list[str]:
        """Split numbers as they stand in paths."""
        return [f"{number:02d}" for number in range(self.config["split"]["repeats"])]

    @property
    def seeds(self) -> list[str]:
        """Seed numbers as they stand in paths."""
        return [f"{number:02d}" for number in range(self.config["network"]["seeds"])]

    @property
    def variants(self) -> list[str]:
        """Names of the network variants."""
        return sorted(self.config["network"]["variants"])

    @cached_property
    def _parts(self) -> dict[str, dict[str, str]]:
        parts: dict[str, dict[str, str]] = {split: {} for split in self.splits}
        for entry in self._entries:
            if entry.split in parts and entry.patient in self.rows:
                parts[entry.split][entry.patient] = entry.part
        return parts

    def part(self, split: str, patient: str) -> str:
        """Part of a patient in a split; who is not in the ledger is prospective."""
        return self._parts[split].get(patient, ledger.PROSPECTIVE)

    def fit_members(self, split: str) -> list[str]:
        """Patients of the training and validation parts, sorted."""
        return sorted(name for name, part in self._parts[split].items() if part in FIT)

    def _require_intake(self) -> None:
        unknown = [
            name
            for name, row in self.rows.items()
            if any(row[source] and source not in self._images.get(name, {}) for source in table.SOURCES)
        ]
        unknown += [
            row["patient"]
            for row in self.rows.values()
            if (
                row["role"] == "metachronous"
                or (row["role"] == "development" and row["synchronous_metastasis"])
            )
            and any(row["patient"] not in self._parts[split] for split in self.splits)
        ]
        if unknown:
            count = len(set(unknown))
            raise UsageError(
                "E_INTAKE_NEEDED",
                f"{count} of {len(self.rows)} patients of the table are not (wholly) in the registry, "
                f"the first is {sorted(unknown)[0]}",
                remedy="Run promet intake",
            )

    def _require_members(self) -> None:
        """A frozen study cannot lose a fitted patient in silence: it would be another model."""
        frozen = ledger.freeze_name(self.config["registry"], self.study)
        gone = sorted({e.patient for e in self._entries if e.part in FIT and e.patient not in self.rows})
        if frozen and gone:
            raise UsageError(
                "E_WITHDRAWN",
                f"{len(gone)} patients the frozen study {self.study} ({frozen}) was fitted on are no longer in the table, "
                f"the first is {gone[0]}",
                "every patient of the training and validation parts",
                "Put the row back, or begin a new study (key 'study') without him",
            )

    # Where ------------------------------------------------------------------------------------------------

    def sidecar(self, stage: str, **at: str) -> str:
        """Path of a job's record; without wildcard values, the pattern that Snakemake fills in."""
        get = {name: at.get(name, f"{{{name}}}") for name in ("patient", "split", "variant", "seed")}
        if stage in PATIENT_STAGES:
            return f"{self.patients_dir}/{get['patient']}/{stage}.json"
        if stage == "gather":
            return f"{self.study_dir}/gather/gather.json"
        if stage == "report":
            return f"{self.study_dir}/report/report.json"
        if stage == "train":
            return f"{self.study_dir}/network/{get['variant']}/split-{get['split']}/seed-{get['seed']}/train.json"
        folder = {"fuse": "fusion", "explain": "fusion", "evaluate": "evaluation", "survive": "evaluation"}
        return f"{self.study_dir}/{folder.get(stage, stage)}/split-{get['split']}/{stage}.json"

    def beside(self, stage: str, name: str, **at: str) -> str:
        """Path of a product beside a job's record."""
        return str(Path(self.sidecar(stage, **at)).with_name(name))

    # What -------------------------------------------------------------------------------------------------

    def settings(self, stage: str, variant: str = "") -> str:
        """The part of the configuration that a stage uses, as canonical JSON."""
        return canonical(self._settings(stage, variant))

    def _settings(self, stage: str, variant: str = "") -> dict[str, Any]:
        imaging, network = self.config["imaging"], self.config["network"]
        if stage in imaging:
            return imaging[stage]
        if stage == "dataset":
            return {"max_quarantine": imaging["max_quarantine"]}
        if stage == "train":
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
        if stage == "select":
            return network["select"]
        if stage == "fuse":  # the permutation null is a command of its own
            return {k: v for k, v in self.config["fusion"].items() if not k.startswith("permutation")}
        if stage in ("evaluate", "survive"):
            return self.config["evaluation"]
        return self.config["report"] if stage == "report" else {}

    def pin(self, stage: str, **at: str) -> str:
        """Hash of exactly what a job uses beyond its declared inputs."""
        settings = self._settings(stage, at.get("variant", ""))
        return make_pin([STAGES[stage], settings, self._uses(stage, **at)])

    def _uses(self, stage: str, patient: str = "", split: str = "", variant: str = "", seed: str = "") -> Any:
        if stage == "convert":
            return self._digests(patient, "pet")
        if stage == "segment":
            return self._digests(patient, "prostate", "lesions", "ct")
        if stage == "picture":
            return self._settings("crop")  # the cuboid is drawn
        if stage == "gather":
            return self.patients
        if stage == "dataset":
            return [self._cells(name, split, OUTCOME[:1]) for name in self.fit_members(split)]
        if stage == "train":
            return [variant, int(seed)]
        if stage == "select":
            return [self.variants, self.seeds]
        if stage == "fuse":
            return [self._cells(name, split, (*CLINICAL, *OUTCOME[:1])) for name in self.patients]
        if stage == "evaluate":
            return [self._cells(name, split, (*OUTCOME, *CLINICAL, *COMPARATOR)) for name in self.patients]
        if stage == "survive":
            return [self._cells(name, split, OUTCOME) for name in self.patients]
        if stage == "report":
            rows = [self._cells(name, "", ("role", *DESCRIPTION)) for name in self.patients]
            return [rows, self.report_config()]
        return []

    def _digests(self, patient: str, *names: str) -> list[list[str]]:
        images = self._images.get(patient, {})
        return [[name, images[name]["digest"]] for name in names if name in images]

    def _cells(self, patient: str, split: str, columns: tuple[str, ...]) -> list[str]:
        row = self.rows[patient]
        return [patient, self.part(split, patient) if split else "", *(row[column] for column in columns)]

    def report_config(self) -> str:
        """The whole configuration without its paths, as JSON, for the report's provenance."""
        return canonical(
            {key: value for key, value in self.config.items() if key == "study" or isinstance(value, dict)}
        )

    # Jobs -------------------------------------------------------------------------------------------------

    def targets(self, phase: str) -> list[str]:
        """The records that a phase (prepare, lock, all) is there to make; none without patients."""
        if not self.patients:
            return []
        pictures = [self.sidecar("picture", patient=name) for name in self.patients]
        per_split = {"prepare": "dataset", "lock": "select"}.get(phase)
        last = (
            [self.sidecar(per_split, split=name) for name in self.splits]
            if per_split
            else [self.sidecar("report")]
        )
        return (
            last
            if phase == "lock"
            else [*last, *pictures, *([self.sidecar("gather")] if phase == "prepare" else [])]
        )

    def jobs(self, phase: str = "all") -> Iterator[tuple[str, dict[str, str]]]:
        """(stage, wildcards) of every job up to a phase: prepare, lock or all."""
        for patient in self.patients:
            for stage in PATIENT_STAGES:
                yield stage, {"patient": patient}
        yield "gather", {}
        for split in self.splits:
            yield "dataset", {"split": split}
        if phase == "prepare":
            return
        for split in self.splits:
            for variant in self.variants:
                for seed in self.seeds:
                    yield "train", {"variant": variant, "split": split, "seed": seed}
            yield "select", {"split": split}
        if phase == "lock":
            return
        for split in self.splits:
            for stage in ("score", "fuse", "explain", "evaluate", "survive"):
                yield stage, {"split": split}
        yield "report", {}
