"""Figures of the training: learning curves of all runs, and how much they differ."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from promet.report import style
from promet.report.text import fixed

if TYPE_CHECKING:
    from promet.report.read import Run

PANELS = (
    ("training_loss", "Training loss", "weighted cross-entropy"),
    ("validation_loss", "Validation loss", "weighted cross-entropy"),
    ("validation_auc", "Validation AUC", "AUC"),
)


def learning(runs: list[Run], selected: tuple[str, int] | None, sizes: dict[str, int]) -> tuple[Figure, bool]:
    """Three panels over the epochs, a line per run, its kept epoch as a dot; True when a loss axis is cut.

    Args:
        runs: those with a history.
        selected: variant and seed of the chosen run.
        sizes: patients in training and validation.
    """
    fig = style.figure(2.35)
    cut = False
    for place, (column, title, unit) in enumerate(PANELS):
        axes = fig.add_subplot(1, 3, place + 1)
        part = "training" if place == 0 else "validation"
        axes.set_title(f"{title} (n = {sizes.get(part, '?')})")
        values = np.concatenate([run.history[column].to_numpy() for run in runs])
        for run in runs:
            chosen = (run.variant, run.seed) == selected
            epoch, line = run.history["epoch"], run.history[column]
            many = len(runs) > 8
            axes.plot(
                epoch,
                line,
                color=style.BLUE if chosen else style.LIGHT,
                linewidth=1.4 if chosen else 0.5,
                alpha=1 if chosen or not many else 0.6,
                zorder=3 if chosen else 1,
            )
            best = run.record.values.get("best_epoch")
            at = line[epoch == best]
            if len(at):
                axes.plot(
                    [best],
                    at,
                    "o",
                    color=style.VERMILION if chosen else style.GREY,
                    markersize=4.5 if chosen else 1.8,
                    markeredgewidth=0,
                    zorder=4 if chosen else 2,
                )
        if column == "validation_auc":
            axes.set(ylim=(-0.02, 1.02))
            axes.axhline(0.5, color=style.BLACK, linewidth=0.6, linestyle=":")
        else:
            top = float(np.quantile(values, 0.995)) * 1.1
            cut |= top < values.max()
            axes.set(ylim=(0, top if top > 0 else 1))
        axes.set(xlabel="Epoch", ylabel=unit, xlim=(0, None))
        style.letter(axes, "ABC"[place])
    return fig, cut


def spread(
    aucs: np.ndarray,
    selected: int,
    expected: float | None,
    positives: int,
    negatives: int,
    chance: np.ndarray | None,
) -> Figure:
    """Validation AUC of every run, one dot each, above what runs without skill would give.

    Args:
        aucs: (runs,); ``selected``: index of the chosen one.
        expected: expected best of as many chance-level runs.
        chance: (draws,) AUCs of chance-level scores.
    """
    fig = style.figure(2.5)
    axes = fig.add_subplot()
    width = 0.0125
    piles: dict[int, int] = defaultdict(int)
    order = np.argsort(np.arange(len(aucs)) == selected, kind="stable")
    heights = np.zeros(len(aucs))
    for k in order:
        pile = round(aucs[k] / width)
        heights[k] = piles[pile] + 0.5
        piles[pile] += 1
    top = max([*piles.values(), 4])
    if chance is not None:
        grid = 1 / (positives * negatives)  # an AUC is a multiple of it: bins hold equally many of them
        bar = grid * max(1, round(0.025 / grid))
        counts, edges = np.histogram(chance, bins=np.arange(-grid / 2, 1 + bar, bar))
        axes.stairs(
            counts / counts.max() * top * 0.8,
            edges,
            fill=True,
            color=style.ORANGE,
            alpha=0.22,
            linewidth=0,
            label="single runs without skill (height arbitrary)",
        )
    others = np.arange(len(aucs)) != selected
    axes.plot(
        aucs[others],
        heights[others],
        "o",
        color=style.GREY,
        markersize=4,
        markeredgewidth=0,
        label="runs",
        zorder=3,
    )
    axes.plot(
        aucs[selected],
        heights[selected],
        "o",
        color=style.VERMILION,
        markersize=6,
        markeredgewidth=0,
        zorder=4,
        label=f"selected run, {fixed(aucs[selected])}",
    )
    axes.axvline(
        np.median(aucs),
        color=style.BLUE,
        linewidth=1.1,
        label=f"median of all runs, {fixed(float(np.median(aucs)))}",
    )
    if expected is not None:
        axes.axvline(
            expected,
            color=style.ORANGE,
            linewidth=1.3,
            linestyle="--",
            label=f"best of {len(aucs)} without skill, {fixed(expected)}",
        )
    axes.axvline(0.5, color=style.BLACK, linewidth=0.6, linestyle=":", label="chance, 0.50")
    low = min(0.3, float(aucs.min()) - 0.05)
    axes.set(xlim=(max(low, -0.02), 1.02), ylim=(0, top * 1.08), xlabel="Validation AUC", ylabel="Runs")
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.set_title(f"{len(aucs)} runs, {positives + negatives} validation men ({positives} with metastases)")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return fig
