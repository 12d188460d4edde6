"""Whether a DICOM file holds all the bytes that its elements announce: pydicom leaves out what is cut, without a word."""

from __future__ import annotations

import mmap
import re
import struct
import zlib
from pathlib import Path

LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END, PIXELS = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD, 0x7FE00010
IMPLICIT, DEFLATED, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"


class _Cut(ValueError):
    pass


def is_whole(path: Path) -> bool:
    """False when an element, or the delimiter of a sequence, lies beyond the end of the file."""
    if not path.stat().st_size:
        return False
    with open(path, "rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            return _dataset(data)
        except (_Cut, struct.error):
            return False


def meta(data: mmap.mmap | bytes) -> tuple[int, str]:
    """Where the dataset begins, behind the meta group, and the transfer syntax, '' where none is told.

    Raises:
        ValueError: the meta group is cut.
    """
    start = 132 if data[128:132] == b"DICM" else 0
    syntax = ""
    while data[start : start + 2] == b"\x02\0":
        tag, _, length, value = _element(data, start, True, "<")
        start = value + length
        if start > len(data):
            raise _Cut
        if tag == 0x00020010:
            syntax = data[value:start].decode("ascii", "replace").strip("\0 ")
    return start, syntax


def _dataset(data: mmap.mmap) -> bool:
    start, syntax = meta(data)
    if syntax == DEFLATED:
        stream = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            body = stream.decompress(data[start:])
        except zlib.error:
            return False
        if not stream.eof:
            return False
        _walk(body, 0, True, "<")
        return True
    explicit = (
        syntax != IMPLICIT if syntax else re.fullmatch(rb"[A-Z]{2}", data[start + 4 : start + 6]) is not None
    )
    _walk(data, start, explicit, ">" if syntax == BIG else "<")
    return True


def _element(data: mmap.mmap | bytes, at: int, explicit: bool, order: str) -> tuple[int, bytes, int, int]:
    """Tag, VR, length of the value and where it begins."""
    group, number = struct.unpack_from(f"{order}HH", data, at)
    tag = group << 16 | number
    if not explicit or group == 0xFFFE:
        return tag, b"", struct.unpack_from(f"{order}I", data, at + 4)[0], at + 8
    vr = data[at + 4 : at + 6]
    if not b"AA" <= vr <= b"ZZ":  # an implicit element among explicit ones, as some programs leave
        return tag, b"", struct.unpack_from(f"{order}I", data, at + 4)[0], at + 8
    if vr in LONG:
        return tag, vr, struct.unpack_from(f"{order}I", data, at + 8)[0], at + 12
    return tag, vr, struct.unpack_from(f"{order}H", data, at + 6)[0], at + 8


def _walk(data: mmap.mmap | bytes, at: int, explicit: bool, order: str, inner: bool = False) -> int:
    """From element to element, to the end of the data or (``inner``) of an item; where it ends."""
    while at < len(data) or inner:
        if len(data) - at < 8 and not inner and not any(data[at:]):
            return len(data)  # padding
        tag, vr, length, at = _element(data, at, explicit, order)
        if inner and tag == ITEM_END:
            return at
        if length != UNDEFINED:
            at += length
        else:
            at = _items(data, at, explicit and vr != b"UN", order)
        if at > len(data):
            raise _Cut
        if tag == PIXELS and not inner:
            return len(data)  # what may stand behind is nobody's
    return at


def _items(data: mmap.mmap | bytes, at: int, explicit: bool, order: str) -> int:
    """Over the items of a sequence, or the fragments of compressed pixels, of undefined length."""
    while True:
        tag, _, length, at = _element(data, at, explicit, order)
        if tag == SEQUENCE_END:
            return at
        if tag != ITEM:
            raise _Cut
        at = at + length if length != UNDEFINED else _walk(data, at, explicit, order, inner=True)
