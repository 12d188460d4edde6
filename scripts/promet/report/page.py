"""What the page shows, and the page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from promet.core.stage import versions
from promet.core.words import count
from promet.report import (
    attention,
    bends,
    calibrated,
    calibration_tables,
    cohort_tables,
    doubts,
    gallery,
    hindsight_figures,
    methods,
    network_tables,
    read,
    record_tables,
    result_tables,
    survival_tables,
    verdict,
    words,
)
from promet.report import text as numbers
from promet.report.read import Split, Study
from promet.report.settings import Report
from promet.report.style import Figures
from promet.report.table import Table
from promet.report.text import fixed, interval, known

HERE = Path(__file__).parent
SECTIONS = ("synchronous", "metachronous")


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
    if key == "synchronous":
        later = split.metrics["sections"].get("metachronous") or {}
        instead = "The answer is for metastases on the same scan. " + (
            later.get("reason") or "The metachronous cohort gives no AUC."
        )
    yes, no = words.OUTCOMES[section["outcome"]]
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
    """A section of the page: its anchor, which is the name of its template, and its headline."""

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
    """Everything the template shows."""
    split = study.splits[0]
    level_on = settings.patient_level
    shown = gallery.items(study, split) if level_on else []
    volumes = gallery.volumes(shown)
    found = doubts.doubts(study, split)
    return {
        "settings": settings,
        "study": study,
        "split": split,
        "version": versions().get("promet", ""),
        "css": (HERE / "page.css").read_text(encoding="utf-8"),
        "js": "".join(
            (HERE / name).read_text(encoding="utf-8")
            for name in ("page.js", *(["viewer.js"] if volumes else []))
        ),
        "parts": parts(study, split),
        "figures": figures.drawn,
        "question": settings.question or words.question((split.metrics or {}).get("horizon_months")),
        "people": words.people(study, split),
        "state": words.state(study),
        "answer": answer(split),
        "verdict": verdict.verdict(split.metrics, found),
        "doubts": found,
        "gallery": shown,
        "sorts": gallery.SORTED,
        "volumes": volumes,
        "engine": gallery.engine() if volumes else {},
        "top": ((study.config.get("imaging") or {}).get("picture") or {}).get("suv_max", 15),
        "waterfalls": gallery.waterfalls(split) if level_on else [],
        "overlays": attention.pictures(split) if level_on else [],
        **_cohort(study, split, level_on),
        **_results(study, split),
        "methods": methods.paragraphs(study, split),
        "configuration": record_tables.configuration(study.config),
        "durations": record_tables.durations(read.durations(study)),
        "versions": Table(
            "Software.",
            ["Package", "Version"],
            [list(v) for v in read.versions(study, versions("snakemake", "matplotlib"))],
        ),
        "warnings": record_tables.warnings(study, level_on),
        "checklist": record_tables.checklist(study.checklist),
        "fixed": fixed,
        "interval": interval,
        "p_value": numbers.p_value,
        "level": numbers.level,
        "count": count,
    }


def _cohort(study: Study, split: Split, level_on: bool) -> dict[str, Any]:
    return {
        "lost": words.lost(study),
        "excluded": cohort_tables.excluded(study, level_on),
        "characteristics": cohort_tables.characteristics(study),
        "missing": cohort_tables.missing(study),
        "sites": [t for by in cohort_tables.GROUPED if (t := cohort_tables.compared(study, by))],
        "outliers": cohort_tables.outliers(study, level_on),
        "baseline": cohort_tables.baseline(split, split.metrics),
        "measures": cohort_tables.measures(study),
        "inside": cohort_tables.inside(study),
        "prospective": result_tables.prospective(study, split),
        "lost_prospective": result_tables.lost_prospective(study, split),
    }


def _results(study: Study, split: Split) -> dict[str, Any]:
    metrics = split.metrics
    order = [k for k in (metrics or {}).get("section_order", []) if metrics["sections"][k]["status"] == "ok"]
    titles = {name: words.title_of(metrics, name) for name in (metrics or {}).get("order", [])}
    unseen = [k for k in order if not metrics["sections"][k]["seen"]]
    seen = [k for k in order if metrics["sections"][k]["seen"]]
    scores = (metrics or {}).get("scores", {}).values()
    return {
        "dataset": split.values("dataset"),
        "select": split.values("select"),
        "rule": words.rule(split.values("select")),
        "candidates": network_tables.candidates(split),
        "variants": network_tables.variants(study, split),
        "splits": network_tables.splits(study),
        "hindsight": hindsight_figures.table(split),
        "attention": attention.table(split),
        "aucs": [t for k in unseen if (t := result_tables.aucs(metrics, k))],
        "apparent": [t for k in seen if (t := result_tables.aucs(metrics, k))],
        "paired": [t for k in unseen if (t := result_tables.paired(metrics, k))],
        "unavailable": [s["reason"] for s in scores if not s["available"]],
        "empty": [
            f"{metrics['sections'][k]['title']}: {metrics['sections'][k]['reason']}"
            for k in (SECTIONS if metrics else ())
            if metrics["sections"][k]["reason"]
        ],
        "calibration": [t for k in unseen if (t := calibration_tables.calibration(metrics, k))],
        "unusable": calibrated.unusable(metrics or {}, titles),
        "benefit": [s for k in unseen for s in calibrated.benefit(metrics["sections"][k], titles)],
        "densities": result_tables.densities(split),
        "bends": bends.sentences(split),
        "explain": split.values("explain"),
        "permutation": result_tables.permutation(split),
        "pooled": [t for k in SECTIONS if (t := result_tables.pooled(study, split, k))],
        "survival": split.survival,
        "groups": survival_tables.groups(split.survival),
        "over_time": survival_tables.over_time(split.survival),
        "at_horizon": survival_tables.at_horizon(split.survival),
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
    return environment.get_template("page.html").render(values)
