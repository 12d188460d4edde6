"""Results of the stand-alone commands as tables on a terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table


def show(found: Any, as_json: bool, kind: str) -> None:
    """Print a result of ``by_hand`` or ``horizon`` as JSON or as tables with its notes below."""
    if as_json:
        print(json.dumps(found, indent=2, allow_nan=False))
        return
    from rich.console import Console

    console = Console(highlight=False)
    shown = {
        "auc": _auc,
        "horizon": _horizon,
        "survival": _survival,
        "capra": _capra,
        "risk groups": _risk_groups,
        "sample size": _sample_size,
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


def _horizon(found: dict[str, Any]) -> tuple[list[Table], list[str]]:
    at = found["tau"]
    table = _table(f"At {at:g}", "", "value", "interval")
    known = found["n"] - found["censored_before_tau"]
    table.add_row("patients; status known", f"{found['n']}; {known}", "")
    table.add_row(
        "with the event; a competing one", f"{found['events_by_tau']}; {found['competing_by_tau']}", ""
    )
    table.add_row("observed risk", _n(found["observed_risk"]), "")
    for row in (found["auc"], *found["compared"]):
        table.add_row(f"AUC of {row['score']}", _n(row["auc"]), _interval(row))
    table.add_row(f"Harrell's C ({found['harrell_pairs'] or 0} pairs)", _n(found["harrell_tau"]), "")
    table.add_row("Uno's C", _n(found["uno_tau"]), "")
    made = [table]
    if found["mean_p"] is not None:
        table.add_row("Brier score (0 = perfect)", _n(found["brier"]), "")
        table.add_row("scaled Brier (1 = perfect)", _n(found["brier_scaled"]), "")
        table.add_row("mean probability", _n(found["mean_p"]), "")
        table.add_row("expected / observed (1 = right)", _n(found["EO"]), _interval(found, "EO_"))
        table.add_row(
            "intercept (0 = right)", _n(found["ipcw_intercept"]["value"]), _interval(found["ipcw_intercept"])
        )
        table.add_row("slope (1 = right)", _n(found["ipcw_slope"]["value"]), _interval(found["ipcw_slope"]))
        groups = _table("Thirds by probability", "patients", "mean probability", "observed", "interval")
        for row in found["groups"]:
            groups.add_row(str(row["n"]), _n(row["mean_p"]), _n(row["observed"]), _interval(row))
        acting = _table("Acting on the probability", "threshold", "net benefit", "everyone", "positive", "sensitivity",
                        "specificity", "PPV", "NPV")  # fmt: skip
        for row in found["net_benefit"]:
            keys = ("model", "all", "positive", "sensitivity", "specificity", "ppv", "npv")
            acting.add_row(f"{row['threshold']:g}", *(_n(row[key]) for key in keys))
        made += [groups, acting]
    if found["paired"]:
        second = _table("Paired tests of AUCs", "scores", "difference", "interval", "SE", "p")
        for row in found["paired"]:
            cells = (_n(row["difference"]), _interval(row), _n(row["se"], 4), _n(row["p"], 4))
            second.add_row(f"{row['a']} - {row['b']}", *cells)
        made.append(second)
    return made, [*found["excluded"], *found["notes"]]


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


def _risk_groups(found: list[dict[str, Any]]) -> tuple[list[Table], list[str]]:
    table = _table("Risk groups", "patient", "D'Amico", "EAU", "NCCN v2.2020", "CAPRA")
    for row in found:
        cells = (
            "–" if row[key] is None else str(row[key]) for key in ("damico", "eau", "nccn_v2_2020", "capra")
        )
        table.add_row(row["patient"], *cells)
    return [table], [f"{row['patient']}: {note}" for row in found for note in row["notes"]]


CRITERIA = {
    "shrinkage": "coefficients shrink by a tenth at most",
    "optimism": "R² is optimistic by 0.05 at most",
    "risk": "the overall risk is known",
    "oe": "observed / expected",
    "slope": "calibration slope",
    "c": "C",
    "net_benefit": "net benefit",
}


def _sample_size(found: dict[str, Any]) -> tuple[list[Table], list[str]]:
    table = _table("Patients needed", "so that", "patients")
    for criterion, n in found["n"].items():
        table.add_row(CRITERIA[criterion], "–" if n is None else str(n))
    table.add_row("all of them", str(found["final"]))
    table.add_row("with the outcome among these", str(found["events"]))
    notes = [
        "For a regression with so many parameters; for a network there is no formula, and this is a lower bound."
    ]
    return [table], notes if "epp" in found else []


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
