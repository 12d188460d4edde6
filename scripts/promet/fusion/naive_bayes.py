"""Gaussian naive Bayes that marginalises over missing values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from promet.core.errors import UsageError
from promet.core.words import count

MINIMUM_SEEN = 2  # patients of a class below which a feature has no density
OWN_SPREAD = 5  # patients of a class from which its own spread is believed
NARROW = 0.1  # share of the spread of all fitted patients below which that of a class is not believed


@dataclass
class NaiveBayes:
    """Two classes, one normal density per feature and class.

    log-odds(x) = log(prior1 / prior0) + sum over the *known* features j of
    log N(x_j; mean1_j, variance1_j) - log N(x_j; mean0_j, variance0_j).

    A missing value (NaN) is integrated out, and since the features are independent given the class
    that means: its factor is dropped, in fitting and in predicting. Whether a value is missing thus
    never tells anything about the class. With nothing missing this is
    ``sklearn.naive_bayes.GaussianNB`` (variances with ddof 0, plus ``var_smoothing`` times the
    largest variance of any feature over both classes), but for the floor.

    The floor: fewer than ``OWN_SPREAD`` values of a class, or values within less than ``NARROW`` of the
    spread of both classes together (all one value included), make a spike that alone decides every
    patient with another value: two PSAs of 6.0 and 6.1 give a PSA of 30 log-odds of tens of thousands.
    There the variance of the class is at least the feature's variance over both classes. That of both
    together and not the one within the classes, since the latter is next to nothing where both
    classes are narrow; it is the larger of the two, so the floor errs towards saying less.

    Under censoring each patient has a weight (``study.follow_up.known``): the prior is then the risk by
    Kaplan-Meier (Aalen-Johansen), means and variances are weighted, and who is unknown has weight 0 and takes
    no part. Weights of one change no bit. Source: Wolfson et al., Stat Med 2015;34:2941.

    Attributes:
        features: names, the columns of every matrix given to ``fit`` and ``log_odds``.
        prior: probability of class 0 and 1.
        mean, variance: shape (features, 2); NaN rows for dropped features. Variance includes ``epsilon``.
        seen: shape (features, 2), known values each density was fitted on.
        floored: shape (features, 2), True where the floor gave the variance.
        effective: shape (features, 2), as many patients of equal weight would know as much (Kish): (sum w)² / sum w²;
            ``seen`` without weights, empty in a model that has none.
        dropped: feature -> sentence, why it has no densities.
        epsilon: what was added to each variance.
        warnings: sentences for the report.
    """

    features: list[str]
    var_smoothing: float = 1e-9
    prior: np.ndarray = field(default_factory=lambda: np.full(2, np.nan))
    mean: np.ndarray = field(default_factory=lambda: np.empty((0, 2)))
    variance: np.ndarray = field(default_factory=lambda: np.empty((0, 2)))
    seen: np.ndarray = field(default_factory=lambda: np.empty((0, 2), int))
    floored: np.ndarray = field(default_factory=lambda: np.empty((0, 2), bool))
    effective: np.ndarray = field(default_factory=lambda: np.empty((0, 2)))
    dropped: dict[str, str] = field(default_factory=dict)
    epsilon: float = 0.0
    warnings: list[str] = field(default_factory=list)

    def fit(
        self,
        values: np.ndarray,
        labels: np.ndarray,
        rows: np.ndarray | None = None,
        weights: np.ndarray | None = None,
    ) -> NaiveBayes:
        """Fit on ``values`` (patients, features), NaN = missing, and ``labels`` (patients,), 0 or 1.

        Args:
            rows: boolean, shape of ``values``: which rows each feature's densities may see
                (default: all). The priors always come from all labels.
            weights: (patients,), 0 = takes no part, whatever the label (default: one for everybody).

        Raises:
            UsageError: a class without patients, other labels than 0 and 1, infinite values.
        """
        values, labels = self._matrix(values), np.asarray(labels, float)
        if labels.shape != values.shape[:1]:
            raise ValueError("one label per row is needed")
        w = np.ones(len(labels)) if weights is None else np.asarray(weights, float)
        takes_part = w > 0
        if not np.isin(labels[takes_part], (0, 1)).all():
            raise UsageError(
                "E_FUSION_LABEL", "A label is neither 0 nor 1", "0 or 1 for every fitted patient"
            )
        mine = [takes_part & (labels == c) for c in (0, 1)]
        if not (mine[0].any() and mine[1].any()):
            raise UsageError(
                "E_FUSION_ONE_CLASS",
                f"The fit set has {count(int(mine[1].sum()), 'patient')} with and {mine[0].sum()} without the outcome",
                "at least one of each",
                "Add patients or use another split",
            )
        usable = ~np.isnan(values) & (True if rows is None else np.asarray(rows, bool))
        totals = np.array([w[m].sum() for m in mine])
        self.prior = totals / totals.sum()
        p = len(self.features)
        self.mean, self.variance = np.full((p, 2), np.nan), np.full((p, 2), np.nan)
        self.seen, self.floored = np.zeros((p, 2), int), np.zeros((p, 2), bool)
        self.effective = np.zeros((0 if weights is None else p, 2))
        self.dropped, self.warnings, spread = {}, [], [0.0]
        for j, name in enumerate(self.features):
            here = [usable[:, j] & m for m in mine]
            known = [(values[h, j], w[h]) for h in here]
            self.seen[j] = [len(k) for k, _ in known]
            if weights is not None:
                self.effective[j] = [v.sum() ** 2 / (v**2).sum() if len(v) else 0.0 for _, v in known]
            if min(self.seen[j]) < MINIMUM_SEEN:
                self.dropped[name] = (
                    f"{name} is known in {self.seen[j, 1]} patients with and {self.seen[j, 0]} without the outcome "
                    f"among those its densities may see; {MINIMUM_SEEN} of each are needed, so it is left out"
                )
                continue
            self.mean[j] = [_moments(*k)[0] for k in known]
            together = _moments(*(np.concatenate(both) for both in zip(*known, strict=True)))[1]
            if together == 0:
                self.dropped[name] = f"{name} does not vary at all, so it is left out"
                self.mean[j] = np.nan
                continue
            for c, (k, v) in enumerate(known):
                own = 0.0 if k.min() == k.max() else _moments(k, v)[1]
                narrow = own < NARROW**2 * together
                self.floored[j, c] = own < together and (len(k) < OWN_SPREAD or narrow)
                self.variance[j, c] = together if self.floored[j, c] else own
                if self.floored[j, c]:
                    self.warnings.append(_floor(name, c, len(k), own == 0, narrow))
            spread.append(together)
        self.epsilon = float(self.var_smoothing * max(spread))
        self.variance = self.variance + self.epsilon
        self.warnings = [s + "." for s in (*self.dropped.values(), *self.warnings)]
        return self

    def factors(self, values: np.ndarray) -> np.ndarray:
        """Log-odds each value adds, shape (patients, features); 0 where missing or dropped."""
        values = self._matrix(values)
        gauss = -0.5 * (
            np.log(2 * np.pi * self.variance) + (values[:, :, None] - self.mean) ** 2 / self.variance
        )
        return np.nan_to_num(gauss[:, :, 1] - gauss[:, :, 0], nan=0.0, posinf=np.inf, neginf=-np.inf)

    def log_odds(self, values: np.ndarray) -> np.ndarray:
        """Log-odds of class 1, shape (patients,); the prior's where nothing is known."""
        return np.log(self.prior[1] / self.prior[0]) + self.factors(values).sum(axis=1)

    def probability(self, values: np.ndarray) -> np.ndarray:
        """Probability of class 1, shape (patients,)."""
        return logistic(self.log_odds(values))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; floats survive the round trip bit by bit."""
        return {
            "var_smoothing": self.var_smoothing,
            "epsilon": self.epsilon,
            "prior": self.prior.tolist(),
            "features": {
                name: {
                    "seen": self.seen[j].tolist(),
                    "mean": None if name in self.dropped else self.mean[j].tolist(),
                    "variance": None if name in self.dropped else self.variance[j].tolist(),
                    "dropped": self.dropped.get(name, ""),
                    # Only where it acted: a model without a floored density keeps its bytes.
                    **({"floored": self.floored[j].tolist()} if self.floored[j].any() else {}),
                    **({"effective": self.effective[j].tolist()} if len(self.effective) else {}),
                }
                for j, name in enumerate(self.features)
            },
            "order": list(self.features),
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> NaiveBayes:
        """The inverse of ``to_dict``."""
        order, features = record["order"], record["features"]
        none = [np.nan, np.nan]
        return cls(
            features=list(order),
            var_smoothing=record["var_smoothing"],
            prior=np.array(record["prior"], float),
            mean=np.array([features[name]["mean"] or none for name in order], float).reshape(-1, 2),
            variance=np.array([features[name]["variance"] or none for name in order], float).reshape(-1, 2),
            seen=np.array([features[name]["seen"] for name in order], int).reshape(-1, 2),
            floored=np.array([features[name].get("floored", [False, False]) for name in order], bool).reshape(
                -1, 2
            ),
            effective=np.array(
                [features[name]["effective"] for name in order if "effective" in features[name]], float
            ).reshape(-1, 2),
            dropped={name: features[name]["dropped"] for name in order if features[name]["dropped"]},
            epsilon=record["epsilon"],
            warnings=list(record["warnings"]),
        )

    def _matrix(self, values: np.ndarray) -> np.ndarray:
        values = np.asarray(values, float)
        if values.ndim != 2 or values.shape[1] != len(self.features):
            raise ValueError(f"a matrix with {len(self.features)} columns is needed")
        if np.isinf(values).any():
            name = self.features[int(np.flatnonzero(np.isinf(values).any(axis=0))[0])]
            raise UsageError(
                "E_FUSION_INFINITE", f"{name} holds an infinite value", "finite numbers or a missing value"
            )
        return values


def _moments(values: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Weighted mean and variance (ddof 0); with weights of one the very bits of numpy's."""
    total = weights.sum()
    mean = (weights * values).sum() / total
    return mean, (weights * (values - mean) ** 2).sum() / total


def _floor(name: str, label: int, seen: int, flat: bool, narrow: bool) -> str:
    """The warning on one floored density, without its full stop."""
    whose = f"patients {('without', 'with')[label]} the outcome"
    if flat:
        why = f"{name} has one and the same value in all {seen} fitted {whose}"
    elif seen < OWN_SPREAD:
        why = f"{name} is known in only {seen} fitted {whose}"
    else:
        why = f"{name} varies in the {seen} fitted {whose} by less than a tenth of what it varies in all"
    return f"{why}: its spread there is taken from all fitted patients together"


def logistic(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) without overflow."""
    x = np.asarray(x, float)
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small))
