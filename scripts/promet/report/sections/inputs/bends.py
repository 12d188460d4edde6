"""Where what a value adds to the log-odds turns back inside the range of the known values, and what that means.

Two normal densities of unequal spread have a log ratio that is a parabola: far out on either side it argues for the class that
spreads more, whichever side that class lies on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from promet.core.words import count
from promet.report.text import fixed, short
from promet.report.words import heading
from promet.study.ledger import FIT

if TYPE_CHECKING:
    from promet.report.read import Split

UNITS = {"cnn_score": "logit", "psa": "ng/ml", "positive_cores_percent": "%", "suv_peak": "SUV"}
SEEN = 0.005  # log-odds that two decimals can show


@dataclass(frozen=True)
class Bend:
    """One turn: the input, the value where it lies (as the model sees it), the side beyond it; (fitted, other) patients there and
    in all; and by how much more the outermost of them argues for the wider class (1 = with the outcome) than a value at the turn."""

    name: str
    at: float
    below: bool
    beyond: tuple[int, int]
    known: tuple[int, int]
    back: float
    wider: int
    floored: bool  # the wider spread is the stand-in for one that is not known


def factor(entry: dict[str, Any], x: np.ndarray) -> np.ndarray:
    """What values add to the log-odds: the logarithm of the ratio of the two normal densities."""
    (m0, m1), (v0, v1) = entry["mean"], entry["variance"]
    return 0.5 * ((x - m0) ** 2 / v0 - (x - m1) ** 2 / v1 + np.log(v0 / v1))


def of_input(name: str, entry: dict[str, Any], values: np.ndarray, fitted: np.ndarray) -> list[Bend]:
    """Turns of one input among ``values``, the known ones as the model sees them; ``fitted``: whose the densities were fitted on.

    The parabola's vertex never lies between the two means: between them a value nearer to a class's mean argues for that
    class. So what lies beyond the vertex, seen from the means, argues against what the means say. There is none where no known value
    beyond it argues more than another (grades have few values), and two where the means are equal.
    """
    (m0, m1), (v0, v1) = entry["mean"], entry["variance"]
    if v0 == v1 or not len(values):
        return []
    at, wider = (m0 / v0 - m1 / v1) / (1 / v0 - 1 / v1), int(v1 > v0)
    added = factor(entry, values) * (1 if wider else -1)  # a parabola with its lowest point at the vertex
    found = []
    for below in (True, False):
        if (at > min(m0, m1)) if below else (at < max(m0, m1)):
            continue
        gone = values < at if below else values > at
        if not gone.any() or gone.all() or added[gone].max() - added.min() < SEEN:
            continue
        bottom = float(factor(entry, np.array(at))) * (1 if wider else -1)
        back = float(added[gone].max()) - bottom
        beyond, known = (
            (int((mask & fitted).sum()), int((mask & ~fitted).sum()))
            for mask in (gone, np.ones(len(values), bool))
        )
        found.append(
            Bend(
                name,
                float(at),
                below,
                beyond,
                known,
                back,
                wider,
                bool(entry.get("floored", [False, False])[wider]),
            )
        )
    return found


def bends(split: Split) -> list[Bend]:
    """Every turn of the multimodal model among the values of all patients, but for the network's scores of its own training patients."""
    told = split.bayes or {}
    model = (told.get("models") or {}).get("multimodal")
    if model is None or split.predictions is None:
        return []
    found = []
    for name in model["order"]:
        entry = model["features"][name]
        if entry["dropped"] or name not in split.predictions:
            continue
        fit = told.get("cnn_score_fitted_on", FIT) if name == "cnn_score" else FIT
        seen = split.predictions.dropna(subset=[name])
        seen = seen[seen["part"].isin(fit) | ~seen["part"].isin(FIT)]
        values = seen[name].to_numpy(float)
        fitted = seen["part"].isin(fit).to_numpy()
        found += of_input(name, entry, np.log(values) if name in told.get("log", []) else values, fitted)
    return found


def sentences(split: Split) -> list[str]:
    """One for each turn."""
    said = []
    logged, learnt = (split.bayes or {}).get("log", []), split.learnt
    for bend in bends(split):
        at = (
            f"{short(np.exp(bend.at) if bend.name in logged else bend.at)} {UNITS.get(bend.name, '')}".strip()
        )
        side, worse, end = ("Below", "lower", "lowest") if bend.below else ("Above", "higher", "highest")
        towards = "for" if bend.wider else "against"
        whose = "with" if bend.wider else "without"
        why = (
            f"the spread of all patients stands in for that of the patients {whose} {learnt}"
            if bend.floored
            else f"its values vary more in patients {whose} {learnt}"
        )
        said.append(
            f"{heading(bend.name)}: the curve turns at {at}. {side} it a {worse} value argues more and more {towards} {learnt}, only "
            f"because {why}. Beyond it: "
            f"{bend.beyond[0]} of {count(bend.known[0], 'fitted patient')}, {bend.beyond[1]} of {count(bend.known[1], 'other')}; the {end} "
            f"value among them counts {fixed(bend.back)} log-odds more {towards} {learnt} than one at the turn."
        )
    return said
