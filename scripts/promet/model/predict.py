"""Scores a new patient with a bundle: the same code on the same settings as the pipeline, hence the same numbers.

prediction.json, every key always present::

    schema: 1
    statement: what the probability is of; research use only
    model: {study, freeze, digest (of SHA256SUMS), fit}
    log_odds, probability: of the multimodal model
    models: {NAME: {log_odds, probability}}
    groups: see promet.model.thresholds.groups
    inputs: {NAME: {value (null = missing), log_odds (what it adds; 0 when missing or unused), source}}
    cnn_score: {value, reason}          value null: the reason says why
    distribution: see promet.model.distribution.place
    image: {measures, uptake_min, inside_fraction, lesion_source, suv_rule, no_lesion}
    warnings: [sentence, ...]
"""

from __future__ import annotations

import csv
import math
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promet.cohort import registry
from promet.core import checksums
from promet.core.errors import DataError, IntegrityError, UsageError
from promet.core.files import digest_file, read_json, write_json
from promet.core.sidecar import NO_LESION, QUARANTINED, Sidecar
from promet.core.stage import Outcome, run_stage
from promet.core.words import count
from promet.model import card, contract, distribution, pairing, thresholds
from promet.model.bundle import RECORD
from promet.model.settings import Preprocessing

PATIENT = "patient"  # no name of a patient reaches a record or a message
MULTIMODAL = "multimodal"
ANSWER = "prediction.json"
UNCALIBRATED = (
    "The probability is not calibrated: too few men outside of the fit set had the outcome known to compare it with. Its "
    "order means more than its size."
)
NOT_ASKED = "No lesion was found in the prostate: the network is not asked."


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: its folder, the digest of its SHA256SUMS, and its JSON files."""

    folder: Path
    digest: str
    contract: dict[str, Any]
    training: dict[str, Any]
    fusion: dict[str, Any]
    thresholds: dict[str, Any]
    distribution: dict[str, Any]
    metrics: dict[str, Any]


def verify(folder: Path) -> list[tuple[str, str]]:
    """(name, what) of every file of a bundle that is not as it was locked.

    Raises:
        UsageError: the folder is no bundle.
        IntegrityError: its list of checksums is damaged.
    """
    if not (Path(folder) / checksums.NAME).is_file():
        raise UsageError(
            "E_MODEL_MISSING",
            f"There is no locked model in {folder}"
            if Path(folder).is_dir()
            else f"There is no folder {folder}",
            f"the folder that promet run left for a frozen study, results/STUDY/model, or a copy of it, with {checksums.NAME}",
            "Correct the path of the model",
        )
    return checksums.compare(folder, (RECORD,))


def load(folder: Path) -> Bundle:
    """Open a bundle after comparing every file with its checksum.

    Raises:
        UsageError: there is none.
        IntegrityError: it is damaged, or from a promet that computes otherwise.
    """
    faults = verify(folder)
    if faults:
        raise IntegrityError(
            "E_MODEL_CHANGED",
            f"Not as locked: {count(len(faults), 'file')} of the model, the first is {faults[0][0]} ({faults[0][1]})",
            "every file as SHA256SUMS names it",
            "Copy the model again; promet verify MODEL_DIR lists them",
        )
    names = {
        "contract": "configs/contract.json",
        "training": "configs/training.json",
        "fusion": "models/naive_bayes.json",
        "thresholds": "models/thresholds.json",
        "distribution": "models/distribution.json",
        "metrics": "docs/metrics.json",
    }
    parts = {part: read_json(folder / name) for part, name in names.items()}
    contract.require_code(parts["contract"])
    return Bundle(folder, digest_file(folder / checksums.NAME), **parts)


def predict(model: Bundle, sources: dict[str, Path], clinical: Any) -> dict[str, Any]:
    """Score one patient.

    Args:
        model: the bundle.
        sources: pet, prostate, lesions, ct -> file or folder.
        clinical: clinical key -> value or null.

    Returns:
        prediction.json.

    Raises:
        UsageError, DataError: the input is outside the contract; code and sentence say how.
    """
    cells = contract.clinical(model.contract, clinical)
    warnings = contract.sources(model.contract, sources)
    with tempfile.TemporaryDirectory(prefix="promet-") as folder:
        records, tensor = _prepare(model, sources, Path(folder), warnings)
    score = None
    if tensor is not None:
        from promet.network.score import score_tensor

        score = score_tensor(model.folder / "models/model.json", tensor)
    return _fuse(model, cells, records, score, warnings)


def _prepare(
    model: Bundle, sources: dict[str, Path], folder: Path, warnings: list[str]
) -> tuple[dict[str, Sidecar], Any]:
    """Run the imaging stages in ``folder``; gives their records and the tensor, None without a lesion."""
    # Before ITK is loaded: a clinic's table may be scored on many cores, one patient each.
    os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")
    import numpy as np

    from promet.imaging import convert, crop, measure, normalise, segment

    settings = Preprocessing.model_validate(model.contract["imaging"])
    images, place = folder / "images.tsv", folder / PATIENT
    _register(images, sources)
    at = {name: place / f"{name}.json" for name in ("convert", "segment", "crop", "normalise", "measure")}
    records = {"convert": convert.convert(PATIENT, images, at["convert"], "", settings.convert)}
    _require(records["convert"])
    warnings += contract.pet(model.contract, records["convert"].values)
    records["segment"] = segment.run(PATIENT, images, at["segment"], "", settings.segment)
    _require(records["segment"])
    pairing.require(sources, records["segment"], settings.segment.prostate_roi)
    records["crop"] = crop.run(at["crop"], "", settings.crop)
    records["normalise"] = normalise.run(at["normalise"], "", settings.normalise)
    records["measure"] = measure.run(at["measure"], "", settings.measure)
    for record in records.values():
        _require(record)
        warnings += record.warnings
    tensor = records["normalise"].products.get(normalise.PRODUCT)
    return records, np.load(place / normalise.PRODUCT, allow_pickle=False) if tensor else None


def _register(images: Path, sources: dict[str, Path]) -> None:
    with images.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, registry.COLUMNS, delimiter="\t", lineterminator="\n", restval="")
        writer.writeheader()
        for name, path in sources.items():
            writer.writerow({"patient": PATIENT, "source": name, "path": os.path.abspath(path)})


def _require(record: Sidecar) -> None:
    if record.status == QUARANTINED:
        raise DataError(record.code, record.reason)


def _fuse(
    model: Bundle,
    cells: dict[str, str],
    records: dict[str, Sidecar],
    score: float | None,
    warnings: list[str],
) -> dict[str, Any]:
    import pandas as pd

    from promet.fusion import fuse, inputs
    from promet.imaging import gather

    line = gather.row(PATIENT, records)
    scored = [] if score is None else [(PATIENT, line["tensor_digest"], score)]
    scores = pd.DataFrame(scored, columns=["patient", "tensor_digest", "cnn_score"])
    table, more = inputs.gather([{"patient": PATIENT, **cells}], {}, scores, gather.frame([line]))
    fitted, log = fuse.from_record(model.fusion)
    answer = fuse.predict(table, fitted, log).iloc[0]
    main = fitted[MULTIMODAL]
    values = {name: float(table[name].iloc[0]) for name in main.features}
    adds = main.factors(inputs.transform(table, main.features, log))[0]
    source = str(table["suv_peak_source"].iloc[0])
    origin = {"suv_peak": source, "cnn_score": "network"}
    if source and not model.contract["suv_peak"].get(source) and "suv_peak" in values:
        warnings.append(f"suv_peak is {source} here, and never was in training.")
    if not _calibration_known(model.metrics):
        warnings.append(UNCALIBRATED)
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
    image = {name: _number(line.get(name)) for name in distribution.IMAGE}
    uptake = records["convert"].values.get("uptake_s")
    image["uptake_min"] = uptake / 60 if uptake else float("nan")
    return {
        "schema": 1,
        "statement": card.statement(model.training),
        "model": {
            **{name: model.training[name] for name in ("study", "freeze", "fit")},
            "digest": model.digest,
        },
        "log_odds": float(answer[MULTIMODAL]),
        "probability": float(answer[f"{MULTIMODAL}_probability"]),
        "models": {
            name: {
                "log_odds": float(answer[name]),
                "probability": float(answer[f"{name}_probability"]),
            }
            for name in fitted
        },
        "groups": thresholds.groups(model.thresholds, float(answer[MULTIMODAL])),
        "inputs": {
            name: {
                "value": None if name in missing else values[name],
                "log_odds": float(adds[j]),
                "source": origin.get(name, "clinical row"),
            }
            for j, name in enumerate(main.features)
        },
        "cnn_score": {
            "value": score,
            "reason": NOT_ASKED if score is None else "",
        },
        "distribution": distribution.place(values, image, model.distribution),
        "image": {
            "measures": {name: records["measure"].values[name] for name in gather.MEASURES},
            "uptake_min": uptake / 60 if uptake else None,
            "inside_fraction": line["inside_fraction"],
            "lesion_source": records["segment"].values.get("lesion_source"),
            "suv_rule": records["convert"].values.get("rule"),
            "no_lesion": line["status"] == NO_LESION,
        },
        "warnings": warnings + more,
    }


def _calibration_known(metrics: dict[str, Any]) -> bool:
    """Was the multimodal probability compared with outcomes of men the model was not fitted on?"""
    found = metrics["sections"]["synchronous"]["calibration"].get(MULTIMODAL)
    return bool(found) and found["slope"]["value"] is not None


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def run(model: Path, cohort: Path, images: Path, patient: str, out: Path, pin: str) -> Sidecar:
    """Score one patient of a table: prediction.json beside the record ``out``.

    An input outside the contract ends as a record with status quarantined, its code and its sentence; the others go on.
    """
    opened = load(model)

    def work() -> Outcome:
        from promet.fusion.inputs import read_table

        row = next(row for row in read_table(cohort) if row["patient"] == patient)
        cells = {name: row[name] or None for name in opened.contract["clinical"] if name in row}
        try:
            answer = predict(opened, registry.sources(images, patient), cells)
        except UsageError as error:  # in a table it is this patient's fault alone
            raise DataError(error.code, error.found, error.expected, error.remedy) from error
        path = Path(out).with_name(ANSWER)
        write_json(path, answer)
        return Outcome({"prediction": path}, {"model": opened.digest}, answer["warnings"])

    return run_stage("predict", out, pin, work, makes=(ANSWER,), packages=("torch", "SimpleITK", "numpy"))
