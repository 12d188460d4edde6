"""DICOM files: what lies in a folder, headers without values in messages, pixels.

Nothing in this module prints, logs or raises a value of a text element: names, identifiers, dates and
descriptions stay in the file.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from errno import ELOOP
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import config, dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

from promet.core.errors import DataError
from promet.core.files import left_behind

# A counter, alone or behind a word of the trade; no date, no number of a person.
HARMLESS = re.compile(
    r"(?i)(?:(?:img?|image|slice|sl|i|z|pet|pt|ct)[-_]?\d{1,6}|\d{1,4})(?:\.(?:dcm|ima|img))?"
)
WHOLE = (
    "RealWorldValueMappingSequence",
    "DerivationImageSequence",
    "RadiopharmaceuticalUsageSequence",
)  # of many items
# What every reader asks of a file before it knows whether it is its own.
WHO = (
    "SOPClassUID",
    "SOPInstanceUID",
    "Modality",
    "PatientID",
    "SeriesInstanceUID",
    "ImageType",
    "SeriesType",
)
DEFER = 2048  # bytes; longer elements (pixels) are read only when they are asked for


def quiet() -> None:
    """Silence pydicom and ITK, whose warnings would print values of the header. Call it first in a command."""
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
    for name in ("pydicom", "highdicom", "pylibjpeg"):
        warnings.filterwarnings("ignore", module=name)
    warnings.filterwarnings("ignore", message="Invalid value for VR")
    config.settings.reading_validation_mode = config.IGNORE
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalWarningDisplay(False)


class Header:
    """One slice's elements, looked up through layers: frame, shared groups, file.

    A classic slice has one layer. Getters return ``None`` for absent or empty elements and raise
    ``DataError`` E_DICOM_VALUE for values that are not what their keyword says, never showing them.
    """

    def __init__(self, *layers: Dataset) -> None:
        self.layers = layers

    def raw(self, keyword: str) -> Any:
        """The element's value, ``None`` when absent or empty."""
        for layer in self.layers:
            if keyword in layer:
                try:
                    value = layer[keyword].value
                except Exception:  # pydicom raises many kinds, whose text shows the value
                    raise _unreadable(keyword) from None
                return None if value is None or (hasattr(value, "__len__") and len(value) == 0) else value
        return None

    def text(self, keyword: str) -> str | None:
        """A single string, stripped."""
        value = self.raw(keyword)
        return None if value is None else str(value).strip().strip("\0") or None

    def texts(self, keyword: str) -> tuple[str, ...]:
        """All strings of a multi-valued element."""
        value = self.raw(keyword)
        if value is None:
            return ()
        return tuple(str(v).strip() for v in ([value] if isinstance(value, str) else value))

    def number(self, keyword: str) -> float | None:
        """A finite number."""
        numbers = self.numbers(keyword)
        return numbers[0] if numbers else None

    def numbers(self, keyword: str, count: int = 1) -> tuple[float, ...] | None:
        """Exactly ``count`` finite numbers."""
        value = self.raw(keyword)
        if value is None:
            return None
        try:
            found = tuple(
                float(v)
                for v in (value if hasattr(value, "__iter__") and not isinstance(value, str) else [value])
            )
        except (TypeError, ValueError):
            raise _unreadable(keyword) from None
        if len(found) != count or not np.isfinite(found).all():
            raise _unreadable(keyword)
        return found

    def first(self, keyword: str) -> Header | None:
        """The first item of a sequence."""
        value = self.raw(keyword)
        return Header(value[0]) if value is not None and isinstance(value[0], Dataset) else None

    def private(self, group: int, creator: str, element: int) -> str | None:
        """Text of a private element, found by its creator, or at block 0x10 when the creator is absent."""
        blocks = []
        for layer in self.layers:
            for number in range(0x10, 0x100):
                if (group, number) in layer and _plain(layer, (group, number)) == creator:
                    blocks.append((layer, number))
            if not blocks and (group, 0x10) not in layer:
                blocks.append((layer, 0x10))
        for layer, number in blocks:
            text = _plain(layer, (group, number << 8 | element))
            if text:
                return text
        return None


