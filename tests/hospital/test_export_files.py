"""Files of an export one by one: cut anywhere, of odd headers and letters, and what the memory of them holds."""

import json
import shutil

import pytest
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from tests.hospital.plants import PLAIN, RTSTRUCT, SEG, Maker, uid
from tests.hospital.test_from_dicom import Desk

from promet.core.errors import UsageError
from promet.hospital.export import files
from promet.hospital.export.files import Wanted, seen_of
from promet.imaging.dicom.files import quiet
from promet.phantom.series import MARKER

WANTED = Wanted("(?i)prostate", "(?i)lesion", b"k" * 32)


@pytest.fixture(scope="module")
def maker(tmp_path_factory):
    return Maker(tmp_path_factory.mktemp("phantoms"))


@pytest.fixture
def desk(tmp_path, maker):
    maker._next.clear()
    return Desk(tmp_path, tmp_path / "export")


@pytest.mark.parametrize(
    ("form", "kind"), [(PLAIN, "PT"), (PLAIN, "CT"), (RTSTRUCT, "RTSTRUCT"), (SEG, "SEG")]
)
def test_a_file_that_is_cut_anywhere(maker, tmp_path, form, kind):
    quiet()
    maker._next.clear()
    path = tmp_path / "x"
    dcmwrite(path, maker.bag(form, "H1").files[kind][0], enforce_file_format=True)
    whole = path.read_bytes()
    assert seen_of(path, WANTED)["whole"] == 1
    told = set()
    for end in [*range(0, min(len(whole), 2600), 41), *range(len(whole) - 40, len(whole))]:
        path.write_bytes(whole[:end])
        found = seen_of(path, WANTED)
        told.add("cut" if "Modality" in found else "broken" if "broken" in found else "other")
        # An RTSTRUCT that ends with one element less is a whole one of fewer elements.
        assert found.get("whole") != 1 or (kind == "RTSTRUCT" and "ROIContourSequence" in dcmread(path))
        assert MARKER not in json.dumps(found) and "H1" not in json.dumps(found)
    assert told == {"cut", "broken"}


@pytest.mark.parametrize("keep", [300, 900, 1500, 2300])
def test_a_copy_that_is_cut_is_asked_about_or_left_out(desk, maker, keep):
    bag = maker.bag(PLAIN, "H1")
    maker.throw(bag, desk.export)
    other = bag.files["PT"][3]
    first = desk.export / "0"  # sorts before all
    dcmwrite(first, other, enforce_file_format=True)
    first.write_bytes(first.read_bytes()[:keep])
    desk.run()
    assert [question["code"] for question in desk.questions] == ["INSTANCE_TWICE"] and not desk.rows
    (question,) = desk.questions
    desk.run("--decide", desk.decide(**{question["id"]: 1}), code=0)
    (row,) = desk.rows.values()
    for path in (desk.out.parent / row["pet"]).iterdir():
        assert path.resolve() != first and len(dcmread(path).PixelData) == 24 * 24 * 2


def test_two_whole_files_of_one_identity_and_one_size(desk, maker):
    bag = maker.bag(PLAIN, "H1")
    maker.throw(bag, desk.export)
    other = bag.files["PT"][3]
    other.SeriesDescription = f"{MARKER} XX"
    dcmwrite(desk.export / "0", other, enforce_file_format=True)
    desk.run(code=2)
    (question,) = desk.questions
    assert question["code"] == "INSTANCE_TWICE" and question["choices"].count("whole file") == 2
    named = {hint["choice"]: hint["file"] for hint in desk.hints}
    desk.run("--decide", desk.decide(**{question["id"]: 2}), code=0)
    (row,) = desk.rows.values()
    assert named["2"] in {str(path.resolve()) for path in (desk.out.parent / row["pet"]).iterdir()}


