"""One DICOM instance out of a PACS's answer: whole or refused, and the same bytes by whatever route it came."""

from __future__ import annotations

import hashlib
import struct
from io import BytesIO
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID

from promet.hospital.web import Answer, Broken, foreign
from promet.imaging.dicom.whole import is_whole, meta

# Of whoever wrote the file: promet, whatever server and route it came from.
IMPLEMENTATION = "2.25.105271431862817253290414385620736216213"
VERSION = "PROMET"
TOP = ("SOPClassUID", "SOPInstanceUID", "Modality", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel")
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
IMAGES = ("PT", "CT", "SEG")


def only_part(answer: Answer) -> bytes:
    """The body of the one part of a multipart answer.

    Raises:
        Broken: the closing boundary is not there, or there is not exactly one part, or it is shorter than announced.
        UsageError: E_PACS_FOREIGN: no multipart answer.
    """
    boundary = answer.kind.get_param("boundary")
    if answer.kind.get_content_type() != "multipart/related" or not isinstance(boundary, str) or not boundary:
        raise foreign()
    mark = b"--" + boundary.encode("latin-1", "replace")
    body = b"\r\n" + answer.body
    start, end = body.find(b"\r\n" + mark + b"\r\n"), body.rfind(b"\r\n" + mark + b"--")
    if start < 0 or end <= start:
        raise Broken("an answer without its end")
    whole = body[start + len(mark) + 4 : end]
    if b"\r\n" + mark + b"\r\n" in whole:
        raise Broken("more than one part")
    head, parted, content = (b"\r\n" + whole).partition(b"\r\n\r\n")
    if not parted:
        raise Broken("a part without its head")
    for line in head.split(b"\r\n"):
        name, _, told = line.partition(b":")
        if name.strip().lower() == b"content-length" and told.strip() != str(len(content)).encode():
            raise Broken("a part of another length than announced")
    return content


def rewritten(data: bytes) -> bytes:
    """A DICOM file with promet's meta group and not a byte of its dataset changed.

    Raises:
        Broken: it is no DICOM file.
    """
    try:
        start, syntax = meta(data)
        top = dcmread(BytesIO(data), stop_before_pixels=True, specific_tags=["SOPClassUID", "SOPInstanceUID"])
        names = str(top.SOPClassUID), str(top.SOPInstanceUID)
    except Exception:  # pydicom raises many kinds, whose text may show a value
        raise Broken("no DICOM file") from None
    if data[128:132] != b"DICM" or not syntax:
        raise Broken("no DICOM file")
    group = b"".join(
        (
            struct.pack("<HH2sHI", 2, 1, b"OB", 0, 2) + b"\0\1",
            *(
                _text(number, kind, text)
                for number, kind, text in (
                    (2, b"UI", names[0]),
                    (3, b"UI", names[1]),
                    (0x10, b"UI", syntax),
                    (0x12, b"UI", IMPLEMENTATION),
                    (0x13, b"SH", VERSION),
                )
            ),
        )
    )
    return bytes(128) + b"DICM" + struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(group)) + group + data[start:]


def _text(number: int, kind: bytes, text: str) -> bytes:
    value = text.encode("ascii")
    value += (b" " if kind == b"SH" else b"\0") * (len(value) % 2)
    return struct.pack("<HH2sH", 2, number, kind, len(value)) + value


def require_whole(path: Path, instance: str) -> None:
    """Refuse a file that is not this instance, or not all of it.

    Raises:
        Broken: it cannot be parsed to its end, is another instance, or holds fewer pixel bytes than its own size needs.
    """
    try:
        top = dcmread(
            path, stop_before_pixels=False, defer_size=1024, specific_tags=[*TOP, "BitsAllocated", *PIXELS]
        )
        found, modality = str(top.get("SOPInstanceUID", "")), str(top.get("Modality", ""))
        held, needed = _held(top), _needed(top)
        syntax = UID(top.file_meta.TransferSyntaxUID)
    except Exception:  # as above
        raise Broken("no DICOM file") from None
    if found != instance:
        raise Broken("another instance than asked for")
    if not is_whole(path):
        raise Broken("a file that is cut")
    packed = syntax.is_compressed and not syntax.is_deflated
    if modality in IMAGES and (held == 0 or (not packed and held < needed)):
        raise Broken("fewer pixels than announced")


def _held(top: Dataset) -> int:
    return next((len(top[name].value) for name in PIXELS if name in top), 0)


def _needed(top: Dataset) -> int:
    """Bytes of the pixels as their size says, not compressed."""
    size = int(top.get("Rows", 0)) * int(top.get("Columns", 0)) * int(top.get("SamplesPerPixel", 1))
    return (size * int(top.get("NumberOfFrames", 1) or 1) * int(top.get("BitsAllocated", 0)) + 7) // 8


def hashed(uid: str, length: int = 32) -> str:
    """A name for a file or folder that does not hold the UID itself: the first digits of its SHA-256."""
    return hashlib.sha256(uid.encode()).hexdigest()[:length]
