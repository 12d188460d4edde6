"""Where in a patient's image the logit comes from: Grad-CAM, integrated gradients and occlusion, by captum."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from promet.core.errors import UsageError
from promet.core.files import atomic, read_json
from promet.core.sidecar import Sidecar
from promet.core.stage import Outcome, run_stage
from promet.network.architecture import OneLogit
from promet.network.data import load_tensors, write_table
from promet.network.randomness import INITIALISATION, derive
from promet.network.score import Ensemble, load_model
from promet.study.forms import tables

log = logging.getLogger("promet")

CELLS = 64  # a map with fewer says nothing about the place
# Of the integral. The gradient of a network of ReLUs is constant between kinks, so a finer rule than the midpoint gains nothing; on three
# phantoms 24 steps miss the sum by 7 to 45 %, 96 by 0.3 to 5 %.
STEPS = 96
WINDOW = (2, 2, 6, 6)  # channels, z, y, x that are covered at once: 10 x 8 x 8 mm
METHODS = {"grad_cam": "Grad-CAM", "integrated_gradients": "Integrated gradients", "occlusion": "Occlusion"}


def stage_with_cells(model: nn.Module, volume: Tensor) -> tuple[str, nn.Module, tuple[int, ...]]:
    """The last layer whose map still has at least 64 cells: its name, itself, its (z, y, x).

    Args:
        model: one network, no ensemble.
        volume: (1, channels, z, y, x).
    """
    found: list[tuple[str, nn.Module, tuple[int, ...]]] = []
    network = model.network if isinstance(model, OneLogit) else model
    handles = []
    for outer, part in network.named_children():
        inner = list(part.named_children()) if isinstance(part, nn.Sequential) else []
        for name, module in inner or [("", part)]:

            def note(
                module: nn.Module, _: Any, output: Any, name: str = f"{outer}.{name}".rstrip(".")
            ) -> None:
                if isinstance(output, Tensor) and output.ndim == 5 and output[0, 0].numel() >= CELLS:
                    found.append((name, module, tuple(output.shape[2:])))

            handles.append(module.register_forward_hook(note))
    with torch.no_grad():
        model(volume)
    for handle in handles:
        handle.remove()
    if not found:
        raise UsageError(
            "E_ATTENTION_CELLS",
            "No layer of this network has a map of 64 cells",
            "a larger input or another network",
        )
    return found[-1]


def attributions(model: nn.Module, volume: Tensor) -> tuple[dict[str, np.ndarray], float]:
    """Method -> (z, y, x) float64, not negative; and the completeness error of the integrated gradients.

    Grad-CAM keeps what speaks for metastasis and is blown up from the layer's cells; the other two are absolute values, summed over
    the channels, against an empty image. Of an ensemble the mean of its members, each scaled to sum 1.

    Integrated gradients must sum to the change of the logit from the empty image to this one (Sundararajan et al. 2017,
    arXiv:1703.01365, proposition 1). The error is the share of that change by which the sum over the steps misses it; of an ensemble
    the largest of its members; NaN where the logit does not change.

    Args:
        model: in evaluation mode.
        volume: (channels, z, y, x) float32.
    """
    from captum.attr import IntegratedGradients, LayerAttribution, LayerGradCam, Occlusion

    if isinstance(model, Ensemble):
        single, errors = zip(*(attributions(member, volume) for member in model.members), strict=True)
        return {
            name: np.mean([one[name] / max(one[name].sum(), 1e-12) for one in single], axis=0)
            for name in METHODS
        }, max(errors, key=lambda error: (not np.isnan(error), error))
    batch = volume[None]
    _, layer, _ = stage_with_cells(model, batch)
    cam = LayerGradCam(model, layer).attribute(batch, relu_attributions=True)
    cam = LayerAttribution.interpolate(cam, tuple(volume.shape[1:]), "trilinear")
    integrated = IntegratedGradients(model).attribute(
        batch, n_steps=STEPS, method="riemann_middle", internal_batch_size=8
    )
    with torch.no_grad():
        change = float(model(batch).double().sum() - model(torch.zeros_like(batch)).double().sum())
    error = abs(float(integrated.double().sum()) - change) / abs(change) if change else float("nan")
    window = (len(volume), *(min(pair) for pair in zip(WINDOW[1:], volume.shape[1:], strict=True)))
    covered = Occlusion(model).attribute(
        batch, sliding_window_shapes=window, strides=window, perturbations_per_eval=8
    )
    made = {"grad_cam": cam, "integrated_gradients": integrated.abs(), "occlusion": covered[:, :1].abs()}
    return {name: value.detach().sum(1)[0].double().numpy() for name, value in made.items()}, error


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """A copy of the network with weights as before any training."""
    import copy

    fresh = copy.deepcopy(model)
    torch.manual_seed(derive(seed, INITIALISATION))
    for module in fresh.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    return fresh.eval()


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's correlation of two maps; 0 when one is constant."""
    from scipy.stats import rankdata

    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(a.ravel()), rankdata(b.ravel()))[0, 1])


