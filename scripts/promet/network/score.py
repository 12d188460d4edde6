"""Scores of the chosen network for every patient with a tensor."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from promet.core.errors import IntegrityError
from promet.core.files import digest_file, read_json
from promet.core.sidecar import Sidecar
from promet.core.stage import Outcome, run_stage
from promet.network.architecture import build
from promet.network.data import load_tensors, write_table
from promet.network.hazard import ALPHA, risk
from promet.network.settings import Architecture
from promet.study.forms import tables

log = logging.getLogger("promet")
SCORES = {"patient": "string", "tensor_digest": "string", "cnn_score": "float64", "probability": "float64"}


def logits(model: nn.Module, volumes: Tensor, batch: int = 1) -> np.ndarray:
    """Logits of volumes, dropout off.

    With batches of one, the default, a patient's score does not depend on who else is scored, to the last bit;
    larger batches are faster and round differently.

    Args:
        model: where the volumes are.
        volumes: float32 (n, 2, z, y, x).
        batch: volumes at a time.

    Returns:
        float64 (n,).
    """
    return logits_there(model, volumes, batch).cpu().numpy()


def logits_there(model: nn.Module, volumes: Tensor, batch: int) -> Tensor:
    """The same, left on the device."""
    model.eval()
    with torch.inference_mode():
        parts = [
            model(part.contiguous(memory_format=torch.channels_last_3d)) for part in volumes.split(batch)
        ]
        return torch.cat(parts).double()


class Ensemble(nn.Module):
    """The mean logit of several networks."""

    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, z, y, x) to logits (n,)."""
        return torch.stack([member(x) for member in self.members]).mean(0)


def load_model(path: Path) -> nn.Module:
    """The network of a model.json, or the ensemble, on the CPU and in evaluation mode.

    Raises:
        IntegrityError: the weights are not those that were chosen.
    """
    chosen = read_json(path)
    if "members" not in chosen:
        return load_one(Path(path).parent, chosen).eval()
    return Ensemble([load_one(Path(path).parent, member) for member in chosen["members"]]).eval()


def load_one(folder: Path, chosen: dict[str, Any]) -> nn.Module:
    """One network from its weights (relative to ``folder``), their digest and its architecture."""
    from safetensors.torch import load_file

    weights = folder / chosen["weights"]
    if not weights.exists() or digest_file(weights) != chosen["digest"]:
        raise IntegrityError(
            "E_WEIGHTS_DIGEST",
            "The weights are not those that were selected"
            if weights.exists()
            else "The selected weights are missing",
            "the bytes whose digest stands in model.json",
            "Run promet network select again",
        )
    model = build(Architecture.model_validate(chosen["architecture"]))
    model.load_state_dict(load_file(weights))
    return model


def score_tensor(model: Path, tensor: np.ndarray) -> float:
    """CNN score (logit) of one tensor, to the last bit what the stage ``score`` gives it.

    Args:
        model: model.json of a selection or of a locked model.
        tensor: float32 (2, z, y, x).
    """
    torch.set_num_threads(1)
    return float(logits(load_model(model), torch.from_numpy(tensor[None]))[0])


def probabilities(chosen: dict[str, Any], values: list[float]) -> list[float]:
    """Of logits, by the model.json they come from: of the label, or the risk by the last edge of a hazard; NaN under Cox, which
    gives none. Of an ensemble by the mean intercepts, as the logit is the mean."""
    members = chosen.get("members", [chosen])
    if ALPHA not in members[0]:
        return [1 / (1 + np.exp(-value)) for value in values]
    if members[0][ALPHA] is None:
        return [math.nan] * len(values)
    return risk(np.array(values), np.mean([member[ALPHA] for member in members], axis=0)).tolist()


@dataclass(frozen=True)
class Inputs:
    """What this stage reads."""

    model: Path  # model.json of the selection
    gathered: Path  # folder of patients.parquet
    patients: Path  # results folder with one folder per patient


def run(inputs: Inputs, settings: None, out: Path, pin: str) -> Sidecar:
    """Score every patient with a tensor; scores.parquet lies beside ``out``.

    Computed on one CPU thread, one patient at a time: a new patient changes no other's score.

    Raises:
        IntegrityError: weights or a tensor are not the recorded ones.
    """

    def work() -> Outcome:
        torch.set_num_threads(1)
        network = load_model(inputs.model)
        table = tables.PATIENTS.lists(inputs.gathered / tables.PATIENTS.file, ["patient", "tensor_digest"])
        rows = [(patient, digest) for patient, digest in zip(*table.values(), strict=True) if digest]
        # one file at a time in memory
        values = [logits(network, torch.from_numpy(load_tensors(inputs.patients, [row])))[0] for row in rows]
        columns = {
            "patient": [patient for patient, _ in rows],
            "tensor_digest": [digest for _, digest in rows],
            "cnn_score": values,
            "probability": probabilities(read_json(inputs.model), values),
        }
        path = write_table(out.with_name(tables.SCORES.file), columns, SCORES)
        log.info("score: %d patients", len(rows))
        return Outcome({"scores": path}, {"patients": len(rows), "model": read_json(inputs.model)["digest"]})

    return run_stage("score", out, pin, work, packages=("torch", "numpy", "safetensors", "pyarrow"))
