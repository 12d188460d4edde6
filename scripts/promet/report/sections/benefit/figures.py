"""Figures of the probabilities: calibration before and after recalibration, decision curves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from promet.core.words import count
from promet.report import style
from promet.report.calibrated import benefit, ordered
from promet.report.text import fixed, level
from promet.report.words import title_of, unseen

if TYPE_CHECKING:
    from promet.study.forms.metrics import Metrics

SHOWN = ("multimodal", "clinical")

GAP = 0.025  # of probability, between the bars of two groups
SMOOTH = 50  # patients below which a smooth curve shows noise; the groups with their bars remain


def add(made: style.Figures, metrics: Metrics) -> None:
    """Calibration and decision curves of the sections that were not seen in fitting."""
    keys = [k for k in unseen(metrics) if drawable(metrics, k)]
    ci = level(metrics["confidence"])
    if keys:
        told = []
        for key in keys:
            section = metrics["sections"][key]
            for name in drawable(metrics, key):
                groups = section["calibration"][name]["before"]["groups"]
                each = ", ".join(
                    f"{fixed(g['probability'])} given and {g['positives']} of {g['n']} observed"
                    for g in groups
                )
                told.append(f"{title_of(metrics, name)}, {section['title']}: {each}.")
        made.add(
            "calibration",
            calibration(metrics, keys),
            "Calibration: predicted probability against the observed proportion of patients with the outcome. Dots: groups of equal size by probability (nearer "
            f"than {GAP} they are drawn side by side), bars: {ci} Wilson intervals. Lines, from 50 patients on: smooth curve (lowess), band: pointwise {ci} bootstrap interval "
            "of the curve as fitted. Recalibration moves the probabilities, not the order of the patients: the same groups, "
            "bars not repeated.",
            f"Calibration plots, groups as fitted. {' '.join(told)}",
        )
    keys = [
        k
        for k in unseen(metrics)
        if ((metrics["sections"].get(k) or {}).get("decision") or {}).get("treat_all")
    ]
    if keys:
        titles = {name: title_of(metrics, name) for name in metrics["order"]}
        told = [s for k in keys for s in benefit(metrics["sections"][k], titles)]
        made.add(
            "decision",
            decision(metrics, keys),
            "Decision curves of the probabilities as fitted, in the patients who have them all. Net benefit: share of true positives "
            "less the share of false positives weighted by the odds of the threshold; a model is of use where it lies above "
            "both treating all and treating none. Values far below 0 are cut off; no intervals.",
            f"Decision curves. {' '.join(told)}",
        )


def drawable(metrics: Metrics, key: str) -> list[str]:
    """The models of a section that have groups to draw."""
    models = (metrics["sections"].get(key) or {}).get("calibration") or {}
    return [n for n in SHOWN if ((models.get(n) or {}).get("before") or {}).get("groups")]


def calibration(metrics: Metrics, keys: list[str]) -> Figure:
    """One row per section, one panel per model: groups with n, smooth curve with interval, before and after."""
    names = [n for n in SHOWN if any(n in drawable(metrics, key) for key in keys)]
    fig = style.figure(0.45 + 3.5 * len(keys), style.WIDTH if len(names) > 1 else 3.7)
    grid = fig.subplots(len(keys), len(names), squeeze=False)
    recalibrated = False
    for row, key in enumerate(keys):
        section = metrics["sections"][key]
        for column, name in enumerate(names):
            axes = grid[row][column]
            stages = section["calibration"].get(name) or {}
            axes.plot([0, 1], [0, 1], color=style.LIGHT, linewidth=0.8)
            axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="Predicted probability")
            axes.set_ylabel("Observed proportion" if column == 0 else "")
            axes.set_box_aspect(1)
            before, after = stages.get("before"), stages.get("after")
            if not before or not before["groups"]:
                axes.text(0.5, 0.5, "not available", ha="center", color=style.GREY)
                continue
            if after and after["groups"]:
                recalibrated = True
                _after(axes, after)
            _before(axes, before, str(style.score_style(name)["color"]))
            axes.set_title(
                f"{metrics['scores'][name]['title']}\n{section['title']}\n"
                f"n = {before['n']}, {before['positives']} with the outcome; {sizes(before['groups'])}"
            )
            style.letter(axes, row * len(names) + column)
    shown = [
        Line2D(
            [],
            [],
            marker="o",
            color=style.score_style(n)["color"],
            markersize=4.5,
            linewidth=1.6,
            label=f"{metrics['scores'][n]['title']}, as fitted",
        )
        for n in names
    ]
    if recalibrated:
        shown.append(
            Line2D(
                [],
                [],
                marker="o",
                color=style.BLACK,
                markerfacecolor="white",
                markersize=4.5,
                linewidth=1.1,
                linestyle="--",
                label="recalibrated on the validation part",
            )
        )
    shown.append(Line2D([], [], color=style.LIGHT, linewidth=0.8, label="perfect calibration"))
    fig.legend(handles=shown, loc="outside lower center", ncols=len(shown) if len(names) > 1 else 2)
    return fig


def _before(axes: Axes, record: dict[str, Any], colour: str) -> None:
    curve = record["curve"]
    if curve["probability"] and record["n"] >= SMOOTH:
        low, high = (np.array([np.nan if v is None else v for v in curve[k]], float) for k in ("low", "high"))
        axes.fill_between(curve["probability"], low, high, color=colour, alpha=0.12, linewidth=0)
        axes.plot(curve["probability"], curve["observed"], color=colour, linewidth=1.6)
    for x, group in zip(apart([g["probability"] for g in record["groups"]]), record["groups"], strict=True):
        axes.plot([x, x], [group["low"], group["high"]], color=colour, linewidth=0.9)
        axes.plot([x], [group["observed"]], "o", color=colour, markersize=4.5, markeredgewidth=0)


def apart(places: list[float], least: float = GAP) -> list[float]:
    """Places in [0, 1] moved as little as needed to lie ``least`` from each other, in their order."""
    shown = list(places)
    for k in range(1, len(shown)):
        shown[k] = max(shown[k], shown[k - 1] + least)
    for k in range(len(shown) - 1, -1, -1):
        shown[k] = min(shown[k], 1 - least * (len(shown) - 1 - k))
    return shown


def sizes(groups: list[dict[str, Any]]) -> str:
    """``4 groups of 5``, ``4 groups of 5 to 6``."""
    low, high = (pick(g["n"] for g in groups) for pick in (min, max))
    return f"{count(len(groups), 'group')} of {low}" + (f" to {high}" if high > low else "")


def _after(axes: Axes, record: dict[str, Any]) -> None:
    curve, groups = record["curve"], record["groups"]
    if record["n"] >= SMOOTH:
        axes.plot(curve["probability"], curve["observed"], color=style.BLACK, linewidth=1.1, linestyle="--")
    axes.plot(
        apart([g["probability"] for g in groups]),
        [g["observed"] for g in groups],
        "o",
        color=style.BLACK,
        markerfacecolor="white",
        markersize=4.5,
        markeredgewidth=0.9,
    )


def decision(metrics: Metrics, keys: list[str]) -> Figure:
    """Net benefit over the threshold, one panel per section, besides treating all and none."""
    rows, columns = style.in_rows(len(keys))
    fig = style.figure(3.2 + 2.8 * (rows - 1), style.WIDTH if len(keys) > 1 else 4.6)
    grid = fig.subplots(rows, columns, squeeze=False).flatten()
    for axes in grid[len(keys) :]:
        axes.remove()
    for place, key in enumerate(keys):
        axes, section = grid[place], metrics["sections"][key]
        curves = section["decision"]
        at, share = curves["thresholds"], curves["positives"] / curves["n"]
        axes.plot(at, curves["treat_all"], color=style.GREY, linewidth=1.1, label="Treat all")
        axes.plot(
            at, curves["treat_none"], color=style.BLACK, linewidth=0.9, linestyle=":", label="Treat none"
        )
        for name in reversed(ordered(curves["models"])):
            benefit = curves["models"][name]["net_benefit"]
            if benefit:
                axes.plot(at, benefit, label=metrics["scores"][name]["title"], **style.score_style(name))
        axes.set(xlim=(0, 1), ylim=(-0.25 * share, 1.1 * share), xlabel="Threshold probability")
        axes.set_ylabel("Net benefit" if place % columns == 0 else "")
        axes.set_title(f"{section['title']}\nn = {curves['n']}, {curves['positives']} with the outcome")
        if place == 0:
            handles, labels = axes.get_legend_handles_labels()
            fig.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=len(labels))
        if len(keys) > 1:
            style.letter(axes, place)
    return fig
