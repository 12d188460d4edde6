"""After the choice: what every trained network, and every rule of choice, would have said of every patient.

Nothing is decided from this. It needs the selection's record, so that no score of the test part can exist before it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from promet.core.errors import IntegrityError
from promet.core.pin import pin as make_pin
from promet.core.sidecar import Sidecar
from promet.core.stage import Outcome, run_stage
from promet.network.data import load_tensors, read_table, write_table
from promet.network.score import load_one, logits
from promet.network.select import read_candidates
from promet.network.settings import Select
from promet.study.forms import tables

log = logging.getLogger("promet")
RUNS = {"variant": "string", "seed": "int64", "patient": "string", "logit": "float64"}
RULES = {"rule": "string", "members": "int64", "patient": "string", "logit": "float64"}
BATCH = 16


def rules(values: np.ndarray, k: int) -> dict[str, tuple[int, np.ndarray]]:
    """Rule -> (number of networks, logits (patients,)) if it had been the rule.

    Args:
        values: logits (networks, patients), best network first.
        k: networks of ensemble_top_k.
    """
    sizes = {"best": 1, "ensemble_top_k": min(k, len(values)), "ensemble_mean": len(values)}
    return {rule: (size, values[:size].mean(axis=0)) for rule, size in sizes.items()}


@dataclass(frozen=True)
class Inputs:
    """What this stage reads."""

    candidates: Sequence[Path]  # train.json files or their folders
    select: Path  # record of the selection; must be of these candidates
    gathered: Path  # folder of patients.parquet
    patients: Path  # results folder with one folder per patient


def run(inputs: Inputs, settings: Select, out: Path, pin: str) -> Sidecar:
    """Score every patient with every candidate.

    Writes runs.parquet (one row per network and patient, the networks best first) and rules.parquet (one row per rule of selection and patient)
    beside ``out``. Logits round differently from those of the stage ``score``, which takes one patient at a time.

    Raises:
        IntegrityError: the selection is of others, or weights or a tensor are not the recorded ones.
    """

    def work() -> Outcome:
        torch.set_num_threads(1)
        runs = read_candidates(inputs.candidates)
        ranked = read_table(inputs.select.with_name("candidates.parquet"), ["variant", "seed"])
        chosen = Sidecar.read(inputs.select)
        if list(zip(*ranked.values(), strict=True)) != [(run["variant"], run["seed"]) for run in runs]:
            raise IntegrityError(
                "E_HINDSIGHT_CANDIDATES",
                f"The selection ranked {len(ranked['seed'])} networks, not these {len(runs)}",
                "the candidates of the selection",
                "Run promet network select first",
            )
        table = tables.PATIENTS.lists(inputs.gathered / tables.PATIENTS.file, ["patient", "tensor_digest"])
        wanted = [(patient, digest) for patient, digest in zip(*table.values(), strict=True) if digest]
        volumes = torch.from_numpy(load_tensors(inputs.patients, wanted))
        values = np.stack([_logits(run, volumes) for run in runs])
        names = [patient for patient, _ in wanted]
        by_run = [(run["variant"], run["seed"], row) for run, row in zip(runs, values, strict=True)]
        by_rule = [(rule, size, row) for rule, (size, row) in rules(values, settings.k).items()]
        products = {
            "runs": _long(out.with_name("runs.parquet"), RUNS, by_run, names),
            "rules": _long(out.with_name("rules.parquet"), RULES, by_rule, names),
        }
        log.info("hindsight: %d networks, %d patients", len(runs), len(names))
        about = {"networks": len(runs), "patients": len(names), "k": settings.k, "selection": chosen.digest}
        return Outcome(products, about | {"weights": make_pin([run["digest"] for run in runs])})

    return run_stage("hindsight", out, pin, work, packages=("torch", "numpy", "safetensors", "pyarrow"))


def _logits(run: dict[str, Any], volumes: torch.Tensor) -> np.ndarray:
    where = {"weights": run["weights"].name, "digest": run["digest"], "architecture": run["architecture"]}
    return logits(load_one(run["weights"].parent, where), volumes, batch=BATCH)


def _long(path: Path, types: dict[str, str], rows: list[tuple[Any, ...]], names: list[str]) -> Path:
    """One line per row and patient."""
    first, second, *_ = types
    columns = {
        first: [row[0] for row in rows for _ in names],
        second: [row[1] for row in rows for _ in names],
        "patient": names * len(rows),
        "logit": [value for row in rows for value in row[2].tolist()],
    }
    return write_table(path, columns, types)
