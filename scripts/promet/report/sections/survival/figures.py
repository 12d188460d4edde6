"""Figures of the survival: Kaplan-Meier curves with the numbers at risk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from promet.core.words import count
from promet.report import style
from promet.report.sections.survival.tables import named
from promet.report.text import fixed, p_value

if TYPE_CHECKING:
    from promet.report.read import Split
    from promet.study.forms.survival import Survival

GROUPS = {
    "low": (style.BLUE, "-"),
    "middle": (style.ORANGE, "--"),
    "high": (style.VERMILION, "-"),
    "all": (style.BLACK, "-"),
}


TESTS = {"logrank": "Log-rank", "gray": "Gray's test"}


def test_of(survival: Survival) -> str:
    """The test that compares the curves: Gray's where another event competes, for which the log-rank test is not made."""
    return "gray" if survival["competing"] else "logrank"


def drawn(share: Any, survival: Survival) -> Any:
    """Percent of the panel: free of the event, or, where another event competes, those who had it."""
    return 100 * (1 - share) if survival["competing"] else 100 * share


def kinds(survival: Survival | None) -> list[str]:
    """The cuts that have groups to draw."""
    if not survival or survival["status"] != "ok":
        return []
    return [k for k in ("tertiles", "median") if (survival["cuts"].get(k) or {}).get("groups")]


def add(made: style.Figures, split: Split, others: str = "patients of the test part") -> None:
    """The curves by tertile and by median, of every outcome over time; ``others``: who is judged if not the metachronous."""
    for name, survival in named(split.survival):
        if survival is not None and (shown := kinds(survival)):
            _add(made, name, survival, shown, others)


def _add(made: style.Figures, key: str, survival: Survival, shown: list[str], others: str) -> None:
    test = test_of(survival)
    tests = "; ".join(f"{k}: {p_value(survival['cuts'][k][test]['p'])}" for k in shown)  # type: ignore[literal-required]
    words, name = survival["words"], TESTS[test]
    whose = "metachronous patients" if survival["part"] == "metachronous" else others
    kind = (
        f"Aalen-Johansen curves of the cumulative incidence of {words} in the {whose}, where another event competes"
        if survival["competing"]
        else f"Kaplan-Meier curves of freedom from {words} in the {whose}"
    )
    fig, points = kaplan_meier(survival, shown)
    made.add(
        key,
        fig,
        f"{kind}; ticks: end of follow-up without "
        f"{words}; band: pointwise interval. The cut points are quantiles of these patients' own scores.",
        f"{'Aalen-Johansen' if survival['competing'] else 'Kaplan-Meier'} curves. {name} {tests}.",
        points,
    )


def kaplan_meier(survival: Survival, kinds: list[str]) -> tuple[Figure, list[style.Point]]:
    """Curves by tertile and median with ticks at the censored, and the numbers at risk below; and the steps."""
    fig = style.figure(3.6)
    fig.get_layout_engine().set(wspace=0.06)  # room for the names of the groups beside the numbers at risk
    points: list[style.Point] = []
    words, test = survival["words"], test_of(survival)
    came = "progressed" if words == "progression" else "with the event"
    state = f"with {words}" if survival["competing"] else f"free of {words}"
    label = f"Cumulative incidence of {words} (%)" if survival["competing"] else f"Free of {words} (%)"
    grid = fig.subplots(2, len(kinds), height_ratios=[4, 1], squeeze=False)
    for place, kind in enumerate(kinds):
        cut = survival["cuts"][kind]
        axes, below = grid[0][place], grid[1][place]
        for group in cut["groups"]:
            colour, dash = GROUPS.get(group["name"], (style.BLACK, "-"))
            curve = group["curve"]
            axes.step(
                curve["time"],
                drawn(np.array(curve["survival"]), survival),
                where="post",
                color=colour,
                linestyle=dash,
                linewidth=1.6,
                label=f"{group['name']}, n = {group['n']}, {group['events']} {came}",
            )
            if len(cut["groups"]) == 2:
                _band(axes, curve, colour, survival)
            for time, share, number in zip(
                group["at_risk"]["time"], _at(group), group["at_risk"]["n"], strict=True
            ):
                told = f"{group['name']} score, month {time:g}: {fixed(drawn(share, survival), 0)} % {state}, {count(number, 'patient')} at risk"
                points.append((axes, time, drawn(share, survival), told))
            ticks = group["censored"]
            axes.plot(
                ticks["time"],
                drawn(np.array(ticks["survival"]), survival),
                "|",
                color=colour,
                markersize=6,
                markeredgewidth=0.9,
            )
        times = cut["groups"][0]["at_risk"]["time"]
        end = max([*times, *(t for g in cut["groups"] for t in g["curve"]["time"])])
        axes.set(xlim=(-0.02 * end, end * 1.02), ylim=(0, 103), xlabel="Months after the scan", xticks=times)
        axes.set_ylabel(label if place == 0 else "")
        name = "tertile" if kind == "tertiles" else kind
        axes.set_title(
            f"By {name} of the multimodal score\nn = {survival['n']}, {TESTS[test].lower() if test == 'logrank' else TESTS[test]} {p_value(cut[test]['p'])}"
        )
        axes.legend(
            loc="upper left" if survival["competing"] else "lower left", title="Score group", alignment="left"
        )
        _at_risk(below, cut, axes.get_xlim())
        style.letter(axes, place)
    return fig, points


def _at(group: dict[str, Any]) -> np.ndarray:
    """Survival at the times of the numbers at risk."""
    curve = group["curve"]
    place = np.searchsorted(curve["time"], group["at_risk"]["time"], side="right") - 1
    return np.array(curve["survival"])[place]


def _band(axes: Axes, curve: dict[str, Any], colour: str, survival: Survival) -> None:
    low, high = (
        drawn(np.array([np.nan if v is None else v for v in curve[k]], float), survival)
        for k in ("low", "high")
    )
    axes.fill_between(curve["time"], low, high, step="post", color=colour, alpha=0.12, linewidth=0)


def _at_risk(axes: Axes, cut: dict[str, Any], limits: tuple[float, float]) -> None:
    groups = cut["groups"]
    axes.set(xlim=limits, ylim=(-0.6, 3.4))
    axes.axis("off")
    axes.text(limits[0], 3, "Number at risk", va="center", weight="bold")
    for row, group in enumerate(groups):
        axes.text(
            -0.03,
            2 - row,
            group["name"],
            transform=axes.get_yaxis_transform(),
            ha="right",
            va="center",
        )
        for time, number in zip(group["at_risk"]["time"], group["at_risk"]["n"], strict=True):
            axes.text(time, 2 - row, str(number), ha="center", va="center")
