"""The next export: rows stay, what is decided is not asked again, and a further candidate asks with the old answer."""

import random
import shutil
from dataclasses import dataclass

import pytest
from tests.hospital import plants
from tests.hospital.plants import PLAIN, RTSTRUCT, Maker
from tests.hospital.test_from_dicom import Desk, choice_of

from promet.hospital import keys
from promet.hospital.export.choice import Chooser
from promet.hospital.export.files import Seen
from promet.hospital.export.people import persons
from promet.hospital.export.questions import Desk as Asking


@pytest.fixture(scope="module")
def maker(tmp_path_factory):
    return Maker(tmp_path_factory.mktemp("phantoms"))


@pytest.fixture
def desk(tmp_path, maker):
    maker._next.clear()
    return Desk(tmp_path, tmp_path / "export")


def images(desk, row):
    return {path.resolve().read_bytes() for path in (desk.out.parent / row["pet"]).iterdir()}


def test_a_further_candidate_asks_again_with_the_old_answer(desk, maker):
    one = maker.bag(PLAIN, "H1")
    second, third = one.again("PT", 2), one.again("PT", 3)
    maker.throw(one, desk.export)
    maker.throw(second, desk.export)
    desk.run(code=2)
    (question,) = desk.questions
    assert question["code"] == "PET_SEVERAL" and desk.rows == {}
    desk.run("--decide", desk.decide(**{question["id"]: 1}), code=0)
    (row,) = desk.rows.values()
    before, taken = desk.files(), images(desk, row)
    desk.run(code=0)
    assert desk.files() == before

    maker.throw(third, desk.export)
    maker.throw(maker.bag(PLAIN, "H2"), desk.export)
    desk.run("--decide", desk.folder / "decisions.tsv", code=2)  # the old decisions do no harm
    (again,) = desk.questions
    assert (
        again["code"] == "PET_SEVERAL"
        and again["patient"] == row["patient"]
        and again["id"] != question["id"]
    )
    assert "so far: " in again["question"] and len(again["choices"].split(" | ")) == 3
    assert desk.rows[row["patient"]] == row and images(desk, row) == taken and len(desk.rows) == 2

    so_far = again["question"].partition("so far: ")[2].rstrip(")")
    desk.run("--decide", desk.decide(**{again["id"]: so_far}), code=0)
    assert desk.rows[row["patient"]] == row and images(desk, row) == taken
    other = next(number for number in "123" if number != so_far)
    desk.run("--decide", desk.decide(**{again["id"]: other}), code=0)
    assert desk.rows[row["patient"]] == row and images(desk, row) != taken  # other images, by decision alone
    before = desk.files()
    desk.run(code=0)
    assert desk.files() == before


def test_a_corrected_series_that_comes_later(desk, maker):
    """A rule would choose otherwise now: it is asked, and the row stays."""
    one = maker.bag(PLAIN, "H1")
    late = one.again("PT", "late")
    for data in one.files["PT"]:
        data.CorrectedImage = ["NORM"]
    maker.throw(one, desk.export)
    desk.run(code=0)
    (row,) = desk.rows.values()
    taken = images(desk, row)
    maker.throw(late, desk.export)
    desk.run(code=2)
    (question,) = desk.questions
    assert question["code"] == "CHANGED_CHOICE" and images(desk, row) == taken
    desk.run("--decide", desk.decide(**{question["id"]: choice_of(question, "as it is")}), code=0)
    assert images(desk, row) == taken
    desk.run(code=0)


def test_a_second_study_in_an_export_of_its_own(desk, maker, tmp_path):
    one, two = maker.bag(PLAIN, "H1"), maker.bag(PLAIN, "H1")
    two.set(PatientBirthDate=one.files["PT"][0].PatientBirthDate, StudyDate="20091224")
    maker.throw(one, desk.export)
    desk.run(code=0)
    before, (row,) = desk.files(), desk.rows.values()
    maker.throw(two, tmp_path / "second")
    desk.run(export=tmp_path / "second", code=2)
    (question,) = desk.questions
    assert question["code"] == "STUDY_SEVERAL" and "(so far: 1)" in question["question"]
    assert {**before, str(desk.out.with_name("ambiguities.tsv")): ""} == {
        **desk.files(),
        str(desk.out.with_name("ambiguities.tsv")): "",
    }
    desk.run("--decide", desk.decide(**{question["id"]: 1}), export=tmp_path / "second", code=0)
    shutil.copytree(tmp_path / "second", desk.export / "second")
    desk.run(code=0)  # both together: it is the same question
    assert desk.rows[row["patient"]] == row


