"""Tables of the survival: groups, AUC over time, probabilities at the horizon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from promet.report.table import Table
from promet.report.text import fixed, interval, known, level

if TYPE_CHECKING:
    from promet.study.forms.survival import Survival

CUTS = {"tertiles": "Tertile", "median": "Half"}


def context(survival: Survival | None) -> dict[str, Any]:
    """What the section shows besides its figures."""
    return {
        "survivals": [
            {
                "survival": one,
                "figure": name,
                "title": one
                and f"{one['words'][0].upper()}{one['words'][1:]} within {one['horizon_months']:g} months",
                "groups": groups(one),
                "over_time": over_time(one),
                "at_horizon": at_horizon(one),
            }
            for name, one in named(survival)
        ]
    }


def named(survival: Survival | None) -> list[tuple[str, Survival | None]]:
    """Name of the figure and results of every outcome over time, the first one first."""
    also = survival["also"] if survival else {}
    return [("survival", survival), *((f"survival-{name}", one) for name, one in also.items())]


def groups(survival: Survival | None) -> Table | None:
    """Every group of the Kaplan-Meier curves: patients, events, median, share free of progression at the end."""
    if not survival or survival["status"] != "ok":
        return None
    rows, end = [], survival["horizon_months"]
    for kind in (k for k in CUTS if k in survival["cuts"]):
        cut = survival["cuts"][kind]
        for group in cut["groups"]:
            curve = group["curve"]
            last = curve["survival"][-1]
            low, high = curve["low"][-1], curve["high"][-1]
            free = (
                f"{fixed(100 * last, 0)} ({interval(100 * low, 100 * high, 0)})"
                if known(low) and known(high)
                else fixed(100 * last, 0)
            )
            rows.append(
                [
                    f"{CUTS.get(kind, kind)}: {group['name']}",
                    str(group["n"]),
                    str(group["events"]),
                    median(group),
                    free,
                ]
            )
    ci, words = level(survival["confidence"]), survival["words"]
    state = f"without {words}" if survival["competing"] else f"free of {words}"
    had = "have progressed" if words == "progression" else f"have had {words}"
    head = [
        "Score group",
        "n",
        came(survival, True),
        f"Median months ({ci} CI)",
        f"% {state} at the end ({ci} CI)",
    ]
    caption = (
        f"Groups by the multimodal score; follow-up is cut at {end:g} months. Median: the month by which half {had}; "
        "where the curve runs level at exactly one half, the middle of that step."
    )
    return Table(caption, head, rows) if rows else None


def came(survival: Survival, first: bool = False) -> str:
    """What is said of those who had the event; ``first``: at the head of a column."""
    if survival["words"] == "progression":
        return "Progressed" if first else "progressed"
    return f"{'With' if first else 'with'} {survival['words']}"


def median(group: dict[str, Any]) -> str:
    """``21.5 (9.0 to not reached)``: median with the limits there are; one that the band never comes down to is open."""
    values = [group[key] for key in ("median", "median_low", "median_high")]
    middle, low, high = (fixed(value, 1) if known(value) else "not reached" for value in values)
    return f"{middle} ({low} to {high})" if any(map(known, values[1:])) else middle


def over_time(survival: Survival | None) -> Table | None:
    """AUC at fixed times after the scan."""
    told = (survival or {}).get("dynamic")
    if not survival or not told or not told["auc"]:
        return None
    rows = [
        [
            f"{row['time']:g}",
            str(row["cases"]),
            str(row["controls"]),
            fixed(row["auc"]),
            interval(*((row.get("logit") or {}).get(side) for side in ("low", "high"))),
            interval(row["low"], row["high"]),
        ]
        for row in told["auc"]
    ]
    ci = level(survival["confidence"])
    caption = (
        f"AUC of the multimodal score over time: patients {came(survival)} by then against those known to be free at it, weighted for those who left "
        f"earlier. Intervals: logit with DeLong's error, the weights taken as known; {told['resamples']} bootstrap resamples."
    )
    head = [
        "Months",
        f"{came(survival, True)} by then",
        "Free at it",
        "AUC",
        f"{ci} CI, logit-DeLong",
        f"{ci} CI, bootstrap",
    ]
    return Table(caption, head, rows)


def at_horizon(survival: Survival | None) -> Table | None:
    """Whether the probabilities of the multimodal score are right at the horizon, all patients weighted in."""
    told = ((survival or {}).get("dynamic") or {}).get("calibration")
    if not survival or not told:
        return None
    at, ci = f"{survival['horizon_months']:g}", level(survival["confidence"])
    ratio = told["expected_observed"]
    method = "Aalen-Johansen" if survival["competing"] else "Kaplan-Meier"

    def line(title: str, value: float | None, bounds: dict[str, Any]) -> list[str]:
        return [title, fixed(value), interval(bounds.get("low"), bounds.get("high"))]

    rows = [
        [
            f"Patients; {came(survival)} by then; known to be free at it",
            f"{told['n']}; {told['cases']}; {told['controls']}",
            "",
        ],
        line("Mean probability", told["mean_probability"], {}),
        line(f"Share {came(survival)} by then ({method})", told["observed"], {}),
        line("Expected/observed (1 = right)", ratio["ratio"], ratio),
        line("Intercept (0 = right)", told["intercept"]["value"], told["intercept"]),
        line("Slope (1 = right)", told["slope"]["value"], told["slope"]),
    ]
    for k, group in enumerate(told["groups"], 1):
        title = f"Group {k} by probability, n = {group['n']}, mean {fixed(group['probability'])}: share {came(survival)}"
        rows.append(line(title, group["observed"], group))
    for row in told["net_benefit"]:
        title = f"Net benefit of acting from {row['threshold']:g} on; treating all: {fixed(row['all'], 3)}"
        rows.append([title, fixed(row["model"], 3), ""])
    caption = (
        f"The multimodal probability at {at} months. Who left earlier without {survival['words']} is unknown and is weighted in by the "
        "others; a group that nobody of is followed so far has no share."
    )
    return Table(caption, ["", "Value", f"{ci} CI"], rows, told["notes"])
