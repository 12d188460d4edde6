"""TotalSegmentator as an optional program: a stand-in on the PATH plays it."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_series import CT_CLASS, circle, write, write_rtstruct

from promet.config import load
from promet.core.errors import DataError, UsageError
from promet.core.sidecar import NO_LESION, QUARANTINED, Sidecar
from promet.imaging import convert, crop, measure, organs, segment
from promet.imaging.ct import convert_ct
from promet.imaging.settings import Convert, Crop, Measure, Organs, Segment
from promet.study.public import write_table
from promet.workflow.buckets import ImagePins
from promet.workflow.stages import PATIENT_STAGES

# Boxes (z, y, x) of whole CT voxels, which the stand-in writes.
BOXES = {
    "prostate": ((4, 9), (14, 24), (12, 22)),
    "urinary_bladder": ((10, 14), (14, 24), (12, 22)),
    "liver": ((18, 24), (2, 14), (2, 12)),
    "aorta": ((0, 24), (26, 30), (26, 30)),
}
PROGRAM = """#!{python}
import json, os, sys
import numpy as np, SimpleITK as sitk
words = dict(zip(sys.argv[1::2], sys.argv[2::2]))
assert words["-i"].endswith("ct.nii.gz")
image = sitk.ReadImage(words["-i"])
home = os.environ["TOTALSEG_HOME_DIR"]
with open({told!r}, "a") as handle:
    config = json.load(open(home + "/config.json"))
    keys = {{k: image.GetMetaData(k) for k in image.GetMetaDataKeys()}}
    handle.write(json.dumps([sys.argv[1:], config, os.environ["TOTALSEG_WEIGHTS_PATH"], keys]) + chr(10))
if {code}:
    sys.exit({code})
os.makedirs(words["-o"], exist_ok=True)
for name, box in {boxes!r}.items():
    array = np.zeros(image.GetSize()[::-1], np.uint8)
    if box:
        array[tuple(slice(*b) for b in box)] = 1
    mask = sitk.GetImageFromArray(array)
    mask.CopyInformation(image)
    sitk.WriteImage(mask, os.path.join(words["-o"], name + ".nii.gz"))
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Puts a stand-in on the PATH; program(boxes, code) -> what it was told, line by line."""
    folder, told = tmp_path / "bin", tmp_path / "told"

    def install(boxes=BOXES, code=0):
        folder.mkdir(exist_ok=True)
        path = folder / "TotalSegmentator"
        path.write_text(PROGRAM.format(python=sys.executable, told=str(told), boxes=boxes, code=code))
        path.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder) + os.pathsep + os.environ["PATH"])
        monkeypatch.delenv("TOTALSEG_WEIGHTS_PATH", raising=False)
        return lambda: [json.loads(line) for line in told.read_text().splitlines()]

    return install


CT = {"Modality": "CT", "SOPClassUID": CT_CLASS, "RescaleSlope": 1.0, "RescaleIntercept": -1024.0, "Units": None,
      "PixelSpacing": [1.5, 1.5], "ImagePositionPatient": lambda i: [-22.5, -31.0, 90.0 + 2.5 * i]}  # fmt: skip


def hounsfield(index):
    return (np.arange(32 * 32).reshape(32, 32) + 10 * index).astype(np.int16)


def uptake(index):
    plane = np.full((16, 16), 1250, np.int16)
    plane[10:, 10:] = 2500
    if 2 <= index <= 4:
        plane[8:11, 6:9] = 12500
    return plane


def patient(tmp_path, **masks):
    """A patient with PET and CT; returns the registry and the patient's folder."""
    source = tmp_path / "data"
    pet = {"ImagePositionPatient": lambda i: [-21.0, -31.0, 88.0 + 5.0 * i], "PixelSpacing": [3.0, 3.0]}
    write(source / "pet", {**pet, "Units": "GML", "RescaleSlope": 0.0008}, slices=14, values=uptake)
    write(source / "ct", CT, slices=24, values=hounsfield, series="1.7")
    lines = [f"P1\t{name}\t{source / name}\tx\t1\t1" for name in ("pet", "ct")]
    lines += [f"P1\t{name}\t{path}\tx\t1\t1" for name, path in masks.items()]
    registry = tmp_path / "images.tsv"
    registry.write_text("\n".join(["patient\tsource\tpath\tdigest\tfiles\tbytes", *lines]) + "\n")
    return registry, tmp_path / "patients" / "P1"


