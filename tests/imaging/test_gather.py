"""The table of all patients, the excluded, and the two digests."""

import csv
import json

import pandas as pd
import pytest

from promet.core.errors import UsageError
from promet.core.sidecar import NO_LESION, QUARANTINED, Sidecar
from promet.imaging.gather import PRODUCTS, Inputs, run
from promet.study.forms.tables import MEASURES

VALUES = dict.fromkeys(MEASURES, 2.5) | {"suv_peak": 7.25, "lesion_count": 2}


def patient(folder, name, tensor="ab12", seconds=1.0, **values):
    """Sidecars of a patient for whom all went well."""
    place = folder / name
    place.mkdir(parents=True)
    Sidecar("convert", "1", digest="c", seconds=seconds).write(place / "convert.json")
    Sidecar("segment", "1", digest="s", warnings=["The prostate is odd."]).write(place / "segment.json")
    Sidecar("crop", "1", digest="k", values={"inside_fraction": 0.9}).write(place / "crop.json")
    Sidecar("normalise", "1", digest="n", products={"tensor.npy": tensor}).write(place / "normalise.json")
    Sidecar("measure", "1", digest="m", values=VALUES | values).write(place / "measure.json")
    return place


def lose(place, status, **words):
    """Turn normalise into a patient who fell out; without lesions the organ is still measured."""
    Sidecar("normalise", "1", status, **words).write(place / "normalise.json")
    Sidecar("crop", "1", status, **words).write(place / "crop.json")
    if status == QUARANTINED:
        Sidecar("measure", "1", status, **words).write(place / "measure.json")


@pytest.fixture
def cohort(tmp_path):
    folder = tmp_path / "patients"
    patient(folder, "P2", tensor="cd34", suv_peak=9.5)
    patient(folder, "P1")
    lose(patient(folder, "P3", suv_max=None, suv_mean=None), NO_LESION, origin="segment")
    lose(patient(folder, "P4"), QUARANTINED, code="E_PET_UNITS", reason="Tab\there.\nLine.", origin="convert")
    return folder


IDS = ["P4", "P2", "P3", "P1"]


def test_table(cohort, tmp_path):
    record = run(Inputs(cohort, IDS), None, tmp_path / "out/gather.json", "pin")
    table = pd.read_parquet(tmp_path / "out/patients.parquet")
    assert list(table["patient"]) == ["P1", "P2", "P3", "P4"]
    assert list(table["status"]) == ["ok", "ok", NO_LESION, QUARANTINED]
    assert list(table["tensor_digest"]) == ["ab12", "cd34", "", ""]
    assert table["suv_peak"].tolist()[:3] == [7.25, 9.5, 7.25]
    assert table["suv_max"].isna().tolist() == [False, False, True, True]
    assert table["organ_suv_max"].isna().tolist() == [False, False, False, True]
    assert table["inside_fraction"].isna().tolist() == [False, False, True, True]
    for name in (*MEASURES, "inside_fraction"):
        assert table[name].dtype == "float64"
    assert set(record.products) == set(PRODUCTS)
    assert {name: record.values[name] for name in ("patients", "ok", NO_LESION, QUARANTINED)} == {
        "patients": 4,
        "ok": 2,
        NO_LESION: 1,
        QUARANTINED: 1,
    }
    assert ["P2", "segment", "The prostate is odd."] in record.values["warnings"]


