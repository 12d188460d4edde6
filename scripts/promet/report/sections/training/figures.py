"""Figures of the training: learning curves of all runs, and how much they differ."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from promet.core.words import count
from promet.report import chance, style
from promet.report.text import fixed

if TYPE_CHECKING:
    import pandas as pd

    from promet.report.read import Run, Split


def panels(word: str) -> tuple[tuple[str, str, str], ...]:
    """Column, title and unit of the learning curves."""
    loss = "weighted cross-entropy" if word == "AUC" else "negative log-likelihood"
    return (
        ("training_loss", "Training loss", loss),
        ("validation_loss", "Validation loss", loss),
        ("validation_auc", f"Validation {word}", word),
    )


def add(made: style.Figures, split: Split) -> None:
    """Learning curves and the spread of the runs."""
    values, size = split.values("select"), split.values("dataset")
    chosen = (values["variant"], values["seed"]) if "seed" in values else None
    runs = [run for run in split.runs if run.history is not None and len(run.history)]
    if runs:
        fig, cut, points = learning(runs, chosen, size, split.word)
        more = " The highest losses are cut off." if cut else ""
        made.add(
            "learning",
            fig,
            f"Learning curves of {count(len(runs), 'run')}. Dots: the epoch whose weights were kept; blue with the red dot: the "
            f"selected run; grey line: chance.{more}",
            f"Training loss, validation loss and validation {split.word} over the epochs of {count(len(runs), 'run')}.",
            points,
        )
    table = split.candidates
    if table is None or len(table) < 2:
        return
    found = chance.of_validation(split)
    null, patients, positives = found or (None, size.get("validation", 0), size.get("validation_positive", 0))
    expected = chance.best_of(null, len(table)) if null else None
    areas = table["validation_auc"].to_numpy()
    fig, points = spread(table, expected, patients, positives, null, split.word, split.learnt)
    made.add(
        "spread",
        fig,
        f"Validation {split.word} of every run, one dot each.",
        f"{len(areas)} validation {split.word} from {fixed(areas.min())} to {fixed(areas.max())}.",
        points,
    )


def learning(
    runs: list[Run], selected: tuple[str, int] | None, sizes: dict[str, int], word: str
) -> tuple[Figure, bool, list[style.Point]]:
    """Three panels over the epochs, a line per run, its kept epoch as a dot; True when a loss axis is cut; the dots.

    Args:
        runs: those with a history.
        selected: variant and seed of the chosen run.
        sizes: patients in training and validation.
        word: AUC or C.
    """
    fig = style.figure(2.35)
    cut, points = False, []
    for place, (column, title, unit) in enumerate(panels(word)):
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
                told = f"{run.variant}, seed {run.seed}, epoch {best}: {title[0].lower() + title[1:]} {fixed(at.iloc[0], 3)}"
                points.append((axes, best, at.iloc[0], told))
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
            axes.axhline(0.5, color=style.LIGHT, linewidth=0.8, zorder=0)
        else:
            top = float(np.quantile(values, 0.995)) * 1.1
            cut |= top < values.max()
            axes.set(ylim=(0, top if top > 0 else 1))
        axes.set(xlabel="Epoch", ylabel=unit, xlim=(0, None))
        style.letter(axes, place)
    return fig, cut, points


def spread(
    table: pd.DataFrame,
    expected: float | None,
    patients: int,
    positives: int,
    chance: tuple[np.ndarray, np.ndarray] | None,
    word: str,
    learnt: str = "metastases",
) -> tuple[Figure, list[style.Point]]:
    """Validation AUC (or C, ``word``) of every run, one dot each, above what runs without skill would give; and the dots.

    Args:
        table: candidates.parquet.
        expected: expected best of as many chance-level runs.
        chance: AUCs that chance-level scores can have, and the probability of each.
    """
    aucs, selected = table["validation_auc"].to_numpy(), int(table["selected"].to_numpy().argmax())
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
        # an AUC is a multiple of it: bins hold equally many of them
        grid = 1 / (positives * (patients - positives)) if word == "AUC" else 0.025
        bar = grid * max(1, round(0.025 / grid))
        areas, weights = chance
        counts, edges = np.histogram(areas, np.arange(-grid / 2, 1 + bar, bar), weights=weights)
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
    axes.axvline(0.5, color=style.LIGHT, linewidth=0.8, zorder=0, label="chance, 0.50")
    low = min(0.3, float(aucs.min()) - 0.05)
    axes.set(xlim=(max(low, -0.02), 1.02), ylim=(0, top * 1.08), xlabel=f"Validation {word}", ylabel="Runs")
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.set_title(f"{len(aucs)} runs, {patients} validation patients ({positives} with {learnt})")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    points = [
        (axes, row.validation_auc, height, run(row, word))
        for row, height in zip(table.itertuples(), heights, strict=True)
    ]
    return fig, points


def run(row: Any, word: str) -> str:
    """A row of candidates.parquet in words."""
    chosen = ", selected" if row.selected else ""
    return f"{row.variant}, seed {row.seed}: validation {word} {fixed(row.validation_auc, 3)}, loss {fixed(row.validation_loss, 3)}, epoch {row.best_epoch}{chosen}"
