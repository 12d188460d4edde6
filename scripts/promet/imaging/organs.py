"""Masks by external programs, for patients whose table row gives none, and only those that the configuration names.

TotalSegmentator (Wasserthal 2023, Radiol Artif Intell 5:e230024) makes organ masks on the CT, with its usage statistics switched
off; any other program of imaging.segment.sources is called as it says (programs.py). All see volumes without any text in a
temporary folder.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from promet.core.defaults import TOTALSEGMENTATOR
from promet.core.errors import DataError, UsageError
from promet.core.sidecar import Sidecar
from promet.core.stage import Outcome, run_stage
from promet.imaging import geometry, programs
from promet.study.registry import sources

if TYPE_CHECKING:
    from promet.imaging.settings import Organs, Source

PROGRAM = "TotalSegmentator"
PRODUCT = "organs.nii.gz"
# Labels of the product; the first is the organ of the study.
NAMES = {1: "prostate", 2: "urinary_bladder", 3: "liver", 4: "aorta", 5: "parotid_gland", 6: "spleen"}
# The program's files, in the order in which they are laid over each other.
FILES = {
    "parotid_gland_left": 5,
    "parotid_gland_right": 5,
    "spleen": 6,
    "aorta": 4,
    "liver": 3,
    "urinary_bladder": 2,
    "prostate": 1,
}
WEIGHTS = {"total": "Dataset291_*", "fast": "Dataset297_*", "head_glands_cavities": "Dataset775_*"}


def tasks(settings: Organs) -> list[list[str]]:
    """The program's options of each call. No --roi_subset: it is less exact for the prostate."""
    total = ["--task", "total", *(["--fast"] if settings.fast else [])]
    return [total, ["--task", "head_glands_cavities"]] if settings.head else [total]


def environment(weights: str, home: Path, settings: Organs) -> dict[str, str]:
    """Where the program finds its weights and its own configuration, which forbids to send statistics.

    Raises:
        UsageError: E_TOTALSEGMENTATOR_WEIGHTS.
    """
    (home / "config.json").write_text(
        json.dumps(
            {
                "totalseg_id": "promet",
                "send_usage_stats": False,
                "prediction_counter": 0,
                "statistics_disclaimer_shown": True,
            }
        ),
        encoding="utf-8",
    )
    needed = ["fast" if settings.fast else "total", *(["head_glands_cavities"] if settings.head else [])]
    missing = [WEIGHTS[name] for name in needed if weights and not any(Path(weights).glob(WEIGHTS[name]))]
    if missing:
        raise UsageError(
            "E_TOTALSEGMENTATOR_WEIGHTS",
            f"The folder of TotalSegmentator's weights holds no {' and no '.join(missing)}",
            "the folder that holds the Dataset folders, as totalseg_download_weights leaves them",
            "Correct imaging.segment.sources.totalsegmentator.weights, or leave it empty to let the program load them",
        )
    own = os.environ.get("TOTALSEG_WEIGHTS_PATH") or str(Path.home() / ".totalsegmentator/nnunet/results")
    return {**os.environ, "TOTALSEG_HOME_DIR": str(home), "TOTALSEG_WEIGHTS_PATH": weights or own}


