"""The commands of the imaging room, one after the other as the pipeline calls them."""

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from typer.testing import CliRunner

from promet.core.errors import UsageError
from promet.core.files import digest_file
from promet.core.job import CHECKED, as_checked
from promet.core.pin import canonical
from promet.core.settings import Settings
from promet.core.sidecar import NO_LESION, QUARANTINED, Sidecar
from promet.imaging.cli import app
from promet.imaging.settings import Crop, Imaging
from promet.study import looks
from promet.study.registry import sources
from promet.workflow.planned import VARIABLE
from promet.workflow.stages import PATIENT_STAGES, STAGES, of_patients

SIZE, SPACING = (40, 40, 30), (4.0, 4.0, 3.0)
PLACES = np.stack(np.indices(SIZE[::-1])[::-1], axis=-1) * SPACING - (np.array(SIZE) - 1) / 2 * SPACING


def ball(radius, centre=0.0):
    return ((PLACES - centre) ** 2).sum(axis=-1) <= radius**2


def save(array, path):
    image = sitk.GetImageFromArray(array.astype(np.uint8 if array.dtype == bool else np.float32))
    image.SetSpacing(SPACING)
    sitk.WriteImage(image, str(path))
    return path


def promet(*words, code=0):
    """Run a command in this process; errors of promet come through as they are."""
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture
def cohort(tmp_path):
    """Three patients: with a lesion, without, without a mask."""
    rows = []
    for name, top in (("P001", 12.0), ("P002", 2.0), ("P003", 12.0)):
        folder = tmp_path / "data of all" / name
        folder.mkdir(parents=True)
        hot = top * np.exp(-((PLACES - (6, 0, 0)) ** 2).sum(axis=-1) / 72)
        rows.append((name, "pet", save(0.5 + hot, folder / "pet suv.nii.gz")))
        if name != "P003":
            rows.append((name, "prostate", save(ball(22), folder / "prostate.nii.gz")))
    registry = tmp_path / "images.tsv"
    with open(registry, "w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, delimiter="\t", lineterminator="\n")
        writer.writerow(("patient", "source", "path", "digest", "files", "bytes"))
        writer.writerows((name, source, path, digest_file(path), 1, 1) for name, source, path in rows)
    return tmp_path, registry


def imaging(root, registry, name):
    """All stages of one patient; returns their records."""
    folder = root / "results with space" / "patients" / name
    who = ("--patient", name, "--registry", registry)
    shape = {"shape": [10, 20, 20], "spacing_mm": [6, 4, 4]}
    for stage, words in (
        ("convert", who),
        ("segment", (*who, "--settings", '{"lesions": {"floor_suv": 3.5}}')),
        ("crop", ("--settings", json.dumps(shape))),
        ("normalise", ()),
        ("measure", ("--settings", '{"suv_peak_weights": "centre"}')),
        ("picture", ("--crop", json.dumps(shape))),
    ):
        promet(stage, *words, "--out", folder / f"{stage}.json", "--pin", f"pin of {stage}")
    return folder, {path.stem: Sidecar.read(path) for path in folder.glob("*.json")}


def test_the_chain(cohort):
    root, registry = cohort
    folder, records = imaging(root, registry, "P001")
    assert {record.status for record in records.values()} == {"ok"}, [r.reason for r in records.values()]
    assert all(record.pin == f"pin of {stage}" for stage, record in records.items())
    products = {name for record in records.values() for name in record.products}
    assert products == {
        "pet.nii.gz",
        "prostate.nii.gz",
        "lesions.nii.gz",
        "cuboid.npy",
        "tensor.npy",
        "picture.png",
    }
    assert {path.name for path in folder.iterdir()} == products | {f"{stage}.json" for stage in records}
    excerpts = {"excerpt_pet.nii.gz", "excerpt_masks.nii.gz"}
    for volumes, more in (("true", excerpts), ("false", set())):
        words = ("--settings", f'{{"volumes": {volumes}}}', "--pin", "")
        promet("picture", *words, "--out", folder / "picture.json")
        assert Sidecar.read(folder / "picture.json").products.keys() == {"picture.png"} | more
        assert excerpts & {path.name for path in folder.iterdir()} == more
    tensor = np.load(folder / "tensor.npy", allow_pickle=False)
    assert (tensor.shape, tensor.dtype) == ((2, 10, 20, 20), np.float32)
    assert tensor[1].any()
    assert 11 <= records["measure"].values["suv_max"] < 12.5

    imaging(root, registry, "P002")
    _, lost = imaging(root, registry, "P003")
    empty = Sidecar.read(root / "results with space/patients/P002/segment.json")
    assert empty.status == NO_LESION
    assert {record.code for stage, record in lost.items() if stage != "convert"} == {"E_MASK_MISSING"}
    assert {record.status for stage, record in lost.items() if stage != "convert"} == {QUARANTINED}

    cohort_table = root / "cohort.tsv"
    cohort_table.write_text("patient\tpet\nP002\tx\nP003\tx\nP001\tx\n", encoding="utf-8")
    promet(
        "gather",
        "--patients",
        folder.parent,
        "--cohort",
        cohort_table,
        "--out",
        root / "study/gather/gather.json",
    )
    table = pd.read_parquet(root / "study/gather/patients.parquet")
    assert list(table["status"]) == ["ok", NO_LESION, QUARANTINED]
    assert table["tensor_digest"][0] == digest_file(folder / "tensor.npy")
    assert table["organ_suv_max"].notna().tolist() == [True, True, False]


def test_convert_by_hand(cohort):
    root, _ = cohort
    source = root / "data of all/P001/pet suv.nii.gz"
    promet("convert", source, "--out", root / "by hand/pet.nii.gz", "--audit", root / "by hand/audit.json")
    written = sitk.ReadImage(str(root / "by hand/pet.nii.gz"))
    assert written.GetPixelID() == sitk.sitkFloat32
    np.testing.assert_allclose(
        sitk.GetArrayFromImage(written), sitk.GetArrayFromImage(sitk.ReadImage(str(source)))
    )
    assert isinstance(json.loads((root / "by hand/audit.json").read_text()), dict)


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--patient", "P001"),
        ("somewhere", "--patient", "P001", "--registry", "images.tsv"),
        ("--audit", "a.json", "--patient", "P001", "--registry", "images.tsv"),
    ],
)
def test_convert_wants_one_of_two_forms(words):
    with pytest.raises(UsageError) as caught:
        promet("convert", *words, "--out", "x.json")
    assert caught.value.code == "E_USAGE"


