"""The figures of site.json from a table: the same functions as the report's, behind a rule for small cells."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from promet.centres import cells
from promet.centres.form import SMALL_CELL, rounded
from promet.evaluation.stats import calibration, horizon, meta, product_limit, sites
from promet.study import follow_up

if TYPE_CHECKING:
    import pandas as pd

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5)  # at which net benefit is given, fixed beforehand
RESAMPLES = 500  # for the error of a net benefit under censoring
ONE_CLASS, NOT_REACHED, UNDEFINED = "one_class", "horizon_not_reached", "undefined"
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Asked:
    """What is asked of the patients of a hospital."""

    horizon: float = 1.0  # of a binary outcome: every time is 1
    binary: bool = True
    edges: tuple[float, ...] = ()  # times of the survival curve that are told
    cuts: dict[str, list[str]] = field(
        default_factory=dict
    )  # cut -> its groups in order; column ``cut:NAME``
    attributes: tuple[str, ...] = ()  # column ``by:NAME``, "" = not known
    inputs: tuple[str, ...] = ()  # column ``gap:NAME``, True = missing


def figures(
    patients: pd.DataFrame, asked: Asked, limit: int = cells.DEFAULT, level: float = 0.95
) -> dict[str, Any]:
    """All of site.json that is counted or estimated; see ``promet.centres.form.Site``. The order of the rows is of no meaning.

    Args:
        patients: scored patients with an outcome: log_odds, probability, time, event (0 = followed so far without, 1 = the event,
            2 = a competing one), and the columns that ``asked`` names.
        limit: smallest count that is told.
    """
    # One order whatever the table's: sums and draws give the same bits.
    table = patients.sort_values(sorted(patients.columns), ignore_index=True)
    n, who = len(table), _known(table, asked)
    with_, without = _classes(who)
    reason = NOT_REACHED if who is None else None
    if n < limit or (who is not None and min(with_, without) < limit):
        reason = SMALL_CELL
    competing = int(((table["event"] == 2) & follow_up.by_then(table["time"], asked.horizon)).sum())
    few = f"<{limit}"
    return {
        "n": cells.shown(n, n, limit) if n else few,
        "events": few if n < limit else cells.shown(with_, with_ + without, limit, nobody=False),
        "competing": few if n < limit else cells.shown(competing, n, limit),
        "known": few if n < limit else cells.shown(with_ + without, n, limit),
        "followup": None if asked.binary or n < limit else _followed(table),
        "missing": {
            name: few if n < limit else cells.shown(int(table[f"gap:{name}"].sum()), n, limit)
            for name in asked.inputs
        },
        **_model(table, asked, who, reason, level),
        "net_benefit": _benefits(table, asked, who, reason, limit),
        "survival": [] if asked.binary else _survival(table, asked, limit),
        "groups": _cuts(table, asked, limit, level),
        "subgroups": _subgroups(table, asked, limit),
    }


def _known(table: pd.DataFrame, asked: Asked) -> follow_up.Known | None:
    return (
        follow_up.known(table["time"].to_numpy(), table["event"].to_numpy(), asked.horizon)
        if len(table)
        else None
    )


def _classes(who: follow_up.Known | None) -> tuple[int, int]:
    return (0, 0) if who is None else (int(who.case.sum()), int(who.control.sum()))


def _followed(table: pd.DataFrame) -> float | None:
    """Median follow-up (reverse Kaplan-Meier) in whole months: not a patient's own."""
    curve = product_limit.kaplan_meier(table["time"].to_numpy(), (table["event"] == 0).to_numpy())
    middle = product_limit.quantile(curve.time, curve.survival)
    return None if middle is None else float(round(middle))


def _model(
    table: pd.DataFrame, asked: Asked, who: follow_up.Known | None, reason: str | None, level: float
) -> dict[str, Any]:
    """auc, intercept, slope, oe, brier; null with ``reason``."""
    if who is None or reason is not None:
        no = {"reason": reason}
        estimate = {"value": None, "se": None, **no}
        return {
            "auc": {**estimate, "logit_se": None},
            "intercept": estimate,
            "slope": estimate,
            "oe": {"O": None, "E": None, "se": None, **no},
            "brier": {"value": None, "null": None, "se": None, **no},
        }
    odds, p = table["log_odds"].to_numpy(), table["probability"].to_numpy()
    seen, n = who.weight > 0, len(table)
    weight = None if asked.binary else who.weight[seen]
    label = who.case[seen].astype(float)
    share = _risk(table, asked)
    errors = who.weight * (who.case - p) ** 2
    result: dict[str, Any] = {
        "auc": _area(who, odds),
        "oe": _ratio(table, asked),
        "brier": {
            "value": rounded(horizon.brier(who, p, n)),
            "null": rounded(horizon.brier(who, share, n)),
            "se": rounded(float(errors.std(ddof=1)) / math.sqrt(n)),
        },
    }
    for name, fit in (("intercept", calibration.intercept), ("slope", calibration.slope)):
        found, _ = fit(label, odds[seen], level, weight)
        value, se = rounded(found["value"]), rounded(found["se"])
        result[name] = {"value": value, "se": se, **({} if se else {"reason": UNDEFINED})}
    return result