def test_ct_in_hounsfield_units(tmp_path):
    patient(tmp_path)
    image = convert_ct(tmp_path / "data" / "ct", tmp_path / "data" / "pet")
    assert image.GetPixelID() == sitk.sitkInt16 and image.GetSpacing() == (1.5, 1.5, 2.5)
    expected = np.stack([hounsfield(i) for i in range(24)]).astype(int) - 1024
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), expected)
    # the CT is found in a whole export, and one of another examination is not taken
    write(
        tmp_path / "data" / "scout", {**CT, "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, series="1.8"
    )
    write(tmp_path / "data" / "other", {**CT, "FrameOfReferenceUID": "9.9"}, series="1.9")
    again = convert_ct(tmp_path / "data", tmp_path / "data" / "pet")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(again), expected)
    for source, code in (("other", "E_CT_FRAME"), ("pet", "E_CT_NONE"), ("scout", "E_CT_NONE")):
        with pytest.raises(DataError) as caught:
            convert_ct(tmp_path / "data" / source, tmp_path / "data" / "pet")
        assert caught.value.code == code
    write(tmp_path / "data" / "second", CT, slices=5, series="1.10")
    with pytest.raises(DataError, match="24 images of 32 x 32") as caught:
        convert_ct(tmp_path / "data", tmp_path / "data" / "pet")
    assert caught.value.code == "E_CT_AMBIGUOUS"


def test_a_patient_without_a_mask_gets_one(tmp_path, program, monkeypatch):
    told = program()
    registry, folder = patient(tmp_path)
    weights = tmp_path / "weights"
    (weights / "Dataset291_TotalSegmentator_part1_organs_1559subj").mkdir(parents=True)
    convert.run(convert.Inputs("P1", registry), Convert(), folder / "convert.json", "p")
    record = organs.run(organs.Inputs("P1", registry, str(weights)), Organs(), folder / "organs.json", "p")
    assert record.ok, record.reason
    assert record.values["prostate_ml"] == pytest.approx(5 * 10 * 10 * 1.5**2 * 2.5 / 1000, abs=1e-3)
    ((words, config, where, keys),) = told()
    assert words[4:] == ["--task", "total", "--device", "cpu", "--quiet", "--nr_thr_saving", "1"]
    assert config["send_usage_stats"] is False and where == str(weights)
    assert not any("PHANTOM" in value or value == "1.7" for value in keys.values())
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "organs.nii.gz")))
    assert set(np.unique(labels)) == {0, 1, 2, 3, 4}

    done = segment.run(
        segment.Inputs(folder, "P1", registry, organs=True),
        Segment(),
        folder / "segment.json",
        "p",
    )
    assert done.ok, done.reason
    assert set(done.inputs) == {"convert", "organs"} and done.values["organ_source"] == "TotalSegmentator"
    # the box of the prostate in mm, on the grid of the PET
    mask = sitk.ReadImage(str(folder / "prostate.nii.gz"))
    inside = np.argwhere(sitk.GetArrayFromImage(mask))
    middle = mask.TransformContinuousIndexToPhysicalPoint(inside.mean(0)[::-1].tolist())
    np.testing.assert_allclose(middle, (-22.5 + 16.5 * 1.5, -31 + 18.5 * 1.5, 90 + 6 * 2.5), atol=1.0)
    assert done.values["organ_ml"] == pytest.approx(record.values["prostate_ml"], rel=0.02)
    assert done.values["lesion_source"] == "watershed without the bladder"
    assert done.values["reference_suv_mean"] == pytest.approx(1.0, rel=0.01)
    assert done.values["blood_suv_mean"] == pytest.approx(2.0, rel=0.05)
    assert "parotid_suv_mean" not in done.values


