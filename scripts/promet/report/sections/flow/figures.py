"""The cohort flow: who is in the table, who was lost, who is in which part."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from promet.core.words import count
from promet.report import style
from promet.report.words import latecomers, primary
from promet.study.ledger import ASSIGNED as DEVELOPMENT
from promet.study.ledger import METACHRONOUS, PROSPECTIVE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from promet.report.read import Split, Study
    from promet.study.forms.metrics import Metrics, Section

PARTS = (*DEVELOPMENT, METACHRONOUS, PROSPECTIVE)


def section_of(metrics: Metrics | None, part: str) -> Section | None:
    """The section that says who of a part has the outcome."""
    first, sections = primary(metrics), (metrics or {}).get("sections", {})
    keys = {"test": first, "metachronous": (metrics or {}).get("later", "metachronous"), "prospective": part}
    return sections.get(keys.get(part, f"{first}_{part}"))


@dataclass
class Box:
    """One part: all in it, excluded, without lesion, with the outcome, without, outcome unknown (None = not known yet)."""

    part: str
    total: int
    quarantined: int
    no_lesion: int
    positives: int | None = None
    negatives: int | None = None
    unknown: int | None = None
    words: str = "metastases"


@dataclass
class Flow:
    """The numbers of the flow figure; ``codes``: error code -> patients excluded with it."""

    total: int
    quarantined: int
    no_lesion: int
    codes: list[tuple[str, int]] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)


def count_flow(study: Study, split: Split) -> Flow:
    """Count; every patient of the table is in exactly one box."""
    status = {patient: study.status(patient) for patient in study.patients}
    totals = Counter(status.values())
    codes = Counter(row["code"] for row in study.exclusions if row["status"] == "quarantined")
    boxes = []
    for part in PARTS:
        members = [patient for patient in study.patients if split.part(patient) == part]
        if not members and (part == PROSPECTIVE or (part == METACHRONOUS and not split.later)):
            continue
        lost = Counter(status[patient] for patient in members)
        box = Box(part, len(members), lost["quarantined"], lost["no-lesion"])
        if members and (section := section_of(split.metrics, part)):
            box.words = section["words"]
            box.positives, box.negatives = section["positives"], section["negatives"]
            box.unknown = box.total - box.quarantined - section["n"]
        boxes.append(box)
    return Flow(
        len(status),
        totals["quarantined"],
        totals["no-lesion"],
        sorted(codes.items(), key=lambda c: (-c[1], c[0])),
        boxes,
    )


def _lines(box: Box) -> str:
    yes, no = ("progressed", "did not") if box.words == "progression" else (f"with {box.words}", "without")
    lines = [f"n = {box.total}"]
    if box.quarantined:
        lines.append(f"{box.quarantined} of them excluded")
    if box.positives or box.negatives:
        lines += [f"{box.positives} {yes}", f"{box.negatives} {no}"]
    if box.unknown:
        lines.append(f"{box.unknown} outcome unknown")
    if box.no_lesion:
        lines.append(f"{box.no_lesion} without lesion*")
    return "\n".join(lines)


def add(made: style.Figures, study: Study, split: Split) -> None:
    """The flow figure."""
    counted = count_flow(study, split)
    parts = ", ".join(f"{box.part} {box.total}" for box in counted.boxes)
    made.add(
        "flow",
        draw(counted),
        f"Cohort flow: the patients of the table, those excluded, and the parts of the study. Prospective patients are in no part. {latecomers(study, split)}".strip(),
        f"Flow diagram: {count(counted.total, 'patient')}, {counted.quarantined} excluded; {parts}.",
    )


LINE = 2.1  # height of a line of text in units of the panel, which is 100 wide


def draw(flow: Flow) -> Figure:
    """Boxes and arrows, in units of the panel; heights follow from the text."""
    shown = flow.boxes
    inner = [box for box in shown if box.part in DEVELOPMENT]
    step = 100 / len(shown)
    centres = {box.part: step * (k + 0.5) for k, box in enumerate(shown)}
    middle = sum(centres[box.part] for box in inner) / len(inner)
    codes = [f"{number} × {code}" for code, number in flow.codes[:4]]
    if len(flow.codes) > 4:
        codes.append(f"{sum(n for _, n in flow.codes[4:])} × other codes")
    where = ["(still counted in their part below)"] if flow.quarantined else []
    lost = "\n".join([f"Excluded, bad data: n = {flow.quarantined}", *codes, *where])
    # From the bottom up: footnote, parts, development, branch, exclusions, all patients.
    floor = 4.0 if flow.no_lesion else 0.5
    deep = 6.5 + LINE * max(_lines(box).count("\n") + 1 for box in shown)
    roof = floor + deep
    band = roof + 5.5  # bottom of the development box
    branch = band + 6.5 + 3.5
    tall = 3 + LINE * (lost.count("\n") + 1)
    crown = branch + 3 + tall + 2.5  # bottom of the first box
    fig = style.figure((crown + 9.5) / 100 * style.WIDTH)
    axes = fig.add_subplot()
    axes.set(xlim=(0, 100), ylim=(0, crown + 9), aspect="equal")
    axes.axis("off")
    line = {"color": style.BLACK, "linewidth": 0.8, "solid_capstyle": "butt"}
    _box(axes, middle, crown + 4.25, 34, 8.5, f"Patients in the table\nn = {flow.total}", bold=True)
    axes.plot([middle, middle], [crown, branch], **line)
    height = branch + 3 + tall / 2
    style.arrow(axes, (middle, height), (64, height))
    _box(axes, 81, height, 34, tall, lost, edge=style.VERMILION)
    others = [centres[box.part] for box in shown if box.part not in DEVELOPMENT]
    axes.plot([middle, max([middle, *others])], [branch, branch], **line)
    style.arrow(axes, (middle, branch), (middle, band + 6.5))
    total = sum(box.total for box in inner)
    _box(axes, middle, band + 3.25, len(inner) * step - 1.6, 6.5, f"Development\u2002n = {total}", bold=True)
    for box in shown:
        x = centres[box.part]
        style.arrow(axes, (x, band if box in inner else branch), (x, roof))
        colour = style.BLACK if box.total else style.GREY
        _box(axes, x, floor + deep / 2, step - 1.6, deep, "", edge=style.BLUE if box.total else style.LIGHT)
        head = {"ha": "center", "color": colour}
        axes.text(x, roof - 2.6, box.part.capitalize(), va="center", weight="bold", fontsize=7.5, **head)
        axes.text(x, roof - 5, _lines(box), va="top", fontsize=7, linespacing=1.45, **head)
    if flow.no_lesion:
        note = "* no lesion found in the prostate: no network score, scored from the other inputs"
        axes.text(0.8, 0.6, note, fontsize=6.5, va="bottom", color=style.GREY)
    return fig


def _box(
    axes: Axes,
    x: float,
    y: float,
    width: float,
    height: float,
    text: str,
    edge: str = "#333333",
    bold: bool = False,
) -> None:
    from matplotlib.patches import FancyBboxPatch

    axes.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - height / 2),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=0.8",
            facecolor="white",
            edgecolor=edge,
            linewidth=0.9,
        )
    )
    axes.text(
        x,
        y,
        text,
        ha="center",
        va="center",
        fontsize=7.5,
        linespacing=1.4,
        weight="bold" if bold else "normal",
    )
