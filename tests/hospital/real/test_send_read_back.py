"""What promet send writes, by programs of others: dciodvfy, dcmqi, Orthanc."""

import json
import os

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread
from tests.hospital import imaged
from tools import Orthanc, call, find

from promet.core.sidecar import Sidecar
from promet.hospital.send import send
from promet.hospital.web import Server


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Plan, patient folder, SEG and SR of a phantom; the working directory is its project."""
    find("dciodvfy")
    before, folder = os.getcwd(), tmp_path_factory.mktemp("made")
    (folder / "project").mkdir()
    plan = imaged.study(folder / "project")
    out = folder / "out"
    send(imaged.CONFIG, "dev001", out, None, None)
    try:
        yield plan, next(out.glob("seg-*")), next(out.glob("sr-*"))
    finally:
        os.chdir(before)


@pytest.mark.parametrize("which", [1, 2])
def test_dciodvfy(made, which):
    said = call("dciodvfy", made[which], code=None)
    assert said.splitlines()[0] in ("Segmentation", "ComprehensiveSR")
    assert not [line for line in said.splitlines() if line.startswith("Error")]
    assert not [line for line in said.splitlines() if line.startswith("Warning") and "99PROMET" not in line]


def test_dciodvfy_sees_an_error(made, tmp_path):
    """Its control: what is missing is said."""
    sr = dcmread(made[2])
    del sr.CompletionFlag
    sr.save_as(tmp_path / "bent.dcm")
    assert any(
        line.startswith("Error") for line in call("dciodvfy", tmp_path / "bent.dcm", code=None).splitlines()
    )


def test_dcmqi_reads_the_masks(made, tmp_path):
    plan, seg, _ = made
    call(
        "segimage2itkimage",
        "--inputDICOM",
        seg,
        "--outputDirectory",
        tmp_path,
        "--outputType",
        "nii",
        "--prefix",
        "back",
    )
    reference = sitk.ReadImage(f"{plan.patients_dir}/dev001/pet.nii.gz")
    for number, name in enumerate(("prostate", "lesions"), 1):
        back = sitk.ReadImage(tmp_path / f"back-{number}.nii.gz")
        back = sitk.Resample(back, reference, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
        mask = sitk.ReadImage(f"{plan.patients_dir}/dev001/{name}.nii.gz")
        found, wanted = (sitk.GetArrayFromImage(image) > 0 for image in (back, mask))
        assert wanted.any() and np.array_equal(found, wanted)


def test_dcmqi_reads_the_numbers(made, tmp_path):
    plan, _, sr = made
    call("tid1500reader", "--inputDICOM", sr, "--outputMetadata", tmp_path / "read.json")
    groups = json.loads((tmp_path / "read.json").read_text())["Measurements"]
    found = {
        (
            group["TrackingIdentifier"],
            item["quantity"]["CodeValue"],
            item.get("derivationModifier", {}).get("CodeValue"),
        ): float(item["value"])
        for group in groups
        for item in group["measurementItems"]
    }
    values = Sidecar.read(plan.sidecar("measure", patient="dev001")).values
    expected = {
        ("Prostate", "126401", "56851009"): "organ_suv_max",
        ("Prostate", "126401", "373098007"): "organ_suv_mean",
        ("Prostate", "118565006", None): "organ_ml",
        ("Prostate", "primary-surrogate", None): "primary_surrogate",
        ("Lesions", "126401", "56851009"): "suv_max",
        ("Lesions", "126401", "373098007"): "suv_mean",
        ("Lesions", "126401", "126031"): "suv_peak",
        ("Lesions", "118565006", None): "lesion_ml",
        ("Lesions", "total-lesion-uptake", None): "total_lesion_uptake",
    }
    assert found.keys() == expected.keys()
    for key, name in expected.items():
        assert found[key] == pytest.approx(values[name], rel=1e-12), name


def test_a_pacs_takes_them_once(made, tmp_path):
    _, seg, sr = made
    pet = dcmread(next(path for path in seg.parents[1].glob("project/site/dicom/dev001/PT/*")))
    key = imaged.key_file(tmp_path / "key.tsv", "dev001", pet)
    orthanc = Orthanc(tmp_path / "orthanc").start()
    try:
        server = Server(f"{orthanc.base}/dicom-web", pause=0)
        for _ in range(2):
            assert send(imaged.CONFIG, "dev001", None, server, key) == 0
            assert len(orthanc.ask("/instances")) == 2
        for path in (seg, sr):
            data = dcmread(path)
            (name,) = orthanc.ask("/tools/lookup", data.SOPInstanceUID.encode())
            back = tmp_path / "back.dcm"
            back.write_bytes(orthanc.bytes(f"/instances/{name['ID']}/file"))
            assert dcmread(back) == data
    finally:
        orthanc.kill()
