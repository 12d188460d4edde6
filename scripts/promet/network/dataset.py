"""The fit set of a split: who is trained on and who chooses the epoch."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path

from promet.core import bucket
from promet.core.errors import UsageError
from promet.core.files import write_json
from promet.core.rows import shown
from promet.core.sidecar import QUARANTINED, Sidecar
from promet.core.stage import Outcome, run_stage
from promet.core.words import count
from promet.network.data import PARTS, Followed, Member, fit_digest, require_both_labels, write_members
from promet.network.settings import Dataset
from promet.study import freezing, likeness, parts
from promet.study import ledger as book
from promet.study.outcome import PAPER, Binary, TimeToEvent, status
from promet.study.outcome import Outcome as Outcomes
from promet.study.outcome import label as label_of
from promet.study.renamed import first_names
from promet.study.table import Row, by_patient

log = logging.getLogger("promet")
UNKNOWN = "unknown at the horizon"


def _member(patient: str, row: Row, part: str, tensor: str, first: str, outcome: Outcomes) -> Member | None:
    """None for who left before the horizon without an event, unless a time to an event is learnt."""
    learn = outcome.learn
    if isinstance(learn, Binary) and row[learn.column] not in ("0", "1"):
        raise UsageError(
            "E_FIT_LABEL",
            f"Patient {patient} is in the fit set and has {shown(row[learn.column])} as {learn.column}",
            "0 or 1",
            "Correct the cohort table",
        )
    value = label_of(row, learn)
    if isinstance(learn, TimeToEvent):
        label = -1 if math.isnan(value) else int(value)
        time, event = status(row, learn)
        return Followed(patient, part, label, tensor, first, time, int(event))
    return None if math.isnan(value) else Member(patient, part, int(value), tensor, first)


@dataclass(frozen=True)
class Inputs:
    """What this stage reads."""

    patients: Path  # results folder with one folder per patient
    ledger: Path  # split ledger (TSV: split, patient, part, ...)
    cohort: Path  # patient table (TSV) with the label
    split: int
    buckets: Path | None = None  # folder of the buckets, when patients share image jobs
    locked: str = (
        ""  # digest of the fit set that the locked model of the study was trained on, if there is one
    )
    outcome: Outcomes = PAPER  # what is learnt


def run(inputs: Inputs, settings: Dataset, out: Path, pin: str) -> Sidecar:
    """Collect the fit set of a split and write members.parquet and fit.json beside ``out``.

    fit.json holds the digest of (patient, part, label, tensor bytes; of a time to an event also that and the event) and the counts, nothing else: it stays the same
    byte for byte while those do, and training depends on it alone.

    Raises:
        UsageError: a label is missing, a part lacks a label, too many are quarantined, a member of a frozen
            study is, or the fit set is not that of the locked model.
    """
    ledger, split = inputs.ledger, inputs.split

    def work() -> Outcome:
        rows = by_patient(inputs.cohort, inputs.outcome.extra)
        learnt = " or ".join(inputs.outcome.given_by)
        entries, left_out = book.read(ledger), freezing.excluded(ledger)
        assigned, fit = (
            {name: part for name, part in found.get(split, {}).items() if part in PARTS}
            for found in (book.assigned(entries), parts.current(entries, rows, left_out, inputs.outcome))
        )
        excluded = left_out & assigned.keys() & rows.keys()
        emptied = (assigned.keys() & rows.keys()) - fit.keys() - excluded
        if emptied and freezing.frozen(ledger):
            raise _emptied(min(emptied), learnt)
        found = {name: likeness.of_record(inputs.patients, name) for name in fit}
        likeness.require_nobody_former(ledger, inputs.patients, found, rows)
        shared = bucket.table(inputs.buckets) if inputs.buckets else {}
        members, lost = [], dict.fromkeys(sorted(excluded), "out since the study was frozen")
        first = first_names(ledger)
        for patient in sorted(fit):
            if patient in shared:
                record = bucket.sidecars(shared[patient])["normalise"]
            else:
                record = Sidecar.read(inputs.patients / patient / "normalise.json")
            member = None
            if record.ok:
                about = (fit[patient], record.products["tensor.npy"], first.get(patient, ""))
                member = _member(patient, rows[patient], *about, inputs.outcome)
            if member is not None:
                members.append(member)
            else:
                lost[patient] = UNKNOWN if record.ok else record.status
        bad = {patient for patient, status in lost.items() if status == QUARANTINED}
        _refuse_losses(bad, fit, ledger, settings)
        require_both_labels(members, inputs.outcome.learnt)

        digest = fit_digest(members)
        if inputs.locked and digest != inputs.locked:
            raise UsageError(
                "E_MODEL_LOCKED",
                "The fit set is no longer the one that the locked model was trained on: an image, a label or a member changed",
                "images and labels of the training and validation parts as they were",
                "Undo the change; or promet freeze NAME --into NEWSTUDY for a new model",
            )
        sizes = {part: sum(member.part == part for member in members) for part in PARTS}
        product = out.with_name("fit.json")
        table = write_members(product.with_name("members.parquet"), members)
        write_json(product, {"digest": digest, **sizes})
        log.info("dataset: %s", ", ".join(f"{count} {part}" for part, count in sizes.items()))
        warnings = [
            f"{patient} ({assigned[patient]}) is not in the fit set: {lost[patient]}" for patient in lost
        ]
        warnings += [
            f"{patient} ({assigned[patient]}) is only scored: role or {learnt} is empty"
            for patient in sorted(emptied)
        ]
        warnings += [
            f"{patient} ({assigned[patient]}) is in the ledger but no longer in the cohort table"
            for patient in sorted(assigned.keys() - rows.keys())
        ]
        positive = {
            f"{part}_positive": sum(m.label == 1 for m in members if m.part == part) for part in PARTS
        }
        if isinstance(inputs.outcome.learn, TimeToEvent):
            positive |= {
                f"{part}_unknown": sum(m.label < 0 for m in members if m.part == part) for part in PARTS
            }
        values = {"fit": digest, **sizes, **positive, "lost": len(lost), "quarantined": len(bad)}
        return Outcome({"members": table, "fit": product}, values, warnings)

    return run_stage("dataset", out, pin, work, packages=("pyarrow",))


def _emptied(patient: str, learnt: str) -> UsageError:
    """The plan refuses it first; here the table was edited while a run went on."""
    return UsageError(
        "E_MODEL_LOCKED",
        f"Role or {learnt} of {patient} is empty, whom the frozen study is fitted on",
        "roles and labels of the training and validation parts as they were at the freeze",
        "Put it back, or begin a new study: promet freeze NAME --into NEWSTUDY",
    )


def _refuse_losses(bad: set[str], fit: dict[str, str], ledger: Path, settings: Dataset) -> None:
    if bad and freezing.frozen(ledger):
        raise UsageError(
            "E_FROZEN_MEMBER",
            f"Quarantined: {count(len(bad), 'member')} of the frozen fit set, the first is {min(bad)}",
            "a frozen fit set as it was",
            "Mend their images (promet status says why), or begin a new study",
        )
    for part in PARTS:
        whole = [patient for patient in fit if fit[patient] == part]
        share = len(bad.intersection(whole)) / max(len(whole), 1)
        if share > settings.max_quarantine:
            raise UsageError(
                "E_TOO_MANY_QUARANTINED",
                f"Quarantined: {len(bad.intersection(whole))} of {count(len(whole), 'patient')} of the {part} part",
                f"at most {settings.max_quarantine:.0%} (imaging.max_quarantine)",
                "See promet status for the reasons",
            )
