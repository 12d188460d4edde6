"""Figures of the selection: the variants, and what every run and every rule of choice reached in the test part.

Nothing is decided from the latter.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from promet.report import style
from promet.report.sections.training.figures import run
from promet.report.text import fixed, known
from promet.study.auc import auc

if TYPE_CHECKING:
    from promet.report.read import Split

RULES = {"best": "best run", "ensemble_top_k": "mean of the best", "ensemble_mean": "mean of all runs"}
WIDTH = 0.0125  # of a pile of dots


def areas(split: Split) -> tuple[pd.DataFrame, pd.DataFrame, int, int] | None:
    """Test AUC of every run (variant, seed, validation_auc, selected, test_auc) and of every rule (rule, members, test_auc), patients, with outcome."""
    if split.hindsight_runs is None or split.predictions is None or split.candidates is None:
        return None
    table = split.predictions[(split.predictions["part"] == "test") & split.predictions["label"].notna()]
    labels = table.set_index("patient")["label"]
    labels = labels[labels.index.isin(split.hindsight_runs["patient"])]
    if labels.nunique() < 2:
        return None
    each = _areas(split.hindsight_runs, ["variant", "seed"], labels)
    runs = split.candidates.merge(each, on=["variant", "seed"], how="inner")
    rules = (
        _areas(split.hindsight_rules, ["rule", "members"], labels)
        if split.hindsight_rules is not None
        else each.iloc[:0]
    )
    return runs, rules, len(labels), int((labels == 1).sum())


def _areas(long: pd.DataFrame, by: list[str], labels: pd.Series) -> pd.DataFrame:
    mine = long[long["patient"].isin(labels.index)]
    rows = []
    for key, group in mine.groupby(by, sort=False):
        of = labels.loc[group["patient"]]
        area = auc(of, group["logit"]) if of.nunique() == 2 else None
        rows.append({**dict(zip(by, key, strict=True)), "test_auc": area})
    return pd.DataFrame(rows, columns=[*by, "test_auc"])


def add(made: style.Figures, split: Split) -> None:
    """The variants, when there are several, and the look back, when a study has it and made several runs."""
    table = split.candidates
    if table is not None and len(table["variant"].unique()) > 1:
        fig, points = variants(table, split.values("dataset").get("validation", 0))
        made.add(
            "variants",
            fig,
            "Validation AUC of every run by variant; bar: median. The highest of all was chosen, so a variant with more or more "
            "scattered runs has the better chance.",
            "Validation AUCs by variant.",
            points,
        )
    if (found := areas(split)) is None or len(found[0]) < 2:
        return
    runs, rules, patients, positives = found
    fig, points = look_back(runs, rules, patients, positives)
    low, high = runs["test_auc"].min(), runs["test_auc"].max()
    made.add(
        "hindsight",
        fig,
        "Post hoc: AUC of every run in the test part, which had no part in the choice. A: one dot each, the chosen run red; lines: what the "
        "rules of choice would have given. B: against the validation AUC that ranked the runs. To choose by this figure would spoil the test part.",
        f"Test AUCs of {len(runs)} runs from {fixed(low)} to {fixed(high)}; chosen run {fixed(runs.loc[runs['selected'], 'test_auc'].max())}.",
        points,
    )


def look_back(
    runs: pd.DataFrame, rules: pd.DataFrame, patients: int, positives: int
) -> tuple[Figure, list[style.Point]]:
    """A: piles of dots with the rules as lines. B: validation against test."""
    fig = style.figure(2.8)
    left, right = fig.subplots(1, 2, width_ratios=[1.5, 1])
    piles: dict[int, int] = defaultdict(int)
    points: list[style.Point] = []
    for row in runs.sort_values("selected").itertuples():
        pile = round(row.test_auc / WIDTH)
        height, piles[pile] = piles[pile] + 0.5, piles[pile] + 1
        dot = (
            {"color": style.VERMILION, "markersize": 6, "zorder": 3}
            if row.selected
            else {"color": style.GREY, "markersize": 4}
        )
        told = f"{row.variant}, seed {row.seed}: validation AUC {fixed(row.validation_auc, 3)}, test AUC {fixed(row.test_auc, 3)}"
        for axes, x, y in ((left, row.test_auc, height), (right, row.validation_auc, row.test_auc)):
            axes.plot([x], [y], "o", markeredgewidth=0, **dot)
            points.append((axes, x, y, told + (", chosen" if row.selected else "")))
    # Thin over wide, so that rules with the same AUC are all seen.
    looks = {
        "best": (style.ORANGE, "-", 4.5),
        "ensemble_top_k": (style.BLUE, "-", 2.2),
        "ensemble_mean": (style.BLACK, ":", 1.0),
    }
    for row in rules.itertuples():
        if known(row.test_auc):
            colour, dash, width = looks.get(row.rule, (style.GREY, "--", 1.0))
            title = RULES.get(row.rule, row.rule) + (
                f" {row.members}" if row.rule == "ensemble_top_k" else ""
            )
            left.axvline(
                row.test_auc,
                color=colour,
                linestyle=dash,
                linewidth=width,
                zorder=0.5,
                label=f"{title}, {fixed(row.test_auc)}",
            )
    left.axvline(0.5, color=style.LIGHT, linewidth=0.8, zorder=0, label="chance, 0.50")
    left.set(xlabel="Test AUC", ylabel="Runs", ylim=(0, max([*piles.values(), 4]) * 1.1))
    left.yaxis.get_major_locator().set_params(integer=True)
    left.set_title(f"A   {len(runs)} runs, post hoc\nn = {patients}, {positives} with metastases")
    fig.legend(handles=left.get_legend_handles_labels()[0], loc="outside lower left", ncols=4)
    low = min(runs["validation_auc"].min(), runs["test_auc"].min()) - 0.03
    right.plot([low, 1.02], [low, 1.02], color=style.LIGHT, linewidth=0.8, zorder=0)
    right.set(xlim=(low, 1.02), ylim=(low, 1.02), xlabel="Validation AUC", ylabel="Test AUC")
    right.set_box_aspect(1)
    right.set_title(f"B   {len(runs)} runs, test against validation\nline: equal AUC")
    return fig, points


def variants(table: pd.DataFrame, patients: int) -> tuple[Figure, list[style.Point]]:
    """A row of dots per variant, best median on top; and the dots."""
    order = table.groupby("variant")["validation_auc"].median().sort_values().index.tolist()
    fig = style.figure(0.8 + 0.3 * len(order))
    axes = fig.add_subplot()
    points: list[style.Point] = []
    for y, name in enumerate(order):
        mine = table[table["variant"] == name].sort_values("validation_auc")
        offset = (
            y + 0.24 * np.linspace(-1, 1, len(mine))[np.argsort(np.arange(len(mine)) * 7 % max(len(mine), 1))]
        )
        chosen = mine["selected"].to_numpy(bool)
        areas = mine["validation_auc"].to_numpy()
        axes.plot(areas[~chosen], offset[~chosen], "o", color=style.GREY, markersize=3.5, markeredgewidth=0)
        axes.plot(
            areas[chosen],
            offset[chosen],
            "o",
            color=style.VERMILION,
            markersize=6,
            markeredgewidth=0,
            zorder=3,
        )
        axes.plot([np.median(areas)] * 2, [y - 0.33, y + 0.33], color=style.BLUE, linewidth=1.8)
        points += [
            (axes, row.validation_auc, at, run(row))
            for row, at in zip(mine.itertuples(), offset, strict=True)
        ]
    axes.axvline(0.5, color=style.LIGHT, linewidth=0.8, zorder=0)
    axes.set_yticks(range(len(order)), [f"{n}, n = {int((table['variant'] == n).sum())}" for n in order])
    axes.set(xlabel="Validation AUC", ylim=(-0.6, len(order) - 0.4))
    axes.set_title(f"{len(table)} runs of {len(order)} variants, {patients} validation patients")
    return fig, points
