"""Choose the one network, on the validation part alone."""

from __future__ import annotations

import logging
import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from promet.core.errors import IntegrityError, UsageError
from promet.core.files import digest_file, write_json
from promet.core.pin import pin as make_pin
from promet.core.sidecar import Sidecar
from promet.core.stage import Outcome, run_stage
from promet.network.data import write_table
from promet.network.settings import Select
from promet.study.chosen import KEYS, WORDS, metric_of

ALPHA = "alpha"  # promet.network.hazard, which loads torch
log = logging.getLogger("promet")
CANDIDATES = {
    "variant": "string",
    "split": "string",
    "seed": "int64",
    "validation_auc": "float64",  # or validation_concordance
    "validation_loss": "float64",
    "best_epoch": "int64",
    "epochs": "int64",
    "device": "string",
    "selected": "bool",
}


def _candidate(path: Path) -> dict[str, Any]:
    record = Path(path) / "train.json" if Path(path).is_dir() else Path(path)
    sidecar = Sidecar.read(record)
    values, where = sidecar.values, record.absolute().parents  # .../VARIANT/split-00/seed-07/train.json
    return {
        **{name: values[name] for name in (*CANDIDATES, *KEYS.values()) if name in values},
        "metric": metric_of(values),
        "variant": where[2].name,
        "split": where[1].name.removeprefix("split-"),
        "epochs": values["epochs_run"],
        "seconds": sidecar.notes.get("seconds"),
        "seconds_per_epoch": sidecar.notes.get("seconds_per_epoch"),
        "device": sidecar.notes.get("device"),
        "fit": values["fit"],
        "architecture": values["architecture"],
        **({ALPHA: values[ALPHA]} if ALPHA in values else {}),
        "weights": record.with_name("model.safetensors"),
        "digest": sidecar.products["model.safetensors"],
    }


def read_candidates(paths: list[Path]) -> list[dict[str, Any]]:
    """Trained networks, best first: by the validation metric, ties by validation loss, then by variant and seed.

    Args:
        paths: train.json files or their folders.
    """
    return sorted(
        map(_candidate, paths),
        key=lambda run: (-run[KEYS[run["metric"]]], run["validation_loss"], run["variant"], run["seed"]),
    )


def _entry(run: dict[str, Any], folder: Path) -> dict[str, Any]:
    weights = Path(os.path.relpath(run["weights"].absolute(), folder.absolute())).as_posix()
    names = ("variant", "seed", "architecture", "digest", *([ALPHA] if ALPHA in run else []))
    return {**{name: run[name] for name in names}, "weights": weights}


def run(inputs: Sequence[Path], settings: Select, out: Path, pin: str) -> Sidecar:
    """Rank by the validation metric, ties by validation loss, then by variant and seed; choose the first, the first k, or all.

    Writes candidates.parquet (every run, best first; how long each took is in the record's notes, since it differs from
    run to run) and model.json (path of the weights relative to it, their digest,
    architecture, and alpha where a time to an event was learnt: of the hazard, null under Cox) beside ``out``; of an ensemble model.json lists these per member, best first, under ``members``. model.json stays the
    same byte for byte while the choice does.

    Args:
        inputs: the candidates, train.json files or their folders.

    Raises:
        UsageError: no candidates.
        IntegrityError: they were not trained on one fit set, or the chosen weights are not the recorded ones.
    """

    def work() -> Outcome:
        if not inputs:
            raise UsageError(
                "E_NO_CANDIDATES", "There is no trained network to select from", "at least one train.json"
            )
        runs = read_candidates(inputs)
        if len({run["fit"] for run in runs}) > 1:
            raise IntegrityError(
                "E_SELECT_FIT",
                f"The {len(runs)} candidates were trained on {len({run['fit'] for run in runs})} different fit sets",
                "one split, one set of patients, labels and tensors",
                "Train the stale ones again (promet run does)",
            )
        if runs[0]["metric"] != settings.metric:
            raise UsageError(
                "E_SELECT_METRIC",
                f"The candidates were judged by {runs[0]['metric']}, and network.select.metric is {settings.metric}",
                "auc where a label is learnt, concordance where a time to an event is",
                "Correct network.select.metric",
            )
        best, folder = runs[0], Path(out).parent
        count = {"best": 1, "ensemble_mean": len(runs), "ensemble_top_k": settings.k}[settings.rule]
        members = runs[:count]
        for run in members:
            if not run["weights"].exists() or digest_file(run["weights"]) != run["digest"]:
                raise IntegrityError(
                    "E_WEIGHTS_DIGEST",
                    f"The weights of seed {run['seed']} are not those its record names",
                    "model.safetensors as the training wrote it",
                    "Delete that train.json and train again",
                )
        key = KEYS[best["metric"]]
        types = {key if name == KEYS["auc"] else name: kind for name, kind in CANDIDATES.items()}
        columns = {name: [run.get(name, number < count) for number, run in enumerate(runs)] for name in types}
        table = write_table(folder / "candidates.parquet", columns, types)
        model = folder / "model.json"
        chosen = [_entry(run, folder) for run in members]
        content = chosen[0] if settings.rule == "best" else {"members": chosen, "digest": make_pin(chosen)}
        write_json(model, content)
        values_of = [run[key] for run in runs]
        log.info(
            "select: %s, %d of %d; best is seed %d of %s, validation %s %.3f",
            *(settings.rule, len(members), len(runs), best["seed"], best["variant"]),
            *(WORDS[best["metric"]], values_of[0]),
        )
        values = {
            "candidates": len(runs),
            "metric": best["metric"],
            "rule": settings.rule,
            "members": len(members),
            **{name: best[name] for name in ("variant", "seed", key, "validation_loss", "best_epoch")},
            f"median_{key}": statistics.median(values_of),
            f"lowest_{key}": values_of[-1],
            "tied": sum(value == values_of[0] for value in values_of),
        }
        durations = [
            {name: run[name] for name in ("variant", "seed", "seconds", "seconds_per_epoch")} for run in runs
        ]
        return Outcome({"candidates": table, "model": model}, values, notes={"durations": durations})

    return run_stage("select", out, pin, work, packages=("pyarrow",))
