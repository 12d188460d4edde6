"""The stage ``report``: report.html, one file without outside parts, and its figures."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import ValidationError

from promet.core.errors import UsageError
from promet.core.files import write_text
from promet.core.sidecar import Sidecar
from promet.core.stage import Outcome, run_stage, versions
from promet.report import calibrated, calibration_tables, chance, flow, methods, read, tables, words
from promet.report import text as numbers
from promet.report.read import Split, Study
from promet.report.settings import Report
from promet.report.text import fixed, interval, known

HERE = Path(__file__).parent
PRODUCT = "report.html"
THUMBNAIL = 560  # pixels across: readable, and 100 pictures stay below 3 MB
QUALITY = 55
SECTIONS = ("synchronous", "metachronous")


class Figures:
    """Draws figures into a folder and keeps them for the page; ``paths``: every file written."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.paths = folder, {}
        self.drawn: dict[str, Any] = {}

    def add(self, name: str, fig: Any, caption: str, alt: str) -> None:
        from promet.report import style

        self.drawn[name], paths = style.save(fig, self.folder, name, caption, alt)
        self.paths |= paths


def draw(study: Study, split: Split, folder: Path) -> Figures:
    """All figures the data allow."""
    from promet.report import result_figures, style, training_figures

    made = Figures(folder)
    with style.look():
        numbers_of = flow.count_flow(study, split)
        alt = ", ".join(f"{box.part} {box.total}" for box in numbers_of.boxes)
        made.add(
            "flow",
            flow.draw(numbers_of),
            "Cohort flow: the men of the table, those excluded, and the parts of the study.",
            f"Flow diagram: {numbers_of.total} men, {numbers_of.quarantined} excluded; {alt}.",
        )
        _draw_training(split, made, training_figures)
        if split.metrics is not None:
            keys = [k for k in SECTIONS if _has_auc(split.metrics, k)]
            if keys:
                told = _told_aucs(split.metrics, keys)
                made.add(
                    "roc",
                    result_figures.roc(split.metrics, keys),
                    "ROC curves. In the legend AUC with DeLong interval and the men who have the score; dotted: chance.",
                    f"ROC curves. {told}",
                )
                made.add(
                    "forest",
                    result_figures.forest(split.metrics, keys),
                    "AUC of every score with its DeLong interval; dotted: chance.",
                    f"AUCs with intervals. {told}",
                )
            _draw_probabilities(split.metrics, made)
        ranking = split.values("explain").get("ranking")
        if split.shap is not None and ranking and any(known(row["mean_abs_shap"]) for row in ranking):
            over = split.values("explain").get("over", "all")
            long = split.shap if over == "all" else split.shap[split.shap["part"] == over]
            where = f"{'Test part' if over == 'test' else 'All men'} (n = {long['patient'].nunique()})"
            order = ", ".join(
                f"{words.INPUTS.get(r['input'], r['input'])} {fixed(r['mean_abs_shap'])}" for r in ranking
            )
            made.add(
                "shap",
                result_figures.shapley(long, ranking, where),
                "Inputs of the multimodal score by mean absolute Shapley value (A) and the value for each man (B), in log-odds. "
                "The ranking counts only men in whom the input is known.",
                f"Mean absolute SHAP: {order}.",
            )
        if split.survival and split.survival["status"] == "ok":
            kinds = [k for k in ("tertiles", "median") if (split.survival["cuts"].get(k) or {}).get("groups")]
            if kinds:
                tests = "; ".join(
                    f"{k}: {numbers.p_value(split.survival['cuts'][k]['logrank']['p'])}" for k in kinds
                )
                made.add(
                    "survival",
                    result_figures.kaplan_meier(split.survival, kinds),
                    "Kaplan-Meier curves of freedom from progression in the metachronous men; ticks: end of follow-up without "
                    "progression; band: pointwise interval. The cut points are quantiles of these men's own scores.",
                    f"Kaplan-Meier curves. Log-rank {tests}.",
                )
    return made


