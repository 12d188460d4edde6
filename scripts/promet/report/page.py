"""What the page shows, and the page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from promet.core.stage import versions
from promet.core.words import count
from promet.report import calibrated, doubts, verdict, words
from promet.report import text as numbers
from promet.report.read import Split, Study
from promet.report.sections.attention import tables as attention
from promet.report.sections.benefit import tables as benefit
from promet.report.sections.discrimination import tables as discrimination
from promet.report.sections.flow import tables as flow
from promet.report.sections.images import gallery
from promet.report.sections.images import tables as images
from promet.report.sections.inputs import tables as inputs
from promet.report.sections.methods import paragraphs
from promet.report.sections.provenance import tables as provenance
from promet.report.sections.repeats import tables as repeats
from promet.report.sections.scores import tables as scores
from promet.report.sections.selection import tables as selection
from promet.report.sections.survival import tables as survival
from promet.report.sections.tripod import tables as tripod
from promet.report.settings import Report
from promet.report.style import Figures
from promet.report.text import fixed, interval, known

HERE = Path(__file__).parent
WEB = HERE / "web"


def answer(split: Split) -> dict[str, Any] | None:
    """The first screen's answer: section, rows (title, AUC, interval, n, bar in percent), sentences."""
    found = words.lead_section(split.metrics)
    if found is None or split.metrics is None:
        return None
    key, section = found
    confidence = split.metrics["confidence"]
    rows = []
    for name in words.LEADING:
        record = section["scores"].get(name)
        if record is None or not known(record["auc"]):
            continue
        low, high = calibrated.quoted(section, name)
        rows.append(
            {
                "title": words.title_of(split.metrics, name),
                "auc": fixed(record["auc"]),
                "ci": interval(low, high),
                "n": record["n"],
                "low": 100 * (low if known(low) else record["auc"]),
                "high": 100 * (high if known(high) else record["auc"]),
                "at": 100 * record["auc"],
            }
        )
    sentences = [words.verdict(section, confidence)]
    for other in ("clinical", "suv_max"):
        sentences.append(words.comparison(section, split.metrics, other, confidence))
    instead = ""
    if key != (asked := split.metrics["later"]) and asked:
        later = split.metrics["sections"].get(asked) or {}
        told = "metastases on the same scan" if section["words"] == "metastases" else section["words"]
        instead = f"The answer is for {told}. " + (
            later.get("reason") or "The metachronous cohort gives no AUC."
        )
    yes, no = words.sides(section)
    return {
        "title": section["title"],
        "n": section["n"],
        "yes": f"{section['positives']} {yes}",
        "no": f"{section['negatives']} {no}",
        "level": numbers.level(confidence),
        "rows": rows,
        "interval": calibrated.INTERVALS[calibrated.preferred(section)],
        "sentences": [s for s in sentences if s],
        "advice": calibrated.advice(section),
        "instead": instead,
        "key": words.key(split),
    }


@dataclass(frozen=True)
class Part:
    """A section of the page: its anchor, which is the name of its folder, and its headline."""

    id: str
    title: str


def parts(study: Study, split: Split) -> list[Part]:
    """The sections in their order; those that need a record of their own only where it is."""
    shown = [
        Part("flow", "Cohort"),
        Part("images", "Images"),
        Part("training", "Training"),
        Part("selection", "Selection"),
        Part("discrimination", "Discrimination"),
        Part("inputs", "Inputs of the multimodal score"),
        Part("survival", "Survival"),
        Part("benefit", "Calibration and benefit"),
    ]
    if split.values("attention").get("patients"):
        shown.append(Part("attention", "Attention"))
    if len(study.splits) > 1:
        shown.append(Part("repeats", "Repeated splits"))
    shown.append(Part("scores", "New patients"))
    if study.bundle:
        shown.append(Part("locked", "Locked model"))
    if study.checklist:
        shown.append(Part("tripod", "TRIPOD+AI and model card"))
    return [*shown, Part("methods", "Methods"), Part("provenance", "Provenance")]


def context(study: Study, settings: Report, figures: Figures) -> dict[str, Any]:
    """Everything the templates show: what several sections share, and what each section adds."""
    split = study.splits[0]
    level_on = settings.patient_level
    pictures = gallery.context(study, split, level_on)
    found = doubts.doubts(study, split)
    scripts = ("page.js", *(["viewer.js"] if pictures["volumes"] else []))
    return {
        "settings": settings,
        "title": words.headline(settings.title, split),
        "learnt": split.learnt,
        "later": split.later,
        "nowhere": words.nowhere(split.metrics),
        "study": study,
        "split": split,
        "dataset": split.values("dataset"),
        "version": versions().get("promet", ""),
        "css": (WEB / "page.css").read_text(encoding="utf-8"),
        "js": "".join((WEB / name).read_text(encoding="utf-8") for name in scripts),
        "parts": parts(study, split),
        "figures": figures.drawn,
        "question": settings.question or words.question(split),
        "people": words.people(study, split),
        "state": words.state(study),
        "answer": answer(split),
        "verdict": verdict.verdict(split.metrics, found),
        "doubts": found,
        **flow.context(study, split, level_on),
        **images.context(study),
        **pictures,
        **selection.context(study, split),
        **discrimination.context(split.metrics),
        **inputs.context(split, level_on),
        **survival.context(split.survival),
        **benefit.context(split.metrics),
        **attention.context(split, level_on),
        **repeats.context(study, split),
        **scores.context(study, split),
        "checklist": tripod.checklist(study.checklist),
        "methods": paragraphs.paragraphs(study, split),
        **provenance.context(study, level_on),
        "fixed": fixed,
        "interval": interval,
        "p_value": numbers.p_value,
        "level": numbers.level,
        "count": count,
    }


def render(values: dict[str, Any]) -> str:
    """The page."""
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("web/page.html").render(values)