def test_organs_named_in_the_users_own_file(tmp_path):
    """An RTSTRUCT that also names liver, spleen, aorta and bladder; an empty lesion ROI is a reader's word."""

    def tube(x, y, radius, low, high):
        return [circle(x, y, z, radius, 90) for z in np.arange(low, high, 2.5)]

    rois = {
        "Prostate": tube(2.0, -3.0, 7.0, 100.0, 112.0), "Urinary Bladder": tube(2.0, -3.0, 7.0, 116.0, 125.0),
        "Liver": tube(-9.0, -19.0, 6.0, 130.0, 145.0), "Aorta": tube(18.0, 9.0, 4.0, 90.0, 145.0), "Spleen": [],
        "Lesions": [],
    }  # fmt: skip
    path = write_rtstruct(tmp_path / "rt.dcm", rois)
    registry, folder = patient(tmp_path, prostate=path)
    convert.run(convert.Inputs("P1", registry), Convert(), folder / "convert.json", "p")
    done = segment.run(
        segment.Inputs(folder, "P1", registry),
        Segment(),
        folder / "segment.json",
        "p",
    )
    assert done.values["lesion_source"] == "watershed without the bladder"
    assert done.values["reference_suv_mean"] == pytest.approx(1.0, rel=0.01)
    assert done.values["blood_suv_mean"] == pytest.approx(2.0, rel=0.05)
    spleen = segment.run(
        segment.Inputs(folder, "P1", registry),
        Segment(reference_roi="(?i)spleen"),
        folder / "segment.json",
        "p",
    )
    assert "reference_suv_mean" not in spleen.values
    registry, folder = patient(tmp_path, prostate=path, lesions=path)
    done = segment.run(
        segment.Inputs(folder, "P1", registry),
        Segment(),
        folder / "segment.json",
        "p",
    )
    assert done.status == NO_LESION and done.values["lesion_source"] == "given"


