"""After the fact: what every run and every rule of choice reached in the test part. Nothing is decided from this."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.figure import Figure

from promet.report import style
from promet.report.table import Table
from promet.report.text import fixed, interval, known

if TYPE_CHECKING:
    from promet.report.read import Split

RULES = {"best": "best run", "ensemble_top_k": "mean of the best", "ensemble_mean": "mean of all runs"}
WIDTH = 0.0125  # of a pile of dots


def auc(label: pd.Series, score: pd.Series) -> float | None:
    """AUC, ties one half; ``None`` without both classes."""
    ones = label == 1
    n1, n0 = int(ones.sum()), int((~ones).sum())
    if not n1 or not n0:
        return None
    return float((score.rank()[ones].sum() - n1 * (n1 + 1) / 2) / (n1 * n0))


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
    rows = [
        {
            **dict(zip(by, key, strict=True)),
            "test_auc": auc(
                labels.loc[group["patient"]].reset_index(drop=True), group["logit"].reset_index(drop=True)
            ),
        }
        for key, group in mine.groupby(by, sort=False)
    ]
    return pd.DataFrame(rows, columns=[*by, "test_auc"])


def add(made: style.Figures, split: Split) -> None:
    """The figure, when a study looks back and made several runs."""
    if (found := areas(split)) is None or len(found[0]) < 2:
        return
    runs, rules, patients, positives = found
    fig, points = look_back(runs, rules, patients, positives)
    low, high = runs["test_auc"].min(), runs["test_auc"].max()
    made.add(
        "hindsight",
        fig,
        "After the fact: AUC of every run in the test part, which had no part in the choice. A: one dot each, the chosen run red; lines: what the "
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
    left.set_title(f"A   {len(runs)} runs, after the fact\nn = {patients}, {positives} with metastases")
    fig.legend(handles=left.get_legend_handles_labels()[0], loc="outside lower left", ncols=4)
    low = min(runs["validation_auc"].min(), runs["test_auc"].min()) - 0.03
    right.plot([low, 1.02], [low, 1.02], color=style.LIGHT, linewidth=0.8, zorder=0)
    right.set(xlim=(low, 1.02), ylim=(low, 1.02), xlabel="Validation AUC", ylabel="Test AUC")
    right.set_box_aspect(1)
    right.set_title(f"B   n = {len(runs)} runs\nline: no loss")
    return fig, points


def table(split: Split) -> Table | None:
    """What each rule of choice would have given."""
    if (found := areas(split)) is None or found[1].empty:
        return None
    runs, rules, patients, positives = found
    rows = [[RULES.get(r.rule, r.rule), str(r.members), fixed(r.test_auc, 3)] for r in rules.itertuples()]
    middle = runs["test_auc"]
    rows.append(
        [
            "median of all runs (range)",
            str(len(runs)),
            f"{fixed(middle.median(), 3)} ({interval(middle.min(), middle.max(), 3)})",
        ]
    )
    caption = (
        f"After the fact: AUC of the network in the test part (n = {patients}, {positives} with metastases) under each rule of choice. The rule was "
        "set before; this table must not change it."
    )
    return Table(caption, ["Rule", "Networks", "Test AUC"], rows)
