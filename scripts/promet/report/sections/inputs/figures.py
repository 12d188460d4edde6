"""Figures of the fused score: ranking of the inputs, every patient's values, what a value adds, permuted labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from promet.report import style
from promet.report.sections.inputs.bends import UNITS, Bend, bends, factor
from promet.report.text import fixed, known, p_value, short
from promet.report.words import INPUTS, heading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from promet.report.read import Split

CUT = 6  # log-odds at which the effects are cut off
STEPS = {
    "grade_group": (1, 5),
    "primary_score": (1, 5),
    "psma_expression": (0, 3),
}  # whole numbers, first to last
BOUNDS = {**STEPS, "positive_cores_percent": (0, 100)}


def over(split: Split) -> tuple[pd.DataFrame, list[dict[str, Any]], str] | None:
    """Shapley values of the patients the ranking is over, the ranking, and who they are."""
    ranking = split.values("explain").get("ranking") or []
    if split.shap is None or not any(known(row["mean_abs_shap"]) for row in ranking):
        return None
    part = split.values("explain").get("over", "all")
    long = split.shap if part == "all" else split.shap[split.shap["part"] == part]
    who = "Test part" if part == "test" else "All patients"
    return long, ranking, f"{who} (n = {long['patient'].nunique()})"


def add(made: style.Figures, split: Split, patient_level: bool) -> None:
    """Ranking, beeswarm and effects, when there are Shapley values; the permutation null of the multimodal score."""
    _explained(made, split, patient_level)
    model = ((split.permutation or {}).get("models") or {}).get("multimodal")
    if split.permutation and model and known(model["observed"]):
        told = "; ".join(
            f"{KINDS[k]}: mean {fixed(model[k]['mean'])}, {p_value(model[k]['p'])}" for k in KINDS
        )
        made.add(
            "permutation",
            permutation(model, split.permutation["permutations"]),
            f"AUC of the multimodal score in the test part after {split.permutation['permutations']} permutations of the labels, the "
            "fusion fitted again each time, the network not. Red line: the AUC with the true labels. A: the fit sees wrong labels, "
            "the test part keeps its own; inputs that agree with each other still separate it now and then. B: the labels of the test part are "
            "permuted as well.",
            f"Two histograms of AUCs under permuted labels; observed {fixed(model['observed'])}. {told}.",
        )


def _explained(made: style.Figures, split: Split, patient_level: bool) -> None:
    if (found := over(split)) is None:
        return
    long, ranking, where = found
    order = ", ".join(f"{INPUTS.get(r['input'], r['input'])} {fixed(r['mean_abs_shap'])}" for r in ranking)
    fig, points = shapley(long, ranking, where, patient_level, split.learnt)
    made.add(
        "shap",
        fig,
        "Inputs of the multimodal score by mean absolute Shapley value (A) and the value for each patient (B), in log-odds. "
        "The ranking counts only patients in whom the input is known. A Shapley value compares with the fitted patients: where a value "
        "is missing (×) the input adds nothing to the score, and its Shapley value is minus what the input adds in them on average.",
        f"Mean absolute SHAP: {order}.",
        points,
    )
    model = ((split.bayes or {}).get("models") or {}).get("multimodal")
    if model is not None and any(not entry["dropped"] for entry in model["features"].values()):
        told = (
            "; dots: the patients of panel B of the figure above, triangles: patients above or below the frame"
            if patient_level
            else ""
        )
        turns = bends(split)
        ring = "; ring: where a curve turns inside the range of the known values" if turns else ""
        made.add(
            "effects",
            effects(
                model,
                (split.bayes or {}).get("log", []),
                long,
                [r["input"] for r in ranking],
                patient_level,
                turns,
            ),
            "What a value of each input adds to the log-odds, from the two fitted densities, less what it adds in the fitted patients on average; n: "
            "fitted patients in whom it is known. Solid: two standard deviations around both means, dotted: beyond "
            f"them{told}{ring}. Above 0: towards {split.learnt}. The curves are parabolas by construction and cut off at ±{CUT}; far from "
            "the means they should not be believed.",
            "One curve per input: log-odds added against the value of the input.",
        )


def ranked(axes: Axes, ranking: list[dict[str, Any]], where: str) -> None:
    """Bars of the mean absolute Shapley value, largest on top."""
    for row, entry in enumerate(ranking):
        y, mean = len(ranking) - 1 - row, entry["mean_abs_shap"] or 0.0
        axes.barh(y, mean, height=0.55, color=style.BLUE)
        axes.text(mean, y, f"  {fixed(entry['mean_abs_shap'])}, n = {entry['n']}", va="center", fontsize=6.5)
    axes.set_yticks(range(len(ranking)), [heading(row["input"]) for row in reversed(ranking)])
    axes.tick_params(axis="y", length=0)
    largest = max((row["mean_abs_shap"] or 0.0) for row in ranking)
    axes.set(xlabel="mean |SHAP| (log-odds)", xlim=(0, largest * 1.6 or 1), ylim=(-0.6, len(ranking) - 0.4))
    axes.set_title(where)


def shapley(
    long: pd.DataFrame, ranking: list[dict[str, Any]], where: str, named: bool, learnt: str = "metastases"
) -> tuple[Figure, list[style.Point]]:
    """Ranking by mean |SHAP| and the value of every patient, coloured by the rank of the input; the dots when ``named``."""
    names = [row["input"] for row in ranking]
    fig = style.figure(0.95 + 0.36 * len(names))
    bars, swarm = fig.subplots(1, 2, width_ratios=[1, 2])
    ranked(bars, ranking, where)
    points: list[style.Point] = []
    for row, name in enumerate(names):
        y = len(names) - 1 - row
        mine = long[long["input"] == name]
        gone, seen = mine[mine["value"].isna()], mine[mine["value"].notna()]
        cross = {"color": style.GREY, "markersize": 3.5, "markeredgewidth": 0.8}
        swarm.plot(gone["shap"], np.full(len(gone), y - 0.32), "x", **cross)
        if not len(seen):
            continue
        flat = seen["value"].min() == seen["value"].max()
        rank = np.full(len(seen), 0.5) if flat else seen["value"].rank(pct=True)
        at = y + _jitter(seen["shap"].to_numpy())
        colours = {"c": rank, "cmap": "cividis", "vmin": 0, "vmax": 1}
        swarm.scatter(seen["shap"], at, s=11, linewidths=0.2, edgecolors="white", **colours)
        if named:
            points += [
                (swarm, x, height, f"{patient}: {INPUTS.get(name, name)} {short(value)}, SHAP {fixed(x)}")
                for patient, value, x, height in zip(
                    seen["patient"], seen["value"], seen["shap"], at, strict=True
                )
            ]
    swarm.set_yticks(range(len(names)), [])
    swarm.tick_params(axis="y", length=0)
    swarm.axvline(0, color=style.BLACK, linewidth=0.6)
    swarm.set(xlabel=f"SHAP (log-odds; right = towards {learnt})", ylim=(-0.6, len(names) - 0.4))
    swarm.set_title(f"Each patient, n = {long['patient'].nunique()} (× = value missing)")
    style.letter(bars, "A")
    style.letter(swarm, "B")
    scale = fig.colorbar(ScalarMappable(cmap="cividis"), ax=swarm, ticks=[0, 1], fraction=0.03, pad=0.02)
    scale.ax.set_yticklabels(["low", "high"])
    scale.set_label("value of the input (rank)", labelpad=-8)
    scale.outline.set_visible(False)
    return fig, points


def _jitter(x: np.ndarray, height: float = 0.32, bins: int = 40) -> np.ndarray:
    """Vertical offsets that keep neighbours apart, symmetric around 0, the same every time."""
    span = float(np.ptp(x)) or 1.0
    cell = np.floor((x - x.min()) / span * (bins - 1)).astype(int)
    place = np.zeros(len(x))
    for c in np.unique(cell):
        here = np.flatnonzero(cell == c)
        place[here] = np.ceil(np.arange(len(here)) / 2) * np.where(np.arange(len(here)) % 2, 1, -1)
    return place * height / max(np.abs(place).max(), 4)


def effects(
    model: dict[str, Any],
    logged: list[str],
    long: pd.DataFrame,
    order: list[str],
    dots: bool,
    turns: Sequence[Bend] = (),
) -> Figure:
    """One panel per input: the curve, a ring at each of ``turns``, and the patients when ``dots``."""
    names = [n for n in order if n in model["features"] and not model["features"][n]["dropped"]]
    rows = -(-len(names) // 4)
    fig = style.figure(0.25 + 1.75 * rows)
    grid = fig.subplots(rows, 4, squeeze=False, sharey=True)
    for place, axes in enumerate(grid.flat):
        if place >= len(names):
            axes.axis("off")
            continue
        name = names[place]
        entry = model["features"][name]
        mean, deviation = np.array(entry["mean"]), np.sqrt(entry["variance"])
        mine = long[(long["input"] == name) & long["value"].notna()]
        values = mine["value"].to_numpy(float)
        # A Shapley value is this curve less its mean over the fitted patients: the same shift for everyone.
        seen = np.log(values) if name in logged else values
        inner = _within(name, (mean - 2 * deviation).min(), (mean + 2 * deviation).max())
        outer = _within(name, min(inner[0], *seen), max(inner[1], *seen)) if dots and len(seen) else inner
        shift = float(np.median(factor(entry, seen) - mine["shap"])) if len(mine) else 0.0
        axes.axhline(0, color=style.LIGHT, linewidth=0.8)
        for (low, high), look in ((outer, ":"), (inner, "-")):
            x = np.linspace(low, high, 200)
            y = factor(entry, x) - shift
            axes.plot(np.exp(x) if name in logged else x, y, look, color=style.BLUE, linewidth=1.6)
        if dots:
            red = {"color": style.VERMILION, "markeredgewidth": 0, "linestyle": "", "zorder": 3}
            red |= {"clip_on": False, "in_layout": False}
            far = mine["shap"].abs().to_numpy() > CUT
            axes.plot(values[~far], mine["shap"][~far], marker="o", markersize=2.8, **red)
            for sign, mark in ((1, "^"), (-1, "v")):
                beyond = values[far & (np.sign(mine["shap"]) == sign)]
                axes.plot(beyond, np.full(len(beyond), sign * CUT), marker=mark, markersize=4.5, **red)
        ring = {"marker": "o", "markersize": 5, "markerfacecolor": "none", "linestyle": "", "zorder": 4}
        for turn in (one for one in turns if one.name == name):
            where = np.exp(turn.at) if name in logged else turn.at
            axes.plot(where, factor(entry, turn.at) - shift, color=style.BLACK, **ring)
        if name in logged:
            axes.set_xscale("log")
            wide = outer[1] - outer[0] > np.log(30)
            axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_formatter(NullFormatter())
        elif name in STEPS:
            first, last = STEPS[name]
            axes.set(xlim=(first - 0.2, last + 0.2), xticks=range(first, last + 1))
        else:
            axes.xaxis.set_major_locator(MaxNLocator(3))
        unit = f" ({UNITS[name]})" if name in UNITS else ""
        axes.set_xlabel(heading(name) + unit)
        axes.set_title(f"{'ABCDEFGH'[place]}   n = {sum(entry['seen'])}")
        if place % 4 == 0:
            axes.set_ylabel("log-odds added")
    low, high = grid[0][0].get_ylim()
    grid[0][0].set_ylim(max(low, -CUT), min(high, CUT))
    return fig


def _within(name: str, low: float, high: float) -> tuple[float, float]:
    """A range of an input, no wider than its values can be."""
    first, last = BOUNDS.get(name, (-np.inf, np.inf))
    return max(low, first), min(high, last)


KINDS = {
    "fit": "labels of training and validation permuted",
    "all": "labels of the test part permuted too",
}


def permutation(model: dict[str, Any], permutations: int) -> Figure:
    """Two histograms of the null AUCs with the observed one."""
    fig = style.figure(2.5)
    for place, (kind, title) in enumerate(KINDS.items()):
        axes = fig.add_subplot(1, 2, place + 1)
        null = model[kind]
        axes.hist(
            null["auc"],
            bins=_bins(model["positives"], model["n"] - model["positives"]),
            color=style.SKY,
            label="permuted",
        )
        axes.axvline(
            model["observed"],
            color=style.VERMILION,
            linewidth=1.6,
            label=f"true labels, {fixed(model['observed'])}",
        )
        axes.set(
            xlim=(-0.02, 1.02), xlabel="AUC in the test part", ylabel="Permutations" if place == 0 else ""
        )
        told = f"n = {model['n']}, {model['positives']} with the outcome; {p_value(null['p'])}"
        axes.set_title(f"{title[0].upper()}{title[1:]}\n{told}")
        axes.yaxis.get_major_locator().set_params(integer=True)
        style.letter(axes, place)
    fig.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig


def _bins(positives: int, negatives: int) -> np.ndarray:
    """Edges that hold equally many of the values an AUC can take, about 1/40 apart."""
    grid = 1 / (positives * negatives)
    return np.arange(-grid / 2, 1 + grid, grid * max(1, round(0.025 / grid)))