def _area(who: follow_up.Known, odds: np.ndarray) -> dict[str, Any]:
    area, se = horizon.auc(who, odds), horizon.auc_se(who, odds)
    if area is None or se is None:
        return {"value": None, "se": None, "logit_se": None, "reason": ONE_CLASS}
    inner = 0 < area < 1 and se > 0
    return {
        "value": rounded(area),
        "se": rounded(se),
        "logit_se": rounded(se / (area * (1 - area))) if inner else None,
        **({} if inner else {"reason": UNDEFINED}),
    }


def _risk(table: pd.DataFrame, asked: Asked) -> float:
    return horizon.observed(table["time"].to_numpy(), table["event"].to_numpy(), asked.horizon)[0]


def _ratio(table: pd.DataFrame, asked: Asked) -> dict[str, Any]:
    share, se = horizon.observed(table["time"].to_numpy(), table["event"].to_numpy(), asked.horizon)
    return {"O": rounded(share), "E": rounded(float(table["probability"].mean())), "se": rounded(se)}


def _benefits(
    table: pd.DataFrame, asked: Asked, who: follow_up.Known | None, reason: str | None, limit: int
) -> list[dict[str, Any]]:
    """At the thresholds; hidden where few are above, few below, or few between it and the last one told."""
    rows, ends = [], {0, len(table)}
    for h in THRESHOLDS:
        acted = (table["probability"] >= h).to_numpy()
        few = any(0 < abs(int(acted.sum()) - end) < limit for end in ends)
        if who is None or reason is not None or few:
            empty = dict.fromkeys(("model", "all", "se"))
            rows.append({"threshold": h, **empty, "reason": reason or SMALL_CELL})
            continue
        rows.append(_benefit(table, asked, who, h, acted))
        ends.add(int(acted.sum()))
    return rows


def _benefit(
    table: pd.DataFrame, asked: Asked, who: follow_up.Known, h: float, acted: np.ndarray
) -> dict[str, Any]:
    row: dict[str, Any] = {"threshold": h, "model": None, "all": None, "se": None}
    time, event, p = (table[name].to_numpy() for name in ("time", "event", "probability"))
    model = horizon.net_benefit(time, event, p, asked.horizon, h)
    row["all"] = rounded(horizon.treat_all(time, event, asked.horizon, h))
    if model is None:
        return row | {"reason": NOT_REACHED}
    odds = h / (1 - h)
    if asked.binary:
        true, false = (acted & who.case).mean(), (acted & who.control).mean()
        se = math.sqrt(
            (true * (1 - true) + odds**2 * false * (1 - false) + 2 * odds * true * false) / len(table)
        )
    else:
        rng = np.random.default_rng(0)
        drawn = []
        for _ in range(RESAMPLES):
            pick = rng.integers(0, len(table), len(table))
            drawn.append(horizon.net_benefit(time[pick], event[pick], p[pick], asked.horizon, h))
        there = np.array([x for x in drawn if x is not None])
        se = float(there.std(ddof=1)) if len(there) >= 0.8 * RESAMPLES else math.nan
    return row | {"model": rounded(model), "se": rounded(se)}


def _survival(table: pd.DataFrame, asked: Asked, limit: int) -> list[dict[str, Any]]:
    """At the edges; hidden where few had the event since the last one told, or few are followed beyond."""
    time, event, rows, before = table["time"].to_numpy(), table["event"].to_numpy(), [], 0
    for at in asked.edges:
        events = int(((event == 1) & follow_up.by_then(time, at)).sum())
        beyond = int(follow_up.until(time, at).sum())
        row: dict[str, Any] = {"time": at, "survival": None, "se": None}
        if events - before < limit or beyond < limit:
            rows.append(row | {"reason": SMALL_CELL if beyond else NOT_REACHED})
            continue
        before = events
        share, se = horizon.observed(time, event, at)
        rows.append(row | {"survival": rounded(1 - share), "se": rounded(se)})
    return rows


