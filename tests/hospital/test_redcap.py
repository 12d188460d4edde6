"""A REDCap export to cells of the table: values by hand, faults each of its kind, and nothing of a date or a name."""

import csv
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from promet.app import app
from promet.core.errors import UsageError
from promet.hospital.redcap import from_redcap
from promet.study.table import COLUMNS

EXPORT = """record_id,redcap_event_name,redcap_repeat_instrument,redcap_repeat_instance,redcap_data_access_group,psa,isup,ct,cores_pos,cores_taken,age,scan_date,mets___1,mets___2,mets___3,staging_complete,fu_date,fu_prog,followup_complete
1,baseline_arm_1,,,site_a,7.4,2,2,4,12,66,2020-01-10,0,0,0,2,,,
1,followup_arm_1,followup,1,site_a,,,,,,,,,,,,2021-01-10,0,2
1,followup_arm_1,followup,2,site_a,,,,,,,,,,,,2022-01-10,1,2
2,baseline_arm_1,,,site_a,UNK,4,4,10,12,71,2020-03-01,1,0,0,2,,,
3,baseline_arm_1,,,site_b,"12,5",3,1,3,12,59,2020-05-05,0,0,0,0,,,
4,baseline_arm_1,,,site_b,9.1,7,2,,12,64,2020-06-01,0,0,0,2,,,
5,baseline_arm_1,,,site_b,5.0,1,2,13,12,64,2020-06-01,0,0,0,2,,,
5,followup_arm_1,followup,1,site_b,,,,,,,,,,,,2020-01-01,0,2
6,baseline_arm_1,,,site_b,5.0,1,2,1,12,64,2020-06-01,0,0,0,2,,,
6,baseline_arm_1,,,site_b,6.0,1,2,1,12,64,2020-06-01,0,0,0,2,,,
"""
MAPPING = """record: record_id
missing: [NA, UNK, -999]
columns:
  psa: {field: psa, event: baseline_arm_1}
  grade_group: {field: isup, event: baseline_arm_1, codes: {1: 1, 2: 2, 3: 3, 4: 4, 5: 5}}
  positive_cores_percent: {percent: [cores_pos, cores_taken], event: baseline_arm_1}
  synchronous_metastasis: {any: [mets___1, mets___2, mets___3], event: baseline_arm_1, when: staging_complete}
  progression: {field: fu_prog, instrument: followup, take: any}
  months: {months: [scan_date, fu_date], from_event: baseline_arm_1, instrument: followup, take: last, stop_at: fu_prog}
"""
KEY = "patient,redcap_record\n" + "".join(f"P000{n},{n}\n" for n in (1, 2, 3, 4, 5, 7))
NAMES = ("psa", "grade_group", "positive_cores_percent", "synchronous_metastasis", "progression", "months")
# Months: 731 days of 365.25 / 12.
WANTED = {
    "P0001": ("7.4", "2", "33.3333", "0", "1", "24.02"),
    "P0002": ("", "4", "83.3333", "1", "", ""),
    "P0003": ("", "3", "25", "", "", ""),
    "P0004": ("9.1", "", "", "0", "", ""),
    "P0005": ("5", "1", "", "0", "", ""),
}
FAULTS = {
    ("", "", "RECORD_UNKNOWN"),
    ("P0007", "", "RECORD_ABSENT"),
    ("P0003", "psa", "CELL_NUMBER"),
    ("P0004", "grade_group", "CELL_CODE"),
    ("P0005", "positive_cores_percent", "CELL_RANGE"),
    ("P0005", "months", "DATE_ORDER"),
}


@pytest.fixture
def desk(tmp_path):
    for name, text in (("export.csv", EXPORT), ("map.yaml", MAPPING), ("key.csv", KEY)):
        (tmp_path / name).write_text(text)
    (tmp_path / "project").mkdir()
    return tmp_path


def run(desk, *more, export="export.csv"):
    command = [
        "cohort",
        "from-redcap",
        str(desk / export),
        "--mapping",
        str(desk / "map.yaml"),
        "--key",
        str(desk / "key.csv"),
    ]
    return CliRunner().invoke(app, [*command, "--out", str(desk / "project/cohort.tsv"), *more])


def table(path):
    with open(path, encoding="utf-8") as handle:
        return list(csv.DictReader(handle, delimiter="\t"))


