"""Every fault of the cohort table is named, and text is canonical."""

import pytest

from promet.core.errors import UsageError
from promet.study.faults import check, grade_group
from promet.study.table import COLUMNS, normalise, read


@pytest.fixture
def write(tmp_path):
    (tmp_path / "scan").mkdir()
    (tmp_path / "scan" / "1.dcm").write_bytes(b"x")

    def _write(*rows, header=tuple(COLUMNS)):
        path = tmp_path / "cohort.tsv"
        lines = ["\t".join(header)]
        for row in rows:
            cells = {"pet": "scan", "role": "development", "synchronous_metastasis": "0", **row}
            lines.append("\t".join(cells.get(name, "") for name in header))
        path.write_text("\n".join(lines) + "\n")
        return path

    return _write


def faults(path):
    return {(fault.line, fault.column, fault.value) for fault in check(path) if fault.severity != "warning"}


def test_a_good_table_has_no_fault(write):
    good = {
        "patient": "P1",
        "psa": "7.5",
        "grade_group": "3",
        "gleason_primary": "4",
        "gleason_secondary": "3",
    }
    assert not check(
        write(good, {"patient": "P2", "role": "metachronous", "synchronous_metastasis": "", **later(1, 12)})
    )


def later(progression, months):
    return {"progression": str(progression), "months": str(months)}


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ({"patient": "../P1"}, "patient"),
        ({"patient": "a b"}, "patient"),
        ({"patient": ".hidden"}, "patient"),
        ({"patient": "con"}, "patient"),
        ({"patient": "NA"}, "patient"),
        ({"patient": "x" * 65}, "patient"),
        ({"patient": ""}, "patient"),
        ({"role": "training"}, "role"),
        ({"pet": ""}, "pet"),
        ({"pet": "nowhere"}, "pet"),
        ({"ct": "nowhere"}, "ct"),
        ({"psa": "-1"}, "psa"),
        ({"psa": "0"}, "psa"),
        ({"psa": "7,5"}, "psa"),
        ({"psa": "nan"}, "psa"),
        ({"psa": "inf"}, "psa"),
        ({"grade_group": "6"}, "grade_group"),
        ({"grade_group": "2.5"}, "grade_group"),
        ({"positive_cores_percent": "101"}, "positive_cores_percent"),
        ({"clinical_t": "T5"}, "clinical_t"),
        ({"age": "7"}, "age"),
        ({"primary_score": "0"}, "primary_score"),
        ({"psma_expression": "4"}, "psma_expression"),
        ({"synchronous_metastasis": "yes"}, "synchronous_metastasis"),
        ({"progression": "1"}, "months"),
        ({"months": "12"}, "progression"),
        ({"grade_group": "2", "gleason_primary": "4", "gleason_secondary": "3"}, "grade_group"),
        ({"role": "metachronous", "synchronous_metastasis": "1", **later(0, 50)}, "synchronous_metastasis"),
    ],
)
def test_each_fault_is_found(write, row, column):
    assert column in {fault[1] for fault in faults(write({"patient": "P1", **row}))}


def test_all_faults_at_once_with_line_column_value(write):
    path = write({"patient": "P1", "psa": "-1", "age": "7"}, {"patient": "P2", "pet": "gone"})
    assert faults(path) == {(2, "psa", "-1"), (2, "age", "7"), (3, "pet", "gone")}


def test_a_missing_folder_costs_one_patient_and_stops_nobody(write):
    (fault,) = check(write({"patient": "P1"}, {"patient": "P2", "pet": "gone"}))
    assert (fault.severity, fault.patient, fault.line, fault.column) == ("quarantine", "P2", 3, "pet")


def test_unknown_and_missing_columns(write):
    header = [*(name for name in COLUMNS if name != "tracer"), "name"]
    assert faults(write({"patient": "P1"}, header=header)) == {(1, "tracer", ""), (1, "name", "name")}


def test_doubles_and_two_roles(write):
    path = write(
        {"patient": "P1"}, {"patient": "p1"}, {"patient": "P1", "role": "metachronous", **later(0, 60)}
    )
    found = faults(path)
    assert {(3, "patient", "p1"), (4, "patient", "P1"), (4, "role", "metachronous")} <= found
    with pytest.raises(UsageError, match="doubled"):
        read(path)


def test_missing_outcomes_are_warnings(write):
    path = write({"patient": "P1", "synchronous_metastasis": ""}, {"patient": "P2", "role": "metachronous"})
    assert {(fault.line, fault.severity) for fault in check(path)} == {(2, "warning"), (3, "warning")}


def test_spreadsheet_noise_changes_nothing(write, tmp_path):
    path = write({"patient": "P2", "psa": "7.5"}, {"patient": "P1", "psa": "10"})
    rows = read(path)
    header, *lines = path.read_text().splitlines()
    noisy = "\ufeff" + "\r\n".join([header, "\t" * (len(COLUMNS) - 1), *reversed(lines)])
    noisy = noisy.replace("7.5", " 7.50 ").replace("\t10\t", "\t10.0\t")
    path.write_text(noisy, encoding="utf-8", newline="")
    assert read(path) == rows
    assert [row["patient"] for row in rows] == ["P1", "P2"]


