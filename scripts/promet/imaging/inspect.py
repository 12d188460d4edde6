"""What lies in a folder of a PACS export, what would be taken of it, and why. No text of any header is shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from promet.core.errors import DataError
from promet.core.words import count
from promet.imaging.dicom import files as dicom
from promet.imaging.dicom import series
from promet.imaging.dicom.files import Header

PIN = (
    "To pin one, put the folder that holds only it (or its file, if it is one file) into the column pet or ct of the "
    "cohort table."
)
SPLIT = "each image has a SeriesInstanceUID of its own, as an anonymiser leaves it"
TAKEN, CANDIDATE, LEFT = "taken", "candidate", "left out"


def inspect(source: Path) -> dict[str, Any]:
    """List the series of a folder.

    Series have the numbers that a refusal of ``convert`` uses. Nothing but modality, counts, sizes and reasons is
    given: descriptions, dates, identifiers and file names stay in the files.

    Returns:
        ``files``, ``no_dicom``, ``directories`` (DICOMDIR), ``broken``, ``copies``, ``pet`` and ``ct`` (number of the
        taken series, None when there is none or more than one), ``refusal`` (code and sentence of ``convert``, or empty),
        ``advice``, ``series`` (number, modality, images,
        matrix, pixel_mm, attenuation_corrected, verdict, why).

    Raises:
        DataError: E_SOURCE_MISSING, E_SOURCE_UNREADABLE.
    """
    dicom.quiet()
    if not source.exists():
        raise DataError("E_SOURCE_MISSING", "The folder to inspect is not there", "a folder or file")
    counts = {"files": 0, "no_dicom": 0, "directories": 0, "broken": 0, "copies": 0}
    datasets: list[Dataset] = []
    for path in dicom.files_of(source):
        counts["files"] += 1
        data = dicom.read_header(path)
        if data is not None and "Modality" in data:
            datasets.append(data)
        elif (
            data is not None and data.get("file_meta", {}).get("MediaStorageSOPClassUID") == series.DIRECTORY
        ):
            counts["directories"] += 1
        else:
            broken = series.is_hollow(path) or (dicom.is_dicom(path) if data is None else series.is_cut(data))
            counts["broken" if broken else "no_dicom"] += 1
    groups = [_without_copies(each, counts) for each in series.grouped(datasets)]
    rows = [_row(number, each) for number, each in enumerate(groups, 1)]
    likely = _judge_pet(groups, rows)
    pet = likely[0] if len(likely) == 1 else None
    ct = _judge_ct(groups, rows, likely)
    refusal = _refusal(source) if any(row["modality"] == "PT" for row in rows) else ""
    clear = pet is not None and not any(row["verdict"] == CANDIDATE for row in rows)
    advice = "" if clear else PIN
    return {**counts, "pet": pet, "ct": ct, "refusal": refusal, "advice": advice, "series": rows}


def _refusal(source: Path) -> str:
    """Why ``convert`` would refuse the PET, as far as headers tell; empty when it would not."""
    from promet.imaging.convert import check_source

    try:
        check_source(source)
    except DataError as error:
        return f"{error.code}: {error.sentence()}"
    return ""


def text(found: dict[str, Any]) -> str:
    """The listing as lines for a terminal."""
    lines = [
        f"{count(found['files'], 'file')}: {found['no_dicom']} no DICOM, {found['directories']} DICOMDIR, "
        f"{found['broken']} broken or empty, {found['copies']} copies"
    ]
    for row in found["series"]:
        corrected = {True: "AC", False: "not AC", None: ""}[row["attenuation_corrected"]]
        size = "x".join(map(str, row["matrix"])) if row["matrix"] else ""
        lines.append(
            f"{row['number']:>3}  {row['modality']:<9} {row['images']:>5} images  {size:<9} {corrected:<7} "
            f"{row['verdict']}: {row['why']}"
        )
    lines.append(f"PET: {_named(found['pet'])}; CT: {_named(found['ct'])}")
    if found["refusal"]:
        lines.append(f"convert would refuse it, {found['refusal']}")
    return "\n".join([*lines, found["advice"]] if found["advice"] else lines)


def _named(number: int | None) -> str:
    return "none" if number is None else f"series {number}"


def _without_copies(group: list[Dataset], counts: dict[str, int]) -> list[Dataset]:
    """Files whose identity and place came before are counted and dropped; convert compares their bytes."""
    kept: dict[str, Dataset] = {}
    for data in group:
        kept.setdefault(str(data.get("SOPInstanceUID", len(kept))), data)
    counts["copies"] += len(group) - len(kept)
    return list(kept.values())


def _row(number: int, group: list[Dataset]) -> dict[str, Any]:
    head = Header(group[0])
    modality = str(group[0].Modality)
    size = [_try(lambda k=k: int(head.number(k) or 0)) for k in ("Columns", "Rows")]
    step = _try(lambda: head.numbers("PixelSpacing", 2))
    return {
        "number": number,
        "modality": modality if modality in {"PT", *series.MODALITIES} else "other",
        "images": series.images_in(group),
        "matrix": size if all(size) else None,
        "pixel_mm": [round(step[1], 4), round(step[0], 4)] if step else None,
        "attenuation_corrected": series.is_corrected(group[0]) if modality == "PT" else None,
        "verdict": LEFT,
        "why": "not used",
    }


def _try(get: Callable[[], Any]) -> Any:
    try:
        return get()
    except DataError:
        return None


def _judge_pet(groups: list[list[Dataset]], rows: list[dict[str, Any]]) -> list[int]:
    usable = []
    for row, group in zip(rows, groups, strict=True):
        images = series.pet_of(group)
        if images:
            usable.append((row["number"], images))
        elif row["modality"] == "PT":
            row["why"] = "a projection, a screen capture, a colour picture or with burned-in text"
    dropped: dict[int, str] = {}
    kept = series.narrow(usable, dropped)
    for number, why in dropped.items():
        rows[number - 1]["why"] = why
    for number, _ in kept:
        row = rows[number - 1]
        row["verdict"] = TAKEN if len(kept) == 1 else CANDIDATE
        row["why"] = (
            SPLIT
            if series.is_split(groups[number - 1])
            else (
                (
                    "the attenuation-corrected PET"
                    if row["attenuation_corrected"]
                    else "the only PET; not attenuation corrected"
                )
                if len(kept) == 1
                else "could be the PET as well as another one"
            )
        )
    return [number for number, _ in kept]


def _judge_ct(groups: list[list[Dataset]], rows: list[dict[str, Any]], pets: list[int]) -> int | None:
    frames = {Header(groups[number - 1][0]).text("FrameOfReferenceUID") for number in pets} - {None}
    kept = []
    for row, group in zip(rows, groups, strict=True):
        head = Header(group[0])
        if row["modality"] in ("SEG", "RTSTRUCT"):
            names = group[0].get("SegmentSequence") or group[0].get("StructureSetROISequence") or ()
            row["why"] = f"a mask with {len(names)} structures, for the columns prostate and lesions"
        if row["modality"] != "CT":
            continue
        if {kind.upper() for kind in head.texts("ImageType")} & series.PROJECTIONS or row["images"] < 3:
            row["why"] = "a scout or a single image"
        elif head.text("FrameOfReferenceUID") not in frames:
            row["why"] = "not in the frame of reference of the PET"
        else:
            kept.append(row)
    for row in kept:
        row["verdict"] = TAKEN if len(kept) == 1 else CANDIDATE
        if series.is_split(groups[row["number"] - 1]):
            row["why"] = SPLIT
            continue
        row["why"] = "the CT in the frame of reference of the PET" + (
            ", as others are" if len(kept) > 1 else ""
        )
    return kept[0]["number"] if len(kept) == 1 else None