def cells(desk):
    return {row["patient"]: tuple(row[name] for name in NAMES) for row in table(desk / "project/cohort.tsv")}


def faults(desk):
    return {(f["patient"], f["column"], f["code"]) for f in table(desk / "project/redcap-faults.tsv")}


def test_rows_and_faults(desk):
    done = run(desk)
    assert done.exit_code == 2 and "6 faults" in done.output
    assert cells(desk) == WANTED and faults(desk) == FAULTS
    written = (
        (desk / "project/cohort.tsv").read_text()
        + (desk / "project/redcap-faults.tsv").read_text()
        + done.output
    )
    assert not any(text in written for text in ("2020", "2021", "2022", "12,5", "baseline", "site_"))


@pytest.mark.parametrize("sign", [";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_other_separators_and_ends(desk, sign, end, mark):
    rows = list(csv.reader(EXPORT.splitlines()))
    with open(desk / "other.csv", "w", newline="", encoding="utf-8") as handle:
        handle.write(mark)
        csv.writer(handle, delimiter=sign, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(rows)
    assert run(desk, export="other.csv").exit_code == 2
    assert cells(desk) == WANTED and faults(desk) == FAULTS


def test_decimal_commas_where_they_are_announced(desk):
    (desk / "map.yaml").write_text(MAPPING + 'decimal: ","\n')
    (desk / "export.csv").write_text(
        EXPORT.replace("7.4", '"7,4"').replace("9.1", '"9,1"').replace("5.0", '"5,0"')
    )
    run(desk)
    assert {name: row[0] for name, row in cells(desk).items()} == {
        **{"P0001": "7.4", "P0002": "", "P0003": "12.5", "P0004": "9.1", "P0005": "5"}
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("record_id,", "Record ID,"),
        (",0,0,0,2,", ",0,0,0,Complete,"),
        (",1,0,0,2,", ",Checked,Unchecked,Unchecked,2,"),
    ],
)
def test_labels_are_refused(desk, old, new):
    text = EXPORT.replace(old, new, 1)
    assert text != EXPORT
    (desk / "export.csv").write_text(text)
    with pytest.raises(UsageError) as refused:
        from_redcap(desk / "export.csv", desk / "map.yaml", desk / "key.csv", desk / "project/cohort.tsv")
    assert refused.value.code == "E_REDCAP_LABELS"
    assert not (desk / "project/cohort.tsv").exists()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (MAPPING.replace("field: psa", "field: psa_total"), "E_REDCAP_FIELD"),
        (MAPPING.replace("baseline_arm_1, codes", "baseline, codes"), "E_REDCAP_FIELD"),
        (MAPPING.replace("  psa:", "  pet:"), "E_REDCAP_MAPPING"),
        (MAPPING.replace("take: any", "take: first"), "E_REDCAP_MAPPING"),
        (MAPPING.replace("{field: psa,", "{field: psa, any: [isup],"), "E_REDCAP_MAPPING"),
        (MAPPING.replace("columns:", "colums:"), "E_REDCAP_MAPPING"),
    ],
)
def test_wrong_mappings(desk, text, code):
    (desk / "map.yaml").write_text(text)
    with pytest.raises(UsageError) as refused:
        from_redcap(desk / "export.csv", desk / "map.yaml", desk / "key.csv", desk / "project/cohort.tsv")
    assert refused.value.code == code


def test_identifiers_of_the_dictionary(desk):
    head = "Variable / Field Name,Form Name,Identifier?\n"
    (desk / "d.csv").write_text(head + "psa,base,\nscan_date,base,y\nfu_date,follow,y\n")
    assert run(desk, "--dictionary", str(desk / "d.csv")).exit_code == 2  # months show no date
    (desk / "d.csv").write_text(head + "psa,base,y\n")
    with pytest.raises(UsageError) as refused:
        from_redcap(
            desk / "export.csv",
            desk / "map.yaml",
            desk / "key.csv",
            desk / "project/cohort.tsv",
            (),
            desk / "d.csv",
        )
    assert refused.value.code == "E_REDCAP_IDENTIFIER"


