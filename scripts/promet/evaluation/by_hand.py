"""The stand-alone commands: a table in, JSON or a readable table out."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from promet.core.errors import UsageError
from promet.evaluation import tables

if TYPE_CHECKING:
    from rich.table import Table


def auc_file(
    path: Path, label: str, score: str, compare: list[str], level: float, resamples: int, seed: int
) -> dict[str, Any]:
    """The record of ``score`` with ``score``: its name, ``compared``: {NAME: record}, ``paired``: one per pair of scores.

    A pair is {a, b: names, ...} as ``auc.paired`` gives it, difference = AUC of a - AUC of b.

    Raises:
        UsageError: a score named twice, an unknown column, a cell that is no number, a file that cannot be read.
    """
    from promet.evaluation.stats import auc

    names = [score, *compare]
    if len(set(names)) < len(names):
        raise UsageError("E_OPTIONS", "A score is named twice", "each column once in --score and --compare")
    table = tables.read_any(path)
    y = tables.flags(table, label)
    scores = {name: tables.numbers(table, name) for name in names}
    records = {name: auc.record(y, x, level, resamples, seed) for name, x in scores.items()}
    pairs = [
        {"a": a, "b": b, **auc.paired(y, scores[a], scores[b], level)} for a, b in combinations(names, 2)
    ]
    return {**records.pop(score), "score": score, "level": level, "compared": records, "paired": pairs}


def survival_file(
    path: Path,
    time: str,
    event: str,
    group: str | None,
    score: str | None,
    cut: str,
    level: float,
    horizon: float | None = None,
    resamples: int = 500,
    probability: str | None = None,
) -> dict[str, Any]:
    """Curves by a column's groups, or by tertiles or the median of a score (then with Cox, C-index, AUC over time).

    With ``horizon`` the figures over time look that far, with ``probability`` (of an event by then) also the Brier
    score; nothing else changes.
    """
    from promet.evaluation import survive
    from promet.evaluation.stats import dynamic

    if (group is None) == (score is None):
        raise UsageError(
            "E_OPTIONS", "Either a group or a score is needed, not both", "--group COLUMN or --score COLUMN"
        )
    if probability is not None and (horizon is None or score is None):
        raise UsageError("E_OPTIONS", "A probability needs --score and --horizon", "the time it is meant for")
    table = tables.read_any(path)
    t, e = tables.numbers(table, time), tables.flags(table, event)
    gaps = {"a time": np.isnan(t), "an event of 0 or 1": np.isnan(e)}
    if (t < 0).any() or np.isinf(t).any():
        raise UsageError("E_TIME", "A time is negative or infinite", "finite times from 0 on")
    if group is not None:
        if group not in table:
            tables.numbers(table, group)  # raises with the list of columns
        g = np.array(["" if x is None else str(x).strip() for x in table[group]], dtype=str)
        gaps["a group"] = np.isin(np.char.lower(g), list(tables.MISSING))
    else:
        s = tables.numbers(table, score or "")
        gaps["a finite score"] = ~np.isfinite(s)
    p = None
    if probability is not None:
        p = tables.numbers(table, probability)
        gaps["a probability from 0 to 1"] = ~((p >= 0) & (p <= 1))
    keep = ~np.any(list(gaps.values()), axis=0)
    counts = {what: int(bad.sum()) for what, bad in gaps.items() if bad.any()}
    excluded = [
        f"{n} {'row' if n == 1 else 'rows'} without {what} {'is' if n == 1 else 'are'} left out."
        for what, n in counts.items()
    ]
    if group is None:
        found = survive.analyse(t[keep], e[keep], s[keep], level, (cut,))
        over_time = dynamic.record(
            t[keep], e[keep], s[keep], horizon, None if p is None else p[keep], level, resamples
        )
        return {"excluded": excluded, **found, "dynamic": over_time}
    found = survive.compare(t[keep], e[keep], g[keep], sorted(set(g[keep]), key=_natural), level)
    return {"excluded": excluded, "n": int(keep.sum()), "events": int(e[keep].sum()), **found}


def calibration_file(
    path: Path,
    label: str,
    probability: str | None,
    level: float,
    resamples: int,
    seed: int,
    log_odds: str | None = None,
) -> dict[str, Any]:
    """Calibration of one column of probabilities, or of log-odds: these are finite where a probability is rounded to 0 or 1.

    Raises:
        UsageError: both or neither, those of ``promet.evaluation.tables``.
    """
    from scipy.special import expit

    from promet.evaluation.stats import calibration

    if (probability is None) == (log_odds is None):
        raise UsageError(
            "E_OPTIONS",
            "Either a probability or log-odds are needed, not both",
            "--probability COLUMN or --log-odds COLUMN",
        )
    table = tables.read_any(path)
    y = tables.flags(table, label)
    if log_odds is None:
        p = tables.numbers(table, probability or "")
        found = calibration.record(y, p, None, level, resamples, seed)
        if np.isin(p, (0, 1)).any():
            found["notes"].append("If the table has a column of log-odds, give it with --log-odds instead.")
        return found
    lp = tables.numbers(table, log_odds)
    return calibration.record(y, expit(lp), lp, level, resamples, seed)


def decision_file(path: Path, label: str, probability: list[str]) -> dict[str, Any]:
    """Decision curves of one or more columns of probabilities."""
    from promet.evaluation.stats import decision

    table = tables.read_any(path)
    y = tables.flags(table, label)
    return decision.curves(y, {name: tables.numbers(table, name) for name in probability})


def capra_file(path: Path) -> list[dict[str, Any]]:
    """CAPRA of each row; columns as in the cohort table, absent columns count as missing."""
    from promet.evaluation.stats.capra import COLUMNS, capra

    table = tables.read_any(path)
    known = [column for column in COLUMNS if column in table]
    if not known:
        raise UsageError(
            "E_COLUMN_MISSING", "The table has none of CAPRA's columns", f"columns named {', '.join(COLUMNS)}"
        )
    given: dict[str, Any] = {c: tables.numbers(table, c) for c in known if c != "clinical_t"}
    if "clinical_t" in known:
        given["clinical_t"] = ["" if x is None else str(x) for x in table["clinical_t"]]
    names = (
        [str(x) for x in table["patient"]] if "patient" in table else [str(i + 1) for i in range(len(table))]
    )
    return [
        {
            "patient": name,
            **capra(**{c: given[c][i] if c == "clinical_t" else float(given[c][i]) for c in known}),
        }
        for i, name in enumerate(names)
    ]


def show(found: Any, as_json: bool, kind: str) -> None:
    """Print a result of this module as JSON or as tables with its notes below."""
    if as_json:
        print(json.dumps(found, indent=2, allow_nan=False))
        return
    from rich.console import Console

    console = Console(highlight=False)
    shown = {
        "auc": _auc,
        "survival": _survival,
        "capra": _capra,
        "calibration": _calibration,
        "decision": _decision,
    }
    made, notes = shown[kind](found)
    there, unbound = console.width, console.options.update(width=100_000)
    for table in made:
        # A table wider than the terminal (or a pipe's 80 columns) is not squeezed: rich would cut 0.0158 to 0.01…
        console.width = max(there, console.measure(table, options=unbound).maximum)
        console.print(table)
    console.width = there
    for note in notes:
        console.print(f"- {note}", markup=False)


def _auc(found: dict[str, Any]) -> tuple[list[Table], list[str]]:
    named = {found["score"]: found, **found["compared"]}
    table, records = _table("AUC", "", *named), list(named.values())
    lines = {
        "patients (with + without)": lambda r: f"{r['n']} ({r['positives']} + {r['negatives']})",
        "  left out without score": lambda r: str(r["missing"]),
        "AUC": lambda r: _n(r["auc"]),
        f"{100 * found['level']:g} % DeLong interval": lambda r: _interval(r["delong"]),
        "logit interval": lambda r: _interval(r["logit"]),
        "bootstrap interval": lambda r: _interval(r["bootstrap"]),
        "DeLong SE": lambda r: _n(r["delong"]["se"], 4),
        "DeLong variance": lambda r: _n(r["delong"]["variance"], 6),
        "Hanley-McNeil SE": lambda r: _n(r["hanley_mcneil"]["se"], 4),
        "DeLong p": lambda r: _n(r["delong"]["p"], 4),
        "Mann-Whitney U": lambda r: _n(r["mann_whitney"]["u"], 1),
        "Mann-Whitney p, no corrections": lambda r: _n(r["mann_whitney"]["p"], 4),
        "Mann-Whitney p, ties corrected": lambda r: _n(r["mann_whitney"]["p_ties"], 4),
        "Mann-Whitney p, exact": lambda r: _n(r["mann_whitney"]["p_exact"], 4),
        "Youden threshold": lambda r: _n(r["youden"]["threshold"]),
        "  sensitivity": lambda r: _n(r["youden"]["sensitivity"]),
        "  specificity": lambda r: _n(r["youden"]["specificity"]),
    }
    for name, text in lines.items():
        table.add_row(name, *(text(r) for r in records))
    notes = [f"{name}: {note}" for name, r in named.items() for note in r["notes"]]
    if not found["paired"]:
        return [table], notes
    second = _table("Paired DeLong tests", "scores", "patients", "difference", "interval", "SE", "p")
    for pair in found["paired"]:
        name = f"{pair['a']} - {pair['b']}"
        second.add_row(
            name,
            str(pair["n"]),
            _n(pair["difference"]),
            _interval(pair),
            _n(pair["se"], 4),
            _n(pair["p"], 4),
        )
        notes += [f"{name}: {note}" for note in pair["notes"]]
    return [table, second], notes


def _survival(found: dict[str, Any]) -> tuple[list[Table], list[str]]:
    made, notes = [], list(found["excluded"])
    for name, cut in found.get("cuts", {"groups": found}).items():
        times = cut["groups"][0]["at_risk"]["time"] if cut["groups"] else []
        table = _table(
            f"Kaplan-Meier, {name}", "group", "n", "events", "median", *(f"at risk {t:g}" for t in times)
        )
        for group in cut["groups"]:
            bounds = _interval(group, "median_", 1)
            middle = "not reached" if group["median"] is None else _n(group["median"], 1)
            median = middle if bounds == "–" else f"{middle} {bounds}"
            table.add_row(
                group["name"], str(group["n"]), str(group["events"]), median, *map(str, group["at_risk"]["n"])
            )
        made += [table, _curves(name, cut["groups"])] if cut["groups"] else []
        notes += [f"log-rank p {_n(cut['logrank']['p'], 4)}", *cut["notes"]]
    if "cox" in found:
        cox = found["cox"]
        notes += [
            f"hazard ratio per SD ({_n(cox['sd'])}): {_n(cox['hazard_ratio'])} {_interval(cox)}, p {_n(cox['p'], 4)}",
            f"C-index {_n(found['concordance'])}",
            *found["notes"],
        ]
    if "dynamic" in found:
        over_time = found["dynamic"]
        table = _table(
            "AUC over time", "time", "cases", "controls", "AUC", "SE", "logit interval", "bootstrap"
        )
        for row in over_time["auc"]:
            table.add_row(
                f"{row['time']:g}",
                str(row["cases"]),
                str(row["controls"]),
                _n(row["auc"]),
                _n(row["se"], 4),
                _interval(row["logit"]),
                _interval(row),
            )
        made += [table] if over_time["auc"] else []
        notes.append(f"Uno's C {_n(over_time['uno']['value'])} {_interval(over_time['uno'])}")
        if over_time["brier"]["value"] is not None:
            brier = over_time["brier"]
            notes.append(
                f"Brier score at {brier['time']:g}: {_n(brier['value'])}; of the Kaplan-Meier curve {_n(brier['reference'])}"
            )
        if over_time["calibration"] is not None:
            made.append(_at_horizon(over_time["calibration"], over_time["horizon"]))
            notes += over_time["calibration"]["notes"]
        notes += [*over_time["notes"], over_time["censoring"], over_time["competing"]]
    return made, notes


def _at_horizon(told: dict[str, Any], at: float) -> Table:
    """Whether the probabilities are right at the horizon."""
    table = _table(f"Probability of an event by {at:g}", "", "value", "interval")
    table.add_row("patients; with; known without", f"{told['n']}; {told['cases']}; {told['controls']}", "")
    table.add_row("mean probability", _n(told["mean_probability"]), "")
    table.add_row("observed (Kaplan-Meier)", _n(told["observed"]), "")
    ratio = told["expected_observed"]
    table.add_row("expected / observed (1 = right)", _n(ratio["ratio"]), _interval(ratio))
    table.add_row("intercept (0 = right)", _n(told["intercept"]["value"]), _interval(told["intercept"]))
    table.add_row("slope (1 = right)", _n(told["slope"]["value"]), _interval(told["slope"]))
    for row in told["groups"]:
        name = f"group of {row['n']}, mean probability {_n(row['probability'])}: observed"
        table.add_row(name, _n(row["observed"]), _interval(row))
    for row in told["net_benefit"]:
        name = f"net benefit at {row['threshold']:g} (everyone {_n(row['all'])})"
        table.add_row(name, _n(row["model"]), "")
    return table


def _curves(name: str, groups: list[dict[str, Any]]) -> Table:
    """The Kaplan-Meier estimates at the times of the numbers at risk."""
    times = groups[0]["at_risk"]["time"]
    table = _table(f"Free of the event, {name}", "group", *(f"at {t:g}" for t in times))
    for group in groups:
        there = group["at_risk"]
        rows = [{key: there[key][k] for key in ("survival", "low", "high")} for k in range(len(times))]
        cells = (
            _n(r["survival"]) if r["low"] is None else f"{_n(r['survival'])} {_interval(r)}" for r in rows
        )
        table.add_row(group["name"], *cells)
    return table


def _calibration(found: dict[str, Any]) -> tuple[list[Table], list[str]]:
    table = _table("Calibration", "", "value", "interval")
    table.add_row(
        "patients (with + without)", f"{found['n']} ({found['positives']} + {found['negatives']})", ""
    )
    rows = {
        "intercept (0 = right)": (found["intercept"]["value"], found["intercept"]),
        "slope (1 = right)": (found["slope"]["value"], found["slope"]),
        "expected / observed (1 = right)": (found["expected_observed"]["ratio"], found["expected_observed"]),
        "Brier score (0 = perfect)": (found["brier"], None),
        "scaled Brier (1 = perfect)": (found["brier_scaled"], None),
        "ICI (mean distance from the curve)": (found["ici"], None),
        "E50": (found["e50"], None),
        "E90": (found["e90"], None),
        "Emax": (found["e_max"], None),
    }
    for name, (value, interval) in rows.items():
        table.add_row(name, _n(value), _interval(interval) if interval else "")
    second = _table("By groups of the probability", "n", "mean probability", "observed", "interval")
    for row in found["groups"]:
        second.add_row(str(row["n"]), _n(row["probability"]), _n(row["observed"]), _interval(row))
    return [table, second] if found["groups"] else [table], found["notes"]


def _decision(found: dict[str, Any]) -> tuple[list[Table], list[str]]:
    names = list(found["models"])
    table = _table("Net benefit", "threshold", *names, "everyone", "nobody")
    notes = list(found["notes"])
    if found["treat_all"]:
        for k in range(4, len(found["thresholds"]), 5):
            cells = [found["models"][name]["net_benefit"][k] for name in names]
            cells += [found["treat_all"][k], found["treat_none"][k]]
            table.add_row(f"{found['thresholds'][k]:.2f}", *(_n(x) for x in cells))
        for name, model in found["models"].items():
            steps = model["better_steps"]
            notes.append(
                f"{name}: better than acting on everyone or on nobody at {steps} of {len(found['thresholds'])} "
                "thresholds"
                + (f", from {model['better_from']:g} to {model['better_to']:g}." if steps else ".")
            )
    return [table], notes


def _capra(found: list[dict[str, Any]]) -> tuple[list[Table], list[str]]:
    table = _table("CAPRA", "patient", "CAPRA", "group", *(found[0]["points"] if found else []), "notes")
    for row in found:
        points = ["–" if p is None else str(p) for p in row["points"].values()]
        total = "–" if row["capra"] is None else str(row["capra"])
        table.add_row(row["patient"], total, row["group"] or "–", *points, " ".join(row["notes"]))
    return [table], []


def _table(title: str, *columns: str) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 or column == "notes" else "right")
    return table


def _n(value: float | None, digits: int = 3) -> str:
    if value is None:
        return "–"
    smallest = 10.0**-digits
    if 0 < abs(value) < smallest / 2:
        return f"< {smallest:g}" if value > 0 else f"> -{smallest:g}"
    return f"{value:.{digits}f}"


def _interval(row: dict[str, Any], prefix: str = "", digits: int = 3) -> str:
    low, high = row[f"{prefix}low"], row[f"{prefix}high"]
    return "–" if low is None and high is None else f"({_n(low, digits)} to {_n(high, digits)})"


def _natural(name: str) -> tuple[int, float, str]:
    try:
        return 0, float(name), name
    except ValueError:
        return 1, 0.0, name
