"""The base of every settings model, and settings from the command line."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from promet.core.errors import UsageError


class Settings(BaseModel):
    """A section of the configuration: unknown keys are refused, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Section = TypeVar("Section", bound=Settings)


def from_json(model: type[Section], text: str) -> Section:
    """Validate the JSON of a command's ``--settings``; a fault is a ``UsageError``, one sentence."""
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the JSON itself"
        raise UsageError(
            "E_SETTINGS",
            f"The settings of {model.__name__.lower()} are wrong at {place}: {first['msg']}",
            remedy="config/README.md explains every key",
        ) from error
