"""Tables of the discrimination: AUCs and paired tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from promet.report import calibrated
from promet.report.table import Table
from promet.report.text import NBSP, fixed, interval, known, level, p_value
from promet.report.words import PAPERS, analysed, notes, notes_of, nowhere, title_of
from promet.report.words import unseen as unseen_of

if TYPE_CHECKING:
    from promet.study.forms.metrics import Metrics


def context(metrics: Metrics | None) -> dict[str, Any]:
    """What the section shows besides its figures."""
    sections = (metrics or {}).get("sections", {})
    unseen, seen = analysed(metrics, seen=False), analysed(metrics, seen=True)
    return {
        "no_auc": nowhere(metrics).replace(PAPERS, "in the synchronous test part or the metachronous cohort"),
        "operating": operating(metrics),
        "aucs": [t for k in unseen if (t := aucs(metrics, k))],
        "apparent": [t for k in seen if (t := aucs(metrics, k))],
        "paired": [t for k in unseen if (t := paired(metrics, k))],
        "unavailable": [
            s["reason"] for s in (metrics or {}).get("scores", {}).values() if not s["available"]
        ],
        "empty": [
            f"{sections[k]['title']}: {sections[k]['reason']}"
            for k in unseen_of(metrics)
            if metrics and sections[k]["reason"]
        ],
    }


def aucs(metrics: Metrics, key: str) -> Table | None:
    """AUCs of all scores in one section."""
    section = metrics["sections"].get(key)
    if not section or section["status"] != "ok":
        return None
    ci = level(metrics["confidence"])
    rows, told = [], []
    for name in metrics["order"]:
        record = section["scores"].get(name)
        if record is None:
            continue
        if not record["n"]:
            told.append(f"{title_of(metrics, name)}: nobody here has it.")
            continue
        rows.append(
            [
                title_of(metrics, name),
                f"{record['n']} ({record['positives']}/{record['negatives']})",
                fixed(record["auc"], 3),
                _unbroken(record["delong"]),
                _unbroken(record.get("logit") or {}),
                _unbroken(record["bootstrap"]),
                p_value(record["delong"]["p"], ""),
                p_value(record["mann_whitney"]["p"], ""),
                p_value(record["mann_whitney"]["p_exact"], ""),
            ]
        )
        told += [f"{title_of(metrics, name)}: {note}" for note in notes(record)]
    head = [
        "Score",
        "n (with/without)",
        "AUC",
        f"{ci} CI, DeLong",
        f"{ci} CI, logit-DeLong",
        f"{ci} CI, bootstrap",
        "p, DeLong",
        "p, Mann-Whitney (normal)",
        "p, Mann-Whitney (exact)",
    ]
    seen = (
        " These patients took part in fitting or selection: this is not performance."
        if section["seen"]
        else ""
    )
    caption = f"{section['title']}, n = {section['n']}; patients without a score are left out of its row. p values test against AUC 0.5; the exact one counts every order of the scores, ties included.{seen}"
    quote = [] if section["seen"] else [calibrated.advice(section)]
    return Table(
        caption,
        head,
        rows,
        [*section["excluded"], *told, *notes_of(section)[0], *filter(None, quote)],
        compact=True,
    )


def _unbroken(bounds: dict[str, Any]) -> str:
    return interval(bounds.get("low"), bounds.get("high")).replace(" ", NBSP)


def paired(metrics: Metrics, key: str) -> Table | None:
    """Multimodal against every other score of the same patients."""
    section = metrics["sections"].get(key)
    if not section or not section["paired"]:
        return None
    rows, told = [], []
    for name in metrics["order"]:
        pair = section["paired"].get(name)
        if pair is None or not pair["n"]:
            continue
        title = title_of(metrics, name)
        rows.append(
            [
                title,
                str(pair["n"]),
                fixed(pair["auc_a"], 3),
                fixed(pair["auc_b"], 3),
                fixed(pair["difference"], 3),
                interval(pair["low"], pair["high"]),
                p_value(pair["p"], ""),
            ]
        )
        told += [f"{title}: {note}" for note in notes(pair)]
    head = [
        "Against",
        "n with both",
        "AUC multimodal",
        "AUC other",
        "Difference",
        f"{level(metrics['confidence'])} CI",
        "p, paired DeLong",
    ]
    caption = f"{section['title']}: multimodal score against each other score of the same patients."
    return Table(caption, head, rows, [*told, "No correction for the number of tests."])


def operating(metrics: Metrics | None) -> Table | None:
    """Sensitivity, specificity and predictive values of the multimodal score at the threshold of the validation part."""
    if metrics is None:
        return None
    rows: list[list[str]] = []
    for key in unseen_of(metrics):
        section = metrics["sections"][key]
        if (found := section["operating"]) is None:
            continue
        shares = (found["sensitivity"], found["specificity"], found["ppv"], found["npv"])
        cells = [
            f"{fixed(s['value'])} ({interval(s['low'], s['high'])})" if known(s["value"]) else fixed(None)
            for s in shares
        ]
        rows.append([section["title"], str(found["n"]), *cells])
    if not rows:
        return None
    ci = level(metrics["confidence"])
    caption = (
        "The multimodal score at one threshold (Youden's of the validation part; the patients here had no part in it), with "
        f"{ci} intervals. Not a recommended threshold."
    )
    head = ["", "n", "Sensitivity", "Specificity", "Positive predictive value", "Negative predictive value"]
    notes = list(
        dict.fromkeys(
            n
            for k in unseen_of(metrics)
            for n in (metrics["sections"][k]["operating"] or {"notes": []})["notes"]
        )
    )
    return Table(caption, head, rows, notes)
