"""promet pacs get against a service that misbehaves: whole or not at all, and never a word of whom it was about."""

import re
import signal
import subprocess
import sys
import time
from hashlib import sha256

import pytest
from fake_pacs import KIND, Pacs, as_file, instance, part, serving, uid
from pydicom import dcmread

from promet.core.errors import Interrupted, UsageError
from promet.hospital import pacs as transfer
from promet.hospital.arrived import unfinished
from promet.hospital.part10 import rewritten
from promet.hospital.web import Server

PLANTED = re.compile(r"ZQX|1933|1\.2\.826|2\.25\.|dicom-web|127\.0\.0\.1|http|secret")


def series(study="one", name="pet", number=3, modality="PT", **changes):
    return [instance(study, name, k, modality, **changes) for k in range(number)]


def listed(tmp_path, *rows, names="StudyInstanceUID"):
    path = tmp_path / "studies.tsv"
    path.write_text("\n".join((names, *(rows or (uid("one"),)))) + "\n")
    return path


def fetch(pacs, studies, out):
    return transfer.get(Server(pacs.base, pause=0, timeout=5), studies, out)


def images(out):
    return sorted(out.rglob("*.dcm"))


def digests(out):
    return {path.relative_to(out).as_posix(): sha256(path.read_bytes()).hexdigest() for path in images(out)}


def code_of(pacs, studies, out):
    """The exit code, or the code of the refusal."""
    try:
        return fetch(pacs, studies, out)
    except (UsageError, Interrupted) as error:
        assert not PLANTED.search(str(error))
        return error.code


@pytest.fixture
def out(tmp_path):
    return tmp_path / "incoming"


def test_only_what_is_wanted_and_a_second_time_nothing(tmp_path, out, capsys):
    held = [
        *series(),
        *series(name="ct", modality="CT"),
        *series(name="rt", number=1, modality="RTSTRUCT"),
        *series(name="seg", number=1, modality="SEG"),
        *series(name="mr", modality="MR"),
        *series(name="sr", number=1, modality="SR"),
        *series(study="other"),
    ]
    with serving(Pacs(held)) as pacs:
        assert fetch(pacs, listed(tmp_path), out) == 0
        found = [dcmread(path) for path in images(out)]
        assert sorted(image.Modality for image in found) == ["CT"] * 3 + ["PT"] * 3 + ["RTSTRUCT", "SEG"]
        by_uid = {image.SOPInstanceUID: image for image in held}
        assert all(image == by_uid[image.SOPInstanceUID] for image in found)
        assert sorted(path.read_text() for path in out.rglob("complete")) == ["1\n", "1\n", "3\n", "3\n"]
        assert not any(unfinished(path.parent) for path in images(out))
        before, pacs.asked[:] = digests(out), []
        assert fetch(pacs, listed(tmp_path), out) == 0
        assert digests(out) == before and not any("/instances/" in path for path in pacs.asked)
    told = capsys.readouterr()
    assert "8 images fetched, 0 there before" in told.out and "0 images fetched, 8 there before" in told.out
    assert not PLANTED.search(told.out + told.err)
    assert not PLANTED.search(" ".join(path.as_posix() for path in out.rglob("*")))


def test_cut_at_every_byte(tmp_path, out):
    """Wherever the stream ends: no final file that is not whole, and resumable; the 2 behind the boundary carry nothing."""
    whole = len(part(as_file(series()[0])))
    studies = listed(tmp_path)
    with serving(Pacs(series(number=1))) as pacs:
        for length in (*range(0, whole - 2, 29), *range(whole - 60, whole - 2)):
            pacs.cut = lambda size, length=length: length
            assert fetch(pacs, studies, out) == 75, length
            assert not images(out) and not list(out.rglob("complete")), length
            assert all(unfinished(folder) for folder in out.glob("*/*"))
        pacs.cut = None
        assert fetch(pacs, studies, out) == 0
        assert len(images(out)) == 1 and not list(out.rglob("*.part"))


def test_a_broken_image_is_asked_for_again(tmp_path, out):
    times = []

    def some(size):
        times.append(size)
        return size // 2 if len(times) % 4 else size  # whole at the fourth try

    with serving(Pacs(series(), cut=some)) as pacs:
        assert fetch(pacs, listed(tmp_path), out) == 0
    assert len(images(out)) == 3 and len(times) == 12