def _plain(layer: Dataset, tag: tuple[int, int]) -> str | None:
    if tag not in layer:
        return None
    try:
        value = layer[tag].value
    except Exception:  # as above
        return None
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    return None if value is None else str(value).strip().strip("\0").strip() or None


def _unreadable(keyword: str) -> DataError:
    return DataError(
        "E_DICOM_VALUE",
        f"{keyword} cannot be read as what it should hold",
        "a valid DICOM value",
        "Export again",
    )


def tagged(sentence: str) -> str:
    """The sentence with the number behind each element's keyword, e.g. ``Units (0054,1001)``."""

    def with_number(match: re.Match[str]) -> str:
        tag = tag_for_keyword(match[0])
        return match[0] if tag is None else f"{match[0]} ({tag >> 16:04X},{tag & 0xFFFF:04X})"

    return re.sub(r"\b(?:[A-Z]+[a-z]+(?:[A-Z]+[a-z]*)+|SUVType|Units)\b", with_number, sentence)


def is_dicom(path: Path) -> bool:
    """True for a DICOM file, with or without its preamble.

    Raises:
        DataError: E_SOURCE_UNREADABLE. A slice that may not be read is not a slice that is not there.
    """
    try:
        with open(path, "rb") as handle:
            start = handle.read(132)
    except PermissionError:
        raise _locked() from None
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno == ELOOP:
            return False
        raise
    return start[128:] == b"DICM" or (
        len(start) == 132 and start[:2] in (b"\x08\0", b"\x02\0") and start[3] == 0
    )


def is_stump(path: Path) -> bool:
    """True for what is left of a DICOM file that is cut before it says so: nothing, zeros and no more, or half an element."""
    try:
        with open(path, "rb") as handle:
            start = handle.read(132)
    except OSError:
        return False  # is_dicom, asked of every file, says what is wrong
    plain = start[:1] in (b"\x02", b"\x08") and not any(start[1:2] + start[3:4])  # without a preamble
    return len(start) < 132 and (plain or start.strip(b"\0") in (b"", b"D", b"DI", b"DIC"))


def read_header(path: Path) -> Dataset | None:
    """Everything but long values, which are read on access; ``None`` when it is no DICOM file."""
    if not is_dicom(path):
        return None
    try:
        data = dcmread(path, defer_size=DEFER, force=True)
        for keyword in WHO:
            data.get(keyword)  # read on access, and then it would be too late
        return data
    except PermissionError:
        raise _locked() from None
    except Exception as error:  # pydicom and zlib raise many kinds for a file that is cut
        if isinstance(error, OSError) and error.errno:
            raise  # the disk's fault, not the patient's
        return None


def files_of(source: Path) -> Iterator[Path]:
    """Every file of a source in a stable order; links to folders are not followed, what systems leave is not counted."""
    if source.is_file():
        yield source
        return

    def refuse(error: OSError) -> None:
        if isinstance(error, PermissionError):
            raise _locked() from None
        if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
            raise error

    for folder, folders, names in os.walk(source, onerror=refuse):
        folders[:] = sorted(name for name in folders if not left_behind(name))
        for name in sorted(names):
            path = Path(folder, name)
            if left_behind(name):
                continue
            if path.is_file() or path.is_symlink():  # a pipe or socket would block for ever
                yield path


def place(path: Path, source: Path) -> str:
    """Which file of a source, in words: its number in the order of the paths, and its name if that can name nobody.

    The order is that of ``find SOURCE | LC_ALL=C sort`` over files and links, without hidden ones.
    """
    paths = sorted(files_of(source), key=os.fsencode)
    name = f" (…/{path.name})" if HARMLESS.fullmatch(path.name) else ""
    return f"file {paths.index(path) + 1} of {len(paths)} in the order of their paths{name}"


def _locked() -> DataError:
    return DataError(
        "E_SOURCE_UNREADABLE",
        "A folder or file of a source may not be read by this user",
        "permission to read all of it",
        "Change the permissions or copy it",
    )


