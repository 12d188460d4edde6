"""The figures of a manuscript, composed of the panels of the page: 1 overview, 2 result, 3 survival."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from promet.report import style
from promet.report.sections.discrimination import figures as discrimination
from promet.report.sections.inputs import figures as inputs
from promet.report.sections.survival import figures as survival
from promet.report.text import fixed
from promet.report.words import INPUTS, primary

if TYPE_CHECKING:
    from promet.report.read import Split, Study
    from promet.study.forms.metrics import Metrics

NETWORKS = {
    "squeezenet": "SqueezeNet",
    "resnet18": "ResNet18",
    "mobilenet": "MobileNet",
    "shufflenet": "ShuffleNet",
}
LEADING = ["multimodal", "cnn_score"]


def keep(made: style.Figures, study: Study, split: Split) -> None:
    """Write those that the records allow."""
    shown = discrimination.shown(split.metrics)
    if split.metrics and primary(split.metrics) in shown:
        made.keep("figure-1", overview(study, split))
    if split.metrics and shown and (found := inputs.over(split)) is not None:
        made.keep("figure-2", result(split.metrics, shown[-1], found))
    if (kinds := survival.kinds(split.survival)) and split.survival is not None:
        made.keep("figure-3", survival.kaplan_meier(split.survival, kinds)[0])


def overview(study: Study, split: Split) -> Figure:
    """A: from the scan to the score. B: ROC of the synchronous test part."""
    fig = style.figure(3.1)
    pipeline, axes = fig.subplots(1, 2, width_ratios=[1.25, 1])
    _pipeline(pipeline, study.config)
    discrimination.curves(axes, split.metrics or {}, primary(split.metrics), LEADING)
    axes.set_box_aspect(1)
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], loc="lower right", fontsize=6.2)
    style.letter(axes, "B")
    return fig


def _pipeline(axes: Axes, config: dict[str, Any]) -> None:
    """Boxes from the PET to the multimodal score, in units of a panel 100 wide."""
    axes.set(xlim=(0, 100), ylim=(-0.5, 100.5))
    axes.axis("off")
    axes.set_title("A   From the scan to the score\n")
    imaging, network = config.get("imaging") or {}, config.get("network") or {}
    shape = " × ".join(map(str, (imaging.get("crop") or {}).get("shape", ()))) or "fixed size"
    name = str((network.get("architecture") or {}).get("name", "network"))
    fused = ((config.get("fusion") or {}).get("models") or {}).get("multimodal") or list(INPUTS)
    others = ", ".join(INPUTS.get(i, i) for i in fused if i != "cnn_score")
    rows = (
        (style.BLUE, "PSMA PET with masks of prostate and lesions"),
        (
            style.BLUE,
            f"Cuboid around the prostate, {shape} voxels\nPET (prostate only) and lesion map, two channels",
        ),
        (style.VERMILION, f"{NETWORKS.get(name, name)} in 3D: CNN score"),
        (style.GREEN, "Naive Bayes of the CNN score and\n" + _folded(others, 46)),
        (style.BLACK, "Multimodal score"),
    )
    heights = [8.5 + 5 * text.count("\n") for _, text in rows]
    gap = (100 - sum(heights)) / (len(rows) - 1)
    edges, top = [], 100.0
    for tall, (colour, text) in zip(heights, rows, strict=True):
        y, top = top - tall / 2, top - tall - gap
        box = FancyBboxPatch((1, y - tall / 2), 98, tall, boxstyle="round,pad=0,rounding_size=1.5")
        box.set(facecolor="white", edgecolor=colour, linewidth=1)
        axes.add_patch(box)
        axes.text(50, y, text, ha="center", va="center", fontsize=6.8, linespacing=1.35)
        edges.append((y + tall / 2, y - tall / 2))
    for (_, bottom), (top, _) in itertools.pairwise(edges):
        style.arrow(axes, (50, bottom), (50, top))


def _folded(text: str, width: int) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, width))


def result(metrics: Metrics, key: str, found: tuple[Any, list[dict[str, Any]], str]) -> Figure:
    """A: ranking of the inputs. B: ROC of the multimodal score. C: every score with interval and p."""
    _, ranking, where = found
    names = [n for n in metrics["order"] if n in metrics["sections"][key]["scores"]]
    fig = style.figure(4.9)
    upper, lower = fig.subfigures(2, 1, height_ratios=[1.15, 1])
    bars, axes = upper.subplots(1, 2)
    below = lower.subplots()
    inputs.ranked(bars, ranking, where)
    bars.set_title(f"Inputs of the multimodal score\n{where}")
    style.letter(bars, "A")
    discrimination.curves(axes, metrics, key, ["multimodal"])
    axes.set_box_aspect(1)
    area = metrics["sections"][key]["scores"]["multimodal"]["auc"]
    told = f"Multimodal, AUC {fixed(area)}\n({discrimination.bounds(metrics['sections'][key], 'multimodal')})"
    axes.text(0.97, 0.06, told, ha="right", fontsize=6.5, linespacing=1.4)
    style.letter(axes, "B")
    discrimination.areas(below, metrics, key, names, tests=True)
    head = f"AUC ({discrimination.kind(metrics, key)}),\nMann-Whitney p"
    below.text(1.04, len(names) - 0.2, head, va="bottom", fontsize=6.5, weight="bold")
    style.letter(below, "C")
    return fig
