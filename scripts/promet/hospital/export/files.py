"""Every file of an export, read once: what it is, without a word that names anybody.

Numbers, names, dates and UIDs are replaced by keyed hashes as a file is read (with the key of ``promet intake``), so the
rules that pair images cannot show what they do not hold; ``Seen.true`` reads again the few that the key file needs. What
was seen is kept beside the key file by path, size and time of each file: a second look reads only what is new.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import unicodedata
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from promet.core.errors import DataError, UsageError
from promet.core.files import write_text
from promet.hospital.arrived import unfinished
from promet.imaging.dicom import files as dicom
from promet.imaging.dicom import series
from promet.imaging.dicom.files import Header
from promet.imaging.dicom.whole import DEFLATED, is_whole
from promet.imaging.masks.read import names_of
from promet.imaging.masks.roi import Chooser

VERSION = 1
UIDS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")
PERSON = ("IssuerOfPatientID", "PatientID", "PatientName", "PatientBirthDate")
NUMBERS = {
    **dict.fromkeys(("Rows", "Columns", "SamplesPerPixel", "NumberOfFrames", "NumberOfSlices"), 1),
    **{"PixelSpacing": 2, "ImagePositionPatient": 3, "ImageOrientationPatient": 6},
}
# Of elements that may hold any text only the words that a rule asks for are kept.
WORDS = {
    "Modality": {"PT", *series.MODALITIES},
    "ImageType": {"ORIGINAL", "DERIVED", "PRIMARY", "SECONDARY", "AXIAL", *series.PROJECTIONS},
    "SeriesType": {"STATIC", "DYNAMIC", "GATED", "WHOLE BODY", "IMAGE", *series.PROJECTIONS},
    "CorrectedImage": {"ATTN"},
    "AttenuationCorrected": {"YES", "NO"},
    "BurnedInAnnotation": {"YES", "NO"},
    "Units": {"BQML", "CNTS", "GML", "CM2ML", "PROPCNTS", "CPS"},
}
READ = ["SpecificCharacterSet", "SOPClassUID", "StudyDate", *UIDS, *PERSON, *NUMBERS, *WORDS]
OF_MASKS = [
    *("SpecificCharacterSet", "FrameOfReferenceUID", "StructureSetROISequence", "SegmentSequence"),
    *("ReferencedFrameOfReferenceSequence", "ReferencedSeriesSequence", "PerFrameFunctionalGroupsSequence"),
    "SharedFunctionalGroupsSequence",
]
MASKS = ("RTSTRUCT", "SEG")
USED = ("PT", "CT", *MASKS)
MANY = 2000  # files; below, starting a second process takes longer than it saves


@dataclass(frozen=True)
class Wanted:
    """What is asked of every file: names of structures (regular expressions), and the key of the hashes."""

    prostate: str
    lesions: str
    secret: bytes = field(repr=False)

    def token(self, text: str) -> str:
        """Keyed hash of a text; '' of nothing."""
        if not text:
            return ""
        return hashlib.blake2b(
            text.encode("utf-8", "surrogateescape"), key=self.secret, digest_size=10
        ).hexdigest()


class Seen:
    """One file; to the functions that judge series (``imaging.dicom.series``) it looks like its header.

    Attributes:
        path: where it lies.
        values: keyword -> value; of identifying elements the keyed hash.
        size: bytes.
    """

    __slots__ = ("_bytes", "_true", "path", "size", "values")

    def __init__(self, path: Path, size: int, values: dict[str, Any]) -> None:
        self.path, self.size, self.values = path, size, values
        self._true: Header | None = None
        self._bytes = ""

    def __contains__(self, keyword: str) -> bool:
        return keyword in self.values

    def __getitem__(self, keyword: str) -> Any:
        return SimpleNamespace(value=self.values[keyword])

    def get(self, keyword: str, default: Any = None) -> Any:
        """The value of an element."""
        return self.values.get(keyword, default)

    def __getattr__(self, keyword: str) -> Any:
        try:
            return self.values[keyword]
        except KeyError:
            raise AttributeError(keyword) from None

    @property
    def kind(self) -> str:
        """Modality."""
        return self.values.get("Modality", "")

    def true(self, keyword: str) -> str:
        """The text of an identifying element, read from the file: for the key file and what lies beside it alone."""
        if self._true is None:
            with open(self.path, "rb") as handle:
                tags = [*READ, "SeriesDescription", "StudyDescription"]
                self._true = Header(dcmread(handle, stop_before_pixels=True, specific_tags=tags, force=True))
        return plain(self._true, keyword)

    def bytes(self) -> str:
        """Digest of the file."""
        if not self._bytes:
            with open(self.path, "rb") as handle:
                self._bytes = hashlib.file_digest(handle, "sha256").hexdigest()
        return self._bytes


Series = list[Seen]


def study(each: Series) -> str:
    """Hash of the StudyInstanceUID of a series."""
    return each[0].get("StudyInstanceUID", "")


@dataclass
class Export:
    """What an export holds.

    Attributes:
        seen: whole and cut DICOM files of the kinds that are used.
        stumps: hash of the SOPInstanceUID -> files that end before they say what they belong to.
        counts: files, others (no DICOM, or of other kinds), broken, unfinished (left out, since they are still arriving).
    """

    seen: list[Seen] = field(default_factory=list)
    stumps: dict[str, list[Seen]] = field(default_factory=dict)
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("files", "others", "broken", "unfinished"), 0)
    )


def plain(head: Header, keyword: str) -> str:
    """The text of an element whatever is wrong with it, without blanks at its ends."""
    try:
        value = head.raw(keyword)
    except DataError:
        return ""
    try:
        if isinstance(value, MultiValue):  # more of them than there may be
            value = "\\".join(map(str, value))
        return "" if value is None else str(value).strip().strip("\0").strip()
    except Exception:  # letters that its character set does not have
        return ""


def person_name(text: str) -> str:
    """A name as it is compared: of several spellings in other scripts the first, without case and empty parts."""
    first = unicodedata.normalize("NFKC", text).split("=")[0]
    return " ".join(first.replace("^", " ").split()).casefold()


def seen_of(path: Path, wanted: Wanted) -> dict[str, Any]:
    """What one file is: values as of ``Seen``; ``{}`` for what is no DICOM; ``{"broken": 1}`` for what is cut beyond use."""
    try:
        with open(path, "rb") as handle:
            start = handle.read(132)
            if start[128:] != b"DICM" and not dicom.is_dicom(path):
                return {"broken": 1} if dicom.is_stump(path) else {}
            handle.seek(0)
            data = dcmread(handle, stop_before_pixels=True, specific_tags=READ, force=True)
            ends = handle.tell() == os.fstat(handle.fileno()).st_size  # where the pixels would begin
            return _values(path, data, wanted, not ends)
    except PermissionError:
        raise UsageError(
            "E_EXPORT_UNREADABLE",
            "A file of the export may not be read by this user",
            "permission to read all of it",
            "Change the permissions or copy it",
        ) from None
    except FileNotFoundError:
        return {"broken": 1}  # a link that leads nowhere
    except Exception as error:  # pydicom raises many kinds for a file that is cut
        if isinstance(error, OSError) and error.errno:
            raise
        return {"broken": 1}


def _values(path: Path, data: Dataset, wanted: Wanted, more: bool) -> dict[str, Any]:
    head = Header(data)
    meta = getattr(data, "file_meta", Dataset())
    if str(meta.get("MediaStorageSOPClassUID", "")) == series.DIRECTORY:
        return {}
    kind = plain(head, "Modality").upper()
    instance = plain(head, "SOPInstanceUID") or str(meta.get("MediaStorageSOPInstanceUID", "") or "")
    if not kind or not plain(head, "SeriesInstanceUID"):
        return {"broken": 1, "SOPInstanceUID": wanted.token(instance)}
    if kind not in USED:
        return {}
    found: dict[str, Any] = {name: _words(head, name) for name in WORDS}
    found |= {"Modality": kind, "SOPClassUID": plain(head, "SOPClassUID")}
    for name, count in NUMBERS.items():
        try:
            numbers = head.numbers(name, count)
        except DataError:
            numbers = None
        if numbers is not None:
            found[name] = numbers[0] if count == 1 else list(numbers)
    if "Rows" not in found and kind in ("PT", "CT"):
        return {"broken": 1, "SOPInstanceUID": wanted.token(instance)}
    told = {name: plain(head, name) for name in (*UIDS, *PERSON, "StudyDate")}
    told |= {"SOPInstanceUID": instance, "PatientName": person_name(told["PatientName"])}
    found |= {name: wanted.token(text) for name, text in told.items() if text}
    found["number"] = _number_kind(told["PatientID"])
    if _number_kind(told["PatientName"]) or not told["PatientName"]:
        found.pop("PatientName", None)  # nobody's name
    packed = meta.get("TransferSyntaxUID") == DEFLATED
    found["whole"] = int(is_whole(path) and (more or packed or kind not in ("PT", "CT")))
    if kind in MASKS:
        found |= _mask(path, wanted)
    return {name: value for name, value in found.items() if value not in ("", [], None)}


def _words(head: Header, keyword: str) -> Any:
    try:
        found = [text.upper() for text in head.texts(keyword)]
    except DataError:
        return None
    kept = [text for text in found if text in WORDS[keyword]]
    return kept if keyword in ("ImageType", "SeriesType", "CorrectedImage") else "".join(kept[:1])


def _number_kind(text: str) -> str:
    """``collective`` for what people write where there is no number or name."""
    letters = "".join(sign for sign in text.casefold() if sign.isalnum())
    nobody = (
        letters.startswith("anon") or letters in ("unknown", "none", "test") or set(letters) in ({"0"}, {"x"})
    )
    return "collective" if nobody or (text and not letters) else ""


def _mask(path: Path, wanted: Wanted) -> dict[str, Any]:
    """Which structures a mask holds, in which frames of reference, and on which series and images it was drawn."""
    data = dcmread(path, stop_before_pixels=True, specific_tags=OF_MASKS, force=True)
    names = names_of(data)
    refs = _referenced(data)
    if not refs["series"] and not refs["images"] and "StructureSetROISequence" in data:
        refs = _referenced(dcmread(path, specific_tags=["ROIContourSequence"], force=True))
    fits = Chooser(wanted.prostate).pick(dict(names))
    frames = {
        str(roi.get("ReferencedFrameOfReferenceUID") or "")
        for roi in data.get("StructureSetROISequence") or ()
        if int(roi.get("ROINumber") or 0) in fits
    } - {""}
    frames = frames or {
        str(item.get("FrameOfReferenceUID") or "")
        for item in data.get("ReferencedFrameOfReferenceSequence") or ()
    } - {""}
    frames = frames or {str(data.get("FrameOfReferenceUID") or "")} - {""}
    return {
        "prostate": int(bool(fits)),
        "lesions": int(any(Chooser(wanted.lesions, True)(*name) for name in names)),
        "structures": len({number for number, _ in names}),
        "frames": sorted(map(wanted.token, frames)),
        **{f"{what}_of": sorted(map(wanted.token, uids)) for what, uids in refs.items()},
    }


def _referenced(data: Dataset) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {"series": set(), "images": set()}
    for element in data.iterall():
        if element.keyword == "SeriesInstanceUID":
            found["series"].add(str(element.value))
        elif element.keyword == "ReferencedSOPInstanceUID":
            found["images"].add(str(element.value))
    return {what: uids - {"", "None"} for what, uids in found.items()}


def read(
    folder: Path, wanted: Wanted, kept: Path, progress: Callable[[int, int], None] = lambda done, of: None
) -> Export:
    """Every file below ``folder``; what was seen before, and is as it was, comes from the file ``kept``.

    Raises:
        UsageError: E_EXPORT_MISSING, E_EXPORT_UNREADABLE.
    """
    if not folder.is_dir():
        raise UsageError(
            "E_EXPORT_MISSING",
            "The export is not there",
            "a folder of DICOM files, flat or nested",
            "Check the path",
        )
    export = Export()
    paths = list(_files(folder, export))
    before, after = _kept(kept, wanted), {}
    todo: list[tuple[str, Path]] = []
    sizes: dict[Path, int] = {}
    for path in paths:
        try:
            state = path.stat()
        except OSError:
            export.counts["broken"] += 1
            continue
        sizes[path] = state.st_size
        key = wanted.token(f"{path.absolute()}|{state.st_size}|{state.st_mtime_ns}")
        if key in before:
            after[key] = before[key], path
        else:
            todo.append((key, path))
    for done, (key, path, values) in enumerate(_read(todo, wanted), len(after) + 1):
        after[key] = values, path
        progress(done, len(sizes))
    if todo or len(after) < len(before):
        text = json.dumps(
            [_of(wanted), {key: values for key, (values, _) in after.items()}], separators=(",", ":")
        )
        write_text(kept, text)
        kept.chmod(0o600)
    for values, path in sorted(after.values(), key=lambda pair: os.fsencode(pair[1])):
        seen = Seen(path, sizes[path], values)
        if "Modality" in values:
            export.seen.append(seen)
        elif "broken" in values:
            export.counts["broken"] += 1
            export.stumps.setdefault(values.get("SOPInstanceUID", ""), []).append(seen)
        else:
            export.counts["others"] += 1
    export.stumps.pop("", None)
    export.counts["files"] = len(paths)
    return export


def _files(folder: Path, export: Export) -> Iterator[Path]:
    waiting: dict[Path, bool] = {}
    for path in dicom.files_of(folder):
        if path.parent not in waiting:
            waiting[path.parent] = unfinished(path.parent)
        if waiting[path.parent]:
            export.counts["unfinished"] += 1
        else:
            yield path


def _of(wanted: Wanted) -> list[Any]:
    return [VERSION, wanted.token(f"{wanted.prostate}|{wanted.lesions}")]


def _kept(path: Path, wanted: Wanted) -> dict[str, dict[str, Any]]:
    try:
        of, values = json.loads(path.read_text(encoding="utf-8"))
        return values if of == _of(wanted) else {}
    except (OSError, ValueError):
        return {}


def _read(todo: list[tuple[str, Path]], wanted: Wanted) -> Iterator[tuple[str, Path, dict[str, Any]]]:
    processes = min(len(os.sched_getaffinity(0)), 8)
    if len(todo) < MANY or processes < 2:
        for key, path in todo:
            yield key, path, seen_of(path, wanted)
        return
    parts = [todo[start : start + 250] for start in range(0, len(todo), 250)]
    with ProcessPoolExecutor(processes, get_context("forkserver"), initializer=dicom.quiet) as pool:
        for part, found in zip(parts, pool.map(_look_at, parts, [wanted] * len(parts)), strict=True):
            for (key, path), values in zip(part, found, strict=True):
                yield key, path, values


def _look_at(part: list[tuple[str, Path]], wanted: Wanted) -> list[dict[str, Any]]:
    return [seen_of(path, wanted) for _, path in part]


def a_secret(kept: bytes) -> bytes:
    """A key of at most 64 bytes; of this process alone where none can be kept, so that nothing is remembered."""
    return hashlib.sha256(kept).digest() if kept else secrets.token_bytes(32)
