"""Scores a new patient with a bundle: the same code on the same settings as the pipeline, hence the same numbers.

prediction.json, every key always present::

    schema: 2
    statement: what the probability is of; research use only
    model: {study, freeze, digest (of SHA256SUMS), compared (with a digest received separately), fit}
    log_odds, probability: of the multimodal model; probability_note: what speaks against its size, or ''
    models: {NAME: {log_odds, probability, note}}
    groups: see promet.model.certain.groups; group null = withheld, since a missing input could change it
    inputs: {NAME: {value (null = missing), log_odds (what it adds; 0 when missing or unused), source}}
    inputs_used: number of inputs that are known, inputs_missing: [NAME, ...]
    cnn_score: {value, reason}          value null: the reason says why
    distribution: see promet.model.distribution.place
    image: {measures, uptake_min, inside_fraction, lesion_source, suv_rule, tracer, voxel_mm (x, y, z), no_lesion, scale}
    warnings: [sentence, ...]
"""

from __future__ import annotations

import csv
import math
import os
import tempfile
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from promet.core.errors import DataError, IntegrityError, UsageError
from promet.core.files import write_json
from promet.core.sidecar import NO_LESION, QUARANTINED, Sidecar
from promet.core.stage import Outcome, run_stage
from promet.core.words import count
from promet.model import (
    calibrated,
    card,
    certain,
    clinical,
    contract,
    distribution,
    parts,
    scale,
    update,
    wording,
)
from promet.model.answers import ANSWER, SCHEMA, require_same_model
from promet.model.opened import Bundle, load, verify
from promet.model.settings import Preprocessing
from promet.study import registry
from promet.study.forms.tables import MEASURES, MULTIMODAL
from promet.study.table import by_patient
from promet.workflow.stages import STAGES

__all__ = ["Bundle", "load", "predict", "run", "verify"]

PATIENT = "patient"  # no name of a patient reaches a record or a message
NOT_ASKED = "No lesion was found in the prostate: the network is not asked."


def predict(model: Bundle, sources: dict[str, Path], row: Any, tracer: str = "") -> dict[str, Any]:
    """Score one patient.

    Args:
        model: the bundle.
        sources: pet, prostate, lesions, ct -> file or folder.
        row: clinical key -> value or null.
        tracer: the word of a table for it, '' where there is none.

    Returns:
        prediction.json.

    Raises:
        UsageError, DataError: the input is outside the contract; code and sentence say how.
        IntegrityError: the weights cannot be read.
    """
    cells = clinical.values(model.contract, row)
    warnings = contract.since(model.contract) + contract.sources(model.contract, sources)
    return _answer(model, sources, cells, warnings, judged=True, tracer=tracer)


def score_files(model: Bundle, sources: dict[str, Path], row: dict[str, float]) -> dict[str, Any]:
    """``predict`` without asking whether the images are like those of training; for the reference case."""
    return _answer(model, sources, {name: f"{value:.12g}" for name, value in row.items()}, [], judged=False)


def _answer(
    model: Bundle,
    sources: dict[str, Path],
    cells: dict[str, str],
    warnings: list[str],
    judged: bool,
    tracer: str = "",
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="promet-") as folder:
        records, tensor, seen = _prepare(model, sources, Path(folder), warnings, judged, tracer)
    return _fuse(model, cells, records, seen, None if tensor is None else _score(model, tensor), warnings)


def _score(model: Bundle, tensor: Any) -> float:
    from promet.network.score import score_tensor

    try:
        return score_tensor(model.folder / "models/model.json", tensor)
    except IntegrityError as error:
        raise IntegrityError(error.code, error.found, error.expected, parts.AGAIN) from error
    except UsageError as error:  # a network that this promet does not have
        raise parts.unknown_value("models/model.json", error.found, model.contract) from error
    except ValidationError as error:
        raise parts.misfit("models/model.json", error, model.contract) from None
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise parts.broken("models/model.json", "the network") from error
    except Exception as error:  # safetensors and torch have errors of their own for weights that do not fit
        if type(error).__name__ == "SafetensorError" or "loading state_dict" in str(error):
            raise parts.broken("models/model.safetensors", "the weights") from error
        raise