@dataclass
class Frame:
    """One slice: its header, where its pixels are, and the maps that tell what they are worth (see maps.py)."""

    header: Header
    dataset: Dataset
    index: int = 0
    frames: int = 1
    pieces: tuple = ()


def frames_of(dataset: Dataset, what: str = "PET") -> list[Frame]:
    """The slices of one file: one, or every frame of a multi-frame file."""
    top = Header(dataset)
    count = int(top.number("NumberOfFrames") or 1)
    shared = top.first("SharedFunctionalGroupsSequence")
    each = top.raw("PerFrameFunctionalGroupsSequence")
    if each is None and shared is None:
        if count == 1:
            return [Frame(top, dataset)]
        return [Frame(Header(_offset(top, i, what), dataset), dataset, i, count) for i in range(count)]
    if each is None or len(each) != count:
        raise DataError(
            f"E_{what}_FRAME_PLACE",
            "A multi-frame file does not place each of its frames",
            "one group per frame",
        )
    common = _groups(shared.layers[0]) if shared else Dataset()
    return [Frame(Header(_groups(item), common, dataset), dataset, i, count) for i, item in enumerate(each)]


def _groups(item: Dataset) -> Dataset:
    """Elements of the functional groups of one item, side by side."""
    flat = Dataset()
    for element in item:
        if element.VR == "SQ" and len(element.value):
            if element.keyword in WHOLE:
                flat[element.tag] = element
            else:
                for inner in element.value[0]:
                    flat[inner.tag] = inner
    return flat


def _offset(top: Header, index: int, what: str) -> Dataset:
    """Position of frame ``index`` of a multi-frame file without functional groups."""
    step = top.number("SpacingBetweenSlices")
    offsets = top.raw("GridFrameOffsetVector")
    place, axes = top.numbers("ImagePositionPatient", 3), top.numbers("ImageOrientationPatient", 6)
    if place is None or axes is None or (step is None and offsets is None):
        raise DataError(
            f"E_{what}_FRAME_PLACE",
            "A multi-frame file does not place each of its frames",
            "SpacingBetweenSlices or functional groups",
        )
    distance = float(offsets[index]) if offsets is not None else index * step
    layer = Dataset()
    layer.ImagePositionPatient = (np.array(place) + distance * np.cross(axes[:3], axes[3:])).tolist()
    return layer


def pixels(frame: Frame, what: str = "PET") -> np.ndarray:
    """Stored values of one slice, (rows, columns), before any rescaling.

    Raises:
        DataError: E_<what>_TRUNCATED when bytes are missing or cannot be decoded.
    """
    data, head = frame.dataset, Header(frame.dataset)
    try:
        rows, columns, bits = int(data.Rows), int(data.Columns), int(data.BitsAllocated)
        stored, signed = int(data.get("BitsStored", bits)), bool(data.PixelRepresentation)
        syntax = data.file_meta.TransferSyntaxUID if "TransferSyntaxUID" in data.file_meta else None
        if syntax is None or not syntax.is_compressed:
            small = data.original_encoding[1] is not False
            kind = np.dtype(f"{'<' if small else '>'}{'i' if signed else 'u'}{bits // 8}")
            size = rows * columns * kind.itemsize
            raw = data.PixelData[frame.index * size : (frame.index + 1) * size]
            # A row too much is not padding: then the matrix or the bits are not those of the file.
            if (
                bits % 8
                or len(raw) < size
                or len(data.PixelData) >= frame.frames * size + columns * bits // 8
            ):
                raise ValueError
            values = np.frombuffer(raw, kind).reshape(rows, columns)
        else:
            from pydicom.pixels import pixel_array

            values = pixel_array(data, index=frame.index if frame.frames > 1 else None, raw=True)
            if values.shape != (rows, columns):
                raise ValueError
    except Exception:  # decoders raise many kinds; their text may show header values
        head = None
        raise DataError(
            f"E_{what}_TRUNCATED",
            "The pixels of a slice are incomplete or cannot be decoded",
            "whole DICOM files",
            "Copy again",
        ) from None
    if head is not None and stored < bits:
        shift = bits - stored
        values = np.right_shift(np.left_shift(values, shift), shift)
    return values
