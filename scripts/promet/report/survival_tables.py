"""Tables of the survival: groups, AUC over time."""

from __future__ import annotations

from typing import Any

from promet.report.table import Table
from promet.report.text import fixed, interval, known, level

CUTS = {"tertiles": "Tertile", "median": "Half"}


def groups(survival: dict[str, Any] | None) -> Table | None:
    """Every group of the Kaplan-Meier curves: men, events, median, share free of progression at the end."""
    if not survival or survival["status"] != "ok":
        return None
    rows, end = [], survival["horizon_months"]
    for kind in (k for k in CUTS if k in survival["cuts"]):
        cut = survival["cuts"][kind]
        for group in cut["groups"]:
            bounds = interval(group["median_low"], group["median_high"], 1)
            middle = f"{fixed(group['median'], 1)} ({bounds})" if known(group["median"]) else "not reached"
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
                    middle,
                    free,
                ]
            )
    ci = level(survival["confidence"])
    head = [
        "Score group",
        "n",
        "Progressed",
        f"Median months ({ci} CI)",
        f"Free of progression at the end of follow-up, % ({ci} CI)",
    ]
    caption = f"Groups by the multimodal score; follow-up is cut at {end:g} months."
    return Table(caption, head, rows) if rows else None


def over_time(survival: dict[str, Any] | None) -> Table | None:
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
            interval(row["low"], row["high"]),
        ]
        for row in told["auc"]
    ]
    ci = level(survival["confidence"])
    return Table(
        f"AUC of the multimodal score over time: men progressed by then against men known to be free after it. Intervals from "
        f"{told['resamples']} bootstrap resamples.",
        ["Months", "Progressed by then", "Free after it", "AUC", f"{ci} CI"],
        rows,
    )
