"""Where in a patient's image the logit comes from: Grad-CAM, integrated gradients and occlusion, by captum."""

from __future__ import annotations

import logging
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
from promet.network.data import load_tensors
from promet.network.randomness import INITIALISATION, derive
from promet.network.score import Ensemble, load_model

log = logging.getLogger("promet")

CELLS = 64  # a map with fewer says nothing about the place
STEPS = 24  # of the integral
WINDOW = (2, 2, 6, 6)  # channels, z, y, x that are covered at once: 10 x 8 x 8 mm
METHODS = ("grad_cam", "integrated_gradients", "occlusion")


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


def attributions(model: nn.Module, volume: Tensor) -> dict[str, np.ndarray]:
    """Method -> (z, y, x) float64, not negative.

    Grad-CAM keeps what speaks for metastasis and is blown up from the layer's cells; the other two are absolute values, summed over
    the channels, against an empty image. Of an ensemble the mean of its members, each scaled to sum 1.

    Args:
        model: in evaluation mode.
        volume: (channels, z, y, x) float32.
    """
    from captum.attr import IntegratedGradients, LayerAttribution, LayerGradCam, Occlusion

    if isinstance(model, Ensemble):
        single = [attributions(member, volume) for member in model.members]
        return {
            name: np.mean([one[name] / max(one[name].sum(), 1e-12) for one in single], axis=0)
            for name in METHODS
        }
    batch = volume[None]
    _, layer, _ = stage_with_cells(model, batch)
    cam = LayerGradCam(model, layer).attribute(batch, relu_attributions=True)
    cam = LayerAttribution.interpolate(cam, tuple(volume.shape[1:]), "trilinear")
    integrated = IntegratedGradients(model).attribute(batch, n_steps=STEPS, internal_batch_size=8)
    window = (len(volume), *(min(pair) for pair in zip(WINDOW[1:], volume.shape[1:], strict=True)))
    covered = Occlusion(model).attribute(
        batch, sliding_window_shapes=window, strides=window, perturbations_per_eval=8
    )
    made = {"grad_cam": cam, "integrated_gradients": integrated.abs(), "occlusion": covered[:, :1].abs()}
    return {name: value.detach().sum(1)[0].double().numpy() for name, value in made.items()}


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
    """Overlays on the PET in three planes through the middle of the largest lesion slice, or the hottest voxel."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    target = volume[1] if volume[1].any() else volume[0] == volume[0].max()
    centre = [round(float(place.mean())) for place in target.nonzero()]
    planes = (("axial", 0, 1, 2), ("coronal", 1, 0, 2), ("sagittal", 2, 0, 1))
    figure, axes = plt.subplots(len(maps), 3, figsize=(9, 3 * len(maps)), layout="constrained")
    for row, (name, attribution) in zip(axes, maps.items(), strict=True):
        for axis, (plane, across, vertical, horizontal) in zip(row, planes, strict=True):
            cut = [image.take(centre[across], across) for image in (volume[0], attribution, volume[1])]
            shown = {
                "origin": "upper" if across == 0 else "lower",
                "aspect": spacing[vertical] / spacing[horizontal],
            }
            axis.imshow(cut[0], cmap="gray_r", vmin=0, vmax=1, **shown)
            highest = attribution.max() or 1.0
            axis.imshow(cut[1], cmap="inferno", vmin=0, vmax=highest, alpha=0.6 * cut[1] / highest, **shown)
            if cut[2].any():
                axis.contour(cut[2], levels=[0.5], colors="tab:cyan", linewidths=1)
            axis.set(xticks=[], yticks=[], title=f"{name.replace('_', ' ')}, {plane}")
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100, metadata={"Software": None})
    plt.close(figure)
    return path


def attention(
    model: Path, patients: Path, patient: str, out: Path, pin: str, spacing: tuple[float, float, float]
) -> Sidecar:
    """Attribution maps of one patient: attention.npy (method, z, y, x) and attention.png beside ``out``, shares in its values.

    The sanity check (Adebayo et al. 2018, arXiv:1810.03292) makes the maps again with untrained weights: a rank correlation near 1 means that a map
    shows the image and not what the network learnt.

    Args:
        model: model.json of the selection.
        patients: results folder with one folder per patient.
        patient: whom.
        out: the record.
        pin: stored in the record.
        spacing: mm per voxel in z, y, x, for the picture.

    Raises:
        IntegrityError: weights or the tensor are not the recorded ones.
        UsageError: the network has no map with enough cells.
    """
    patients, out = Path(patients), Path(out)
    upstream = patients / patient / "normalise.json"

    def work() -> Outcome:
        torch.set_num_threads(1)
        network = load_model(model)
        digest = Sidecar.read(upstream).products["tensor.npy"]
        volume = load_tensors(patients, [(patient, digest)])[0]
        tensor = torch.from_numpy(volume)
        maps = attributions(network, tensor)
        other = attributions(randomised(network), tensor)
        member = network.members[0] if isinstance(network, Ensemble) else network
        name, _, cells = stage_with_cells(member, tensor[None])
        table = out.with_name("attention.npy")
        with atomic(table) as temporary, open(temporary, "wb") as handle:
            np.save(handle, np.stack([maps[method] for method in METHODS]).astype(np.float32))
        values = {
            "model": read_json(model)["digest"],
            "tensor_digest": digest,
            "methods": list(METHODS),
            "layer": name,
            "cells": list(cells),
            **shares(maps, volume),
            **{
                f"{method}_untrained_correlation": rank_correlation(maps[method], other[method])
                for method in METHODS
            },
        }
        shown = picture(out.with_name("attention.png"), maps, volume, spacing)
        return Outcome({"attention": table, "picture": shown}, values)

    return run_stage(
        "attention",
        out,
        pin,
        work,
        upstream={"normalise": upstream},
        needs=("normalise",),
        makes=("attention.npy", "attention.png"),
        packages=("torch", "captum", "numpy", "matplotlib"),
    )
