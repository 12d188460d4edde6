"""The images of a bucket's patients: what is out of date for each of them is made again, and nothing else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
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
from promet.study import registry
from promet.study.ledger import FIT
from promet.study.parts import of_study
from promet.study.table import SOURCES, Row, by_patient
from promet.workflow.buckets import ImagePins, deal, settings, with_tracers
from promet.workflow.planned import sources
from promet.workflow.stages import STAGES

log = logging.getLogger("promet")

# Makes one record: (stage, patient, record to write, pin).
Maker = Callable[[str, str, Path, str], None]


def maker(images: Path, imaging: dict[str, Any], tracers: dict[str, str]) -> Maker:
    """The commands that the rules of one patient call, within this process.

    Args:
        images: the image registry.
        imaging: the section ``imaging`` of the configuration.
        tracers: patient -> the table's word.
    """

    pins, known = ImagePins(imaging), registry.read(images)

    def make(stage: str, patient: str, out: Path, pin: str) -> None:
        from promet.imaging import cli

        words: dict[str, Any] = {"out": out, "pin": pin}
        if stage in ("convert", "segment"):
            words |= {"patient": patient, "registry": images}
        if stage == "convert":
            words["tracer"] = tracers.get(patient, "")
        if stage == "segment":
            words["organs"] = pins.wants_organs(known.get(patient, {}))
        if stage in imaging:
            words["settings"] = canonical(imaging[stage])
        if stage == "picture":
            words["crop"] = canonical(imaging["crop"])
        getattr(cli, stage)(**words)

    return make


def _as_planned(
    make: Maker, imaging: dict[str, Any], known: dict[str, dict[str, Row]], cohort: Path | None
) -> Maker:
    """Each stage reads what is registered, or fails."""
    rows = by_patient(cohort) if cohort else {}

    def made(stage: str, patient: str, out: Path, pin: str) -> None:
        if not STAGES[stage].sources:
            return make(stage, patient, out, pin)
        row = rows.get(patient) or dict.fromkeys(SOURCES, "")
        told = sources(imaging, stage, known.get(patient, {}), row, cohort or "")
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


def members(bucket: str, number: int, cohort: Path, entries: Path, splits: int) -> Iterator[str]:
    """The patients of a bucket, as the plan deals them.

    Raises:
        UsageError: there is no such bucket.
    """
    rows = by_patient(cohort)
    fitted = {
        name
        for split, parts in of_study(entries, rows).items()
        for name, part in parts.items()
        if split < splits and part in FIT
    }
    dealt = deal(list(rows), fitted, number)
    if bucket not in dealt:
        raise UsageError("E_BUCKET", f"There is no bucket {bucket}", f"{min(dealt)} to {max(dealt)}")
    yield from dealt[bucket]


def run(
    bucket: str,
    patients: Path,
    ids: list[str],
    images: Path,
    imaging: dict[str, Any],
    out: Path,
    pin: str,
    tracers: dict[str, str] | None = None,
    make: Maker | None = None,
    cohort: Path | None = None,
) -> Sidecar:
    """The stage ``bucket``: patients.json beside ``out``.

    Every patient keeps own records and products, the same to the byte as one job per patient and stage leaves
    them. A patient with bad data is quarantined in these records; any other fault fails the job, but only after the
    others of the bucket were served. A kill loses the stage that was running and no other.

    Args:
        bucket: its name, which says which stages it is there for.
        patients: folder with one folder per patient.
        ids: the patients of the bucket, sorted.
        images: the image registry.
        imaging: the section ``imaging`` of the configuration.
        out: the record of the bucket.
        pin: what the plan wants; it has to be that of the table and registry as they are now.
        tracers: patient -> the table's word.
        make: makes one record (tests put their own here).
        cohort: the table, which says where the files are now; without it the registry does.

    Raises:
        UsageError: ``E_PLAN_CHANGED``.
    """
    tracers = tracers or {}
    known = with_tracers(registry.read(images), tracers)
    make = _as_planned(make or maker(images, imaging, tracers), imaging, known, cohort)
    uses = ImagePins(imaging).bucket(bucket, ids, known)
    wanted = dict(zip(ids, uses["images"], strict=True))
    if pin and pin != make_pin([STAGES["bucket"].version, settings(bucket, imaging), uses]):
        raise UsageError(
            "E_PLAN_CHANGED",
            "The cohort table, the registry or the ledger changed while the run was going on",
            "the patients and images that the run began with",
            "Start it again",
        )

    table: dict[str, dict[str, Any]] = {}
    count, failed = 0, []
    for name in ids:
        folder = Path(patients) / name
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
    product = Path(out).with_name(TABLE)

    def work() -> Outcome:
        write_text(product, canonical(table) + "\n")
        return Outcome(products={"patients": product}, notes={"patients": len(ids), "stages_made": count})

    return run_stage("bucket", out, pin, work, makes=(TABLE,))
