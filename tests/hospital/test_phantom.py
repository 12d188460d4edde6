"""The phantom's way in is a hospital's: export, key file and REDCap give the table that it would write itself."""

import csv

import pytest
from typer.testing import CliRunner

from promet.app import app
from promet.core.errors import UsageError
from promet.hospital import keys
from promet.phantom.cohort import write_cohort
from promet.phantom.hospital import KEY_COLUMNS
from promet.study import looks
from promet.study.table import SOURCES, by_patient

SIZE = {"development": 3, "metachronous": 1, "prospective": 1, "seed": 4, "small": True}


def table(folder, key):
    out = str(folder / "cohort.tsv")
    for words in (
        ("from-dicom", str(folder / "export")),
        ("from-redcap", str(folder / "redcap.csv"), "--mapping", str(folder / "redcap.yaml")),
    ):
        done = CliRunner().invoke(
            app, ["cohort", *words, "--key", str(key), "--out", out], catch_exceptions=False
        )
        assert done.exit_code == 0, done.output
    return by_patient(out)


def test_the_same_table(tmp_path):
    key = tmp_path / "keys/key.tsv"
    write_cohort(tmp_path / "plain", **SIZE)
    write_cohort(tmp_path / "demo", **SIZE, key=key)
    assert all("." not in path.name for path in (tmp_path / "demo/export").iterdir())
    made, plain = table(tmp_path / "demo", key), by_patient(tmp_path / "plain/cohort.tsv")
    assert list(made) == list(plain)  # the pseudonyms of the key file
    for name, row in plain.items():
        assert {k: v for k, v in made[name].items() if k not in SOURCES} == {
            k: v for k, v in row.items() if k not in SOURCES
        }
        for source in SOURCES:
            assert bool(row[source]) == bool(made[name][source])
            if source in ("pet", "ct") or not row[source].endswith(".nii.gz"):  # which no PACS holds
                digests = {
                    looks.digest(tmp_path / k / t[name][source])
                    for k, t in (("plain", plain), ("demo", made))
                    if row[source]
                }
                assert len(digests) <= 1
    before = {
        path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and "seen" not in path.name
    }
    write_cohort(tmp_path / "demo", **SIZE, key=key)
    table(tmp_path / "demo", key)
    assert {
        path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and "seen" not in path.name
    } == before


def test_the_key_file_is_one(tmp_path):
    assert KEY_COLUMNS == keys.COLUMNS
    key = tmp_path / "key.tsv"
    with open(key, "w") as handle:
        csv.writer(handle, delimiter="\t").writerows([keys.COLUMNS, ["a1", "", "0007", *[""] * 6]])
    before = key.read_bytes()
    with pytest.raises(UsageError) as refused:
        write_cohort(tmp_path / "demo", **SIZE, key=key)
    assert refused.value.code == "E_PHANTOM_KEY" and key.read_bytes() == before
