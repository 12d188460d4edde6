"""The images of a bucket's patients: what is out of date for each of them is made again, and nothing else."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from promet.core.bucket import TABLE, entry
from promet.core.errors import IntegrityError, UsageError
from promet.core.files import write_text
from promet.core.pin import canonical
from promet.core.pin import pin as make_pin
from promet.core.reads import planned
from promet.core.sidecar import Sidecar
from promet.core.stage import Outcome, run_stage
from promet.imaging.settings import Imaging
from promet.study import registry
from promet.study.ledger import FIT
from promet.study.outcome import PAPER
from promet.study.outcome import Outcome as Outcomes
from promet.study.parts import of_study
from promet.study.table import Row, by_patient
from promet.workflow.buckets import ImagePins, divide, with_tracers
from promet.workflow.buckets import settings as used
from promet.workflow.planned import sources
from promet.workflow.stages import STAGES

log = logging.getLogger("promet")

# Makes one record: (stage, patient, record to write, pin).
Maker = Callable[[str, str, Path, str], None]


@dataclass(frozen=True)
class Inputs:
    """Which bucket of how many of each group, and what says who is in it and where everything lies."""

    bucket: str
    number: int
    patients: Path  # with one folder per patient
    cohort: Path
    registry: Path  # images.tsv
    ledger: Path
    splits: int = 1
    outcome: Outcomes = PAPER


def maker(inputs: Inputs, settings: Imaging, rows: dict[str, Row]) -> Maker:
    """The stages that the rules of one patient call, within this process.

    Args:
        rows: patient -> row of the table.
    """
    pins, known = ImagePins(settings.model_dump(mode="json")), registry.read(inputs.registry)

    def make(stage: str, patient: str, out: Path, pin: str) -> None:
        from promet.imaging import convert, picture, segment

        folder, images, own = out.parent, inputs.registry, (out, pin)
        match stage:
            case "convert":
                convert.run(convert.Inputs(patient, images, rows[patient]["tracer"]), settings.convert, *own)
            case "segment":
                organs = pins.wants_organs(known.get(patient, {}))
                segment.run(segment.Inputs(folder, patient, images, organs), settings.segment, *own)
            case "picture":
                picture.run(picture.Inputs(folder, settings.crop), settings.picture, *own)
            case _:
                import_module(STAGES[stage].entry).run(folder, getattr(settings, stage), *own)

    return make


def _as_planned(
    make: Maker, imaging: dict[str, Any], known: dict[str, dict[str, Row]], rows: dict[str, Row], cohort: Path
) -> Maker:
    """Each stage reads what is registered, or fails."""

    def made(stage: str, patient: str, out: Path, pin: str) -> None:
        if not STAGES[stage].sources:
            return make(stage, patient, out, pin)
        told = sources(imaging, stage, known.get(patient, {}), rows[patient], cohort)
        with planned(registry.Registered(told)):
            return make(stage, patient, out, pin)

    return made


def _read(path: Path) -> Sidecar | None:
    try:
        return Sidecar.read(path)
    except IntegrityError:
        return None


def outdated(
    record: Sidecar | None, pin: str, before: str, records: dict[str, Sidecar], folder: Path
) -> bool:
    """Does a stage have to run?

    Args:
        record: what it left, if anything.
        pin: what the plan wants.
        before: the stage whose record it must have read.
        records: the stages before, as they are now.
        folder: where its products lie.
    """
    if record is not None and record.code == "E_SOURCE_MISSING" and record.origin == record.stage:
        return True  # an earlier promet said so of a disk that was away for a moment
    if record is None or record.pin != pin or not all((folder / name).exists() for name in record.products):
        return True
    read = {before: None, **record.inputs} if before else record.inputs
    if any(name in records and digest != records[name].digest for name, digest in read.items()):
        return True
    # A stage that was skipped repeats why; the digests are None, whatever the reason.
    skipped = record.origin not in ("", record.stage) and before in records
    return skipped and (record.code, record.reason) != (records[before].code, records[before].reason)


def bring_up_to_date(folder: Path, pins: dict[str, str], make: Maker) -> tuple[dict[str, Sidecar], list[str]]:
    """The stages of ``pins`` of one patient in their order; returns their records and which of them were made."""
    records: dict[str, Sidecar] = {}
    made = []
    for stage, pin in pins.items():
        path = folder / f"{stage}.json"
        record = _read(path)
        for name in record.inputs if record else ():
            if name not in records and (earlier := _read(folder / f"{name}.json")):
                records[name] = earlier
        if outdated(record, pin, next(iter(STAGES[stage].before), ""), records, folder):
            log.info("%s: %s", folder.name, stage)
            make(stage, folder.name, path, pin)
            record = Sidecar.read(path)
            made.append(stage)
        records[stage] = record
    return {stage: records[stage] for stage in pins}, made


def members(inputs: Inputs, rows: dict[str, Row]) -> list[str]:
    """The patients of a bucket, as the plan divides them; ``rows``: patient -> row of the table.

    Raises:
        UsageError: there is no such bucket.
    """
    fitted = {
        name
        for split, parts in of_study(inputs.ledger, rows, outcome=inputs.outcome).items()
        for name, part in parts.items()
        if split < inputs.splits and part in FIT
    }
    there = divide(list(rows), fitted, inputs.number)
    if inputs.bucket not in there:
        raise UsageError("E_BUCKET", f"There is no bucket {inputs.bucket}", f"{min(there)} to {max(there)}")
    return there[inputs.bucket]


def run(inputs: Inputs, settings: Imaging, out: Path, pin: str) -> Sidecar:
    """The stage ``bucket``: patients.json beside ``out``.

    Every patient keeps own records and products, the same to the byte as one job per patient and stage leaves
    them. A patient with bad data is quarantined in these records; any other fault fails the job, but only after the
    others of the bucket were served. A kill loses the stage that was running and no other.

    Args:
        settings: the section ``imaging`` of the configuration.
        pin: what the plan wants; it has to be that of the table and registry as they are now.

    Raises:
        UsageError: ``E_BUCKET``, ``E_PLAN_CHANGED``.
    """
    imaging, rows = settings.model_dump(mode="json"), by_patient(inputs.cohort, inputs.outcome.extra)
    ids = members(inputs, rows)
    known = with_tracers(registry.read(inputs.registry), {name: row["tracer"] for name, row in rows.items()})
    make = _as_planned(maker(inputs, settings, rows), imaging, known, rows, inputs.cohort)
    uses = ImagePins(imaging).bucket(inputs.bucket, ids, known)
    wanted = dict(zip(ids, uses["images"], strict=True))
    if pin and pin != make_pin([STAGES["bucket"].version, used(inputs.bucket, imaging), uses]):
        raise UsageError(
            "E_PLAN_CHANGED",
            "The cohort table, the registry or the ledger changed while the run was going on",
            "the patients and images that the run began with",
            "Start it again",
        )

    table: dict[str, dict[str, Any]] = {}
    count, failed = 0, []
    for name in ids:
        folder = inputs.patients / name
        try:
            records, made = bring_up_to_date(folder, wanted[name], make)
        except Exception as error:  # the neighbours are served first
            log.error("%s: failed, %s", name, getattr(error, "code", type(error).__name__))
            failed.append(error)
            continue
        table[name] = {stage: entry(record, folder / f"{stage}.json") for stage, record in records.items()}
        count += len(made)
    log.info("bucket: %d patients, %d stages made, %d patients failed", len(ids), count, len(failed))
    if failed:
        raise failed[0]
    product = out.with_name(TABLE)

    def work() -> Outcome:
        write_text(product, canonical(table) + "\n")
        return Outcome(products={"patients": product}, notes={"patients": len(ids), "stages_made": count})

    return run_stage("bucket", out, pin, work, makes=(TABLE,))
