"""What the figures show, as far as a machine can look."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest

from promet.report import read, style
from promet.report.draw import draw
from promet.report.sections.benefit import figures as benefit
from promet.report.sections.discrimination import figures as discrimination
from promet.report.sections.inputs import figures as inputs


@pytest.fixture(scope="module")
def whole(full):
    return read.study(full.study, full.cohort, full.ledger, full.config)


def overlapping(fig):
    """Pairs of texts of a figure that lie on each other."""
    fig.canvas.draw()
    texts = [t for axes in fig.axes for t in axes.texts if t.get_text().strip()]
    boxes = [t.get_window_extent() for t in texts]
    return [
        (texts[i].get_text(), texts[j].get_text())
        for i in range(len(boxes))
        for j in range(i)
        if boxes[i].overlaps(boxes[j])
    ]


def test_every_layout_holds(whole, tmp_path):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", module="promet")  # a layout that was given up is a warning only
        drawn = draw(whole, whole.splits[0], tmp_path, patient_level=True).drawn
    # and every figure has a caption of its own in Snakemake's report
    captions = (Path(__file__).parents[2] / "workflow/report/figures.rst").read_text(encoding="utf-8")
    assert {*drawn, "variants", "splits"} == set(re.findall(r'^  "(\w+)": "', captions, re.M))


def test_groups_of_a_calibration_plot_are_told_apart():
    places = [0.001, 0.002, 0.5, 0.99, 1.0]
    shown = benefit.apart(places, 0.025)
    assert min(np.diff(shown)) >= 0.025 - 1e-12 and min(shown) >= 0 and max(shown) <= 1
    assert shown[2] == 0.5 and benefit.apart([0.1, 0.4]) == [0.1, 0.4]
    groups = [{"n": n} for n in (5, 5, 6)]
    assert benefit.sizes(groups) == "3 groups of 5 to 6" and benefit.sizes(groups[:1]) == "1 group of 5"


def test_no_label_lies_on_another(whole):
    metrics = whole.splits[0].metrics
    for group in metrics["sections"]["metachronous"]["calibration"]["multimodal"]["before"]["groups"][:2]:
        group |= {"probability": 0.01, "observed": 0.4}
    with style.look():
        assert overlapping(benefit.calibration(metrics, ["synchronous", "metachronous"])) == []
        assert overlapping(discrimination.forest(metrics, ["synchronous", "metachronous"])) == []


def test_patients_lie_on_the_curve_of_their_input_or_at_the_edge_of_the_frame(whole):
    split = whole.splits[0]
    long, ranking, _ = inputs.over(split)
    names = [row["input"] for row in ranking]
    with style.look():
        fig = inputs.effects(split.bayes["models"]["multimodal"], split.bayes["log"], long, names, True)
    panels = 0
    for axes in fig.axes:
        lines = axes.get_lines()
        if len(lines) < 4:
            continue
        panels += 1
        curve, dots, edges = lines[1], lines[3], lines[4:]
        x, y = curve.get_xdata(), curve.get_ydata()
        at, shap = dots.get_xdata(), dots.get_ydata()
        assert len(at) + sum(len(edge.get_xdata()) for edge in edges) == (
            long["input"] == names[panels - 1]
        ).sum() - (long.loc[long["input"] == names[panels - 1], "value"].isna().sum())
        assert (
            np.allclose(np.interp(at, x, y), shap, atol=0.05)
            and ((at >= x[0] - 1e-9) & (at <= x[-1] + 1e-9)).all()
        )
        assert all(abs(place) == inputs.CUT for edge in edges for place in edge.get_ydata())
    assert panels == len(
        [n for n in names if not split.bayes["models"]["multimodal"]["features"][n]["dropped"]]
    )


def test_bins_hold_equally_many_values_of_an_auc():
    for positives, negatives in ((6, 8), (20, 30), (3, 3)):
        steps = np.arange(positives * negatives + 1) / (positives * negatives)
        counts = np.histogram(steps, inputs._bins(positives, negatives))[0]
        assert counts.sum() in (len(steps), len(steps) - 1) or counts[-1] < counts[0]
        assert len(set(counts[:-1])) == 1


def test_figures_show_the_interval_that_the_answer_quotes(whole):
    metrics = whole.splits[0].metrics
    section = metrics["sections"]["metachronous"]
    kind = section["interval_advice"]["prefer"]
    low = section["scores"]["multimodal"][kind]["low"]
    assert kind != "delong" and "DeLong" in discrimination.kind(metrics, "metachronous")
    assert discrimination.bounds(section, "multimodal").startswith(f"{low:.2f} to ")
    with style.look():
        fig = discrimination.forest(metrics, ["metachronous"])
    assert any(f"({low:.2f} to" in text.get_text() for text in fig.axes[0].texts)
