"""The registry sees bytes, and nothing but bytes."""

import errno
import os
import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest

from promet.core import reads
from promet.core.errors import DataError, IntegrityError, UsageError
from promet.core.stage import Outcome, run_stage
from promet.study import looks, news, registry
from promet.study.news import intake
from promet.study.registry import MISSING, images_path, read, sources


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
        return intake(rows, tmp_path, "registry", shorter=run.accepts, **kwargs)

    run.rows, run.accepts = rows, ()
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
        cohort.accepts = ("A",)
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


def test_a_source_that_was_never_there_is_told_and_quarantines(cohort):
    shutil.rmtree("A")
    found = cohort()
    assert found.missing == [("A", "pet")] and not found.away
    assert digests()["A", "pet"] == MISSING
    with pytest.raises(DataError, match="pet source"):
        sources("registry/images.tsv", "A")
    assert sources("registry/images.tsv", "B")


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("cache", [True, False])
def test_a_registered_source_that_is_away_stays_registered(cohort, deep, cache):
    """A mount that is gone (no folder, or an empty one) changes no patient, also not at an intake."""
    cohort()
    before = digests()
    for mounted in (False, True):
        shutil.move("A", "aside")
        if mounted:
            os.mkdir("A")
        if not cache:
            os.unlink("registry/stat.json")
        found = cohort(deep=deep)
        assert found.away == [("A", "pet")] and not (found.missing or found.changed or found.new)
        assert digests() == before
        with pytest.raises(IntegrityError) if not mounted else nullcontext() as error:
            sources("registry/images.tsv", "A")
        assert mounted or error.value.code == "E_SOURCE_GONE"
        shutil.rmtree("A", ignore_errors=True)
        shutil.move("aside", "A")
        assert not cohort().changed and digests() == before


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize(
    ("source", "size", "harm"),
    [
        ("pet", "2 files of 200 bytes, 3 files of 300", lambda: os.remove("A/deep/1.dcm")),
        ("pet", "3 files of 250 bytes, 3 files of 300", lambda: os.truncate("A/deep/1.dcm", 50)),
        ("pet", "3 files of 200 bytes, 3 files of 300", lambda: os.truncate("A/deep/2.dcm", 0)),
        ("pet", "1 file of 1000 bytes, 3 files of 300", lambda: (shutil.rmtree("A/deep"), Path("A/1").write_bytes(bytes(1000)))),
        ("prostate", "1 file of 2 bytes, 1 file of 4", lambda: os.truncate("mask.nii.gz", 2)),
        ("prostate", "1 file of 0 bytes, 1 file of 4", lambda: os.truncate("mask.nii.gz", 0)),
    ],
)  # fmt: skip
def test_what_became_shorter_is_asked_about(cohort, deep, source, size, harm):
    """A copy that is not finished, a mount that shows a part: nothing is registered until somebody says that it is meant so."""
    cohort()
    kept = {path: path.read_bytes() for path in Path("registry").iterdir()}
    harm()
    found = cohort(deep=deep)
    assert found.shorter[0][:2] == ("A", source)
    said = str(news.less_than_before(found.shorter, "or not"))
    assert f"The {source} source of A holds {size} bytes were registered" in said
    assert {path: path.read_bytes() for path in Path("registry").iterdir()} == kept
    cohort.accepts = [one.patient for one in found.shorter]
    assert "A" in cohort(deep=deep).changed and not cohort().shorter  # from now on that is its size


def test_what_is_smaller_and_whole_is_news_and_no_question(cohort, tmp_path):
    """A mask drawn again compresses to other sizes every time, a series exported again has other UIDs."""
    import numpy as np
    import SimpleITK as sitk

    array = np.zeros((20, 20, 20), np.uint8)
    array[5:9, 5:9, 5:9] = np.random.default_rng(0).integers(0, 2, (4, 4, 4))
    sitk.WriteImage(sitk.GetImageFromArray(array), "mask.nii.gz")
    cohort()
    array[:] = 0
    array[6:8, 6:8, 6:8] = 1
    before = os.path.getsize("mask.nii.gz")
    sitk.WriteImage(sitk.GetImageFromArray(array), "mask.nii.gz")
    os.truncate("A/deep/1.dcm", 99)
    assert os.path.getsize("mask.nii.gz") < before
    found = cohort()
    assert not found.shorter and "A" in found.changed
    os.truncate("mask.nii.gz", os.path.getsize("mask.nii.gz") - 20)  # cut
    assert cohort().shorter


