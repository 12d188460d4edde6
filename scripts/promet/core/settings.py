"""The base of every settings model: unknown keys are refused, values are frozen."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A section of the configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True)
