"""An export of many patients: exactly the rows and the questions that were planted in it, and nobody's name anywhere."""

import csv
import io
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.hospital import plants
from tests.hospital.plants import ASKED, ROWS, WITH_ROW, Maker

from promet.hospital import keys


def table(path):
    with open(path, encoding="utf-8") as handle:
        return list(csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE))


class Desk:
    """A project, a key outside of it, and the command."""

    def __init__(self, folder, export):
        self.folder, self.export, self.key = folder, export, folder / "safe/key.tsv"
        self.out = folder / "project/cohort.tsv"
        self.out.parent.mkdir(parents=True)
        self.said = ""

    def run(self, *words, export=None, code=None):
        from promet.app import app

        command = [
            "cohort",
            "from-dicom",
            str(export or self.export),
            "--key",
            str(self.key),
            "--out",
            str(self.out),
        ]
        stdout, sys.stdout = sys.stdout, io.StringIO()
        here = os.getcwd()
        os.chdir(self.out.parent)
        try:
            found = app([*command, *map(str, words)], standalone_mode=False)
        finally:
            os.chdir(here)
            self.said, sys.stdout = self.said + sys.stdout.getvalue(), stdout
        assert code is None or found == code
        return found

    @property
    def rows(self):
        return {row["patient"]: row for row in table(self.out)}

    @property
    def questions(self):
        return table(self.out.with_name("ambiguities.tsv"))

    @property
    def hints(self):
        return table(Path(f"{self.key}.questions.tsv"))

    def numbers(self):
        """Pseudonym -> number of the hospital."""
        return {entry.patient: entry.patient_id for entry in keys.read(self.key) if entry.patient}

    def decide(self, **choices):
        path = self.folder / "decisions.tsv"
        lines = ["id\tchoice\treason", *(f"{name}\t{number}\tseen" for name, number in choices.items())]
        path.write_text("\n".join(lines) + "\n")
        return path

    def files(self):
        """Everything of the project, links as what they say, by name."""
        found = {}
        for path in sorted(self.out.parent.rglob("*")):
            if path.is_symlink():
                found[str(path)] = os.readlink(path)
            elif path.is_file():
                found[str(path)] = path.read_bytes()
        return found


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """40 phantoms are made, which takes most of the time of these tests."""
    folder = tmp_path_factory.mktemp("export") / "flat"
    plants.plant(Maker(tmp_path_factory.mktemp("phantoms")), folder)
    return folder


@pytest.fixture(scope="module")
def done(export, tmp_path_factory):
    desk = Desk(tmp_path_factory.mktemp("desk"), export)
    desk.run(code=2)
    return desk


@pytest.fixture
def desk(done, tmp_path):
    """The project after the first run, to be changed."""
    shutil.copytree(done.folder, tmp_path / "d", symlinks=True)
    made = Desk.__new__(Desk)
    made.folder, made.export, made.key, made.said = (
        tmp_path / "d",
        done.export,
        tmp_path / "d/safe/key.tsv",
        "",
    )
    made.out = made.folder / "project/cohort.tsv"
    for link in [p for p in made.out.parent.rglob("*") if p.is_symlink()]:
        target = (done.folder / link.relative_to(made.folder)).resolve()
        link.unlink()
        link.symlink_to(os.path.relpath(target, link.parent))
    return made


def test_exactly_what_was_planted(done):
    numbers = done.numbers()
    with_row = [number for number, code in ASKED.items() if code in WITH_ROW]
    assert sorted(numbers[name] for name in done.rows) == sorted([*ROWS, *with_row])
    asked = {(hint["patient_id"], hint["code"]) for hint in done.hints}
    assert {code for _, code in asked} == set(ASKED.values())
    for number, code in ASKED.items():
        assert (number, code) in asked
    assert sorted(question["code"] for question in done.questions) == sorted(ASKED.values())


def test_what_is_in_a_row(done):
    rows = {done.numbers()[name]: row for name, row in done.rows.items()}
    for number, row in rows.items():
        name = row["patient"]
        assert row["pet"] == f"images/{name}/PT"
        assert (row["ct"] == f"images/{name}/CT") == (number != "H7021")
    masks = {number: row["prostate"].rpartition("/")[0].rpartition("/")[2] for number, row in rows.items()}
    assert masks == {
        **{"H7001": "RTSTRUCT", "H7002": "SEG", "H7003": "", "H7004": "SEG", "H7005": "RTSTRUCT"},
        **{"H7006": "RTSTRUCT", "H7017": "", "H7018": "", "H7019": "", "H7021": "", "H7022": "SEG"},
    }
    assert (
        len(list((done.out.parent / rows["H7003"]["pet"]).iterdir())) == 14
    )  # neither the copies nor the uncorrected
    for path in done.out.parent.rglob("*.dcm"):
        assert path.is_symlink() and not os.path.isabs(os.readlink(path)) and path.exists()


