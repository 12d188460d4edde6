"""Tables of the results: AUCs, paired tests, the naive Bayes, new patients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from promet.core.words import count
from promet.report import calibrated
from promet.report.table import Table
from promet.report.text import DASH, NBSP, fixed, interval, known, level, listed, p_value, probability, short
from promet.report.words import INPUTS, heading, title_of

if TYPE_CHECKING:
    from promet.report.read import Split, Study


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
        notes += [
            f"{title_of(metrics, name)}: {note}"
            for note in record["notes"]
            if not note.endswith("they are left out.")
        ]
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
    return Table(caption, head, rows, [*section["excluded"], *notes, *filter(None, quote)], compact=True)


def _unbroken(bounds: dict[str, Any]) -> str:
    return interval(bounds.get("low"), bounds.get("high")).replace(" ", NBSP)


def paired(metrics: dict[str, Any], key: str) -> Table | None:
    """Multimodal against every other score of the same patients."""
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
    caption = f"{section['title']}: multimodal score against each other score of the same patients."
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
        title = heading(name) + (", logarithm" if name in logged else "")
        seen = [str(n) for n in entry["seen"]]
        if entry["dropped"]:
            rows.append([title, seen[1], DASH, seen[0], DASH, DASH])
            continue
        floored = entry.get("floored", [False, False])
        spread = [
            f"{short(m)} ± {short(v**0.5)}{'*' if floor else ''}"
            for m, v, floor in zip(entry["mean"], entry["variance"], floored, strict=True)
        ]
        pooled = (sum(entry["variance"]) / 2) ** 0.5
        apart = fixed((entry["mean"][1] - entry["mean"][0]) / pooled, 2) if pooled else DASH
        rows.append([title, seen[1], spread[1], seen[0], spread[0], apart])
    prior = model["prior"]
    notes = [
        f"Prior log-odds from {100 * prior[1]:.0f} % with metastases in the fitted patients.",
        *(
            [
                "* The spread of all fitted patients together: the values of the class alone are too few or too alike."
            ]
            if any(any(entry.get("floored", [])) for entry in model["features"].values())
            else []
        ),
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
            probability(row.get("multimodal_probability")),
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
    note = "The probability holds at the share of metastases among the fitted patients and is not calibrated: compare ranks, not percentages."
    return Table("Scores of patients in no part of the study.", head, rows, [note], sortable=True)


def lost_prospective(study: Study, split: Split) -> str:
    """A sentence on the patients beyond the study who could not be scored or only in part."""
    new = [p for p in study.patients if split.part(p) == "prospective"]
    status = [study.status(p) for p in new]
    told = []
    if bad := status.count("quarantined"):
        told.append(f"{count(bad, 'patient is', 'patients are')} excluded because of bad data and not scored")
    if bare := status.count("no-lesion"):
        told.append(f"{count(bare, 'patient has', 'patients have')} no lesion and so no network score")
    return f"Of {count(len(new), 'new patient')}, {listed(told)}." if told else ""


def permutation(split: Split) -> Table | None:
    """The models under permuted labels."""
    told = split.permutation
    if not told:
        return None
    rows = []
    for name, model in told["models"].items():
        if not known(model["observed"]):
            continue
        cells = [title_of(split.metrics, name), f"{model['n']} ({model['positives']}/{model['negatives']})"]
        for kind in ("fit", "all"):
            null = model[kind]
            cells += [
                f"{fixed(null['mean'])} ({interval(null['low'], null['high'])})",
                p_value(null["p"], ""),
            ]
        rows.append([*cells[:2], fixed(model["observed"]), *cells[2:]])
    head = [
        "Score", "n (with/without)", "AUC, true labels", "Fit permuted: mean (2.5 to 97.5 %)", "p", "All permuted: mean (2.5 to 97.5 %)", "p",
    ]  # fmt: skip
    caption = f"Test part: AUC after {told['permutations']} permutations of the labels."
    return Table(caption, head, rows, told["notes"]) if rows else None


def pooled(study: Study, split: Split, key: str) -> Table | None:
    """The AUCs of all splits together in one section."""
    told = study.pooled
    section = ((told or {}).get("sections") or {}).get(key)
    if not told or told["splits"] < 2 or not section or not section["scores"]:
        return None
    rows = []
    for name in told["order"]:
        record = section["scores"].get(name)
        if record is None or not record["n"]:
            continue
        other = section["differences"].get(name) or {}
        rows.append(
            [
                title_of(split.metrics, name),
                str(record["n"]),
                fixed(record["mean"], 3),
                fixed(record["sd"], 3),
                interval(record["smallest"], record["largest"]),
                interval(record["low"], record["high"]),
                p_value(record["p"], ""),
                fixed(other.get("mean"), 3),
                interval(other.get("low"), other.get("high")),
                p_value(other.get("p"), ""),
            ]
        )
    ci = level(told["confidence"])
    head = [
        "Score", "Splits", "Mean AUC", "SD", "Range", f"{ci} CI", "p", "Multimodal less this", f"{ci} CI", "p",
    ]  # fmt: skip
    how = {
        "corrected": "Intervals corrected for the patients that the splits share (Nadeau & Bengio).",
        "fixed": "The same patients in every split: intervals join their uncertainty and that of the models.",
    }[section["method"]]
    return Table(
        f"{section['title']}: {told['splits']} splits together. {how}",
        head,
        rows,
        section["notes"],
        compact=True,
    )
