"""One interval from several splits: the AUCs of repeated splits are not independent.

pooled.json (written by ``promet evaluation pool``)::

    schema: 1
    splits: how many; confidence
    order: [NAME, ...]              the scores, as in metrics.json
    sections: {KEY: SECTION}        KEY: synchronous, metachronous, prospective
    section_order: [KEY, ...]
    notes: [sentence, ...]

    SECTION: title
             method: "corrected"    other patients in each split's test part
                     "fixed"        the same patients in every split, only the models differ
             n_tested, n_fitted: means over the splits (fitted = training + validation with label); ratio: n_tested / n_fitted
             scores: {NAME: POOLED of the AUC, p against 0.5}
             differences: {NAME: POOLED of multimodal - NAME, p against 0}
             notes: [sentence, ...]

    POOLED: values: [per split, null = none], n: splits with a value, mean, sd, smallest, largest, se, low, high, p

corrected: se² = (1 / J + n_tested / n_fitted) sd², t with J - 1 degrees of freedom (Nadeau & Bengio, Mach Learn 2003;52:239). The
plain sd / sqrt(J) takes the splits for independent samples, though they share their patients: far too narrow.
fixed: se² = mean DeLong se² + (1 + 1 / J) sd², normal (as Rubin pools imputations): the patients' own uncertainty, which more
splits cannot lessen, and that of the model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from promet.core.errors import UsageError
from promet.core.sidecar import Sidecar
from promet.core.stage import Outcome, run_stage
from promet.study.forms import shapes
from promet.study.forms.metrics import Metrics
from promet.study.forms.pooled import FILE as PRODUCT
from promet.study.forms.pooled import Estimate, Interval, Pooled, Section


def corrected(values: list[float | None], ratio: float | None, against: float, level: float) -> Estimate:
    """POOLED of test parts with other patients in each split; ``ratio`` = tested / fitted patients."""
    result, known = _described(values)
    if len(known) < 2 or ratio is None or not result["sd"]:
        return result
    se = math.sqrt(1 / len(known) + ratio) * result["sd"]
    return {**result, **_interval(float(np.mean(known)), se, against, level, len(known) - 1)}


def fixed(values: list[float | None], errors: list[float | None], against: float, level: float) -> Estimate:
    """POOLED of the same patients in every split; ``errors`` = standard error of each value."""
    result, known = _described(values)
    if not known or any(e is None for v, e in zip(values, errors, strict=True) if v is not None):
        return result
    within = float(np.mean([e**2 for e in errors if e is not None]))
    between = (result["sd"] or 0.0) ** 2
    se = math.sqrt(within + (1 + 1 / len(known)) * between)
    return {**result, **_interval(float(np.mean(known)), se, against, level, None)} if se > 0 else result


def pool(metrics: list[Metrics]) -> Pooled:
    """pooled.json of the metrics.json of several splits of one study.

    Raises:
        UsageError: none given, one given twice, or intervals of several levels.
    """
    if not metrics:
        raise UsageError("E_POOL_EMPTY", "No metrics were given", "the metrics.json of each split")
    # Two splits never have all their numbers in common: the thresholds of a ROC curve are single scores.
    if twice := [k for k, m in enumerate(metrics) if m in metrics[:k]]:
        first = metrics.index(metrics[twice[0]])
        raise UsageError(
            "E_POOL_TWICE",
            f"Of {len(metrics)} metrics {len(twice)} are given again, the first is number {twice[0] + 1}, which is number {first + 1} again",
            "each split once: one split counted several times looks surer than it is",
        )
    levels = {m["confidence"] for m in metrics}
    if len(levels) > 1:
        raise UsageError(
            "E_POOL_LEVELS", "The splits were evaluated with several levels of confidence", "one level"
        )
    level, first = levels.pop(), metrics[0]
    asked = [key for key in first["section_order"] if not first["sections"][key]["seen"]]
    order = list(dict.fromkeys(name for m in metrics for name in m["order"]))
    result: Pooled = {
        "schema": 1,
        "splits": len(metrics),
        "confidence": level,
        "order": order,
        "sections": {key: _section(key, metrics, order, level) for key in asked},
        "section_order": asked,
        "notes": [],
    }
    if len(metrics) > 1:
        result["notes"].append(
            "Every split chose its own network on its own validation part; no test part of any split chose anything."
        )
    if len(metrics) < 2:
        result["notes"].append("There is one split only: its own interval holds, and nothing is pooled.")
    elif len(metrics) < 10:
        result["notes"].append(
            f"{len(metrics)} splits: their spread is itself uncertain; 10 or more are advised."
        )
    return result


def _section(key: str, metrics: list[Metrics], order: list[str], level: float) -> Section:
    mine = [m["sections"][key] for m in metrics]
    # The test part is another in each split; all others are the same patients.
    method = "corrected" if mine[0]["part"] == "test" else "fixed"
    tested = [s["n"] for s in mine if s["status"] == "ok"]
    fitted = [
        sum(m["sections"][f"{m['primary']}_{part}"]["n"] for part in ("training", "validation"))
        for m in metrics
    ]
    n_tested, n_fitted = (float(np.mean(x)) if x else None for x in (tested, fitted))
    ratio = n_tested / n_fitted if n_tested and n_fitted else None
    result: Section = {
        "title": mine[0]["title"],
        "method": method,
        "n_tested": n_tested,
        "n_fitted": n_fitted,
        "ratio": ratio,
        "scores": {},
        "differences": {},
        "notes": [],
    }
    if not tested:
        result["notes"].append("No split has patients with a label here.")
        return result
    for name in order:
        records = [s["scores"].get(name) or {} for s in mine]
        pairs = [s["paired"].get(name) or {} for s in mine]
        for where, found, value, error, against in (
            (result["scores"], records, "auc", lambda r: (r.get("delong") or {}).get("se"), 0.5),
            (result["differences"], pairs, "difference", lambda r: r.get("se"), 0.0),
        ):
            if not any(found):
                continue
            values = [r.get(value) for r in found]
            where[name] = (
                corrected(values, ratio, against, level)
                if method == "corrected"
                else fixed(values, [error(r) for r in found], against, level)
            )
            pooled = where[name]
            if pooled["n"] < len(metrics):
                result["notes"].append(f"{name}: {pooled['n']} of {len(metrics)} splits have a value.")
            if pooled["n"] > 1 and pooled["se"] is None:
                result["notes"].append(
                    f"{name}: no interval, since a split has no standard error or the splits do not differ."
                )
    result["notes"] = list(dict.fromkeys(result["notes"]))
    return result


def run(inputs: Sequence[Path], settings: None, out: Path, pin: str) -> Sidecar:
    """Write pooled.json beside ``out``, and the sidecar ``out`` last.

    ``inputs``: metrics.json of every split; upstream are the evaluate records beside them.
    """

    def work() -> Outcome:
        found = pool([shapes.read(Metrics, path) for path in inputs])
        product = out.with_name(PRODUCT)
        shapes.write(Pooled, product, found)
        values = {
            key: {
                name: dict(section["scores"].get("multimodal") or {}).get(name)
                for name in ("n", "mean", "low", "high")
            }
            for key, section in found["sections"].items()
        }
        return Outcome(products={"pooled": product}, values=values, warnings=found["notes"])

    if any(not path.is_file() for path in inputs):
        raise UsageError("E_FILE_MISSING", "A metrics file does not exist", "metrics.json of every split")
    records = {f"evaluate-{k:02d}": path.with_name("evaluate.json") for k, path in enumerate(inputs)}
    return run_stage(
        "pool",
        out,
        pin,
        work,
        upstream={name: path for name, path in records.items() if path.exists()},
        makes=(PRODUCT,),
        packages=("numpy", "scipy"),
    )


def _described(values: list[float | None]) -> tuple[Estimate, list[float]]:
    known = [v for v in values if v is not None]
    sd = float(np.std(known, ddof=1)) if len(known) > 1 else None
    return {
        "values": list(values),
        "n": len(known),
        "mean": float(np.mean(known)) if known else None,
        "sd": 0.0 if sd is not None and sd < 1e-12 else sd,
        "smallest": min(known, default=None),
        "largest": max(known, default=None),
        "se": None,
        "low": None,
        "high": None,
        "p": None,
    }, known


def _interval(mean: float, se: float, against: float, level: float, df: int | None) -> Interval:
    """Interval clipped to the possible values, and two-sided p; t with ``df``, normal without."""
    law = stats.norm if df is None else stats.t(df)
    half, floor = float(law.ppf((1 + level) / 2)) * se, 0.0 if against == 0.5 else -1.0
    return {
        "se": se,
        "low": max(mean - half, floor),
        "high": min(mean + half, 1.0),
        "p": float(2 * law.sf(abs(mean - against) / se)),
    }
