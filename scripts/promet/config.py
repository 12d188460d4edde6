"""The whole configuration: one model, composed of the rooms' settings."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from difflib import get_close_matches
from functools import reduce
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from promet.core.environment import SOURCE, require_source
from promet.core.errors import UsageError
from promet.core.settings import Settings
from promet.core.system import folders
from promet.core.words import given
from promet.evaluation.settings import Evaluation
from promet.fusion.settings import Fusion
from promet.imaging.settings import Imaging
from promet.model.settings import Model
from promet.network.settings import Network
from promet.report.settings import Report
from promet.study.outcome import Outcome
from promet.study.settings import Split

OLDER = "PROMET_OLDER_KEYS_TOLD"
DEFAULTS = SOURCE / "config/config.yaml"


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
    buckets: Annotated[int, Field(ge=0)] | Literal["auto"] = Field(
        "auto",
        description="in a large cohort patients share image jobs: a hash assigns them to so many jobs for the tensors of those a "
        "network is fitted on, as many for the others', as many for measures and pictures; 0 = one job per patient and "
        "stage; auto = 0 up to 1000 patients, else 128, and it stays so. After a change every such job looks at its "
        "patients and computes none; make it with promet run, since snakemake alone trains again",
    )
    split: Split = Split()
    outcome: Outcome = Outcome()
    imaging: Imaging = Imaging()
    network: Network = Network()
    fusion: Fusion = Fusion()
    evaluation: Evaluation = Evaluation()
    report: Report = Report()
    model: Model = Model()

    @model_validator(mode="after")
    def _metric_fits_what_is_learnt(self) -> Config:
        kind, metric = self.outcome.learn.kind, self.network.select.metric
        wanted = "concordance" if kind == "time_to_event" else "auc"
        if metric != wanted:
            raise ValueError(f"network.select.metric has to be {wanted} where outcome.learn is {kind}")
        return self


def merge(base: dict[str, Any], update: dict[str, Any]) -> dict[str, Any]:
    """Lay ``update`` over ``base`` recursively, as Snakemake does with several config files."""
    merged = dict(base)
    for key, value in update.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def load(configfiles: list[Path] | tuple[Path, ...] = ()) -> Config:
    """The shipped defaults with ``configfiles`` laid over them, validated; hints repeat ``configfiles`` from now on.

    Raises:
        UsageError: a file or the source tree is missing, or a file is no YAML mapping, or has an unknown key or a bad value.
    """
    require_source("config/config.yaml")
    given(configfiles)
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
    config = parse(reduce(merge, layers))
    _tell_older_keys(layers[1:])
    folders((config.results, config.registry, config.logs))
    return config


def _tell_older_keys(layers: list[dict[str, Any]]) -> None:
    """A sentence, once in all processes of a call, for keys that a later version will no longer read."""
    used = any(
        isinstance(layer.get("imaging"), dict) and layer["imaging"].get("totalsegmentator")
        for layer in layers
    )
    if used and not os.environ.get(OLDER):
        os.environ[OLDER] = "1"
        logging.getLogger("promet").warning(
            "The configuration uses imaging.totalsegmentator, which the next version no longer reads: write "
            "imaging.segment.sources.totalsegmentator with weights and device, and {} for the defaults. Nothing is made again for that"
        )


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(entry) for key, entry in value.items() if entry is not None}
    return value


def _plain(fault: Any) -> str:
    """The fault's message; for an unknown key the known one that is nearest."""
    if fault["type"] != "extra_forbidden":
        return fault["msg"]
    known = list(_keys(Config().model_dump()))
    key = ".".join(map(str, fault["loc"]))
    last = {name.rpartition(".")[2]: name for name in known}
    near = get_close_matches(key, known, 1, 0.8) or [
        last[name] for name in get_close_matches(key.rpartition(".")[2], last, 1, 0.75)
    ]
    return "no such key" + (f", did you mean {near[0]}?" if near else "")


def _keys(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        yield prefix + key
        if isinstance(value, dict):
            yield from _keys(value, f"{prefix}{key}.")


def parse(values: dict[str, Any]) -> Config:
    """Validate a merged mapping; every fault is listed at once.

    A null switches an entry of a mapping off (``fusion.models.clinical: null``) and gives any other key its default.
    """
    try:
        return Config.model_validate(_without_nulls(values))
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {_plain(fault)} (found {json.dumps(fault['input'], default=str)[:80]})"
            for fault in error.errors()
        )
        raise UsageError(
            "E_CONFIG_VALUE", f"The configuration is not valid: {faults}", remedy="See config/README.md"
        ) from error
