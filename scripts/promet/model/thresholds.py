"""Cuts of the multimodal score, fixed with the model, and the group a new score falls in."""

from __future__ import annotations

import math
from typing import Any

from promet.study.forms.metrics import Metrics
from promet.study.forms.survival import Survival

NAMES = {1: ["low", "high"], 2: ["low", "middle", "high"]}


def build(metrics: Metrics, survival: Survival) -> dict[str, Any]:
    """The cuts on the log-odds of the multimodal model.

    Args:
        metrics: metrics.json, for the Youden point of the validation part.
        survival: survival.json, for the quantiles of the metachronous cohort.

    Returns:
        cuts: [{name, thresholds, includes (which side a score on a threshold falls to: upper | lower), groups, origin,
        patients}]; absent: sentences on cuts that could not be made.
    """
    cuts, absent = [], []
    key = next(key for key in metrics["sections"] if key.endswith("_validation"))
    part = metrics["sections"][key]
    of = "metastases on the scan" if key == "synchronous_validation" else "what is learnt"
    scored = part["scores"].get("multimodal")
    best = scored["youden"]["threshold"] if scored else None
    if best is not None and math.isfinite(best):
        cuts.append(
            _cut(
                "youden",
                [best],
                "upper",
                f"largest sensitivity + specificity for {of} in the validation part",
                part["n"],
            )
        )
    else:
        absent.append("There is no Youden point: the validation part gives no ROC curve.")
    for name in ("tertiles", "median"):
        if survival["status"] == "ok":
            origin = f"{name} of the score in the metachronous cohort, as in the survival curves"
            cuts.append(_cut(name, survival["cuts"][name]["thresholds"], "lower", origin, survival["n"]))
        else:
            absent.append(f"There are no {name} of a metachronous cohort: {survival['reason']}")
    return {"schema": 1, "scale": "log-odds of the multimodal model", "cuts": cuts, "absent": absent}


def _cut(name: str, thresholds: list[float], includes: str, origin: str, patients: int) -> dict[str, Any]:
    groups = NAMES[len(thresholds)]
    return {
        "name": name,
        "thresholds": thresholds,
        "includes": includes,
        "groups": groups,
        "origin": origin,
        "patients": patients,
    }


def groups(thresholds: dict[str, Any], score: float) -> dict[str, dict[str, Any]]:
    """Cut -> {group, thresholds, origin, patients} of a score (log-odds)."""
    found = {}
    for cut in thresholds["cuts"]:
        upper = cut["includes"] == "upper"
        above = sum(score >= limit if upper else score > limit for limit in cut["thresholds"])
        found[cut["name"]] = {
            "group": cut["groups"][above],
            **{key: cut[key] for key in ("thresholds", "origin", "patients")},
        }
    return found