def test_one_image_that_never_comes_holds_up_no_other(tmp_path, out):
    held = [*series(), *series(study="two")]
    bad = held[1].SOPInstanceUID
    broken = lambda path: (500, {}, b"ZQX") if path.endswith(bad) else None  # noqa: E731
    with serving(Pacs(held, answer=broken)) as pacs:
        assert fetch(pacs, listed(tmp_path, uid("one"), uid("two")), out) == 75
        assert len(images(out)) == 5 and len(list(out.rglob("complete"))) == 1
        assert sum(path.endswith(bad) for path in pacs.asked) == 4


def test_a_list_that_is_cut_at_a_limit(tmp_path, out, capsys):
    """101 of 300, no error (Orthanc's LimitFindInstances): noticed where it does not page on, read on where it does."""
    with serving(Pacs(series(number=300), limit=101, pages=False)) as pacs:
        assert fetch(pacs, listed(tmp_path), out) == 75
        assert not list(out.rglob("complete"))
        assert "announces 300 and lists 100" in capsys.readouterr().out
        pacs.pages = True
        assert fetch(pacs, listed(tmp_path), out) == 0
        assert len(images(out)) == 300
        pacs.images, pacs.announces, pacs.limit = pacs.images[:20], False, 7
        assert fetch(pacs, listed(tmp_path), tmp_path / "again") == 0
        assert len(images(tmp_path / "again")) == 20


def test_still_arriving(tmp_path, out):
    held = series()
    with serving(Pacs(held[:2], lies=1)) as pacs:
        assert fetch(pacs, listed(tmp_path), out) == 75
        assert not images(out)
        pacs.lies = 0
        assert fetch(pacs, listed(tmp_path), out) == 0
        (folder,) = out.glob("*/*")
        assert (folder / "complete").read_text() == "2\n"
        pacs.images = held  # another image came
        assert fetch(pacs, listed(tmp_path), out) == 0
        assert (folder / "complete").read_text() == "3\n"
        pacs.images = held[1:]
        assert fetch(pacs, listed(tmp_path), out) == 2  # one is gone: whose is it now?
        assert unfinished(folder) and len(images(out)) == 3


@pytest.mark.parametrize(
    ("status", "headers", "ends", "times"),
    [
        (500, {}, "E_PACS_SILENT", 4),
        (503, {"Retry-After": "0"}, "E_PACS_SILENT", 4),
        (206, {"Content-Type": KIND}, "E_PACS_SILENT", 4),
        (429, {}, "E_PACS_SILENT", 4),
        (401, {"WWW-Authenticate": "Basic"}, "E_PACS_DENIED", 1),
        (403, {}, "E_PACS_DENIED", 1),
        (404, {}, 2, 3),  # of each of three images
        (400, {}, "E_PACS_REFUSED", 1),
        (302, {"Location": "http://127.0.0.1:9/ZQX"}, "E_PACS_REDIRECT", 1),
        (302, {"Location": "//other.example/"}, "E_PACS_REDIRECT", 1),
        (200, {"Content-Type": "text/html"}, "E_PACS_FOREIGN", 1),
        (200, {"Content-Type": KIND}, "E_PACS_SILENT", 8),  # two images in a row
    ],
)
def test_what_an_image_is_answered_with(tmp_path, out, status, headers, ends, times):
    def answer(path):
        return (status, headers, b"ZQX") if "/instances/" in path else None

    with serving(Pacs(series(), answer=answer)) as pacs:
        assert code_of(pacs, listed(tmp_path), out) == ends
        number = sum("/instances/" in path for path in pacs.asked)
        assert number == (2 * times if ends == "E_PACS_SILENT" and times == 4 else times)
    assert not images(out) and not list(out.rglob("complete"))


@pytest.mark.parametrize(
    ("status", "body", "ends"),
    [
        (500, b"", "E_PACS_SILENT"),
        (401, b"", "E_PACS_DENIED"),
        (404, b"", "E_PACS_UNKNOWN"),
        (200, b"[{", "E_PACS_SILENT"),
        (200, b"{}", "E_PACS_FOREIGN"),
        (200, b'[{"0020000D": {"vr": "UI", "Value": ["../.."]}}]', 2),  # not the study asked for
        (204, b"", 2),
    ],
)
def test_what_a_list_is_answered_with(tmp_path, out, status, body, ends):
    kind = {"Content-Type": "application/dicom+json"}
    with serving(Pacs([], answer=lambda path: (status, kind, body))) as pacs:
        assert code_of(pacs, listed(tmp_path), out) == ends


