"""Tables of the cohort: plain text cells, made from the products."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from promet.report.table import Table
from promet.report.text import DASH, NBSP, fixed, known, p_value, quartiles, short
from promet.report.words import INPUTS, lost

if TYPE_CHECKING:
    from promet.report.read import Split, Study


def context(study: Study, split: Split, patient_level: bool) -> dict[str, Any]:
    """What the section shows besides its figures."""
    return {
        "lost": lost(study),
        "excluded": excluded(study, patient_level),
        "characteristics": characteristics(study),
        "missing": missing(study),
        "sites": [t for by in GROUPED if (t := compared(study, by))],
        "outliers": outliers(study, patient_level),
        "baseline": baseline(split),
    }


DIGITS = {
    "cnn_score": 3,
    "grade_group": 0,
    "positive_cores_percent": 0,
    "primary_score": 0,
    "psma_expression": 0,
}
GROUPED = {  # key of characteristics.json -> column of its rows, head, caption, what a mark says
    "sites": (
        "site",
        "Site",
        "Sites: medians of what a scanner or a protocol would shift.",
        "all other sites",
    ),
    "scanners": (
        "voxel_mm",
        "Voxel of the PET (mm)",
        "Voxel sizes, which stand for scanner and reconstruction: the same medians.",
        "all other voxel sizes",
    ),
}
COMPARED = {
    "suv_max": "lesion SUVmax",
    "organ_suv_mean": "prostate SUVmean",
    "organ_ml": "prostate volume (ml)",
    "lesion_ml": "lesion volume (ml)",
    "uptake_min": "uptake time (min)",
}


EM = "\u2003"


def characteristics(study: Study) -> Table | None:
    """Table 1: who the patients are, by cohort and outcome."""
    told = study.characteristics
    if not told or not told["rows"]:
        return None
    rows: list[list[str]] = []
    sizes = [sum(group["n"] for group in told["groups"]), *(group["n"] for group in told["groups"])]
    for row in told["rows"]:
        cells = [
            text.replace(" [", "\n[").replace(", ", f",{NBSP}") for text in (row["overall"], *row["cells"])
        ]
        cells.append("" if row["missing"] is None else str(row["missing"]))
        title = row["title"] + (f" ({row['unit']})" if row["unit"] else "")
        # Of how many a median or a percentage is, wherever that is not the n of the column.
        of = [f"of {k}" if k < n else "" for k, n in zip(row.get("known") or sizes, sizes, strict=True)]
        if row["level"] is None:
            told_of = [
                f"{cell}\n{text}" if text and cell != DASH else cell
                for cell, text in zip(cells, of, strict=False)
            ]
            rows.append([title, *told_of, cells[-1]])
            continue
        if row["missing"] is not None:  # the first level of a category
            rows.append([title, *of, cells.pop()])
            cells.append("")
        rows.append([EM + row["level"], *cells])
    groups = [f"{group['name']}, n{NBSP}={NBSP}{group['n']}" for group in told["groups"]]
    caption = (
        "Who the patients are, by cohort and outcome. Median [quartiles], or n (%), both of the patients whose value is known: of the n at "
        "the head of the column, or of as many as stand there."
    )
    return Table(
        caption, ["", f"All, n{NBSP}={NBSP}{sizes[0]}", *groups, "Missing"], rows, told["notes"], compact=True
    )


def missing(study: Study) -> Table | None:
    """What is missing, by group, and whether that differs with the outcome."""
    told = study.characteristics
    rows = [row for row in (told or {}).get("missing", []) if row["n"]]
    if not told or not rows:
        return None
    groups = [f"{group['name']}, n{NBSP}={NBSP}{group['n']}" for group in told["groups"]]
    cells = [
        [row["title"], f"{row['n']} of {row['total']}", *map(str, row["groups"]), p_value(row["p"], "")]
        for row in rows
    ]
    caption = (
        f"Missing values by group. p: Fisher's exact test of missing against {_learnt(study)} in development."
    )
    notes = [row["sentence"] for row in rows if row["sentence"]]
    return Table(caption, ["", "Missing", *groups, "p"], cells, notes, compact=True)


def _learnt(study: Study) -> str:
    """What is learnt, and when, where that is the paper's."""
    split = study.splits[0]
    return f"synchronous {split.learnt}" if split.paper else split.learnt


def compared(study: Study, by: str) -> Table | None:
    """Medians of each site or scanner, when there are several; ``by``: a key of ``GROUPED``."""
    column, head_, caption, others = GROUPED[by]
    told = (study.characteristics or {}).get(by) or []
    if len(told) < 2:
        return None
    names = [n for n in told[0]["medians"] if any(known(site["medians"].get(n)) for site in told)]
    rows = [
        [
            group[column],
            str(group["n"]),
            f"{group['positives']}/{group['negatives']}",
            *(short(group["medians"].get(n)) + (" *" if n in group["flags"] else "") for n in names),
        ]
        for group in told
    ]
    head = [
        head_,
        "n",
        f"Development with/without {study.splits[0].learnt}",
        *(COMPARED.get(n, n) for n in names),
    ]
    rule = f"from {others} together (Mann-Whitney, p < 0.01 divided by the number of tests)."
    marked = any(group["flags"] for group in told)
    note = f"* differs {rule}" if marked else f"No median differs {rule}"
    return Table(caption, head, rows, [note], compact=True)


def outliers(study: Study, patient_level: bool) -> Table | None:
    """Patients far from all others in one variable."""
    told = (study.characteristics or {}).get("outliers") or []
    if not told:
        return None
    rule = "robust z of the logarithm beyond 3.5"
    if patient_level:
        rows = [[r["patient"], r["site"], r["title"], short(r["value"]), fixed(r["z"], 1)] for r in told]
        head = ["Patient", "Site", "Variable", "Value", "z"]
        return Table(f"Outlying values ({rule}): to be looked at, not removed.", head, rows, sortable=True)
    counts = Counter(row["title"] for row in told)
    rows = [[title, str(number)] for title, number in counts.most_common()]
    return Table(f"Outlying values ({rule}): to be looked at, not removed.", ["Variable", "Patients"], rows)


def excluded(study: Study, patient_level: bool) -> Table | None:
    """Who is excluded and why; single patients only when asked."""
    if not study.exclusions:
        return None
    if patient_level:
        rows = [[r["patient"], r["status"], r["code"], r["reason"], r["origin"]] for r in study.exclusions]
        head = ["Patient", "Status", "Code", "Reason", "Stage"]
        return Table("Patients excluded or without a lesion.", head, rows, sortable=True, filtered=True)
    counts = Counter((r["status"], r["code"], r["origin"]) for r in study.exclusions)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rows = [[status, code, origin, str(number)] for (status, code, origin), number in ordered]
    note = (
        "Single patients are shown when report.patient_level is on; promet status names them on the terminal."
    )
    caption = "Patients excluded or without a lesion, by reason."
    return Table(caption, ["Status", "Code", "Stage", "Patients"], rows, [note])


def baseline(split: Split) -> Table | None:
    """The inputs by part and outcome, with the missing."""
    table = split.predictions
    if table is None or table.empty:
        return None
    groups = []
    for part in ("training", "validation", "test"):
        none = "none" if split.paper else f"no {split.learnt}"
        for label, name in ((0.0, none), (1.0, split.learnt)):
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
        f"Inputs of the fused score by part and outcome{' on the scan' if split.paper else ''}: median (quartiles), and how many are missing.",
        ["", *(name for name, _ in groups)],
        rows,
        ["Patients excluded because of bad data are not in this table."],
        compact=True,
    )
