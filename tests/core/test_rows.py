"""One reader for all tables: a damaged cell never moves another one, whatever the damage, and nothing of it is repeated."""

import codecs
import csv
import io
import random
import zipfile

import pytest

from promet.core.errors import UsageError
from promet.core.rows import instead, parse, read_table, scan, shown
from promet.study.table import number

NAMES = ["patient", "site", "psa", "months", "note"]
ROWS = [
    ["P1", "St. Anna", "7.5", "", "a  b"],
    ["P2", 'Haus "Süd"', "", "12", ""],
    ["P3", "", "10", "", "x"],
    ["P4", "", "", "", ""],
]


def written(rows, delimiter="\t", end="\n"):
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator=end).writerows(rows)
    return text.getvalue()


def cells(path, delimiter="\t"):
    return [list(row.values()) for row in read_table(path, delimiter)]


@pytest.mark.parametrize("delimiter", ["\t", ","])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_sound_table_reads_the_same_from_any_system(tmp_path, delimiter, end, encoding):
    path = tmp_path / "t"
    lines = [NAMES, *ROWS, [""] * 5]
    path.write_bytes(written(lines, delimiter, end).encode(encoding))
    assert cells(path, delimiter) == [[cell.strip() for cell in row] for row in ROWS]
    path.write_bytes((end + written(lines, delimiter, end)).removesuffix(end).encode(encoding))
    assert cells(path, delimiter) == ROWS


@pytest.mark.parametrize("delimiter", ["\t", ","])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_damage_anywhere_moves_no_other_cell(tmp_path, delimiter, end):
    """Every place of the file, every damage: refused, or at most one cell differs and all others stand where they stood."""
    path, whole = tmp_path / "t", written([NAMES, *ROWS], delimiter, end)
    sound = [NAMES, *ROWS]
    accepted = refused = 0
    for place in range(len(whole)):
        for put in (
            '"',
            '""',
            "\t",
            ",",
            ";",
            "\n",
            "\r",
            "\r\n",
            "x",
            "5",
            " ",
            "\0",
            "\x1a",
            "\u2028",
            "\ufffd",
            "",
            '"\t',
        ):
            for end_of_cut in (place, place + 1):  # put in, or in place of one
                damaged = whole[:place] + put + whole[end_of_cut:]
                path.write_bytes(damaged.encode())
                try:
                    rows = read_table(path, delimiter)
                except UsageError as error:
                    refused += 1
                    assert error.code.startswith("E_TABLE_")
                    assert "Anna" not in str(error) and "Haus" not in str(error)
                    continue
                accepted += 1
                found = [list(rows[0]), *(list(row.values()) for row in rows)]
                assert [len(row) for row in found] == [5] * 5, damaged
                differ = sum(
                    a != b for x, y in zip(found, sound, strict=True) for a, b in zip(x, y, strict=True)
                )
                assert differ <= 1, damaged
    assert accepted > 500 and refused > 1000


def test_random_tables_with_one_damaged_line(tmp_path):
    draw, path = random.Random(1), tmp_path / "t"
    letters = 'ab 1.5"éß,;'
    for _ in range(300):
        columns = draw.randint(2, 5)
        header = [f"c{k}" for k in range(columns)]
        rows = [
            [f"P{k}", *("".join(draw.choices(letters, k=draw.randint(0, 4))) for _ in range(columns - 1))]
            for k in range(6)
        ]
        delimiter = draw.choice("\t,")
        path.write_text(written([header, *rows], delimiter), newline="")
        assert cells(path, delimiter) == [[cell.strip() for cell in row] for row in rows]
        lines = written([header, *rows], delimiter).splitlines()
        at = draw.randrange(7)
        places = [k for k, sign in enumerate(lines[at]) if sign in delimiter + '"']
        place = draw.choice(places)
        lines[at] = lines[at][:place] + draw.choice(["", delimiter * 2]) + lines[at][place + 1 :]
        path.write_text("\n".join(lines) + "\n", newline="")
        sound = [[cell.strip() for cell in row] for row in [header, *rows]]
        try:
            found = read_table(path, delimiter)
        except UsageError:
            continue
        again = [list(found[0]), *(list(row.values()) for row in found)]
        assert sum(a != b for x, y in zip(again, sound, strict=True) for a, b in zip(x, y, strict=True)) <= 1


def test_a_quote_that_swallows_patients_names_its_line(tmp_path):
    path = tmp_path / "cohort.tsv"
    path.write_text('patient\tsite\tpsa\nP1\t"St. Anna\t5\nP2\tSt. Anna"\t6\nP3\tx\t"7\n')
    found = [(damage.line, damage.column) for damage in scan(path).damages]
    assert found == [(2, "site"), (3, "site"), (4, "psa")] and scan(path).rows == []
    with pytest.raises(UsageError) as error:
        read_table(path)
    assert str(error.value).startswith("cohort.tsv, line 2, column site: found a quote")
    assert "Anna" not in str(error.value)


