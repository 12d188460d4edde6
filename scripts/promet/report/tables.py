"""The tables of the page: plain text cells, made from the products."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from promet.report import calibrated
from promet.report.text import (
    DASH,
    NBSP,
    count,
    fixed,
    interval,
    known,
    level,
    p_value,
    quartiles,
    seconds,
    short,
)
from promet.report.words import INPUTS, title_of

if TYPE_CHECKING:
    from promet.report.read import Split, Study

DIGITS = {
    "cnn_score": 3,
    "grade_group": 0,
    "positive_cores_percent": 0,
    "primary_score": 0,
    "psma_expression": 0,
}
MEASURES = {
    "suv_max": "lesion SUVmax",
    "suv_peak": "SUVpeak",
    "organ_ml": "prostate volume (ml)",
    "lesion_ml": "lesion volume (ml)",
    "lesion_count": "lesions",
    "inside_fraction": "share of the prostate inside the box",
}


@dataclass
class Table:
    """A table: caption, column heads, rows of text (first cell is the row's head), notes below, marked rows."""

    caption: str
    head: list[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)
    marked: set[int] = field(default_factory=set)
    sortable: bool = False
    compact: bool = False


def baseline(split: Split, metrics: dict[str, Any] | None) -> Table | None:
    """Table 1: the inputs by part and outcome, with the missing."""
    table = split.predictions
    if table is None or table.empty:
        return None
    groups = []
    for part in ("training", "validation", "test"):
        for label, name in ((0.0, "none"), (1.0, "metastases")):
            groups.append(
                (f"{part.capitalize()}: {name}", table[(table["part"] == part) & (table["label"] == label)])
            )
    groups.append(("Metachronous", table[table["part"] == "metachronous"]))
    rest = table[~table["part"].isin(["training", "validation", "test", "metachronous"])]
    groups.append(("Prospective", rest))
    groups = [(name, group) for name, group in groups if len(group)]
    units = {"psa": " (ng/ml)", "positive_cores_percent": " (%)", "cnn_score": " (logit)"}
    rows = [["n", *(str(len(group)) for _, group in groups)]]
    for name, title in INPUTS.items():
        if name not in table:
            continue
        cells = []
        for _, group in groups:
            values = group[name].dropna()
            gone = len(group) - len(values)
            text = quartiles(values.to_numpy(), DIGITS.get(name, 1)).replace(" (", "\n(")
            cells.append(text + (f"\n{gone}{NBSP}missing" if gone else ""))
        rows.append([title[0].upper() + title[1:] + units.get(name, ""), *cells])
    return Table(
        "Inputs of the fused score by part and outcome on the scan: median (quartiles), and how many are missing.",
        ["", *(name for name, _ in groups)],
        rows,
        ["Quarantined patients are not in this table."],
        compact=True,
    )


def excluded(study: Study, patient_level: bool) -> Table | None:
    """Who is excluded and why; single patients only when asked."""
    if not study.exclusions:
        return None
    if patient_level:
        rows = [[r["patient"], r["status"], r["code"], r["reason"], r["origin"]] for r in study.exclusions]
        head = ["Patient", "Status", "Code", "Reason", "Stage"]
        return Table("Patients excluded or without a lesion.", head, rows, sortable=True)
    counts = Counter((r["status"], r["code"], r["origin"]) for r in study.exclusions)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rows = [[status, code, origin, str(number)] for (status, code, origin), number in ordered]
    note = (
        "Single patients are shown when report.patient_level is on; promet status names them on the terminal."
    )
    return Table("Exclusions by reason.", ["Status", "Code", "Stage", "Men"], rows, [note])


def measures(study: Study) -> Table | None:
    """Quality of the images in numbers."""
    table = study.measures
    if table is None or table.empty:
        return None
    rows = []
    for name, title in MEASURES.items():
        values = table[name].dropna() if name in table else []
        if len(values):
            digits = 3 if name == "inside_fraction" else 1
            spread = interval(float(values.min()), float(values.max()), digits)
            rows.append(
                [title[0].upper() + title[1:], str(len(values)), quartiles(values.to_numpy(), digits), spread]
            )
    return Table("Measures of the images.", ["", "n", "Median (quartiles)", "Range"], rows) if rows else None


def inside(study: Study) -> str:
    """A sentence on how much of the prostates lies inside the box."""
    table = study.measures
    values = table["inside_fraction"].dropna() if table is not None and "inside_fraction" in table else []
    if not len(values):
        return "How much of each prostate lies inside the box is not recorded."
    cut = values[values < 1]
    if not len(cut):
        return f"In all {len(values)} men with a box the whole prostate lies inside it."
    return (
        f"In {len(cut)} of {len(values)} men with a box a part of the prostate lies outside it; the smallest share "
        f"inside is {100 * float(cut.min()):.1f} %."
    )


def candidates(split: Split, limit: int = 10) -> Table | None:
    """The runs, best first."""
    table = split.candidates
    if table is None or table.empty:
        return None
    rows, marked = [], set()
    for row in table.to_dict("records"):
        if row["selected"]:
            marked.add(len(rows))
        cells = [
            row["variant"],
            str(row["seed"]),
            fixed(row["validation_auc"], 3),
            fixed(row["validation_loss"], 3),
        ]
        rows.append(
            [*cells, str(row["best_epoch"]), str(row["epochs"]), "selected" if row["selected"] else ""]
        )
    head = ["Variant", "Seed", "Validation AUC", "Validation loss", "Epoch kept", "Epochs run", ""]
    return Table(
        f"All {len(rows)} runs, best first." if len(rows) > 1 else "The only run.",
        head,
        rows,
        marked=marked,
        sortable=True,
    )


def aucs(metrics: dict[str, Any], key: str) -> Table | None:
    """AUCs of all scores in one section."""
    section = metrics["sections"].get(key)
    if not section or section["status"] != "ok":
        return None
    ci = level(metrics["confidence"])
    rows, notes = [], []
    for name in metrics["order"]:
        record = section["scores"].get(name)
        if record is None:
            continue
        if not record["n"]:
            notes.append(f"{title_of(metrics, name)}: nobody here has it.")
            continue
        boot = record["bootstrap"]
        rows.append(
            [
                title_of(metrics, name),
                f"{record['n']} ({record['positives']}/{record['negatives']})",
                fixed(record["auc"], 3),
                interval(record["delong"]["low"], record["delong"]["high"]),
                interval(boot["low"], boot["high"]),
                p_value(record["delong"]["p"], ""),
                p_value(record["mann_whitney"]["p"], ""),
                p_value(record["mann_whitney"]["p_exact"], ""),
            ]
        )
        notes += [
            f"{title_of(metrics, name)}: {note}"
            for note in record["notes"]
            if not note.startswith("Some scores are tied") and not note.endswith("they are left out.")
        ]
    head = [
        "Score",
        "n (with/without)",
        "AUC",
        f"{ci} CI, DeLong",
        f"{ci} CI, bootstrap",
        "p, DeLong",
        "p, Mann-Whitney (normal)",
        "p, Mann-Whitney (exact)",
    ]
    seen = " These men took part in fitting or selection: this is not performance." if section["seen"] else ""
    caption = f"{section['title']}, n = {section['n']}; men without a score are left out of its row. p values test against AUC 0.5; no exact p where scores are tied.{seen}"
    quote = [] if section["seen"] else [calibrated.advice(section)]
    return Table(caption, head, rows, [*section["excluded"], *notes, *filter(None, quote)])


def paired(metrics: dict[str, Any], key: str) -> Table | None:
    """Multimodal against every other score of the same men."""
    section = metrics["sections"].get(key)
    if not section or not section["paired"]:
        return None
    rows, notes = [], []
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
        notes += [f"{title}: {note}" for note in pair["notes"] if not note.endswith("they are left out.")]
    head = [
        "Against",
        "n with both",
        "AUC multimodal",
        "AUC other",
        "Difference",
        f"{level(metrics['confidence'])} CI",
        "p, paired DeLong",
    ]
    caption = f"{section['title']}: multimodal score against each other score of the same men."
    return Table(caption, head, rows, [*notes, "No correction for the number of tests."])


def densities(split: Split) -> Table | None:
    """What the naive Bayes has learned of each input."""
    model = ((split.bayes or {}).get("models") or {}).get("multimodal")
    if model is None:
        return None
    logged = (split.bayes or {}).get("log", [])
    rows = []
    for name in model["order"]:
        entry = model["features"][name]
        title = f"log {INPUTS.get(name, name)}" if name in logged else INPUTS.get(name, name)
        seen = [str(n) for n in entry["seen"]]
        if entry["dropped"]:
            rows.append([title, seen[1], DASH, seen[0], DASH, DASH])
            continue
        spread = [
            f"{short(m)} ± {short(v**0.5)}" for m, v in zip(entry["mean"], entry["variance"], strict=True)
        ]
        pooled = (sum(entry["variance"]) / 2) ** 0.5
        apart = fixed((entry["mean"][1] - entry["mean"][0]) / pooled, 2) if pooled else DASH
        rows.append([title, seen[1], spread[1], seen[0], spread[0], apart])
    prior = model["prior"]
    notes = [
        f"Prior log-odds from {100 * prior[1]:.0f} % with metastases in the fitted men.",
        *model["warnings"],
    ]
    head = ["Input", "n with metastases", "mean ± SD", "n without", "mean ± SD", "difference in SD"]
    return Table("The two densities of each input in the multimodal score.", head, rows, notes)


def prospective(study: Study, split: Split) -> Table | None:
    """Scores of the patients who are in no part of the split."""
    table = split.predictions
    if table is None:
        return None
    mine = table[[split.part(p) == "prospective" for p in table["patient"]]]
    rows = []
    for row in mine.to_dict("records"):
        gone = [INPUTS[name] for name in INPUTS if name in row and not known(row[name])]
        cells = [row["patient"], fixed(row.get("cnn_score")), fixed(row.get("multimodal"))]
        cells += [
            fixed(row.get("multimodal_probability")),
            fixed(row.get("clinical")),
            ", ".join(gone) or "none",
        ]
        rows.append(cells)
    if not rows:
        return None
    head = [
        "Patient",
        "CNN (logit)",
        "Multimodal (log-odds)",
        "Multimodal (probability)",
        "Clinical (log-odds)",
        "Missing inputs",
    ]
    note = "The probability holds at the share of metastases among the fitted men and is not calibrated: compare ranks, not percentages."
    return Table("Scores of men in no part of the study.", head, rows, [note], sortable=True)


def splits(study: Study) -> Table | None:
    """The same AUCs in every split."""
    if len(study.splits) < 2:
        return None
    rows = []
    for split in study.splits:
        cells = [split.number, fixed(split.values("select").get("validation_auc"))]
        for key in ("synchronous", "metachronous"):
            scores = ((split.metrics or {}).get("sections", {}).get(key) or {}).get("scores", {})
            cells += [
                fixed((scores.get(name) or {}).get("auc")) for name in ("multimodal", "cnn_score", "clinical")
            ]
        rows.append(cells)
    names = [
        f"{when}: {name}" for when in ("Test", "Metachronous") for name in ("multimodal", "CNN", "clinical")
    ]
    return Table(
        "AUCs in every split.",
        ["Split", "Validation AUC", *names],
        rows,
        ["The metachronous men are the same in every split; the page shows the first split."],
    )


def configuration(config: dict[str, Any]) -> Table:
    """Every key."""

    def walk(value: Any, path: str) -> Iterable[tuple[str, str]]:
        if isinstance(value, dict) and value:
            for key in sorted(value):
                yield from walk(value[key], f"{path}.{key}" if path else str(key))
        elif isinstance(value, list):
            yield path, ", ".join(map(_told, value)) or "none"
        else:
            yield path, _told(value)

    return Table(
        "Configuration, every key but the paths.", ["Key", "Value"], [list(pair) for pair in walk(config, "")]
    )


def _told(value: Any) -> str:
    if value is None or value == {}:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def durations(rows: list[tuple[str, int, float, float]]) -> Table | None:
    """Wall time per stage."""
    cells = [[stage, str(jobs), seconds(total), seconds(longest)] for stage, jobs, total, longest in rows]
    return (
        Table("Wall time of the jobs that made what is shown.", ["Stage", "Jobs", "In all", "Longest"], cells)
        if cells
        else None
    )


def warnings(study: Study, patient_level: bool) -> Table | None:
    """Warnings of all stages; without patient level, those that differ only in numbers are one row."""
    ids = sorted(map(re.escape, study.patients), key=len, reverse=True)
    patient = re.compile(rf"(?<![\w-])(?:{'|'.join(ids)})(?![\w-])") if ids else None
    counts: Counter[tuple[str, str]] = Counter()
    for _, record in study.records:
        for sentence in record.warnings:
            told = sentence
            if not patient_level and patient is not None:
                told = re.sub(r"\d+(?:[.,]\d+)?", "…", patient.sub("A patient", told))
            counts[record.stage, told] += 1
    if not counts:
        return None
    ordered = sorted(counts.items(), key=lambda item: (item[0][0], -item[1], item[0][1]))
    rows = [[stage, sentence, str(number)] for (stage, sentence), number in ordered]
    note = (
        ""
        if patient_level
        else "Numbers are replaced by … and patients are not named (report.patient_level is off)."
    )
    caption = f"{count(sum(counts.values()), 'warning')} of all stages."
    return Table(caption, ["Stage", "Warning", "Times"], rows, [note] if note else [])