def test_nobody_is_named(done):
    from promet.phantom.series import ID_MARKER, MARKER, UID_ROOT

    planted = [MARKER, ID_MARKER, UID_ROOT, *ROWS, *ASKED, "NONUMBER", "20031224", "19400101", "1931", "2003"]
    planted = [text for text in planted if text]
    said = "".join(
        f"{name}\n{text if isinstance(text, str) else text.decode('latin-1')}"
        for name, text in done.files().items()
    )
    cache = Path(f"{done.key}.seen.json").read_text()
    for text in planted:
        assert text not in said.replace(str(done.folder), "") and text not in done.said
        assert text.isdigit() or text not in cache
    assert MARKER in Path(f"{done.key}.questions.tsv").read_text() and "H7001" in done.key.read_text()
    for path in done.key.parent.iterdir():
        assert path.stat().st_mode & 0o077 == 0


def test_a_second_run_changes_no_byte(desk):
    before, key = desk.files(), {path: path.read_bytes() for path in desk.key.parent.iterdir()}
    desk.run(code=2)
    assert desk.files() == before
    assert {path: path.read_bytes() for path in desk.key.parent.iterdir()} == key


def test_other_names_and_another_order_of_the_files(desk, tmp_path):
    """With the same pseudonyms the same table, questions and images."""
    other = tmp_path / "other"
    dice = random.Random(3)
    for path in sorted(path for path in desk.export.rglob("*") if path.is_file()):
        place = (
            other
            / dice.choice(["", "x", "y/z"])
            / f"{dice.getrandbits(40):x}{dice.choice(['', '.dcm', '.IMA'])}"
        )
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    first = desk.files()
    content = {str(p): p.read_bytes() for p in sorted(desk.out.parent.rglob("*.dcm"))}
    named = [line for line in desk.key.read_text().splitlines(keepends=True) if "\trow\t" not in line]
    shutil.rmtree(desk.out.parent)
    desk.out.parent.mkdir()
    desk.key.write_text("".join(named))
    desk.run(export=other, code=2)
    for name in ("cohort.tsv", "ambiguities.tsv"):
        path = str(desk.out.with_name(name))
        assert desk.files()[path] == first[path]
    assert {str(p): p.read_bytes() for p in sorted(desk.out.parent.rglob("*.dcm"))} == content


def test_check_finds_nothing_wrong_and_intake_takes_all(desk):
    (desk.out.parent / "c.yaml").write_text("cohort: cohort.tsv\n")

    def promet(*words):
        command = [sys.executable, "-m", "promet.cli", *words, "-c", "c.yaml"]
        return subprocess.run(command, cwd=desk.out.parent, capture_output=True, text=True, check=False)

    checked = promet("check", "--images")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    taken = promet("intake")
    assert taken.returncode == 0 and f"{len(desk.rows)} new" in taken.stdout, taken.stdout + taken.stderr


def choice_of(question, words):
    """Number of the choice that says so."""
    for part in question["choices"].split(" | "):
        if words in part:
            return part.partition(":")[0]
    raise AssertionError(question["choices"])


DECIDED = {  # code -> words of the choice, and how many rows it makes
    "ID_COLLECTIVE": ("2 patients", 2),
    "ID_MISSING": ("a patient of their own", 1),
    "ID_TWO_PERSONS": ("2 patients", 2),
    "ID_TWO_NUMBERS": ("2 patients", 2),
    "ID_STUDY_SHARED": ("one patient", 1),
    "INSTANCE_TWICE": ("whole file", 1),
    "PET_SEVERAL": ("14 images", 1),
    "STUDY_SEVERAL": ("day 0", 1),
    "PET_INCOMPLETE": ("take its 12 of 14", 1),
    "MASK_OTHER_FRAME": ("no mask", 0),
    "MASK_DANGLING": ("no mask", 0),
    "MASK_SEVERAL": ("RTSTRUCT of", 0),
    "CT_SEVERAL": ("images of", 0),
    "DATE_MISSING": ("there is none", 0),
}


@pytest.mark.parametrize("code", sorted(DECIDED))
def test_a_decision_settles_its_question_and_nothing_else(desk, code):
    (question,) = [question for question in desk.questions if question["code"] == code]
    words, more = DECIDED[code]
    before, rows = desk.questions, desk.rows
    desk.run("--decide", desk.decide(**{question["id"]: choice_of(question, words)}), code=2)
    assert desk.questions == [other for other in before if other["id"] != question["id"]]
    now = desk.rows
    assert len(now) == len(rows) + more
    filled = {"MASK_SEVERAL": "prostate", "CT_SEVERAL": "ct"}.get(code)
    for name, row in rows.items():
        if name == question["patient"] and filled:
            assert not row[filled] and (desk.out.parent / now[name][filled]).exists()
        else:
            assert now[name] == row
    before = desk.files()
    desk.run(code=2)  # without the decisions: it is kept
    assert desk.files() == before


def test_all_decided(desk):
    choices = {q["id"]: choice_of(q, DECIDED[q["code"]][0]) for q in desk.questions}
    desk.run("--decide", desk.decide(**choices), code=0)
    assert desk.questions == [] and len(desk.rows) == len(ROWS) + len(WITH_ROW) + sum(
        n for _, n in DECIDED.values()
    )
    for row in desk.rows.values():
        images = [path.resolve().read_bytes() for path in (desk.out.parent / row["pet"]).iterdir()]
        assert len(images) == (12 if desk.numbers()[row["patient"]] == "H7016" else 14)
    before = desk.files()
    desk.run(code=0)
    assert desk.files() == before
