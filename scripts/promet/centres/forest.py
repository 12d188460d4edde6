"""A forest plot: a row per hospital, and what they say together."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes

from promet.report.style import BLACK, BLUE, GREY, Figures, figure
from promet.report.text import fixed, interval, level

TICKS = (0.25, 0.33, 0.5, 0.67, 0.8, 1, 1.25, 1.5, 2, 3, 4)  # of a ratio


def forest(
    made: Figures, name: str, measure: dict[str, Any], sizes: dict[str, str], confidence: float
) -> None:
    """Draw MEASURE of pooled.json; ``sizes``: hospital -> "patients / with the event"."""
    rows = [row for row in measure["sites"] if row["value"] is not None]
    whole = measure["pooled"]
    together = whole["mean"] is not None
    lines = len(rows) + 2 * together
    fig = figure(0.62 + 0.24 * lines)
    left, axes, right = fig.subplots(1, 3, width_ratios=(2.3, 4, 1.8), sharey=True)

    def line(y: float, name: str, size: str, value: str, weight: str = "normal") -> None:
        for panel, x, text, side in (
            (left, 0, name, "left"),
            (left, 0.98, size, "right"),
            (right, 0.04, value, "left"),
        ):
            where = panel.get_yaxis_transform()
            panel.text(x, y, text, va="center", ha=side, weight=weight, transform=where)

    line(1, "Hospital", "patients / events", f"{level(confidence)} interval", "bold")
    heaviest = max((row["weight"] or 1) for row in rows)
    for place, row in enumerate(rows):
        axes.plot(
            [row["low"], row["high"]], [-place, -place], color=BLUE, linewidth=1.1, solid_capstyle="butt"
        )
        side = 3 + 5 * ((row["weight"] or heaviest) / heaviest) ** 0.5
        axes.plot(row["value"], -place, "s", color=BLUE, markersize=side, markeredgewidth=0)
        line(-place, row["site"], sizes[row["site"]], _told(row["value"], row))
    if together:
        ahead, y = whole["prediction"], -len(rows) - 0.1
        corners = [whole["low"], whole["mean"], whole["high"], whole["mean"]]
        axes.fill(corners, [y, y + 0.28, y, y - 0.28], color=BLACK)
        line(y, "Together", "", _told(whole["mean"], whole), "bold")
        axes.plot(
            [ahead["low"], ahead["high"]], [y - 1, y - 1], color=GREY, linewidth=2.2, solid_capstyle="butt"
        )
        line(y - 1, "A further hospital", "", interval(ahead["low"], ahead["high"]))
        axes.axvline(whole["mean"], color=BLACK, linewidth=0.6, linestyle=":")
    axes.axvline(measure["none"], color=GREY, linewidth=0.8)
    shown = [x for row in rows for x in (row["low"], row["high"])]
    shown += [whole["low"], whole["high"]] if together else []
    _scale(axes, name, measure, min(shown), max(shown))
    axes.set_ylim(0.2 - lines - 0.2 * together, 1.4)
    for panel in (left, right):
        panel.axis("off")
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(measure["title"])
    caption = f"{measure['title']} by hospital with its interval; the square grows with the weight."
    if together:
        caption += (
            " Diamond: all together. Grey bar: prediction interval, where the value of a further hospital is expected "
            "(cut at the panel's edge)."
        )
    alt = f"Forest plot of {measure['title']}: " + "; ".join(
        f"{row['site']} {fixed(row['value'])}" for row in rows
    )
    made.add(name, fig, caption, alt)


def _told(value: float, limits: dict[str, Any]) -> str:
    return f"{fixed(value)} ({interval(limits['low'], limits['high'])})"


def _scale(axes: Axes, name: str, measure: dict[str, Any], low: float, high: float) -> None:
    """Limits that hold every hospital and the value without effect."""
    if name == "auc":
        axes.set_xlim(min(0.4, low), 1.0)
    elif measure["scale"] == "log":
        axes.set_xscale("log")
        axes.set_xlim(min(0.5, low) * 0.9, max(2.0, high) * 1.1)
        start, end = axes.get_xlim()
        axes.set_xticks([x for x in TICKS if start <= x <= end], minor=False)
        axes.minorticks_off()
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    else:
        low, high = min(measure["none"], low), max(measure["none"], high)
        axes.set_xlim(low - 0.08 * (high - low), high + 0.08 * (high - low))
