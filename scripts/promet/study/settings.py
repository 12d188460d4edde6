"""Settings of the cohort room."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from promet.core.settings import Settings

Fraction = Annotated[float, Field(gt=0, lt=1)]


class Split(Settings):
    """How development patients are assigned to training, validation and test."""

    ratios: tuple[Fraction, Fraction, Fraction] = Field(
        (0.5, 0.2, 0.3), description="training, validation, test (paper: 0.5, 0.2, 0.3 -> 47/19/28 of 94)"
    )
    stratify: list[Literal["synchronous_metastasis", "site"]] = Field(
        ["synchronous_metastasis"],
        description="columns whose mix every part shares (paper: 'stratified', by what is not said); synchronous_metastasis stands for what outcome.learn names, over time: event, event-free or unknown at the horizon",
    )
    repeats: int = Field(1, ge=1, description="number of splits (paper: 1)")
    salt: str = Field(
        "promet",
        description="seed of the hash order in which patients are assigned; matters only before a patient is in the ledger",
    )

    @model_validator(mode="after")
    def _sum(self) -> "Split":
        if abs(sum(self.ratios) - 1) > 1e-9:
            raise ValueError("split.ratios must add up to 1")
        return self
