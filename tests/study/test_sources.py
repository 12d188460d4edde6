"""Paths of the table: every blank counts, umlauts of any system, links; and what systems leave in a folder changes nothing."""

import os
import unicodedata

import pytest

from promet.commands.intake import intake
from promet.study import registry
from promet.study.blanks import ABSENT, WRONG, garbled
from promet.study.faults import check
from promet.study.sources import lacking, list_files, source
from promet.study.table import read


def put(path, text="x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    "name", ["PT  AC", "PT AC ", " PT", "PT\u00a0AC", "PT\u2009AC", "PT,AC;1", "Prüfer", "x" * 250]
)
def test_a_folder_of_any_name_can_be_named(paper, name):
    put(paper.folder / name / "1")
    put(
        paper.folder / name.replace("\u00a0", " ").replace("  ", " ").strip().replace("x", "y") / "1",
        "another",
    )
    paper.put("D0", pet=name)
    assert not [fault for fault in check("cohort.tsv") if fault.column == "pet"]
    paper.intake()
    rows = {row["patient"]: row for row in read("cohort.tsv")}
    assert source(paper.folder, rows["D0"]["pet"]) == paper.folder / name
    assert registry.read("registry/images.tsv")["D0"]["pet"]["path"].endswith(name)


def test_blanks_at_the_ends_of_a_cell_are_noise_where_no_folder_has_them(paper):
    paper.put("D0", pet=" D0/pet ", ct="  ")
    assert source(paper.folder, " D0/pet ") == paper.folder / "D0/pet"
    assert not check("cohort.tsv") and read("cohort.tsv")[0]["ct"] == ""


@pytest.mark.parametrize("forms", [("NFD", "NFC"), ("NFC", "NFD")])
def test_umlauts_of_another_system(paper, forms):
    folder, cell = (unicodedata.normalize(form, "Träger/Prüfung ü") for form in forms)
    put(paper.folder / folder / "1")
    paper.put("D0", pet=cell)
    assert not check("cohort.tsv")
    assert source(paper.folder, cell) == paper.folder / folder
    put(paper.folder / cell / "2")  # both: the one as written
    assert source(paper.folder, cell) == paper.folder / cell


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("~/scans/P1", "~, $NAME and %NAME% are not replaced"),
        ("$HOME/scans", "~, $NAME and %NAME% are not replaced"),
        ("scans\\P1\\pet", "with / between the folders"),
        ("\\\\server\\scans", "with / between the folders"),
        ("D0/pe t ", "every blank counts"),
        ("D0\u00a0/pet", "every blank counts"),
        ("Muster^Eva/pet", "an existing file or folder"),
    ],
)
def test_a_path_that_does_not_exist_is_explained_and_not_repeated(paper, cell, words):
    paper.put("D0", pet=cell)
    (fault,) = check("cohort.tsv")
    assert (fault.severity, fault.column, fault.patient) == ("quarantine", "pet", "D0")
    assert words in fault.expected and "does not exist" in fault.found
    assert "Muster" not in fault.found + fault.expected


def test_the_part_of_a_path_that_is_lost(paper):
    assert lacking("D0/nowhere/x", paper.folder / "D0/nowhere/x")[0].endswith("from part 2 of 3 on")


def test_links_to_folders_are_said_by_check_and_intake(paper, capsys):
    os.makedirs("linked")
    os.symlink("../D1/pet", "linked/pet")
    paper.put("D0", pet="linked")
    (fault,) = check("cohort.tsv")
    assert fault.severity == "quarantine" and "links to other folders are not followed" in fault.expected
    intake(paper.configfiles, False, False)
    assert "missing: pet of D0: found a link to another folder in it" in capsys.readouterr().out
    put(paper.folder / "linked/1")
    assert [fault.severity for fault in check("cohort.tsv")] == ["warning"]
    paper.put(
        "D0", pet="linked/pet"
    )  # the source itself may be a link; here to the folder of another patient
    assert not [fault for fault in check("cohort.tsv") if fault.column == "pet"]


LEFT = [".DS_Store", "._1", "Thumbs.db", "desktop.ini", "ehthumbs.db", "Icon\r", "@eaDir/1/SYNOINDEX_MEDIA_INFO", ".AppleDouble/1",
        "__MACOSX/._1", ".nfs0001", ".1.dcm.Xk2f9a", "#recycle/1", "$RECYCLE.BIN/1", "~$report.docx", ".Spotlight-V100/x"]  # fmt: skip


