"""The seven inputs of the fusion, gathered from the cohort table, the ledger, the scores and the measures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from promet.core.errors import IntegrityError, UsageError
from promet.core.sidecar import QUARANTINED
from promet.core.words import count
from promet.fusion.settings import INPUTS
from promet.study.ledger import PROSPECTIVE
from promet.study.outcome import SYNCHRONOUS, Binary, ByHorizon, label, status
from promet.study.table import number

if TYPE_CHECKING:
    import pandas as pd

# Clinical inputs and the column of the cohort table each is read from.
CLINICAL = ("psa", "grade_group", "positive_cores_percent", "primary_score", "psma_expression")


def gather(
    cohort: Iterable[dict[str, str]],
    part_of: dict[str, str],
    scores: pd.DataFrame,
    measures: pd.DataFrame,
    first: dict[str, str] | None = None,
    learn: Binary | ByHorizon = SYNCHRONOUS,
) -> tuple[pd.DataFrame, list[str]]:
    """One row per patient that is not quarantined, sorted by patient, with the raw inputs.

    Columns: patient, part (``prospective`` when ``part_of`` does not know the patient), label
    (what is learnt, at its horizon where it has one; NaN unknown), the seven inputs as float64 (NaN = missing), and
    suv_peak_source: ``reader`` (column suv_peak_reader), ``measured`` (column suv_peak of the
    measures) or empty. PRIMARY and PSMA expression are the reader's columns, nothing else. Of an outcome over time
    also its time and event (0 = left without, 1, 2 = a competing one), after the label.

    Args:
        cohort: rows of the cohort table (study.table.read).
        part_of: patient -> part as it counts now (study.parts.of_study).
        scores: patient, tensor_digest, cnn_score (logit).
        measures: gathered table: patient, status, tensor_digest, suv_peak, ...
        first: name -> name of the assignment, of those who were renamed: the rows are sorted by it.
        learn: what is learnt (study.outcome).

    Returns:
        The table and the warnings.

    Raises:
        IntegrityError: a score is missing or belongs to another tensor than the gathered one.
    """
    import pandas as pd

    measured = {row["patient"]: row for row in measures.to_dict("records")}
    scored = {row["patient"]: row for row in scores.to_dict("records")}
    rows, quarantined, unknown = [], 0, 0
    names = first or {}
    for given in sorted(cohort, key=lambda row: names.get(row["patient"], row["patient"])):
        patient = given["patient"]
        image = measured.get(patient)
        if image is None or image.get("status") == QUARANTINED:
            unknown += image is None
            quarantined += image is not None
            continue
        row = {
            "patient": patient,
            "part": part_of.get(patient, PROSPECTIVE),
            "label": label(given, learn),
            **(status(given, learn)._asdict() if isinstance(learn, ByHorizon) else {}),
            "cnn_score": _cnn_score(patient, image, scored.get(patient)),
            **{name: number(given, name) for name in CLINICAL},
        }
        reader, own = number(given, "suv_peak_reader"), _float(image.get("suv_peak"))
        row["suv_peak"] = own if math.isnan(reader) else reader
        row["suv_peak_source"] = (
            "reader" if not math.isnan(reader) else "measured" if not math.isnan(own) else ""
        )
        rows.append(row)
    warnings = []
    if quarantined:
        warnings.append(f"{count(quarantined, 'quarantined patient')} without a prediction.")
    if unknown:
        warnings.append(
            f"{count(unknown, 'patient')} of the cohort table without an imaging record: no prediction."
        )
    followed = ["time", "event"] if isinstance(learn, ByHorizon) else []
    columns = ["patient", "part", "label", *followed, *INPUTS, "suv_peak_source"]
    numbers = ["label", *followed, *INPUTS]
    table = pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(numbers, "float64"))
    sources = set(table["suv_peak_source"]) - {""}
    if len(sources) > 1:
        warnings.append(
            f"suv_peak comes from the reader in {(table['suv_peak_source'] == 'reader').sum()} patients and is "
            f"measured in {(table['suv_peak_source'] == 'measured').sum()}: two sources of one input."
        )
    return table, warnings


def transform(table: pd.DataFrame, inputs: Sequence[str], log: Iterable[str]) -> np.ndarray:
    """Matrix (patients, inputs) as the model sees it: natural logarithm of the inputs named in ``log``.

    Raises:
        UsageError: a value to be logged is zero or negative.
    """
    values = table[list(inputs)].to_numpy("float64", copy=True)
    for j, name in enumerate(inputs):
        if name not in set(log):
            continue
        bad = np.flatnonzero(values[:, j] <= 0)
        if len(bad):
            raise UsageError(
                "E_INPUT_NOT_POSITIVE",
                f"{name} of patient {table['patient'].iloc[bad[0]]} is zero or negative",
                "a positive number, since its logarithm is used, or an empty cell",
                f"Correct the table, or take {name} out of fusion.log",
            )
        values[:, j] = np.log(values[:, j])
    return values


def _cnn_score(patient: str, image: dict, scored: dict | None) -> float:
    digest = image.get("tensor_digest")
    has_tensor = isinstance(digest, str) and digest != ""
    if scored is None:
        if has_tensor:
            raise IntegrityError(
                "E_SCORE_MISSING",
                f"Patient {patient} has a tensor but no CNN score",
                "a score for every tensor",
                "Run the score stage again",
            )
        return math.nan
    if has_tensor and scored.get("tensor_digest") not in (None, digest):
        raise IntegrityError(
            "E_SCORE_STALE",
            f"The CNN score of patient {patient} belongs to another tensor than the gathered one",
            "scores of the current tensors",
            "Run the score stage again",
        )
    return _float(scored["cnn_score"]) if has_tensor else math.nan


def _float(value: object) -> float:
    return math.nan if value is None else float(value)  # type: ignore[arg-type]
