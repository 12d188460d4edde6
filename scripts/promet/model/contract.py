"""What an input must be for the locked model to be asked about it; everything else is refused with a sentence."""

from __future__ import annotations

from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

from promet.core.errors import DataError, IntegrityError, UsageError
from promet.fusion import predictors
from promet.model.settings import Preprocessing
from promet.study.outcome import PAPER, ByHorizon, Outcome, TimeToEvent
from promet.study.table import COLUMNS
from promet.workflow.stages import STAGES, of_patients

READER_PEAK = "suv_peak_reader"  # the one clinical key whose input has another name: suv_peak
IMAGING = of_patients("normalise", "measure")  # what the images of a patient go through
USED_STAGES = (*IMAGING, "score", "fuse")
# Versions that give a fitted model's scores alike: fuse 2 fits narrow densities otherwise and reads fitted ones as they are.
SCORES_ALIKE = {"fuse": (1, 2), "convert": (1, 2), "segment": (1, 2)}
# What an answer has to say where the versions differ and the model is asked all the same.
SINCE = {
    "convert": "Since this model was locked the SUV of some scanners' headers is computed otherwise (by up to 5 %: the scan's start is "
    "read from all slices); its training had the SUV of before.",
    "segment": "Since this model was locked masks whose contours overlap, or that hold shares of voxels, are read otherwise; of a mask of "
    "whole voxels nothing changed.",
}
VOXEL_FACTOR = 2.0  # a voxel twice as long as any in training is another image
VOXEL_FINER = 4.0  # a finer one is scored and flagged: it holds what the coarse one did (docs/model.md, by how much scores move)
VOXEL_NEAR = 1.5
UNKNOWN = "unknown"


def keys(features: set[str]) -> list[str]:
    """Clinical keys that give the inputs ``features``."""
    return [name for name in predictors.CLINICAL if name in features] + (
        [READER_PEAK] if "suv_peak" in features else []
    )


