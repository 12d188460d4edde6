"""A study folder with plausible random numbers in the real schemas; fusion and evaluation are the real stages."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from promet.core.files import digest_file, write_json
from promet.core.sidecar import NO_LESION, OK, QUARANTINED, Sidecar
from promet.evaluation import evaluate, survive, table1, tripod
from promet.evaluation.settings import Evaluation
from promet.fusion import explain, fuse, permute
from promet.fusion.settings import Fusion
from promet.imaging import gather
from promet.report.report import Inputs
from promet.report.settings import Report
from promet.study.outcome import Outcome

COLUMNS = (
    "patient", "role", "site", "tracer", "psa", "grade_group", "gleason_primary", "gleason_secondary",
    "positive_cores_percent", "clinical_t", "age", "suv_peak_reader", "primary_score", "psma_expression", "ucla_psma_risk",
    "synchronous_metastasis", "progression", "months",
)  # fmt: skip
GLEASON = {1: (3, 3), 2: (3, 4), 3: (4, 3), 4: (4, 4), 5: (4, 5)}


@dataclass
class Fake:
    """Where the parts of a study lie."""

    study: Path
    cohort: Path
    ledger: Path
    config: dict
    out: Path

    def arguments(self) -> tuple:
        """Arguments of the stage ``report``."""
        inputs = Inputs(self.study, self.cohort, self.ledger, self.config)
        return inputs, Report(**self.config["report"]), self.out, "pin"


def configuration(**report: object) -> dict:
    """The whole default configuration as the rule passes it."""
    from promet.config import Config

    values = Config().model_dump(mode="json")
    values = {key: value for key, value in values.items() if key == "study" or isinstance(value, dict)}
    values["report"] |= report
    return values


def record(path: Path, stage: str, products: tuple[str, ...] = (), **more: object) -> Sidecar:
    """Write a sidecar for products that lie beside it."""
    made = {name: digest_file(path.with_name(name)) for name in products}
    packages = {"promet": "0.1.0", "numpy": "2.3.1", **more.pop("versions", {})}  # type: ignore[dict-item]
    sidecar = Sidecar(stage, "pin", products=made, digest=stage, versions=packages, seconds=1.5, **more)  # type: ignore[arg-type]
    path.parent.mkdir(parents=True, exist_ok=True)
    sidecar.write(path)
    return sidecar


def people(
    random: np.random.Generator, development: int, metachronous: int, prospective: int
) -> pd.DataFrame:
    """The cohort table; higher risk has higher values, grade and cores are missing in some metastatic patients only."""
    rows = []
    for i in range(development + metachronous + prospective):
        role = "development" if i < development else "metachronous" if i < development + metachronous else ""
        label = i % 2
        group = int(np.clip(round(random.normal(3 + 0.9 * label, 1)), 1, 5))
        row = {
            "patient": f"PH{i:03d}",
            "role": role,
            "site": "",
            "tracer": "18F-DCFPyL",
            "psa": f"{np.exp(random.normal(2.2 + 0.8 * label, 0.8)):.2f}",
            "grade_group": group,
            "gleason_primary": GLEASON[group][0],
            "gleason_secondary": GLEASON[group][1],
            "positive_cores_percent": int(np.clip(random.normal(45 + 15 * label, 22), 5, 100)),
            "clinical_t": random.choice(["T1c", "T2a", "T2c", "T3a"]),
            "age": int(random.normal(68, 6)),
            "primary_score": int(np.clip(round(random.normal(3.4 + 0.7 * label, 1)), 1, 5)),
            "psma_expression": int(np.clip(round(random.normal(1.7 + 0.4 * label, 0.7)), 0, 3)),
            "synchronous_metastasis": label if role == "development" else "",
        }
        if role == "development" and label and random.random() < 0.25:
            row |= dict.fromkeys(
                ("grade_group", "gleason_primary", "gleason_secondary", "positive_cores_percent"), ""
            )
        if role == "metachronous":
            row |= {
                "progression": label,
                "months": f"{random.uniform(6, 44) if label else random.uniform(49, 70):.1f}",
            }
            row["ucla_psma_risk"] = f"{random.normal(20 + 6 * label, 9):.1f}"
        rows.append({name: row.get(name, "") for name in COLUMNS})
    return pd.DataFrame(rows)


def happened(random: np.random.Generator, table: pd.DataFrame, asked: Outcome) -> pd.DataFrame:
    """The table of another study: no column of the paper's first outcome, the columns of ``asked`` for everyone."""
    found = table.drop(columns=["synchronous_metastasis", "ucla_psma_risk"]).assign(progression="", months="")
    risk = np.arange(len(table)) % 2
    for name in (name for name, column in asked.columns.items() if name in asked.extra or name != "months"):
        found[name] = np.where(random.random(len(table)) < 0.85, risk, 1 - risk)
    if "died" in found:
        found["died"] = (random.random(len(table)) < 0.3).astype(int)
    if "months" in asked.columns:
        early = (found["progression"].astype(int) == 1) | (found["died"] == 1)
        found["months"] = np.where(
            early, random.uniform(4, 46, len(table)), random.uniform(30, 70, len(table))
        ).round(1)
    return found


