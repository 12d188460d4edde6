"""Reads everything a study has made; what is not there is ``None``, what was changed by hand is refused."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promet.core.errors import IntegrityError, UsageError
from promet.core.files import digest_file
from promet.core.rows import read_table
from promet.core.sidecar import QUARANTINED, Sidecar
from promet.study import freezing
from promet.study import ledger as book
from promet.study import outcome as outcomes
from promet.study.chosen import WORDS, as_auc
from promet.study.forms import shapes, tables
from promet.study.forms.metrics import Metrics
from promet.study.forms.pooled import Pooled
from promet.study.forms.survival import Survival
from promet.study.ledger import PROSPECTIVE
from promet.study.parts import of_study
from promet.study.table import by_patient
from promet.workflow.stages import PATIENT_STAGES, STAGES

if TYPE_CHECKING:
    import pandas as pd

# Attribute of Split -> (stage, product).
PRODUCTS = {
    "candidates": ("select", "candidates.parquet"),
    "model": ("select", "model.json"),
    "hindsight_runs": ("hindsight", "runs.parquet"),
    "hindsight_rules": ("hindsight", "rules.parquet"),
    "attention": ("attention", "attention.parquet"),
    "bayes": ("fuse", "naive_bayes.json"),
    "predictions": ("fuse", "predictions.parquet"),
    "shap": ("explain", "shap.parquet"),
    "waterfalls": ("explain", "waterfall.json"),
    "permutation": ("permute", "permutation.json"),
    "metrics": ("evaluate", "metrics.json"),
    "survival": ("survive", "survival.json"),
}
# Attribute of Study -> (stage, product): those of all splits together.
WHOLE = {
    "characteristics": ("table1", "characteristics.json"),
    "pooled": ("pool", "pooled.json"),
    "checklist": ("tripod", "checklist.json"),
}
PICTURE = ("picture.png", "excerpt_pet.nii.gz", "excerpt_masks.nii.gz")


@dataclass
class Run:
    """One trained network: its record and history (epoch, training_loss, validation_loss, validation_auc)."""

    variant: str
    seed: int
    record: Sidecar
    history: pd.DataFrame | None


@dataclass
class Split:
    """What one split has: records (Sidecar) and products (JSON or table), ``None`` where missing."""

    number: str
    parts: dict[str, str] = field(default_factory=dict)
    records: dict[str, Sidecar] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    candidates: pd.DataFrame | None = None
    model: dict[str, Any] | None = None
    hindsight_runs: pd.DataFrame | None = None
    hindsight_rules: pd.DataFrame | None = None
    attention: pd.DataFrame | None = None
    where: dict[str, Path] = field(default_factory=dict)  # stage -> its record
    bayes: dict[str, Any] | None = None
    predictions: pd.DataFrame | None = None
    shap: pd.DataFrame | None = None
    waterfalls: dict[str, Any] | None = None
    permutation: dict[str, Any] | None = None
    metrics: Metrics | None = None
    survival: Survival | None = None
    outcome: outcomes.Outcome = outcomes.PAPER  # what is learnt and evaluated

    @property
    def learnt(self) -> str:
        """What is learnt, as tables and figures say it: metastases, PSA persistence, progression."""
        return self.outcome.noun(self.outcome.learn)

    @property
    def paper(self) -> bool:
        """Is what is learnt the paper's, metastases on the scan?"""
        return self.outcome.learn == outcomes.SYNCHRONOUS and not self.outcome.words.get(
            outcomes.SYNCHRONOUS.column
        )

    @property
    def later(self) -> bool:
        """Is anything evaluated in the metachronous patients?"""
        return any(self.outcome.patients_of(name) == "metachronous" for name in self.outcome.aims)

    def values(self, stage: str) -> dict[str, Any]:
        """Values of a record, empty when there is none; C stands where otherwise the AUC does (``word``)."""
        found = self.records[stage].values if stage in self.records else {}
        names = as_auc(found)
        return {names[name]: value for name, value in found.items()}

    @property
    def word(self) -> str:
        """AUC, or C: by which the networks were chosen."""
        return WORDS.get(self.values("select").get("metric", "auc"), "AUC")

    @property
    def horizon(self) -> float | None:
        """Months, where an outcome over time is learnt."""
        return ((self.bayes or {}).get("outcome") or {}).get("horizon_months")

    def part(self, patient: str) -> str:
        """Part of a patient; who is not in the ledger is prospective."""
        return self.parts.get(patient, PROSPECTIVE)


