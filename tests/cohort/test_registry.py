"""The registry sees bytes, and nothing but bytes."""

import os
import shutil

import pytest

from promet.cohort.registry import MISSING, images_path, intake, read, sources
from promet.core.errors import DataError, UsageError


@pytest.fixture
def cohort(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("A", "B"):
        (tmp_path / name / "deep").mkdir(parents=True)
        for i in range(3):
            (tmp_path / name / "deep" / f"{i}.dcm").write_bytes(f"{name}{i}".encode() * 50)
    (tmp_path / "mask.nii.gz").write_bytes(b"mask")
    rows = [
        {"patient": name, "pet": name, "ct": "", "prostate": "mask.nii.gz", "lesions": ""}
        for name in ("A", "B")
    ]

    def run(**kwargs):
        return intake(rows, tmp_path, "registry", **kwargs)

    run.rows = rows
    return run


def digests():
    return {
        (patient, name): row["digest"]
        for patient, named in read("registry/images.tsv").items()
        for name, row in named.items()
    }


def test_first_intake_registers_all(cohort):
    found = cohort()
    assert (found.new, found.changed, found.hashed) == (["A", "B"], [], 7)
    assert sources("registry/images.tsv", "A")["pet"].samefile("A")


def test_nothing_new_reads_nothing(cohort):
    cohort()
    stat = images_path("registry").stat().st_mtime_ns
    found = cohort()
    assert (found.new, found.changed, found.hashed) == ([], [], 0)
    assert images_path("registry").stat().st_mtime_ns == stat


def test_touch_rename_copy_change_nothing(cohort):
    cohort()
    before = digests()
    os.utime("A/deep/0.dcm", (1, 1))
    os.rename("A/deep/1.dcm", "A/deep/zz")
    shutil.copytree("B", "C")
    shutil.rmtree("B")
    os.rename("C", "B")
    found = cohort()
    assert found.changed == []
    assert digests() == before


@pytest.mark.parametrize("edit", ["byte", "extra", "removed", "mask"])
def test_changed_bytes_are_that_patients(cohort, edit):
    cohort()
    before = digests()
    if edit == "byte":
        with open("A/deep/0.dcm", "r+b") as handle:
            handle.write(b"!")
    elif edit == "extra":
        (images_path(".").parent / "A" / "3.dcm").write_bytes(b"new")
    elif edit == "removed":
        os.remove("A/deep/0.dcm")
    else:
        shutil.copy("mask.nii.gz", "own.nii.gz")
        with open("own.nii.gz", "ab") as handle:
            handle.write(b"!")
        cohort.rows[0]["prostate"] = "own.nii.gz"
    assert cohort().changed == ["A"]
    assert {key for key in before if before[key] != digests()[key]} == {
        ("A", "prostate" if edit == "mask" else "pet")
    }


def test_same_size_and_time_needs_deep(cohort):
    cohort()
    stat = os.stat("A/deep/0.dcm")
    with open("A/deep/0.dcm", "r+b") as handle:
        handle.write(b"!")
    os.utime("A/deep/0.dcm", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert cohort().changed == []
    assert cohort(deep=True).changed == ["A"]


def test_missing_source_is_told_and_quarantines(cohort):
    cohort()
    shutil.rmtree("A")
    found = cohort()
    assert found.missing == [("A", "pet")]
    assert digests()["A", "pet"] == MISSING
    with pytest.raises(DataError, match="pet source"):
        sources("registry/images.tsv", "A")
    assert sources("registry/images.tsv", "B")


def test_twins_are_found_under_other_names(cohort):
    shutil.rmtree("B")
    shutil.copytree("A", "B")
    os.rename("B/deep/0.dcm", "B/deep/other")
    assert cohort().twins == [["A", "B"]]


def test_link_loop_does_not_hang(cohort):
    os.symlink("..", "A/deep/loop")
    assert cohort().new == ["A", "B"]


def test_named_pipe_does_not_hang(cohort):
    os.mkfifo("A/deep/pipe")
    assert cohort().files == 7


def test_damaged_registry_is_refused_and_damaged_cache_is_not(cohort):
    cohort()
    path = images_path("registry")
    before = path.read_text()
    path.write_text(before[:-20])
    with pytest.raises(UsageError, match="promet intake"):
        read(path)
    path.with_name("stat.json").write_text("{")
    assert cohort().hashed == 7
    assert path.read_text() == before