def excerpts(folder: Path, random: np.random.Generator) -> tuple[str, ...]:
    """A small PET and its labels as the picture stage writes them."""
    import SimpleITK as sitk

    from promet.imaging.picture import EXCERPT, write_excerpt

    places = np.linspace(-1, 1, 12)
    far = np.sqrt(sum(axis**2 for axis in np.meshgrid(places, places, places)))
    for name, values, step in zip(
        EXCERPT,
        (random.gamma(2, 12, far.shape).clip(0, 255), (far < 0.8) * 1 + (far < 0.3)),
        (0.06, 1.0),
        strict=True,
    ):
        image = sitk.GetImageFromArray(values.astype(np.uint8))
        image.SetSpacing((4.0, 4.0, 4.0))
        write_excerpt(image, folder / name, step)
    return EXCERPT


def images(folder: Path, patients: list[str], random: np.random.Generator, lost: dict[str, str]) -> None:
    """Records of the imaging stages of every patient and a picture of noise."""
    from PIL import Image

    for patient in patients:
        here = folder / patient
        here.mkdir(parents=True)
        status = lost.get(patient, OK)
        if status == QUARANTINED:
            why = {
                "status": status, "code": "E_PET_UNITS", "reason": "The PET's unit is GML. Expected: BQML.", "origin": "convert"
            }  # fmt: skip
            for stage in ("convert", "segment", "crop", "normalise", "measure", "picture"):
                record(here / f"{stage}.json", stage, **why)
            continue
        (here / "picture.png").parent.mkdir(exist_ok=True)
        noise = random.gamma(1.2, 30, (60, 180)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noise).resize((600, 200)).save(here / "picture.png")
        made = ("picture.png", *excerpts(here, random))
        for stage in ("convert", "segment", "picture"):
            record(here / f"{stage}.json", stage, made if stage == "picture" else (), status=OK)
        inside = 1.0 if random.random() < 0.8 else float(random.uniform(0.93, 0.999))
        warned = [] if inside == 1 else [f"Only {inside:.1%} of the prostate lie inside the box."]
        empty = {"status": NO_LESION, "origin": "segment"} if status == NO_LESION else {}
        record(
            here / "crop.json",
            "crop",
            values={} if empty else {"inside_fraction": inside},
            warnings=[] if empty else warned,
            **empty,
        )
        normalised = record(here / "normalise.json", "normalise", **empty)
        if not empty:
            normalised.products = {"tensor.npy": f"tensor-{patient}"}
            normalised.write(here / "normalise.json")
        hot = random.gamma(3, 4)
        record(
            here / "measure.json",
            "measure",
            values={
                "suv_max": None if empty else hot * 1.4,
                "suv_mean": None if empty else hot * 0.6,
                "suv_peak": hot,
                "suv_peak_local": hot * 0.9,
                "total_lesion_uptake": 0.0 if empty else hot * 5,
                "organ_suv_max": hot * 1.4,
                "organ_suv_mean": hot * 0.3,
                "organ_ml": random.normal(45, 10),
                "lesion_ml": 0.0 if empty else random.gamma(2, 2),
                "lesion_count": 0 if empty else int(random.integers(1, 4)),
            },
        )


