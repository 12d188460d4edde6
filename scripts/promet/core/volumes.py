"""Volume files (NIfTI, NRRD, MetaImage): their names, the bytes they must hold, and whether they say where they lie.

ITK fills up what is missing of a NIfTI with zeros, puts a volume without a place at the origin, and chooses between two
places without a word. So a file is gone through here before ITK reads it; what it is, its content says and not its name.
"""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BufferedIOBase
from pathlib import Path

import numpy as np

from promet.core.detached import HEADERS, LONGEST, data_file
from promet.core.errors import DataError

SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
SHEAR = 2e-3  # axes further from perpendicular than this (rad) are refused: 0.6 mm over 300 mm
APART = 0.5  # voxels; two places of one volume that differ more than this are two places
ROUNDING = 0.01  # voxels; below, they are one
BLOCK = 1 << 22
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # from the axes of NIfTI, to the right and to the front
NIFTI_TYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
}
META_BYTES = {"CHAR": 1, "UCHAR": 1, "SHORT": 2, "USHORT": 2, "INT": 4, "UINT": 4, "LONG": 4, "ULONG": 4,
              "LONG_LONG": 8, "ULONG_LONG": 8, "FLOAT": 4, "DOUBLE": 8}  # fmt: skip
NRRD_BYTES = {
    "char": 1,
    "int8": 1,
    "short": 2,
    "int16": 2,
    "int": 4,
    "int32": 4,
    "longlong": 8,
    "int64": 8,
    "float": 4,
    "double": 8,
}  # fmt: skip; without sign, blanks and the int behind short and long
NRRD_SPACES = {
    "left-posterior-superior",
    "lps",
    "right-anterior-superior",
    "ras",
    "left-anterior-superior",
    "las",
}


@dataclass
class Stated:
    """What a whole file says of itself.

    Attributes:
        name: the name under which ITK takes it for what it is.
        beside: the file of its voxels, if they are not in it.
        places: index (x, y, z, 1) to mm in DICOM's axes, one for each place that the header gives (NIfTI).
        finite: False when a NIfTI of floats holds NaN or infinity, which ITK turns into 0.
        warnings: sentences.
    """

    name: str
    beside: Path | None = None
    places: list[np.ndarray] = field(default_factory=list)
    finite: bool = True
    warnings: list[str] = field(default_factory=list)


def is_volume(source: Path) -> bool:
    """True for a file named like a NIfTI, NRRD or MetaImage, in any case."""
    return source.is_file() and source.name.lower().endswith(SUFFIXES)