def test_what_systems_leave_in_a_folder_makes_nothing_stale(paper):
    paper.finish()
    for place in LEFT:
        for folder in ("D0/pet", "D0/prostate", "P0/pet"):
            put(paper.folder / folder / place)
    paper.intake()
    assert paper.why() == {}
    put(paper.folder / "D0/pet/2", "a slice more")
    paper.intake()
    assert "convert D0" in paper.why()


def test_convert_reads_what_the_registry_counts(tmp_path):
    from promet.imaging.dicom.files import files_of

    for place in [*LEFT, "1.dcm", "sub/2.dcm", "sub/.DS_Store"]:
        put(tmp_path / place)
    assert sorted(files_of(tmp_path)) == list_files(tmp_path) == [tmp_path / "1.dcm", tmp_path / "sub/2.dcm"]


def test_what_intake_does_not_count_as_a_file_is_none_for_check_either(paper):
    for name in ("link", "pipe"):
        (paper.folder / name).mkdir()
    (paper.folder / "link/1").symlink_to("nowhere")
    os.mkfifo(paper.folder / "pipe/1")
    paper.put("D0", pet="link")
    paper.put("D1", pet="pipe")
    assert [fault.found for fault in check("cohort.tsv")] == ["no file in it"] * 2


def test_a_folder_of_nothing_but_leftovers_is_empty(paper):
    for name in ("left/.DS_Store", "left/@eaDir/1"):
        put(paper.folder / name)
    paper.put("D0", pet="left")
    (fault,) = check("cohort.tsv")
    assert fault.found == "no file in it" and fault.severity == "quarantine"


@pytest.mark.parametrize(
    "column",
    ["site", "tracer", "role", "ct", "lesions", "psa", "clinical_t", "months", "synchronous_metastasis"],
)
@pytest.mark.parametrize(
    "word",
    [
        *("NA", "n/a", "-", "unknown", "#N/A", "#NV", "Unbekannt", "?", "NULL", " – ", "#WERT!", "——", "…"),
        *("(blank)", "[unknown]", "<leer>", "N. A.", "n\\a", "not reported", "Nicht erhoben"),
        *("keine", "o.A.", "o. A.", "NR", "n.r.", "k.A.", "nicht angegeben", "n. v.", "aucun", "not stated"),
    ],
)
def test_a_word_for_nothing_is_told_to_be_an_empty_cell(paper, column, word):
    paper.put("P0", **{column: word})
    errors = [fault for fault in check("cohort.tsv") if fault.severity == "error" and fault.column == column]
    assert len(errors) == 1 and "leave the cell empty" in errors[0].expected


def test_a_folder_may_be_called_na(paper):
    assert "na" in ABSENT
    put(paper.folder / "NA" / "1")
    paper.put("P0", ct="NA")
    assert not check("cohort.tsv")


@pytest.mark.parametrize(
    ("site", "others", "refused"),
    [
        *((number, (), True) for number in ("99", "999", "9999", "-1", "-9", "-99")),
        *((number, ("1", "2", "98"), number != "99") for number in ("99", "999")),
        *((number, (), False) for number in ("9", "98", "100", "Ward 99")),
    ],
)
def test_a_number_that_means_missing_is_no_hospital(paper, site, others, refused):
    """But where hospitals are counted up to it."""
    for name, other in zip(("D0", "D1", "D2"), others, strict=False):
        paper.put(name, site=other)
    paper.put("P0", site=site)
    found = [fault for fault in check("cohort.tsv") if fault.column == "site"]
    assert [fault.severity for fault in found] == ["error"] * refused
    assert all("an empty cell" in fault.expected for fault in found)


NAMES = ("München", "Köln", "Straße 1", "Hôpital Salpêtrière", "Łódź", "Århus", "Málaga", "Санкт-Петербург")


@pytest.mark.parametrize("name", NAMES)
def test_letters_of_another_encoding_are_no_hospital(paper, name):
    assert not garbled(name) and not garbled(unicodedata.normalize("NFD", name))
    for encoding in WRONG:
        try:
            broken = name.encode().decode(encoding)
        except UnicodeDecodeError:
            continue  # bytes that this encoding has no letter for
        paper.put("P0", site=broken)
        (fault,) = check("cohort.tsv")
        assert fault.severity == "error" and fault.column == "site" and broken not in fault.found, encoding


@pytest.mark.parametrize(
    "name", ["Müller & Söhne", "l’École", "CAFÉ", "St. Josef (Süd)", "Ærø", "Klinik „GÜ“", "Ç", "ß"]
)
def test_other_signs_are_a_hospital(name):
    assert not garbled(name)
