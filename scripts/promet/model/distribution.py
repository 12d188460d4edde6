"""Where a patient lies among the patients the model was fitted on; kept as means and spreads, never as single patients.

Seven inputs, some dozens of patients, and biopsies missing in one class only: a covariance matrix is not to be had. So the
distance is the root mean square of an input's standardised values, and its scale is how far the fitted patients lie themselves.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from promet.model import scale

if TYPE_CHECKING:
    import pandas as pd

FEW = 5  # known values below which nothing is told of an input: a mean of two is two patients
FAR = 3.0  # standard deviations
SHARES = (0.5, 0.9, 0.95)
# Of the image, and whether its logarithm is used (skewed).
IMAGE = {
    "suv_max": True,
    "organ_suv_mean": True,
    "organ_ml": True,
    "lesion_ml": True,
    "uptake_min": False,
    **scale.LOGGED,
}


def describe(values: Iterable[float], log: bool) -> dict[str, Any] | None:
    """n, mean, sd (n - 1) of the known values, or of their logarithms; None when they are too few or all the same."""
    known = np.array([value for value in values if not math.isnan(value)], float)
    if log:
        known = np.log(known[known > 0])
    if len(known) < FEW or known.min() == known.max():
        return None
    return {"n": len(known), "mean": float(known.mean()), "sd": float(known.std(ddof=1)), "log": log}


def build(
    table: pd.DataFrame, features: list[str], log: list[str], cnn_parts: list[str], images: pd.DataFrame
) -> dict[str, Any]:
    """The training distribution.

    Args:
        table: predictions of the fitted patients: part and the raw inputs.
        features: inputs of the multimodal model.
        log: inputs whose logarithm it uses.
        cnn_parts: parts whose CNN scores count (the network knows its own training cases too well).
        images: the columns ``IMAGE`` of the fitted patients.

    Returns:
        inputs and image: name -> {n, mean, sd, log} or null; distance: {n, quantiles: share -> distance}.
    """
    raw = table[features].copy()
    if "cnn_score" in features:
        raw.loc[~table["part"].isin(cnn_parts), "cnn_score"] = math.nan
    entries = {name: describe(raw[name], name in log) for name in features}
    distances = [distance(dict(row), entries) for row in raw.to_dict("records")]
    known = [value for value in distances if value is not None]
    return {
        "schema": 2,
        "inputs": entries,
        "image": {name: describe(images[name], logged) for name, logged in IMAGE.items()},
        "distance": {
            "n": len(known),
            "quantiles": {f"{share:g}": float(np.quantile(known, share)) for share in SHARES}
            if len(known) >= FEW
            else {},
        },
    }


def position(value: float | None, entry: dict[str, Any] | None) -> dict[str, float] | None:
    """z and percentile (of a normal distribution) of a raw value; None when it or the training's is not known."""
    if value is None or math.isnan(value) or entry is None or (entry["log"] and value <= 0):
        return None
    z = ((math.log(value) if entry["log"] else value) - entry["mean"]) / entry["sd"]
    return {"z": z, "percentile": 50 * (1 + math.erf(z / math.sqrt(2)))}


def distance(values: dict[str, float], entries: dict[str, Any]) -> float | None:
    """Root mean square of z over the known inputs: about 1 for a patient like the fitted ones."""
    found = [place for name, entry in entries.items() if (place := position(values.get(name), entry))]
    return math.sqrt(sum(place["z"] ** 2 for place in found) / len(found)) if found else None


def place(values: dict[str, float], image: dict[str, float], training: dict[str, Any]) -> dict[str, Any]:
    """Where a patient lies: inputs and image (name -> position or null), distance, its training quantiles, sentences."""
    of_inputs = {name: position(values.get(name), entry) for name, entry in training["inputs"].items()}
    of_image = {name: position(image.get(name), entry) for name, entry in training["image"].items()}
    far = distance(values, training["inputs"])
    quantiles = training["distance"]["quantiles"]
    sentences = [
        f"{name} lies {abs(found['z']):.1f} standard deviations {'above' if found['z'] > 0 else 'below'} the mean of the "
        "training patients."
        for name, found in {**of_image, **of_inputs}.items()
        if found and abs(found["z"]) > FAR
    ]
    if far is not None and quantiles:
        beyond = [share for share, limit in quantiles.items() if far > limit]
        sentences.append(
            f"As a whole this patient lies further from the middle than {float(beyond[-1]):.0%} of the training patients."
            if beyond
            else "As a whole this patient lies nearer to the middle than half of the training patients."
        )
    return {
        "inputs": of_inputs,
        "image": of_image,
        "distance": far,
        "training_quantiles": quantiles,
        "unusual": any(found and abs(found["z"]) > FAR for found in {**of_image, **of_inputs}.values())
        or (far is not None and "0.95" in quantiles and far > quantiles["0.95"]),
        "sentences": sentences,
    }
