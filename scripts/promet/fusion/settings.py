"""Settings of the fusion room."""

from typing import Literal

from pydantic import Field, model_validator

from promet.core.settings import Settings
from promet.study.forms.tables import INPUTS, PREDICTIONS, Input

# Columns of predictions.parquet that no model may be named after.
RESERVED = (*PREDICTIONS.text, "label", "time", "event")


class Fusion(Settings):
    """Naive Bayes over the CNN score, the clinic and the PET."""

    models: dict[str, list[Input]] = Field(
        {
            "multimodal": [
                "cnn_score",
                "psa",
                "grade_group",
                "positive_cores_percent",
                "suv_peak",
                "primary_score",
                "psma_expression",
            ],
            "clinical": ["psa", "grade_group", "positive_cores_percent"],
        },
        description="name -> inputs; 'multimodal' is the paper's model and must be there",
    )
    log: list[Input] = Field(["psa", "suv_peak"], description="inputs taken as logarithm (skewed; ours)")
    cnn_score: Literal["validation", "in_sample"] = Field(
        "validation",
        description="which cases give the CNN score its two densities: its scores on its own training cases are near perfect and would swamp the rest (ours); in_sample = the paper's literal reading",
    )
    var_smoothing: float = Field(
        1e-9,
        ge=0,
        description="this share of the largest input variance is added to every variance (scikit-learn's default)",
    )
    permutations: int = Field(
        200, ge=20, description="refits on permuted labels for the null distribution of the fused AUC (ours)"
    )
    permutation_seed: int = Field(0, ge=0, description="seed of the permutations: the same ones every time")

    @model_validator(mode="after")
    def _models_are_usable(self) -> "Fusion":
        if "multimodal" not in self.models:
            raise ValueError("models: 'multimodal' is missing")
        for name, inputs in self.models.items():
            if not inputs:
                raise ValueError(f"models: {name} has no input")
            if len(set(inputs)) < len(inputs):
                raise ValueError(f"models: {name} names an input twice")
            if not name.isidentifier() or name in RESERVED or name in INPUTS:
                raise ValueError(
                    f"models: {name} is not a usable name (letters, digits, _; no column's name)"
                )
            if name.endswith("_probability"):
                raise ValueError(f"models: {name} must not end in _probability")
        if "cnn_score" in self.log:
            raise ValueError("log: the CNN score is a logit already and may be negative")
        return self
