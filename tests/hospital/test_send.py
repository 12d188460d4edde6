"""promet send: masks and measurements of a patient as DICOM, repeatable, complete, and about the right person."""

import json
import os
import re
import shutil
from pathlib import Path

import imaged
import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from fake_pacs import Pacs, serving
from pydicom import dcmread

from promet.core import checksums
from promet.core.errors import PrometError
from promet.core.files import digest_file
from promet.core.sidecar import Sidecar
from promet.hospital.send import send
from promet.hospital.web import Server
from promet.imaging.masks.read import mask_by_hand
from promet.phantom.series import ID_MARKER, MARKER, UID_ROOT

PATIENT = "dev001"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    before = os.getcwd()
    folder = tmp_path_factory.mktemp("made")
    try:
        yield imaged.study(folder), folder
    finally:
        os.chdir(before)


@pytest.fixture
def plan(made, tmp_path, monkeypatch):
    """The study in a folder of its own, since a test may bend it."""
    shutil.copytree(made[1], tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return made[0]


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def sent(out, **how):
    assert send(imaged.CONFIG, how.pop("patient", PATIENT), out, None, how.pop("key", None)) == 0
    return {path.name: path.read_bytes() for path in out.iterdir()}


def read(out):
    """SEG and SR."""
    return tuple(dcmread(next(out.glob(f"{kind}-*.dcm"))) for kind in ("seg", "sr"))


def code(*words):
    with pytest.raises(PrometError) as error:
        send(imaged.CONFIG, *words)
    assert not re.search(f"{MARKER}|{ID_MARKER}|{UID_ROOT}", str(error.value))
    return error.value.code


def numbers(sr):
    """(segment, name, derivation) -> value of every NUM."""
    found = {}

    def walk(item, label):
        if item.ValueType == "CONTAINER" and item.ConceptNameCodeSequence[0].CodeValue == "125007":
            texts = (each for each in item.ContentSequence if each.ValueType == "TEXT")
            label = next(t.TextValue for t in texts if t.ConceptNameCodeSequence[0].CodeValue == "112039")
        if item.ValueType == "NUM":
            inner = item.get("ContentSequence", [])
            how = [c.ConceptCodeSequence[0].CodeMeaning for c in inner if "ConceptCodeSequence" in c]
            value = float(item.MeasuredValueSequence[0].NumericValue)
            found[label, item.ConceptNameCodeSequence[0].CodeMeaning, *how] = value
        for inner in item.get("ContentSequence", []):
            walk(inner, label)

    walk(sr, "")
    return found


def test_what_is_reported(plan, out):
    sent(out)
    seg, sr = read(out)
    values = Sidecar.read(plan.sidecar("measure", patient=PATIENT)).values
    expected = {
        ("Prostate", "SUVbw", "Maximum"): values["organ_suv_max"],
        ("Prostate", "SUVbw", "Mean"): values["organ_suv_mean"],
        ("Prostate", "Volume"): values["organ_ml"],
        ("Prostate", "PRIMARY score, surrogate from the PET"): values["primary_surrogate"],
        ("Lesions", "SUVbw", "Maximum"): values["suv_max"],
        ("Lesions", "SUVbw", "Mean"): values["suv_mean"],
        ("Lesions", "SUVbw", "Peak Value Within ROI"): values["suv_peak"],
        ("Lesions", "Volume"): values["lesion_ml"],
        ("Lesions", "Total lesion uptake"): values["total_lesion_uptake"],
    }
    found = numbers(sr)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-12), name
    for data in (seg, sr):
        assert "Research use only" in data.SeriesDescription and data.SeriesNumber > 9000
        assert data.PatientName == dcmread(next(Path("site/dicom/dev001/PT").iterdir())).PatientName
    assert (sr.PreliminaryFlag, sr.VerificationFlag) == ("PRELIMINARY", "UNVERIFIED")
    assert seg.ReferencedSeriesSequence and {s.SegmentAlgorithmType for s in seg.SegmentSequence} == {
        "SEMIAUTOMATIC"
    }
    assert all(path.stat().st_mode & 0o77 == 0 for path in out.iterdir())


@pytest.mark.parametrize(("name", "roi"), [("prostate", "Prostate"), ("lesions", "Lesions")])
def test_every_voxel_comes_back(plan, out, name, roi):
    sent(out)
    folder = Path(plan.patients_dir, PATIENT)
    mask_by_hand(next(out.glob("seg-*")), folder / "pet.nii.gz", roi, out / "back.nii.gz", None, None)
    back, before = (
        sitk.GetArrayFromImage(sitk.ReadImage(path))
        for path in (out / "back.nii.gz", folder / f"{name}.nii.gz")
    )
    assert before.any() and np.array_equal(back > 0, before > 0)


