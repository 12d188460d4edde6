"""Tables of the networks: every run, every variant, every rule of choice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from promet.report.sections.selection.figures import RULES, areas
from promet.report.table import Table
from promet.report.text import fixed, interval, seconds
from promet.report.words import rule

if TYPE_CHECKING:
    from promet.report.read import Split, Study


def context(study: Study, split: Split) -> dict[str, Any]:
    """What the section shows besides its figures."""
    return {
        "select": split.values("select"),
        "word": split.word,
        "rule": rule(split.values("select")),
        "candidates": candidates(split),
        "variants": variants(study, split),
        "hindsight": what_if(split),
    }


def candidates(split: Split) -> Table | None:
    """The runs, best first."""
    table = split.candidates
    if table is None or table.empty:
        return None
    rows, marked = [], set()
    notes = {(run.variant, run.seed): run.record.notes for run in split.runs}
    for row in table.to_dict("records"):
        if row["selected"]:
            marked.add(len(rows))
        took = notes.get((row["variant"], row["seed"]), {}).get("seconds")
        cells = [
            row["variant"],
            str(row["seed"]),
            fixed(row["validation_auc"], 3),
            fixed(row["validation_loss"], 3),
        ]
        rows.append(
            [
                *(*cells, str(row["best_epoch"]), str(row["epochs"])),
                *("" if took is None else seconds(took), str(row.get("device") or "")),
                "selected" if row["selected"] else "",
            ]
        )
    head = [
        *("Variant", "Seed", f"Validation {split.word}", "Validation loss", "Epoch kept", "Epochs run"),
        *("Duration", "Device", ""),
    ]
    return Table(
        f"All {len(rows)} runs, best first." if len(rows) > 1 else "The only run.",
        head,
        rows,
        marked=marked,
        sortable=True,
        filtered=True,
    )


def variants(study: Study, split: Split) -> Table | None:
    """The grid: what each variant changes and what its runs reached."""
    table = split.candidates
    if table is None or len(names := sorted(table["variant"].unique())) < 2:
        return None
    changed = ((study.config.get("network") or {}).get("variants")) or {}
    rows, marked = [], set()
    ordered = sorted(names, key=lambda name: -table[table["variant"] == name]["validation_auc"].median())
    for name in ordered:
        mine = table[table["variant"] == name]
        if mine["selected"].any():
            marked.add(len(rows))
        areas = mine["validation_auc"]
        told = ", ".join(f"{key} {value}" for key, value in sorted((changed.get(name) or {}).items()))
        middle = [fixed(areas.median(), 3), fixed(areas.max(), 3), fixed(areas.min(), 3)]
        rows.append(
            [name, told or "as configured", str(len(mine)), *middle, fixed(mine["best_epoch"].median(), 0)]
        )
    head = [
        "Variant",
        "Changes",
        "Runs",
        f"Median validation {split.word}",
        "Highest",
        "Lowest",
        "Median epoch kept",
    ]
    caption = "Variants of the network, best median first; the one with the chosen run stands out."
    return Table(caption, head, rows, marked=marked, sortable=True)


def what_if(split: Split) -> Table | None:
    """What each rule of choice would have given."""
    if (found := areas(split)) is None or found[1].empty:
        return None
    runs, rules, patients, positives = found
    rows = [[RULES.get(r.rule, r.rule), str(r.members), fixed(r.test_auc, 3)] for r in rules.itertuples()]
    middle = runs["test_auc"]
    rows.append(
        [
            "median of all runs (range)",
            str(len(runs)),
            f"{fixed(middle.median(), 3)} ({interval(middle.min(), middle.max(), 3)})",
        ]
    )
    caption = (
        f"Post hoc: {split.word} of the network in the test part (n = {patients}, {positives} with {split.learnt}) under each rule of choice. The rule was "
        "set before; this table must not change it."
    )
    return Table(caption, ["Rule", "Networks", f"Test {split.word}"], rows)