def test_a_mask_that_comes_later_fills_the_cell_by_decision(desk, maker):
    one = maker.bag(RTSTRUCT, "H1")
    mask = one.files.pop("RTSTRUCT")
    maker.throw(one, desk.export)
    desk.run(code=0)
    (row,) = desk.rows.values()
    maker.throw(mask, desk.export)
    desk.run(code=2)
    (question,) = desk.questions
    assert question["code"] == "CHANGED_CHOICE" and desk.rows[row["patient"]] == row
    desk.run("--decide", desk.decide(**{question["id"]: 2}), code=0)
    new = desk.rows[row["patient"]]
    assert (desk.out.parent / new["prostate"]).exists() and {**new, "prostate": "", "lesions": ""} == row


def test_a_row_that_was_deleted_does_not_come_back(desk, maker):
    for number in ("H1", "H2"):
        maker.throw(maker.bag(PLAIN, number), desk.export)
    desk.run(code=0)
    lines = desk.out.read_text().splitlines(keepends=True)
    desk.out.write_text("".join(lines[:-1]))
    desk.run(code=2)
    assert [question["code"] for question in desk.questions] == ["ROW_GONE"] and len(desk.rows) == 1
    desk.run("--decide", desk.decide(**{desk.questions[0]["id"]: 1}), code=0)
    assert len(desk.rows) == 1


def test_a_kill_between_key_and_table(desk, maker):
    """The pseudonym is in the key file before anything is written, and a run that was killed goes on."""
    maker.throw(maker.bag(PLAIN, "H1"), desk.export)
    desk.run(code=0)
    table, named = (
        desk.out.read_bytes(),
        [line for line in desk.key.read_text().splitlines(keepends=True) if "\trow\t" not in line],
    )
    desk.key.write_text("".join(named))
    desk.run(code=0)  # the row was written, its line in the key not
    assert desk.out.read_bytes() == table and [e.state for e in keys.read(desk.key)] == ["named", "row"]
    desk.key.write_text("".join(named))
    desk.out.unlink()
    desk.run(code=0)
    assert desk.out.read_bytes() == table


def test_one_number_of_two_hospitals_is_two_patients(desk, maker):
    for issuer in ("MAIN", "NORTH"):
        bag = maker.bag(RTSTRUCT, "H1", f"ZZMARKER^{issuer}").set("PT CT", IssuerOfPatientID=issuer)
        maker.throw(bag, desk.export)  # the program that drew the mask leaves the issuer out
    desk.run(code=0)
    assert len(desk.rows) == 2 and all(row["prostate"] for row in desk.rows.values())


def test_first_and_nearest_study(desk, maker, tmp_path):
    first, second = maker.bag(PLAIN, "H1"), maker.bag(PLAIN, "H1")
    first.set(StudyDate="20050101", PatientBirthDate="19400101")
    second.set(StudyDate="20060101", PatientBirthDate="19400101")
    maker.throw(first, desk.export)
    maker.throw(second, desk.export)
    desk.run(code=2)
    dates = tmp_path / "safe" / "dates.csv"
    dates.write_text("patient_id,biopsy\nH1,2005-12-24\n")
    desk.run("--nearest", f"{dates}:biopsy", "--within", 5, code=2)
    desk.run("--nearest", f"{dates}:biopsy", "--within", 30, code=0)
    (row,) = desk.rows.values()
    from pydicom import dcmread

    assert dcmread(next((desk.out.parent / row["pet"]).iterdir())).StudyDate == "20060101"
    shutil.rmtree(desk.out.parent)
    desk.out.parent.mkdir()
    desk.run("--study", "first", code=0)
    (row,) = desk.rows.values()
    assert dcmread(next((desk.out.parent / row["pet"]).iterdir())).StudyDate == "20050101"


