"""Figures of the repeated splits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from promet.core.words import count
from promet.report import style
from promet.report.text import fixed, interval, known, level
from promet.report.words import title_of, unseen

if TYPE_CHECKING:
    from promet.report.read import Split, Study
    from promet.study.forms.metrics import Metrics
    from promet.study.forms.pooled import Pooled


def add(made: style.Figures, study: Study, split: Split) -> None:
    """The splits, when there are several."""
    if study.pooled and study.pooled["splits"] > 1:
        keys = [k for k in unseen(split.metrics) if (study.pooled["sections"].get(k) or {}).get("scores")]
        if keys:
            ci = level(study.pooled["confidence"])
            fig, points = splits(study.pooled, keys, split.metrics)
            made.add(
                "splits",
                fig,
                f"AUC in each of {study.pooled['splits']} splits (dots) and pooled (square, {ci} interval). {_who(split)}",
                "AUCs of the splits by score.",
                points,
            )


def _who(split: Split) -> str:
    """Whose AUCs differ between the splits, and by what."""
    if split.paper and split.later:
        return (
            "Synchronous: other test patients in "
            "each split, interval corrected for the patients the splits share. Metachronous: the same patients in every split, only the "
            "models differ."
        )
    told = "Test part: other patients in each split, interval corrected for the patients the splits share."
    later = " Metachronous patients: the same in every split, only the models differ."
    return told + (later if split.later else "")


def splits(pooled: Pooled, keys: list[str], metrics: Metrics | None) -> tuple[Figure, list[style.Point]]:
    """A row per score: the AUC of each split, the pooled one with its interval; and the dots."""
    names = [n for n in pooled["order"] if any(n in pooled["sections"][k]["scores"] for k in keys)]
    lines, columns = style.in_rows(len(keys))
    fig = style.figure((0.9 + 0.3 * len(names)) * lines)
    points: list[style.Point] = []
    for place, key in enumerate(keys):
        axes, section = fig.add_subplot(lines, columns, place + 1), pooled["sections"][key]
        for row, name in enumerate(names):
            y, record = len(names) - 1 - row, section["scores"].get(name)
            if record is None or not known(record["mean"]):
                continue
            colour, title = str(style.score_style(name)["color"]), title_of(metrics, name)
            each = [(k, v) for k, v in enumerate(record["values"]) if known(v)]
            axes.plot(
                [v for _, v in each],
                [y - 0.16] * len(each),
                "o",
                color=colour,
                markersize=2.6,
                markeredgewidth=0,
                alpha=0.6,
            )
            points += [(axes, v, y - 0.16, f"{title}, split {k:02d}: AUC {fixed(v)}") for k, v in each]
            if known(record["low"]):
                axes.plot(
                    [record["low"], record["high"]],
                    [y + 0.1] * 2,
                    color=colour,
                    linewidth=1.6,
                    solid_capstyle="butt",
                )
            axes.plot([record["mean"]], [y + 0.1], "s", color=colour, markersize=4.5, markeredgewidth=0)
            told = f"{fixed(record['mean'])} ({interval(record['low'], record['high'])})"
            axes.text(1.04, y, told, va="center", fontsize=6.5)
        axes.axvline(0.5, color=style.LIGHT, linewidth=0.8, zorder=0)
        axes.set(xlim=(0, 1), ylim=(-0.6, len(names) - 0.4), xlabel="AUC")
        axes.set_yticks(
            range(len(names)), [title_of(metrics, n) for n in reversed(names)] if place % columns == 0 else []
        )
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        patients = f", {section['n_tested']:g} patients tested in each" if known(section["n_tested"]) else ""
        axes.set_title(f"{section['title']}\n{count(pooled['splits'], 'split')}{patients}")
        if len(keys) > 1:
            style.letter(axes, place)
    return fig, points
