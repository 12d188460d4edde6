"""The main job on a small phantom cohort: what is there, what is not, and that it is finished."""

import json
import re
import shutil

import pandas as pd
import pytest

from promet.core.sidecar import Sidecar

pytestmark = pytest.mark.e2e


def test_nothing_is_left_to_do(study):
    done = study.snakemake("--cores", "1")
    assert done.returncode == 0
    assert "Nothing to be done" in done.stdout + done.stderr


def test_status_says_all_is_fresh(study):
    assert "everything is fresh" in study.promet("status").stdout
    jobs = json.loads(study.promet("status", "--json").stdout)
    assert {job["state"] for job in jobs} == {"fresh"}
    assert len(jobs) == 20 * 6 + 2 + 2 + 12


def test_every_part_has_a_prediction(study):
    table = pd.read_parquet(study.results / "fusion/split-00/predictions.parquet")
    assert len(table) == 20
    assert table["part"].value_counts().to_dict() == {
        "training": 7,
        "validation": 3,
        "test": 4,
        "metachronous": 5,
        "prospective": 1,
    }
    assert table["multimodal"].notna().all()


def test_no_identifier_in_any_product_log_or_report(study):
    from promet.phantom.series import planted_markers

    # A planted date counts only as a number of its own: eight digits occur by chance inside a long fraction.
    markers = {
        text: re.compile(
            rf"(?<![\d.]){re.escape(text)}(?!\d)".encode() if text.isdigit() else re.escape(text).encode()
        )
        for text in planted_markers(*study.size.values())
    }
    files = [
        path for name in ("results", "logs") for path in (study.folder / name).rglob("*") if path.is_file()
    ]
    assert len(markers) > 20 and len(files) > 200
    source = b"".join(path.read_bytes() for path in (study.folder / "dicom/dev001/PT").iterdir())
    assert sum(bool(pattern.search(source)) for pattern in markers.values()) >= 4  # the search can find them
    assert {
        path.name: text for path in files for text, find in markers.items() if find.search(_readable(path))
    } == {}


def _readable(path):
    import gzip

    content = path.read_bytes()
    return content + (gzip.decompress(content) if path.suffix == ".gz" else b"")


def test_no_pickle(study):
    magic = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")  # how a pickle begins
    files = [path for path in (study.folder / "results").rglob("*") if path.is_file()]
    assert not [path for path in files if path.read_bytes().startswith(magic)]
    assert {path.suffix for path in files} <= {
        *(
            ".json",
            ".gz",
            ".npy",
            ".png",
            ".svg",
            ".pdf",
            ".parquet",
            ".tsv",
            ".safetensors",
            ".html",
            ".lock",
            "",
        ),
    }


def test_few_files_per_patient_and_seed(study):
    patient = list((study.folder / "results/patients/dev001").iterdir())
    assert len(patient) <= 12
    seed = list((study.results / "network/paper/split-00/seed-00").iterdir())
    assert len(seed) <= 6


def test_report_is_one_offline_file(study):
    html = (study.results / "report/report.html").read_text()
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:)[^"']+""", html)
    assert "@import" not in html
    assert set(re.findall(r"https?://[\w.]+", html)) <= {
        "http://www.w3.org",
        "https://doi.org",
    }  # names, not requests
    for word in ("Multimodal", "ROC", "Kaplan-Meier", "1007105", "snakemake", "torch"):
        assert word.lower() in html.lower().replace(",", "").replace("\u202f", ""), word


def test_records_say_how_they_came_about(study):
    record = Sidecar.read(study.results / "network/paper/split-00/seed-01/train.json")
    assert record.ok and len(record.pin) == 24 and record.versions["torch"]
    assert record.values["parameters"] == 1_007_105


def test_a_lost_snakemake_folder_rebuilds_only_what_is_stale(study, tmp_path):
    """The guard: without Snakemake's own records a changed value still reaches exactly its followers."""
    copy = tmp_path / "copy"
    shutil.copytree(study.folder, copy, ignore=shutil.ignore_patterns(".snakemake"))
    table = (copy / "cohort.tsv").read_text().splitlines()
    column = table[0].split("\t").index("psa")
    cells = table[1].split("\t")
    cells[column] = "55"
    (copy / "cohort.tsv").write_text("\n".join([table[0], "\t".join(cells), *table[2:]]) + "\n")
    moved = type(study)(copy, copy / "config.yaml", study.size)
    before = {path: path.read_bytes() for path in copy.rglob("*.json") if "results" in path.parts}
    status = moved.promet("status").stdout
    name = cells[table[0].split("\t").index("patient")]
    assert f"fuse, permute, evaluate, table1 are stale: the column psa changed ({name})" in status
    assert "convert is" not in status
    done = moved.promet("run", "--cores", "2")
    assert done.returncode == 0, done.stderr[-3000:]
    changed = {path.name for path, content in before.items() if path.read_bytes() != content}
    assert changed >= {"fuse.json", "explain.json", "evaluate.json", "survive.json", "report.json"}
    assert not changed & {
        "convert.json",
        "segment.json",
        "crop.json",
        "train.json",
        "select.json",
        "score.json",
    }
