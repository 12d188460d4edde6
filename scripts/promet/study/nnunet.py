"""The public PSMA PET/CT set in its nnU-Net layout as a cohort: derived masks, a weak label, a table.

Reads volumes, so it imports SimpleITK; nothing that the Snakefile reads imports it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from promet.core.defaults import PROSTATE_ML
from promet.core.errors import DataError, UsageError
from promet.core.files import atomic
from promet.core.rows import read_table
from promet.core.volumes import look
from promet.study.public import write_table
from promet.study.table import Row

NAME = re.compile(r"(psma_[0-9a-z]+)_(\d{4}-\d{2}-\d{2})_0001\.nii(?:\.gz)?", re.IGNORECASE)
PROSTATE = 22  # TotalSegmentator, task total


@dataclass
class Made:
    """What was written: number of patients, with metastasis, and how many studies were left out and why."""

    patients: int = 0
    metastatic: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


def pseudonym(subject: str) -> str:
    """A name that shows neither the public id nor a date: ``P`` and 12 digits of its SHA-256."""
    return "P" + hashlib.sha256(subject.lower().encode()).hexdigest()[:12]


def from_nnunet(source: Path, out: Path, prostate: Path, masks: Path) -> Made:
    """Write cohort table and masks of PSMA-PET-CT-Lesions (autoPET III; TCIA doi 10.7937/r7ep-3x37).

    Of each patient the first study is taken in which the prostate is plausible (5 to 400 ml) and holds lesion voxels:
    later ones would put one patient on both sides of a split. ``lesions`` is the public label inside the prostate.
    ``synchronous_metastasis`` is 1 when a 26-connected component of the label does not touch the prostate (not even a
    neighbouring voxel): a weak
    label from the same scan, of patients some of whom were treated before. The set has no PSA, no biopsy, no follow-up.

    Args:
        source: folder with imagesTr/psma_<id>_<date>_0001.nii.gz (PET in SUV), labelsTr/psma_<id>_<date>.nii.gz and,
            if there, psma_metadata.csv.
        out: the table.
        prostate: TotalSegmentator's output: <case>/prostate.nii.gz, or <case>.nii.gz (0/1, or all organs of task total).
        masks: folder for the derived masks, one sub-folder per pseudonym.

    Raises:
        UsageError: E_LAYOUT (nothing of that layout, or a study whose grids differ or whose label is missing).
    """
    studies = sorted(
        (match[1].lower(), match[2], path)
        for path in (source / "imagesTr").glob("*_0001.nii*")
        if (match := NAME.fullmatch(path.name))
    )
    if not studies:
        raise UsageError(
            "E_LAYOUT",
            "The folder has not the layout of the public PSMA set",
            "imagesTr/psma_<id>_<date>_0001.nii.gz and labelsTr/psma_<id>_<date>.nii.gz",
            "docs/public-data.md says how to get it",
        )
    told, made, rows = _metadata(source / "psma_metadata.csv"), Made(), {}
    for subject, day, pet in studies:
        name = pseudonym(subject)
        if name in rows:
            made.left_out["later study of a patient already in"] += 1
            continue
        case = pet.name.split("_0001.nii")[0]
        organ = next((p for p in _places(prostate, case) if p.exists()), None)
        if organ is None:
            made.left_out["no prostate mask"] += 1
            continue
        derived = derive(_label(source, case), pet, organ)
        if isinstance(derived, str):
            made.left_out[derived] += 1
            continue
        folder = masks / name
        for file, image in (("prostate", derived[0]), ("lesions", derived[1])):
            with atomic(folder / f"{file}.nii.gz") as temporary:
                sitk.WriteImage(image, str(temporary))
        rows[name] = {
            "patient": name,
            "role": "development",
            "pet": os.path.relpath(pet, out.parent),
            "prostate": os.path.relpath(folder / "prostate.nii.gz", out.parent),
            "lesions": os.path.relpath(folder / "lesions.nii.gz", out.parent),
            "synchronous_metastasis": str(int(derived[2])),
            **_clinical(told, subject, day),
        }
        made.metastatic += derived[2]
    made.patients = len(rows)
    write_table(out, [rows[name] for name in sorted(rows)])
    return made


def derive(label: Path, pet: Path, organ: Path) -> tuple[sitk.Image, sitk.Image, bool] | str:
    """Prostate and lesions in it (uint8 0/1 on the grid of the PET) and whether uptake lies apart from it.

    Returns:
        The three, or in words why the study cannot be used.
    """
    try:
        look(label), look(organ)  # ITK would fill up with zeros what is missing of them
    except DataError:
        return "a file is cut or lies nowhere"
    marked = sitk.ReadImage(str(label))
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(pet))
    reader.ReadImageInformation()
    if reader.GetSize() != marked.GetSize() or not np.allclose(
        reader.GetOrigin() + reader.GetSpacing(), marked.GetOrigin() + marked.GetSpacing(), atol=1e-2
    ):
        raise UsageError("E_LAYOUT", "A label is on another grid than its PET", "labels on the PET grid")
    whole = sitk.ReadImage(str(organ))
    whole = sitk.Cast(whole == PROSTATE if _labels(whole) else whole != 0, sitk.sitkUInt8)
    whole = sitk.Resample(whole, marked, sitk.Transform(), sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)
    inside = sitk.GetArrayViewFromImage(whole) > 0
    lesions = sitk.GetArrayFromImage(marked) > 0
    ml = np.count_nonzero(inside) * float(np.prod(marked.GetSpacing())) / 1000
    if not PROSTATE_ML[0] <= ml <= PROSTATE_ML[1]:
        return "prostate not plausible"
    if not (lesions & inside).any():
        return "no lesion in the prostate"
    parts = sitk.GetArrayFromImage(
        sitk.ConnectedComponent(sitk.GetImageFromArray(lesions.astype(np.uint8)), True)
    )
    near = sitk.GetArrayFromImage(sitk.BinaryDilate(whole, [1, 1, 1], sitk.sitkBox)) > 0
    apart = np.setdiff1d(np.unique(parts), np.append(np.unique(parts[near]), 0)).size > 0
    kept = sitk.GetImageFromArray((lesions & inside).astype(np.uint8))
    kept.CopyInformation(marked)
    return whole, kept, bool(apart)


def _labels(image: sitk.Image) -> bool:
    return float(sitk.GetArrayViewFromImage(image).max()) > 1


def _places(prostate: Path, case: str) -> list[Path]:
    return [
        prostate / case / "prostate.nii.gz",
        prostate / f"{case}.nii.gz",
        prostate / f"{case}_0000.nii.gz",
        prostate / f"{case}_0000" / "prostate.nii.gz",
    ]


def _label(source: Path, case: str) -> Path:
    for path in (source / "labelsTr" / f"{case}.nii.gz", source / "labelsTr" / f"{case}.nii"):
        if path.exists():
            return path
    raise UsageError("E_LAYOUT", "A study has no label", "labelsTr/<case>.nii.gz for every PET")


def _metadata(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    return [{name.lower(): cell for name, cell in row.items()} for row in read_table(path, ",")]


def _clinical(told: list[dict[str, str]], subject: str, day: str) -> Row:
    """Age (90 and above as 90), scanner and nuclide of the study; nothing when the metadata do not name it."""
    core = subject.removeprefix("psma_")
    mine = [row for row in told if row.get("subject id", "").lower().removeprefix("psma_") == core]
    same = [row for row in mine if _digits(row.get("study date", "")) == _digits(day)]
    if len(same or mine) != 1:
        return {}
    row, found = (same or mine)[0], {}
    age = re.search(r"\d+(?:\.\d+)?", row.get("age", ""))
    if age and 18 <= float(age[0]) <= 110:
        found["age"] = f"{min(float(age[0]), 90.0):g}"
    if row.get("manufacturer_model_name"):
        found["site"] = row["manufacturer_model_name"][:200]
    if row.get("pet_radionuclide"):
        found["tracer"] = f"{row['pet_radionuclide']} PSMA"[:200]
    return found


def _digits(text: str) -> str:
    return re.sub(r"\D", "", text)[:8]
