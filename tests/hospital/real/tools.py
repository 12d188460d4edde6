"""The programs that tests/hospital/real/tools.sh brings, and an Orthanc that lives as long as a test.

PROMET_TEST_HOSPITAL names the folder (make test-hospital sets it); without it, or without the program, a test skips.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

FOLDER = os.environ.get("PROMET_TEST_HOSPITAL", "") and os.path.abspath(os.environ["PROMET_TEST_HOSPITAL"])


def find(name: str) -> Path:
    """A program of the folder; the test skips without it."""
    if not FOLDER:
        pytest.skip("PROMET_TEST_HOSPITAL names no folder of programs: make test-hospital")
    for place in (
        "unpacked/usr/bin",
        "unpacked/usr/sbin",
        "unpacked/usr/share/orthanc/plugins",
        "python/bin",
    ):
        path = Path(FOLDER, place, name)
        if path.exists():
            return path
    pytest.skip(f"no {name}: tests/hospital/real/tools.sh could not get it")


def variables() -> dict[str, str]:
    """What Debian's programs need to run where they were unpacked."""
    root = Path(FOLDER, "unpacked/usr")
    libraries = ":".join(sorted({str(path.parent) for path in (root / "lib").rglob("*.so*")}))
    words = ":".join(str(path) for path in sorted((root / "share").glob("*dcmtk*/*.dic")))
    return {**os.environ, "LD_LIBRARY_PATH": libraries, "DCMDICTPATH": words, "LC_ALL": "C"}


def call(name: str, *words: object, code: int | None = 0) -> str:
    """Run a program; what it said on both streams."""
    # Programs of PyPI bring their own libraries.
    path = find(name)
    done = subprocess.run(
        [str(path), *map(str, words)],
        env=variables() if "unpacked" in path.parts else None,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=300,
        check=False,
    )
    assert code is None or done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Orthanc:
    """A server of its own on loopback. ``more`` is laid over its configuration."""

    def __init__(self, folder: Path, **more: object) -> None:
        self.http, self.dicom, self.folder = free_port(), free_port(), folder
        folder.mkdir(parents=True)
        self.base = f"http://127.0.0.1:{self.http}"
        self.configuration = {
            "Name": "TEST",
            "DicomAet": "TEST",
            "StorageDirectory": str(folder / "db"),
            "IndexDirectory": str(folder / "db"),
            "Plugins": [str(find("libOrthancDicomWeb.so"))],
            "RemoteAccessAllowed": False,
            "DicomAlwaysAllowStore": False,
            "OverwriteInstances": False,
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
            **more,
            "HttpPort": self.http,
            "DicomPort": self.dicom,
        }
        self.process: subprocess.Popen | None = None

    def start(self) -> Orthanc:
        path = self.folder / "orthanc.json"
        path.write_text(json.dumps(self.configuration))
        log = open(self.folder / "log", "a")  # noqa: SIM115
        self.process = subprocess.Popen([find("Orthanc"), path], env=variables(), stdout=log, stderr=log)
        for _ in range(600):
            try:
                self.ask("/system")
                return self
            except OSError:
                assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
                time.sleep(0.1)
        raise AssertionError("Orthanc does not answer")

    def kill(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def ask(self, path: str, data: bytes | None = None) -> Any:
        return json.loads(self.bytes(path, data))

    def bytes(self, path: str, data: bytes | None = None) -> bytes:
        with urllib.request.urlopen(urllib.request.Request(self.base + path, data), timeout=60) as answer:
            return answer.read()
