"""Tables of calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from promet.report.calibrated import benefit, ordered, unusable
from promet.report.table import Table
from promet.report.text import DASH, NBSP, fixed, interval, known, level
from promet.report.words import analysed, notes, notes_of, title_of

if TYPE_CHECKING:
    from promet.study.forms.metrics import Metrics

STAGES = {"before": "as fitted", "after": "recalibrated"}


def context(metrics: Metrics | None) -> dict[str, Any]:
    """What the section shows besides its figures."""
    titles = {name: title_of(metrics, name) for name in (metrics or {}).get("order", [])}
    unseen = analysed(metrics, seen=False)
    return {
        "calibration": [t for k in unseen if (t := calibration(metrics, k))],
        "unusable": unusable(metrics or {}, titles),
        "benefit": [s for k in unseen for s in benefit(metrics["sections"][k], titles)],
    }


def calibration(metrics: Metrics, key: str) -> Table | None:
    """Intercept, slope, E/O, Brier score and ICI of every model's probabilities in one section."""
    section = metrics["sections"].get(key) or {}
    models = section.get("calibration") or {}
    rows, told = [], []
    for name in ordered(models):
        for stage, said in STAGES.items():
            record = models[name].get(stage)
            if record is None:
                continue
            ratio = record["expected_observed"]
            scaled = f" ({fixed(record['brier_scaled'])})" if known(record["brier_scaled"]) else ""
            rows.append(
                [
                    f"{title_of(metrics, name)}, {said}",
                    f"{record['n']} ({record['positives']}/{record['negatives']})",
                    _bounded(record["intercept"]),
                    _bounded(record["slope"]),
                    _bounded({"value": ratio["ratio"], **ratio}),
                    fixed(record["brier"], 3) + scaled,
                    fixed(record["ici"], 3),
                ]
            )
            told += [(rows[-1][0], note) for note in notes(record)]
    if not rows:
        return None
    head = [
        "Probabilities",
        "n (with/without)",
        "Intercept",
        "Slope",
        "Expected/observed",
        "Brier score (scaled)",
        "ICI",
    ]
    caption = (
        f"{section['title']}: calibration, with {level(metrics['confidence'])} intervals. Right: intercept 0, slope 1, "
        "expected/observed 1, ICI 0; Brier score: lower is better, scaled: 1 perfect, 0 no better than the share with the outcome. "
        "Brier score and ICI come without interval."
    )
    return Table(caption, head, rows, [*_joined(told, len(rows)), *notes_of(section)[1]])


def _bounded(record: dict[str, Any]) -> str:
    if not known(record["value"]):
        return DASH
    bounds = interval(record["low"], record["high"]).replace(" ", NBSP)  # breaks before the bracket only
    return fixed(record["value"]) + (f" ({bounds})" if bounds != DASH else "")


def _joined(told: list[tuple[str, str]], rows: int) -> list[str]:
    """Notes, each once; one that holds for some rows only names them."""
    found = []
    for note in dict.fromkeys(note for _, note in told):
        whose = list(dict.fromkeys(who for who, other in told if other == note))
        found.append(note if len(whose) == rows else f"{'; '.join(whose)}: {note}")
    return found
