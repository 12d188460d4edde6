"""Follow-up with known truth: when progression, death of another cause, leaving and the end of the study would come.

Months from the scan. Progression: Weibull of the shape 1.3 and the scale 75, its hazard times exp(1.5 effect a) with the
aggressiveness a. Death: a constant hazard that knows nothing of a. Leaving: likewise. The end of the study (administrative
censoring): uniform, as patients enter one after another. What comes first is seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SHAPE, SCALE, STRENGTH = 1.3, 75.0, 1.5
DEATH_EVERY, LEAVING_EVERY = 240.0, 150.0  # mean months
STUDY_ENDS = (36.0, 84.0)


@dataclass(frozen=True)
class FollowUp:
    """Months at which each thing would come, were it the only one."""

    progression: float
    death: float
    leaving: float
    study_end: float

    @property
    def months(self) -> float:
        """What is seen, to a tenth of a month as cohort tables have it."""
        return max(round(min(self.progression, self.death, self.leaving, self.study_end), 1), 0.1)

    @property
    def progressed(self) -> int:
        """Is the first thing the progression?"""
        return int(self.progression <= min(self.death, self.leaving, self.study_end))

    @property
    def died(self) -> int:
        """Is the first thing death?"""
        return int(self.death < min(self.progression, self.leaving, self.study_end))


def draw(rng: np.random.Generator, effect: float, aggressiveness: float) -> FollowUp:
    """One patient's follow-up."""
    return FollowUp(
        progression=float(
            SCALE * (rng.exponential() / np.exp(STRENGTH * effect * aggressiveness)) ** (1 / SHAPE)
        ),
        death=float(DEATH_EVERY * rng.exponential()),
        leaving=float(LEAVING_EVERY * rng.exponential()),
        study_end=float(rng.uniform(*STUDY_ENDS)),
    )


def risk(effect: float, aggressiveness: float, months: float) -> float:
    """True probability of progression by then, before death (cumulative incidence)."""
    at = np.linspace(0, months, 4001)
    hazard = np.exp(STRENGTH * effect * aggressiveness) * SHAPE / SCALE * (at / SCALE) ** (SHAPE - 1)
    free = np.exp(-np.exp(STRENGTH * effect * aggressiveness) * (at / SCALE) ** SHAPE - at / DEATH_EVERY)
    return float(np.trapezoid(hazard * free, at))