def _draw_training(split: Split, made: Figures, training_figures: Any) -> None:
    values, size = split.values("select"), split.values("dataset")
    chosen = (values["variant"], values["seed"]) if "seed" in values else None
    runs = [run for run in split.runs if run.history is not None and len(run.history)]
    if runs:
        fig, cut = training_figures.learning(runs, chosen, size)
        more = " The highest losses are cut off." if cut else ""
        made.add(
            "learning",
            fig,
            f"Learning curves of {numbers.count(len(runs), 'run')}. Dots: the epoch whose weights were kept; blue with the red dot: the "
            f"selected run.{more}",
            f"Training loss, validation loss and validation AUC over the epochs of {len(runs)} runs.",
        )
    table = split.candidates
    if table is not None and len(table) > 1:
        positives = size.get("validation_positive", 0)
        negatives = size.get("validation", 0) - positives
        usable = min(positives, negatives) > 0
        null = chance.null_aucs(positives, negatives) if usable else None
        expected = chance.expected_best(positives, negatives, len(table)) if usable else None
        areas = table["validation_auc"].to_numpy()
        made.add(
            "spread",
            training_figures.spread(
                areas, int(table["selected"].to_numpy().argmax()), expected, positives, negatives, null
            ),
            "Validation AUC of every run, one dot each.",
            f"{len(areas)} validation AUCs from {fixed(areas.min())} to {fixed(areas.max())}.",
        )


def _draw_probabilities(metrics: dict[str, Any], made: Figures) -> None:
    """Calibration and decision curves of the sections that were not seen in fitting."""
    from promet.report import calibration_figures

    keys = [k for k in SECTIONS if calibration_figures.drawable(metrics, k)]
    ci = numbers.level(metrics["confidence"])
    if keys:
        told = []
        for key in keys:
            section = metrics["sections"][key]
            for name in calibration_figures.drawable(metrics, key):
                groups = section["calibration"][name]["before"]["groups"]
                each = ", ".join(
                    f"{fixed(g['probability'])} given and {g['positives']} of {g['n']} observed"
                    for g in groups
                )
                told.append(f"{words.title_of(metrics, name)}, {section['title']}: {each}.")
        made.add(
            "calibration",
            calibration_figures.calibration(metrics, keys),
            "Calibration: probability given against the share of men with the outcome. Dots: groups of equal size by probability, n "
            f"beside them, bars: {ci} Wilson intervals. Lines, from 50 men on: smooth curve (lowess), band: pointwise {ci} bootstrap interval "
            "of the curve as fitted. Recalibration moves the probabilities, not the order of the men: the same groups, "
            "bars not repeated.",
            f"Calibration plots, groups as fitted. {' '.join(told)}",
        )
    keys = [
        k for k in SECTIONS if ((metrics["sections"].get(k) or {}).get("decision") or {}).get("treat_all")
    ]
    if keys:
        titles = {name: words.title_of(metrics, name) for name in metrics["order"]}
        told = [s for k in keys for s in calibrated.benefit(metrics["sections"][k], titles)]
        made.add(
            "decision",
            calibration_figures.decision(metrics, keys),
            "Decision curves of the probabilities as fitted, in the men who have them all. Net benefit: share of true positives "
            "less the share of false positives weighted by the odds of the threshold; a model is of use where it lies above "
            "both treating all and treating none. Values far below 0 are cut off; no intervals.",
            f"Decision curves. {' '.join(told)}",
        )


def _has_auc(metrics: dict[str, Any], key: str) -> bool:
    scores = (metrics["sections"].get(key) or {}).get("scores", {})
    return any(known(record["auc"]) for record in scores.values())


def _told_aucs(metrics: dict[str, Any], keys: list[str]) -> str:
    told = []
    for key in keys:
        scores = metrics["sections"][key]["scores"]
        each = [
            f"{words.title_of(metrics, n)} {fixed(scores[n]['auc'])}" for n in metrics["order"] if n in scores
        ]
        told.append(f"{metrics['sections'][key]['title']}: {', '.join(each)}.")
    return " ".join(told)


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
        low, high = record["delong"]["low"], record["delong"]["high"]
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
        "sentences": [s for s in sentences if s],
        "advice": calibrated.advice(section),
        "instead": instead,
    }


def gallery(study: Study) -> list[dict[str, str]]:
    """Thumbnails of the quality pictures as data URIs, with what is noteworthy about each."""
    from PIL import Image

    shown = []
    notes = {p: [w for who, r in study.records if who == p for w in r.warnings] for p in study.pictures}
    for patient, path in sorted(study.pictures.items()):
        with Image.open(path) as picture:
            small = picture.convert("RGB")
            small.thumbnail((THUMBNAIL, THUMBNAIL))
            data = io.BytesIO()
            small.save(data, "WEBP", quality=QUALITY, method=6)
        uri = "data:image/webp;base64," + base64.b64encode(data.getvalue()).decode()
        status = study.status(patient)
        told = ([] if status == "ok" else [status]) + notes[patient]
        shown.append(
            {
                "patient": patient,
                "uri": uri,
                "notes": " ".join(told),
                "width": small.width,
                "height": small.height,
            }
        )
    return shown


