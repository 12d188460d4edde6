"""One scan or one person under two names is seen by intake, however the files were written again."""

import gzip
import hashlib
import random
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless, generate_uid

from promet.commands.freeze import freeze
from promet.commands.intake import intake
from promet.core.errors import UsageError
from promet.study import freezing, ledger, registry, scans, table

SLICES, SIZE = 6, 16


def series(folder, seed, patient_id="X", syntax=ExplicitVRLittleEndian, keep=range(SLICES), icon=False):
    """A PET of noise. Another call gives other UIDs and file names."""
    draw = np.random.default_rng(seed)
    pixels = draw.integers(0, 30000, (SLICES, SIZE, SIZE)).astype("uint16")
    folder.mkdir(parents=True)
    for k in keep:
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.128"
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
        data.file_meta.TransferSyntaxUID = syntax
        data.PatientID, data.Modality, data.PatientName = patient_id, "PT", "Muster^Eva"
        data.Rows, data.Columns, data.BitsAllocated, data.BitsStored, data.HighBit = SIZE, SIZE, 16, 16, 15
        data.SamplesPerPixel, data.PixelRepresentation, data.PhotometricInterpretation = 1, 0, "MONOCHROME2"
        if icon:
            data.IconImageSequence = [Dataset()]
            data.IconImageSequence[0].add_new("PixelData", "OB", bytes(range(64)))
        data.add_new("PixelData", "OW", pixels[k].tobytes())
        data.save_as(folder / f"{generate_uid()}.dcm", enforce_file_format=True)


def same(folder_a, folder_b):
    found = [scans.Scan(str(folder), scans._slices(folder)) for folder in (folder_a, folder_b)]
    assert all(scan.slices for scan in found)
    return found[0].same(found[1])


