"""``promet pool-sites``: one estimate from the site.json of several hospitals, and where the next hospital's is expected.

pooled.json::

    schema: 1; level; model_digest; outcome; horizon
    sites: [{site, n, events, followup, compared}]        in the order of their names
    measures: {KEY: MEASURE}                              KEY: auc, oe, intercept, slope
    survival: {MONTHS: MEASURE}; net_benefit: {THRESHOLD: MEASURE}; above_all: {THRESHOLD: {sites, of}}
    notes: [sentence, ...]

    MEASURE: title, scale, none (the value without effect)
             sites: [{site, value, low, high, weight}]     weight: per cent of the pooled mean; null where there is none
             left_out: [{site, reason}]
             pooled: {k, mean, low, high, prediction: {low, high}, tau2, i2, q, q_p}    mean and limits on the measure's own scale

Scales on which is pooled: logit AUC, log O:E, log(-log) survival; intercept, slope and net benefit as they are (Snell et al., Stat
Methods Med Res 2018;27:3505; Debray et al., BMJ 2017;356:i6460). Fits at the sites are independent: no two have a patient in common.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from promet.centres.form import Site, read
from promet.core.errors import UsageError
from promet.core.files import digest_file, write_json
from promet.core.words import count
from promet.evaluation.stats import meta

FILE = "pooled.json"
UNSURE = 5  # sites below which a prediction interval says little


@dataclass(frozen=True)
class Measure:
    """How a figure is pooled: value and error of a site on the scale (None with a reason), and the way back."""

    title: str
    scale: str
    none: float | None
    of: Callable[[Site], tuple[float | None, float | None, str | None]]
    back: Callable[[float], float] = float


def _auc(site: Site) -> tuple[float | None, float | None, str | None]:
    a = site.auc
    return (
        (None, None, a.reason)
        if a.value is None or not 0 < a.value < 1 or not a.logit_se
        else (math.log(a.value / (1 - a.value)), a.logit_se, None)
    )


def _oe(site: Site) -> tuple[float | None, float | None, str | None]:
    r = site.oe
    return (None, None, r.reason) if not (r.O and r.E and r.se) else (math.log(r.O / r.E), r.se / r.O, None)


def _plain(name: str) -> Callable[[Site], tuple[float | None, float | None, str | None]]:
    def of(site: Site) -> tuple[float | None, float | None, str | None]:
        found = getattr(site, name)
        return (found.value, found.se, None) if found.se else (None, None, found.reason)

    return of


def _survival(at: float) -> Callable[[Site], tuple[float | None, float | None, str | None]]:
    def of(site: Site) -> tuple[float | None, float | None, str | None]:
        row = next((r for r in site.survival if r.time == at), None)
        if row is None or row.survival is None or not row.se or not 0 < row.survival < 1:
            return None, None, row.reason if row else None
        hazard = -math.log(row.survival)
        return math.log(hazard), row.se / (row.survival * hazard), None

    return of


def _benefit(h: float) -> Callable[[Site], tuple[float | None, float | None, str | None]]:
    def of(site: Site) -> tuple[float | None, float | None, str | None]:
        row = next((r for r in site.net_benefit if r.threshold == h), None)
        return (row.model, row.se, None) if row and row.se else (None, None, row.reason if row else None)

    return of


MEASURES = {
    "auc": Measure("AUC", "logit", 0.5, _auc, lambda x: 1 / (1 + math.exp(-x))),
    "oe": Measure("Observed / expected", "log", 1.0, _oe, math.exp),
    "intercept": Measure("Calibration intercept", "as it is", 0.0, _plain("intercept")),
    "slope": Measure("Calibration slope", "as it is", 1.0, _plain("slope")),
}


def pool(sites: Iterable[Site], level: float = 0.95) -> dict[str, Any]:
    """pooled.json.

    Raises:
        UsageError: E_SITES_NONE, E_SITES_TWICE, E_SITES_MODEL, E_SITES_OUTCOME.
    """
    sites = sorted(sites, key=lambda s: s.site)
    _require_alike(sites)
    times = sorted({row.time for site in sites for row in site.survival})
    thresholds = sorted({row.threshold for site in sites for row in site.net_benefit})
    first = sites[0]
    result: dict[str, Any] = {
        "schema": 1,
        "level": level,
        "model_digest": first.model_digest,
        "outcome": first.outcome.model_dump(exclude_none=True),
        "horizon": first.horizon,
        "sites": [
            {name: getattr(s, name) for name in ("site", "n", "events", "followup", "compared")}
            for s in sites
        ],
        "measures": {key: _pooled(measure, sites, level) for key, measure in MEASURES.items()},
        "survival": {
            f"{at:g}": _pooled(
                Measure(
                    f"Event-free at {at:g} months",
                    "log(-log)",
                    None,
                    _survival(at),
                    lambda x: math.exp(-math.exp(x)),
                ),
                sites,
                level,
            )
            for at in times
        },
        "net_benefit": {
            f"{h:g}": _pooled(Measure(f"Net benefit at {h:g}", "as it is", 0.0, _benefit(h)), sites, level)
            for h in thresholds
        },
        "above_all": {f"{h:g}": _above(sites, h) for h in thresholds},
        "notes": [],
    }
    result["notes"] = _notes(sites, result["measures"]["auc"]["pooled"]["k"])
    return result


def _require_alike(sites: list[Site]) -> None:
    if not sites:
        raise UsageError("E_SITES_NONE", "No site.json was given", "one of each hospital")
    names = [site.site for site in sites]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(
            "E_SITES_TWICE",
            f"{count(len(twice), 'hospital')} {'is' if len(twice) == 1 else 'are'} given more than once",
            "each hospital once: its newest file",
            "Leave out the older file, or correct the name (promet validate --site)",
        )
    told = [site for site in sites if site.auc.value is not None]  # what is hidden is alike everywhere
    bare = [site.model_dump(exclude={"site", "promet", "stages", "compared"}) for site in told]
    if again := [k for k, told in enumerate(bare) if told in bare[:k]]:
        raise UsageError(
            "E_SITES_TWICE",
            f"The file of {told[again[0]].site} holds the figures of {told[bare.index(bare[again[0]])].site}",
            "each hospital's own patients once, under one name",
            "Leave one of the two files out",
        )
    digests = sorted({site.model_digest for site in sites})
    if len(digests) > 1:
        raise UsageError(
            "E_SITES_MODEL",
            f"The files are of {len(digests)} models: {', '.join(d[:12] + '…' for d in digests)}",
            "one locked model, the same digest everywhere",
            "Pool each model's files apart",
        )
    asked = {(site.outcome.model_dump_json(), site.horizon) for site in sites}
    if len(asked) > 1:
        raise UsageError(
            "E_SITES_OUTCOME",
            f"The files are of {len(asked)} outcomes or horizons",
            "one outcome, and one horizon",
            "Validate again where it differs",
        )


def _pooled(measure: Measure, sites: list[Site], level: float) -> dict[str, Any]:
    half = float(stats.norm.ppf((1 + level) / 2))
    rows, left_out, values, errors = [], [], [], []
    for site in sites:
        value, se, reason = measure.of(site)
        row: dict[str, Any] = {"site": site.site, **dict.fromkeys(("value", "low", "high", "weight"))}
        if value is None or se is None:
            left_out.append({"site": site.site, "reason": reason or "not_given"})
        else:
            row |= {"value": measure.back(value)}
            row |= dict(
                zip(
                    ("low", "high"), sorted(measure.back(value + s * half * se) for s in (-1, 1)), strict=True
                )
            )
            values.append(value)
            errors.append(se)
        rows.append(row)
    empty: dict[str, Any] = {
        "k": len(values),
        **dict.fromkeys(("mean", "low", "high", "tau2", "i2", "q", "q_p")),
        "prediction": {"low": None, "high": None},
    }
    if len(values) > 1:
        found = meta.pooled(np.array(values), np.array(errors), level)
        weight = 1 / (np.array(errors) ** 2 + (found["tau2"] or 0))
        told = [row for row in rows if row["value"] is not None]
        for row, share in zip(told, 100 * weight / weight.sum(), strict=True):
            row["weight"] = float(share)
        empty |= {name: found[name] for name in ("tau2", "i2", "q", "q_p")}
        if len(values) > 2:
            empty |= {"mean": measure.back(found["mean"])} | _back(measure, found["low"], found["high"])
            empty["prediction"] = _back(measure, **found["prediction"])
    return {
        "title": measure.title,
        "scale": measure.scale,
        "none": measure.none,
        "sites": rows,
        "left_out": left_out,
        "pooled": empty,
    }


def _back(measure: Measure, low: float | None, high: float | None) -> dict[str, float | None]:
    if low is None or high is None:
        return {"low": None, "high": None}
    return dict(zip(("low", "high"), sorted((measure.back(low), measure.back(high))), strict=True))


def _above(sites: list[Site], h: float) -> dict[str, int]:
    """At how many of the sites with a figure the model is worth more than acting on everyone, and on nobody."""
    rows = [row for site in sites for row in site.net_benefit if row.threshold == h]
    told = [(row.model, row.all) for row in rows if row.model is not None and row.all is not None]
    return {"sites": sum(model > max(everyone, 0) for model, everyone in told), "of": len(told)}


def _notes(sites: list[Site], k: int) -> list[str]:
    notes = []
    if k == 1:
        notes.append("One hospital has an AUC: its own interval holds, nothing is pooled.")
    elif k == 2:
        notes.append(
            "Two hospitals have an AUC: they stand side by side. An interval of both together would have one degree of freedom and "
            "say nothing."
        )
    elif 2 < k < UNSURE:
        notes.append(
            f"{k} hospitals: the prediction interval is uninformative, since how much hospitals differ is hardly known."
        )
    if others := [site.site for site in sites if not site.compared]:
        notes.append(
            f"{count(len(others), 'hospital')} did not compare the model's digest with one received separately."
        )
    return notes


def run(files: list[Path], out: Path, level: float = 0.95) -> dict[str, Any]:
    """Write pooled.json, pooled.html and its figures into the folder ``out``; gives pooled.json.

    Raises:
        UsageError: as ``pool``, E_SITES_TWICE also for one file given twice.
        DataError: E_SITE_FILE, E_SITE_FORM.
    """
    from promet.centres.page import pooled as page

    sites = [read(path) for path in files]
    digests = [digest_file(path) for path in files]
    if len(set(digests)) < len(digests):
        raise UsageError(
            "E_SITES_TWICE", "One file is given twice", "each hospital once", "Name each file once"
        )
    found = pool(sites, level)
    out.mkdir(parents=True, exist_ok=True)
    page(found, out)
    write_json(out / FILE, found)
    return found
