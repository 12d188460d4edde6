"""Runs one job: times it, checks what stands before it, catches bad data, writes the sidecar last."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from promet.core import reads
from promet.core.errors import DataError
from promet.core.files import digest_file
from promet.core.pin import pin as make_pin
from promet.core.sidecar import OK, QUARANTINED, Sidecar

log = logging.getLogger("promet")


@dataclass
class Outcome:
    """What a stage gives back: products (name -> written file), values, warnings, status, notes (see Sidecar)."""

    products: dict[str, Path] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    status: str = OK
    notes: dict[str, Any] = field(default_factory=dict)


def versions(*packages: str) -> dict[str, str]:
    """Installed versions of the named distributions and of promet, without those that are not installed."""
    return {name: found for name in ("promet", *packages) if (found := version(name))}


@cache
def version(package: str) -> str:
    """As ``importlib.metadata.version``, whose import costs more than many a stage; '' when it is not installed."""
    plain = re.sub(r"[-_.]+", "_", package).lower()
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        for name in names:
            stem, kind = os.path.splitext(name)
            file = {".dist-info": "METADATA", ".egg-info": "PKG-INFO"}.get(kind)
            if file and re.sub(r"[-_.]+", "_", stem.partition("-")[0]).lower() == plain:
                try:
                    lines = (
                        Path(folder, name, file).read_text(encoding="utf-8", errors="replace").splitlines()
                    )
                except OSError:
                    continue
                told = (line.partition(":")[2].strip() for line in lines if line.startswith("Version:"))
                return next(told, "")
    return ""


def run_stage(
    stage: str,
    out: str | os.PathLike[str],
    pin: str,
    work: Callable[[], Outcome],
    upstream: dict[str, Path] | None = None,
    needs: tuple[str, ...] = (),
    makes: tuple[str, ...] = (),
    packages: tuple[str, ...] = (),
) -> Sidecar:
    """Run ``work`` and leave its sidecar at ``out``.

    Args:
        stage: its name, as workflow/stages.py declares it.
        out: the sidecar to write; products lie beside it.
        pin: what the caller says the job uses; stored as it is.
        work: makes the products (each written atomically) and returns an ``Outcome``.
        upstream: name -> sidecar of the stages this one reads.
        needs: names in ``upstream`` that must be ``ok``; otherwise their status is passed on and
            nothing is made.
        makes: file names the stage may leave beside ``out``; removed when the patient is not ok, so
            that no old product outlives its record.
        packages: distributions whose versions are recorded.

    A ``DataError`` quarantines: the sidecar says so and the exit is 0. Any other error propagates,
    so that a full disk never quarantines a cohort. What the job was planned to read (core/reads.py) is compared
    before and afterwards.
    """
    start = time.perf_counter()
    before = {name: Sidecar.read(path) for name, path in (upstream or {}).items()}
    record = Sidecar(
        stage=stage,
        pin=pin,
        inputs={name: sidecar.digest for name, sidecar in before.items()},
        versions=versions(*packages),
    )
    blocked = next((before[name] for name in needs if not before[name].ok), None)
    if blocked is not None:
        record.status, record.code, record.reason = blocked.status, blocked.code, blocked.reason
        record.origin = blocked.origin or blocked.stage
        log.info("%s: skipped, %s since %s", stage, record.status, record.origin)
    else:
        planned = reads.current()
        if planned:
            planned.check()
            record.inputs |= planned.digests()
        try:
            outcome = work()
        except (DataError, OSError) as error:
            if planned:  # the disk's fault before the patient's
                planned.check(thorough=True)
            if isinstance(error, OSError):
                raise
            record.status, record.code, record.reason = QUARANTINED, error.code, error.sentence()
            record.error = error
            record.origin = stage
            log.warning("%s: quarantined, %s: %s", stage, error.code, error.sentence())
        else:
            if planned:
                planned.check()
            record.status = outcome.status
            record.origin = "" if outcome.status == OK else stage
            record.products = {path.name: digest_file(path) for path in outcome.products.values()}
            record.digest = make_pin([sorted(record.products.items()), outcome.values])
            record.values, record.warnings, record.notes = outcome.values, outcome.warnings, outcome.notes
            for sentence in outcome.warnings:
                log.warning("%s: %s", stage, sentence)
    if not record.ok:
        for name in makes:
            if name not in record.products:
                Path(out).with_name(name).unlink(missing_ok=True)
    record.seconds = round(time.perf_counter() - start, 3)
    record.write(out)
    return record