def shares(maps: dict[str, np.ndarray], volume: np.ndarray) -> dict[str, float]:
    """Share of each map inside the lesions and inside the organ (PET above 0), and of the voxels, which is what chance would give."""
    inside = {"lesion": volume[1] > 0, "organ": volume[0] > 0}
    values = {f"voxels_{place}": float(mask.mean()) for place, mask in inside.items()}
    for name, attribution in maps.items():
        total = attribution.sum()
        for place, mask in inside.items():
            values[f"{name}_{place}"] = float(attribution[mask].sum() / total) if total else 0.0
    return values


def picture(
    path: Path, maps: dict[str, np.ndarray], volume: np.ndarray, spacing: tuple[float, float, float]
) -> Path:
    """Overlays (red to yellow) on the PET in three planes through the middle of the largest lesion slice, or the hottest voxel."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    target = volume[1] if volume[1].any() else volume[0] == volume[0].max()
    centre = [round(float(place.mean())) for place in target.nonzero()]
    planes = (("axial", 0, 1, 2), ("coronal", 1, 0, 2), ("sagittal", 2, 0, 1))
    figure, axes = plt.subplots(len(maps), 3, figsize=(9, 3 * len(maps)), layout="constrained")
    for row, (name, attribution) in zip(axes, maps.items(), strict=True):
        # full colour from the highest hundredth on: of some maps a single voxel would outshine all
        highest = np.percentile(attribution[attribution > 0], 99) if attribution.any() else 1.0
        for axis, (plane, across, vertical, horizontal) in zip(row, planes, strict=True):
            cut = [image.take(centre[across], across) for image in (volume[0], attribution, volume[1])]
            shown = {
                "origin": "upper" if across == 0 else "lower",
                "aspect": spacing[vertical] / spacing[horizontal],
            }
            axis.imshow(cut[0], cmap="gray_r", vmin=0, vmax=1, **shown)
            seen = np.minimum(cut[1] / highest, 1)
            axis.imshow(seen, cmap="autumn", vmin=0, vmax=1, alpha=0.8 * seen, **shown)
            if cut[2].any():
                axis.contour(cut[2], levels=[0.5], colors="tab:cyan", linewidths=1)
            axis.set(xticks=[], yticks=[], title=f"{METHODS[name]}, {plane}")
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100, metadata={"Software": None})
    plt.close(figure)
    return path


def _known(summary: Callable[[list[float]], float], values: list[float]) -> float | None:
    """A summary of those that are numbers, None without any."""
    numbers = [value for value in values if not np.isnan(value)]
    return float(summary(numbers)) if numbers else None


@dataclass(frozen=True)
class Inputs:
    """What this stage reads."""

    model: Path  # model.json of the selection
    gathered: Path  # folder of patients.parquet
    patients: Path  # results folder with one folder per patient
    wanted: Sequence[str]  # whom
    spacing: tuple[float, float, float]  # mm per voxel in z, y, x, for the pictures


def run(inputs: Inputs, settings: None, out: Path, pin: str) -> Sidecar:
    """Attribution maps of the wanted patients who have a tensor, one job for all.

    Beside ``out``: attention.npy (patient, method, z, y, x) float32, attention.parquet (one row per patient in that order: the shares of ``shares``,
    METHOD_untrained_correlation, and integrated_gradients_error as of ``attributions``) and one PATIENT.png each. The record's values are the
    medians, and the largest integrated_gradients_error; null where no patient has one.

    The sanity check (Adebayo et al. 2018, arXiv:1810.03292) makes the maps again with untrained weights: a rank correlation near 1 means that a map
    shows the image and not what the network learnt.

    Raises:
        IntegrityError: weights or a tensor are not the recorded ones.
        UsageError: the network has no map with enough cells, or a patient is not in the table.
    """
    wanted = inputs.wanted

    def work() -> Outcome:
        torch.set_num_threads(1)
        network = load_model(inputs.model)
        untrained = randomised(network)
        table = tables.PATIENTS.lists(inputs.gathered / tables.PATIENTS.file, ["patient", "tensor_digest"])
        digests = dict(zip(table["patient"], table["tensor_digest"], strict=True))
        strange = sorted(set(wanted) - digests.keys())
        if strange:
            raise UsageError(
                "E_ATTENTION_PATIENT",
                f"{strange[0]} is not among the {len(digests)} patients",
                "a patient of the table",
            )
        shown = [patient for patient in wanted if digests[patient]]
        for picture_of in out.parent.glob("*.png"):
            picture_of.unlink()  # of an earlier choice of patients
        products, rows, every = {}, [], []
        for patient in shown:
            volume = load_tensors(inputs.patients, [(patient, digests[patient])])[0]
            tensor = torch.from_numpy(volume)
            (maps, error), (other, _) = attributions(network, tensor), attributions(untrained, tensor)
            correlations = {
                f"{method}_untrained_correlation": rank_correlation(maps[method], other[method])
                for method in METHODS
            }
            rows.append(
                {
                    "patient": patient,
                    **shares(maps, volume),
                    **correlations,
                    "integrated_gradients_error": error,
                }
            )
            every.append(np.stack([maps[method] for method in METHODS]).astype(np.float32))
            products[patient] = picture(out.with_name(f"{patient}.png"), maps, volume, inputs.spacing)
            log.info("attention: %s", patient)
        values: dict[str, Any] = {
            "model": read_json(inputs.model)["digest"],
            "patients": shown,
            "methods": list(METHODS),
        }
        if shown:
            member = network.members[0] if isinstance(network, Ensemble) else network
            name, _, cells = stage_with_cells(member, tensor[None])
            values |= {"layer": name, "cells": list(cells)}
            numbers = [key for key in rows[0] if key != "patient"]
            values |= {f"median_{key}": _known(np.median, [row[key] for row in rows]) for key in numbers}
            errors = [row["integrated_gradients_error"] for row in rows]
            values |= {
                "integrated_gradients_steps": STEPS,
                "largest_integrated_gradients_error": _known(max, errors),
            }
            columns = {key: [row[key] for row in rows] for key in rows[0]}
            types = {"patient": "string", **dict.fromkeys(numbers, "float64")}
            products["table"] = write_table(out.with_name("attention.parquet"), columns, types)
            products["maps"] = out.with_name("attention.npy")
            with atomic(products["maps"]) as temporary, open(temporary, "wb") as handle:
                np.save(handle, np.stack(every))
        warnings = [f"{patient} has no tensor, so no map" for patient in wanted if not digests[patient]]
        return Outcome(products, values, warnings)

    return run_stage("attention", out, pin, work, packages=("torch", "captum", "numpy", "matplotlib"))
