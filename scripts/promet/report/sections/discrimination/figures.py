"""Figures of the discrimination: ROC curves with a band, AUCs of all scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from promet.report import style
from promet.report.calibrated import INTERVALS, preferred, quoted
from promet.report.sections.discrimination import bands
from promet.report.text import fixed, interval, known, level, p_value
from promet.report.words import title_of, unseen

if TYPE_CHECKING:
    from promet.report.read import Split
    from promet.study.forms.metrics import Metrics, Section

BANDED = "multimodal"


def shown(metrics: Metrics | None) -> list[str]:
    """The sections of unseen patients in which any score has an AUC."""
    sections = (metrics or {}).get("sections", {})
    return [
        k
        for k in unseen(metrics)
        if any(known(r["auc"]) for r in (sections.get(k) or {}).get("scores", {}).values())
    ]


def add(made: style.Figures, split: Split, patient_level: bool) -> None:
    """ROC curves and the forest of AUCs, with the intervals that the answer quotes."""
    metrics, keys = split.metrics, shown(split.metrics)
    if not keys or metrics is None:
        return
    told = _told(metrics, keys)
    fig, points = roc(metrics, keys, patient_level)
    ci = level(metrics["confidence"])
    made.add(
        "roc",
        fig,
        f"ROC curves. In the legend AUC with its {ci} interval (the kind that holds best at this size) and the patients who have the score. Band: pointwise {ci} bootstrap "
        f"interval of the multimodal sensitivity (it has no width where the curve is at 0 or 1); grey diagonal: chance.",
        f"ROC curves. {told}",
        points,
    )
    made.add(
        "forest",
        forest(metrics, keys),
        f"AUC of every score with its {ci} interval, of the kind that holds best in a cohort of this size; grey line: chance. "
        "A score that separates the patients perfectly has no interval.",
        f"AUCs with intervals. {told}",
    )


def _told(metrics: Metrics, keys: list[str]) -> str:
    told = []
    for key in keys:
        scores = metrics["sections"][key]["scores"]
        each = [f"{title_of(metrics, n)} {fixed(scores[n]['auc'])}" for n in metrics["order"] if n in scores]
        told.append(f"{metrics['sections'][key]['title']}: {', '.join(each)}.")
    return " ".join(told)


def roc(metrics: Metrics, keys: list[str], thresholds: bool) -> tuple[Figure, list[style.Point]]:
    """One panel per section, a curve per score, n and AUC with interval in the legend; and the corners of the curves.

    ``thresholds``: a corner's threshold is the value of a single patient, and told only when single patients are shown.
    """
    rows = max(sum(n in metrics["sections"][k]["scores"] for n in metrics["order"]) for k in keys)
    below = (
        0.55 + 0.155 * (rows + 1) if len(keys) > 1 else 0.45
    )  # inches under a panel of 3 x 3: axis, legend
    lines, columns = style.in_rows(len(keys))
    each = 3.0 + 0.45 + below
    fig = style.figure(each * lines)
    fig.set_layout_engine("none")
    height = fig.get_figheight()
    points: list[style.Point] = []
    for place, key in enumerate(keys):
        line, column = divmod(place, columns)
        x, y = 0.5 + 3.55 * column, below + each * (lines - 1 - line)
        axes = fig.add_axes((x / style.WIDTH, y / height, 3 / style.WIDTH, 3 / height))
        points += curves(axes, metrics, key, metrics["order"], thresholds)
        handles, labels = axes.get_legend_handles_labels()
        where = {"loc": "upper left", "bbox_to_anchor": (-0.05, -0.14)}
        if len(keys) == 1:
            where = {"loc": "center left", "bbox_to_anchor": (1.05, 0.5)}
        head = f"Score, AUC ({kind(metrics, key)}), n"
        axes.legend(handles[::-1], labels[::-1], title=head, alignment="left", **where)
        if len(keys) > 1:
            style.letter(axes, place)
    return fig, points


def curves(
    axes: Axes, metrics: Metrics, key: str, names: list[str], thresholds: bool = False
) -> list[style.Point]:
    """The ROC curves of some scores in one section, the band of the multimodal one; returns their corners."""
    section, points = metrics["sections"][key], []
    axes.plot([0, 1], [0, 1], color=style.LIGHT, linewidth=0.8)
    for name in reversed(names):
        record = section["scores"].get(name)
        if record is None or not known(record["auc"]):
            continue
        title, curve = title_of(metrics, name), record["roc"]
        drawn = style.score_style(name)
        if name == BANDED:
            low, high = bands.sensitivity(
                curve, record["positives"], record["negatives"], metrics["confidence"]
            )
            axes.fill_between(bands.GRID, low, high, color=str(drawn["color"]), alpha=0.13, linewidth=0)
        label = f"{title}  {fixed(record['auc'])} ({bounds(section, name)}), n = {record['n']}"
        axes.plot(curve["fpr"], curve["tpr"], label=label, **drawn)
        for x, y, cut in zip(curve["fpr"], curve["tpr"], curve["threshold"], strict=True):
            at = f", threshold {fixed(cut)}" if thresholds and known(cut) else ""
            points.append((axes, x, y, f"{title}: sensitivity {fixed(y)}, specificity {fixed(1 - x)}{at}"))
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel="1 − specificity", ylabel="Sensitivity")
    axes.set_title(f"{section['title']}\nn = {section['n']}, {section['positives']} with the outcome")
    return points


def kind(metrics: Metrics, key: str) -> str:
    """``95 % CI, logit-DeLong``: the interval shown in a section."""
    return f"{level(metrics['confidence'])} CI, {INTERVALS[preferred(metrics['sections'][key])]}"


def bounds(section: Section, name: str) -> str:
    """``0.71 to 0.99``, or that there is no interval."""
    low, high = quoted(section, name)
    return interval(low, high) if known(low) or known(high) else "no interval"


def forest(metrics: Metrics, keys: list[str]) -> Figure:
    """AUCs with intervals, one row per score, one panel per section."""
    names = [n for n in metrics["order"] if any(n in metrics["sections"][k]["scores"] for k in keys)]
    lines, columns = style.in_rows(len(keys))
    fig = style.figure((0.9 + 0.27 * len(names)) * lines)
    for place, key in enumerate(keys):
        axes = fig.add_subplot(lines, columns, place + 1)
        areas(axes, metrics, key, names, labelled=place % columns == 0)
        if len(keys) > 1:
            style.letter(axes, place)
    return fig


def areas(
    axes: Axes,
    metrics: Metrics,
    key: str,
    names: list[str],
    labelled: bool = True,
    tests: bool = False,
) -> None:
    """A row per score: AUC, interval, n, and the Mann-Whitney p against 0.5 when ``tests``."""
    section = metrics["sections"][key]
    for row, name in enumerate(names):
        record = section["scores"].get(name)
        y = len(names) - 1 - row
        if record is None or not known(record["auc"]):
            axes.text(1.04, y, "not available", va="center", fontsize=6.5, color=style.GREY)
            continue
        colour = style.score_style(name)["color"]
        low, high = quoted(section, name)
        if known(low):
            axes.plot([low, high], [y, y], color=colour, linewidth=1.6, solid_capstyle="butt")
        axes.plot([record["auc"]], [y], "s", color=colour, markersize=4.5, markeredgewidth=0)
        told = f"{fixed(record['auc'])} ({bounds(section, name)})"
        told += f", {p_value(record['mann_whitney']['p'])}" if tests else f", n = {record['n']}"
        axes.text(1.04, y, told, va="center", fontsize=6.5)
    axes.axvline(0.5, color=style.LIGHT, linewidth=0.8, zorder=0)
    axes.set(xlim=(0, 1), ylim=(-0.6, len(names) - 0.4), xlabel=f"AUC ({kind(metrics, key)})")
    axes.set_yticks(range(len(names)), [title_of(metrics, n) for n in reversed(names)] if labelled else [])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_title(f"{section['title']}\nn = {section['n']}, {section['positives']} with the outcome")
