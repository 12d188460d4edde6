"""The pages of this room: report.html of a validation, and pooled.html with forest plots."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from promet.centres.forest import forest
from promet.centres.form import REASONS
from promet.core.files import write_text
from promet.core.stage import versions
from promet.core.words import count
from promet.evaluation.stats.auc import logit_interval
from promet.model.card import statement
from promet.report.read import Split
from promet.report.style import Figures, look
from promet.report.table import Table
from promet.report.text import fixed, interval, level, p_value

if TYPE_CHECKING:
    from promet.centres.scored import Scored
    from promet.model.opened import Bundle
    from promet.study.forms.metrics import Metrics
    from promet.study.forms.survival import Survival

HERE = Path(__file__).parent
REPORT = HERE.parent / "report"
SHOWN = ("auc", "oe", "slope", "intercept")


def render(template: str, values: dict[str, Any]) -> str:
    """A page of ``web`` with the look of the report."""
    environment = Environment(
        loader=FileSystemLoader([HERE / "web", REPORT]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    css = (REPORT / "web/page.css").read_text(encoding="utf-8")
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


def validated(
    told: dict[str, Any],
    metrics: Metrics,
    survival: Survival,
    patients: Scored,
    model: Bundle,
    path: Path,
) -> dict[str, Path]:
    """Write report.html of a hospital's validation at ``path`` and its figures; gives the figures' files.

    The sections on discrimination, calibration and survival are those of a study's report.
    """
    from promet.report.sections.benefit import figures as benefit
    from promet.report.sections.benefit import tables as benefits
    from promet.report.sections.discrimination import figures as discrimination
    from promet.report.sections.discrimination import tables as discriminations
    from promet.report.sections.survival import figures as curves
    from promet.report.sections.survival import tables as survivals

    figures = Figures(path.parent / "figures")
    split = Split("00", metrics=metrics, survival=survival)
    with look():
        discrimination.add(figures, split, False)
        benefit.add(figures, metrics)
        curves.add(figures, split, "patients of this hospital")
    values = {
        "site": told,
        "model": model,
        "statement": statement(model.training, model.contract.get("outcome")),
        "update": model.update,
        "limits": _limits(told["auc"], told["level"]),
        "why": REASONS.get(told["auc"].get("reason"), ""),
        "patients": patients,
        "figures": figures.drawn,
        "who": _who(told),
        "cuts": [_cut(cut, told["level"]) for cut in told["groups"]],
        "subgroups": [_subgroup(name, found, told["level"]) for name, found in told["subgroups"].items()],
        **discriminations.context(metrics),
        **benefits.context(metrics),
        **survivals.context(survival),
        "fixed": fixed,
        "interval": interval,
        "p_value": p_value,
        "level": level,
        "count": count,
    }
    write_text(path, render("validated.html", values))
    return figures.paths


def _who(told: dict[str, Any]) -> Table:
    rows = [
        ["scored, with a known outcome", str(told["n"])],
        ["with the event", str(told["events"])],
        *([["with a competing event", str(told["competing"])]] if told["outcome"].get("competing") else []),
        ["not scored (refused)", str(told["refused"])],
        *([["median follow-up, months", fixed(told["followup"], 0)]] if told["horizon"] else []),
        *([f"{name} missing", str(number)] for name, number in told["missing"].items() if number),
    ]
    return Table("Patients, as they are told to others.", ["", "patients"], rows)


def _cut(cut: dict[str, Any], confidence: float) -> Table:
    rows = [
        [
            row["name"],
            "hidden" if row["n"] is None else str(row["n"]),
            "hidden" if row["events"] is None else str(row["events"]),
            fixed(row["mean_p"]),
            fixed(row["observed"]),
            interval(row["low"], row["high"]),
        ]
        for row in cut["groups"]
    ]
    return Table(
        f"Groups of the model's cut “{cut['name']}”, fixed where it was locked.",
        [
            "group",
            "patients",
            "with the event",
            "mean probability",
            "observed",
            f"{level(confidence)} interval",
        ],
        rows,
    )


def _limits(area: dict[str, Any], confidence: float) -> tuple[float | None, float | None]:
    if not area["logit_se"]:
        return None, None
    found = logit_interval(area["value"], area["se"], confidence)
    return found["low"], found["high"]


def _subgroup(name: str, found: dict[str, Any], confidence: float) -> Table:
    rows = []
    for row in found["groups"]:
        area, ratio = row["auc"], row["oe"]
        rows.append(
            [
                row["name"],
                "hidden" if row["n"] is None else str(row["n"]),
                "hidden" if row["events"] is None else str(row["events"]),
                fixed(area["value"]),
                interval(*_limits(area, confidence)),
                fixed(ratio["O"] / ratio["E"]) if ratio["O"] is not None and ratio["E"] else fixed(None),
            ]
        )
    if found["p"] is None:
        said = "Fewer than two groups have an AUC: whether they differ was not tested."
    else:
        said = (
            f"Do the AUCs differ? Cochran's Q {p_value(found['p'])}, corrected for the number of attributes {p_value(found['p_holm'])}"
            + (
                f"; score x group {p_value(found['interaction_p'])}"
                if found["interaction_p"] is not None
                else ""
            )
            + ". A large p is lack of evidence, not evidence that the model works alike."
        )
    return Table(
        f"By {name.replace('_', ' ')}.",
        ["", "patients", "with the event", "AUC", f"{level(confidence)} interval", "observed / expected"],
        rows,
        [said],
    )
