"""A bucket's job leaves what one job per patient and stage leaves, to the byte; so do those who read its table."""

import json
from contextlib import nullcontext

import numpy as np
import pytest
import SimpleITK as sitk
from typer.testing import CliRunner

from promet.core.pin import canonical
from promet.core.reads import planned
from promet.core.sidecar import NO_LESION, OK, QUARANTINED, Sidecar
from promet.imaging.cli import app
from promet.imaging.settings import Crop, Imaging
from promet.study import news, registry
from promet.study.table import SOURCES
from promet.workflow.buckets import ImagePins, divide, with_tracers
from promet.workflow.planned import sources
from promet.workflow.stages import PATIENT_STAGES

IMAGING = Imaging(crop=Crop(shape=(4, 6, 6), spacing_mm=(5.0, 4.0, 4.0))).model_dump(mode="json")
TRACERS = {"A": "18F-DCFPyL", "C": "68Ga-PSMA-11"}
PARTS = {"A": "training", "B": "training", "C": "validation", "D": "validation", "E": "test", "F": "training"}


def volume(path, array):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((3.0, 4.0, 5.0))
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


def call(*words):
    CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Four good patients, E without a lesion, F with an empty mask; made alone and in buckets."""
    root = tmp_path_factory.mktemp("cohort")
    rows = []
    for i, name in enumerate(PARTS):
        pet = np.full((6, 16, 16), 0.8, np.float32)
        pet[1:4, 6:9, 6:9] = 1.0 if name == "E" else 6.0 + i
        organ = np.zeros((6, 16, 16), np.uint8)
        if name != "F":
            organ[1:4, 5:10, 5:10] = 1
        volume(root / f"{name}/pet.nii.gz", pet)
        volume(root / f"{name}/prostate.nii.gz", organ)
        sources = {"pet": f"{name}/pet.nii.gz", "prostate": f"{name}/prostate.nii.gz"}
        rows.append({"patient": name, "ct": "", "lesions": "", **sources})
    news.intake(rows, root, root / "registry")
    table = "\n".join(
        f"{row['patient']}\tdevelopment\t{row['pet']}\t{TRACERS.get(row['patient'], '')}\t{i % 2}"
        for i, row in enumerate(rows)
    )
    (root / "cohort.tsv").write_text(f"patient\trole\tpet\ttracer\tsynchronous_metastasis\n{table}\n")
    entries = "\n".join(f"00\t{name}\t{part}\t\t\t2026-01-01" for name, part in PARTS.items())
    (root / "ledger.tsv").write_text(f"split\tpatient\tpart\tstratum\tfreeze\tdate\n{entries}\n")
    alone(root)
    shared(root)
    return root


def alone(root):
    """As the rules of imaging.smk call them."""
    images, pins = root / "registry/images.tsv", ImagePins(IMAGING)
    known = with_tracers(registry.read(images), TRACERS)
    for name in PARTS:
        for stage in PATIENT_STAGES:
            words = [
                stage,
                "--out",
                root / f"alone/{name}/{stage}.json",
                "--pin",
                pins.pin(stage, known[name]),
            ]
            if stage in ("convert", "segment"):
                words += ["--patient", name, "--registry", images]
            if stage == "convert":
                words += ["--tracer", TRACERS.get(name, "")]
            if stage in IMAGING:
                words += ["--settings", canonical(IMAGING[stage])]
            if stage == "picture":
                words += ["--crop", canonical(IMAGING["crop"])]
            given = sources(IMAGING, stage, known[name], dict.fromkeys(SOURCES, ""), "")
            with planned(registry.Registered(given)) if stage in ("convert", "segment") else nullcontext():
                call(*words)
    call(*gathering(root, "alone"))


def shared(root, number=2):
    for name in divide([], set(), number):
        words = ["bucket", "--bucket", name, "--number", number, "--patients", root / "shared"]
        words += ["--cohort", root / "cohort.tsv", "--registry", root / "registry/images.tsv"]
        words += ["--ledger", root / "ledger.tsv", "--settings", canonical(IMAGING)]
        call(*words, "--out", root / f"study/buckets/2/{name}/bucket.json")
    call(*gathering(root, "shared"), "--buckets", root / "study/buckets/2")


def gathering(root, which):
    out = root / ("study/gather" if which == "shared" else "alone-gather/gather") / "gather.json"
    return ["gather", "--patients", root / which, "--cohort", root / "cohort.tsv", "--out", out]


def without_times(path):
    record = json.loads(path.read_text())
    return {name: value for name, value in record.items() if name not in ("seconds", "notes")}


def test_products_and_records_are_the_same(cohort):
    files = sorted(
        path.relative_to(cohort / "alone") for path in (cohort / "alone").rglob("*") if path.is_file()
    )
    assert files == sorted(
        path.relative_to(cohort / "shared") for path in (cohort / "shared").rglob("*") if path.is_file()
    )
    assert len(files) > 6 * len(PARTS)
    for path in files:
        one, other = cohort / "alone" / path, cohort / "shared" / path
        if path.suffix == ".json":
            assert without_times(one) == without_times(other), path
        else:
            assert one.read_bytes() == other.read_bytes(), path


def test_the_cohort_is_what_it_says(cohort):
    status = {name: Sidecar.read(cohort / f"shared/{name}/normalise.json").status for name in PARTS}
    assert status == {**dict.fromkeys("ABCD", OK), "E": NO_LESION, "F": QUARANTINED}


def test_what_is_gathered_is_the_same(cohort):
    for name in ("patients.parquet", "exclusions.tsv", "tensors.json", "measures.json"):
        one, other = cohort / "alone-gather/gather" / name, cohort / "study/gather" / name
        assert one.read_bytes() == other.read_bytes(), name
    assert without_times(cohort / "alone-gather/gather/gather.json") == without_times(
        cohort / "study/gather/gather.json"
    )


def test_the_fit_set_is_the_same(cohort):
    from promet.network import dataset
    from promet.network.settings import Dataset

    few = Dataset(max_quarantine=0.5)
    for where, buckets in (("alone", None), ("shared", cohort / "study/buckets/2")):
        out = cohort / f"dataset-{where}/dataset.json"
        dataset.run(
            dataset.Inputs(cohort / "alone", cohort / "ledger.tsv", cohort / "cohort.tsv", 0, buckets),
            few,
            out,
            "",
        )
    for name in ("fit.json", "members.parquet"):
        assert (cohort / "dataset-alone" / name).read_bytes() == (
            cohort / "dataset-shared" / name
        ).read_bytes()


def test_every_stage_records_all_it_reads(cohort):
    reads = {
        "convert": {"pet"},
        "segment": {"convert", "prostate"},
        "crop": {"convert", "segment"},
        "normalise": {"crop"},
        "measure": {"convert", "segment"},
        "picture": {"convert", "segment"},
    }
    assert {stage: set(Sidecar.read(cohort / f"alone/A/{stage}.json").inputs) for stage in reads} == reads


def test_a_second_time_nothing_is_made(cohort):
    before = {path: path.stat().st_mtime_ns for path in (cohort / "shared").rglob("*")}
    shared(cohort)
    assert {path: path.stat().st_mtime_ns for path in (cohort / "shared").rglob("*")} == before


def test_tables_of_another_number_are_put_away(cohort):
    (cohort / "study/buckets/3/fit-0").mkdir(parents=True)
    call(*gathering(cohort, "shared"), "--buckets", cohort / "study/buckets/2")
    assert [path.name for path in (cohort / "study/buckets").iterdir()] == ["2"]
