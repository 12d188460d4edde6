"""What does a locked model notice of inputs that are not what they are said to be? docs/model.md quotes the figures.

Scale and place: phantoms at full size, some of them drawn as the fitted ones again and again, the others asked about with
their SUV multiplied or their array turned under its masks. Told and refused are counted as ``promet predict`` would.

Voxel size: phantoms with the same counts per volume on grids of 1.5 to 6 mm, scored by a locked model, against the grid of
the demo; beside it what another draw of the noise does on that grid. The model is that of the demo (make demo, then promet freeze
v1 -c config/demo.yaml and promet run -c config/demo.yaml) or the folder that PROMET_BENCH_MODEL names; without one this part is left out.

Writes bench/results/inputs.json.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from promet.core.files import write_json

PHANTOMS, FITTED, DRAWS, SEED = 150, 34, 400, 5
FACTORS = (1.0, 10.0, 0.1, 3.0, 1 / 3, 2.5, 0.4, 0.75)
SPREAD = 0.3  # of the surroundings on the logarithm, in patients rather than in phantoms
SIZES, SCORED = (1.5, 2.0, 3.0, 4.0, 5.0, 6.0), 16  # mm, phantoms
FIELD = (120.0, 150.0, 150.0)  # mm (z, y, x): more than what is looked at around a prostate
MODEL = Path("demo/results/demo/model")


def phantoms(number: int = PHANTOMS) -> list[dict[str, dict[str, float | None]]]:
    """What around.measure says of each phantom: as drawn, and with the array turned under its masks."""
    from promet.core.sidecar import Sidecar
    from promet.imaging import around
    from promet.phantom import body
    from promet.phantom.truth import patient_truth

    found = []
    with tempfile.TemporaryDirectory(prefix="promet-") as place:
        folder = Path(place)
        for stage in ("convert", "segment"):
            Sidecar(stage, "").write(folder / f"{stage}.json")
        for index in range(number):
            suv, spacing, gland, lesions = body.pet_suv(patient_truth(SEED, index, "development", 1.0))
            turned = {"right": suv, "flipped along z": suv[::-1], "mirrored": suv[:, :, ::-1]}
            each = {}
            for name, array in turned.items():
                write_volumes(folder, array, gland, lesions, spacing)
                each[name] = around.measure(folder)
            found.append(each)
    return found


def write_volumes(
    folder: Path, suv: np.ndarray, gland: np.ndarray, lesions: np.ndarray, spacing: tuple[float, ...]
) -> dict[str, Path]:
    """Write PET and masks (z, y, x; spacing likewise, in mm) as NIfTI; gives source -> path."""
    import SimpleITK as sitk

    paths = {}
    for name, values in (("pet", suv), ("prostate", gland), ("lesions", lesions)):
        image = sitk.GetImageFromArray(values.astype(np.float32 if name == "pet" else np.uint8))
        image.SetSpacing([float(step) for step in spacing[::-1]])
        paths[name] = folder / f"{name}.nii.gz"
        sitk.WriteImage(image, str(paths[name]), False)
    return paths


def scale_and_place(
    measured: list[dict[str, dict[str, float | None]]], draws: int = DRAWS, fitted: int = FITTED
) -> dict[str, Any]:
    """Shares of phantoms told and refused, by what was done to them."""
    from promet.core.errors import DataError
    from promet.model import distribution, scale

    names = ("around_suv", "lesion_contrast")
    asked = {f"SUV x {factor:.3g}": ("right", factor) for factor in FACTORS}
    asked |= {name: (name, 1.0) for name in ("flipped along z", "mirrored")}
    told, refused, apart = Counter[str](), Counter[str](), Counter[str]()
    random, total, lesions = np.random.default_rng(SEED), 0, 0
    for _ in range(draws):
        order = random.permutation(len(measured))
        fit = [measured[i]["right"] for i in order[:fitted]]
        training = {
            name: distribution.describe(
                [math.nan if found[name] is None else float(found[name]) for found in fit], True
            )
            for name in names
        }
        for i in order[fitted:]:
            total += 1
            lesions += measured[i]["right"]["lesion_contrast"] is not None
            for what, (view, factor) in asked.items():
                found = {**measured[i][view]}
                found["around_suv"] = (found["around_suv"] or math.nan) * factor
                try:
                    sentences = scale.judge(found, training, trusted=False)
                except DataError:
                    refused[what] += 1
                    continue
                told[what] += any("uptake around the prostate" in sentence for sentence in sentences)
                apart[what] += any("belong together?" in sentence for sentence in sentences)
    around = np.log([found["right"]["around_suv"] for found in measured])
    entry = {"n": FITTED, "mean": 0.0, "sd": SPREAD, "log": True}
    return {
        "phantoms": len(measured),
        "fitted": fitted,
        "draws": draws,
        "spread_around": float(around.std(ddof=1)),
        "scale_told": {what: told[what] / total for what in asked},
        "scale_refused": {what: refused[what] / total for what in asked},
        "masks_doubted": {what: apart[what] / lesions for what in asked},
        "least_factor_told_where_patients_spread": {
            "sd": SPREAD,
            "factor": scale.beyond(1, entry, scale.TOLD)[2],
        },
    }


def voxel_sizes(folder: Path, number: int = SCORED, sizes: tuple[float, ...] = SIZES) -> dict[str, Any]:
    """How far the scores of the model in ``folder`` move with the voxel size alone."""
    import torch

    from promet.model.opened import load
    from promet.phantom.truth import patient_truth

    torch.set_num_threads(1)
    model = load(folder)
    truths, index = [], 0
    while len(truths) < number:
        truth = patient_truth(SEED, index, "development", 2.0)  # the effect of the demo
        truths += [truth] if truth.lesions and truth.visible else []
        index += 1
    usual = [_scores(model, truth, None, 1) for truth in truths]
    other = {"another draw of the noise": [_scores(model, truth, None, 2) for truth in truths]}
    for size in sizes:
        other[f"{size:g}"] = [_scores(model, truth, size, 1) for truth in truths]
        print(f"{size:g} mm scored", flush=True)
    return {
        "model": model.digest,
        "phantoms": number,
        "spread": {name: float(np.std([u[name] for u in usual], ddof=1)) for name in ("log_odds", "logit")},
        "sizes": {name: _moved(usual, there) for name, there in other.items()},
    }


def _scores(model: Any, truth: Any, size: float | None, draw: int) -> dict[str, Any]:
    """Score a phantom on isotropic voxels of ``size`` mm, or on the demo's grid, with the noise of the same counts per volume."""
    from promet.model.predict import score_files
    from promet.phantom import body

    usual = body.FULL.pet.spacing
    steps = usual if size is None else (size,) * 3
    centre = tuple(a + b for a, b in zip(truth.anatomy.gland_centre, truth.anatomy.shift, strict=True))
    shape = tuple(round(field / step) for field, step in zip(FIELD, steps, strict=True))
    grid = body.Grid(shape, steps, centre)
    variance = body.NOISE * math.prod(usual) / math.prod(steps)
    suv, gland, lesions = body.measured(truth, grid, np.random.default_rng([draw, truth.index]), variance)
    clinic = {
        name: truth.clinic[name] for name in model.contract["clinical"] if truth.clinic.get(name) is not None
    }
    clinic.pop("suv_peak_reader", None)  # measured here, so that the voxels can move it
    with tempfile.TemporaryDirectory(prefix="promet-") as place:
        answer = score_files(model, write_volumes(Path(place), suv, gland, lesions, steps), clinic)
    return {
        "log_odds": answer["log_odds"],
        "logit": answer["cnn_score"]["value"],
        "groups": {name: cut["group"] for name, cut in answer["groups"].items()},
        **{name: answer["image"]["measures"][name] for name in ("suv_peak", "suv_max")},
    }


