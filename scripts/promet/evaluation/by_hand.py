"""The stand-alone commands: a table in, a record out; terminal.py shows it."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from promet.core.errors import UsageError
from promet.evaluation import tables


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
    from promet.evaluation.stats.capra import capra

    names, rows = _staging(path, "CAPRA's columns")
    return [{"patient": name, **capra(**row)} for name, row in zip(names, rows, strict=True)]


def risk_groups_file(path: Path) -> list[dict[str, Any]]:
    """D'Amico, EAU, NCCN and CAPRA of each row: {row, from 1; patient where the table names them; see ``risk_groups``}."""
    from promet.evaluation.stats.risk_groups import risk_groups

    names, rows = _staging(path, "columns of a risk group")
    return [
        {"row": i, "patient": name, **risk_groups(**row)}
        for i, (name, row) in enumerate(zip(names, rows, strict=True), 1)
    ]


def _staging(path: Path, what: str) -> tuple[list[str], list[dict[str, Any]]]:
    """Names of the rows (patients, or numbers from 1) and the clinical values of each, as ``capra`` takes them."""
    from promet.evaluation.stats.capra import COLUMNS

    table = tables.read_any(path)
    known = [column for column in COLUMNS if column in table]
    if not known:
        raise UsageError(
            "E_COLUMN_MISSING", f"The table has none of {what}", f"columns named {', '.join(COLUMNS)}"
        )
    values = {name: tables.numbers(table, name).tolist() for name in known if name != "clinical_t"}
    if "clinical_t" in known:
        values["clinical_t"] = ["" if x is None else str(x) for x in table["clinical_t"]]
    names = (
        [str(x) for x in table["patient"]] if "patient" in table else [str(i + 1) for i in range(len(table))]
    )
    return names, [{name: values[name][i] for name in known} for i in range(len(table))]


def _natural(name: str) -> tuple[int, float, str]:
    try:
        return 0, float(name), name
    except ValueError:
        return 1, 0.0, name
