"""What the report's own sections show of a hospital's answers: metrics.json and survival.json of these patients, kept at home."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from promet.core.files import read_json
from promet.core.sidecar import Sidecar
from promet.evaluation import evaluate, survive
from promet.evaluation.settings import Evaluation
from promet.model.answers import ANSWER, RECORD
from promet.model.parts import MULTIMODAL
from promet.study.forms.metrics import Metrics
from promet.study.forms.survival import Survival
from promet.study.outcome import PAPER, Outcome
from promet.study.table import Row

if TYPE_CHECKING:
    import pandas as pd


def read(
    answers: Path, rows: Sequence[Row], site: str, settings: Evaluation, outcome: Outcome = PAPER
) -> tuple[Metrics, Survival]:
    """The evaluation of everyone with an answer, by the functions of a study.

    Who has a label of the scan counts there, everyone in role metachronous by later progression; of a model that learnt
    another ``outcome`` everyone counts by that.
    """
    predictions, measures = _tables(answers, rows)
    if outcome != PAPER:
        predictions["part"] = "test"
    cohort = {row["patient"]: row for row in rows}
    metrics, _ = evaluate.study(cohort, predictions, measures, settings, outcome)
    for key, section in metrics["sections"].items():
        section["title"] = f"{section['title'].split(',')[0]}, {site}"
        section["seen"] = False
        if key not in outcome.aims:  # fitted on elsewhere, or who came later
            section["status"], section["scores"] = "empty", {}
    scores = {
        name: (part, score)
        for name, part, score in zip(
            predictions["patient"], predictions["part"], predictions[MULTIMODAL], strict=True
        )
    }
    return metrics, survive.study(cohort, scores, settings, outcome)


def _tables(answers: Path, rows: Sequence[Row]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """predictions and measures as the stages fuse and gather write them."""
    import pandas as pd

    found, measured = [], []
    for row in rows:
        folder = answers / "patients" / row["patient"]
        if not Sidecar.read(folder / RECORD).ok:
            continue
        answer = read_json(folder / ANSWER)
        values = {name: entry["value"] for name, entry in answer["inputs"].items()}
        found.append(
            {
                "patient": row["patient"],
                "part": "metachronous" if row["role"] == "metachronous" else "test",
                "cnn_score": answer["cnn_score"]["value"],
                "suv_peak": answer["image"]["measures"].get("suv_peak"),
                "psa": values.get("psa"),
                **{name: entry["log_odds"] for name, entry in answer["models"].items()},
                **{f"{name}_probability": entry["probability"] for name, entry in answer["models"].items()},
                MULTIMODAL: answer["log_odds"],
                f"{MULTIMODAL}_probability": answer["probability"],
            }
        )
        measured.append({"patient": row["patient"], **answer["image"]["measures"]})
    names = ["patient", "part", "cnn_score", "suv_peak", "psa", MULTIMODAL, f"{MULTIMODAL}_probability"]
    table = pd.DataFrame(found, columns=list(dict.fromkeys([*names, *(key for one in found for key in one)])))
    numbers = {name: "float64" for name in table if name not in ("patient", "part")}
    return table.astype(numbers).fillna(math.nan), pd.DataFrame(
        measured, columns=None if measured else ["patient"]
    )