def test_one_file_for_all_slices(desk, maker):
    """An enhanced PET: its slices are frames."""
    bag = maker.bag(PLAIN, "H1")
    first = bag.files["PT"][0]
    first.SOPClassUID = first.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.130"
    first.NumberOfFrames, first.PixelData = 14, first.PixelData * 14
    group = Dataset()
    group.PlanePositionSequence = Sequence([Dataset()])
    first.PerFrameFunctionalGroupsSequence = Sequence([group] * 14)
    bag.files["PT"] = [first]
    maker.throw(bag, desk.export)
    desk.run(code=0)
    (row,) = desk.rows.values()
    assert len(list((desk.out.parent / row["pet"]).iterdir())) == 1 and row["ct"]


@pytest.mark.parametrize(
    ("letters", "name"),
    [
        ("ISO_IR 100", "M\xfcller^J\xf6rg"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"),
        ("ISO_IR 192", "Мария^Иванова"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
        ("NO SUCH SET", "Some^Body"),
        ("", "\xfc\xe9^x"),
    ],
)
def test_letters_of_every_kind(desk, maker, letters, name):
    bag = maker.bag(RTSTRUCT, "H1").set(SpecificCharacterSet=letters)
    for data in bag.every():
        try:
            data.PatientName = name
            data.PatientName.encode()
        except Exception:
            data.PatientName = "x"
    maker.throw(bag, desk.export)
    desk.run(code=0)
    (row,) = desk.rows.values()
    assert row["prostate"] and "ller" not in desk.said


def test_pet_without_a_frame_of_reference(desk, maker):
    """Nothing but a reference ties a mask to it, and nothing a CT."""
    bag = maker.bag(RTSTRUCT, "H1")
    for data in bag.files["PT"]:
        del data.FrameOfReferenceUID
    maker.throw(bag, desk.export)
    desk.run(code=2)
    (row,) = desk.rows.values()
    assert not row["ct"] and not row["prostate"]
    assert {question["code"] for question in desk.questions} == {"MASK_OTHER_FRAME"}


def test_a_series_that_an_anonymiser_took_apart(desk, maker):
    bag = maker.bag(PLAIN, "H1")
    for place, data in enumerate(bag.files["PT"]):
        data.SeriesInstanceUID = uid("split", place)
    maker.throw(bag, desk.export)
    desk.run(code=2)
    assert [question["code"] for question in desk.questions] == ["PET_SPLIT"] and not desk.rows


def test_a_second_look_reads_what_is_new(desk, maker, monkeypatch):
    maker.throw(maker.bag(PLAIN, "H1"), desk.export)
    desk.run(code=0)
    looked = []
    monkeypatch.setattr(files, "seen_of", lambda path, wanted: looked.append(path) or seen_of(path, wanted))
    desk.run(code=0)
    assert looked == []
    maker.throw(maker.bag(PLAIN, "H2"), desk.export / "new")
    touched = sorted(path for path in desk.export.iterdir() if path.is_file())[0]
    shutil.copyfile(touched, desk.folder / "x")
    touched.unlink()
    shutil.copyfile(desk.folder / "x", touched)
    desk.run(code=0)
    assert len(looked) == 33 and len(desk.rows) == 2


def test_a_key_in_the_project_is_refused_before_anything_is_read(desk, maker, monkeypatch):
    desk.export.mkdir()
    monkeypatch.setattr(files, "read", None)
    for place in (desk.out.parent / "key.tsv", desk.out.parent / "registry/key.tsv"):
        desk.key = place
        with pytest.raises(UsageError) as refused:
            desk.run()
        assert refused.value.code == "E_KEY_PLACE" and not place.exists()


def test_series_that_are_still_arriving(desk, maker):
    from promet.hospital.arrived import COMPLETE, MARK

    bag = maker.bag(PLAIN, "H1")
    folder = desk.export / "series"
    maker.throw(bag.files["PT"], folder)
    for path in list(folder.iterdir()):
        path.rename(path.with_suffix(".dcm"))
    (folder / MARK).touch()
    desk.run(code=0)
    assert not desk.rows and "still arriving" in desk.said
    (folder / COMPLETE).write_text("14")
    desk.run(code=0)
    assert len(desk.rows) == 1