def context(study: Study, settings: Report, figures: Figures) -> dict[str, Any]:
    """Everything the template shows."""
    split = study.splits[0]
    metrics = split.metrics
    level_on = settings.patient_level
    order = [k for k in (metrics or {}).get("section_order", []) if metrics["sections"][k]["status"] == "ok"]
    titles = {name: words.title_of(metrics, name) for name in (metrics or {}).get("order", [])}
    unseen = [k for k in order if not metrics["sections"][k]["seen"]]
    seen = [k for k in order if metrics["sections"][k]["seen"]]
    return {
        "settings": settings,
        "study": study,
        "split": split,
        "version": versions().get("promet", ""),
        "css": (HERE / "page.css").read_text(encoding="utf-8"),
        "question": settings.question or words.question((metrics or {}).get("horizon_months")),
        "people": words.people(study, split),
        "answer": answer(split),
        "doubts": words.doubts(study, split),
        "figures": figures.drawn,
        "flow": flow.count_flow(study, split),
        "baseline": tables.baseline(split, metrics),
        "excluded": tables.excluded(study, level_on),
        "measures": tables.measures(study),
        "inside": tables.inside(study),
        "candidates": tables.candidates(split),
        "select": split.values("select"),
        "dataset": split.values("dataset"),
        "aucs": [t for k in unseen if (t := tables.aucs(metrics, k))],
        "apparent": [t for k in seen if (t := tables.aucs(metrics, k))],
        "paired": [t for k in unseen if (t := tables.paired(metrics, k))],
        "calibration": [t for k in unseen if (t := calibration_tables.calibration(metrics, k))],
        "unusable": calibrated.unusable(metrics or {}, titles),
        "benefit": [s for k in unseen for s in calibrated.benefit(metrics["sections"][k], titles)],
        "over_time": calibration_tables.over_time(split.survival),
        "unavailable": [
            s["reason"] for s in (metrics or {}).get("scores", {}).values() if not s["available"]
        ],
        "empty": [
            f"{metrics['sections'][k]['title']}: {metrics['sections'][k]['reason']}"
            for k in (SECTIONS if metrics else ())
            if metrics["sections"][k]["reason"]
        ],
        "densities": tables.densities(split),
        "explain": split.values("explain"),
        "survival": split.survival,
        "gallery": gallery(study) if level_on else [],
        "prospective": tables.prospective(study, split),
        "splits": tables.splits(study),
        "methods": methods.paragraphs(study, split),
        "configuration": tables.configuration(study.config),
        "durations": tables.durations(read.durations(study)),
        "versions": tables.Table(
            "Software.",
            ["Package", "Version"],
            [list(v) for v in read.versions(study, versions("snakemake", "matplotlib"))],
        ),
        "warnings": tables.warnings(study, level_on),
        "fixed": fixed,
        "interval": interval,
        "p_value": numbers.p_value,
        "level": numbers.level,
        "count": numbers.count,
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


def build(study: Path, cohort: Path, ledger: Path, config: str, out: Path, pin: str) -> Sidecar:
    """Write report.html and figures/NAME.svg|png beside ``out``, and the sidecar ``out`` last.

    Raises:
        UsageError: the table or the configuration cannot be used.
        IntegrityError: a product is not the one its record names.
    """
    found = read.study(study, cohort, ledger, config)
    try:
        settings = Report.model_validate(found.config.get("report") or {})
    except ValidationError as error:
        places = ", ".join(".".join(map(str, fault["loc"])) for fault in error.errors())
        raise UsageError("E_CONFIG_VALUE", f"The section report is not valid at {places}") from error

    def work() -> Outcome:
        figures = draw(found, found.splits[0], out.parent / "figures")
        values = context(found, settings, figures)
        page = out.with_name(PRODUCT)
        write_text(page, render(values))
        told = {
            "patients": len(found.patients),
            "figures": sorted(figures.drawn),
            "doubts": len(values["doubts"]),
        }
        return Outcome({PRODUCT: page, **figures.paths}, {**told, "bytes": page.stat().st_size})

    return run_stage(
        "report",
        out,
        pin,
        work,
        upstream=found.upstream,
        makes=(PRODUCT,),
        packages=("matplotlib", "jinja2", "numpy", "pandas", "pillow"),
    )