def test_copies_instead_of_links(desk, maker):
    maker.throw(maker.bag(PLAIN, "H1"), desk.export)
    desk.run("--copy", code=0)
    assert not [path for path in desk.out.parent.rglob("*") if path.is_symlink()]
    before = desk.files()
    desk.run("--copy", code=0)
    assert desk.files() == before


def test_decisions_that_are_wrong(desk, maker):
    from promet.core.errors import UsageError

    one = maker.bag(PLAIN, "H1")
    maker.throw(one, desk.export)
    maker.throw(one.again("PT", 2), desk.export)
    desk.run(code=2)
    (question,) = desk.questions
    for text, code in (
        (f"id\tchoice\treason\n{question['id']}\t7\t\n", "E_DECISION_CHOICE"),
        (f"id\tchoice\treason\n{question['id']}\tfirst\t\n", "E_DECISION_CHOICE"),
        (f"id\tchoice\n{question['id']}\t1\n{question['id']}\t2\n", "E_DECISION_CHOICE"),
        ("question\tchoice\nx\t1\n", "E_DECISION_TABLE"),
    ):
        (desk.folder / "wrong.tsv").write_text(text)
        with pytest.raises(UsageError) as refused:
            desk.run("--decide", desk.folder / "wrong.tsv")
        assert refused.value.code == code
    assert desk.rows == {}


@dataclass
class NoBook:
    """Nothing was ever decided."""

    entries = ()


FRAMES = ("f1", "f2", "f3")


def random_files(dice, number, name, birth):
    """Series of any kind that share studies, frames, references and names at random."""
    files = []
    for k in range(dice.randint(2, 6)):
        kind = dice.choice(["PT", "PT", "CT", "RTSTRUCT"])
        shared = {
            "StudyInstanceUID": dice.choice([*["s1", "s2"], *12 * [f"s{number}"]]),
            "FrameOfReferenceUID": dice.choice(FRAMES),
        }
        person = {"PatientID": number, "PatientName": name, "PatientBirthDate": birth}
        for place in range(1 if kind == "RTSTRUCT" else 4):
            values = {
                "Modality": kind,
                "SOPInstanceUID": f"i{number}{k}{place}",
                "SeriesInstanceUID": f"x{number}{k}",
            }
            values |= {
                **shared,
                **person,
                "whole": 1,
                "Rows": 4,
                "Columns": 4,
                "StudyDate": "d",
                "CorrectedImage": ["ATTN"],
            }
            values |= {"SOPClassUID": "1", "ImageType": ["ORIGINAL"]} if kind != "RTSTRUCT" else {}
            if kind == "RTSTRUCT":
                values |= {"prostate": 1, "lesions": dice.randint(0, 1), "frames": [dice.choice(FRAMES)]}
                values |= {
                    "series_of": [dice.choice([f"x{dice.choice(['n1', 'n2', 'n3'])}{j}" for j in range(3)])]
                }
            files.append(Told(values))
    return files


class Told(Seen):
    """A file of which nothing has to be read again."""

    def __init__(self, values):
        super().__init__(plants.Path("x"), 1, values)

    def true(self, keyword):
        return str(self.values.get(keyword, ""))

    def bytes(self):
        return self.values["SOPInstanceUID"]


def test_no_pair_ever_crosses_two_patients():
    """Over random merges of exports, whatever they share."""
    pairs = asked = 0
    for seed in range(300):
        dice = random.Random(seed)
        files = [
            file
            for number in ("n1", "n2", "n3")
            for file in random_files(dice, number, dice.choice("abcde"), dice.choice("123456"))
        ]
        dice.shuffle(files)
        desk = Asking(NoBook(), {})
        for person in persons(files, desk):
            if person.held:
                continue
            chosen = Chooser(person, "p", desk, {}, lambda _, left: left).choose()
            parts = [*chosen.pet, *chosen.ct, *filter(None, (chosen.prostate, chosen.lesions))]
            assert len({seen["PatientID"].value for seen in parts}) <= 1
            if chosen.pet:
                frames = {seen["FrameOfReferenceUID"].value for seen in (*chosen.pet, *chosen.ct)}
                assert len(frames) == 1
                pairs += bool(chosen.ct or chosen.prostate)
        asked += len(desk.open)
    assert pairs > 20 and asked > 100  # the exports hold both