def _prepare(
    model: Bundle, sources: dict[str, Path], folder: Path, warnings: list[str], judged: bool, tracer: str
) -> tuple[dict[str, Sidecar], Any, dict[str, float | None]]:
    """Run the imaging stages in ``folder``; gives their records, the tensor (None without a lesion), what tells the scale."""
    # Before ITK is loaded: a clinic's table may be scored on many cores, one patient each.
    os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")
    import numpy as np

    from promet.imaging import around, convert, segment
    from promet.imaging.normalise import PRODUCT

    settings = Preprocessing.model_validate(model.contract["imaging"])
    if (
        not judged
    ):  # the masks of the reference case hold one structure each, whatever the training's were called
        unnamed = settings.segment.model_copy(update={"prostate_roi": "label=1", "lesions_roi": "label=1"})
        settings = settings.model_copy(update={"segment": unnamed})
    images, place = folder / "images.tsv", folder / PATIENT
    _register(images, sources)
    at = {name: place / f"{name}.json" for name in contract.IMAGING}
    records = {
        "convert": convert.run(convert.Inputs(PATIENT, images, tracer), settings.convert, at["convert"], "")
    }
    _require(records["convert"])
    made = records["convert"].values
    if judged:
        warnings += contract.pet(model.contract, made)
    records["segment"] = segment.run(
        segment.Inputs(place, PATIENT, images), settings.segment, at["segment"], ""
    )
    _require(records["segment"])
    seen = around.measure(place)
    if judged:
        warnings += scale.judge(seen, model.distribution["image"], made.get("rule") == convert.GIVEN)
    for stage in contract.IMAGING:  # the others read what these two left
        if stage not in records:
            run_it = import_module(STAGES[stage].entry).run
            records[stage] = run_it(place, getattr(settings, stage), at[stage], "")
    if judged and records["measure"].status != QUARANTINED:
        scale.prostate(records["measure"].values["organ_ml"], model.distribution["image"])
    for record in records.values():
        _require(record)
        warnings += record.warnings
    tensor = records["normalise"].products.get(PRODUCT)
    return records, np.load(place / PRODUCT, allow_pickle=False) if tensor else None, seen


def _register(images: Path, sources: dict[str, Path]) -> None:
    with images.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, registry.COLUMNS, delimiter="\t", lineterminator="\n", restval="")
        writer.writeheader()
        for name, path in sources.items():
            writer.writerow({"patient": PATIENT, "source": name, "path": os.path.abspath(path)})


def _require(record: Sidecar) -> None:
    if record.status == QUARANTINED:
        raise wording.here(record.error or DataError(record.code, record.reason))


def _fuse(
    model: Bundle,
    cells: dict[str, str],
    records: dict[str, Sidecar],
    seen: dict[str, float | None],
    score: float | None,
    warnings: list[str],
) -> dict[str, Any]:
    import pandas as pd

    from promet.fusion import fuse, predictors
    from promet.imaging import gather
    from promet.imaging.dicom import tracers

    line = gather.row(PATIENT, records)
    scored = [] if score is None else [(PATIENT, line["tensor_digest"], score)]
    scores = pd.DataFrame(scored, columns=["patient", "tensor_digest", "cnn_score"])
    table, more = predictors.gather([{"patient": PATIENT, **cells}], {}, scores, gather.frame([line]))
    fitted, log = fuse.from_record(model.fusion)
    answer = fuse.predict(table, fitted, log).iloc[0]
    main = fitted[MULTIMODAL]
    values = {name: float(table[name].iloc[0]) for name in main.features}
    adds = main.factors(predictors.transform(table, main.features, log))[0]
    source = str(table["suv_peak_source"].iloc[0])
    origin = {"suv_peak": source, "cnn_score": "network"}
    if source and not model.contract["suv_peak"].get(source) and "suv_peak" in values:
        warnings.append(f"suv_peak is {source} here, and never was in training.")
    notes = {name: calibrated.note(model.metrics, name) for name in fitted}
    log_odds = float(answer[MULTIMODAL])
    after = _updated(model, dict(zip(main.features, adds.tolist(), strict=True)), log_odds, notes)
    if notes[MULTIMODAL]:
        warnings.append(f"The probability is {notes[MULTIMODAL]}.")
    missing = [name for name, value in values.items() if math.isnan(value)]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        warnings.append(
            f"{len(missing)} of {count(len(values), 'input')} {verb} missing: {', '.join(missing)}."
        )
    warnings += [
        f"The density of {name} was fitted on few or nearly equal values ({main.seen[j, 1]} with, {main.seen[j, 0]} without the "
        "outcome): its spread is that of all fitted patients together."
        for j, name in enumerate(main.features)
        if main.floored[j].any() and name not in missing
    ]
    groups = certain.groups(model.thresholds, model.contract, main, log, log_odds, missing)
    warnings += [f"Group {name} {cut['reason']}." for name, cut in groups.items() if cut["group"] is None]
    image = {name: _number(seen.get(name, line.get(name))) for name in distribution.IMAGE}
    made = records["convert"].values
    uptake = made.get("uptake_s")
    image["uptake_min"] = uptake / 60 if uptake else float("nan")
    return {
        "schema": SCHEMA,
        "statement": card.statement(model.training, model.contract.get("outcome")),
        **({"outcome": told} if (told := model.contract.get("outcome")) else {}),
        "model": {
            **{name: model.training[name] for name in ("study", "freeze", "fit")},
            "digest": model.digest,
            "compared": model.compared,
        },
        "log_odds": log_odds,
        "probability": float(answer[f"{MULTIMODAL}_probability"]),
        **after,
        "probability_note": notes[MULTIMODAL],
        "models": {
            name: {
                "log_odds": float(answer[name]),
                "probability": float(answer[f"{name}_probability"]),
                "note": notes[name],
            }
            for name in fitted
        },
        "groups": groups,
        "inputs": {
            name: {
                "value": None if name in missing else values[name],
                "log_odds": float(adds[j]),
                "source": origin.get(name, "clinical row"),
            }
            for j, name in enumerate(main.features)
        },
        "inputs_used": len(values) - len(missing),
        "inputs_missing": missing,
        "cnn_score": {
            "value": score,
            "reason": NOT_ASKED if score is None else "",
        },
        "distribution": distribution.place(values, image, model.distribution),
        "image": {
            "measures": {name: records["measure"].values[name] for name in MEASURES},
            "uptake_min": uptake / 60 if uptake else None,
            "inside_fraction": line["inside_fraction"],
            "lesion_source": records["segment"].values.get("lesion_source"),
            "suv_rule": made.get("rule"),
            "tracer": tracers.listed(set(made.get("tracers") or ())),
            "scale": seen,
            "voxel_mm": made.get("spacing_xyz_mm"),
            "no_lesion": line["status"] == NO_LESION,
        },
        "warnings": warnings + more,
    }


