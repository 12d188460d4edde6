"""Decision curve: what acting on a probability is worth against acting on everyone or on nobody."""

from __future__ import annotations

import warnings

import numpy as np

from promet.core.words import count
from promet.evaluation.stats.auc import clean
from promet.study.forms.metrics import Decision

STEPS = tuple(round(0.01 * k, 2) for k in range(1, 100))
FEW = 10  # events below which the curve is called descriptive


def curves(
    label: np.ndarray, models: dict[str, np.ndarray], thresholds: tuple[float, ...] = STEPS
) -> Decision:
    """Net benefit of each model on the patients who have a label and every model's probability.

    Net benefit at threshold t = true positives / n - false positives / n * t / (1 - t); "probability >= t" is
    acted upon (Vickers & Elkin, Med Decis Making 2006;26:565; library dcurves).

    Keys: n, positives, negatives, missing (labelled, but without one of the probabilities), thresholds,
    treat_all (list), treat_none (list of zeros), models {NAME: {net_benefit: list, better_from, better_to:
    smallest and largest threshold at which the model is above both, null if none; better_steps: how many of
    the thresholds}}, notes.
    """
    stacked = np.column_stack([np.asarray(p, float) for p in models.values()])
    gaps = np.isnan(stacked).any(axis=1)
    y, _, missing, notes = clean(label, np.where(gaps, np.nan, 0.0))
    keep = np.isin(np.asarray(label, float), (0, 1)) & ~gaps
    p, n, n1 = stacked[keep], len(y), int(y.sum())
    result: Decision = {
        "n": n,
        "positives": n1,
        "negatives": n - n1,
        "missing": missing,
        "thresholds": list(thresholds),
        "treat_all": [],
        "treat_none": [],
        "models": {
            name: {"net_benefit": [], "better_from": None, "better_to": None, "better_steps": None}
            for name in models
        },
        "notes": notes,
    }
    if n < 3:
        notes.append(f"Only {n} with label and probability: no decision curve.")
        return result
    if n1 in (0, n):
        notes.append(f"All {n} are {'with' if n1 else 'without'} the outcome: no decision curve.")
        return result
    if outside := int(((p < 0) | (p > 1)).sum()):
        notes.append(f"Outside 0 to 1 and so no probabilities: {count(outside, 'value')}. No decision curve.")
        return result
    found = _dca(y, p, thresholds)
    result["treat_all"] = found["all"]
    result["treat_none"] = found["none"]
    best = np.maximum(found["all"], 0.0)
    for k, name in enumerate(models):
        mine = np.array(found[f"m{k}"])
        above = np.array(thresholds)[mine > best + 1e-12]
        result["models"][name] = {
            "net_benefit": mine.tolist(),
            "better_from": float(above.min()) if len(above) else None,
            "better_to": float(above.max()) if len(above) else None,
            "better_steps": len(above),
        }
    if min(n1, n - n1) < FEW:
        notes.append(
            f"With {count(min(n1, n - n1), 'patient')} in the smaller class the curves are descriptive."
        )
    return result


def _dca(label: np.ndarray, probability: np.ndarray, thresholds: tuple[float, ...]) -> dict[str, list[float]]:
    """Net benefits by dcurves, model k as mk, besides all and none; in the order of ``thresholds``."""
    import pandas as pd
    from dcurves import dca

    names = [f"m{k}" for k in range(probability.shape[1])]
    table = pd.DataFrame(probability, columns=names)
    table["label"] = label
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        long = dca(data=table, outcome="label", modelnames=names, thresholds=list(thresholds))
    wide = long.pivot_table(index="threshold", columns="model", values="net_benefit", sort=True)
    return {name: wide[name].to_numpy(float).tolist() for name in ("all", "none", *names)}
