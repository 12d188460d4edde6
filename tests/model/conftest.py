"""A finished and frozen phantom study, made by calling the stages, and what it scored a prospective patient."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from promet.model.bundle import Inputs

TRAINING, VALIDATION, TEST = 8, 4, 2
NEW = ("pro001", "pro002")


@dataclass(frozen=True)
class Study:
    """Folder of the study, what its bundle is made of, and everybody's pseudonym."""

    folder: Path
    inputs: Inputs
    patients: list[str]

    def row(self, patient: str) -> dict[str, str]:
        header, *lines = (self.folder / "cohort.tsv").read_text().splitlines()
        rows = [dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines]
        return next(row for row in rows if row["patient"] == patient)

    def files(self, patient: str) -> dict[str, Path]:
        return {name: self.folder / self.row(patient)[name] for name in ("pet", "prostate", "lesions", "ct")}

    def clinical(self, patient: str) -> dict[str, float | None]:
        row = self.row(patient)
        names = ("psa", "grade_group", "positive_cores_percent", "primary_score", "psma_expression")
        return {name: float(row[name]) if row[name] else None for name in names}

    def scored(self, patient: str) -> dict:
        """What the pipeline's own fusion says of the patient."""
        import pandas as pd

        table = pd.read_parquet(self.inputs.fuse.with_name("predictions.parquet"))
        return table[table["patient"] == patient].iloc[0].to_dict()


def _network(folder: Path, architecture: dict, seed: int) -> None:
    """The record and the weights of a training that never happened."""
    import torch
    from safetensors.torch import save_file

    from promet.core.files import digest_file
    from promet.core.sidecar import Sidecar
    from promet.core.stage import versions
    from promet.network.architecture import build
    from promet.network.settings import Architecture

    torch.manual_seed(seed)
    folder.mkdir(parents=True)
    state = build(Architecture.model_validate(architecture)).state_dict()
    save_file({name: value.contiguous() for name, value in state.items()}, folder / "model.safetensors")
    values = {"validation_auc": 0.8 - seed / 10, "validation_loss": 0.5, "best_epoch": 3, "epochs_run": 9}
    values |= {"fit": "f", "architecture": architecture, "seed": seed}
    digests = {"model.safetensors": digest_file(folder / "model.safetensors")}
    software = versions("torch", "monai", "numpy", "safetensors")
    Sidecar("train", "p", values=values, products=digests, versions=software).write(folder / "train.json")


@pytest.fixture(scope="session")
def study(tmp_path_factory) -> Study:
    from promet.core.files import write_json
    from promet.evaluation import evaluate, survive
    from promet.evaluation.settings import Evaluation
    from promet.fusion import fuse
    from promet.fusion.settings import Fusion
    from promet.imaging import convert, crop, gather, measure, normalise, segment
    from promet.imaging.settings import Imaging
    from promet.network import dataset, score, select
    from promet.network.settings import Dataset, Select
    from promet.phantom.cohort import write_cohort
    from promet.study import news, registry, table

    folder = tmp_path_factory.mktemp("a study with spaces")
    write_cohort(
        folder,
        development=TRAINING + VALIDATION + TEST,
        metachronous=4,
        prospective=len(NEW),
        seed=3,
        effect=2.0,
        small=True,
    )
    cohort, patients, settings = folder / "cohort.tsv", folder / "results/patients", Imaging()
    rows = table.read(cohort)
    news.intake(rows, folder, folder / "registry")
    images = registry.images_path(folder / "registry")
    names = [row["patient"] for row in rows]
    for name in names:
        at = {
            stage: patients / name / f"{stage}.json"
            for stage in ("convert", "segment", "crop", "normalise", "measure")
        }
        convert.run(convert.Inputs(name, images), settings.convert, at["convert"], "p")
        segment.run(segment.Inputs(at["segment"].parent, name, images), settings.segment, at["segment"], "p")
        crop.run(at["crop"].parent, settings.crop, at["crop"], "p")
        normalise.run(at["normalise"].parent, settings.normalise, at["normalise"], "p")
        measure.run(at["measure"].parent, settings.measure, at["measure"], "p")

    home = folder / "results/study"
    gather.run(gather.Inputs(patients, names), None, home / "gather/gather.json", "p")
    _write_ledger(folder / "registry/study/ledger.tsv", rows)
    freeze = folder / "registry/study/freeze.json"
    write_json(freeze, {"name": "v1", "date": "2026-01-01", "waivers": {"dev001": {"reason": "none"}}})
    paths = {
        stage: home / place / "split-00" / f"{stage}.json"
        for stage, place in (
            ("dataset", "dataset"),
            ("select", "select"),
            ("score", "score"),
            ("fuse", "fusion"),
            ("evaluate", "evaluation"),
            ("survive", "evaluation"),
        )
    }
    dataset.run(
        dataset.Inputs(patients, folder / "registry/study/ledger.tsv", cohort, 0),
        Dataset(),
        paths["dataset"],
        "p",
    )
    seeds = []
    for seed in range(2):
        seeds.append(home / f"network/paper/split-00/seed-{seed:02d}")
        _network(seeds[-1], {"name": "squeezenet", "groups": 8}, seed)
    gathered = home / "gather/patients.parquet"
    select.run(seeds, Select(), paths["select"], "p")
    score.run(
        score.Inputs(paths["select"].with_name("model.json"), gathered.parent, patients),
        None,
        paths["score"],
        "p",
    )
    fuse.run(
        fuse.Inputs(
            cohort,
            folder / "registry/study/ledger.tsv",
            0,
            paths["score"].with_name("scores.parquet"),
            gathered,
        ),
        Fusion(),
        paths["fuse"],
        "p",
    )
    predictions = paths["fuse"].with_name("predictions.parquet")
    judge = Evaluation(bootstrap=100)
    evaluate.run(evaluate.Inputs(cohort, predictions, gathered), judge, paths["evaluate"], "p")
    survive.run(survive.Inputs(cohort, predictions), judge, paths["survive"], "p")
    stages = {name: paths[name] for name in ("dataset", "select", "fuse", "evaluate", "survive")}
    return Study(folder, Inputs(**stages, gathered=gathered, patients=patients, freeze=freeze), names)