def test_exclusions(cohort, tmp_path):
    run(Inputs(cohort, IDS), None, tmp_path / "gather.json", "pin")
    with open(tmp_path / "exclusions.tsv", encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    assert [row["patient"] for row in rows] == ["P3", "P4"]
    assert (rows[0]["status"], rows[0]["code"], rows[0]["origin"]) == (NO_LESION, "NO_LESION", "segment")
    assert rows[1] == {
        "patient": "P4",
        "status": QUARANTINED,
        "code": "E_PET_UNITS",
        "reason": "Tab here. Line.",
        "origin": "convert",
    }


def what_the_networks_read(folder):
    return {name: (folder / f"{name}.json").read_bytes() for name in ("tensors", "measures")}


def test_digests_follow_content_only(cohort, tmp_path):
    run(Inputs(cohort, IDS), None, tmp_path / "a/gather.json", "pin")
    before = what_the_networks_read(tmp_path / "a")
    assert list(json.loads(before["tensors"])) == ["digest"]
    # Another order, another time, another pin, another warning: the same bytes.
    again = Sidecar.read(cohort / "P1/segment.json")
    again.seconds, again.pin, again.warnings = 99.0, "2", []
    again.write(cohort / "P1/segment.json")
    run(Inputs(cohort, IDS[::-1]), None, tmp_path / "b/gather.json", "other")
    assert what_the_networks_read(tmp_path / "b") == before
    assert (tmp_path / "a/patients.parquet").read_bytes() == (tmp_path / "b/patients.parquet").read_bytes()

    changed = Sidecar.read(cohort / "P1/measure.json")
    changed.values["suv_peak"] += 1e-9
    changed.write(cohort / "P1/measure.json")
    run(Inputs(cohort, IDS), None, tmp_path / "c/gather.json", "pin")
    assert what_the_networks_read(tmp_path / "c")["tensors"] == before["tensors"]
    assert what_the_networks_read(tmp_path / "c")["measures"] != before["measures"]

    changed = Sidecar.read(cohort / "P2/normalise.json")
    changed.products["tensor.npy"] = "ef56"
    changed.write(cohort / "P2/normalise.json")
    run(Inputs(cohort, IDS), None, tmp_path / "d/gather.json", "pin")
    assert what_the_networks_read(tmp_path / "d")["tensors"] != before["tensors"]
    assert (
        what_the_networks_read(tmp_path / "d")["measures"]
        == what_the_networks_read(tmp_path / "c")["measures"]
    )


def test_a_new_patient_changes_both(cohort, tmp_path):
    run(Inputs(cohort, IDS), None, tmp_path / "a/gather.json", "pin")
    patient(cohort, "P5", tensor="5555")
    run(Inputs(cohort, [*IDS, "P5"]), None, tmp_path / "b/gather.json", "pin")
    before, after = what_the_networks_read(tmp_path / "a"), what_the_networks_read(tmp_path / "b")
    assert all(before[name] != after[name] for name in before)


def test_measure_alone_quarantined(cohort, tmp_path):
    Sidecar("measure", "1", QUARANTINED, code="E_PET_NAN", reason="x.", origin="measure").write(
        cohort / "P1/measure.json"
    )
    run(Inputs(cohort, IDS), None, tmp_path / "gather.json", "pin")
    first = pd.read_parquet(tmp_path / "patients.parquet").iloc[0]
    assert (first["status"], first["code"]) == (QUARANTINED, "E_PET_NAN")


def test_nobody_and_all_excluded_have_the_same_columns(cohort, tmp_path):
    run(Inputs(cohort, IDS), None, tmp_path / "all/gather.json", "pin")
    run(Inputs(cohort, ["P4"]), None, tmp_path / "lost/gather.json", "pin")
    run(Inputs(cohort, []), None, tmp_path / "none/gather.json", "pin")
    frames = [pd.read_parquet(tmp_path / name / "patients.parquet") for name in ("all", "lost", "none")]
    assert all(list(frame.columns) == list(frames[0].columns) for frame in frames)
    assert all((frame.dtypes == frames[0].dtypes).all() for frame in frames)


def test_missing_record_and_doubled_id_are_refused(cohort, tmp_path):
    (cohort / "P2/measure.json").unlink()
    with pytest.raises(UsageError) as caught:
        run(Inputs(cohort, IDS), None, tmp_path / "gather.json", "pin")
    assert caught.value.code == "E_RECORD_MISSING"
    with pytest.raises(UsageError):
        run(Inputs(cohort, ["P1", "P1"]), None, tmp_path / "gather.json", "pin")
    assert not (tmp_path / "gather.json").exists()
