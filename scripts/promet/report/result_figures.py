"""Figures of the results: ROC, forest, Shapley values, Kaplan-Meier."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from promet.report import style
from promet.report.text import fixed, interval, known, p_value
from promet.report.words import INPUTS

GROUPS = {
    "low": (style.BLUE, "-"),
    "middle": (style.ORANGE, "--"),
    "high": (style.VERMILION, "-"),
    "all": (style.BLACK, "-"),
}


def roc(metrics: dict[str, Any], keys: list[str]) -> Figure:
    """One panel per section, a curve per score, n and AUC with DeLong interval in the legend."""
    rows = max(sum(n in metrics["sections"][k]["scores"] for n in metrics["order"]) for k in keys)
    below = (
        0.55 + 0.155 * (rows + 1) if len(keys) > 1 else 0.45
    )  # inches under a panel of 3 x 3: axis, legend
    fig = style.figure(3.0 + 0.45 + below)
    fig.set_layout_engine("none")
    height = fig.get_figheight()
    for place, key in enumerate(keys):
        axes = fig.add_axes(((0.5 + 3.55 * place) / style.WIDTH, below / height, 3 / style.WIDTH, 3 / height))
        section = metrics["sections"][key]
        axes.plot([0, 1], [0, 1], color=style.LIGHT, linewidth=0.8, linestyle=":")
        for name in reversed(metrics["order"]):
            record = section["scores"].get(name)
            if record is None or not known(record["auc"]):
                continue
            title = metrics["scores"][name]["title"]
            label = f"{title}  {fixed(record['auc'])} ({interval(record['delong']['low'], record['delong']['high'])}), n = {record['n']}"
            axes.plot(record["roc"]["fpr"], record["roc"]["tpr"], label=label, **style.score_style(name))
        axes.set(
            xlim=(-0.01, 1.01),
            ylim=(-0.01, 1.01),
            xlabel="1 − specificity",
            ylabel="Sensitivity",
        )
        axes.set_title(f"{section['title']}\nn = {section['n']}, {section['positives']} with the outcome")
        handles, labels = axes.get_legend_handles_labels()
        if len(keys) > 1:
            axes.legend(
                handles[::-1],
                labels[::-1],
                loc="upper left",
                bbox_to_anchor=(-0.05, -0.14),
                title="Score, AUC (interval), n",
                alignment="left",
            )
            style.letter(axes, "AB"[place])
        else:
            axes.legend(
                handles[::-1],
                labels[::-1],
                loc="center left",
                bbox_to_anchor=(1.05, 0.5),
                title="Score, AUC (interval), n",
                alignment="left",
            )
    return fig


def forest(metrics: dict[str, Any], keys: list[str]) -> Figure:
    """AUCs with DeLong intervals, one row per score, one panel per section."""
    names = [n for n in metrics["order"] if any(n in metrics["sections"][k]["scores"] for k in keys)]
    fig = style.figure(0.9 + 0.27 * len(names))
    for place, key in enumerate(keys):
        axes = fig.add_subplot(1, len(keys), place + 1)
        section = metrics["sections"][key]
        for row, name in enumerate(names):
            record = section["scores"].get(name)
            y = len(names) - 1 - row
            if record is None or not known(record["auc"]):
                axes.text(1.04, y, "not available", va="center", fontsize=6.5, color=style.GREY)
                continue
            colour = style.score_style(name)["color"]
            low, high = record["delong"]["low"], record["delong"]["high"]
            if known(low):
                axes.plot([low, high], [y, y], color=colour, linewidth=1.6, solid_capstyle="butt")
            axes.plot([record["auc"]], [y], "s", color=colour, markersize=4.5, markeredgewidth=0)
            axes.text(
                1.04,
                y,
                f"{fixed(record['auc'])} ({interval(low, high)}), n = {record['n']}",
                va="center",
                fontsize=6.5,
            )
        axes.axvline(0.5, color=style.BLACK, linewidth=0.6, linestyle=":")
        axes.set(xlim=(0, 1), ylim=(-0.6, len(names) - 0.4), xlabel="AUC")
        axes.set_yticks(
            range(len(names)), [metrics["scores"][n]["title"] for n in reversed(names)] if place == 0 else []
        )
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_title(f"{section['title']}\nn = {section['n']}, {section['positives']} with the outcome")
        if len(keys) > 1:
            style.letter(axes, "AB"[place])
    return fig


def shapley(long: pd.DataFrame, ranking: list[dict[str, Any]], where: str) -> Figure:
    """Ranking by mean |SHAP| and the value of every patient, coloured by the rank of the input."""
    names = [row["input"] for row in ranking]
    fig = style.figure(0.95 + 0.36 * len(names))
    bars, swarm = fig.subplots(1, 2, width_ratios=[1, 2])
    for row, entry in enumerate(ranking):
        y = len(names) - 1 - row
        mean = entry["mean_abs_shap"] or 0.0
        bars.barh(y, mean, height=0.55, color=style.BLUE)
        bars.text(mean, y, f"  {fixed(entry['mean_abs_shap'])}, n = {entry['n']}", va="center", fontsize=6.5)
        mine = long[long["input"] == entry["input"]]
        gone = mine[mine["value"].isna()]
        seen = mine[mine["value"].notna()]
        swarm.plot(
            gone["shap"],
            np.full(len(gone), y - 0.32),
            "x",
            color=style.GREY,
            markersize=3.5,
            markeredgewidth=0.8,
        )
        if len(seen):
            rank = (
                seen["value"].rank(pct=True)
                if seen["value"].min() < seen["value"].max()
                else np.full(len(seen), 0.5)
            )
            swarm.scatter(
                seen["shap"],
                y + _jitter(seen["shap"].to_numpy()),
                c=rank,
                cmap="cividis",
                vmin=0,
                vmax=1,
                s=11,
                linewidths=0.2,
                edgecolors="white",
            )
    labels = [INPUTS.get(name, name) for name in reversed(names)]
    bars.set_yticks(range(len(names)), [text[0].upper() + text[1:] for text in labels])
    largest = max((row["mean_abs_shap"] or 0.0) for row in ranking)
    bars.set(xlabel="mean |SHAP| (log-odds)", xlim=(0, largest * 1.6 or 1), ylim=(-0.6, len(names) - 0.4))
    bars.set_title(where)
    swarm.set_yticks(range(len(names)), [])
    swarm.axvline(0, color=style.BLACK, linewidth=0.6)
    swarm.set(xlabel="SHAP (log-odds; right = towards metastases)", ylim=(-0.6, len(names) - 0.4))
    swarm.set_title("Each man (× = value missing)")
    for axes in (bars, swarm):
        axes.tick_params(axis="y", length=0)
    style.letter(bars, "A")
    style.letter(swarm, "B")
    from matplotlib.cm import ScalarMappable

    scale = fig.colorbar(ScalarMappable(cmap="cividis"), ax=swarm, ticks=[0, 1], fraction=0.03, pad=0.02)
    scale.ax.set_yticklabels(["low", "high"])
    scale.set_label("value of the input (rank)", labelpad=-8)
    scale.outline.set_visible(False)
    return fig


def _jitter(x: np.ndarray, height: float = 0.32, bins: int = 40) -> np.ndarray:
    """Vertical offsets that keep neighbours apart, symmetric around 0, the same every time."""
    span = float(np.ptp(x)) or 1.0
    cell = np.floor((x - x.min()) / span * (bins - 1)).astype(int)
    place = np.zeros(len(x))
    for c in np.unique(cell):
        here = np.flatnonzero(cell == c)
        place[here] = np.ceil(np.arange(len(here)) / 2) * np.where(np.arange(len(here)) % 2, 1, -1)
    return place * height / max(np.abs(place).max(), 4)


def kaplan_meier(survival: dict[str, Any], kinds: list[str]) -> Figure:
    """Curves by tertile and median with ticks at the censored, and the numbers at risk below."""
    fig = style.figure(3.6)
    grid = fig.subplots(2, len(kinds), height_ratios=[4, 1], squeeze=False)
    for place, kind in enumerate(kinds):
        cut = survival["cuts"][kind]
        axes, below = grid[0][place], grid[1][place]
        for group in cut["groups"]:
            colour, dash = GROUPS.get(group["name"], (style.BLACK, "-"))
            curve = group["curve"]
            axes.step(
                curve["time"],
                100 * np.array(curve["survival"]),
                where="post",
                color=colour,
                linestyle=dash,
                linewidth=1.6,
                label=f"{group['name']}, n = {group['n']}, {group['events']} progressed",
            )
            if len(cut["groups"]) == 2:
                _band(axes, curve, colour)
            ticks = group["censored"]
            axes.plot(
                ticks["time"],
                100 * np.array(ticks["survival"]),
                "|",
                color=colour,
                markersize=6,
                markeredgewidth=0.9,
            )
        times = cut["groups"][0]["at_risk"]["time"]
        end = max([*times, *(t for g in cut["groups"] for t in g["curve"]["time"])])
        axes.set(xlim=(-0.02 * end, end * 1.02), ylim=(0, 103), xlabel="Months after the scan", xticks=times)
        axes.set_ylabel("Free of progression (%)" if place == 0 else "")
        name = "tertile" if kind == "tertiles" else kind
        axes.set_title(
            f"By {name} of the multimodal score\nn = {survival['n']}, log-rank {p_value(cut['logrank']['p'])}"
        )
        axes.legend(loc="lower left", title="Score group", alignment="left")
        _at_risk(below, cut, axes.get_xlim())
        style.letter(axes, "AB"[place])
    return fig


def _band(axes: Axes, curve: dict[str, Any], colour: str) -> None:
    low, high = (
        np.array([np.nan if v is None else 100 * v for v in curve[k]], float) for k in ("low", "high")
    )
    axes.fill_between(curve["time"], low, high, step="post", color=colour, alpha=0.12, linewidth=0)


def _at_risk(axes: Axes, cut: dict[str, Any], limits: tuple[float, float]) -> None:
    groups = cut["groups"]
    axes.set(xlim=limits, ylim=(-0.6, 3.4))
    axes.axis("off")
    axes.text(limits[0], 3, "Number at risk", va="center", weight="bold")
    for row, group in enumerate(groups):
        colour = GROUPS.get(group["name"], (style.BLACK, "-"))[0]
        axes.text(
            -0.03,
            2 - row,
            group["name"],
            transform=axes.get_yaxis_transform(),
            ha="right",
            va="center",
            color=colour,
        )
        for time, number in zip(group["at_risk"]["time"], group["at_risk"]["n"], strict=True):
            axes.text(time, 2 - row, str(number), ha="center", va="center")
