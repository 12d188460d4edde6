"""The pages of this room: pooled.html with forest plots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from promet.centres.forest import forest
from promet.centres.form import REASONS
from promet.core.files import write_text
from promet.core.stage import versions
from promet.core.words import count
from promet.report.style import Figures, look
from promet.report.table import Table
from promet.report.text import fixed, interval, level, p_value

HERE = Path(__file__).parent
WEB = HERE / "web"
SHOWN = ("auc", "oe", "slope", "intercept")


def render(template: str, values: dict[str, Any]) -> str:
    """A page of ``web`` with the look of the report."""
    environment = Environment(
        loader=FileSystemLoader(WEB),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    css = (HERE.parent / "report/web/page.css").read_text(encoding="utf-8")
    return environment.get_template(template).render(
        {**values, "css": css, "version": versions().get("promet", "")}
    )


def pooled(found: dict[str, Any], out: Path) -> None:
    """Write pooled.html and figures/NAME.svg|png of pooled.json ``found`` into ``out``."""
    figures = Figures(out / "figures")
    sizes = {site["site"]: f"{site['n']} / {site['events']}" for site in found["sites"]}
    with look():
        for key in SHOWN:
            measure = found["measures"][key]
            if measure["pooled"]["k"]:
                forest(figures, key, measure, sizes, found["level"])
    values = {
        "found": found,
        "figures": [figures.drawn[key] for key in SHOWN if key in figures.drawn],
        "tables": [_sites(found), _measures(found), *_benefit(found), *_left_out(found)],
        "outcome": _outcome(found),
        "answer": _answer(found),
    }
    write_text(out / "pooled.html", render("pooled.html", values))


def _outcome(found: dict[str, Any]) -> str:
    told = found["outcome"]
    name = told["event"].replace("_", " ")
    return name if told["kind"] == "binary" else f"{name} within {found['horizon']:g} months"


def _answer(found: dict[str, Any]) -> str:
    """The first sentence: the AUC, or why there is none."""
    measure, at = found["measures"]["auc"], level(found["level"])
    whole = measure["pooled"]
    if whole["mean"] is None:
        told = [
            f"{s['site']} {fixed(s['value'])} ({interval(s['low'], s['high'])})"
            for s in measure["sites"]
            if s["value"]
        ]
        return f"AUC by hospital ({at} interval): {'; '.join(told)}." if told else "No hospital has an AUC."
    ahead = whole["prediction"]
    return (
        f"AUC over {count(whole['k'], 'hospital')}: {fixed(whole['mean'])} ({at} interval {interval(whole['low'], whole['high'])}). "
        f"At a further hospital like these it is expected between {fixed(ahead['low'])} and {fixed(ahead['high'])}."
    )


def _sites(found: dict[str, Any]) -> Table:
    return Table(
        "Hospitals. Counts below the smallest cell are not told.",
        ["hospital", "patients", "with the event", "median follow-up, months", "model's digest compared"],
        [
            [
                s["site"],
                str(s["n"]),
                str(s["events"]),
                fixed(s["followup"], 0),
                "yes" if s["compared"] else "no",
            ]
            for s in found["sites"]
        ],
    )


def _measures(found: dict[str, Any]) -> Table:
    rows = []
    for measure in [*found["measures"].values(), *found["survival"].values()]:
        whole = measure["pooled"]
        rows.append(
            [
                measure["title"],
                str(whole["k"]),
                fixed(whole["mean"]),
                interval(whole["low"], whole["high"]),
                interval(whole["prediction"]["low"], whole["prediction"]["high"]),
                fixed(whole["i2"], 0),
                p_value(whole["q_p"], ""),
            ]
        )
    return Table(
        f"Pooled over hospitals (random effects, REML; {level(found['level'])} interval by Hartung and Knapp, never narrower than the "
        "plain one). Prediction: where a further hospital's value is expected.",
        ["", "hospitals", "mean", "interval", "prediction", "I², %", "p of Q"],
        rows,
    )


def _benefit(found: dict[str, Any]) -> list[Table]:
    rows = [
        [
            key,
            str(measure["pooled"]["k"]),
            fixed(measure["pooled"]["mean"], 3),
            interval(measure["pooled"]["low"], measure["pooled"]["high"], 3),
            f"{found['above_all'][key]['sites']} of {found['above_all'][key]['of']}",
        ]
        for key, measure in found["net_benefit"].items()
    ]
    return [
        Table(
            "Net benefit of acting on the model.",
            ["threshold", "hospitals", "mean", "interval", "better there than acting on everyone or nobody"],
            rows,
        )
    ]


def _left_out(found: dict[str, Any]) -> list[Table]:
    rows = [
        [row["site"], measure["title"], REASONS.get(row["reason"], "not given in the file")]
        for measure in [
            *found["measures"].values(),
            *found["survival"].values(),
            *found["net_benefit"].values(),
        ]
        for row in measure["left_out"]
    ]
    return [Table("Left out of the pooling.", ["hospital", "figure", "why"], rows)] if rows else []
