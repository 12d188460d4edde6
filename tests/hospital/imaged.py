"""A study of two phantoms with images, masks and measures, made by the stages themselves."""

import contextlib
import json
import os
from pathlib import Path

from promet.commands.intake import intake
from promet.config import load
from promet.hospital.keys import COLUMNS
from promet.imaging import jobs
from promet.phantom.cohort import write_cohort
from promet.workflow.plan import Plan

CONFIG = [Path("config.yaml")]


def study(folder):
    """Write it; the working directory is ``folder`` afterwards. Gives the plan."""
    os.chdir(folder)
    with contextlib.redirect_stdout(None):
        write_cohort(Path("site"), 1, 0, 1, seed=3)
        Path("config.yaml").write_text(json.dumps({"study": "s", "cohort": "site/cohort.tsv"}))
        intake(CONFIG, False, False)
    plan = Plan(load(CONFIG))
    for patient in plan.patients:
        make(plan, patient)
    return plan


def make(plan, patient):
    """convert, segment, measure of one patient, as their rules call them."""
    out = {stage: Path(plan.sidecar(stage, patient=patient)) for stage in ("convert", "segment", "measure")}
    pins = {stage: plan.pin(stage, patient=patient) for stage in out}
    tracer = plan.rows[patient]["tracer"]
    jobs.convert(
        patient, Path(plan.images), out["convert"], pins["convert"], plan.settings("convert"), tracer
    )
    jobs.segment(patient, Path(plan.images), out["segment"], pins["segment"], plan.settings("segment"))
    jobs.JOBS["measure"](out["measure"], pins["measure"], plan.settings("measure"))


def remake(patient):
    """Register again what was changed and make this patient's results from it."""
    with contextlib.redirect_stdout(None):
        intake(CONFIG, True, False)
    make(Plan(load(CONFIG)), patient)


def key_file(path, patient, pet, **other):
    """A key file of one line, as promet cohort from-dicom leaves it."""
    cells = {
        "patient": patient,
        "patient_id": pet.PatientID,
        "study_uid": pet.StudyInstanceUID,
        "pet_uid": pet.SeriesInstanceUID,
        "state": "row",
        **other,
    }
    lines = ("\t".join(COLUMNS), "\t".join(str(cells.get(name, "")) for name in COLUMNS))
    path.write_text("\n".join(lines) + "\n")
    return path
