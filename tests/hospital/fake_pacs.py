"""A DICOMweb service in this process that misbehaves as it is told, and the small images that it holds."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from urllib.parse import parse_qs, urlsplit

from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

CLASSES = {
    "PT": "1.2.840.10008.5.1.4.1.1.128",
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "RTSTRUCT": "1.2.840.10008.5.1.4.1.1.481.3",
    "SEG": "1.2.840.10008.5.1.4.1.1.66.4",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "SR": "1.2.840.10008.5.1.4.1.1.88.22",
}
BOUNDARY = "3d6f-boundary"
NUMBERS = ("00201206", "00201209")


def uid(*words: object) -> str:
    return generate_uid(entropy_srcs=[str(word) for word in words])


def instance(study: str, series: str, number: int, modality: str = "PT", **changes: object) -> Dataset:
    """A small image; every text that could tell who it is holds ZQX."""
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = CLASSES[modality], uid(study, series, number)
    image.Modality, image.PatientName, image.PatientID = modality, "ZQX^NAME", "ZQX77"
    image.StudyInstanceUID, image.SeriesInstanceUID = uid(study), uid(study, series)
    image.StudyDate, image.AccessionNumber, image.StudyDescription = "19331224", "ZQXACC", "ZQX study"
    image.InstanceNumber = number
    if modality in ("PT", "CT", "MR", "SEG"):
        image.Rows = image.Columns = 8
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated = image.BitsStored = 16
        image.HighBit, image.PixelRepresentation = 15, 0
        image.PixelData = bytes(range(number % 100, number % 100 + 128))
    for name, value in changes.items():
        setattr(image, name, value)
    return image


def as_file(image: Dataset, maker: str = "SERVER") -> bytes:
    """A DICOM file; ``maker`` is what a server writes into the meta group."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID, meta.ImplementationVersionName = uid(maker), maker[:16]
    meta.SourceApplicationEntityTitle = maker[:16]
    image.file_meta = meta
    stream = BytesIO()
    dcmwrite(stream, image, enforce_file_format=True)
    return stream.getvalue()


@dataclass
class Pacs:
    """What it holds, how it errs, and what it was asked.

    ``limit``: entries a list has at most; ``pages``: it pays heed to ``offset``; ``announces``: it tells numbers; ``lies``: added to
    them; ``filters``: it knows filters; ``cut``: bytes after which an image ends; ``answer``: called with the path, may
    give (status, headers, body) instead; ``takes``: objects it says to have stored.
    """

    images: list[Dataset]
    limit: int = 10**9
    pages: bool = True
    announces: bool = True
    lies: int = 0
    filters: bool = True
    maker: str = "SERVER"
    cut: Callable[[int], int] | None = None
    answer: Callable[[str], tuple[int, dict[str, str], bytes] | None] = lambda path: None
    asked: list[str] = field(default_factory=list)
    credentials: list[str | None] = field(default_factory=list)
    stored: list[bytes] = field(default_factory=list)
    takes: int | None = None
    base: str = ""

    def entries(self, path: list[str], words: dict[str, str]) -> list[dict]:
        images = self.images
        for name, at in (("StudyInstanceUID", 1), ("SeriesInstanceUID", 3)):
            if len(path) > at:
                images = [image for image in images if image[name].value == path[at]]
        if self.filters:
            for name in ("StudyInstanceUID", "AccessionNumber", "PatientID", "StudyDate"):
                if name in words:
                    images = [image for image in images if image[name].value == words[name]]
        level = {1: ("StudyInstanceUID", "PatientID"), 3: ("SeriesInstanceUID",), 5: ("SOPInstanceUID",)}[
            len(path)
        ]
        groups: dict[tuple, list[Dataset]] = {}
        for image in images:
            groups.setdefault(tuple(image[name].value for name in level), []).append(image)
        found = []
        for members in groups.values():
            one = members[0]
            entry = Dataset()
            for name in (
                *("StudyInstanceUID", "PatientID", "AccessionNumber", "StudyDate"),
                *(("SeriesInstanceUID", "Modality") if len(path) > 1 else ()),
                *(("SOPInstanceUID",) if len(path) > 3 else ()),
            ):
                entry[name] = one[name]
            told = json.loads(entry.to_json())
            if self.announces and len(path) == 1:
                told["00201206"] = {
                    "vr": "IS",
                    "Value": [len({m.SeriesInstanceUID for m in members}) + self.lies],
                }
            if self.announces and len(path) == 3:
                told["00201209"] = {"vr": "IS", "Value": [len(members) + self.lies]}
            found.append(told)
        first = int(words.get("offset", 0)) if self.pages else 0
        return found[first : first + min(self.limit, int(words.get("limit", 10**9)))]


class _Handler(BaseHTTPRequestHandler):
    protocol_version, disable_nagle_algorithm = "HTTP/1.1", True
    pacs: Pacs

    def log_message(self, *words: object) -> None:
        pass

    def do_GET(self) -> None:
        pacs, url = self.pacs, urlsplit(self.path)
        path = url.path.removeprefix("/dicom-web/").split("/")
        pacs.asked.append(self.path)
        pacs.credentials.append(self.headers.get("Authorization"))
        said = pacs.answer(self.path)
        if said is not None:
            self._send(*said)
        elif len(path) == 6:
            found = [image for image in pacs.images if image.SOPInstanceUID == path[5]]
            body = part(as_file(found[0], pacs.maker)) if found else b""
            if found and pacs.cut is not None:
                # As Orthanc does: neither a length nor chunks, so a stream that ends is no error of HTTP.
                self.send_response(200)
                self.send_header("Content-Type", KIND)
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(body[: pacs.cut(len(body))])
                self.close_connection = True
            else:
                self._send(200 if found else 404, {"Content-Type": KIND}, body)
        else:
            words = {name: values[0] for name, values in parse_qs(url.query).items()}
            body = json.dumps(pacs.entries(path, words)).encode()
            self._send(200, {"Content-Type": "application/dicom+json"}, body)

    def do_POST(self) -> None:
        """STOW-RS: keeps what it got, and answers as it is told or with what it stored."""
        pacs, body = self.pacs, self.rfile.read(int(self.headers["Content-Length"]))
        pacs.asked.append(self.path)
        pacs.credentials.append(self.headers.get("Authorization"))
        mark = b"--" + self.headers.get_param("boundary").encode()
        parts = [part.partition(b"\r\n\r\n")[2][:-2] for part in body.split(mark)[1:-1]]
        got = [dcmread(BytesIO(part)) for part in parts]
        pacs.stored.extend(parts)
        said = pacs.answer(self.path)
        items = [{"00081155": {"vr": "UI", "Value": [image.SOPInstanceUID]}} for image in got[: pacs.takes]]
        told = json.dumps({"00081199": {"vr": "SQ", "Value": items}}).encode()
        self._send(*(said or (200, {"Content-Type": "application/dicom+json"}, told)))

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


KIND = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'


def part(data: bytes) -> bytes:
    """A file as the one part of a multipart body."""
    head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode()


@contextmanager
def serving(pacs: Pacs) -> Iterator[Pacs]:
    """The service, on a free port of this computer, for the time of a test."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"pacs": pacs}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    pacs.base = f"http://127.0.0.1:{server.server_address[1]}/dicom-web"
    try:
        yield pacs
    finally:
        server.shutdown()
        server.server_close()