def test_a_tab_or_a_line_break_in_a_cell(tmp_path):
    path = tmp_path / "t"
    for cell in ("a\tb", "a\nb", "a\r\nb"):
        path.write_text(written([["p", "q"], ["P1", cell]]), newline="")
        with pytest.raises(UsageError, match="line 2"):
            read_table(path)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a,b,c\n1,4,7,\n2,5,8,\n", "line 2: found 4 cells"),  # pandas shifts every column
        ("a,b,c\n1,4\n", "line 2: found 2 cells.*let the last column be one"),  # as Excel writes empty ends
        ("a,b,a\n1,4,7\n", "line 1, column a: found 2 columns of this name"),
        ("a,b,a \n1,4,7\n", "line 1, column a: found 2 columns of this name"),
        (",y\n1,0\n", "a value in column 1, which has no name"),
        ("a;b\n1,5;2\n", "separated by semicolons, and then its numbers may have decimal commas"),
        ("a\tb\n1\t2\n", "separated by tabs"),
        ("a|b\n1|2\n", "separated by bars"),
        ("a,b\n1,\ufffd\n", "line 2, column b: found a character that an earlier conversion lost"),
        ("a,b\n\0,1\n", "line 2, column a: found a NUL character"),
        ("a,b\n1,2\n\ufeffa,b\n", "line 3, column a: found a control character"),
        ("", "holds no line"),
        ("\n\n", "holds no line"),
    ],
)
def test_what_is_refused(tmp_path, text, what):
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8", newline="")
    with pytest.raises(UsageError, match=what):
        read_table(path, ",")


def test_a_last_column_of_nothing_is_none(tmp_path):
    path = tmp_path / "t"
    path.write_bytes(codecs.BOM_UTF8 + b"a\tb\t\t\n1\t2\t\t\n\t4\t\t\n")
    assert read_table(path) == [{"a": "1", "b": "2"}, {"a": "", "b": "4"}]


def workbook():
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    return data.getvalue()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (workbook(), "E_TABLE_WORKBOOK"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100), "E_TABLE_WORKBOOK"),
        (b"<?xml version='1.0'?><Workbook/>", "E_TABLE_WORKBOOK"),
        (b"\xef\xbb\xbf\n <html><table>", "E_TABLE_WORKBOOK"),
        (b"PAR1xxxx", "E_TABLE_WORKBOOK"),
        ("patient\tsite\nP1\tKöln\n".encode("cp1252"), "E_TABLE_ENCODING"),
        ("patient\tsite\nP1\tKöln\n".encode("utf-16-le"), "E_TABLE_ENCODING"),
        ("patient\tsite\nP1\tKöln\n".encode("utf-32"), "E_TABLE_ENCODING"),
        ("patient\tsite\nP1\tKöln\n".encode("utf-16")[:-1], "E_TABLE_ENCODING"),
    ],
)
@pytest.mark.parametrize("name", ["cohort.tsv", "cohort.csv", "cohort"])
def test_other_kinds_of_files_under_any_name(tmp_path, data, code, name):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(UsageError) as error:
        read_table(path)
    assert error.value.code == code and "UTF-8" in str(error.value) and "save it" in str(error.value)
    assert "Köln" not in str(error.value)


def test_the_line_of_a_letter_in_another_encoding(tmp_path):
    path = tmp_path / "t"
    path.write_bytes("a\tb\r\n1\t2\r\n3\tMünchen\r\n".encode("cp1252"))
    with pytest.raises(UsageError, match="line 3 holds a letter in another encoding"):
        read_table(path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7.5", 7.5),
        (" 7.50 ", 7.5),
        ("1e-05", 1e-5),
        ("1E+5", 1e5),
        (".5", 0.5),
        ("5.", 5.0),
        ("-3", -3.0),
        ("+3", 3.0),
    ],
)
def test_numbers(text, value):
    assert parse(text) == value


@pytest.mark.parametrize(
    "text",
    ["1_5", "1,5", "١٥", "１５", "inf", "-Infinity", "nan", "NaN", "0x1A", "1e400", "1 234", "1'234", "1.234.5", "−1", "1e", "",
     "5%", "<0.1", "7.5 ng/ml", "True", "1d5", "--1", "1e5.0", "½"],
)  # fmt: skip
def test_what_is_no_number(text):
    assert parse(text) is None
    if text:
        with pytest.raises(UsageError) as error:
            number({"patient": "P1", "psa": text}, "psa")
        assert error.value.code == "E_TABLE_NUMBER"


def test_a_comma_is_told_what_to_write():
    assert instead("8,2") == "8.2, with a decimal point"
    assert instead("1,234").startswith("1.234 or 1234")
    assert instead("1,234,567") == instead("a,b") == instead("7.5") == ""


def test_only_numbers_are_shown():
    assert shown("8,2") == "'8,2'" and shown("n/a") == "'n/a'" and shown("T5") == "'T5'"
    assert shown("Muster, Eva") == "a text of 11 characters" and shown("") == "nothing"