def _split(
    table: pd.DataFrame, asked: Asked, column: str, names: list[str], limit: int
) -> list[tuple[str, pd.DataFrame, follow_up.Known | None, dict[str, Any], bool]]:
    """Of each group its name, patients, status, its counts as they may be told, and whether it is hidden."""
    parts = [(name or UNKNOWN, table[table[column] == name].reset_index(drop=True)) for name in names]
    parts = [(name, mine) for name, mine in parts if len(mine)]
    status = [_known(mine, asked) for _, mine in parts]
    gone = cells.hidden([_classes(who) for who in status], limit)
    result = []
    for i, ((name, mine), who) in enumerate(zip(parts, status, strict=True)):
        told: dict[str, Any] = {"n": len(mine), "events": _classes(who)[0]}
        if i in gone:
            told = {"n": f"<{limit}" if len(mine) < limit else None, "events": None}
            if _classes(who)[0] < limit:
                told["events"] = f"<{limit}"
        result.append((name, mine, who, told, i in gone))
    return result


def _cuts(table: pd.DataFrame, asked: Asked, limit: int, level: float) -> list[dict[str, Any]]:
    """Groups of every cut. All cuts are of one score: a group of one less a group of another is a slice of it, so a cut that
    leaves few in a slice beside a cut told before is hidden."""
    result, told = [], []
    for cut in asked.cuts:
        rows = _groups(table, asked, cut, limit, level)
        slices = (mine for other in told for _, mine in table.groupby([f"cut:{cut}", f"cut:{other}"]))
        if any(min(_classes(_known(mine, asked))) < limit for mine in slices):
            empty = dict.fromkeys(("n", "events", "mean_p", "observed", "low", "high"))
            rows = [{"name": row["name"], **empty, "reason": SMALL_CELL} for row in rows]
        elif any(row["observed"] is not None for row in rows):
            told.append(cut)
        result.append({"name": cut, "groups": rows})
    return result


def _groups(table: pd.DataFrame, asked: Asked, cut: str, limit: int, level: float) -> list[dict[str, Any]]:
    rows = []
    for name, mine, _, told, gone in _split(table, asked, f"cut:{cut}", [*asked.cuts[cut], ""], limit):
        row: dict[str, Any] = {"name": name, **told, **dict.fromkeys(("mean_p", "observed", "low", "high"))}
        if gone:
            rows.append(row | {"reason": SMALL_CELL})
            continue
        share, se = horizon.observed(mine["time"].to_numpy(), mine["event"].to_numpy(), asked.horizon)
        free = np.array([1 - share])
        low, high = product_limit.log_log(free, np.array([se]) / free, level)
        row |= {"mean_p": rounded(float(mine["probability"].mean())), "observed": rounded(share)}
        rows.append(row | {"low": rounded(1 - float(high[0])), "high": rounded(1 - float(low[0]))})
    return rows


def _subgroups(table: pd.DataFrame, asked: Asked, limit: int) -> dict[str, Any]:
    found = {}
    for attribute in asked.attributes:
        column = f"by:{attribute}"
        rows, told = [], []
        for name, mine, who, counts, gone in _split(table, asked, column, sorted(set(table[column])), limit):
            if gone or who is None:
                no = {"reason": SMALL_CELL}
                area, ratio = (
                    {"value": None, "se": None, "logit_se": None, **no},
                    {"O": None, "E": None, "se": None, **no},
                )
            else:
                area, ratio = _area(who, mine["log_odds"].to_numpy()), _ratio(mine, asked)
                told.append((mine["log_odds"].to_numpy(), who))
            rows.append({"name": name, **counts, "auc": area, "oe": ratio})
        found[attribute] = {"groups": rows, **_differ(told, asked.binary)}
    tested = [name for name in found if found[name]["p"] is not None]
    for name, p in zip(
        tested, sites.holm([found[name]["p"] for name in tested]) if tested else [], strict=True
    ):
        found[name]["p_holm"] = rounded(p)
    return found


def _differ(told: list[tuple[pd.DataFrame, follow_up.Known]], binary: bool) -> dict[str, Any]:
    """Tests among the groups that are told; score x group has a likelihood only where everyone's status is known."""
    found: dict[str, Any] = dict.fromkeys(("q", "p", "p_holm", "interaction", "interaction_p")) | {"df": 0}
    pairs = [(horizon.auc(who, odds), horizon.auc_se(who, odds)) for odds, who in told]
    inner = [(a, se) for a, se in pairs if a is not None and se and 0 < a < 1]
    if len(inner) > 1:
        area, se = np.array(inner).T
        q, df, p = meta.heterogeneity(np.log(area / (1 - area)), se / (area * (1 - area)))
        found |= {"q": rounded(q), "df": df, "p": rounded(p)}
    if len(told) > 1 and binary:
        ratio, p = sites.interaction(
            np.concatenate([who.case for _, who in told]).astype(float),
            np.concatenate([odds for odds, _ in told]),
            np.concatenate([np.full(len(odds), i) for i, (odds, _) in enumerate(told)]),
        )
        found |= {"interaction": rounded(ratio), "interaction_p": rounded(p)}
    return found