def _write_ledger(path: Path, rows: list[dict[str, str]]) -> None:
    """Parts in the order of the table within each label, so that every part has both."""
    path.parent.mkdir(parents=True)
    lines, count = ["split\tpatient\tpart\tstratum\tfreeze\tdate"], {"0": 0, "1": 0}
    for row in rows:
        if row["role"] == "development":
            label = row["synchronous_metastasis"]
            number = count[label]
            count[label] += 1
            part = ("training", "validation", "training", "training", "validation", "test")[number % 6]
        else:
            part = row["role"]
        if part:
            lines.append(f"00\t{row['patient']}\t{part}\t-\t\t2026-01-01")
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="session")
def build(study) -> Callable[..., Path]:
    """Builds the bundle of the study, or of one with other inputs, into a folder."""
    from promet.model.bundle import run
    from promet.model.settings import Bundle, Model

    def make(folder: Path, licence: str = "", splits: int = 1, **inputs: Path) -> Path:
        settings = Bundle(study="study", splits=splits, model=Model(authors="The authors", licence=licence))
        run(replace(study.inputs, **inputs), settings, folder / "bundle.json", "p")
        return folder

    return make


@pytest.fixture(scope="session")
def model(build, tmp_path_factory) -> Path:
    """The bundle, in a place of its own. Do not change it."""
    return build(tmp_path_factory.mktemp("model") / "locked")


def seal(folder: Path) -> None:
    """The folder as an owner leaves it who edits a file and writes the list again: no record, since that would tell."""
    from promet.core import checksums

    checksums.write(folder, sorted(checksums.read(folder)))
    (folder / "bundle.json").unlink(missing_ok=True)


@pytest.fixture
def edited(model, tmp_path) -> Callable[[str, Callable[[dict], object]], Path]:
    """Copies the model, changes one of its JSON files and seals it again; gives the copy."""

    def change(name: str, edit: Callable[[dict], object], folder: Path | None = None) -> Path:
        folder = folder or shutil.copytree(model, tmp_path / "edited", dirs_exist_ok=True)
        content = json.loads((folder / name).read_text())
        edit(content)
        (folder / name).write_text(json.dumps(content))
        seal(folder)
        return folder

    return change


@pytest.fixture
def row_file(tmp_path) -> Callable[..., Path]:
    """Writes a clinical row as JSON."""

    def write(**values) -> Path:
        path = tmp_path / "row.json"
        path.write_text(json.dumps(values))
        return path

    return write