def test_same_bytes_whatever_the_order_of_the_files(plan, out):
    first = sent(out)
    for number, path in enumerate(
        sorted(Path("site/dicom/dev001/PT").iterdir(), key=lambda path: path.name[::-1])
    ):
        path.rename(path.with_name(f"X{number}"))
    assert sent(out) == first
    assert sent(out.with_name("other")) == first


def test_another_voxel_is_another_object(plan, out):
    sent(out)
    before = [data.SOPInstanceUID for data in read(out)]
    record = Path(plan.sidecar("segment", patient=PATIENT))
    mask = record.with_name("lesions.nii.gz")
    image = sitk.ReadImage(mask)
    z, y, x = np.argwhere(sitk.GetArrayFromImage(image))[0]
    image[int(x), int(y), int(z)] = 0
    sitk.WriteImage(image, mask)
    assert code(PATIENT, out, None, None) == "E_PRODUCT_BROKEN"
    told = json.loads(record.read_text())
    told["products"]["lesions.nii.gz"] = digest_file(mask)
    record.write_text(json.dumps(told))
    sent(out.with_name("other"))
    after = [data.SOPInstanceUID for data in read(out.with_name("other"))]
    assert not set(before) & set(after)


def test_no_lesion(plan, out, capsys):
    record = Path(plan.sidecar("segment", patient=PATIENT))
    mask = record.with_name("lesions.nii.gz")
    sitk.WriteImage(sitk.ReadImage(mask) * 0, mask)
    told = json.loads(record.read_text())
    told["products"]["lesions.nii.gz"] = digest_file(mask)
    record.write_text(json.dumps(told))
    sent(out)
    seg, sr = read(out)
    assert [segment.SegmentLabel for segment in seg.SegmentSequence] == ["Prostate"]
    assert {name[0] for name in numbers(sr)} == {"Prostate"}
    assert "No lesion" in capsys.readouterr().out