def look(path: Path) -> Stated:
    """Go through a file from its first byte to its last.

    Raises:
        DataError: E_IMAGE_FORMAT (none of the three), E_IMAGE_TRUNCATED (bytes are missing or damaged), E_IMAGE_GEOMETRY,
            E_IMAGE_ORIENTATION (no place), E_IMAGE_SHEARED, E_IMAGE_PLACES (two places).
        OSError: the disk's fault.
    """
    try:
        with open(path, "rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            with gzip.open(raw) if zipped else raw as handle:
                start = handle.read(8)
                handle.seek(0)
                if len(start) >= 4 and {*struct.unpack("<i", start[:4]), *struct.unpack(">i", start[:4])} & {
                    348,
                    540,
                }:
                    return _nifti(handle, "volume.nii.gz" if zipped else "volume.nii")
                if not zipped and start.startswith(b"NRRD"):
                    return _nrrd(handle, path)
                if not zipped and path.name.lower().endswith((".mha", ".mhd")):
                    return _meta(handle, path)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise _cut() from None
    raise _format("cannot be read")


def shift(one: np.ndarray, other: np.ndarray, size: tuple[int, ...]) -> tuple[float, float]:
    """How far two places of one volume lie apart at the worst of its corners: mm, voxels.

    Args:
        one, other: 4 x 4, index (x, y, z, 1) to mm.
        size: (x, y, z).
    """
    corners = np.array([[*c, 1] for c in np.ndindex(2, 2, 2)]) * [*(np.array(size) - 1), 1]
    apart = corners @ (one - other).T[:, :3]
    voxels = np.linalg.solve(one[:3, :3], apart.T).T
    return float(np.linalg.norm(apart, axis=1).max()), float(np.linalg.norm(voxels, axis=1).max())


def _nifti(handle: BufferedIOBase, name: str) -> Stated:
    header = handle.read(352)
    if len(header) < 348:
        raise _cut()
    order = "<" if struct.unpack_from("<i", header)[0] in (348, 540) else ">"
    size, kind, start = _array(header, order)
    stated = Stated(name, places=_places(header, order))
    needed, there = math.prod(size) * kind.itemsize, 0
    handle.seek(start)
    while block := handle.read(min(BLOCK, needed - there)):
        there += len(block)
        if kind.kind == "f" and len(block) % kind.itemsize == 0:
            stated.finite &= bool(np.isfinite(np.frombuffer(block, kind)).all())
    if there < needed:
        raise _cut(there, needed)
    for _ in _blocks(handle):  # to its checksum
        pass
    if len(stated.places) == 2:
        one, other = stated.places
        mm, voxels = shift(one, other, size)
        if voxels > APART:
            raise DataError(
                "E_IMAGE_PLACES",
                f"An image file gives two places (qform and sform), {mm:.3g} mm or {voxels:.3g} voxels apart",
                "one place",
                "Find out which is right and write it into both",
            )
        if voxels > ROUNDING:
            stated.warnings.append(
                f"The file gives two places (qform and sform), {mm:.2g} mm or {voxels:.2g} voxels apart"
            )
    return stated


def _array(header: bytes, order: str) -> tuple[tuple[int, int, int], np.dtype, int]:
    """Size (x, y, z), type, and where in the file the voxels of a NIfTI-1 begin."""
    if struct.unpack_from(f"{order}i", header)[0] == 540:
        raise _format("is NIfTI-2", "NIfTI-1", "Save it as NIfTI-1")
    if header[344:348] != b"n+1\0":
        raise _format("is one half of a pair, .hdr and .img", "a NIfTI in one file", "Save it as .nii.gz")
    dims = struct.unpack_from(f"{order}8h", header, 40)
    start = struct.unpack_from(f"{order}f", header, 108)[0]
    if not 1 <= dims[0] <= 7 or min(dims[1 : dims[0] + 1]) < 1:
        raise _format("does not say how large it is")
    # Below 352 some programs begin at 352, ITK within the header: by up to four voxels, all of the image is elsewhere.
    if not (352 <= start < 1e9 and start == int(start)):
        raise _format("does not say where its voxels begin (vox_offset)")
    slope, intercept = struct.unpack_from(f"{order}2f", header, 112)
    unscaled = slope == 0 or math.isnan(slope)  # then nothing is to be added either, but ITK adds it
    if not (
        (intercept == 0 or math.isnan(intercept))
        if unscaled
        else math.isfinite(slope) and math.isfinite(intercept)
    ):
        raise _format("does not say how its values are scaled (scl_slope, scl_inter)")
    kind = NIFTI_TYPES.get(struct.unpack_from(f"{order}h", header, 70)[0])
    if kind is None or any(n > 1 for n in dims[4 : dims[0] + 1]):
        raise not_one()
    return (*dims[1 : dims[0] + 1], 1, 1)[:3], np.dtype(order + kind), int(start)


def _places(header: bytes, order: str) -> list[np.ndarray]:
    """sform and qform of a NIfTI-1 header, those of the two that are given, in DICOM's axes."""
    fourth, *spacing = struct.unpack_from(f"{order}4f", header, 76)
    qform, sform = struct.unpack_from(f"{order}2h", header, 252)
    b, c, d, *origin = quaternion = struct.unpack_from(f"{order}6f", header, 256)
    rows = struct.unpack_from(f"{order}12f", header, 280)
    numbers = [*spacing, *(quaternion if qform > 0 else ()), *(rows if sform > 0 else ())]
    if not np.isfinite(numbers).all() or (min(map(abs, spacing)) == 0 and sform <= 0):
        raise geometry_error("holds NaN or zero in its orientation or spacing")
    if header[123] & 7 in (1, 3):
        raise geometry_error("gives its lengths in another unit than mm")
    if qform <= 0 and sform <= 0:
        raise geometry_error(
            "does not say how it lies in the body (qform and sform code are 0)", "E_IMAGE_ORIENTATION"
        )
    places = []
    if sform > 0:
        axes = np.reshape(rows, (3, 4))[:, :3]
        lengths = np.linalg.norm(axes, axis=0)
        if lengths.min() == 0:
            raise geometry_error("has an axis of length zero")
        axes = axes / lengths
        if qform <= 0 and np.abs(axes.T @ axes - np.eye(3)).max() > SHEAR:
            raise geometry_error("has axes that are not perpendicular", "E_IMAGE_SHEARED")
        places.append(LPS @ np.vstack([np.reshape(rows, (3, 4)), [0, 0, 0, 1]]))
    if qform > 0 and min(map(abs, spacing)) > 0:
        # NIfTI-1, nifti1.h, method 2
        a = math.sqrt(max(0.0, 1 - b * b - c * c - d * d))
        turn = np.array(
            [
                [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
                [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
                [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
            ]
        )
        place = np.eye(4)
        place[:3, :3] = turn * np.abs(spacing) * [1, 1, -1 if fourth < 0 else 1]
        place[:3, 3] = origin
        places.append(LPS @ place)
    return places


def _nrrd(handle: BufferedIOBase, path: Path) -> Stated:
    fields: dict[str, str] = {}
    for line in _lines(handle, attached := not path.name.lower().endswith(HEADERS)):
        if not line:
            break
        key, found, value = line.partition(": ")
        if found and not line.startswith("#") and ":=" not in key:
            fields[key.strip().lower()] = value.strip()
    kind = re.sub(r"^(unsigned |signed |u)|_t$", "", fields.get("type", "").lower())
    kind = re.sub(r"(?<=short) int$|(?<=long) int$", "", kind).replace(" ", "")
    sizes = fields.get("sizes", "").split()
    if kind not in NRRD_BYTES or not sizes or not all(n.isdigit() for n in sizes):
        raise _format("does not say how large it is")
    skip, coded = fields.get("byte skip", fields.get("byteskip", "0")), fields.get("encoding", "")
    if (
        coded not in ("raw", "gzip", "gz")
        or {"line skip", "lineskip"} & set(fields)
        or not re.fullmatch(r"-1|\d+", skip)
    ):
        raise _format("holds its voxels as text, compressed by bzip2 or behind lines of text", "raw or gzip")
    placed = {"space", "space directions", "space origin"} <= set(fields)
    if not placed or fields["space"].lower() not in NRRD_SPACES:
        raise geometry_error(
            "does not say how it lies in the body (space, space directions, space origin)",
            "E_IMAGE_ORIENTATION",
        )
    if set(re.findall(r'"([^"]*)"', fields.get("space units", "").lower())) - {
        "mm",
        "millimeter",
        "millimeters",
        "",
    }:
        raise geometry_error("gives its lengths in another unit than mm")
    needed = math.prod(map(int, sizes)) * NRRD_BYTES[kind]
    lies = None if attached else _beside(path)
    if attached and {"data file", "datafile"} & set(fields):
        raise _format("names another file for its voxels", "the suffix .nhdr for such a header")
    with open(lies, "rb") if lies else handle as data, gzip.open(data) if coded != "raw" else data as plain:
        there = sum(len(block) for block in _blocks(plain))
    if there < needed or (skip != "-1" and there != needed + int(skip)):
        raise _cut(there - max(int(skip), 0), needed)
    return Stated(f"volume{'.nrrd' if attached else '.nhdr'}", lies)


def _meta(handle: BufferedIOBase, path: Path) -> Stated:
    fields: dict[str, str] = {}
    for line in _lines(handle, True):
        key, found, value = line.partition("=")
        if found:
            fields[key.strip()] = value.strip()
        if key.strip() == "ElementDataFile":
            break
    kind = META_BYTES.get(fields.get("ElementType", "").removeprefix("MET_"))
    sizes, skip = fields.get("DimSize", "").split(), fields.get("HeaderSize", "0")
    if kind is None or not sizes or not all(n.isdigit() for n in sizes) or "ElementDataFile" not in fields:
        raise _format("does not say how large it is")
    if fields.get("BinaryData", "False").lower() != "true" or not re.fullmatch(r"-1|\d+", skip):
        raise _format("holds its voxels as text", "binary")
    if not {"TransformMatrix", "Orientation", "Rotation"} & set(fields) or not {
        "Offset",
        "Position",
        "Origin",
    } & set(fields):
        raise geometry_error(
            "does not say how it lies in the body (TransformMatrix, Offset)", "E_IMAGE_ORIENTATION"
        )
    needed = math.prod(map(int, sizes)) * kind * int(fields.get("ElementNumberOfChannels", "1") or 1)
    local = fields["ElementDataFile"].upper() == "LOCAL"
    if local and skip not in ("0", "-1"):  # from which byte on it counts is read in two ways
        raise _format("leaves bytes out before voxels in the same file (HeaderSize)", "no HeaderSize")
    if not local and not path.name.lower().endswith(HEADERS):
        raise _format("names another file for its voxels", "the suffix .mhd for such a header")
    lies = None if local else _beside(path)
    with open(lies, "rb") if lies else handle as data:
        if fields.get("CompressedData", "False").lower() == "true":
            stream = zlib.decompressobj()
            there = sum(len(stream.decompress(block)) for block in _blocks(data)) + len(stream.flush())
            if not stream.eof:
                raise _cut()
        else:
            there = sum(map(len, _blocks(data)))
    if there < needed or (skip != "-1" and there != needed + int(skip)):
        raise _cut(there - max(int(skip), 0), needed)
    return Stated("volume.mha" if local else "volume.mhd", lies)


def _beside(path: Path) -> Path:
    found = data_file(path)
    if found is None or not found.is_file():
        raise _format(
            "names a file for its voxels that does not lie beside it", "the file of voxels beside its header"
        )
    return found


def _lines(handle: BufferedIOBase, ends: bool) -> Iterator[str]:
    """Lines of a header in text; one that ``ends`` before its voxels must not end with the file."""
    read = 0
    while line := handle.readline(LONGEST):
        read += len(line)
        if read > LONGEST:
            break
        yield line.decode("utf-8", "replace").strip("\r\n")
    if ends:
        raise _cut()


def _blocks(handle: BufferedIOBase) -> Iterator[bytes]:
    while block := handle.read(BLOCK):
        yield block


def _cut(there: int = 0, needed: int = 0) -> DataError:
    said = f": it holds {max(there, 0)} of {needed} bytes of voxels" if needed else ""
    return DataError(
        "E_IMAGE_TRUNCATED",
        f"An image file is cut or damaged{said}",
        "a whole file",
        "Copy or export it again",
    )


def _format(
    found: str,
    expected: str = "a whole NIfTI, NRRD or MetaImage file",
    remedy: str = "Copy or export it again",
) -> DataError:
    return DataError("E_IMAGE_FORMAT", f"An image file {found}", expected, remedy)


def geometry_error(found: str, code: str = "E_IMAGE_GEOMETRY") -> DataError:
    """A volume that lies nowhere, or not as a volume can."""
    return DataError(
        code,
        f"An image file {found}",
        "a volume with right-angled axes placed in the body",
        "Export it again",
    )


def not_one() -> DataError:
    """A file of several volumes, of colours or of vectors."""
    return DataError(
        "E_IMAGE_VOLUMES", "An image file is no single volume", "one 3D volume with one value per voxel"
    )