def _updated(model: Bundle, adds: dict[str, float], before: float, notes: dict[str, str]) -> dict[str, Any]:
    """Log-odds and probability of a child, and what they were before its update; nothing of a model as it was locked."""
    told = model.update
    if told is None:
        return {}
    odds = update.log_odds(told, adds)
    notes[MULTIMODAL] = (
        f"of the model as updated ({told['choice']}) at {told['site']} on {count(told['n'], 'patient')}, {told['events']} with the event; "
        "how right it is elsewhere is not known"
    )
    return {
        "log_odds": odds,
        "probability": 1 / (1 + math.exp(-min(max(odds, -700.0), 700.0))),
        "update": {
            **{name: told[name] for name in ("parent", "site", "choice")},
            "log_odds": before,
            "probability": 1 / (1 + math.exp(-min(max(before, -700.0), 700.0))),
        },
    }


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


@dataclass(frozen=True)
class Inputs:
    """What this stage reads."""

    model: Path  # folder of the locked model
    cohort: Path  # table of new patients (TSV)
    images: Path  # images.tsv
    patient: str
    digest: str | None = None  # the model's, as it was received separately


def run(inputs: Inputs, settings: None, out: Path, pin: str) -> Sidecar:
    """Score one patient of a table: prediction.json beside the record ``out``.

    An input outside the contract ends as a record with status quarantined, its code and its sentence; the others go on.

    Raises:
        IntegrityError: the model is damaged, or not the one with ``digest``.
        UsageError: E_OUT_OTHER_MODEL, an answer of another model lies there.
    """
    opened = load(inputs.model, inputs.digest)
    path = out.with_name(ANSWER)
    require_same_model(path, opened.digest)

    def work() -> Outcome:
        row = by_patient(inputs.cohort)[inputs.patient]
        try:
            cells, told = clinical.of_table(opened.contract, row)
            tracer = row["tracer"]
            answer = predict(opened, registry.sources(inputs.images, inputs.patient), cells, tracer)
            answer["warnings"] = told + answer["warnings"]
        except (UsageError, DataError) as error:  # in a table it is this patient's fault alone
            raise wording.here(error) from error
        write_json(path, answer)
        return Outcome({"prediction": path}, {"model": opened.digest}, answer["warnings"])

    return run_stage("predict", out, pin, work, makes=(ANSWER,), packages=("torch", "SimpleITK", "numpy"))
