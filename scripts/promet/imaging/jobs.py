"""The stages of the images as jobs: what a rule writes behind ``promet imaging``, to inputs and settings of the stage.

The parameters of each function are the options of its command (see promet.core.job).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from promet.core.job import as_checked, checked
from promet.workflow.stages import PATIENT_STAGES, STAGES


def no_blas_threads() -> None:
    """Before numpy is loaded: half of that time it makes threads for every core, and no stage of the images multiplies matrices."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def one_thread() -> None:
    """ITK takes every core of the machine otherwise, whatever the scheduler gave."""
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)


def read(stage: str, given: str) -> Any:
    """The settings of a stage; the models of the configuration are loaded for what the configuration does not hand over."""
    if checked():
        return as_checked(given)
    from promet.core.settings import from_json
    from promet.imaging.settings import Imaging

    return from_json(Imaging.model_fields[stage].annotation, given)


def convert(
    patient: str, registry: Path, out: Path, pin: str = "", settings: str = "{}", tracer: str = ""
) -> None:
    """DICOM PET to SUV by body weight."""
    no_blas_threads()
    from promet.imaging.convert import Inputs, run

    chosen = read("convert", settings)
    one_thread()
    run(Inputs(patient, registry, tracer), chosen, out, pin)


def organs(
    patient: str,
    registry: Path,
    out: Path,
    pin: str = "",
    settings: str = "{}",
    weights: str = "",
    device: str = "cpu",
    sources: str = "",
) -> None:
    """Masks by external programs: TotalSegmentator on the CT, or those of imaging.segment.sources.

    Example: promet imaging organs --patient P001 --registry registry/images.tsv --weights weights --out results/patients/P001/organs.json
    """
    from json import loads

    from promet.imaging.organs import Inputs, run

    chosen = read("organs", settings)
    named = None
    if sources:
        from promet.core.settings import from_json
        from promet.imaging.settings import Source

        named = {name: from_json(Source, told) for name, told in loads(sources).items()}
    one_thread()
    run(Inputs(patient, registry, weights, device, named), chosen, out, pin)


def segment(
    patient: str, registry: Path, out: Path, pin: str = "", settings: str = "{}", organs: bool = False
) -> None:
    """Masks of the prostate and its lesions on the PET grid.

    Example: promet imaging segment --patient P001 --registry registry/images.tsv --out results/patients/P001/segment.json
    """
    no_blas_threads()
    from promet.imaging.segment import Inputs, run

    chosen = read("segment", settings)
    one_thread()
    run(Inputs(out.parent, patient, registry, organs), chosen, out, pin)


def picture(out: Path, pin: str = "", settings: str = "{}", crop: str = "{}") -> None:
    """One picture per patient for quality control.

    Example: promet imaging picture --out results/patients/P001/picture.json
    """
    no_blas_threads()
    from promet.imaging.picture import Inputs, run

    chosen, cuboid = read("picture", settings), read("crop", crop)
    one_thread()
    run(Inputs(out.parent, cuboid), chosen, out, pin)


def bucket(
    bucket: str,
    number: int,
    patients: Path,
    cohort: Path,
    registry: Path,
    ledger: Path,
    out: Path,
    splits: int = 1,
    outcome: str = "{}",
    pin: str = "",
    settings: str = "{}",
) -> None:
    """All image stages of a bucket's patients: what is out of date, and nothing else.

    Example: promet imaging bucket --bucket fit-007 --number 128 --patients results/patients --cohort config/cohort.tsv --registry registry/images.tsv --ledger registry/paper/ledger.tsv --out results/paper/buckets/128/fit-007/bucket.json
    """
    no_blas_threads()
    from promet.core.settings import from_json
    from promet.imaging.bucket import Inputs, run
    from promet.imaging.settings import Imaging
    from promet.study.outcome import Outcome

    chosen, learnt = from_json(Imaging, settings), from_json(Outcome, outcome)
    one_thread()
    run(Inputs(bucket, number, patients, cohort, registry, ledger, splits, learnt), chosen, out, pin)


def gather(
    patients: Path,
    out: Path,
    cohort: Path,
    buckets: str = "",
    freeze: Path | None = None,
    pin: str = "",
) -> None:
    """One table of all patients, one of the excluded.

    Example: promet imaging gather --patients results/patients --cohort config/cohort.tsv --out results/paper/gather/gather.json
    """
    no_blas_threads()
    from promet.imaging.gather import Inputs, run
    from promet.study import table

    ids = [row["patient"] for row in table.read(cohort)]
    run(Inputs(patients, ids, Path(buckets) if buckets else None, freeze), None, out, pin)


def _of_own_records(stage: str) -> Callable[..., None]:
    """The job of a stage that reads what lies in its patient's folder and nothing else."""

    def job(out: Path, pin: str = "", settings: str = "{}") -> None:
        no_blas_threads()
        os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")  # if it loads ITK at all
        chosen = read(stage, settings)
        import_module(STAGES[stage].entry).run(out.parent, chosen, out, pin)

    return job


JOBS = {job.__name__: job for job in (convert, organs, segment, picture, bucket, gather)}
JOBS |= {name: _of_own_records(name) for name in PATIENT_STAGES if name not in JOBS}