GONE = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime"),
    *("AccessionNumber", "SliceThickness", "ReferringPhysicianName"),
)
BENT = {
    "absent": dict.fromkeys(GONE),
    "letters": {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Jörg"},
    "one component": {"PatientName": "ZZMARKERALONE"},
    "japanese": {"SpecificCharacterSet": ["", "ISO 2022 IR 87"], "PatientName": "Yamada^Tarou=山田^太郎"},
}


def bend(changes):
    """Change every file of a PET (None: take an element out), register and make it again."""
    for path in Path(f"site/dicom/{PATIENT}/PT").iterdir():
        image = dcmread(path)
        for name, value in changes.items():
            if value is not None:
                setattr(image, name, value)
            elif name in image:
                delattr(image, name)
        image.save_as(path)
    imaged.remake(PATIENT)


@pytest.mark.parametrize("how", sorted(BENT))
def test_headers_as_hospitals_have_them(plan, out, how, capfd):
    bend(BENT[how])
    sent(out)
    told = capfd.readouterr()
    assert not re.search(f"{MARKER}|{ID_MARKER}|{UID_ROOT}|ller|Yamada", told.out + told.err)
    name = read(out)[0].PatientName
    assert str(name) == {"absent": "", "letters": "Müller^Jörg", "japanese": "Yamada^Tarou=山田^太郎"}.get(
        how, "ZZMARKERALONE"
    )
    assert len(numbers(read(out)[1])) == 9


def test_a_pet_without_a_frame_of_reference(plan, out):
    bend({"FrameOfReferenceUID": None})
    assert code(PATIENT, out, None, None) == "E_SEND_FRAME"


def test_places_that_are_refused(plan, out, tmp_path):
    for place in ("site/out", "results", "registry/x", "logs/x"):
        assert code(PATIENT, Path(place), None, None) == "E_SEND_PLACE"
    (tmp_path / "tree/.git").mkdir(parents=True)
    assert code(PATIENT, tmp_path / "tree/deep/out", None, None) == "E_SEND_PLACE"
    (tmp_path / "link").symlink_to("project/results")
    assert code(PATIENT, tmp_path / "link/out", None, None) == "E_SEND_PLACE"
    assert code(PATIENT, None, None, None) == "E_USAGE"
    assert code("nobody", out, None, None) == "E_SEND_PATIENT"


def test_only_results_that_are_up_to_date(plan, out):
    record = Path(plan.sidecar("measure", patient=PATIENT))
    whole = record.read_text()
    record.write_text(whole.replace('"pin": "', '"pin": "0'))
    assert code(PATIENT, out, None, None) == "E_SEND_NOT_READY"
    record.write_text(whole.replace('"status": "ok"', '"status": "quarantined"'))
    assert code(PATIENT, out, None, None) == "E_SEND_NOT_READY"
    record.write_text(whole)
    path = next(Path("site/dicom/dev001/PT").iterdir())
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert code(PATIENT, out, None, None) == "E_SOURCE_CHANGED"


def pet():
    return dcmread(next(Path("site/dicom/dev001/PT").iterdir()))


@pytest.mark.parametrize(
    "other",
    [
        {"patient_id": "ZZID99"},
        {"study_uid": "1.2.3"},
        {"pet_uid": "1.2.3"},
        {"issuer": "ELSEWHERE"},
        {"patient_id": ""},
    ],
)
def test_another_patient_s_key(plan, out, tmp_path, other):
    key = imaged.key_file(tmp_path / "key.tsv", PATIENT, pet(), **other)
    assert code(PATIENT, out, None, key) == "E_SEND_WRONG_PATIENT"
    assert code("pro001", out, None, key) == "E_SEND_KEY"
    assert not out.exists()


def test_to_a_pacs(plan, tmp_path, out, capsys):
    key = imaged.key_file(tmp_path / "key.tsv", PATIENT, pet())
    with serving(Pacs([])) as pacs:
        server = Server(pacs.base, pause=0)
        assert code(PATIENT, None, server, None) == "E_USAGE"
        assert send(imaged.CONFIG, PATIENT, None, server, key) == 0
        assert sorted(pacs.stored) == sorted(sent(out, key=key).values())
        pacs.takes = 1  # one of two, without a word about the other
        assert code(PATIENT, None, server, key) == "E_SEND_STORED"
        pacs.takes, pacs.answer = None, lambda path: (503, {}, b"")
        assert code(PATIENT, None, server, key) == "E_PACS_SILENT"
        pacs.answer = lambda path: (403, {}, b"")
        assert code(PATIENT, None, server, key) == "E_PACS_DENIED"
        number = len(pacs.asked)
        wrong = imaged.key_file(tmp_path / "wrong.tsv", PATIENT, pet(), pet_uid="1.2.3")
        assert code(PATIENT, None, server, wrong) == "E_SEND_WRONG_PATIENT" and len(pacs.asked) == number
    told = capsys.readouterr()
    assert not re.search(f"{MARKER}|{ID_MARKER}|{UID_ROOT}|127.0.0.1", told.out + told.err)


def test_the_score_of_a_frozen_study(plan, out):
    frozen = {"name": "v1", "date": "2026-02-01", "excluded": [], "waivers": {}}
    Path("registry/s/freeze.json").write_text(json.dumps(frozen))
    bundle, fused = (Path(plan.sidecar(stage, split="00")) for stage in ("bundle", "fuse"))
    for path in (bundle, fused):
        path.parent.mkdir(parents=True)
    (bundle.parent / "weights").write_text("w")
    checksums.write(bundle.parent, ["weights"])
    Sidecar("bundle", "p").write(bundle)
    table = fused.with_name("predictions.parquet")
    pd.DataFrame(
        {"patient": [PATIENT], "part": ["training"], "multimodal": [0.1], "multimodal_probability": [0.62]}
    ).to_parquet(table)
    Sidecar("fuse", "p", products={table.name: digest_file(table)}).write(fused)
    sent(out)
    sr = read(out)[1]
    (value,) = (
        value for name, value in numbers(sr).items() if name[1] == "Predicted probability of metastasis"
    )
    assert value == 0.62
    text = sr.to_json()
    assert (
        checksums.identity(bundle.parent) in text
        and "promet s v1" in text
        and "Training: the model was fitted" in text
    )


def test_nothing_of_a_patient_in_the_study(plan, out):
    """The objects name the patient, as they must; nothing that lies in the study does."""
    sent(out)
    assert MARKER.encode() in b"".join(sent(out).values())
    for folder in ("results", "registry"):
        for path in Path(folder).rglob("*"):
            assert path.is_dir() or MARKER.encode() not in path.read_bytes()