AGAIN = {
    "new UIDs and names": {},
    "another PatientID": {"patient_id": "Y"},
    "implicit little endian": {"syntax": ImplicitVRLittleEndian},
    "with an icon": {"icon": True},
    "a slice less": {"keep": range(1, SLICES)},
    "half of them": {"keep": range(SLICES // 2)},
}


@pytest.mark.parametrize("how", AGAIN)
def test_one_scan_exported_again(tmp_path, how):
    series(tmp_path / "a", 1)
    series(tmp_path / "b", 1, **AGAIN[how])
    series(tmp_path / "c", 2, **AGAIN[how])
    assert same(tmp_path / "a", tmp_path / "b") and not same(tmp_path / "a", tmp_path / "c")


def test_all_slices_in_one_file(tmp_path):
    series(tmp_path / "a", 1)
    files = sorted((tmp_path / "a").iterdir())
    whole = pydicom.dcmread(files[0])
    whole.NumberOfFrames = len(files)
    whole["PixelData"].value = b"".join(pydicom.dcmread(file).PixelData for file in files)
    (tmp_path / "b").mkdir()
    whole.save_as(tmp_path / "b/1.dcm")
    assert same(tmp_path / "a", tmp_path / "b/1.dcm")


def test_a_compressed_copy_is_not_seen_here(tmp_path):
    """docs/own-data.md says so: gather sees it by the SUV."""
    series(tmp_path / "a", 1)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    for file in (tmp_path / "b").iterdir():
        data = pydicom.dcmread(file)
        data.compress(RLELossless, generate_instance_uid=False)
        data.save_as(file)
    assert not same(tmp_path / "a", tmp_path / "b")


def volume(path, seed, note=b"", slices=SLICES):
    header = bytearray(352)
    header[0:4] = (348).to_bytes(4, "little")
    for place, value in ((40, 3), (42, SIZE), (44, SIZE), (46, slices), (70, 16), (72, 32)):
        header[place : place + 2] = value.to_bytes(2, "little")
    header[108:112] = np.float32(352).tobytes()
    header[148 : 148 + len(note)] = note
    header[344:348] = b"n+1\0"
    pixels = np.random.default_rng(seed).normal(5, 1, (SLICES, SIZE, SIZE)).astype("float32")[:slices]
    data = bytes(header) + pixels.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def test_nifti_written_again(tmp_path):
    volume(tmp_path / "a.nii.gz", 1)
    volume(tmp_path / "b.nii", 1, b"another header", slices=SLICES - 1)
    volume(tmp_path / "c.nii.gz", 2)
    assert same(tmp_path / "a.nii.gz", tmp_path / "b.nii") and not same(
        tmp_path / "a.nii.gz", tmp_path / "c.nii.gz"
    )


def test_background_alone_makes_nobody_the_same(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "1").write_bytes(bytes(5000))
        (tmp_path / name / "2").write_bytes(name.encode())
    first, second = (scans.Scan(name, scans._slices(tmp_path / name)) for name in "ab")
    assert not first.same(second)


def test_broken_files_say_nothing(tmp_path):
    draw = random.Random(1)
    series(tmp_path / "a", 1)
    for k, file in enumerate(sorted((tmp_path / "a").iterdir())):
        data = file.read_bytes()
        file.write_bytes(data[: draw.randrange(len(data))] if k % 2 else gzip.compress(data)[:-20])
    scans._slices(tmp_path / "a")
    assert not scans._slices(tmp_path / "nowhere")


# In a study --------------------------------------------------------------------------------------------------


@pytest.fixture
def study(paper):
    for k, name in enumerate(list(paper.rows)):
        series(paper.folder / name / "scan", k, f"ID{k}")
        paper.put(name, pet=f"{name}/scan")
    paper.intake()
    return paper


def refused(study):
    before = {path: path.read_bytes() for path in Path("registry").rglob("*") if path.is_file()}
    with pytest.raises(UsageError) as error:
        intake(study.configfiles, False, False)
    assert {path: path.read_bytes() for path in Path("registry").rglob("*") if path.is_file()} == before
    return error.value


@pytest.mark.parametrize("role", ["development", "metachronous", ""])
@pytest.mark.parametrize("old", ["D0", "P0"])
def test_a_patient_exported_again_under_another_name(study, role, old):
    series(study.folder / "again", list(study.rows).index(old), "other", ImplicitVRLittleEndian)
    study.put("N0", pet="again", role=role, synchronous_metastasis="0")
    error = refused(study)
    assert error.code == "E_SAME_IMAGES" and f"{min('N0', old)}={max('N0', old)}" in str(error)


def test_the_scan_of_somebody_who_left_the_table(study):
    study.drop("D1")
    study.intake()
    series(study.folder / "again", 1, "other")
    study.put("N0", pet="again")
    assert refused(study).code == "E_RENAMED"
    study.put("N0", pet="D2/pet")  # another scan
    study.intake()


def test_one_of_two_rows_may_be_deleted(study):
    """What E_SAME_IMAGES asks for is not refused in turn."""
    series(study.folder / "again", 1, "other")
    study.put("N0", pet="again")
    refused(study)
    study.drop("D1")
    assert refused(study).code == "E_RENAMED"  # D1 is the one who is known
    study.put("D1", role="development", synchronous_metastasis="1", pet="D1/scan")
    study.drop("N0")
    study.intake()


def test_a_waiver_is_no_way_back(study):
    study.finish()
    freeze(study.configfiles, "v1", "")
    gone = next(e.patient for e in ledger.read("registry/s/ledger.tsv") if e.part == "training")
    seed, row = list(study.rows).index(gone), study.rows[gone]
    study.drop(gone)
    freezing.waive("registry", "s", gone, "why", table.read("cohort.tsv"))
    study.intake()
    series(study.folder / "again", seed, "other")
    study.put("N0", pet="again", role="metachronous", progression="1", months="5")
    error = refused(study)
    assert error.code == "E_WITHDRAWN_RETURNS" and gone in str(error)
    study.drop("N0")
    study.rows[gone] = row
    study.save()


def test_one_patient_id_is_a_warning_and_never_kept_in_clear(study, capsys):
    series(study.folder / "N0", 77, " id3 ")
    series(study.folder / "N1", 78, "")
    study.put("N0", pet="N0")
    study.put("N1", pet="N1")
    intake(study.configfiles, False, False)
    said = capsys.readouterr().out
    assert said.count("one DICOM PatientID") == 1 and "warning: D3, N0 have one DICOM PatientID" in said
    intake(study.configfiles, False, False)
    assert "PatientID" not in capsys.readouterr().out  # told once
    kept = Path("registry/scans.tsv").read_text()
    for number in ("ID3", "id3"):
        assert number not in kept and hashlib.sha256(number.encode()).hexdigest()[:12] not in kept
    assert not list(Path().rglob("patient-id.key"))


def test_a_collective_number(study, capsys):
    for k in range(6):
        series(study.folder / f"N{k}", 70 + k, "ANON")
        study.put(f"N{k}", pet=f"N{k}")
    intake(study.configfiles, False, False)
    assert (
        "warning: 6 patients have one DICOM PatientID, N0, N1, N2 and 3 more: a collective number"
        in capsys.readouterr().out
    )


def test_another_key_hashes_again_and_no_key_is_said(study, monkeypatch, tmp_path_factory, capsys):
    first = scans.read("registry")
    monkeypatch.setenv("PROMET_ID_KEY", str(tmp_path_factory.mktemp("other") / "key"))
    series(study.folder / "N0", 77, "ID3")
    study.put("N0", pet="N0")
    intake(study.configfiles, False, False)
    assert "D3, N0 have one DICOM PatientID" in capsys.readouterr().out
    second = scans.read("registry")
    assert second["D0"].slices == first["D0"].slices and second["D0"].person != first["D0"].person
    monkeypatch.setenv("PROMET_ID_KEY", "/proc/nowhere/key")
    series(study.folder / "N1", 78, "ID4")
    study.put("N1", pet="N1")
    intake(study.configfiles, False, False)
    assert (
        "DICOM PatientIDs are not compared: no key can be kept in /proc/nowhere/key"
        in capsys.readouterr().out
    )


def test_only_what_changed_is_read_again(study, monkeypatch):
    read = []
    monkeypatch.setattr(scans, "_slices", lambda source: read.append(source.parent.name) or frozenset())
    study.intake()
    assert read == []
    series(study.folder / "D0/scan2", 99)
    study.put("D0", pet="D0/scan2")
    intake(study.configfiles, False, False, shorter=["D0"])  # its UIDs have fewer digits
    assert read == ["D0"]
    Path("registry/scans.tsv").unlink()  # a registry of before
    study.intake()
    assert sorted(read) == sorted(["D0", *study.rows])
    assert set(registry.read("registry/images.tsv")) == set(study.rows)