@pytest.mark.parametrize(
    "site", ["Sankt  Jörg", " Sankt\u00a0Jörg", "Sankt Jo\u0308rg", "Sankt\u2009Jörg\u3000"]
)
def test_one_hospital_however_its_blanks_and_umlauts_are_composed(write, site):
    path = write({"patient": "P1", "site": "Sankt Jörg"}, {"patient": "P2", "site": site})
    assert {row["site"] for row in read(path)} == {"Sankt Jörg"}


def test_normalise():
    assert normalise("psa", " 7.500 ") == "7.5"
    assert normalise("psa", "1e1") == "10"
    assert normalise("site", "  North   West ") == "North West"
    assert normalise("clinical_t", "t3A") == "T3a"


def test_grade_groups_of_epstein_2016():
    table = {
        (3, 3): 1,
        (3, 4): 2,
        (4, 3): 3,
        (4, 4): 4,
        (3, 5): 4,
        (5, 3): 4,
        (4, 5): 5,
        (5, 4): 5,
        (5, 5): 5,
    }
    assert {gleason: grade_group(*gleason) for gleason in table} == table


def test_not_a_table(tmp_path):
    path = tmp_path / "cohort.tsv"
    path.write_bytes(b"\xff\xfe\x00PK")
    with pytest.raises(UsageError, match="UTF-8"):
        check(path)
    with pytest.raises(UsageError, match="cannot be read"):
        check(tmp_path / "absent.tsv")


def said(path, severity="error"):
    return [
        (fault.line, fault.column, fault.value, fault.expected)
        for fault in check(path)
        if fault.severity == severity
    ]


@pytest.mark.parametrize("sign", [";", ",", " ", "|"])
def test_another_separator_is_one_sentence(tmp_path, sign):
    path = tmp_path / "cohort.csv"
    path.write_text(sign.join(COLUMNS) + "\n" + sign.join(["P1", "development"]) + "\n")
    for look in (check, read):
        with pytest.raises(UsageError, match="tabs between the columns") as error:
            look(path)
        assert error.value.code == "E_TABLE_SEPARATOR" and "tab-delimited" in str(error.value)


def test_a_decimal_comma_is_told_what_to_write(write):
    path = write({"patient": "P1", "psa": "8,2"}, {"patient": "P2", "grade_group": "2,5"})
    assert said(path) == [
        (2, "psa", "8,2", "8.2, with a decimal point"),
        (3, "grade_group", "2,5", "1 to 5"),  # 2.5 would be none either
    ]


def test_a_doubled_cell_is_one_fault_that_names_it(tmp_path):
    (tmp_path / "scan").write_text("x")
    header = ["patient", "role", "pet", "prostate", "psa", "grade_group"]
    path = tmp_path / "cohort.tsv"
    lines = [header, ["P1", "", "scan", "scan", "7", "2"], ["P2", "", "scan", "scan", "8.2", "8.2", "2"]]
    path.write_text("".join("\t".join(line) + "\n" for line in lines))
    assert [fault for fault in said(path) if fault[0] > 1] == [
        (
            3,
            "psa",
            "8.2",
            "6 cells, one per column; this row has 7: this cell stands twice, delete one of them",
        )
    ]
    path.write_text("\t".join(header) + "\nP1\t\tscan\tmask\t7\t2\t3\n")
    assert [fault for fault in said(path) if fault[0] > 1] == [
        (2, "grade_group", "2\t3", "6 cells, one per column; this row has 7: a tab too many")
    ]


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("PSA", "psa"), ("Grade Group", "grade_group"), ("lesion", "lesions"), ("prostat", "prostate")],
)
def test_a_column_of_nearly_the_right_name(write, wrong, right):
    header = [wrong if name == right else name for name in COLUMNS]
    (fault,) = said(write({"patient": "P1"}, header=header))
    assert fault == (1, wrong, wrong, f"{right}: rename the column")


def test_a_column_that_nobody_knows_is_not_renamed(write):
    header = [name for name in COLUMNS if name != "psa"] + ["remarks"]
    assert {fault[1:] for fault in said(write({"patient": "P1"}, header=header))} == {
        ("psa", "", "a column of this name"),
        ("remarks", "remarks", "one of the known columns, or delete it"),
    }


@pytest.mark.parametrize(("column", "value"), [("psa", "999"), ("psa", "9999"), ("psa", "999.0")])
def test_a_number_that_stands_for_missing_is_a_warning(write, column, value):
    path = write({"patient": "P1", column: value})
    assert said(path) == []
    (fault,) = said(path, "warning")
    assert fault[:2] == (2, column) and "an empty cell" in fault[3]


def test_outside_of_the_domain_it_is_an_error_that_says_so(write):
    (fault,) = said(write({"patient": "P1", "age": "-1"}))
    assert fault == (2, "age", "-1", "18 to 110, or an empty cell where it is missing")
    assert said(write({"patient": "P1", "psa": "99.9"}), "warning") == []


@pytest.mark.parametrize(
    ("value", "asked"),
    [("0.5", True), ("1", True), ("1.00", True), ("0", False), ("1.5", False), ("100", False)],
)
def test_a_share_of_cores_instead_of_percent_is_asked_about(write, value, asked):
    found = said(write({"patient": "P1", "positive_cores_percent": value}), "warning")
    assert [fault[1] for fault in found] == ["positive_cores_percent"] * asked
