"""Figures of the selection: the variants, and what every run and every rule of choice reached in the test part.

Nothing is decided from the latter.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from promet.report import style
from promet.report.sections.training.figures import run
from promet.report.text import fixed, known
from promet.study.auc import auc
from promet.study.concordance import harrell

if TYPE_CHECKING:
    from promet.report.read import Split

RULES = {"best": "best run", "ensemble_top_k": "mean of the best", "ensemble_mean": "mean of all runs"}
WIDTH = 0.0125  # of a pile of dots


def areas(split: Split) -> tuple[pd.DataFrame, pd.DataFrame, int, int] | None:
    """Test AUC (of an outcome over time C, ``Split.word``) of every run (variant, seed, validation_auc, selected, test_auc) and of every rule (rule, members, test_auc), patients, with outcome."""
    if split.hindsight_runs is None or split.predictions is None or split.candidates is None:
        return None
    table = split.predictions[(split.predictions["part"] == "test") & split.predictions["label"].notna()]
    labels = table.set_index("patient")["label"]
    labels = labels[labels.index.isin(split.hindsight_runs["patient"])]
    if labels.nunique() < 2:
        return None
    if (at := split.horizon) is not None and "time" in split.predictions:
        test = split.predictions[split.predictions["part"] == "test"].set_index("patient")
        test = test[test["time"].notna() & test.index.isin(split.hindsight_runs["patient"])]

        def judge(patients: pd.Series, logit: pd.Series) -> float | None:
            mine = test.loc[patients]
            return harrell(mine["time"].to_numpy(), mine["event"].to_numpy(), logit.to_numpy(), at)[0]

        names = test.index
    else:
        names = labels.index

        def judge(patients: pd.Series, logit: pd.Series) -> float | None:
            of = labels.loc[patients]
            return auc(of, logit) if of.nunique() == 2 else None

    each = _areas(split.hindsight_runs, ["variant", "seed"], names, judge)
    runs = split.candidates.merge(each, on=["variant", "seed"], how="inner")
    rules = (
        _areas(split.hindsight_rules, ["rule", "members"], names, judge)
        if split.hindsight_rules is not None
        else each.iloc[:0]
    )
    return runs, rules, len(names), int((labels == 1).sum())


def _areas(
    long: pd.DataFrame,
    by: list[str],
    patients: pd.Index,
    judge: Callable[[pd.Series, pd.Series], float | None],
) -> pd.DataFrame:
    mine = long[long["patient"].isin(patients)]
    rows = []
    for key, group in mine.groupby(by, sort=False):
        area = judge(group["patient"], group["logit"])
        rows.append({**dict(zip(by, key, strict=True)), "test_auc": area})
    return pd.DataFrame(rows, columns=[*by, "test_auc"])


def add(made: style.Figures, split: Split) -> None:
    """The variants, when there are several, and the look back, when a study has it and made several runs."""
    table = split.candidates
    if table is not None and len(table["variant"].unique()) > 1:
        fig, points = variants(table, split.values("dataset").get("validation", 0), split.word)
        made.add(
            "variants",
            fig,
            f"Validation {split.word} of every run by variant; bar: median. The highest of all was chosen, so a variant with more or more "
            "scattered runs has the better chance.",
            f"Validation {split.word} by variant.",
            points,
        )
    if (found := areas(split)) is None or len(found[0]) < 2:
        return
    runs, rules, patients, positives = found
    fig, points = look_back(runs, rules, patients, positives, split.word, split.learnt)
    low, high = runs["test_auc"].min(), runs["test_auc"].max()
    made.add(
        "hindsight",
        fig,
        f"Post hoc: {split.word} of every run in the test part, which had no part in the choice. A: one dot each, the chosen run red; lines: what the "
        "rules of choice would have given. B: against that of the validation part, which ranked the runs. To choose by this figure would spoil the test part.",
        f"Test {split.word} of {len(runs)} runs from {fixed(low)} to {fixed(high)}; chosen run {fixed(runs.loc[runs['selected'], 'test_auc'].max())}.",
        points,
    )


def look_back(
    runs: pd.DataFrame, rules: pd.DataFrame, patients: int, positives: int, word: str, learnt: str
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
        told = f"{row.variant}, seed {row.seed}: validation {word} {fixed(row.validation_auc, 3)}, test {word} {fixed(row.test_auc, 3)}"
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
    left.set(xlabel=f"Test {word}", ylabel="Runs", ylim=(0, max([*piles.values(), 4]) * 1.1))
    left.yaxis.get_major_locator().set_params(integer=True)
    left.set_title(f"A   {len(runs)} runs, post hoc\nn = {patients}, {positives} with {learnt}")
    fig.legend(handles=left.get_legend_handles_labels()[0], loc="outside lower left", ncols=4)
    low = min(runs["validation_auc"].min(), runs["test_auc"].min()) - 0.03
    right.plot([low, 1.02], [low, 1.02], color=style.LIGHT, linewidth=0.8, zorder=0)
    right.set(xlim=(low, 1.02), ylim=(low, 1.02), xlabel=f"Validation {word}", ylabel=f"Test {word}")
    right.set_box_aspect(1)
    right.set_title(f"B   {len(runs)} runs, test against validation\nline: equal {word}")
    return fig, points


def variants(table: pd.DataFrame, patients: int, word: str) -> tuple[Figure, list[style.Point]]:
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
            (axes, row.validation_auc, at, run(row, word))
            for row, at in zip(mine.itertuples(), offset, strict=True)
        ]
    axes.axvline(0.5, color=style.LIGHT, linewidth=0.8, zorder=0)
    axes.set_yticks(range(len(order)), [f"{n}, n = {int((table['variant'] == n).sum())}" for n in order])
    axes.set(xlabel=f"Validation {word}", ylim=(-0.6, len(order) - 0.4))
    axes.set_title(f"{len(table)} runs of {len(order)} variants, {patients} validation patients")
    return fig, points