def _moved(usual: list[dict[str, Any]], there: list[dict[str, Any]]) -> dict[str, float]:
    """Median shift of the scores, mean ratio of the measures, share of groups that differ."""
    pairs = list(zip(usual, there, strict=True))
    groups = [a["groups"][name] != b["groups"][name] for a, b in pairs for name in a["groups"]]
    return {
        **{
            name: float(np.median([abs(b[name] - a[name]) for a, b in pairs]))
            for name in ("log_odds", "logit")
        },
        **{
            name: float(np.mean([b[name] / a[name] for a, b in pairs]) - 1)
            for name in ("suv_peak", "suv_max")
        },
        "groups": float(np.mean(groups)),
    }


def main() -> None:
    """Measure, print, write the JSON."""
    start = time.perf_counter()
    result: dict[str, Any] = {"scale_and_place": scale_and_place(phantoms())}
    folder = Path(os.environ.get("PROMET_BENCH_MODEL") or MODEL)
    if (folder / "SHA256SUMS").is_file():
        result["voxel_sizes"] = voxel_sizes(folder)
    else:
        print(f"voxel sizes are left out: no locked model in {folder}")
    write_json("bench/results/inputs.json", result)
    print(json.dumps(result, indent=2))
    print(f"{time.perf_counter() - start:.0f} s")
