"""The plan: which jobs a study has, what each one uses (its pin) and where its record lies.

The Snakefile, ``promet status`` and the guard of ``promet run`` all ask this one object. What a stage is stands in
stages.py. A plan reads three small files, runs nothing, and imports nothing heavy, since every cluster job parses the
Snakefile again.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

from promet.core import checksums
from promet.core.errors import IntegrityError
from promet.core.pin import canonical
from promet.core.pin import pin as make_pin
from promet.core.sidecar import Sidecar
from promet.study import freezing
from promet.study.outcome import PAPER, used
from promet.workflow import buckets
from promet.workflow.buckets import ORGANS
from promet.workflow.cohort import Cohort, Configuration
from promet.workflow.declaration import PHASES, WILDCARDS, Stage
from promet.workflow.problems import problems
from promet.workflow.stages import ENDS, PATIENT_STAGES, STAGES
from promet.workflow.uses import columns_used, flat, stage_settings, table_uses

LOCKED_SPLIT = "00"  # of several splits the one whose model is locked


class Plan(Cohort):
    """Jobs, pins and paths of one study.

    Args:
        settings: the validated configuration. Pins are made from its dump, so that 5 and 5.0 are the same.
        lenient: keep what forbids a run in ``problems`` instead of raising it, and leave out patients who are not
            in the registry (promet status).
    """

    def __init__(self, settings: Configuration, lenient: bool = False) -> None:
        super().__init__(settings)
        self.problems = list(problems(self))
        if self.problems and not lenient:
            raise self.problems[0]
        if lenient:
            self.leave_out_unknown()
        config = self.config
        self.logs = config["logs"]
        self.study_dir = f"{self.results}/{self.study}"
        self.patients_dir = f"{self.results}/patients"
        self._pins: dict[tuple[str, ...], str] = {}
        self._columns: dict[str, str] = {}
        self._image_pins = buckets.ImagePins(config["imaging"])
        root = Path(self.study_dir, "buckets")
        number = config["buckets"]
        if number == "auto":
            number = buckets.NUMBER if len(self.rows) > buckets.ABOVE or root.is_dir() else 0
        self.bucket_number = number
        # Where image jobs are shared by many patients, else ''.
        self.buckets_dir = str(root / str(number)) if number else ""

    # Which ------------------------------------------------------------------------------------------------

    @property
    def seeds(self) -> list[str]:
        """Seed numbers as they stand in paths."""
        return [f"{number:02d}" for number in range(self.config["network"]["seeds"])]

    @property
    def variants(self) -> list[str]:
        """Names of the network variants."""
        return sorted(self.config["network"]["variants"])

    @property
    def looks_back(self) -> bool:
        """True when every trained network scores every patient after the choice."""
        return self.config["network"]["hindsight"] and not self.sealed

    def attended(self, split: str) -> list[str]:
        """Patients of whom attention maps are asked for in a split, sorted."""
        chosen = self.config["network"]["attention"]
        if isinstance(chosen["patients"], list):
            return sorted(chosen["patients"])
        of_part = [name for name in self.patients if self.part(split, name) == chosen["patients"]]
        return sorted(of_part)[: chosen["limit"]]

    @cached_property
    def buckets(self) -> dict[str, list[str]]:
        """Bucket -> its patients; empty when every patient has own jobs."""
        if not self.bucket_number:
            return {}
        fitted = {name for split in self.splits for name in self.fit_members(split)}
        return buckets.divide(self.patients, fitted, self.bucket_number)

    @property
    def shared(self) -> list[str]:
        """Options that say where the tables of the buckets lie; none when every patient has own jobs."""
        return ["--buckets", self.buckets_dir] if self.buckets_dir else []

    @property
    def bundled(self) -> bool:
        """True when a frozen study leaves a locked model; one that a waiver keeps is not made again."""
        return bool(self.frozen) and not self.sealed

    @cached_property
    def model_locked(self) -> bool:
        """True when the model of a frozen study is made: nothing may be trained for it any more, whatever was lost."""
        record = Path(self.sidecar("bundle"))
        if not self.bundled or not (record.exists() or record.with_name(checksums.NAME).exists()):
            return False
        try:
            freeze = Sidecar.read(record).values.get("freeze", self.frozen)
        except IntegrityError:
            return True
        return freeze == self.frozen

    def locked_fit(self, split: str) -> list[str]:
        """Options that hold dataset to the fit set a locked model was trained on; none otherwise."""
        if not self.model_locked or split != LOCKED_SPLIT:
            return []
        try:
            fit = Sidecar.read(self.sidecar("bundle")).values.get("fit", "")
        except IntegrityError:
            return []
        return ["--locked-fit", fit] if fit else []

    def locked(self, split: str) -> list[str]:
        """Options that keep a sealed study's fusion as it was fitted; none otherwise."""
        folder = freezing.sealed_path(self.config["registry"], self.study)
        return ["--locked", str(folder / f"split-{split}.json")] if self.sealed else []

    # Where ------------------------------------------------------------------------------------------------

    def sidecar(self, stage: str, **at: str) -> str:
        """Path of a job's record; without wildcard values, the pattern that Snakemake fills in."""
        declared = STAGES[stage]
        places = {name: at.get(name, f"{{{name}}}") for name in WILDCARDS[declared.per]}
        root = self.results if declared.per == "patient" else self.study_dir
        return f"{root}/{declared.record.format(number=self.bucket_number, **places)}"

    def beside(self, stage: str, name: str, **at: str) -> str:
        """Path of a product beside a job's record."""
        return str(Path(self.sidecar(stage, **at)).with_name(name))

    # What -------------------------------------------------------------------------------------------------

    def settings(self, stage: str, variant: str = "", bucket: str = "") -> str:
        """The part of the configuration that a stage uses, as canonical JSON."""
        return canonical(stage_settings(self.config, stage, variant, bucket))

    def pin(self, stage: str, **at: str) -> str:
        """Hash of exactly what a job uses beyond its declared inputs."""
        if STAGES[stage].per == "patient":
            return self._image_pins.pin(stage, self._images.get(at["patient"], {}))
        job = (stage, *at.values())
        if job not in self._pins:
            settings = stage_settings(self.config, stage, at.get("variant", ""), at.get("bucket", ""))
            self._pins[job] = make_pin([STAGES[stage].version, settings, self.own_parts(stage, **at)])
        return self._pins[job]

    def pins_by_version(self, stage: str, **at: str) -> set[str]:
        """A job's pin as this promet and every earlier one would have it."""
        settings = stage_settings(self.config, stage, at.get("variant", ""), at.get("bucket", ""))
        uses = self.own_parts(stage, **at)
        return {make_pin([version, settings, uses]) for version in range(1, STAGES[stage].version + 1)}

    def shared_parts(self, stage: str, **at: str) -> dict[str, Any]:
        """What the pins of a stage have in common, by name: its version and each of its settings."""
        settings = stage_settings(self.config, stage, at.get("variant", ""), at.get("bucket", ""))
        return {"version": STAGES[stage].version, **flat(settings, "setting ")}

    def own_parts(self, stage: str, **at: str) -> dict[str, Any]:
        """What else a job's pin is made of, by name: sources, columns and lists."""
        declared = STAGES[stage]
        if declared.per == "patient":
            return self._image_pins.uses(stage, self.registered(at["patient"]))
        if declared.per == "bucket":
            return self._image_pins.bucket(at["bucket"], self.buckets[at["bucket"]], self._images)
        used: dict[str, Any] = self.table_uses(stage, at.get("split", "")) if declared.columns else {}
        return used | {
            name: self.listed(name, at) for name in declared.uses if name != "buckets" or self.buckets
        }

    def listed(self, name: str, at: dict[str, str]) -> Any:
        """What a stage declares that its pin holds (``Stage.uses``), for one job."""
        match name:
            case "patients":
                return self.attended(at["split"]) if "split" in at else self.patients
            case "buckets":  # what reads the images' records runs when others stand for them, in the phase that can stop there
                return self.bucket_number
            case "variant":
                return at["variant"]
            case "seed":
                return int(at["seed"])
            case "variants":
                return self.variants
            case "seeds":
                return self.seeds
            case "splits":
                return self.splits
            case "freeze":
                return self.frozen
            case "configuration":
                return self.report_config()
        raise ValueError(name)

    def table_uses(self, stage: str, split: str = "") -> dict[str, str]:
        """What a stage uses of the table and the ledger, by name."""
        number = self.split_of(stage, split)
        parts = {name: self.part(number, name) for name in self.rows} if number else {}
        return table_uses(stage, self.rows, parts, self._column, columns_used(self.config, stage))

    def split_of(self, stage: str, split: str = "") -> str:
        """The split whose parts a stage uses, '' for none."""
        return split or STAGES[stage].split

    def _column(self, name: str, patients: list[str]) -> str:
        # Several stages use a column of everyone.
        everyone = len(patients) == len(self.rows)
        if not everyone or name not in self._columns:
            made = make_pin([self.rows[one][name] for one in patients])
            if not everyone:
                return made
            self._columns[name] = made
        return self._columns[name]

    def report_config(self) -> str:
        """The whole configuration without its paths, as JSON, for the report's provenance."""
        told = {key: value for key, value in self.config.items() if key == "study" or isinstance(value, dict)}
        if not used(self.config, ("learn", "evaluate", "words")):  # the paper's, written out or not
            told.pop("outcome", None)
        return canonical(told)

    @cached_property
    def told_outcome(self) -> list[str]:
        """Options that say what is learnt, for a job that asks for it beside its settings; none for the paper's."""
        learn = self.config["outcome"]["learn"]
        return [] if self.outcome.learn == PAPER.learn else ["--outcome", canonical({"learn": learn})]

    # Jobs -------------------------------------------------------------------------------------------------

    def image_records(self, *stages: str, split: str = "") -> list[str]:
        """What waits for these stages of everyone, or of those a split's networks are fitted on, has to read."""
        if self.buckets:
            return self.bucket_records(
                name
                for name in self.buckets
                if set(stages) & set(buckets.stages(name)) and (not split or name.startswith("fit-"))
            )
        patients = self.fit_members(split) if split else self.patients
        return [self.sidecar(stage, patient=name) for stage in stages for name in patients]

    def images_of(self, stage: str, split: str = "") -> list[str]:
        """The records of images that a stage of the study or of a split has to wait for."""
        read = (name for name in STAGES[stage].before if STAGES[name].per == "patient")
        return self.image_records(*read, split=split)

    def before(self, bucket: str) -> list[str]:
        """The buckets that a bucket waits for."""
        return buckets.before(bucket)

    def bucket_records(self, names: Iterable[str]) -> list[str]:
        """The records of these buckets."""
        return [self.sidecar("bucket", bucket=name) for name in names]

    def output(self, stage: str, **at: str) -> str:
        """The record that Snakemake knows: a patient's own, or that of the bucket."""
        if self.buckets and stage in PATIENT_STAGES:
            return self.sidecar("bucket", bucket=self._bucket_of[STAGES[stage].bucket, at["patient"]])
        return self.sidecar(stage, **at)

    @cached_property
    def _bucket_of(self) -> dict[tuple[str, str], str]:
        return {
            (STAGES[buckets.stages(bucket)[0]].bucket, patient): bucket
            for bucket, patients in self.buckets.items()
            for patient in patients
        }

    def organ_sources(self, patient: str) -> str:
        """Option of the job of external programs, as a shell reads it: which ones; '' for TotalSegmentator alone."""
        named = self._image_pins.sources(self._images.get(patient, {}))
        return f"--sources {shlex.quote(canonical(named))}" if any(named.values()) else ""

    def organ_records(self, patients: list[str]) -> list[str]:
        """Records of the jobs of external programs among these patients; none unless the configuration asks for it."""
        wanted = (name for name in patients if self._image_pins.wants_organs(self._images.get(name, {})))
        return [self.sidecar(ORGANS, patient=name) for name in wanted]

    def trained(self, split: str) -> list[str]:
        """The records of every network of a split."""
        return [
            self.sidecar("train", variant=variant, split=split, seed=seed)
            for variant in self.variants
            for seed in self.seeds
        ]

    def targets(self, phase: str) -> list[str]:
        """The records that a phase (prepare, lock, all) is there to make; none without patients."""
        if not self.patients:
            return []
        if phase == "lock":
            return [] if self.sealed else [self.sidecar("select", split=name) for name in self.splits]
        images = self.image_records(*ENDS)
        if phase == "all":
            return [self.sidecar("report"), *([self.sidecar("bundle")] if self.bundled else []), *images]
        fitted = [] if self.sealed else self.splits
        return [*(self.sidecar("dataset", split=name) for name in fitted), *images, self.sidecar("gather")]

    def jobs(self, phase: str = "all") -> Iterator[tuple[str, dict[str, str]]]:
        """(stage, wildcards) of every job up to a phase: prepare, lock or all; patient by patient, split by split."""
        phases = PHASES[: PHASES.index(phase) + 1]
        chosen = [stage for stage in STAGES.values() if stage.phase in phases]
        for (_, kind), together in groupby(
            chosen, lambda stage: (stage.phase, "split" if stage.per == "seed" else stage.per)
        ):
            stages = list(together)
            for at in self._places(kind):
                for stage in stages:
                    if self._has(stage.name, at):
                        yield from ((stage.name, each) for each in self._each(stage, at))

    def _places(self, kind: str) -> Iterable[dict[str, str]]:
        names = {"patient": self.patients, "bucket": self.buckets, "split": self.splits}
        return ({kind: name} for name in names[kind]) if kind in names else [{}]

    def _has(self, stage: str, at: dict[str, str]) -> bool:
        match stage:
            case "organs":
                return bool(self.organ_records([at["patient"]]))
            case "dataset" | "train" | "select":
                return not self.sealed
            case "hindsight":
                return self.looks_back
            case "attention":
                return bool(self.attended(at["split"]))
            case "bundle":
                return self.bundled
        return True

    def _each(self, stage: Stage, at: dict[str, str]) -> Iterable[dict[str, str]]:
        if stage.per != "seed":
            return [at]
        return ({"variant": v, **at, "seed": seed} for v in self.variants for seed in self.seeds)
