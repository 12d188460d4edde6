"""promet pacs get from a real Orthanc, straight and over the bridge of docs/hospital.md."""

import json
import re
import shutil
import subprocess
import threading
from hashlib import sha256
from pathlib import Path

import pytest
from fake_pacs import as_file, instance, uid
from pydicom import dcmread
from tools import Orthanc, find

from promet.core.errors import Interrupted
from promet.hospital import web
from promet.hospital.pacs import get
from promet.hospital.web import Server

PAGE = Path(__file__).parents[3] / "docs/hospital.md"
HELD = [
    *(instance("one", "pet", k) for k in range(60)),
    *(instance("one", "ct", k, "CT") for k in range(5)),
    instance("one", "rt", 0, "RTSTRUCT", StructureSetLabel="ZQX"),
    *(instance("one", "mr", k, "MR") for k in range(3)),
    *(instance("two", "pet", k, AccessionNumber="ZQXACC2") for k in range(2)),
]


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory):
    server = Orthanc(tmp_path_factory.mktemp("pacs") / "orthanc", DicomAet="PACS").start()
    for image in HELD:
        server.ask("/instances", as_file(image))
    yield server
    server.kill()


def digests(out):
    return {
        path.relative_to(out).as_posix(): sha256(path.read_bytes()).hexdigest() for path in out.rglob("*.dcm")
    }


@pytest.fixture
def studies(tmp_path):
    path = tmp_path / "studies.tsv"
    path.write_text("AccessionNumber\nZQXACC\n")
    return path


def server(orthanc):
    return Server(f"{orthanc.base}/dicom-web", pause=0)


def test_straight(orthanc, studies, tmp_path, monkeypatch):
    monkeypatch.setattr(web, "PAGE", 25)
    assert get(server(orthanc), studies, tmp_path / "out") == 0
    found = [dcmread(path) for path in (tmp_path / "out").rglob("*.dcm")]
    assert {image.SOPInstanceUID: image for image in found} == {
        image.SOPInstanceUID: image for image in HELD[:66]
    }
    assert get(server(orthanc), studies, tmp_path / "out") == 0


def test_a_limit_of_the_server(studies, tmp_path, capsys):
    """Orthanc cuts its list before it pages on (8 of 60, HTTP 200, no warning): told, and not marked complete."""
    limited = Orthanc(tmp_path / "limited", LimitFindInstances=7).start()
    try:
        for image in HELD[:65]:
            limited.ask("/instances", as_file(image))
        assert get(server(limited), studies, tmp_path / "out") == 75
    finally:
        limited.kill()
    assert "announces 60 and lists 8" in capsys.readouterr().out
    assert [path.read_text() for path in (tmp_path / "out").rglob("complete")] == ["5\n"]


def test_the_server_dies_and_comes_back(orthanc, studies, tmp_path):
    out = tmp_path / "out"

    def kill_at_20():
        while len(list(out.rglob("*.dcm"))) < 20:
            pass
        orthanc.kill()

    threading.Thread(target=kill_at_20, daemon=True).start()
    with pytest.raises(Interrupted):
        get(server(orthanc), studies, out)
    first = digests(out)
    assert 20 <= len(first) < 66 and len(list(out.rglob("complete"))) <= 1  # the CT may have come first
    orthanc.start()
    assert get(server(orthanc), studies, out) == 0
    assert len(digests(out)) == 66 and first.items() <= digests(out).items()


def test_the_bridge_of_the_page(orthanc, studies, tmp_path):
    """Its JSON and its commands as they stand, but for names, ports and places: the same bytes as straight."""
    text = PAGE.read_text(encoding="utf-8")
    told = json.loads(re.search(r"```json\n(.*?)```", text, re.DOTALL)[1])
    told["DicomModalities"]["pacs"] |= {"Host": "127.0.0.1", "Port": orthanc.dicom}
    mine = {"Plugins", "StorageDirectory", "IndexDirectory"}
    bridge = Orthanc(tmp_path / "bridge", **{key: value for key, value in told.items() if key not in mine})
    if shutil.which("curl") is None:
        pytest.skip("no curl")
    bridge.start()
    try:
        # The PACS knows the bridge: of Orthanc, over its own interface.
        entry = {"AET": "BRIDGE", "Host": "127.0.0.1", "Port": bridge.dicom}
        subprocess.run(
            ["curl", "-sf", "-X", "PUT", f"{orthanc.base}/modalities/bridge", "-d", json.dumps(entry)],
            check=True,
        )
        (commands,) = re.findall(r"```sh\n(B=.*?)```", text, re.DOTALL)
        commands = commands.replace("http://127.0.0.1:8043", bridge.base).replace("A-17", "ZQXACC")
        commands = commands.replace(
            "--list studies.tsv --out incoming", f"--list {studies} --out {tmp_path / 'over'}"
        )
        done = subprocess.run(
            ["bash", "-ec", commands], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert '"0"' in done.stdout and '"1"' not in done.stdout
    finally:
        bridge.kill()
    assert get(server(orthanc), studies, tmp_path / "straight") == 0
    assert (
        digests(tmp_path / "over") == digests(tmp_path / "straight") and len(digests(tmp_path / "over")) == 66
    )


def test_what_was_asked_for_is_not_shown(orthanc, studies, tmp_path):
    find("Orthanc")
    command = [
        "promet",
        "pacs",
        "get",
        f"{orthanc.base}/dicom-web",
        "--list",
        studies,
        "--out",
        tmp_path / "out",
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0 and not re.search("ZQX|1933|dicom-web", done.stdout + done.stderr)
    assert uid("one") not in done.stdout