def test_the_users_own_mask_needs_no_program(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    own = sitk.GetImageFromArray(np.pad(np.ones((5, 6, 6), np.uint8), 5))
    own.SetSpacing((3.0, 3.0, 5.0))
    own.SetOrigin((-21.0, -31.0, 73.0))
    sitk.WriteImage(own, str(tmp_path / "own.nii.gz"))
    registry, folder = patient(tmp_path, prostate=tmp_path / "own.nii.gz")
    convert.run(convert.Inputs("P1", registry), Convert(), folder / "convert.json", "p")
    assert (
        segment.run(
            segment.Inputs(folder, "P1", registry),
            Segment(),
            folder / "segment.json",
            "p",
        ).values["organ_source"]
        == "given"
    )


def test_the_sites_faults_stop_the_job(tmp_path, program, monkeypatch):
    """No program, no weights, a crash: nobody is quarantined for that."""
    registry, folder = patient(tmp_path)

    def refused(weights=""):
        with pytest.raises(UsageError) as caught:
            organs.run(organs.Inputs("P1", registry, weights), Organs(), folder / "organs.json", "p")
        assert not (folder / "organs.json").exists()
        return caught.value

    monkeypatch.setenv("PATH", str(tmp_path))
    error = refused()
    assert error.code == "E_TOTALSEGMENTATOR_MISSING" and "envs/totalsegmentator.yaml" in error.sentence()
    program()
    error = refused(str(tmp_path / "nowhere"))
    assert error.code == "E_TOTALSEGMENTATOR_WEIGHTS" and "Dataset291_" in error.sentence()
    program(code=3)
    assert refused().code == "E_TOTALSEGMENTATOR_FAILED"
    program({"liver": BOXES["liver"]})
    assert refused().code == "E_TOTALSEGMENTATOR_OUTPUT"


def test_a_ct_without_a_prostate_quarantines(tmp_path, program):
    program({**BOXES, "prostate": None})
    registry, folder = patient(tmp_path)
    convert.run(convert.Inputs("P1", registry), Convert(), folder / "convert.json", "p")
    record = organs.run(organs.Inputs("P1", registry), Organs(), folder / "organs.json", "p")
    assert (record.status, record.code) == (QUARANTINED, "E_ORGANS_NO_PROSTATE")
    done = segment.run(
        segment.Inputs(folder, "P1", registry, organs=True),
        Segment(),
        folder / "segment.json",
        "p",
    )
    assert (done.status, done.code, done.origin) == (QUARANTINED, "E_ORGANS_NO_PROSTATE", "organs")


def test_head_and_fast_call_their_models(tmp_path, program):
    told = program({**BOXES, "parotid_gland_left": ((20, 23), (20, 24), (4, 8))})
    registry, folder = patient(tmp_path)
    record = organs.run(
        organs.Inputs("P1", registry), Organs(fast=True, head=True), folder / "organs.json", "p"
    )
    assert record.values["parotid_gland_ml"] > 0
    assert [words[4:7] for words, *_ in told()] == [
        ["--task", "total", "--fast"],
        ["--task", "head_glands_cavities", "--device"],
    ]


IMAGES = {"pet": {"digest": "a"}, "ct": {"digest": "b"}}


def pins(images, **sections):
    config = load().model_dump(mode="json")["imaging"]
    for name, values in sections.items():
        config[name] |= values
    made = ImagePins(copy.deepcopy(config))
    found = {stage: made.pin(stage, images) for stage in ("organs", *PATIENT_STAGES)}
    return {**found, "wanted": made.wants_organs(images)}


def changed(before, after):
    return {name for name in before if before[name] != after[name]}


def test_the_plan_pins_it():
    on = {"totalsegmentator": {"use": True}}
    off, used = pins(IMAGES), pins(IMAGES, **on)
    assert not off["wanted"] and changed(off, used) == {"segment", "wanted"}
    # with a mask of the user's own, and without a CT, switching it on changes nothing
    for images in ({**IMAGES, "prostate": {"digest": "c"}}, {"pet": {"digest": "a"}}):
        assert changed(pins(images), pins(images, **on)) == set()
    assert changed(used, pins({**IMAGES, "ct": {"digest": "d"}}, **on)) == {"segment", "organs"}
    assert changed(used, pins(IMAGES, **on, organs={"fast": True})) == {"segment", "organs"}
    where = {"use": True, "weights": "/elsewhere", "device": "gpu:1"}
    assert changed(used, pins(IMAGES, totalsegmentator=where)) == set()


# What is kept of the whole body.


def chain(tmp_path, settings, name):
    own = sitk.GetImageFromArray(np.pad(np.ones((5, 6, 6), np.uint8), 5))
    own.SetSpacing((3.0, 3.0, 5.0))
    own.SetOrigin((-21.0, -31.0, 73.0))
    sitk.WriteImage(own, str(tmp_path / "own.nii.gz"))
    registry, folder = patient(tmp_path, prostate=tmp_path / "own.nii.gz")
    folder = folder.with_name(name)
    convert.run(convert.Inputs("P1", registry), settings, folder / "convert.json", "p")
    segment.run(
        segment.Inputs(folder, "P1", registry),
        Segment(region_mm=20.0),
        folder / "segment.json",
        "p",
    )
    crop.run(
        folder,
        Crop(shape=(4, 8, 8), spacing_mm=(5.0, 3.0, 3.0)),
        folder / "crop.json",
        "p",
    )
    measure.run(folder, Measure(), folder / "measure.json", "p")
    records = {path.stem: Sidecar.read(path) for path in folder.glob("*.json")}
    assert {record.status for record in records.values()} == {"ok"}, [r.reason for r in records.values()]
    return folder, records


def test_the_whole_body_pet_need_not_be_kept(tmp_path):
    """Without it everything that follows is the same, and what stays is the part around the organ."""
    with_it, first = chain(tmp_path, Convert(), "with")
    without, second = chain(tmp_path, Convert(keep_pet=False), "without")
    assert first["convert"].products and not second["convert"].products
    assert {p.name for p in without.glob("*.nii.gz")} == {
        "region.nii.gz",
        "prostate.nii.gz",
        "lesions.nii.gz",
    }
    assert set(second["segment"].products) == {"region.nii.gz", "prostate.nii.gz", "lesions.nii.gz"}
    a, b = (np.load(folder / "cuboid.npy") for folder in (with_it, without))
    np.testing.assert_allclose(a, b, atol=1e-5)
    assert first["measure"].values == pytest.approx(second["measure"].values)
    sizes = [sitk.ReadImage(str(p)).GetSize() for p in without.glob("*.nii.gz")]
    assert len(set(sizes)) == 1 and np.prod(sizes[0]) < 16 * 16 * 14


def test_a_changed_pet_is_noticed_although_no_file_is_kept(tmp_path):
    _, before = chain(tmp_path, Convert(keep_pet=False), "one")
    write(tmp_path / "data" / "pet", {"Units": "GML", "RescaleSlope": 0.0008,
          "ImagePositionPatient": lambda i: [-21.0, -31.0, 88.0 + 5.0 * i], "PixelSpacing": [3.0, 3.0]},
          slices=14, values=lambda i: uptake(i) + np.eye(16, dtype=np.int16))  # fmt: skip
    registry = tmp_path / "images.tsv"
    after = convert.run(
        convert.Inputs("P1", registry), Convert(keep_pet=False), tmp_path / "x" / "convert.json", "p"
    )
    same = convert.run(
        convert.Inputs("P1", registry), Convert(keep_pet=False), tmp_path / "y" / "convert.json", "p"
    )
    assert before["convert"].digest != after.digest == same.digest


def test_switching_leaves_no_old_file(tmp_path):
    folder, _ = chain(tmp_path, Convert(keep_ct=True), "P1")
    kept = sitk.ReadImage(str(folder / "ct.nii.gz"))
    assert kept.GetPixelID() == sitk.sitkInt16 and kept[0, 0, 0] == -1024
    chain(tmp_path, Convert(keep_pet=False), "P1")
    assert not (folder / "ct.nii.gz").exists() and not (folder / "pet.nii.gz").exists()
    chain(tmp_path, Convert(), "P1")
    assert not (folder / "region.nii.gz").exists() and (folder / "pet.nii.gz").exists()


def test_a_bad_ct_is_only_told_of(tmp_path):
    registry, folder = patient(tmp_path)
    for path in Path(tmp_path, "data", "ct").glob("*"):
        path.unlink()
    (tmp_path / "data" / "ct" / "notes.txt").write_text("nothing")
    record = convert.run(convert.Inputs("P1", registry), Convert(keep_ct=True), folder / "convert.json", "p")
    assert record.ok and set(record.products) == {"pet.nii.gz"}
    assert any("E_CT_NONE" in sentence for sentence in record.warnings)


def test_keeping_is_pinned_where_it_matters():
    plain = pins(IMAGES)
    assert changed(plain, pins(IMAGES, convert={"keep_pet": False})) == {"convert"}
    other = {**IMAGES, "ct": {"digest": "d"}}
    assert changed(plain, pins(other)) == {"segment", "organs"}  # the CT of the masks
    kept = {"convert": {"keep_ct": True}}
    assert changed(pins(IMAGES, **kept), pins(other, **kept)) == {"convert", "segment", "organs"}


def test_the_region_has_to_hold_the_box():
    from promet.imaging.settings import Imaging

    with pytest.raises(ValueError, match="more than segment"):
        Imaging(convert=Convert(keep_pet=False), segment=Segment(region_mm=30.0))
    Imaging(segment=Segment(region_mm=30.0))


def test_the_pipeline_calls_it_where_a_mask_is_missing(tmp_path):
    """The real Snakefile, asked what it would do: one job for the patient without a mask, none for the other or when off."""
    root = Path(__file__).parents[2]
    rows = []
    for name, mask in (("A", ""), ("B", "images/B/prostate")):
        for source in ("pet", "ct", "prostate"):
            path = tmp_path / "images" / name / source / "1"
            path.parent.mkdir(parents=True)
            path.write_text(f"{name} {source}")
        rows.append(
            {"patient": name, "pet": f"images/{name}/pet", "ct": f"images/{name}/ct", "prostate": mask}
        )
    write_table(tmp_path / "cohort.tsv", rows)
    (tmp_path / "off.yaml").write_text('{"study": "tiny", "cohort": "cohort.tsv"}')
    (tmp_path / "on.yaml").write_text('{"imaging": {"totalsegmentator": {"use": true}}}')
    promet = [sys.executable, "-m", "promet.cli", "intake", "-c", "off.yaml"]
    subprocess.run(promet, cwd=tmp_path, check=True, capture_output=True)

    def planned(*configfiles):
        words = [
            "--snakefile",
            str(root / "Snakefile"),
            "--configfile",
            *configfiles,
            "--cores",
            "1",
            "-n",
            "-p",
        ]
        targets = [f"results/patients/{name}/segment.json" for name in "AB"]
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", *words, "--", *targets],
            cwd=tmp_path, check=True, capture_output=True, text=True,
        )  # fmt: skip
        shown = done.stdout + done.stderr
        return [
            line.partition("promet imaging ")[2] for line in shown.splitlines() if "promet imaging " in line
        ]

    called = planned("off.yaml", "on.yaml")
    (organs_of,) = [line for line in called if line.startswith("organs ")]
    assert "--patient A " in organs_of and "--weights= --device cpu" in organs_of
    segments = {
        line.split("--patient ")[1][0]: "--organs" in line for line in called if line.startswith("segm")
    }
    assert segments == {"A": True, "B": False}
    assert not any("organs" in line for line in planned("off.yaml"))