@dataclass
class Study:
    """What a study has."""

    name: str
    config: dict[str, Any]
    rows: list[dict[str, str]]
    splits: list[Split]
    gather: Sidecar | None = None
    measures: pd.DataFrame | None = None
    exclusions: list[dict[str, str]] = field(default_factory=list)
    records: list[tuple[str, Sidecar]] = field(default_factory=list)  # (patient or "", record) of every job
    pictures: dict[str, dict[str, Path]] = field(
        default_factory=dict
    )  # patient -> name -> product of picture
    freeze: freezing.Freeze = field(default_factory=freezing.Freeze)  # empty while the study is open
    bundle: dict[str, Any] = field(default_factory=dict)  # values of the locked model's record
    folder: Path = Path()  # of the patients' products
    characteristics: dict[str, Any] | None = None
    pooled: Pooled | None = None
    checklist: dict[str, Any] | None = None
    upstream: dict[str, Path] = field(default_factory=dict)

    @property
    def patients(self) -> list[str]:
        """Pseudonyms of the table, sorted."""
        return [row["patient"] for row in self.rows]

    def status(self, patient: str) -> str:
        """ok, no-lesion or quarantined."""
        return next((row["status"] for row in self.exclusions if row["patient"] == patient), "ok")


def table(path: Path) -> list[dict[str, str]]:
    """Rows of a TSV file with a header, cells stripped; an absent file has none."""
    return read_table(path) if path.exists() else []


def product(record_path: Path, record: Sidecar | None, name: str) -> Path | None:
    """A product beside its record; ``None`` when it was not made.

    Raises:
        IntegrityError: the file is gone or has other bytes than the record says.
    """
    if record is None or name not in record.products:
        return None
    path = record_path.with_name(name)
    if not path.exists() or digest_file(path) != record.products[name]:
        raise IntegrityError(
            "E_PRODUCT_CHANGED",
            f"The product {name} of {record.stage} is not the one its record names",
            "the file as that job wrote it",
            f"Delete {record_path.name} beside it and run again",
        )
    return path


def load(path: Path | None) -> Any:
    """A JSON or Parquet product, ``None`` for none."""
    if path is None:
        return None
    if path.suffix == ".json":
        return shapes.load(path)
    if path.name in tables.FORMS:
        return tables.FORMS[path.name].read(path)
    import pandas as pd

    return pd.read_parquet(path)


def _record(path: Path) -> Sidecar | None:
    return Sidecar.read(path) if path.exists() else None


def _with_auc(table: pd.DataFrame | None) -> pd.DataFrame | None:
    return None if table is None else table.rename(columns=as_auc(table.columns))


def _split(folder: Path, number: str, parts: dict[str, str], upstream: dict[str, Path]) -> Split:
    split, where = Split(number, parts), {}
    for stage in (stage for stage in STAGES.values() if stage.per == "split"):
        path = folder / stage.record.format(split=number)
        if (record := _record(path)) is not None:
            split.records[stage.name], where[stage.name] = record, path
            upstream[f"{stage.name}/{number}"] = path
    for attribute, (stage, name) in PRODUCTS.items():
        if stage in where:
            setattr(split, attribute, load(product(where[stage], split.records[stage], name)))
    split.where = where
    for path in sorted(folder.glob(STAGES["train"].record.format(variant="*", split=number, seed="*"))):
        record = Sidecar.read(path)
        history = _with_auc(load(product(path, record, "history.parquet")))
        seed = int(path.parent.name.removeprefix("seed-"))
        split.runs.append(Run(path.parents[2].name, seed, record, history))
    split.runs = _of_this_selection(split)
    split.runs.sort(key=lambda run: (run.variant, run.seed))
    return split


