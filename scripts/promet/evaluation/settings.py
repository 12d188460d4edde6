"""Settings of the evaluation room."""

from pydantic import Field, model_validator

from promet.core.settings import Settings


class UclaPsma(Settings):
    """Coefficients of the UCLA PSMA risk score; they are not public, so the block is empty.

    All five or none: risk = 1 / (1 + exp(-eta)), eta = intercept + grade_group * GG +
    positive_cores_percent * percent + psa * (ng/ml) + clinical_t * (1 for cT3 or cT4, else 0).
    """

    intercept: float | None = Field(None, description="constant term")
    grade_group: float | None = Field(None, description="per grade group")
    positive_cores_percent: float | None = Field(None, description="per percent of positive cores")
    psa: float | None = Field(None, description="per ng/ml")
    clinical_t: float | None = Field(None, description="per step of the clinical T category")

    @property
    def given(self) -> bool:
        """True when the coefficients are there."""
        return self.intercept is not None

    @model_validator(mode="after")
    def _all_or_none(self) -> "UclaPsma":
        filled = [value is not None for value in self.__dict__.values()]
        if any(filled) and not all(filled):
            raise ValueError("ucla_psma: give all five coefficients (0 for an unused one) or none")
        return self


class Evaluation(Settings):
    """Statistics."""

    confidence: float = Field(0.95, gt=0.5, lt=1, description="level of every interval (paper: 95 %)")
    bootstrap: int = Field(2000, ge=100, description="resamples of the bootstrap interval")
    seed: int = Field(0, ge=0, description="seed of the bootstrap: the same interval every time")
    horizon_months: float = Field(
        48.0, gt=0, description="metachronous progression is counted up to here (paper: 4 years)"
    )
    ucla_psma: UclaPsma = UclaPsma()