def test_a_uid_that_is_none_becomes_no_address(tmp_path, out):
    def answer(path):
        kind = {"Content-Type": "application/dicom+json"}
        return (
            (200, kind, b'[{"0020000E": {"Value": ["1/../2"]}, "00080060": {"Value": ["PT"]}}]')
            if "/series" in path
            else None
        )

    with serving(Pacs(series(), announces=False, answer=answer)) as pacs:
        assert code_of(pacs, listed(tmp_path), out) == "E_PACS_FOREIGN"


@pytest.mark.parametrize(
    "body",
    [
        part(as_file(instance("one", "pet", 7))),  # another image
        part(as_file(instance("one", "pet", 0)))[:-4] + b"\r\n",
        part(as_file(instance("one", "pet", 0))[:-20]),
        part(as_file(instance("one", "pet", 0, PixelData=b"12"))),
        part(b"ZQX"),
        part(as_file(instance("one", "pet", 0))).replace(b"Content-Length: ", b"Content-Length: 1"),
        part(as_file(instance("one", "pet", 0))).replace(
            b"\r\n--3d6f-boundary--", b"\r\n--3d6f-boundary\r\n\r\n\r\n--3d6f-boundary--"
        ),
    ],
)
def test_what_is_not_the_whole_image(tmp_path, out, body):
    def answer(path):
        return (200, {"Content-Type": KIND}, body) if "/instances/" in path else None

    with serving(Pacs(series(number=1), answer=answer)) as pacs:
        assert fetch(pacs, listed(tmp_path), out) == 75
    assert not images(out) and not list(out.rglob("complete"))


def test_same_bytes_by_whatever_route(tmp_path, out):
    """What servers write into the meta group is replaced, so intake, which hashes files, sees nothing new; the dataset stays."""
    with serving(Pacs(series(), maker="DIRECT")) as pacs:
        fetch(pacs, listed(tmp_path), out)
        pacs.maker = "BRIDGE"
        fetch(pacs, listed(tmp_path), tmp_path / "bridge")
    assert digests(out) == digests(tmp_path / "bridge") and len(digests(out)) == 3
    given = as_file(series()[0])
    assert rewritten(given)[-200:] == given[-200:] and rewritten(rewritten(given)) == rewritten(given)


def test_which_study_a_line_means(tmp_path, out, capsys):
    held = [
        *series(AccessionNumber="0017", PatientID="ZQX1"),
        *series(study="two", AccessionNumber="17", PatientID="ZQX1"),
        *series(study="three", AccessionNumber="17", PatientID="ZQX2", StudyDate="19340101"),
    ]
    names = "StudyInstanceUID\tAccessionNumber\tPatientID\tStudyDate"

    def asked(*cells):
        target = tmp_path / "-".join(("out", *cells))
        code = code_of(pacs, listed(tmp_path, "\t".join(cells), names=names), target)
        told = capsys.readouterr().out
        assert not PLANTED.search(told)
        return code, {dcmread(path).StudyInstanceUID for path in images(target)}, told

    with serving(Pacs(held)) as pacs:
        for pacs.filters in (True, False):  # some services give all they have for a filter they do not know
            assert asked("", "0017", "", "")[:2] == (0, {uid("one")})
            assert asked("", "17", "ZQX2", "")[:2] == (0, {uid("three")})
            assert asked("", "", "ZQX2", "19340101")[:2] == (0, {uid("three")})
            code, found, told = asked("", "17", "", "")
            assert (code, found) == (2, set()) and "E_PACS_AMBIGUOUS: 2 studies" in told and "line 2" in told
            code, found, told = asked("", "", "ZQX1", "19331224")
            assert (code, found) == (2, set()) and "E_PACS_AMBIGUOUS" in told
            code, found, told = asked("", "18", "", "")
            assert (code, found) == (2, set()) and "E_PACS_NONE" in told
            assert asked(uid("one"), "17", "", "")[:2] == (2, set())  # the cells contradict each other
        asked_before = len(pacs.asked)
        for cells in (
            ["", "", "ZQX1", ""],
            ["", "1*", "", ""],
            ["", "", "ZQX?", "19331224"],
            ["1.2,1.3", "", "", ""],
        ):
            assert asked(*cells)[0] == "E_PACS_LIST"
        assert len(pacs.asked) == asked_before


def test_one_study_under_two_patients_is_a_question(tmp_path, out, capsys):
    held = [*series(number=1), *series(name="ct", modality="CT", number=1, PatientID="ZQX78")]
    with serving(Pacs(held)) as pacs:
        assert fetch(pacs, listed(tmp_path), out) == 2
    assert "E_PACS_AMBIGUOUS" in capsys.readouterr().out and not images(out)


