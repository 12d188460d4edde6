"""SHA256SUMS: what sha256sum itself says of it, and every kind of damage."""

import shutil
import subprocess

import pytest

from promet.core import checksums
from promet.core.errors import IntegrityError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "one.json").write_text("{}")
    (tmp_path / "deep/two words.txt").write_text("two")
    checksums.write(tmp_path, ["one.json", "deep/two words.txt"])
    return tmp_path


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="sha256sum is not installed")
def test_sha256sum_agrees(folder):
    assert (
        subprocess.run(["sha256sum", "-c", "--strict", checksums.NAME], cwd=folder, check=False).returncode
        == 0
    )
    (folder / "one.json").write_text("[]")
    assert subprocess.run(["sha256sum", "-c", checksums.NAME], cwd=folder, check=False).returncode == 1


def test_every_damage_is_named(folder):
    assert checksums.compare(folder) == []
    (folder / "one.json").write_text("[]")
    (folder / "deep/two words.txt").unlink()
    (folder / "deep/three").write_text("")
    (folder / "record.json").write_text("")
    assert checksums.compare(folder, ("record.json",)) == [
        ("deep/two words.txt", "missing"),
        ("one.json", "changed"),
        ("deep/three", "not listed"),
    ]


def test_the_same_content_keeps_its_time(folder):
    before = (folder / checksums.NAME).stat().st_mtime_ns
    checksums.write(folder, ["deep/two words.txt", "one.json"])
    assert (folder / checksums.NAME).stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "text",
    ["", "not a digest  one.json\n", f"{'0' * 64}  ../one.json\n", f"{'0' * 64}  /etc/hosts\n", "\x00\n"],
)
def test_a_damaged_list_is_refused(folder, text):
    (folder / checksums.NAME).write_text(text)
    with pytest.raises(IntegrityError, match="damaged"):
        checksums.compare(folder)


def test_no_list(tmp_path):
    with pytest.raises(IntegrityError) as error:
        checksums.compare(tmp_path)
    assert error.value.code == "E_CHECKSUMS_MISSING"