def test_what_the_table_says_stays_unless_it_is_to_be_replaced(desk):
    out = desk / "project/cohort.tsv"
    names = list(COLUMNS)
    known = {
        "P0001": {"psa": "7.40", "months": "30", "progression": "0"},
        "P0002": {"grade_group": "5"},
        "Q1": {"age": "70"},
    }
    with open(out, "w", newline="") as handle:
        writer = csv.DictWriter(handle, names, delimiter="\t", restval="", lineterminator="\r\n")
        writer.writeheader()
        writer.writerows({"patient": name, "pet": "x", **row} for name, row in known.items())
    before = out.read_bytes().splitlines(keepends=True)
    done = run(desk)
    new = cells(desk)
    assert new["P0001"] == ("7.40", "2", "33.3333", "0", "0", "30")  # the pair stays together
    assert new["P0002"] == ("", "5", "83.3333", "1", "", "")
    assert {f for f in faults(desk) if f[2] == "CELL_CONFLICT"} == {
        *(("P0001", name, "CELL_CONFLICT") for name in ("months", "progression")),
        ("P0002", "grade_group", "CELL_CONFLICT"),
    }
    assert out.read_bytes().splitlines(keepends=True)[0] == before[0]
    assert out.read_bytes().splitlines(keepends=True)[3] == before[3]
    assert "3 patients of the key file without a row" in done.output
    run(desk, "--replace", "grade_group", "--replace", "months", "--replace", "progression")
    assert cells(desk)["P0001"][4:] == ("1", "24.02") and cells(desk)["P0002"][1] == "4"
    assert not [f for f in faults(desk) if f[2] == "CELL_CONFLICT"]


def test_two_values_are_a_fault_and_never_the_last(desk):
    (desk / "key.csv").write_text("patient,redcap_record\nP0006,6\n")
    run(desk)
    assert cells(desk)["P0006"][0] == "" and ("P0006", "psa", "CELL_SEVERAL") in faults(desk)


def test_a_date_never_enters_the_table(desk):
    (desk / "map.yaml").write_text("columns:\n  site: {field: scan_date, event: baseline_arm_1}\n")
    done = run(desk)
    assert all(row["site"] == "" for row in table(desk / "project/cohort.tsv"))
    assert ("P0001", "site", "CELL_DATE") in faults(desk) and "2020" not in done.output


def test_the_result_passes_the_check(desk):
    run(desk)
    rows = table(desk / "project/cohort.tsv")
    (desk / "project/pet").mkdir()
    (desk / "project/pet/1").write_text("x")
    with open(desk / "project/cohort.tsv", "w") as handle:
        writer = csv.DictWriter(handle, rows[0], delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(row | {"pet": "pet"} for row in rows)
    (desk / "project/c.yaml").write_text("cohort: cohort.tsv\n")
    command = [sys.executable, "-m", "promet.cli", "check", "-c", "c.yaml"]
    done = subprocess.run(command, cwd=desk / "project", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# REDCap's template, as its Data Dictionary page gives it.
TEMPLATE = (
    '"Variable / Field Name","Form Name","Section Header","Field Type","Field Label",'
    '"Choices, Calculations, OR Slider Labels","Field Note","Text Validation Type OR Show Slider Number",'
    '"Text Validation Min","Text Validation Max",Identifier?,"Branching Logic (Show field only if...)","Required Field?",'
    '"Custom Alignment","Question Number (surveys only)","Matrix Group Name","Matrix Ranking?","Field Annotation"'
)


def test_dictionary(tmp_path):
    done = CliRunner().invoke(app, ["cohort", "dictionary", str(tmp_path / "d.csv")])
    assert done.exit_code == 0
    with open(tmp_path / "d.csv", newline="") as handle:
        head, *rows = csv.reader(handle)
    assert head == next(csv.reader([TEMPLATE])) and len(head) == 18
    kinds = {row[0]: row for row in rows}
    clinical = [
        name
        for name in COLUMNS
        if name not in ("patient", "role", "site", "pet", "ct", "prostate", "lesions", "tracer")
    ]
    assert list(kinds) == ["record_id", *clinical]
    assert (
        kinds["grade_group"][3] == "radio" and kinds["grade_group"][5] == "1, 1 | 2, 2 | 3, 3 | 4, 4 | 5, 5"
    )
    assert kinds["progression"][3] == "yesno"
    assert kinds["age"][7:10] == ["number", "18", "110"] and kinds["age"][3] == "text"
