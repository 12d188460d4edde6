"""Tables of the repeated splits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from promet.report.table import Table
from promet.report.text import fixed, interval, level, p_value
from promet.report.words import primary, title_of, unseen

if TYPE_CHECKING:
    from promet.report.read import Split, Study
    from promet.study.forms.metrics import Metrics


def context(study: Study, split: Split) -> dict[str, Any]:
    """What the section shows besides its figures."""
    return {
        "pooled": [t for key in unseen(split.metrics) if (t := pooled(study, split, key))],
        "splits": splits(study),
    }


def pooled(study: Study, split: Split, key: str) -> Table | None:
    """The AUCs of all splits together in one section."""
    told = study.pooled
    section = ((told or {}).get("sections") or {}).get(key)
    if not told or told["splits"] < 2 or not section or not section["scores"]:
        return None
    rows = []
    for name in told["order"]:
        record = section["scores"].get(name)
        if record is None or not record["n"]:
            continue
        other = section["differences"].get(name) or {}
        rows.append(
            [
                title_of(split.metrics, name),
                str(record["n"]),
                fixed(record["mean"], 3),
                fixed(record["sd"], 3),
                interval(record["smallest"], record["largest"]),
                interval(record["low"], record["high"]),
                p_value(record["p"], ""),
                fixed(other.get("mean"), 3),
                interval(other.get("low"), other.get("high")),
                p_value(other.get("p"), ""),
            ]
        )
    ci = level(told["confidence"])
    head = [
        "Score", "Splits", "Mean AUC", "SD", "Range", f"{ci} CI", "p", "Multimodal less this", f"{ci} CI", "p",
    ]  # fmt: skip
    how = {
        "corrected": "Intervals corrected for the patients that the splits share (Nadeau & Bengio).",
        "fixed": "The same patients in every split: intervals join their uncertainty and that of the models.",
    }[section["method"]]
    return Table(
        f"{section['title']}: {told['splits']} splits together. {how}",
        head,
        rows,
        section["notes"],
        compact=True,
    )


def _where(metrics: Metrics | None, key: str) -> str:
    if key == primary(metrics):
        return "Test"
    if key == (metrics or {}).get("later", "metachronous"):
        return "Metachronous"
    return metrics["sections"][key]["title"] if metrics else key


def splits(study: Study) -> Table | None:
    """The same AUCs in every split."""
    if len(study.splits) < 2:
        return None
    rows = []
    metrics = study.splits[0].metrics
    keys = unseen(metrics) if metrics else ["synchronous", "metachronous"]
    for split in study.splits:
        cells = [split.number, fixed(split.values("select").get("validation_auc"))]
        for key in keys:
            scores = ((split.metrics or {}).get("sections", {}).get(key) or {}).get("scores", {})
            cells += [
                fixed((scores.get(name) or {}).get("auc")) for name in ("multimodal", "cnn_score", "clinical")
            ]
        rows.append(cells)
    names = [f"{_where(metrics, key)}: {name}" for key in keys for name in ("multimodal", "CNN", "clinical")]
    return Table(
        "AUCs in every split.",
        ["Split", f"Validation {study.splits[0].word}", *names],
        rows,
        [
            "The metachronous patients are the same in every split; the page shows the first split."
            if study.splits[0].later
            else "The page shows the first split."
        ],
    )