@pytest.mark.parametrize("settings", ['{"margin": 3}', '{"shape": [14, 54]}', "{", '{"margin_mm": -1}'])
def test_wrong_settings_are_refused(settings, tmp_path):
    with pytest.raises(UsageError) as caught:
        promet("crop", "--out", tmp_path / "crop.json", "--settings", settings)
    assert caught.value.code == "E_SETTINGS"
    assert not (tmp_path / "crop.json").exists()


HEAVY = {
    "torch",
    "monai",
    "pandas",
    "pyarrow",
    "scipy",
    "skimage",
    "sklearn",
    "highdicom",
    "matplotlib.pyplot",
}


@pytest.mark.parametrize(
    ("module", "heavy"), [("cli", {"SimpleITK", "numpy", "pydicom"}), ("gather", {"numpy"})]
)
def test_start_is_light(module, heavy):
    heavy = heavy | HEAVY | {"matplotlib"}
    code = f"import sys, promet.imaging.{module}; print(*sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.split() == []


# Of these a job of one patient loads what it uses; its settings were checked when the run began.
USED = {name: {"numpy", "SimpleITK"} for name in PATIENT_STAGES}
USED |= {
    "convert": {"numpy", "SimpleITK", "pydicom"},
    "normalise": {"numpy"},
    "picture": {"numpy", "SimpleITK", "matplotlib"},
}
WATCHED = set().union(HEAVY, *USED.values())
WATCHED |= {"typer", "click", "rich", "pydantic", "requests", "tqdm", "mpl_toolkits.mplot3d"}
JOB = f"import sys; from promet import cli; cli.main(); print(*{WATCHED!r} & set(sys.modules))"


@pytest.mark.parametrize("stage", PATIENT_STAGES)
def test_a_rules_job_loads_what_it_uses_and_leaves_the_bytes_of_the_command(cohort, stage):
    root, registry = cohort
    sections = Imaging().model_dump(mode="json")
    records = []
    for out in (root / "command/P001", root / "job/P001"):
        for name in of_patients(stage):
            words = [
                "--out",
                str(out / f"{name}.json"),
                "--pin",
                "x",
                "--settings",
                canonical(sections[name]),
            ]
            words += ["--patient", "P001", "--registry", str(registry)] * (name in ("convert", "segment"))
            words += ["--crop", canonical(sections["crop"])] * (name == "picture")
            if name != stage or out.parent.name == "command":
                promet(name, *words)
        records.append(out / f"{stage}.json")
    environment = {**os.environ, CHECKED: "1"}
    if STAGES[stage].sources:
        told = {
            name: {"path": str(path), "digest": looks.digest(path), "files": 1, "bytes": 1}
            for name, path in sources(registry, "P001").items()
        }
        environment[VARIABLE] = json.dumps({"sources": told})
    done = subprocess.run(
        [sys.executable, "-c", JOB, "imaging", stage, *words],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(done.stdout.split()) == USED[stage]
    command, job = (Sidecar.read(path) for path in records)
    assert command.ok and command.digest and (job.digest, job.products) == (command.digest, command.products)


def test_checked_settings_are_those_of_the_model():
    def same(plain, model):
        for key, value in model:
            if key not in ("organ_is_lesion", "sources"):  # left out where off; told to other jobs
                found = getattr(plain, key)
                assert (
                    same(found, value)
                    if isinstance(value, Settings)
                    else (found, type(found)) == (value, type(value))
                )
        return True

    model = Imaging(crop=Crop(shape=(3, 4, 5), spacing_mm=(5, 1.1, 2 / 3)))
    assert same(as_checked(canonical(model.model_dump(mode="json"))), model)