def test_a_registered_source_that_is_empty_at_another_place_is_asked_about(cohort):
    """The table names the new disk already, the copy has not begun."""
    cohort()
    before = digests()
    os.mkdir("new")
    cohort.rows[0]["pet"] = "new"
    found = cohort()
    assert found.shorter == [("A", "pet", (0, 0), (3, 300))] and digests() == before


def test_what_is_whole_elsewhere_is_not_shorter(cohort):
    Path("B/deep/3.dcm").write_bytes(b"one more")
    cohort()
    cohort.rows[0]["pet"], cohort.rows[1]["pet"] = "B", "A"
    found = cohort(exchanged=True)
    assert not found.shorter and found.changed == ["A", "B"]


def swap(path):
    """Other bytes of the same length."""
    data = path.read_bytes()
    path.write_bytes(bytes(255 - byte for byte in data[:1]) + data[1:])


FAULTS = {
    "the folder is gone": (shutil.rmtree, "E_SOURCE_GONE"),
    "an empty mount": (lambda f: (shutil.rmtree(f), f.mkdir()), "E_SOURCE_GONE"),
    "a file is gone": (lambda f: next(f.rglob("*.dcm")).unlink(), "E_SOURCE_GONE"),
    "a file is shorter": (lambda f: os.truncate(next(f.rglob("*.dcm")), 1), "E_SOURCE_GONE"),
    "a file is empty": (lambda f: os.truncate(next(f.rglob("*.dcm")), 0), "E_SOURCE_GONE"),
    "a file is another": (lambda f: swap(next(f.rglob("*.dcm"))), "E_SOURCE_CHANGED"),
    "a file more": (lambda f: (f / "more").write_text("x"), "E_SOURCE_CHANGED"),
}


@pytest.mark.parametrize(
    "when", ["before", "while it reads", "while it reads, and the reader blames the patient"]
)
@pytest.mark.parametrize("fault", FAULTS)
def test_what_a_job_reads_is_what_is_registered(cohort, tmp_path, fault, when):
    """Whatever happens to the files before or during a job: it fails with a code, and leaves no record."""
    cohort()
    change, code = FAULTS[fault]
    rows = {"pet": registry.read("registry/images.tsv")["A"]["pet"]}

    def work():
        if when == "before":
            raise AssertionError("it must not come to this")
        change(Path(rows["pet"]["path"]))
        if "blames" in when:
            raise DataError("E_PET_EMPTY", "No slice")
        return Outcome()

    if when == "before":
        change(Path(rows["pet"]["path"]))
    with reads.planned(registry.Registered(rows)), pytest.raises(IntegrityError) as error:
        run_stage("convert", tmp_path / "out.json", "p", work)
    assert error.value.code == code and "A" not in str(error.value).split()
    assert not (tmp_path / "out.json").exists()


def test_replaced_while_it_was_read_and_put_back(cohort, tmp_path):
    cohort()
    rows = {"pet": registry.read("registry/images.tsv")["A"]["pet"]}

    def work():
        path = next(Path(rows["pet"]["path"]).rglob("*.dcm"))
        shutil.copy2(path, "kept")
        swap(path)
        shutil.copy2("kept", path)
        return Outcome()

    with reads.planned(registry.Registered(rows)), pytest.raises(IntegrityError, match="not those that are"):
        run_stage("convert", tmp_path / "out.json", "p", work)


def test_an_error_of_the_disk_is_no_fault_of_the_patient(cohort, tmp_path, monkeypatch):
    cohort()
    rows = {"pet": registry.read("registry/images.tsv")["A"]["pet"]}
    for name in (errno.EIO, errno.ESTALE, errno.EACCES, errno.ETIMEDOUT):

        def fail(path, number=name):
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patch, reads.planned(registry.Registered(rows)):
            patch.setattr(looks, "digest_file", fail)
            with pytest.raises(IntegrityError) as error:
                run_stage("convert", tmp_path / "out.json", "p", Outcome)
        assert error.value.code == "E_SOURCE_GONE"
    with reads.planned(registry.Registered(rows)):
        record = run_stage("convert", tmp_path / "out.json", "p", Outcome)
    assert record.ok and record.inputs == {"pet": rows["pet"]["digest"]}


def test_the_same_images_are_found_under_other_names(cohort):
    shutil.rmtree("B")
    shutil.copytree("A", "B")
    os.rename("B/deep/0.dcm", "B/deep/other")
    assert cohort().alike == [["A", "B"]]


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