def test_credentials(tmp_path, out, capsys, monkeypatch):
    with serving(Pacs(series())) as pacs:
        fetch(pacs, listed(tmp_path), out)
        assert set(pacs.credentials) == {None}
        monkeypatch.setenv("PROMET_PACS_TOKEN", "secret-token")
        fetch(pacs, listed(tmp_path), out)
        assert pacs.credentials[-1] == "Bearer secret-token"
        monkeypatch.setenv("PROMET_PACS_TOKEN", "Basic secret==")
        fetch(pacs, listed(tmp_path), out)
        assert pacs.credentials[-1] == "Basic secret=="
    told = capsys.readouterr()
    assert "secret" not in told.out + told.err
    with pytest.raises(UsageError, match="unencrypted"):
        Server("http://pacs.example/dicom-web")
    monkeypatch.setenv("PROMET_PACS_TOKEN", "secret\nX-Other: 1")
    with pytest.raises(UsageError) as error:
        Server("https://pacs.example/dicom-web")
    assert error.value.code == "E_PACS_TOKEN" and "secret" not in str(error.value)


@pytest.mark.parametrize(
    "base",
    [
        "ftp://x/y",
        "https://user:secret@x/y",
        "https://x/y?token=secret",
        "https:///y",
        "x/y",
        "http://[::1",
        "http://x:0/",
    ],
)
def test_addresses_that_are_none(base):
    with pytest.raises(UsageError) as error:
        Server(base)
    assert error.value.code == "E_PACS_ADDRESS" and "secret" not in str(error.value)


def test_a_redirect_to_itself_is_followed(tmp_path, out):
    def answer(path):
        return (307, {"Location": path.replace("/old", "")}, b"") if "/old/" in path else None

    with serving(Pacs(series(), answer=answer)) as pacs:
        pacs.base += "/old"
        assert fetch(pacs, listed(tmp_path), out) == 0


def test_nobody_answers(tmp_path, out):
    with serving(Pacs([])) as pacs:
        pass
    assert code_of(pacs, listed(tmp_path), out) == "E_PACS_SILENT"


def command(pacs, studies, out):
    words = ["pacs", "get", pacs.base, "--list", str(studies), "--out", str(out), "--pause", "0"]
    return [sys.executable, "-c", "from promet.cli import main; main()", *words]


def test_kills_of_both_sides(tmp_path, out, monkeypatch):
    """The client dies at 90 of 300 images, the server at 180; the third time 120 are fetched and the fourth time none."""
    monkeypatch.setenv("PROMET_PACS_TOKEN", "secret-token")
    studies, held = listed(tmp_path), series(number=300)
    with serving(Pacs(held)) as pacs:
        process = subprocess.Popen(
            command(pacs, studies, out), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

        def at_90(path):
            if len(images(out)) >= 90:
                process.send_signal(signal.SIGKILL)
                time.sleep(0.2)

        pacs.answer = at_90
        assert process.wait(60) == -signal.SIGKILL
        (folder,) = out.glob("*/*")
        assert len(images(out)) == 90 and unfinished(folder)
        before = digests(out)

        pacs.answer, pacs.cut = lambda path: None, lambda size: size if len(images(out)) < 180 else size // 3
        done = subprocess.run(
            command(pacs, studies, out), capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 75 and len(images(out)) == 180 and unfinished(folder)
        assert not PLANTED.search(done.stdout + done.stderr), done.stdout + done.stderr

        pacs.cut, pacs.asked[:] = None, []
        done = subprocess.run(
            command(pacs, studies, out), capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0 and sum("/instances/" in path for path in pacs.asked) == 120
        assert not PLANTED.search(done.stdout + done.stderr)
        pacs.asked[:] = []
        assert fetch(pacs, studies, out) == 0 and not any("/instances/" in path for path in pacs.asked)
    assert before.items() <= digests(out).items()  # nothing was written over
    pixels = {image.SOPInstanceUID: image.PixelData for image in map(dcmread, images(out))}
    assert pixels == {image.SOPInstanceUID: image.PixelData for image in held}
    assert not unfinished(folder) and not list(out.rglob("*.part"))


def test_two_transfers_into_one_folder(tmp_path, out):
    with serving(Pacs(series())) as pacs, transfer._alone(out):
        assert code_of(pacs, listed(tmp_path), out) == "E_PACS_BUSY"
