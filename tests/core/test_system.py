"""What the operating system refuses: a sentence, a code and an exit code for every kind of it, and no path with a name."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from promet import cli
from promet.core import system
from promet.core.errors import Interrupted, UsageError
from promet.imaging.geometry import write_nifti

AGAIN, REFUSED = 75, 2
CODES = {
    errno.ENOSPC: ("E_DISK_FULL", AGAIN),
    errno.EDQUOT: ("E_QUOTA", AGAIN),
    errno.EFBIG: ("E_FILE_TOO_LARGE", AGAIN),
    errno.EIO: ("E_DISK_SILENT", AGAIN),
    errno.ESTALE: ("E_DISK_SILENT", AGAIN),
    errno.EMFILE: ("E_OPEN_FILES", AGAIN),
    errno.ENOMEM: ("E_MEMORY", AGAIN),
    errno.EACCES: ("E_NO_PERMISSION", REFUSED),
    errno.EPERM: ("E_NO_PERMISSION", REFUSED),
    errno.EROFS: ("E_READ_ONLY", REFUSED),
    errno.ENOTDIR: ("E_NOT_A_FOLDER", REFUSED),
    errno.EISDIR: ("E_NOT_A_FOLDER", REFUSED),
    errno.ENAMETOOLONG: ("E_NAME_TOO_LONG", REFUSED),
}
NOT_ROOT = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner,-linux_immutable"]


class Rust(Exception):
    """As safetensors raises it."""


Rust.__module__ = "safetensors._safetensors_rust"


def shapes(number: int) -> list[BaseException]:
    """One refusal as different libraries give it on."""
    plain = OSError(number, os.strerror(number), "results/patients/p1/crop.json")
    wrapped = RuntimeError("while writing")
    wrapped.__cause__ = plain
    return [
        plain,
        wrapped,
        Rust(f"I/O error: {os.strerror(number)} (os error {number})"),
        OSError(f"[Errno {number}] Error writing bytes to file. Detail: [errno {number}]"),
    ]


@pytest.mark.parametrize("number", CODES, ids=errno.errorcode.get)
def test_every_refusal_has_a_sentence_and_an_exit_code(number, monkeypatch, capsys):
    code, exits = CODES[number]
    for error in shapes(number):

        def fails(error: BaseException = error) -> None:
            raise error

        monkeypatch.setattr(cli, "app", fails)
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = capsys.readouterr().err
        assert (end.value.code, said.partition(": ")[2].partition(":")[0]) == (exits, code), said
        assert said.count("\n") == 1
    told = system.said_in(f"/usr/bin/bash: line 1: logs/x.log: {os.strerror(number)}\n")
    assert (told.code if told else "") == ("" if code in ("E_NOT_A_FOLDER", "E_OPEN_FILES") else code)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError("216000 requested and 38384 written"),
        np.exceptions.AxisError("x"),
        KeyError("errno 28"),
    ],
    ids=repr,
)
def test_what_is_and_what_is_not_the_systems_refusal(error):
    found = system.explained(error)
    assert (found.code if found else None) == {MemoryError: "E_MEMORY", OSError: "E_DISK_FULL"}.get(
        type(error)
    )


def test_a_full_disk_nobody_named_has_no_place():
    assert (
        str(system.refusal(errno.ENOSPC))
        == "There is no room left. Make room; then the same command goes on."
    )


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_terminal_without_a_letter_loses_no_answer(encoding, monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(cli, "app", lambda: print("12ab… – ≥ ü done"))
    cli.main()
    out.flush()
    assert out.buffer.getvalue().decode(encoding).strip().endswith("done")


def test_the_codes_of_a_jobs_last_words_give_the_same_exit_code():
    for number in system.TOLD:
        error = system.refusal(number)
        assert system.CODES[error.code] is type(error)
    assert {*system.CODES} >= {code for code, _ in CODES.values()}


def test_paths_of_sources_are_not_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    system.folders(("out", "registry", "logs"))
    shown = {
        path: str(system.refusal(errno.EACCES, path))
        for path in ("out/p1/crop.json", "dicom/DOE^JOHN/1", "/x/DOE")
    }
    monkeypatch.delenv(system.OWN)
    assert "out/p1/crop.json" in shown["out/p1/crop.json"]
    assert not any("DOE" in text for text in shown.values())
    assert str(tmp_path) not in str(shown)


def test_a_disk_without_room_for_another_file(monkeypatch):
    real = os.statvfs(".")
    full = os.statvfs_result((*real[:5], 100, 0, 0, *real[8:]))
    monkeypatch.setattr(system, "status", lambda path: full)
    found = system.refusal(errno.ENOSPC)
    assert found.code == "E_DISK_FILES" and isinstance(found, Interrupted)


def run(*command: str | Path, **options) -> subprocess.CompletedProcess:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **options)


WRITE = """
import sys, numpy as np, SimpleITK as sitk, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from promet import cli
from promet.core.files import write_text
from promet.imaging.geometry import write_nifti
image = sitk.GetImageFromArray(np.arange(64000, dtype=np.float32).reshape(40, 40, 40) * 0)
cli.app = lambda: [write_nifti(image, sys.argv[1] + name) for name in (".nii.gz", ".nii")]
cli.main()
"""


def test_itk_writes_half_an_image_without_a_word_and_promet_does_not(tmp_path):
    """A real limit of the file size; the compressed image would fit, and hold half of the voxels."""
    command = 'ulimit -f 100; trap "" XFSZ; exec "$@"'
    done = run("bash", "-c", command, "-", sys.executable, "-c", WRITE, tmp_path / "image")
    assert done.returncode == AGAIN and "promet: E_DISK_FULL" in done.stderr, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_image_that_fits_is_whole(tmp_path):
    image = sitk.GetImageFromArray(np.random.default_rng(1).random((4, 5, 6)).astype(np.float32))
    for name in ("a.nii", "a.nii.gz"):
        write_nifti(image, tmp_path / name)
        assert np.array_equal(
            sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / name)), sitk.GetArrayFromImage(image)
        )


def test_a_disk_of_few_files_and_one_of_few_bytes(tmp_path):
    """Real disks in memory; inodes run out on one, bytes on the other."""
    if run("unshare", "-rm", "true").returncode:
        pytest.skip("this computer gives no disk of one's own (unshare -rm)")
    for options, code in (("size=9m,nr_inodes=2", "E_DISK_FILES"), ("size=100k,nr_inodes=99", "E_DISK_FULL")):
        script = f'mount -t tmpfs -o {options} none . && cd "$PWD" && mkdir results && shift 0 && exec "$@"'
        write = WRITE.replace("sys.argv[1] + name", '"results/image" + name')
        done = run("unshare", "-rm", "bash", "-c", script, "-", sys.executable, "-c", write, cwd=tmp_path)
        assert done.returncode == AGAIN and f"promet: {code}" in done.stderr, (options, done.stderr)


@pytest.fixture
def colleague(tmp_path, monkeypatch):
    """A results folder of user 12345; root without the right to write everywhere, or any other user."""
    monkeypatch.chdir(tmp_path)
    if os.geteuid() or run(*NOT_ROOT, "true").returncode:
        pytest.skip("needs root, to make a folder of another user's")
    for name in ("results", "logs"):
        (tmp_path / name / "p1").mkdir(parents=True)
        (tmp_path / name / "p1/a.log").touch()
        run("chown", "-R", "12345", name)
    return tmp_path


ASK = """
from promet.core import system
import sys
print(*(f"{e.code}: {e}" for e in system.not_writable(sys.argv[1:])), sep="\\n")
"""


def test_a_colleagues_folder_is_told_with_its_owner(colleague):
    paths = ("results/p1/new/record.json", "results/p1/a.log", "mine/a/b", ".")
    done = run(*NOT_ROOT, sys.executable, "-c", ASK, *paths)
    lines = done.stdout.splitlines()
    assert [line.partition(",")[0] for line in lines] == [
        "E_NO_PERMISSION: You may not write or read results/p1",
        "E_NO_PERMISSION: You may not write or read results/p1/a.log",
    ], done.stdout + done.stderr
    assert "belongs to user 12345" in lines[0]


def test_a_disk_mounted_read_only(tmp_path):
    if run("unshare", "-rm", "true").returncode:
        pytest.skip("this computer gives no disk of one's own (unshare -rm)")
    script = 'mkdir results && mount -t tmpfs -o ro none results && exec "$@"'
    done = run(
        "unshare", "-rm", "bash", "-c", script, "-", sys.executable, "-c", ASK, "results/p1", cwd=tmp_path
    )
    assert done.stdout.startswith("E_READ_ONLY: The disk of results is mounted read-only"), (
        done.stdout + done.stderr
    )


SOMEBODY = """
import getpass, os
from pathlib import Path
from promet.core.environment import own_commands_first
own_commands_first()
import matplotlib
print(getpass.getuser(), Path.home().is_dir(), os.access(matplotlib.get_cachedir(), os.W_OK), os.environ.get("USER"))
"""


@pytest.mark.parametrize("home", [{}, {"HOME": "/"}, {"HOME": "/nonexistent"}], ids=str)
def test_a_user_id_without_a_name_and_a_home(tmp_path, home):
    """As in a container."""
    command = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", sys.executable, "-c"]
    if run(*command, "import numpy, promet").returncode:
        pytest.skip("needs root, and a Python that every user may read")
    keep = {"PATH": os.environ["PATH"]}
    done = run(*command, SOMEBODY, env=keep | home, cwd="/")
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert done.stdout.split() == ["uid-54321", str(home.get("HOME") != "/nonexistent"), "True", "uid-54321"]


def test_a_file_where_a_folder_is_needed(tmp_path):
    (tmp_path / "results").touch()
    write = WRITE.replace("sys.argv[1] + name", '"results/image" + name')
    done = run(sys.executable, "-c", write, cwd=tmp_path)
    assert done.returncode == REFUSED and "E_NOT_A_FOLDER: At results" in done.stderr, done.stderr


def test_probe(tmp_path):
    assert system.probe(tmp_path / "new") is None and list((tmp_path / "new").iterdir()) == []
    (tmp_path / "file").touch()
    assert system.probe(tmp_path / ("x" * 300)).code == "E_NAME_TOO_LONG"
    assert isinstance(system.refusal(errno.EROFS), UsageError)
