"""The answers of a table of new patients in one table, with what a validation needs of that table beside them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from promet.core.files import atomic, read_json
from promet.core.sidecar import Sidecar
from promet.core.words import count
from promet.model.answers import ANSWER, RECORD, forget
from promet.study.forms.tables import MULTIMODAL
from promet.study.table import COLUMNS, Row, by_patient

log = logging.getLogger("promet")
# Of the table: who, and what happened. Nothing else of it goes on.
DESCRIPTION = ("role", "site", "tracer")
OUTCOME = ("synchronous_metastasis", "progression", "months", "died")
BETWEEN = " | "  # of the sentences in one cell


def line(row: Row, record: Path) -> dict[str, Any]:
    """One row of the table of answers; the empty cells of a refused patient are None.

    Args:
        row: of the table of new patients.
        record: predict.json; the answer lies beside it.
    """
    about = Sidecar.read(record)
    answer = read_json(record.with_name(ANSWER)) if about.ok else None
    outcome, faults = _outcome(row)
    described = {name: row[name] if COLUMNS[name].valid(row[name]) else "" for name in DESCRIPTION}
    faults += [_left_out(name) for name in DESCRIPTION if row[name] != described[name]]
    found: dict[str, Any] = {
        "patient": row["patient"],
        **described,
        **outcome,
        "status": about.status,
        "code": about.code,
        "reason": " ".join(about.reason.split()),
    }
    told = faults if answer is None else faults + answer["warnings"] + answer["distribution"]["sentences"]
    image = answer["image"] if answer else {}
    found |= {
        "probability": answer and answer["probability"],
        "probability_note": answer and answer["probability_note"],
        "log_odds": answer and answer["log_odds"],
        "cnn_score": answer and answer["cnn_score"]["value"],
        "inputs_used": answer and answer["inputs_used"],
        "inputs_missing": answer and ", ".join(answer["inputs_missing"]),
        "lesion_source": image.get("lesion_source"),
        "suv_rule": image.get("suv_rule"),
        "tracer_of_header": image.get("tracer"),
        "voxel_mm": " x ".join(f"{step:g}" for step in image.get("voxel_mm") or ()) or None,
        "distance": answer and answer["distribution"]["distance"],
        "unusual": answer and answer["distribution"]["unusual"],
        "warnings": BETWEEN.join(" ".join(sentence.split()) for sentence in told),
        "model": answer and answer["model"]["digest"],
    }
    if answer:
        found |= {f"{name}_group": cut["group"] for name, cut in answer["groups"].items()}
        for name, entry in answer["models"].items():
            if name != MULTIMODAL:
                found |= {
                    f"{name}_probability": entry["probability"],
                    f"{name}_probability_note": entry["note"],
                }
    return found


def _exact(value: float) -> str:
    """The shortest text that is read as the same number: rounded, a probability near 1 would be 1."""
    return repr(float(value)).removesuffix(".0")


def _outcome(row: Row) -> tuple[dict[str, float | None], list[str]]:
    """The outcome as numbers; a cell that is none is left out with a sentence."""
    found: dict[str, float | None] = {}
    faults = []
    for name in OUTCOME:
        valid = COLUMNS[name].valid(row[name])
        found[name] = float(row[name]) if row[name] and valid else None
        if row[name] and not valid:
            faults.append(_left_out(name))
    return found, faults


def _left_out(name: str) -> str:
    return f"{name} of the table is left out; expected {COLUMNS[name].expected}."


def collect(patients: list[str], folder: Path, cohort: Path, out: Path) -> None:
    """Write predictions.parquet and predictions.tsv of the records ``folder``/PATIENT/predict.json.

    The answers of patients who are no longer in the table are deleted.
    """
    import pandas as pd

    rows = by_patient(cohort)
    frame = pd.DataFrame([line(rows[name], folder / name / RECORD) for name in sorted(patients)])
    numbers = [
        *OUTCOME,
        *("probability", "log_odds", "cnn_score", "distance"),
        *(name for name in frame if name.endswith("_probability")),
    ]
    frame = frame.astype({**dict.fromkeys(numbers, "float64"), "inputs_used": "Int64"})
    with atomic(out) as temporary:
        frame.to_parquet(temporary, index=False)
    with atomic(out.with_suffix(".tsv")) as temporary:
        frame.to_csv(temporary, sep="\t", index=False, float_format=_exact)
    gone = forget(Path(out).parent, patients)
    if gone:
        log.info("collect: deleted the answers of %s no longer in the table", count(len(gone), "patient"))
