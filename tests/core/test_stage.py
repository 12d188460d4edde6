"""The stage runner: what is written when, and what a fault does."""

import pytest

from promet.core.errors import DataError, IntegrityError
from promet.core.sidecar import NO_LESION, OK, QUARANTINED, Sidecar
from promet.core.stage import Outcome, run_stage


def make(path, text):
    def work():
        path.write_text(text)
        return Outcome({"product": path}, {"n": 1}, ["watch out"])

    return work


def test_ok_stage_records_products_values_and_pin(tmp_path):
    record = run_stage(
        "crop", tmp_path / "crop.json", "p1", make(tmp_path / "cuboid.npy", "x"), packages=("numpy",)
    )
    assert record == Sidecar.read(tmp_path / "crop.json")
    assert (record.status, record.pin, record.values, record.warnings) == (OK, "p1", {"n": 1}, ["watch out"])
    assert list(record.products) == ["cuboid.npy"]
    assert set(record.versions) == {"promet", "numpy"}


def test_digest_follows_content_not_time(tmp_path):
    digests = [
        run_stage("crop", tmp_path / "crop.json", "p", make(tmp_path / "cuboid.npy", text)).digest
        for text in "xxy"
    ]
    assert digests[0] == digests[1] != digests[2]


def test_bad_data_quarantines_and_removes_the_old_product(tmp_path):
    run_stage("crop", tmp_path / "crop.json", "p", make(tmp_path / "cuboid.npy", "x"), makes=("cuboid.npy",))

    def work():
        raise DataError("E_X", "The PET is odd", "an even one", "Look again")

    record = run_stage("crop", tmp_path / "crop.json", "p", work, makes=("cuboid.npy",))
    assert (record.status, record.code, record.origin) == (QUARANTINED, "E_X", "crop")
    assert record.reason == "The PET is odd. Expected: an even one. Look again."
    assert not (tmp_path / "cuboid.npy").exists()


def test_other_errors_fail_the_job_and_leave_no_record(tmp_path):
    def work():
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError):
        run_stage("crop", tmp_path / "crop.json", "p", work)
    assert not (tmp_path / "crop.json").exists()


@pytest.mark.parametrize("status", [QUARANTINED, NO_LESION])
def test_status_is_passed_on_with_its_origin(tmp_path, status):
    Sidecar("segment", "p", status, code="E_X", reason="why").write(tmp_path / "segment.json")
    upstream = {"segment": tmp_path / "segment.json"}
    crop = run_stage("crop", tmp_path / "crop.json", "p", pytest.fail, upstream, ("segment",))
    upstream = {"crop": tmp_path / "crop.json"}
    last = run_stage("normalise", tmp_path / "normalise.json", "p", pytest.fail, upstream, ("crop",))
    for record in (crop, last):
        assert (record.status, record.code, record.reason, record.origin) == (status, "E_X", "why", "segment")


def test_damaged_sidecar_is_an_integrity_error(tmp_path):
    (tmp_path / "a.json").write_text('{"stage": "crop"')
    with pytest.raises(IntegrityError, match=r"a\.json"):
        Sidecar.read(tmp_path / "a.json")