def segment_organs(ct: sitk.Image, settings: Organs, weights: str = "", device: str = "cpu") -> sitk.Image:
    """Call the program on a CT.

    Args:
        ct: int16 HU.
        settings: which models.
        weights: folder of its weights, or '' for its own.
        device: cpu, gpu or gpu:N.

    Returns:
        uint8 labels of ``NAMES`` on the grid of the CT; organs it does not find are not in it.

    Raises:
        UsageError: E_TOTALSEGMENTATOR_MISSING, E_TOTALSEGMENTATOR_WEIGHTS, E_TOTALSEGMENTATOR_FAILED,
            E_TOTALSEGMENTATOR_OUTPUT: the site's faults, no patient's.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise UsageError(
            "E_TOTALSEGMENTATOR_MISSING",
            f"The program {PROGRAM} is not installed: it is not on the PATH",
            "the program, since imaging.segment.sources names it",
            "Install it (envs/totalsegmentator.yaml, or --sdm conda), or give prostate masks in the table",
        )
    with tempfile.TemporaryDirectory() as folder:
        home, source, out = Path(folder, "home"), Path(folder, "ct.nii.gz"), Path(folder, "out")
        home.mkdir()
        variables = environment(weights, home, settings)
        geometry.write_nifti(ct, source)
        for options in tasks(settings):
            words = [program, "-i", str(source), "-o", str(out), *options, "--device", device, "--quiet"]
            code = subprocess.run([*words, "--nr_thr_saving", "1"], env=variables, check=False).returncode
            if code:
                raise UsageError(
                    "E_TOTALSEGMENTATOR_FAILED",
                    f"{PROGRAM} ended with exit code {code} (task {options[1]})",
                    "exit code 0",
                    "Its own words are in the log of this job",
                )
        return _labels(out, ct)


def _labels(folder: Path, ct: sitk.Image) -> sitk.Image:
    labels = np.zeros(ct.GetSize()[::-1], np.uint8)
    for name, number in FILES.items():
        path = folder / f"{name}.nii.gz"
        if not path.exists() and number != 1:
            continue
        mask = geometry.canonical(geometry.read_image(path)) if path.exists() else None
        if mask is None or not geometry.same_grid(mask, ct):
            raise UsageError(
                "E_TOTALSEGMENTATOR_OUTPUT",
                f"{PROGRAM} left no {name}.nii.gz on the grid of the CT",
                "a mask of the prostate, class 22 of its task total",
                "Use the version of envs/totalsegmentator.yaml",
            )
        labels[sitk.GetArrayViewFromImage(mask) > 0] = number
    image = sitk.GetImageFromArray(labels)
    image.CopyInformation(ct)
    return image


def found(labels: sitk.Image) -> dict[str, float]:
    """Volume in ml of each organ that is there, by name."""
    count = np.bincount(sitk.GetArrayViewFromImage(labels).ravel(), minlength=max(NAMES) + 1)
    each = float(np.prod(labels.GetSpacing())) / 1000
    return {name: round(int(count[number]) * each, 3) for number, name in NAMES.items() if count[number]}


@dataclass(frozen=True)
class Inputs:
    """Whose images, and where TotalSegmentator computes: ``weights`` is the folder of its weights, '' its own; cpu, gpu or gpu:N.

    ``sources``: the programs that make a mask of this patient, by name; none: TotalSegmentator alone.
    """

    patient: str
    registry: Path
    weights: str = ""
    device: str = "cpu"
    sources: dict[str, Source] | None = None


def made_file(structure: str) -> str:
    """Name of the mask that a program of imaging.segment.sources left for a structure."""
    return f"source_{structure}.nii.gz"


MADE = (PRODUCT, *(made_file(structure) for structure in ("prostate", "lesions")))


def run(inputs: Inputs, settings: Organs, out: Path, pin: str) -> Sidecar:
    """The stage ``organs``: organs.nii.gz of TotalSegmentator, source_prostate.nii.gz and source_lesions.nii.gz of other programs.

    A CT without a prostate quarantines (E_ORGANS_NO_PROSTATE). The values name who made what: ``prostate_by``, ``lesions_by``.
    """
    folder = Path(out).parent
    chosen: dict[str, Source | None] = {**inputs.sources} if inputs.sources else {TOTALSEGMENTATOR: None}

    def work() -> Outcome:
        given = sources(inputs.registry, inputs.patient)
        made = Outcome(notes={"device": inputs.device})
        for path in MADE:
            (folder / path).unlink(missing_ok=True)
        volumes: dict[str, sitk.Image] = {}
        for name, source in chosen.items():
            for volume in source.inputs if source else ("ct",):
                if volume not in volumes:
                    volumes[volume] = _volume(volume, given)
            if source is None or name == TOTALSEGMENTATOR:
                if source:
                    programs.require_weights(name, source)
                _organs(volumes["ct"], inputs, settings, folder, made)
                continue
            for structure, mask in programs.call(name, source, volumes).items():
                geometry.write_nifti(mask, folder / made_file(structure))
                made.products[f"source_{structure}"] = folder / made_file(structure)
                made.values[f"{structure}_by"] = f"{name} {source.version}"
        return made

    return run_stage("organs", out, pin, work, makes=MADE, packages=("pydicom", "SimpleITK", "numpy"))


def _volume(name: str, given: dict[str, Path]) -> sitk.Image:
    """CT in HU or PET in SUV, as every program gets it."""
    if name not in given:
        raise DataError(
            "E_CT_NONE", "The table names no ct source for this patient", "a path in the column ct"
        )
    if name == "ct":
        from promet.imaging.ct import convert_ct

        return convert_ct(given["ct"], given.get("pet"))
    from promet.imaging.convert import convert_source

    return convert_source(given["pet"]).image


def _organs(ct: sitk.Image, inputs: Inputs, settings: Organs, folder: Path, made: Outcome) -> None:
    """TotalSegmentator's labels, added to what is made."""
    labels = segment_organs(ct, settings, inputs.weights, inputs.device)
    volumes = found(labels)
    if "prostate" not in volumes:
        raise DataError(
            "E_ORGANS_NO_PROSTATE",
            f"{PROGRAM} found no prostate on the CT",
            "a CT that shows the pelvis",
            "Give a mask in the column prostate",
        )
    geometry.write_nifti(labels, folder / PRODUCT)
    made.products["organs"] = folder / PRODUCT
    made.values.update({f"{name}_ml": ml for name, ml in volumes.items()})