def build(
    imaging: Preprocessing,
    models: dict[str, list[str]],
    masks: Counter[str],
    lesion_sources: Counter[str],
    peak_sources: Counter[str],
    audits: list[dict[str, Any]],
    versions: dict[str, str],
    floored: dict[str, dict[str, list[str]]],
    outcome: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The contract.

    Args:
        imaging: settings of the preprocessing.
        models: inputs of each fitted model.
        masks: where the training prostate masks come from.
        lesion_sources: how many training lesion maps were ``given`` and how many come from the ``watershed``.
        peak_sources: how many training SUVpeaks were the ``reader``'s and how many ``measured``.
        audits: values of the convert records of the training patients.
        versions: of the software that made images and weights.
        floored: what ``floored`` gives; named in the contract only where there is any.
        outcome: what ``learnt`` gives; likewise.
    """
    voxels = [audit["spacing_xyz_mm"] for audit in audits if audit.get("spacing_xyz_mm")]
    lives = sorted({float(audit["half_life_s"]) for audit in audits if audit.get("half_life_s")})
    used = {name for features in models.values() for name in features}
    return {
        "schema": 2,
        "pet": {
            "modality": "PT (DICOM series), or one volume",
            "unit": "SUV by body weight, g/ml; of a DICOM series it is computed, a volume must hold it",
            "voxel_mm": {
                "low": [min(v[i] for v in voxels) for i in range(3)],
                "high": [max(v[i] for v in voxels) for i in range(3)],
                "factor": VOXEL_FACTOR,
                "finer": VOXEL_FINER,
            }
            if voxels
            else None,
            "half_lives_s": lives,
            "tracers": dict(sorted(Counter(_tracer(audit) for audit in audits).items())),
        },
        "prostate": "mask, required",
        "prostate_masks": dict(sorted(masks.items())),
        "lesions": {
            "rule": "given"
            if not lesion_sources["watershed"]
            else "watershed"
            if not lesion_sources["given"]
            else "either",
            "training": {name: lesion_sources[name] for name in ("given", "watershed")},
        },
        "suv_peak": {name: peak_sources[name] for name in ("reader", "measured")},
        "clinical": {
            name: {
                "meaning": COLUMNS[name].meaning,
                "expected": COLUMNS[name].expected,
                "range": list(COLUMNS[name].range or ()) or None,
                "whole": COLUMNS[name].whole,
            }
            for name in keys(used)
        },
        "network": {
            "channels": ["PET in the prostate, SUV scaled to [0, 1] per volume", "lesions, 0 or 1"],
            "shape_zyx": list(imaging.crop.shape),
            "spacing_zyx_mm": list(imaging.crop.spacing_mm),
            "dtype": "float32",
        },
        "imaging": imaging.model_dump(mode="json"),
        "stages": {name: STAGES[name].version for name in USED_STAGES},
        "versions": versions,
        **({"floored": floored} if floored else {}),
        **({"outcome": outcome} if outcome else {}),
    }


def learnt(outcome: Outcome) -> dict[str, Any] | None:
    """What the probability is a probability of: kind, columns, horizon and edges in months, what the outcome is called. None = the
    paper's, metastases on the scan."""
    if outcome.learn == PAPER.learn:
        return None
    aim = outcome.learn
    found: dict[str, Any] = {
        "kind": aim.kind,
        "columns": [*aim.flags, *aim.times],
        "called": outcome.noun(aim),
    }
    if isinstance(aim, ByHorizon):
        found["horizon_months"] = aim.horizon()
        found["competing"] = outcome.called(aim.competing) if aim.competing else None
    if isinstance(aim, TimeToEvent):
        found |= {"edges_months": list(aim.intervals), "loss": aim.loss}
    return found


def require_horizon(contract: dict[str, Any], months: float | None) -> None:
    """Refuse a question by another time than the model answers.

    Raises:
        UsageError: E_MODEL_OUTCOME.
    """
    told = contract.get("outcome") or {}
    if months is None or told.get("horizon_months") == months:
        return
    if "horizon_months" in told:
        gives = f"the risk of {told['called']} within {told['horizon_months']:g} months and by no other time"
    else:
        gives = f"the probability of {told.get('called', 'metastases on the scan')}, which is no risk within a time"
    raise UsageError(
        "E_MODEL_OUTCOME",
        f"The risk within {months:g} months was asked for; the model gives {gives}",
        "the horizon that the model was made for",
        "Leave --horizon out, or take a model of that horizon",
    )


def floored(fused: dict[str, Any]) -> dict[str, dict[str, list[str]]]:
    """Model -> input -> classes (without, with) whose spread is that of all fitted patients together.

    Args:
        fused: naive_bayes.json.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for model, told in fused["models"].items():
        mine = {
            name: [word for word, floor in zip(("without", "with"), entry["floored"], strict=True) if floor]
            for name, entry in told["features"].items()
            if entry.get("floored")
        }
        found |= {model: mine} if mine else {}
    return found


def require_code(contract: dict[str, Any]) -> None:
    """Refuse when this promet computes a step otherwise than the one that made the bundle.

    Raises:
        IntegrityError: E_MODEL_VERSION.
    """
    here = {name: STAGES[name].version if name in STAGES else None for name in contract["stages"]}
    other = sorted(
        name
        for name, number in contract["stages"].items()
        if here[name] != number and not {here[name], number} <= set(SCORES_ALIKE.get(name, ()))
    )
    if other:
        author = contract["versions"].get("promet", "unknown")
        raise IntegrityError(
            "E_MODEL_VERSION",
            f"promet {version('promet')} here computes {', '.join(other)} otherwise than promet {author}, which locked the model",
            f"promet {author}, as it was then",
            "Install that version beside this one",
        )


def since(contract: dict[str, Any]) -> list[str]:
    """What changed in the code since the model was locked and may move a score a little."""
    locked = contract["stages"]
    return [told for name, told in SINCE.items() if name in locked and locked[name] != STAGES[name].version]


def sources(contract: dict[str, Any], given: dict[str, Path]) -> list[str]:
    """Warnings on the sources of a patient (pet, prostate, lesions, ct), after the refusals.

    Raises:
        UsageError: a source is not there, or one is missing that the model needs.
    """
    for name, path in given.items():
        if not path.exists():
            raise UsageError("E_SOURCE_MISSING", f"The {name} source does not exist", "a file or folder")
    for name in ("pet", "prostate"):
        if name not in given:
            raise UsageError("E_SOURCE_NOT_GIVEN", f"No {name} was given", f"--{name} PATH")
    rule = contract["lesions"]["rule"]
    if rule == "given" and "lesions" not in given:
        raise UsageError(
            "E_LESIONS_NOT_GIVEN",
            "No lesion mask was given, and the model was trained on masks drawn by readers only",
            "--lesions PATH; an empty mask says that there is no lesion",
        )
    if rule == "watershed" and "lesions" in given:
        return ["The model was trained on lesions found by the watershed; this lesion mask was given."]
    if rule == "either" and "lesions" not in given:
        told = contract["lesions"]["training"]
        return [
            "No lesion mask was given: the lesions are those of the watershed "
            f"(in training {told.get('given', 0)} given, {told.get('watershed', 0)} by the watershed)."
        ]
    return []


def voxels(limits: dict[str, Any]) -> str:
    """Range of the voxel sizes (x, y, z) in words."""
    pairs = zip(limits["low"], limits["high"], strict=True)
    return " x ".join(f"{low:g}" if low == high else f"{low:g} to {high:g}" for low, high in pairs)


def pet(contract: dict[str, Any], audit: dict[str, Any]) -> list[str]:
    """Warnings on a converted PET, after the refusals.

    Raises:
        DataError: E_PET_SPACING, E_TRACER, E_TRACER_TWO.
    """
    warnings = _voxel_sizes(contract["pet"]["voxel_mm"], audit["spacing_xyz_mm"])
    warnings += tracer(contract, set(audit.get("tracers") or ()))
    lives, life = contract["pet"]["half_lives_s"], audit.get("half_life_s")
    if lives and life and not any(abs(life / known - 1) < 0.02 for known in lives):
        warnings.append("The nuclide of this PET did not occur in training.")
    return warnings


def _voxel_sizes(limits: dict[str, Any] | None, here: list[float]) -> list[str]:
    if not limits:
        return []
    coarser, finer = limits["factor"], limits.get("finer") or limits["factor"]
    ranges = list(zip(here, limits["low"], limits["high"], strict=True))
    said = voxels(limits)
    found = " x ".join(f"{step:g}" for step in here)
    if any(not low / finer <= step <= high * coarser for step, low, high in ranges):
        raise DataError(
            "E_PET_SPACING",
            f"The voxels of the PET have {found} mm (x, y, z)",
            f"at most {coarser:g} times longer or {finer:g} times shorter than in training ({said} mm)",
            "Use a reconstruction like those of the training",
        )
    if any(not low * 0.99 <= step <= high * 1.01 for step, low, high in ranges):
        far = any(not low / VOXEL_NEAR <= step <= high * VOXEL_NEAR for step, low, high in ranges)
        return [
            f"The voxels of the PET have {found} mm; in training they had {said} mm."
            + (
                " That far from training a score moves by itself: docs/model.md says by how much."
                if far
                else ""
            )
        ]
    return []


def tracer(contract: dict[str, Any], names: set[str]) -> list[str]:
    """Warnings on the tracer of a PET, after the refusals.

    Args:
        names: what header or table call it, see promet.imaging.dicom.tracers.

    Raises:
        DataError: E_TRACER of another class than in training, E_TRACER_TWO when two are named.
    """
    from promet.imaging.dicom import tracers

    fitted = set(contract["pet"].get("tracers") or {}) - {UNKNOWN}
    # A contract that holds none is of a model for PSMA PET, as its card says.
    kinds = {tracers.kind(name) for name in fitted} or {tracers.PSMA}
    meant = f"{' or '.join(sorted(kinds))} PET" + (
        f" (in training {', '.join(sorted(fitted))})" if fitted else ""
    )
    other = {name for name in names if tracers.kind(name) not in kinds}
    if names and tracers.doubts(names):
        raise DataError(
            "E_TRACER_TWO",
            f"The header of the PET names two tracers, {tracers.listed(names)}",
            f"one tracer; the model is for {meant}",
            "Find out which was injected and have the header corrected",
        )
    if other:
        raise DataError(
            "E_TRACER",
            f"The PET shows {tracers.listed(other)}",
            meant,
            "The model says nothing about another tracer. If the header is wrong (scanners leave the tracer of a protocol's "
            "default in it), have it corrected",
        )
    if not names:
        return [f"Which tracer the PET shows is not known from its header; the model is for {meant}."]
    if not fitted:
        return [f"The tracer is {tracers.listed(names)}; which one training had is not on record."]
    if not tracers.alike(names, fitted):
        return [
            f"Another tracer of the same class than in training: {tracers.listed(names)} here; the model is for {meant}."
        ]
    return []


def _tracer(audit: dict[str, Any]) -> str:
    return " and ".join(audit.get("tracers") or ()) or UNKNOWN
