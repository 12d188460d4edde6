"""The answers of a table of new patients in one table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from promet.core.files import atomic, read_json
from promet.core.sidecar import Sidecar
from promet.model.predict import ANSWER, MULTIMODAL


def line(patient: str, record: Path) -> dict[str, Any]:
    """One row of the table of answers; the empty cells of a refused patient are None."""
    about = Sidecar.read(record)
    answer = read_json(record.with_name(ANSWER)) if about.ok else None
    row: dict[str, Any] = {
        "patient": patient,
        "status": about.status,
        "code": about.code,
        "reason": about.reason,
        "probability": answer and answer["probability"],
        "log_odds": answer and answer["log_odds"],
        "cnn_score": answer and answer["cnn_score"]["value"],
        "distance": answer and answer["distribution"]["distance"],
        "unusual": answer and answer["distribution"]["unusual"],
        "warnings": answer and " ".join(answer["warnings"] + answer["distribution"]["sentences"]),
        "model": answer and answer["model"]["digest"],
    }
    if answer:
        row |= {f"{name}_group": cut["group"] for name, cut in answer["groups"].items()}
        row |= {
            f"{name}_probability": entry["probability"]
            for name, entry in answer["models"].items()
            if name != MULTIMODAL
        }
    return row


def collect(patients: list[str], folder: Path, out: Path) -> None:
    """Write predictions.parquet and predictions.tsv of the records ``folder``/PATIENT/predict.json."""
    import pandas as pd

    frame = pd.DataFrame([line(name, folder / name / "predict.json") for name in sorted(patients)])
    with atomic(out) as temporary:
        frame.to_parquet(temporary, index=False)
    with atomic(out.with_suffix(".tsv")) as temporary:
        frame.to_csv(temporary, sep="\t", index=False, float_format="%.6g")