def networks(
    study: Path,
    labels: dict[str, object],
    parts: dict[str, str],
    seeds: int,
    epochs: int,
    random: np.random.Generator,
    used: list[str],
) -> None:
    """dataset, train, select and score as the network room writes them."""
    sizes = {}
    for part in ("training", "validation"):
        members = [p for p in used if parts.get(p) == part]
        sizes |= {part: len(members), f"{part}_positive": sum(int(labels[p]) for p in members)}
    record(study / "dataset/split-00/dataset.json", "dataset", values={"fit": "f" * 64, **sizes, "lost": 1, "quarantined": 1},
           warnings=["PH002 (training) is not in the fit set: quarantined"])  # fmt: skip
    rows = []
    steps = sizes["validation_positive"] * (sizes["validation"] - sizes["validation_positive"])
    for seed in range(seeds):
        folder = study / f"network/paper/split-00/seed-{seed:02d}"
        folder.mkdir(parents=True)
        length = int(random.integers(epochs // 2, epochs + 1))
        epoch = np.arange(1, length + 1)
        skill = random.normal(0.66, 0.08)
        area = np.clip(0.5 + (skill - 0.5) * (1 - np.exp(-epoch / 30)) + random.normal(0, 0.05, length), 0, 1)
        area = np.round(area * steps) / steps
        history = pd.DataFrame(
            {
                "epoch": epoch,
                "training_loss": 0.7 * np.exp(-epoch / 150) + random.normal(0, 0.02, length),
                "validation_loss": 0.7
                + 0.1 * np.sin(epoch / 60)
                + random.normal(0, 0.03, length).cumsum() * 0.05,
                "validation_auc": area,
                "learning_rate": 1e-4,
            }
        )
        history.to_parquet(folder / "history.parquet")
        best = int(np.argmax(area))
        values = {
            "seed": seed, "best_epoch": int(epoch[best]), "epochs_run": length, "validation_auc": float(area[best]),
            "validation_loss": float(history["validation_loss"][best]), "parameters": 1007105, "seconds_per_epoch": 0.9, "device": "cpu",
        }  # fmt: skip
        record(
            folder / "train.json", "train", ("history.parquet",), values=values, versions={"torch": "2.7.0"}
        )
        rows.append(
            {
                "variant": "paper",
                "split": "00",
                "selected": False,
                **{k: values[k] for k in ("seed", "validation_auc", "validation_loss", "best_epoch")},
                "epochs": length,
                "device": "cpu",
            }
        )
    candidates = pd.DataFrame(rows).sort_values(
        ["validation_auc", "validation_loss"], ascending=[False, True], ignore_index=True
    )
    candidates.loc[0, "selected"] = True
    folder = study / "select/split-00"
    folder.mkdir(parents=True)
    candidates.to_parquet(folder / "candidates.parquet")
    best = candidates.iloc[0]
    write_json(
        folder / "model.json",
        {
            "digest": "a1b2" * 16,
            "variant": "paper",
            "seed": int(best["seed"]),
            "architecture": {},
            "weights": "../x",
        },
    )
    areas = candidates["validation_auc"]
    record(folder / "select.json", "select", ("candidates.parquet", "model.json"), values={
        "candidates": seeds, "metric": "auc", "variant": "paper", "seed": int(best["seed"]), "best_epoch": int(best["best_epoch"]),
        "validation_auc": float(best["validation_auc"]), "validation_loss": float(best["validation_loss"]),
        "median_validation_auc": float(areas.median()), "lowest_validation_auc": float(areas.min()), "tied": int((areas == areas.max()).sum()),
    })  # fmt: skip
    risk = [int(labels[p] or 0) if parts.get(p) != "metachronous" else int(p[-3:]) % 2 for p in used]
    score = random.normal(0, 1, len(used)) + 0.9 * np.array(risk)
    scores = pd.DataFrame(
        {
            "patient": used,
            "tensor_digest": [f"tensor-{p}" for p in used],
            "cnn_score": score,
            "probability": 1 / (1 + np.exp(-score)),
        }
    )
    folder = study / "score/split-00"
    folder.mkdir(parents=True)
    scores.to_parquet(folder / "scores.parquet")
    record(folder / "score.json", "score", ("scores.parquet",))


def looks(
    study: Path, patients: Path, candidates: pd.DataFrame, used: list[str], random: np.random.Generator
) -> None:
    """hindsight and attention as the network room writes them."""
    lean = {p: int(p[-3:]) % 2 for p in used}
    rows = [
        {
            "variant": row.variant,
            "seed": row.seed,
            "patient": p,
            "logit": random.normal() + row.validation_auc * lean[p],
        }
        for row in candidates.itertuples()
        for p in used
    ]
    runs = pd.DataFrame(rows)
    folder = study / "hindsight/split-00"
    folder.mkdir(parents=True)
    runs.to_parquet(folder / "runs.parquet")
    rules = []
    for rule, size in (("best", 1), ("ensemble_top_k", 3), ("ensemble_mean", len(candidates))):
        kept = (
            runs[runs["seed"].isin(candidates["seed"][:size])]
            .groupby("patient", as_index=False)["logit"]
            .mean()
        )
        rules.append(kept.assign(rule=rule, members=size))
    pd.concat(rules).to_parquet(folder / "rules.parquet")
    record(folder / "hindsight.json", "hindsight", ("runs.parquet", "rules.parquet"), values={"k": 3})
    from PIL import Image

    folder, shown = study / "attention/split-00", used[-3:-1]
    folder.mkdir(parents=True)
    methods = ["grad_cam", "integrated_gradients", "occlusion"]
    table = pd.DataFrame({"patient": shown})
    for key in ("lesion", "organ"):
        table[f"voxels_{key}"] = 0.02 if key == "lesion" else 0.3
        for method in methods:
            table[f"{method}_{key}"] = random.uniform(0.1, 0.6, len(shown))
    for method in methods:
        table[f"{method}_untrained_correlation"] = random.uniform(0, 0.9, len(shown))
    table.to_parquet(folder / "attention.parquet")
    np.save(folder / "attention.npy", random.gamma(1, 1, (len(shown), 3, 6, 12, 12)).astype(np.float32))
    for patient in shown:
        np.save(patients / patient / "tensor.npy", random.random((2, 6, 12, 12)).round().astype(np.float32))
        Image.fromarray(random.integers(0, 255, (90, 90), dtype=np.uint8)).save(folder / f"{patient}.png")
    record(folder / "attention.json", "attention", ("attention.parquet", "attention.npy", *(f"{p}.png" for p in shown)), values={
        "patients": shown, "methods": methods, "layer": "features.9", "cells": [4, 7, 7],
        **{f"median_{key}": float(table[key].median()) for key in table if key != "patient"},
        "median_integrated_gradients_error": 0.034, "largest_integrated_gradients_error": 0.29, "integrated_gradients_steps": 96,
    })  # fmt: skip


def make(
    root: Path, development: int = 44, metachronous: int = 14, prospective: int = 2, seeds: int = 5, epochs: int = 60,
    random_seed: int = 3, blank: bool = False, outcome: dict | None = None, **report: object,
) -> Fake:  # fmt: skip
    """A study below ``root``; ``blank``: every AUC null, as when no score exists; ``outcome``: the block, else the paper's."""
    asked = Outcome.model_validate(outcome or {})
    random = np.random.default_rng(random_seed)
    study, patients = root / "results" / "paper", root / "results" / "patients"
    cohort, ledger = root / "cohort.tsv", root / "registry" / "ledger.tsv"
    table = people(random, development, metachronous, prospective)
    labels = dict(zip(table["patient"], table["synchronous_metastasis"], strict=True))
    if outcome:
        table = happened(random, table, asked)
    ledger.parent.mkdir(parents=True)
    table.to_csv(cohort, sep="\t", index=False)
    names = table["patient"].tolist()
    cuts = (development // 2, development // 2 + math.ceil(development / 5))
    parts = {
        n: "training" if i < cuts[0] else "validation" if i < cuts[1] else "test"
        for i, n in enumerate(names[:development])
    }
    parts |= dict.fromkeys(names[development : development + metachronous], "metachronous")
    lines = [
        "split\tpatient\tpart\tstratum\tfreeze\tdate",
        *(f"00\t{n}\t{p}\t\t\t2026-01-01" for n, p in parts.items()),
    ]
    ledger.write_text("\n".join(lines) + "\n", encoding="utf-8")
    lost = {names[2]: QUARANTINED, names[7]: NO_LESION, names[development - 1]: NO_LESION}
    images(patients, names, random, lost)
    gather.run(gather.Inputs(patients, names), None, study / "gather" / "gather.json", "pin")
    networks(study, labels, parts, seeds, epochs, random, [n for n in names if n not in lost])
    measures, fusion = study / "gather/patients.parquet", study / "fusion/split-00"
    fuse.run(fuse.Inputs(cohort, ledger, 0, study / "score/split-00/scores.parquet", measures, outcome=asked), Fusion(), fusion / "fuse.json", "pin")  # fmt: skip
    explain.run(fusion, None, fusion / "explain.json", "pin")
    seen = cohort
    if blank:  # nobody has an outcome: the sections are empty
        seen = root / "no_outcome.tsv"
        table.assign(synchronous_metastasis="", progression="", months="").to_csv(seen, sep="\t", index=False)
    where = study / "evaluation/split-00"
    evaluate.run(
        evaluate.Inputs(seen, fusion / "predictions.parquet", measures, asked),
        Evaluation(bootstrap=200),
        where / "evaluate.json",
        "pin",
    )
    survive.run(
        survive.Inputs(seen, fusion / "predictions.parquet", asked),
        Evaluation(),
        where / "survive.json",
        "pin",
    )
    told = configuration(**report)
    if outcome:
        told["outcome"] = asked.model_dump(mode="json")
    table1.run(
        table1.Inputs(cohort, measures, patients, outcome=asked),
        Evaluation(),
        study / "evaluation/table1.json",
        "pin",
    )
    if not blank:
        permute.run(fusion, Fusion(permutations=40), fusion / "permute.json", "pin")
        candidates = pd.read_parquet(study / "select/split-00/candidates.parquet")
        looks(study, patients, candidates, [n for n in names if n not in lost], random)
        tripod.run(tripod.Inputs(study, told), None, study / "evaluation/tripod.json", "pin")
        record(
            study / "model/bundle.json",
            "bundle",
            values={"freeze": "v1", "model": "ab" * 32, "files": 12, "members": 1, "fit": "f" * 64},
        )
        write_json(ledger.with_name("freeze.json"), {"name": "v1", "date": "2026-05-02"})
    return Fake(study, cohort, ledger, told, study / "report" / "report.json")
