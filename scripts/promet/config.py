"""The whole configuration: one model, composed of the rooms' settings."""

from __future__ import annotations

import json
from functools import reduce
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError

from promet.cohort.settings import Split
from promet.core.errors import UsageError
from promet.core.settings import Settings
from promet.evaluation.settings import Evaluation
from promet.fusion.settings import Fusion
from promet.imaging.settings import Imaging
from promet.network.settings import Network
from promet.report.settings import Report

DEFAULTS = Path(__file__).parents[2] / "config" / "config.yaml"


class Config(Settings):
    """Everything a study can choose. Paths are relative to the working directory."""

    study: str = Field(
        "paper",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,40}$",
        description="name of the study, a folder below results",
    )
    cohort: str = Field("config/cohort.tsv", description="the patient table")
    registry: str = Field(
        "registry", description="folder of image digests and split ledgers, written by promet intake"
    )
    results: str = Field("results", description="folder of the products")
    logs: str = Field("logs", description="folder of the logs")
    split: Split = Split()
    imaging: Imaging = Imaging()
    network: Network = Network()
    fusion: Fusion = Fusion()
    evaluation: Evaluation = Evaluation()
    report: Report = Report()


def merge(base: dict[str, Any], update: dict[str, Any]) -> dict[str, Any]:
    """Lay ``update`` over ``base`` recursively, as Snakemake does with several config files."""
    merged = dict(base)
    for key, value in update.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def load(configfiles: list[Path] | tuple[Path, ...] = ()) -> Config:
    """The shipped defaults with ``configfiles`` laid over them, validated.

    Raises:
        UsageError: a file is missing, is no YAML mapping, or has an unknown key or a bad value.
    """
    layers = []
    for path in (DEFAULTS, *configfiles):
        try:
            layers.append(yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {})
        except OSError as error:
            raise UsageError(
                "E_CONFIG_MISSING", f"The configuration {path} cannot be read ({error.strerror})"
            ) from error
        except yaml.YAMLError as error:
            raise UsageError(
                "E_CONFIG_YAML", f"The configuration {path} is no valid YAML: {error}"
            ) from error
        if not isinstance(layers[-1], dict):
            raise UsageError(
                "E_CONFIG_YAML", f"The configuration {path} holds no mapping", "key: value lines"
            )
    return parse(reduce(merge, layers))


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(entry) for key, entry in value.items() if entry is not None}
    return value


def parse(values: dict[str, Any]) -> Config:
    """Validate a merged mapping; every fault is listed at once.

    A null switches an entry of a mapping off (``fusion.models.clinical: null``) and gives any other key its default.
    """
    try:
        return Config.model_validate(_without_nulls(values))
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']} (found {json.dumps(fault['input'], default=str)[:80]})"
            for fault in error.errors()
        )
        raise UsageError(
            "E_CONFIG_VALUE", f"The configuration is not valid: {faults}", remedy="See config/README.md"
        ) from error