def _of_this_selection(split: Split) -> list[Run]:
    """Without runs of an earlier configuration that still lie in the folder."""
    split.candidates = _with_auc(split.candidates)
    if split.candidates is None:
        return split.runs
    known = set(zip(split.candidates["variant"], split.candidates["seed"], strict=True))
    return [run for run in split.runs if (run.variant, run.seed) in known]


def study(folder: Path, cohort: Path, ledger: Path, config: dict[str, Any]) -> Study:
    """Everything below the results folder of a study, with the two tables.

    Args:
        folder: results/<study>; results/patients lies beside it.
        cohort: patient table; ``ledger``: split ledger, beside it freeze.json when the study is closed.
        config: the configuration.

    Raises:
        UsageError: no table.
        IntegrityError: a product was changed.
    """
    outcome = outcomes.of(config)
    known = by_patient(cohort, outcome.extra)
    if not known:
        raise UsageError("E_TABLE_EMPTY", "The cohort table has no patient")
    numbers = [f"{number:02d}" for number in sorted(book.assigned(book.read(ledger)))] or ["00"]
    if repeats := (config.get("split") or {}).get("repeats"):
        numbers = [n for n in numbers if int(n) < repeats] or ["00"]
    found = Study(str(config.get("study") or folder.name), config, list(known.values()), [])
    gathered = folder / STAGES["gather"].record
    found.gather = _record(gathered)
    if found.gather is not None:
        found.upstream["gather"] = gathered
        found.measures = load(product(gathered, found.gather, tables.PATIENTS.file))
        path = product(gathered, found.gather, "exclusions.tsv")
        found.exclusions = [row for row in table(path) if row["patient"] in known] if path else []
    found.freeze = freezing.read(ledger.with_name(freezing.FILE))
    lost = {row["patient"] for row in found.exclusions if row["status"] == QUARANTINED}
    parts = of_study(ledger, known, lost, outcome)
    _whole(found, folder)
    bundled = folder / STAGES["bundle"].record
    if (bundle := _record(bundled)) is not None:
        found.bundle = bundle.values
        found.upstream["bundle"] = bundled
        found.records.append(("", bundle))
    found.splits = [_split(folder, n, parts.get(int(n), {}), found.upstream) for n in numbers]
    found.folder = folder.parent / "patients"
    _patients(found, found.folder)
    found.records += [("", found.gather)] if found.gather else []
    for split in found.splits:
        split.outcome = outcome
        found.records += [("", record) for record in split.records.values()]
        found.records += [("", run.record) for run in split.runs]
    return found


def _whole(found: Study, folder: Path) -> None:
    for attribute, (stage, made) in WHOLE.items():
        path = folder / STAGES[stage].record
        if (record := _record(path)) is not None:
            found.upstream[record.stage] = path
            found.records.append(("", record))
            setattr(found, attribute, load(product(path, record, made)))


def _patients(found: Study, folder: Path) -> None:
    for patient in found.patients:
        for stage in PATIENT_STAGES:
            if (record := _record(folder / patient / f"{stage}.json")) is None:
                continue
            found.records.append((patient, record))
            if stage == "picture" and record.products:
                paths = {name: folder / patient / name for name in PICTURE if name in record.products}
                found.pictures[patient] = {name: path for name, path in paths.items() if path.exists()}


def versions(found: Study, here: dict[str, str]) -> list[tuple[str, str]]:
    """(package, versions) over all records and ``here`` (this process), by name; several versions are all named."""
    seen: dict[str, Counter[str]] = {}
    for told in (here, *(record.versions for _, record in found.records)):
        for name, version in told.items():
            seen.setdefault(name, Counter())[version] += 1
    return [(name, ", ".join(sorted(seen[name]))) for name in sorted(seen, key=str.lower)]


def durations(found: Study) -> list[tuple[str, int, float, float]]:
    """(stage, jobs, seconds in all, longest job) in the order of the pipeline."""
    seconds: dict[str, list[float]] = {}
    for _, record in found.records:
        seconds.setdefault(record.stage, []).append(record.seconds)
    order = [*STAGES, *sorted(set(seconds) - set(STAGES))]
    return [(stage, len(s), sum(s), max(s)) for stage in order if (s := seconds.get(stage))]
