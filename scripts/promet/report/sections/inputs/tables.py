"""Tables of the multimodal score: the densities of its inputs, permuted labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from promet.report.sections.inputs import bends, waterfall
from promet.report.table import Table
from promet.report.text import DASH, fixed, interval, known, p_value, short
from promet.report.words import heading, title_of

if TYPE_CHECKING:
    from promet.report.read import Split


def context(split: Split, patient_level: bool) -> dict[str, Any]:
    """What the section shows besides its figures."""
    return {
        "bends": bends.sentences(split),
        "densities": densities(split),
        "permutation": permutation(split),
        "waterfalls": waterfalls(split) if patient_level else [],
    }


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
        f"Prior log-odds from {100 * prior[1]:.0f} % with {split.learnt} in the fitted patients.",
        *(
            [
                "* The spread of all fitted patients together: the values of the class alone are too few or too alike."
            ]
            if any(any(entry.get("floored", [])) for entry in model["features"].values())
            else []
        ),
        *model["warnings"],
    ]
    head = ["Input", f"n with {split.learnt}", "mean ± SD", "n without", "mean ± SD", "difference in SD"]
    return Table("The two densities of each input in the multimodal score.", head, rows, notes)


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


def waterfalls(split: Split) -> list[dict[str, Any]]:
    """The way to the log-odds of every patient who was scored."""
    found = (split.waterfalls or {}).get("patients", {})
    return [
        {"patient": p, "part": told["part"], "picture": waterfall.draw(p, told)}
        for p, told in sorted(found.items())
    ]
