"""The base of every settings model, and settings from the command line."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import Any, TypeVar

# Looking for pydantic's plugins reads the metadata of every installed package, in each of many short jobs.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

from pydantic import BaseModel, ConfigDict, ValidationError

from promet.core.errors import UsageError


class Settings(BaseModel):
    """A section of the configuration: unknown keys are refused, values are frozen; a job makes the validator of its own section only."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


Section = TypeVar("Section", bound=Settings)


def from_json(model: type[Section], given: str | dict[str, Any]) -> Section:
    """Validate the JSON of a command's ``--settings``, or a section of it; a fault is a ``UsageError``, one sentence."""
    try:
        return model.model_validate_json(given if isinstance(given, str) else json.dumps(given))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the JSON itself"
        raise UsageError(
            "E_SETTINGS",
            f"The settings of {model.__name__.lower()} are wrong at {place}: {first['msg']}",
            remedy="config/README.md explains every key",
        ) from error


def whole(text: str) -> dict[str, Any]:
    """The JSON of a command's ``--config``: the whole configuration without its paths."""
    with suppress(ValueError):
        if isinstance(told := json.loads(text), dict):
            return told
    raise UsageError("E_CONFIG_JSON", "The configuration is no JSON", "the text promet passes")
